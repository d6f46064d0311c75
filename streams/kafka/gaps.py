"""Where a consumer group stands against what the broker still holds: what expired unread, what was undone.

Kafka says neither aloud. A client whose place no longer exists is "out of range", and goes to the log's start
or end by itself; what lay between is nowhere counted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined] # it is public

from cempstream.streams.kafka.places import NoAnswer, Place, ask_places
from cempstream.streams.kafka.trail import Trail
from cempstream.streams.settings import KafkaSettings

_TIMEOUT_S = 4.0

#: A cluster that has just started, or has never had a group, knows of none for a while.
_GROUP_PATIENCE_S = 30.0


class Extent(NamedTuple):
    """Offset of the first message that a partition still holds, and of the next one to come."""

    first: int
    end: int


class GapReason(StrEnum):
    """Why a group cannot read on where it was; also the metric's label."""

    RETENTION = "retention"
    LOG_ENDS_BELOW = "log_ends_below"
    LOG_REPLACED = "log_replaced"


@dataclass(frozen=True, slots=True)
class Gap:
    """A group's place that the broker does not have.

    Attributes
    ----------
    position
        The next offset that the group would read.
    extent
        What the partition holds.
    in_common
        Up to this offset it holds what the group has read, as far as is known.
    """

    place: Place
    reason: GapReason
    position: int
    extent: Extent
    in_common: int = 0

    @property
    def goes_on_at(self) -> int:
        """Where reading goes on: nothing after it is lost that the broker still has."""
        return max(self.extent.first, self.in_common)

    @property
    def offsets(self) -> tuple[int, int]:
        """First and last offset that the broker does not have; of a log that was replaced, at most these."""
        if self.reason is GapReason.RETENTION:
            return self.position, self.extent.first - 1
        return (
            self.extent.end if self.reason is GapReason.LOG_ENDS_BELOW else self.goes_on_at
        ), self.position - 1

    @property
    def n_offsets(self) -> int:
        """How many they are."""
        first, last = self.offsets
        return last - first + 1

    def __str__(self) -> str:
        topic, partition = self.place
        if self.reason is GapReason.RETENTION:
            return (
                f"{topic}/{partition} begins at offset {self.extent.first} and the group was at "
                f"{self.position}: {self.n_offsets} were deleted unread"
            )
        if self.reason is GapReason.LOG_REPLACED:
            return (
                f"{topic}/{partition} does not hold at offset {self.position - 1} what the group read there, "
                f"but up to offset {self.goes_on_at}: the broker has lost messages and received others since"
            )
        return (
            f"{topic}/{partition} ends at offset {self.extent.end} and the group was at {self.position}: "
            "the broker has lost messages, or the group's offset was set too far"
        )


def find_gap(place: Place, position: int, extent: Extent, in_common: int | None = None) -> Gap | None:
    """Hold a group's place against what the partition has; None where it can read on.

    Parameters
    ----------
    in_common
        Up to where the log is the one that was read, where marks say that it is no longer (`find_cuts`).
    """
    if position < extent.first:
        return Gap(place, GapReason.RETENTION, position, extent)
    if position > extent.end:
        return Gap(place, GapReason.LOG_ENDS_BELOW, position, extent, in_common or 0)
    if in_common is not None and in_common < position:
        return Gap(place, GapReason.LOG_REPLACED, position, extent, in_common)
    return None


def find_gaps(
    positions: Mapping[Place, int], extents: Mapping[Place, Extent], cuts: Mapping[Place, int]
) -> Iterator[Gap]:
    """Yield the gaps of a group, in the order of topic and partition."""
    for place in sorted(positions.keys() & extents.keys()):
        if (gap := find_gap(place, positions[place], extents[place], cuts.get(place))) is not None:
            yield gap


class Committed(NamedTuple):
    """A group's place in a partition, and the marks of what it has read."""

    offset: int
    trail: Trail


def ask_committed(kafka: KafkaSettings, places: Collection[Place]) -> dict[Place, Committed]:
    """Ask for what the worker's group has committed, where it has.

    Raises
    ------
    NoAnswer
        The broker does not answer.
    KafkaException
        It does not tell us.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap,
            "group.id": kafka.group,
            "enable.auto.commit": False,
            "log_level": 0,
            **kafka.client_config(),
        }
    )
    try:
        known = ask_places(consumer, [TopicPartition(*place) for place in places], _GROUP_PATIENCE_S)
    except NoAnswer as error:
        raise error.at(kafka.bootstrap) from error
    finally:
        consumer.close()
    return {
        (p.topic, p.partition): Committed(p.offset, Trail.at(p.offset, p.metadata))
        for p in known
        if p.offset >= 0
    }


def ask_extents(admin: AdminClient, places: Collection[Place]) -> dict[Place, Extent]:
    """Ask for both ends of partitions; those of which the broker does not tell are left out."""
    firsts = _ask_offsets(admin, places, OffsetSpec.earliest())  # type: ignore[no-untyped-call] # it has no types
    ends = _ask_offsets(admin, places, OffsetSpec.latest())  # type: ignore[no-untyped-call] # it has no types
    return {place: Extent(first, ends[place]) for place, first in firsts.items() if place in ends}


def _ask_offsets(admin: AdminClient, places: Collection[Place], spec: OffsetSpec) -> dict[Place, int]:
    offsets: dict[Place, int] = {}
    if not places:
        return offsets
    asked = {TopicPartition(topic, partition): spec for topic, partition in places}
    for partition, answer in admin.list_offsets(asked, request_timeout=_TIMEOUT_S).items():
        try:
            offsets[partition.topic, partition.partition] = answer.result(2 * _TIMEOUT_S).offset
        except (KafkaException, TimeoutError):  # it moves between brokers, or none answers: the next time
            continue
    return offsets
