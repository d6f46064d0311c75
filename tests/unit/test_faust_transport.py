"""What our transport changes in Faust's consumer, each on a consumer that is not connected."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import IllegalStateError  # type: ignore[import-untyped] # published without types
from aiokafka.structs import TopicPartition
from faust.types import TP
from mode.utils.queues import FlowControlQueue

from cempstream.streams.worker.faust_app import new_app, raw_topic
from cempstream.streams.worker.faust_transport import Consumer, commit_all

pytestmark = pytest.mark.timeout(20)

PARTITION = TP("spectra", 0)


@pytest.fixture
async def consumer() -> AsyncIterator[Consumer]:
    app = new_app("test", "127.0.0.1:1")
    app.finalize()
    consumer = app.consumer
    assert isinstance(consumer, Consumer)
    consumer.flow_active = True
    yield consumer
    consumer._thread.thread_loop.close()  # Faust opens it at once, for a thread that never starts here


async def test_an_empty_fetch_is_answered_soon(consumer: Consumer) -> None:
    client = consumer._thread._create_worker_consumer(consumer.transport)
    await client.stop()
    assert client._fetch_max_wait_ms == 50


async def test_a_full_buffer_is_looked_at_again_at_once(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def getmany(**_: Any) -> dict[TP, list[bytes]]:
        return {PARTITION: [b"fetched"]}

    monkeypatch.setattr(consumer, "_getmany", getmany)
    consumer._active_partitions = {PARTITION}
    consumer.on_buffer_full(PARTITION)
    waiting = asyncio.create_task(consumer._wait_next_records(600.0))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    consumer.on_buffer_drop(PARTITION)
    records, _ = await asyncio.wait_for(waiting, 10)  # Faust sleeps for a second and then has none
    assert records == {PARTITION: [b"fetched"]}


async def test_a_delivery_that_ends_at_once_is_not_waited_for(consumer: Consumer) -> None:
    delivered = []

    async def deliver() -> None:
        delivered.append(1)

    suspended = asyncio.Event()
    tasks_before = len(asyncio.all_tasks())
    waiting = asyncio.create_task(consumer.wait_first(deliver(), suspended.wait()))
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) - tasks_before == 2  # the call and the delivery; Faust makes five
    await waiting
    assert delivered == [1]


async def test_a_delivery_that_is_held_up_ends_when_the_flow_is_suspended(consumer: Consumer) -> None:
    was_cancelled = []

    async def deliver() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            was_cancelled.append(True)
            raise

    suspended = asyncio.Event()
    waiting = asyncio.create_task(consumer.wait_first(deliver(), suspended.wait()))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    suspended.set()
    await asyncio.wait_for(waiting, 1)
    await asyncio.sleep(0)
    assert was_cancelled == [True]


async def test_an_error_in_a_delivery_is_raised(consumer: Consumer) -> None:
    async def deliver() -> None:
        raise OSError("lost")

    with pytest.raises(OSError, match="lost"):
        await consumer.wait_first(deliver(), asyncio.Event().wait())


@pytest.mark.parametrize(("answers", "n_commits"), [([True], 1), ([False, True], 2), ([False, False], 2)])
async def test_commit_all_does_not_settle_for_a_commit_that_began_earlier(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch, answers: list[bool], n_commits: int
) -> None:
    given: Iterator[bool] = iter(answers)
    made = []

    async def commit() -> bool:
        made.append(1)
        return next(given)

    monkeypatch.setattr(consumer, "commit", commit)
    await commit_all(consumer)
    assert len(made) == n_commits


class Fetches:
    """A broker with two topics, which answers with all that it has from the consumer's place on."""

    HELD, OTHER = TP("held", 0), TP("other", 0)

    def __init__(self, consumer: Consumer, monkeypatch: pytest.MonkeyPatch, n_agents: int = 2) -> None:
        self.consumer = consumer
        self.ends = {self.HELD: 12, self.OTHER: 4}
        self.places = dict.fromkeys(self.ends, 0)
        for tp in (self.HELD, self.OTHER)[:n_agents]:
            consumer.app.agent(raw_topic(consumer.app, tp.topic), name=tp.topic)(_read)
        self.queue: FlowControlQueue[int] = FlowControlQueue(10, flow_control=consumer.app.flow_control)
        consumer._active_partitions = set(self.ends)
        for name, method in {
            "_getmany": self._getmany,
            "seek_wait": self._seek_wait,
            "highwater": self.ends.get,
            "_to_message": lambda tp, offset: SimpleNamespace(offset=offset),
        }.items():
            monkeypatch.setattr(consumer, name, method)

    async def _getmany(self, active_partitions: set[TP], timeout: float) -> dict[TopicPartition, list[int]]:
        places = {tp: self.places[tp] for tp in active_partitions}
        self.places |= {tp: self.ends[tp] for tp in active_partitions}
        return {
            TopicPartition(*tp): [*range(place, self.ends[tp])]  # aiokafka's name, as a fetch has it
            for tp, place in places.items()
            if place < self.ends[tp]
        }

    async def _seek_wait(self, places: dict[TP, int]) -> None:
        self.places |= places

    async def fetch(self) -> dict[TP, list[int]]:
        """Fetch once, and return the offsets that were passed on; those of the held topic are queued."""
        passed: dict[TP, list[int]] = {}
        async for tp, message in self.consumer.getmany(1.0):
            passed.setdefault(tp, []).append(message.offset)
            if tp == self.HELD:
                self.queue.force_put_nowait(message.offset)
        return passed

    def take(self, n_messages: int) -> None:
        for _ in range(n_messages):
            self.queue.get_nowait()


