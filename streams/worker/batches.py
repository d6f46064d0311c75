"""Batches of events from a Faust stream, acknowledged only after their output is confirmed.

Why not Faust's own (all measured with faust-streaming 0.15.3, see ``tests/broker/test_batches.py``):
``take`` acknowledges a batch whose processing failed; ``noack_take`` does not, but an exception in its loop
stalls the stream silently, its timer does not start with the first event, and it says neither why a batch
was closed nor how long it waited.

Faust means to commit the highest acknowledged offset without a gap below it. It fails in two cases, and both
lose spectra if the process then dies: before a partition's first commit it does not look for gaps, and later
it overlooks a gap of one. So this module acknowledges events in the order in which they came.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

from faust.types import EventT, StreamT

from cempstream.streams.worker.faust_transport import commit_all

_READ_AHEAD_BATCHES = 2
"""How many batches may wait here; the rest stays in Faust's queue (``stream_buffer_maxsize``)."""


class FlushReason(StrEnum):
    """Why a batch was closed."""

    SIZE = "size"
    DEADLINE = "deadline"
    DRAIN = "drain"


@dataclass(frozen=True, eq=False, slots=True)
class EventBatch:
    """Events in order of arrival, none of them acknowledged yet.

    Attributes
    ----------
    reason
        Why the batch was closed.
    queue_wait_s
        How long each event waited here, in seconds, in the order of `events`.
    """

    events: tuple[EventT[bytes], ...]
    reason: FlushReason
    queue_wait_s: tuple[float, ...]
    _owner: "EventBatches" = field(repr=False)

    def __len__(self) -> int:
        return len(self.events)

    def ack(self) -> None:
        """Acknowledge every event, once the batches before this one are; call it after the delivery."""
        self._owner._settle(self)

    def ack_when(self, delivery: Awaitable[None]) -> None:
        """Acknowledge every event when `delivery` ends; the next batch may start meanwhile.

        If `delivery` raises, nothing is acknowledged from here on and the iteration raises the same.
        """
        self._owner._settle_when(self, delivery)


