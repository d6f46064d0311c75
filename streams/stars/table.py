"""The table of stars: a cache of the changelog, read on whenever partitions are assigned."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from cempstream.schemas.star import decode_star
from cempstream.streams.kafka.changelog import Changelog
from cempstream.streams.kafka.messages import Headers
from cempstream.streams.stars.store import Held, StarStore
from cempstream.streams.telemetry.star_metrics import StarMetrics

#: So many messages are put into the store at once.
_CHUNK = 256


class StarTable:
    """Hold the stars of the partitions that are assigned."""

    def __init__(self, changelog: Changelog, store: StarStore, metrics: StarMetrics) -> None:
        self.store = store
        self._changelog = changelog
        self._metrics = metrics
        #: Where reading goes on, by partition: what was written since is read, whoever wrote it.
        self._read_to: dict[int, int | None] = {}
        #: Counts up with every assignment: a thread that reads for an earlier one puts nothing more.
        self._n_assigned = 0
        self._restoring: dict[int, asyncio.Task[None]] = {}

    @property
    def topic(self) -> str:
        """The changelog."""
        return self._changelog.topic

    @property
    def headers(self) -> Headers:
        """What every message of the changelog must bear."""
        return self._changelog.headers

    @property
    def restored(self) -> list[int]:
        """The partitions whose stars are all held."""
        return [partition for partition, task in self._restoring.items() if _has_ended_well(task)]

    async def find_lost(self, partitions: Collection[int]) -> list[int]:
        """Return the partitions whose changelog does not hold what it should; their stars are let go.

        Raises
        ------
        KafkaException, NoBroker, NoAnswer
            It cannot be looked at.
        """
        await asyncio.to_thread(self._changelog.identify)
        lost = [
            partition
            for partition in sorted(partitions)
            if await asyncio.to_thread(self._changelog.is_lost, partition)
        ]
        for partition in lost:
            self._let_go(partition)
        return lost

    def assign(self, partitions: Collection[int]) -> None:
        """Let the stars of other partitions go, and read on the changelog of these.

        Also of those that were ours before: meanwhile another process may have had them.
        """
        self._n_assigned += 1
        for partition in [*self._restoring]:
            self._restoring.pop(partition).cancel()
            if partition not in partitions:
                self._let_go(partition)
        for partition in partitions:
            self._restoring[partition] = asyncio.create_task(self._restore(partition))

    async def wait_restored(self, partition: int) -> None:
        """Return when all stars of a partition are held.

        Raises
        ------
        KafkaException, NoBroker, NoAnswer, PacketError
            The changelog cannot be read.
        """
        while (task := self._restoring.get(partition)) is not None:
            await asyncio.wait([task])
            if task is self._restoring.get(partition):  # not begun anew meanwhile
                return task.result()
        return None

    def put(self, partition: int, stars: Mapping[bytes, Held | None]) -> None:
        """Hold what has been written to the changelog."""
        self.store.put(partition, stars)
        self._metrics.held.set(self.store.count())

    def _let_go(self, partition: int) -> None:
        self._read_to.pop(partition, None)
        self.store.drop(partition)
        self._metrics.held.set(self.store.count())

    async def _restore(self, partition: int) -> None:
        with self._metrics.restoring.track_inprogress():
            start = self._read_to.get(partition)
            read_to = await asyncio.to_thread(self._read, partition, start, self._n_assigned)
            self._read_to[partition] = read_to
        self._metrics.held.set(self.store.count())

    def _read(self, partition: int, start: int | None, n_assigned: int) -> int | None:
        """Read a partition to its end; runs in a thread, and what it reads twice is the same."""
        read: dict[bytes, Held | None] = {}
        for offset, key, packet in self._changelog.read(partition, start):
            if n_assigned != self._n_assigned:
                return start
            read[key] = None if packet is None else _held(packet)
            start = offset + 1
            self._metrics.restored.inc()
            if len(read) >= _CHUNK:
                self.store.put(partition, read)
                read = {}
        if n_assigned == self._n_assigned:
            self.store.put(partition, read)
        return start


def _held(packet: bytes) -> Held:
    state = decode_star(packet)
    return Held(packet, state.survey, state.updated_at)


def _has_ended_well(task: asyncio.Task[None]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None