async def _read(stream: Any) -> None:
    """Be an agent that never runs."""


async def test_what_a_held_topic_has_no_room_for_is_left_out_and_fetched_again(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetches = Fetches(consumer, monkeypatch)
    held, other = fetches.HELD, fetches.OTHER
    consumer.hold(held.topic, fetches.queue)
    assert await fetches.fetch() == {held: [*range(8)], other: [*range(4)]}  # eight of ten is full
    fetches.ends |= {held: 14, other: 6}
    assert await fetches.fetch() == {other: [4, 5]}
    fetches.take(3)
    assert await fetches.fetch() == {}  # not yet: Faust fetches again at four of ten
    fetches.take(1)
    assert await fetches.fetch() == {held: [8, 9, 10, 11]}
    fetches.take(8)
    assert await fetches.fetch() == {held: [12, 13]}


async def test_a_topic_that_is_released_is_read_on_without_a_gap(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetches = Fetches(consumer, monkeypatch)
    consumer.hold(fetches.HELD.topic, fetches.queue)
    await fetches.fetch()
    consumer.release(fetches.HELD.topic)
    assert await fetches.fetch() == {fetches.HELD: [8, 9, 10, 11]}


async def test_a_topic_that_is_not_held_is_passed_on_whole(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetches = Fetches(consumer, monkeypatch)
    consumer.hold(fetches.OTHER.topic, fetches.queue)
    passed = await fetches.fetch()
    assert passed[fetches.HELD] == [*range(12)]


async def test_where_there_is_one_topic_nothing_stands_between(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetches = Fetches(consumer, monkeypatch, n_agents=1)
    consumer.hold(fetches.HELD.topic, fetches.queue)
    passed = await fetches.fetch()
    assert passed[fetches.HELD] == [*range(12)]


async def test_partitions_that_move_are_gone_back_to_by_whoever_has_them(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def commit() -> bool:
        return True

    fetches = Fetches(consumer, monkeypatch)
    monkeypatch.setattr(consumer, "commit", commit)
    consumer.hold(fetches.HELD.topic, fetches.queue)
    await fetches.fetch()
    fetches.places[fetches.HELD] = 3  # as committed
    await consumer.on_partitions_revoked({fetches.HELD, fetches.OTHER})
    fetches.take(8)
    consumer._active_partitions = {fetches.HELD}
    consumer.flow_active = True
    assert await fetches.fetch() == {fetches.HELD: [*range(3, 11)]}


async def test_partitions_that_move_while_they_are_gone_back_to_end_nothing(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def seek_wait(places: dict[TP, int]) -> None:
        raise IllegalStateError("No current assignment for partition")

    fetches = Fetches(consumer, monkeypatch)
    consumer.hold(fetches.HELD.topic, fetches.queue)
    await fetches.fetch()
    monkeypatch.setattr(consumer, "seek_wait", seek_wait)
    fetches.ends[fetches.OTHER] = 6
    assert await fetches.fetch() == {fetches.OTHER: [4, 5]}
