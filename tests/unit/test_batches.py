"""Batches from a stream in memory: when they close, in which order they are acknowledged, how they end."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from mode import Signal

from cempstream.streams.worker import batches as batches_module
from cempstream.streams.worker.batches import EventBatch, EventBatches, FlushReason
from tests.support.virtual_time import virtual_time

pytestmark = pytest.mark.timeout(20)


@dataclass
class MemoryMessage:
    generation_id: int = 1


@dataclass(eq=False)
class MemoryEvent:
    value: bytes
    acknowledged: list[bytes]
    message: MemoryMessage = field(default_factory=MemoryMessage)

    def ack(self) -> bool:
        self.acknowledged.append(self.value)
        return True


class MemoryConsumer:
    n_commits = 0

    async def commit(self) -> bool:
        self.n_commits += 1
        return True


class MemoryApp:
    def __init__(self) -> None:
        self.on_before_shutdown = Signal().with_default_sender(self)
        self.on_partitions_revoked = Signal().with_default_sender(self)
        self.consumer = MemoryConsumer()
        self.consumer_generation_id = 1
        self.crash_reason: BaseException | None = None

    @property
    def crashed(self) -> bool:
        return self.crash_reason is not None

    async def crash(self, reason: BaseException) -> None:
        self.crash_reason = reason


class MemoryStream:
    """What `EventBatches` uses of a Faust stream."""

    def __init__(self) -> None:
        self.app = MemoryApp()
        self.enable_acks = True
        self.current_event: MemoryEvent | None = None
        self.acknowledged: list[bytes] = []
        self.queue: asyncio.Queue[MemoryEvent | Exception | None] = asyncio.Queue()

    def put(self, *values: str) -> None:
        for value in values:
            self.queue.put_nowait(MemoryEvent(value.encode(), self.acknowledged))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (item := await self.queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            self.current_event = item
            yield item.value


@pytest.fixture
def stream() -> MemoryStream:
    return MemoryStream()


def batches(stream: MemoryStream, size: int = 3, within_s: float = 0.05, **options: Any) -> EventBatches:
    return EventBatches(stream, size=size, within_s=within_s, **options)  # type: ignore[arg-type]


def values(batch: EventBatch) -> str:
    return "".join(event.value.decode() for event in batch.events)


def now_s() -> float:
    return asyncio.get_running_loop().time()


async def take(ready: EventBatches, n_batches: int) -> list[EventBatch]:
    taken: list[EventBatch] = []
    async for batch in ready:
        batch.ack()
        taken.append(batch)
        if len(taken) == n_batches:
            break
    return taken


async def read_on(stream: MemoryStream) -> None:
    """Iterate and acknowledge nothing."""
    async with batches(stream) as ready:
        async for _ in ready:
            pass


@virtual_time
async def test_a_batch_closes_when_it_is_full_or_its_first_event_has_waited(stream: MemoryStream) -> None:
    stream.put(*"abcd")
    async with batches(stream, within_s=0.05) as ready:
        full, late = await take(ready, 2)
    assert (values(full), full.reason) == ("abc", FlushReason.SIZE)
    assert (values(late), late.reason) == ("d", FlushReason.DEADLINE)
    assert full.queue_wait_s == (0, 0, 0)
    assert late.queue_wait_s == pytest.approx((0.05,))
    assert now_s() == pytest.approx(0.05)


@virtual_time
async def test_the_deadline_counts_from_the_first_event_not_from_the_last_batch(stream: MemoryStream) -> None:
    async with batches(stream, within_s=0.1) as ready:
        asyncio.get_running_loop().call_later(0.15, stream.put, "a")
        (batch,) = await take(ready, 1)
    assert now_s() == pytest.approx(0.25)
    assert batch.reason is FlushReason.DEADLINE


async def test_nothing_is_acknowledged_before_the_caller_says_so(stream: MemoryStream) -> None:
    stream.put(*"abc")
    async with batches(stream) as ready:
        assert stream.enable_acks is False
        async for batch in ready:
            assert stream.acknowledged == []
            batch.ack()
            assert stream.acknowledged == [b"a", b"b", b"c"]
            break


async def test_a_failing_body_acknowledges_nothing_and_crashes_the_worker(stream: MemoryStream) -> None:
    stream.put(*"abcdef")

    async def agent() -> None:
        async with batches(stream) as ready:
            async for _ in ready:
                raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        await agent()
    assert stream.acknowledged == []
    assert isinstance(stream.app.crash_reason, ValueError)
    with pytest.raises(RuntimeError, match="has failed"):
        await agent()


@virtual_time
async def test_acknowledgements_keep_the_events_order_whatever_the_deliveries_do(
    stream: MemoryStream,
) -> None:
    stream.put(*"abcdef")
    first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    second: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    deliveries = [first, second]
    async with batches(stream, max_in_flight=3) as ready:
        async for batch in ready:
            batch.ack_when(deliveries.pop(0))
            if not deliveries:
                break
        second.set_result(None)
        await asyncio.sleep(0.01)
        assert stream.acknowledged == []
        first.set_result(None)
        await asyncio.sleep(0.01)
        assert b"".join(stream.acknowledged) == b"abcdef"


@virtual_time
async def test_a_failed_delivery_stops_everything_behind_it(stream: MemoryStream) -> None:
    stream.put(*"abcdef")
    first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    second: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    deliveries = [first, second]
    asyncio.get_running_loop().call_later(0.02, second.set_result, None)
    asyncio.get_running_loop().call_later(0.05, first.set_exception, ConnectionError("broker gone"))

    async def agent() -> None:
        async with batches(stream, max_in_flight=3) as ready:
            async for batch in ready:
                batch.ack_when(deliveries.pop(0))

    with pytest.raises(ConnectionError, match="broker gone"):
        await agent()
    assert stream.acknowledged == []
    assert isinstance(stream.app.crash_reason, ConnectionError)


@virtual_time
async def test_no_more_than_max_in_flight_are_out(stream: MemoryStream) -> None:
    stream.put(*"abcdefghi")
    delivery: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.1, delivery.set_result, None)
    given: list[float] = []
    async with batches(stream, max_in_flight=2) as ready:
        async for batch in ready:
            given.append(now_s())
            batch.ack_when(asyncio.shield(delivery))
            if len(given) == 3:
                break
    assert given == pytest.approx([0, 0, 0.1])


@virtual_time
async def test_it_reads_ahead_two_batches_and_no_more(stream: MemoryStream) -> None:
    stream.put(*"abcdefghijklmnop")
    async with batches(stream, size=3) as ready:
        await asyncio.sleep(0.02)
        assert stream.queue.qsize() == 16 - 6
        taken = await take(ready, 5)
    assert "".join(map(values, taken)) == "abcdefghijklmno"


@virtual_time
async def test_an_orderly_end_gives_out_what_has_gathered_and_waits_for_its_delivery(
    stream: MemoryStream,
) -> None:
    stream.put("a")
    reasons: list[FlushReason] = []
    async with batches(stream, within_s=60) as ready:
        await asyncio.sleep(0.01)
        shutdown = asyncio.create_task(stream.app.on_before_shutdown.send())
        async for batch in ready:
            reasons.append(batch.reason)
            batch.ack_when(asyncio.sleep(0.05))
            assert not shutdown.done()
    assert reasons == [FlushReason.DRAIN]
    assert stream.acknowledged == [b"a"]
    await asyncio.wait_for(shutdown, 1)


@virtual_time
async def test_an_orderly_end_does_not_wait_for_ever(stream: MemoryStream) -> None:
    stream.put(*"abc")
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    async with batches(stream, drain_timeout_s=0.1) as ready:
        async for batch in ready:
            batch.ack_when(never)
            break
        await asyncio.wait_for(stream.app.on_before_shutdown.send(), 1)
    assert stream.acknowledged == []


@virtual_time
async def test_before_partitions_move_what_is_in_flight_is_finished_and_the_rest_dropped(
    stream: MemoryStream,
) -> None:
    stream.put(*"abcdef")
    async with batches(stream, size=2) as ready:
        async for batch in ready:
            batch.ack_when(asyncio.sleep(0.05))
            break
        await asyncio.sleep(0.01)
        await stream.app.on_partitions_revoked.send()
        assert stream.acknowledged == [b"a", b"b"]
        assert stream.app.consumer.n_commits == 1
        stream.put("z")
        (after,) = await take(ready, 1)
    assert "c" not in values(after)


async def test_an_event_from_before_a_rebalance_is_not_acknowledged(stream: MemoryStream) -> None:
    stream.put(*"abc")
    async with batches(stream) as ready:
        async for batch in ready:
            stream.app.consumer_generation_id = 2
            batch.ack()
            break
    assert stream.acknowledged == []


async def test_a_forgotten_acknowledgement_is_an_error_not_a_stall(stream: MemoryStream) -> None:
    stream.put(*"abcdef")
    with pytest.raises(RuntimeError, match=r"without ack\(\)"):
        await read_on(stream)


async def test_an_error_in_the_stream_is_raised_in_the_agent(stream: MemoryStream) -> None:
    stream.queue.put_nowait(OSError("lost"))
    with pytest.raises(OSError, match="lost"):
        await read_on(stream)


async def test_the_iteration_ends_with_the_stream(stream: MemoryStream) -> None:
    stream.put("a")
    stream.queue.put_nowait(None)
    async with batches(stream, within_s=60) as ready:
        assert [values(batch) for batch in await take(ready, 5)] == ["a"]


@virtual_time
async def test_a_batch_that_is_held_makes_room_for_one_event_more(stream: MemoryStream) -> None:
    stream.put(*"abcdefghijklmnop")
    async with batches(stream, size=2) as ready:
        await asyncio.sleep(0.01)
        n_left = stream.queue.qsize()
        assert n_left == 16 - 4
        async for batch in ready:
            await asyncio.sleep(0.01)
            n_left = stream.queue.qsize()
            await asyncio.sleep(0.01)
            assert stream.queue.qsize() == n_left > 2, "no more than two batches wait here"
            for n_more in (1, 2):
                ready.hold(batch)
                await asyncio.sleep(0.01)
                assert stream.queue.qsize() == n_left - n_more
            batch.ack()
            break
        taken = await take(ready, 7)
    assert values(batch) + "".join(map(values, taken)) == "abcdefghijklmnop"


@pytest.mark.parametrize("signal", ["on_partitions_revoked", "on_before_shutdown"])
def test_a_batch_that_is_held_is_not_waited_for_but_those_before_it_are(
    stream: MemoryStream, signal: str
) -> None:
    @virtual_time
    async def hold_the_second() -> None:
        stream.put(*"abcd")
        deliveries = [asyncio.sleep(0.05)]
        async with batches(stream, size=2, drain_timeout_s=5.0) as ready:
            async for batch in ready:
                if not deliveries:
                    break
                batch.ack_when(deliveries.pop())
            ready.hold(batch)
            began_s = now_s()
            await getattr(stream.app, signal).send()
            assert stream.acknowledged == [b"a", b"b"]
            assert now_s() - began_s == pytest.approx(0.05)

    hold_the_second()


@virtual_time
async def test_the_probe_of_a_batch_that_was_held_is_waited_for(stream: MemoryStream) -> None:
    stream.put(*"ab")
    async with batches(stream, size=2, drain_timeout_s=5.0) as ready:
        async for batch in ready:
            ready.hold(batch)
            batch.ack_when(asyncio.sleep(0.05))
            break
        await stream.app.on_partitions_revoked.send()
        assert stream.acknowledged == [b"a", b"b"]


@virtual_time
async def test_whoever_waits_already_does_not_wait_for_what_is_held_since(stream: MemoryStream) -> None:
    stream.put(*"ab")
    async with batches(stream, size=2, drain_timeout_s=5.0) as ready:
        async for batch in ready:
            asyncio.get_running_loop().call_later(0.1, ready.hold, batch)
            await stream.app.on_before_shutdown.send()
            assert now_s() == pytest.approx(0.1)
            batch.ack()
            break


async def test_a_batch_is_due_when_its_oldest_message_has_waited(
    stream: MemoryStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = batches(stream, within_s=10.0)
    monkeypatch.setattr(batches_module, "_now_s", lambda: 100.0)
    for arrived_s in (93.0, 99.0):
        ready._arrived.append((arrived_s, MemoryEvent(b"m", [])))  # type: ignore[arg-type] # what it needs
    assert ready._due() == (None, 3.0)
    monkeypatch.setattr(batches_module, "_now_s", lambda: 103.0)
    assert ready._due() == (FlushReason.DEADLINE, 0)
