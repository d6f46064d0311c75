"""Places in topics: which partitions there are, where a message is, and why a topic cannot be read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from confluent_kafka import Consumer, KafkaError, KafkaException, Message

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

#: A topic and a partition's number.
Place: TypeAlias = tuple[str, int]

_TIMEOUT_S = 10.0


class StreamError(FixableError, ConnectionError):
    """The stream cannot be read; the message says why and what to do."""


class NoBroker(StreamError):
    """No broker answers; the message says where and why."""


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
    """
    try:
        known = consumer.list_topics(timeout=_TIMEOUT_S).topics
    except KafkaException as error:
        raise NoBroker(f"no broker answers: {error.args[0].str()}") from error
    places: list[Place] = []
    for topic in topics:
        if topic not in known:
            raise NoSuchTopic(topic, known)
        places += [(topic, number) for number in sorted(known[topic].partitions)]
    return places


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
