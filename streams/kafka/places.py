"""Places in topics: which partitions there are, where a message is, and why a topic cannot be read."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from cempstream.errors import FixableError

#: Errors that waiting does not fix.
HOPELESS = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError._SSL,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)

#: Errors that say that the broker has not answered, or cannot answer yet.
_SILENT = frozenset(
    {
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._TRANSPORT,
        KafkaError._WAIT_CACHE,
        KafkaError._WAIT_COORD,
    }
)

#: A topic and a partition's number.
Place: TypeAlias = tuple[str, int]

_TIMEOUT_S = 10.0
_LOOK_AGAIN_S = 0.2

#: A signal is heard only between two questions, so the first waits no longer than this.
_FIRST_SLICE_S = 0.5


class StreamError(FixableError, ConnectionError):
    """The stream cannot be read; the message says why and what to do."""


class NoBroker(StreamError):
    """No broker answers; the message says where and why."""


class NoAnswer(StreamError):
    """The broker has not said something in time: that never means that there is none.

    Parameters
    ----------
    about
        What it was asked.
    bootstrap, reason
        Where, and why it did not answer, as far as known.
    """

    def __init__(self, about: str, bootstrap: str = "the broker", reason: str = "") -> None:
        super().__init__(f"no answer from {bootstrap} about {about}" + (f": {reason}" if reason else ""))
        self._about = about
        self.reason = reason

    def at(self, bootstrap: str, errors: Iterable[KafkaError] = ()) -> NoAnswer:
        """Return the same with the broker's address, and with a reason of librdkafka's if it has none."""
        return NoAnswer(self._about, bootstrap, self.reason or next((e.str() for e in errors), ""))


def is_silence(error: KafkaError) -> bool:
    """Say whether an error means that the broker has not answered; asking again may help."""
    return error.code() in _SILENT or error.retriable()


def name_places(places: Iterable[Place]) -> str:
    """Name some partitions, for a message."""
    first, *others = sorted(places)
    more = f" and {len(others)} more" if others else ""
    return f"{first[0]}/{first[1]}{more}"


def no_broker(bootstrap: str, errors: Iterable[KafkaError], silence: str = "") -> NoBroker:
    """Return an error that says why no broker answers.

    Parameters
    ----------
    errors
        What librdkafka told its ``error_cb``: refused, unknown host, wrong password.
    silence
        The message to use if it reported nothing.
    """
    reasons = (error.str() for error in errors if error.code() != KafkaError._ALL_BROKERS_DOWN)
    reason = next(reasons, silence).rpartition("/bootstrap: ")[2].partition(" (after ")[0]
    return NoBroker(f"no broker answers at {bootstrap}" + (f": {reason}" if reason else ""))


class NoSuchTopic(StreamError):
    """The broker does not have the topic, or does not show it to us."""

    def __init__(self, topic: str, known: Iterable[str]) -> None:
        near = ", ".join(sorted(name for name in known if not name.startswith("_")))
        super().__init__(
            f"there is no topic '{topic}' that you may read, only {near or 'none'} "
            "(an operator makes ours with `cempstream topics create`)"
        )


def partitions_of(consumer: Consumer, topics: Iterable[str]) -> list[Place]:
    """Return every partition of the topics.

    Raises
    ------
    NoBroker
        The broker does not answer.
    NoSuchTopic
        It has no topic of one of these names.
    NoAnswer
        It does not say which partitions one of them has.
    """
    try:
        known = consumer.list_topics(timeout=_TIMEOUT_S).topics
    except KafkaException as error:
        raise NoBroker(f"no broker answers: {error.args[0].str()}") from error
    places: list[Place] = []
    for topic in topics:
        if topic not in known:
            raise NoSuchTopic(topic, known)
        places += [(topic, number) for number in partitions_told(topic, known[topic])]
    return places


def partitions_told(topic: str, metadata: Any) -> list[int]:
    """Return the numbers of a topic's partitions, from the broker's metadata; there is no topic without one.

    Raises
    ------
    NoAnswer
        The metadata name none.
    """
    if not metadata.partitions:
        reason = "" if metadata.error is None else metadata.error.str()
        raise NoAnswer(f"the partitions of {topic}", reason=reason)
    return sorted(metadata.partitions)


def ask_places(
    consumer: Consumer, partitions: Sequence[TopicPartition], patience_s: float
) -> list[TopicPartition]:
    """Return what the consumer's group has committed; a broker that cannot say it yet is asked again.

    Each question waits twice as long as the one before: Ctrl-C is soon noticed, and a slow answer still comes
    in time, because an answer that comes after its question's end is dropped.

    Raises
    ------
    NoAnswer
        It does not say it in time.
    KafkaException
        It refuses.
    """
    deadline_s = time.monotonic() + patience_s
    slice_s = _FIRST_SLICE_S
    while True:
        left_s = max(1.0, deadline_s - time.monotonic())
        try:
            known = consumer.committed(list(partitions), timeout=min(slice_s, left_s))
            error = next((part.error for part in known if part.error is not None), None)
        except KafkaException as problem:
            error = problem.args[0]
        if error is None:
            return known
        if not is_silence(error):
            raise KafkaException(error)
        if time.monotonic() > deadline_s:
            raise NoAnswer("the place of the group", reason=error.str())
        slice_s *= 2
        time.sleep(_LOOK_AGAIN_S)


def ask_offsets_at(
    consumer: Consumer, asked: Sequence[TopicPartition], timeout_s: float
) -> list[TopicPartition]:
    """Return each partition's first offset at or after a time, negative if there is none.

    Parameters
    ----------
    asked
        With the time, milliseconds since 1970, in place of the offset.

    Raises
    ------
    NoAnswer
        A partition does not say it.
    KafkaException
        The broker refuses.
    """
    try:
        found = consumer.offsets_for_times(list(asked), timeout=timeout_s)
        error = next((part.error for part in found if part.error is not None), None)
    except KafkaException as problem:
        error = problem.args[0]
    if error is None:
        return found
    if not is_silence(error):
        raise KafkaException(error)
    of = name_places((part.topic, part.partition) for part in asked)
    raise NoAnswer(f"the offset of a time in {of}", reason=error.str())


def place_of(message: Message) -> tuple[Place, int]:
    """Return topic, partition and offset of a message, or of the end of a partition."""
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None, "whatever was consumed has a place"
    assert partition is not None, "whatever was consumed has a place"
    assert offset is not None, "whatever was consumed has a place"
    return (topic, partition), offset


def is_about_a_group(error: KafkaError | None) -> bool:
    """Say whether an error only concerns the group's name, which a reader without a group can ignore.

    librdkafka needs a name in any case, and asks for its coordinator.
    """
    return error is not None and error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED
