"""How far a subscriber, or its group, is from the end of its topics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from cempstream.streams.kafka.places import (
    NoAnswer,
    NoBroker,
    Place,
    StreamError,
    ask_places,
    name_places,
    no_broker,
    partitions_of,
)
from cempstream.streams.subscriber.start import fetch_extents

_TIMEOUT_S = 10.0
_GROUP_PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class GroupPlace:
    """Where a group stands in one partition.

    Attributes
    ----------
    acknowledged
        Offset of the next message that the group would read; None where it has acknowledged nothing.
    first, end
        What the partition holds: the first message, and the next one to come.
    """

    place: Place
    acknowledged: int | None
    first: int
    end: int

    @property
    def n_waiting(self) -> int:
        """Messages that the partition holds and the group has not acknowledged."""
        return max(0, self.end - max(self.acknowledged or 0, self.first))

    @property
    def n_expired(self) -> int:
        """Messages that the broker has deleted before the group acknowledged them."""
        return 0 if self.acknowledged is None else max(0, self.first - self.acknowledged)


def count_unread(consumer: Consumer, read_to: Mapping[Place, int]) -> dict[Place, int]:
    """Ask the broker how much each partition holds from an offset on.

    Raises
    ------
    NoAnswer
        A partition's broker does not answer.
    """
    unread = {}
    for place, offset in read_to.items():
        first, end = _ask_extent(consumer, place)
        unread[place] = max(0, end - max(offset, first))
    return unread


def ask_group(config: Mapping[str, Any], topics: Iterable[str]) -> list[GroupPlace]:
    """Ask where a group stands, without joining it.

    Parameters
    ----------
    config
        Of librdkafka, with the group's name as ``group.id``.

    Raises
    ------
    StreamError
        The broker does not answer, has no such topic, or forbids it.
    """
    errors: list[KafkaError] = []
    asks = {"enable.auto.commit": False, "enable.partition.eof": True, "log_level": 0}
    consumer = Consumer({**config, **asks, "error_cb": errors.append})
    bootstrap = str(config["bootstrap.servers"])
    try:
        places = partitions_of(consumer, topics)
        known = ask_places(consumer, [TopicPartition(*place) for place in places], _GROUP_PATIENCE_S)
        extents = fetch_extents(consumer, places)
        return [
            GroupPlace(place, at.offset if at.offset >= 0 else None, *extents[place])
            for place, at in zip(places, known, strict=True)
        ]
    except NoBroker as error:
        consumer.poll(0)  # this is what calls error_cb
        raise no_broker(bootstrap, errors) from error
    except NoAnswer as error:
        consumer.poll(0)
        raise error.at(bootstrap, errors) from error
    except KafkaException as error:
        raise StreamError(f"the broker refuses: {error.args[0].str()}") from error
    finally:
        consumer.close()


def _ask_extent(consumer: Consumer, place: Place) -> tuple[int, int]:
    """Ask for both ends; what was fetched knows of a later one than some brokers say when asked."""
    try:
        first, end = consumer.get_watermark_offsets(TopicPartition(*place), timeout=_TIMEOUT_S)
    except KafkaException as error:
        raise NoAnswer(f"where {name_places([place])} ends", reason=error.args[0].str()) from error
    with suppress(KafkaException, TypeError):  # nothing was fetched yet
        _, fetched = consumer.get_watermark_offsets(TopicPartition(*place), cached=True)
        end = max(end, fetched)
    return first, end
