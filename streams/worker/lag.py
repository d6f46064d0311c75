"""How many messages wait, from two sources: what Fetch says, and what the broker says when asked directly.

A consumer learns of new messages only by fetching. One that has silently stopped fetching (Faust issues 175,
629 and 640) believes that nothing waits. So the broker is also asked, on a separate connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from aiokafka.errors import IllegalStateError  # type: ignore[import-untyped] # published without types
from confluent_kafka.admin import AdminClient
from faust.types import TP

from cempstream.streams.kafka.gaps import Extent, ask_extents

_TIMEOUT_S = 4.0


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
        except (TimeoutError, IllegalStateError):  # the thread that fetches does not answer, or they move
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
        return {TP(*place): extent for place, extent in ask_extents(self._admin, partitions).items()}
