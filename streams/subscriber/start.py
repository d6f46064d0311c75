"""How a subscriber connects and where it starts: from a time, from either end, or some messages back.

The end of a partition is the high watermark that Fetch returns, and a message's own time decides whether it
is in a time range. Not every broker answers ListOffsets correctly, neither for the end nor for a time; but
its answer for a time is never too late.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from cempstream.streams.kafka.places import (
    NoAnswer,
    NoBroker,
    Place,
    StreamError,
    ask_offsets_at,
    is_about_a_group,
    name_places,
    no_broker,
    partitions_of,
    place_of,
)
from cempstream.streams.times import Start

_TIMEOUT_S = 15.0
_POLL_S = 0.2


#: What of a configuration is of the schema registry, as Confluent's own tools name it.
REGISTRY_PREFIX = "schema.registry."

#: What a caller may not set, because acknowledging depends on it.
_OURS = (
    "bootstrap.servers",
    "group.id",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "partition.assignment.strategy",
)


@dataclass(frozen=True, slots=True)
class StartingPoints:
    """Where to start and what to leave out.

    Attributes
    ----------
    offsets
        First offset to read, per partition.
    ends
        Where each partition ended when asked.
    not_before_ms
        Messages of an earlier time are left out, milliseconds since 1970.
    """

    offsets: Mapping[Place, int]
    ends: Mapping[Place, int]
    not_before_ms: int = 0


def starting_points(config: Mapping[str, Any], topics: Iterable[str], start: Start) -> StartingPoints:
    """Ask the broker where to start, with a separate consumer that belongs to no group.

    Raises
    ------
    StreamError
        The broker does not answer in time, has no such topic, or forbids reading it.
    """
    errors: list[KafkaError] = []
    asks = {"enable.auto.commit": False, "enable.partition.eof": True, "log_level": 0}
    consumer = Consumer({**config, **asks, "error_cb": errors.append})
    try:
        return _starting_points(consumer, topics, start)
    except KafkaException as error:
        raise StreamError(f"the broker refuses: {error.args[0].str()}") from error
    except StreamError as error:
        consumer.poll(0)  # this is what calls error_cb
        if isinstance(error, NoBroker):
            raise no_broker(config["bootstrap.servers"], errors) from error
        if isinstance(error, NoAnswer):
            raise error.at(config["bootstrap.servers"], errors) from error
        if errors:  # not allowed, wrong password
            raise StreamError(f"{error}: {errors[0].str()}") from error
        raise
    finally:
        consumer.close()


def _starting_points(consumer: Consumer, topics: Iterable[str], start: Start) -> StartingPoints:
    places = partitions_of(consumer, topics)
    if start == "earliest":
        return StartingPoints(dict.fromkeys(places, OFFSET_BEGINNING), {})
    limits = fetch_extents(consumer, places)
    ends = {place: high for place, (_, high) in limits.items()}
    if start == "latest":
        return StartingPoints(ends, ends)
    if isinstance(start, int):
        return StartingPoints({place: max(low, high + start) for place, (low, high) in limits.items()}, ends)
    start_ms = max(0, round(start.timestamp() * 1000))  # to Kafka a negative time means an end
    return StartingPoints(_at_time(consumer, ends, start_ms), ends, start_ms)


def fetch_extents(consumer: Consumer, places: list[Place]) -> dict[Place, tuple[int, int]]:
    """Return the first and the next offset of every partition, as Fetch reports them."""
    consumer.assign([TopicPartition(*place, OFFSET_BEGINNING) for place in places])
    limits: dict[Place, tuple[int, int]] = {}
    deadline_s = time.monotonic() + _TIMEOUT_S
    while len(limits) < len(places):
        if time.monotonic() > deadline_s:
            raise NoAnswer(f"where {name_places(set(places) - limits.keys())} ends")
        # One message or the end is enough: the answer that it came in says where its partition ends.
        for message in consumer.consume(256, timeout=_POLL_S):
            error = message.error()
            if is_about_a_group(error):
                continue
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise StreamError(error.str())
            place, offset = place_of(message)
            if place not in limits:
                partition = TopicPartition(*place)
                _, high = consumer.get_watermark_offsets(partition, cached=True)
                limits[place] = (offset, high)
                consumer.pause([partition])
    consumer.unassign()
    return limits


def _at_time(consumer: Consumer, ends: Mapping[Place, int], start_ms: int) -> dict[Place, int]:
    asked = [TopicPartition(*place, start_ms) for place in ends]
    found = ask_offsets_at(consumer, asked, _TIMEOUT_S)
    at = {(part.topic, part.partition): part.offset for part in found}
    return {place: at[place] if at[place] >= 0 else end for place, end in ends.items()}


def consumer_config(bootstrap: str, group: str | None, more: Mapping[str, Any]) -> dict[str, Any]:
    """Return librdkafka's configuration of a subscriber.

    Raises
    ------
    ValueError
        `more` sets what acknowledging depends on.
    """
    for name in _OURS:
        if name in more:
            raise ValueError(f"'{name}' is set by the stream itself and cannot stand in config")
    return {
        "auto.offset.reset": "earliest",  # if the broker has deleted that offset meanwhile
        "auto.commit.interval.ms": 1000,
        **{name: value for name, value in more.items() if not name.startswith(REGISTRY_PREFIX)},
        "bootstrap.servers": bootstrap,
        # Without a group librdkafka still needs a name; a broker's refusal of it is ignored.
        "group.id": group or f"cempstream-{uuid4()}",
        "enable.auto.commit": group is not None,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
    }


def registry_config(more: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a subscriber's configuration is of the schema registry, as its client wants it."""
    return {
        name.removeprefix(REGISTRY_PREFIX): value
        for name, value in more.items()
        if name.startswith(REGISTRY_PREFIX)
    }
