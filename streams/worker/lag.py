"""How many messages wait, from two sources: what Fetch says, and what the broker says when asked directly.

A consumer learns of new messages only by fetching. One that has silently stopped fetching (Faust issues 175,
629 and 640) believes that nothing waits. So the broker is also asked, on a separate connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any, NamedTuple

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined] # it is public
from faust.types import TP

_TIMEOUT_S = 4.0


class Extent(NamedTuple):
    """Offset of the first message that a partition still holds, and of the next one to come."""

    first: int
    end: int


class LagMeter:
    """Measure the lag of a Faust consumer."""

    def __init__(self, admin: AdminClient) -> None:
        self._admin = admin
        self._extents: dict[TP, Extent] = {}
        self._positions: dict[TP, int] = {}

    async def ask(self, consumer: Any) -> None:
        """Ask the broker where the consumer's partitions end; without an answer the last one is kept."""
        partitions = frozenset(consumer.assignment())
        self._extents |= await asyncio.to_thread(self._ask_extents, partitions)
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                self._positions = {tp: await consumer.position(tp) for tp in partitions}
        except TimeoutError:  # the thread that fetches does not answer
            self._positions = {}

    def measure(self, consumer: Any) -> dict[TP, int]:
        """Return how many messages are not committed, by partition, as far as known.

        The last offsets of a partition may belong to no message: a producer's transactions end with a marker,
        which the consumer skips and never commits.
        """
        lag = {}
        for tp in consumer.assignment():
            extent, committed = self._extents.get(tp), consumer._committed_offset.get(tp)
            if extent is None and committed is None:
                continue
            first, end = extent or Extent(0, 0)
            end = max(end, consumer.highwater(tp) or 0)
            is_read = self._positions.get(tp, -1) >= end and not consumer.unacked
            lag[tp] = 0 if is_read else max(0, end - max(committed or 0, first))
        return lag

    def _ask_extents(self, partitions: Collection[TP]) -> dict[TP, Extent]:
        """Ask for both ends; runs in a separate thread."""
        firsts = self._ask_offsets(partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call] # it has no types
        ends = self._ask_offsets(partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call] # it has no types
        return {tp: Extent(first, ends[tp]) for tp, first in firsts.items() if tp in ends}

    def _ask_offsets(self, partitions: Collection[TP], place: OffsetSpec) -> dict[TP, int]:
        offsets: dict[TP, int] = {}
        if not partitions:
            return offsets
        asked = {TopicPartition(tp.topic, tp.partition): place for tp in partitions}
        for partition, answer in self._admin.list_offsets(asked, request_timeout=_TIMEOUT_S).items():
            try:
                offsets[TP(partition.topic, partition.partition)] = answer.result().offset
            except KafkaException:  # it moves between brokers, or none answers: asked again next time
                continue
        return offsets
