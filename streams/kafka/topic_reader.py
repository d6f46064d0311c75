"""Read the messages that a topic holds now, from its beginning or from a time, to its end."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from cempstream.streams.kafka.places import (
    NoAnswer,
    NoBroker,
    Place,
    ask_offsets_at,
    is_about_a_group,
    name_places,
    no_broker,
    partitions_of,
    place_of,
)
from cempstream.streams.settings import KafkaSettings

logger = logging.getLogger(__name__)

#: A broker, or a partition's leader, that says nothing for so long does not answer.
_TIMEOUT_S = 10.0
_POLL_S = 0.1
_CHUNK = 256
#: Clocks and retries of producers put a partition's messages out of order by less than this.
_DISORDER_MS = 600_000


@contextmanager
def open_consumer(kafka: KafkaSettings) -> Iterator[Consumer]:
    """Open a consumer that belongs to no group and leaves no trace.

    Raises
    ------
    NoBroker, NoAnswer
        From within the block, with the reason.
    """
    errors: list[KafkaError] = []
    consumer = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap,
            **kafka.client_config(),
            "group.id": "cempstream-reader",  # required by librdkafka, never used: nothing is committed
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 100,
            "log_level": 0,  # errors come as exceptions
            "error_cb": errors.append,
        }
    )
    try:
        yield consumer
    except NoBroker as error:
        consumer.poll(0)  # this is what calls error_cb
        raise no_broker(kafka.bootstrap, errors) from error
    except NoAnswer as error:
        consumer.poll(0)
        raise error.at(kafka.bootstrap, errors) from error
    finally:
        consumer.close()


def ask_first(consumer: Consumer, offsets: Mapping[Place, int], timeout_s: float) -> dict[Place, Message]:
    """Return the first message from an offset on, of each partition; where there is none, its end.

    An end has an error, ``_PARTITION_EOF``. Where the offset does not exist, the first message of all is
    returned. Partitions that say nothing in time are left out.
    """
    found: dict[Place, Message] = {}
    deadline_s = time.monotonic() + timeout_s
    consumer.assign([TopicPartition(*place, offset) for place, offset in offsets.items()])
    while len(found) < len(offsets) and (left_s := deadline_s - time.monotonic()) > 0:
        message = consumer.poll(left_s)
        if message is None:
            break
        error = message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            continue
        place, _ = place_of(message)
        if place not in found:
            found[place] = message
            consumer.pause([TopicPartition(*place)])
    consumer.resume([TopicPartition(*place) for place in found])  # it outlives the assignment
    return found


def read_topic(
    kafka: KafkaSettings, topic: str, *, since: datetime | None = None, until: datetime | None = None
) -> Iterator[Message]:
    """Yield the messages that a topic holds, in the order of each partition, then end.

    It ends only where every partition has said that it has no more. The end of a partition is where Fetch
    says it is; ListOffsets is not asked, because not every broker answers it rightly.

    Parameters
    ----------
    since
        Start at the first message of this time or later.
    until
        Leave out messages of this time or later, and end each partition soon after the first of them.

    Where ``since`` is given, messages without a time are left out, and a warning counts those that were met.

    Raises
    ------
    NoBroker, NoSuchTopic
        There is nothing to read.
    NoAnswer
        A partition says nothing; its leader may be away.
    """
    with open_consumer(kafka) as consumer:
        starts = [TopicPartition(*place, OFFSET_BEGINNING) for place in partitions_of(consumer, [topic])]
        since_ms = -math.inf if since is None else max(0, round(since.timestamp() * 1000))
        until_ms = math.inf if until is None else until.timestamp() * 1000
        if since is not None:
            starts = at_time(consumer, starts, round(since_ms))
        consumer.assign(starts)
        n_timeless = 0
        unfinished = {(start.topic, start.partition) for start in starts}
        silence = _Silence()
        while unfinished:
            messages = _consume(consumer)
            silence.judge(messages, unfinished)
            for message in messages:
                if _is_end(message):
                    place, _ = place_of(message)
                    unfinished.discard(place)
                    consumer.pause([TopicPartition(*place)])
                elif since_ms <= message.timestamp()[1] < until_ms:
                    yield message
                elif message.timestamp()[1] < 0:
                    n_timeless += 1
                elif message.timestamp()[1] >= until_ms + _DISORDER_MS:
                    place, _ = place_of(message)
                    unfinished.discard(place)
                    consumer.pause([TopicPartition(*place)])
        if n_timeless:
            logger.warning("%d messages of %s have no time and were left out", n_timeless, topic)


def read_partition(kafka: KafkaSettings, topic: str, partition: int, start: int) -> Iterator[Message]:
    """Yield the messages of a partition from an offset to its end.

    Parameters
    ----------
    start
        An offset, or one of librdkafka's, such as ``OFFSET_BEGINNING``; one that the partition no longer
        holds means its beginning.

    Raises
    ------
    NoBroker, NoAnswer
        It cannot be read to its end.
    """
    with open_consumer(kafka) as consumer:
        consumer.assign([TopicPartition(topic, partition, start)])
        silence = _Silence()
        while True:
            messages = _consume(consumer)
            silence.judge(messages, [(topic, partition)])
            for message in messages:
                if _is_end(message):
                    return
                yield message


def count_messages(kafka: KafkaSettings, topics: Sequence[str]) -> dict[str, int]:
    """Return how many messages each topic holds, from the watermarks that Fetch returns.

    Raises
    ------
    NoBroker, NoSuchTopic, NoAnswer
        A topic cannot be counted as a whole.
    """
    counts = dict.fromkeys(topics, 0)
    silence = _Silence()
    with open_consumer(kafka) as consumer:
        waiting = set(partitions_of(consumer, topics))
        consumer.assign([TopicPartition(*place, OFFSET_BEGINNING) for place in waiting])
        while waiting:
            messages = _consume(consumer)
            silence.judge(messages, waiting)
            # One message or the end is enough: the answer that it came in said where its partition ends.
            for message in messages:
                _is_end(message)  # raises on any other error
            seen = {place_of(message)[0] for message in messages} & waiting
            consumer.pause([TopicPartition(*place) for place in seen])
            for topic, i in seen:
                low, high = consumer.get_watermark_offsets(TopicPartition(topic, i), cached=True)
                counts[topic] += max(0, high - max(0, low))
            waiting -= seen
    return counts


def read_one(kafka: KafkaSettings, topic: str, partition: int, offset: int) -> Message | None:
    """Return the message at one place; None where there is none.

    Raises
    ------
    NoBroker, NoSuchTopic, NoAnswer
        The broker does not say whether there is one.
    """
    with open_consumer(kafka) as consumer:
        if (topic, partition) not in partitions_of(consumer, [topic]):
            return None
        place = TopicPartition(topic, partition, offset)
        consumer.assign([place])
        silence = _Silence()
        while True:
            _, end = consumer.get_watermark_offsets(place, cached=True)
            if 0 <= end <= offset:
                return None
            message = consumer.poll(_POLL_S)
            if message is not None and not is_about_a_group(message.error()):
                return None if _is_end(message) or message.offset() != offset else message
            silence.judge([], [(topic, partition)])


class _Silence:
    """Wait for partitions that say nothing, up to a limit."""

    def __init__(self) -> None:
        self._waited_s = 0.0  # while asking; the time that our caller takes for a message does not count

    def judge(self, messages: Sequence[Message], waiting: Collection[Place]) -> None:
        """Take a poll's answer into account.

        Raises
        ------
        NoAnswer
            There was none for too long.
        """
        self._waited_s = 0.0 if messages else self._waited_s + _POLL_S
        if self._waited_s > _TIMEOUT_S:
            raise NoAnswer(name_places(waiting), reason=f"silent for {_TIMEOUT_S:g} s")


def _consume(consumer: Consumer) -> list[Message]:
    messages = consumer.consume(_CHUNK, timeout=_POLL_S)
    return [message for message in messages if not is_about_a_group(message.error())]


def _is_end(message: Message) -> bool:
    """Say whether this is the end of a partition and no message; any other error is raised."""
    error = message.error()
    if error is None:
        return False
    if error.code() != KafkaError._PARTITION_EOF:
        raise KafkaException(error)
    return True


def at_time(consumer: Consumer, starts: list[TopicPartition], since_ms: int) -> list[TopicPartition]:
    """Return each partition's first offset at or after a time; its end if there is none.

    Raises
    ------
    NoAnswer
        A partition does not say it.
    KafkaException
        The broker refuses.
    """
    asked = [TopicPartition(start.topic, start.partition, since_ms) for start in starts]
    found = ask_offsets_at(consumer, asked, _TIMEOUT_S)
    return [TopicPartition(p.topic, p.partition, p.offset if p.offset >= 0 else OFFSET_END) for p in found]