class EventBatches:
    """Iterate over a stream in batches: ``async with EventBatches(...) as ready: async for batch in ready``.

    A batch is closed when it holds `size` events or when its first event has waited `within_s`. On the
    app's orderly end the current batch is finished, the events gathered so far are given out as a last batch,
    and the iteration ends.

    Parameters
    ----------
    stream
        The agent's stream; its topic has ``value_type=bytes`` and ``value_serializer="raw"``.
    size
        Largest number of events in a batch.
    within_s
        Longest wait of a batch's first event, in seconds; 0 does not wait.
    max_in_flight
        How many batches may be given out and not yet acknowledged.
    drain_timeout_s
        How long an orderly end or a rebalance waits for batches in flight. What is not acknowledged by
        then is processed again. Keep it below the session timeout.
    """

    def __init__(
        self,
        stream: StreamT[bytes],
        *,
        size: int,
        within_s: float,
        max_in_flight: int = 2,
        drain_timeout_s: float = 5.0,
    ) -> None:
        self._stream = stream
        self._size = size
        self._within_s = within_s
        self._max_in_flight = max_in_flight
        self._drain_timeout_s = drain_timeout_s
        self._arrived: deque[tuple[float, EventT[bytes]]] = deque()
        self._in_flight: deque[EventBatch] = deque()
        self._settled: set[EventBatch] = set()
        self._held: EventBatch | None = None
        self._deliveries: dict[EventBatch, asyncio.Future[None]] = {}
        self._failure: BaseException | None = None
        self._is_draining = False
        self._changed = asyncio.Event()  # set when `_next` should look again
        self._has_room = asyncio.Event()
        self._acknowledged = asyncio.Event()
        self._is_closed = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self._stream.app.crashed:  # restarted by a supervisor that should not: see `new_app`
            raise RuntimeError("the worker has failed and is about to end")
        # As `take` and `noack_take` do. `stream.noack()` returns a clone, which the agent does not stop.
        self._stream.enable_acks = False
        self._stream.app.on_before_shutdown.connect(self._drain)
        self._stream.app.on_partitions_revoked.connect(self._let_go)
        self._reader = asyncio.create_task(self._read(), name="batches-reader")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_closed.set()
        self._acknowledged.set()
        self._stream.app.on_before_shutdown.disconnect(self._drain)
        self._stream.app.on_partitions_revoked.disconnect(self._let_go)
        for task in (self._reader, *self._deliveries.values()):
            if task is not None:
                task.cancel()
        if isinstance(error, Exception):
            # Faust would restart the agent on the same stream, which yields nothing more.
            await self._stream.app.crash(error)

    def hold(self, batch: EventBatch) -> None:
        """Expect no delivery of a batch for a while: neither a rebalance nor the end waits for it.

        One event more than may wait here is taken: whoever hands them out may wait for room, and goes on.
        """
        self._held = batch
        self._has_room.set()
        self._acknowledged.set()  # whoever waits looks again

    async def __aiter__(self) -> AsyncIterator[EventBatch]:
        while (batch := await self._next()) is not None:
            yield batch
            if batch in self._in_flight and batch not in self._settled and batch not in self._deliveries:
                raise RuntimeError("a batch was left without ack() or ack_when()")

    async def _read(self) -> None:
        """Move events from Faust's queue to ours."""
        try:
            async for _ in self._stream:
                event = self._stream.current_event
                assert event is not None, "the stream is fed by a topic"
                self._arrived.append((_now_s(), event))
                if len(self._arrived) in (1, self._size):
                    self._changed.set()
                if len(self._arrived) >= self._size * _READ_AHEAD_BATCHES:
                    self._has_room.clear()
                    await self._has_room.wait()
        except Exception as error:  # noqa: BLE001 - not handled here: `_next` raises it in the agent
            self._fail(error)
        else:  # the stream has been stopped
            self._is_draining = True
            self._changed.set()

    async def _next(self) -> EventBatch | None:
        """Wait for the next batch; None when the stream has been drained."""
        while True:
            if self._failure is not None:
                raise self._failure
            reason, wait_s = self._due()
            if reason is not None and self._arrived:
                return self._take(reason)
            if self._is_draining and not self._in_flight:
                return None
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()

    def _due(self) -> tuple[FlushReason | None, float | None]:
        """Return why a batch is due now, or how long to wait; None means until an event comes."""
        if len(self._in_flight) >= self._max_in_flight:
            return None, None
        if len(self._arrived) >= self._size:
            return FlushReason.SIZE, 0
        if self._is_draining:
            return FlushReason.DRAIN, None
        if not self._arrived:
            return None, None
        left_s = self._arrived[0][0] + self._within_s - _now_s()
        return (FlushReason.DEADLINE, 0) if left_s <= 0 else (None, left_s)

    def _take(self, reason: FlushReason) -> EventBatch:
        now = _now_s()
        taken = [self._arrived.popleft() for _ in range(min(self._size, len(self._arrived)))]
        self._has_room.set()
        batch = EventBatch(
            events=tuple(event for _, event in taken),
            reason=reason,
            queue_wait_s=tuple(now - arrived for arrived, _ in taken),
            _owner=self,
        )
        self._in_flight.append(batch)
        return batch

    def _settle_when(self, batch: EventBatch, delivery: Awaitable[None]) -> None:
        future = asyncio.ensure_future(delivery)
        self._deliveries[batch] = future
        self._held = None

        def on_end(ended: asyncio.Future[None]) -> None:
            del self._deliveries[batch]
            if ended.cancelled():
                return
            error = ended.exception()
            if error is None:
                self._settle(batch)
            else:
                self._fail(error)

        future.add_done_callback(on_end)

    def _settle(self, batch: EventBatch) -> None:
        """Acknowledge the batch and the later ones that waited for it, unless an earlier one is not done."""
        self._settled.add(batch)
        while self._failure is None and self._in_flight and self._in_flight[0] in self._settled:
            first = self._in_flight.popleft()
            self._settled.remove(first)
            generation = self._stream.app.consumer_generation_id
            for event in first.events:
                # An event from before a rebalance belongs to whoever owns the partition now.
                if event.message.generation_id == generation:
                    event.ack()
        self._acknowledged.set()
        self._changed.set()

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._acknowledged.set()
        self._changed.set()

    async def _drain(self, *_: Any, **__: Any) -> None:
        """Finish the batches in flight; Faust calls it before it stops the agents."""
        self._is_draining = True
        self._changed.set()
        await self._wait_until(lambda: [*self._in_flight] == [self._held])

    async def _let_go(self, *_: Any, **__: Any) -> None:
        """Finish and commit the batches in flight; Faust calls it before partitions move."""
        self._arrived.clear()
        self._has_room.set()
        await self._wait_until(lambda: self._failure is not None or not self._is_busy())
        await commit_all(self._stream.app.consumer)

    def _is_busy(self) -> bool:
        """Whether a batch is in flight that is not held."""
        return any(batch is not self._held for batch in self._in_flight)

    async def _wait_until(self, is_done: Callable[[], bool]) -> None:
        """Wait until this is true, looked at after every acknowledgement, or the iteration has ended."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._drain_timeout_s):
                while not (self._is_closed.is_set() or is_done()):
                    self._acknowledged.clear()
                    await self._acknowledged.wait()


def _now_s() -> float:
    return asyncio.get_running_loop().time()
