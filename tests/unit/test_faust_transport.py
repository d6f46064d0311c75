"""What our transport changes in Faust's consumer, each on a consumer that is not connected."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import (  # type: ignore[import-untyped] # published without types
    IllegalStateError,
    KafkaConnectionError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from aiokafka.structs import TopicPartition
from faust.transport.drivers import aiokafka
from faust.types import TP
from mode.utils.queues import FlowControlQueue

from cempstream.streams.kafka.gaps import Gap, GapReason
from cempstream.streams.worker import faust_transport as module
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


async def test_an_empty_fetch_is_answered_soon_and_its_batches_are_guarded(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded = []
    monkeypatch.setattr(module, "guard_batches", lambda: guarded.append(True))
    client = consumer._thread._create_worker_consumer(consumer.transport)
    await client.stop()
    assert guarded == [True]
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
    assert len((await asyncio.wait_for(waiting, 10)).done) == 1
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


async def test_a_delivery_at_once_says_what_it_returned(consumer: Consumer) -> None:
    async def deliver() -> str:
        return "delivered"

    delivery = deliver()
    found = await consumer.wait_first(delivery, asyncio.Event().wait())
    assert (found.done, found.results, found.stopped) == ([delivery], ["delivered"], False)


async def test_other_waits_than_a_delivery_are_fausts(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wait with a limit, of one thing, or of what is not a coroutine."""
    asked = []

    async def wait_first(self: Any, *waits: Any, timeout: Any = None) -> None:
        asked.append((len(waits), timeout))
        for wait in waits:
            if asyncio.iscoroutine(wait):
                wait.close()

    async def deliver() -> None: ...

    monkeypatch.setattr(aiokafka.Consumer, "wait_first", wait_first)
    await consumer.wait_first(deliver(), asyncio.Event().wait(), timeout=3.0)
    await consumer.wait_first(deliver())
    await consumer.wait_first(asyncio.Event(), asyncio.Event())
    assert asked == [(2, 3.0), (1, None), (2, None)]


class Log:
    """A broker whose partitions hold messages from 100 up to 400, and what the consumer did about it."""

    def __init__(self, consumer: Consumer, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
        self.consumer, self.error = consumer, error
        self.did: list[str] = []
        self.gaps: list[Gap] = []
        self.commits = True
        consumer.app.on_gap = self._on_gap  # type: ignore[attr-defined] # the app is ours
        monkeypatch.setattr(aiokafka.Consumer, "_getmany", self._fetch)
        for name in ("earliest_offsets", "highwaters", "_commit", "commit", "seek_wait"):
            monkeypatch.setattr(consumer, name, getattr(self, name))

    async def _fetch(self, *asked: Any) -> Any:
        assert asked == ({PARTITION}, 1.0)
        raise self.error

    async def earliest_offsets(self, tp: TP) -> dict[TP, int]:
        return {tp: 100}

    async def highwaters(self, tp: TP) -> dict[TP, int]:
        return {tp: 400}

    async def commit(self) -> bool:
        self.did.append("commit")
        return True

    async def _commit(self, places: dict[TP, int]) -> bool:
        self.did += [f"commit {tp.topic} {offset}" for tp, offset in places.items()]
        return self.commits

    async def seek_wait(self, places: dict[TP, int]) -> None:
        self.did += [f"seek {tp.topic} {offset}" for tp, offset in places.items()]

    async def _on_gap(self, gap: Gap) -> None:
        self.gaps.append(gap)

    async def fetch(self) -> Any:
        return await self.consumer._getmany({PARTITION}, 1.0)


NAME = TopicPartition(*PARTITION)  # as aiokafka's errors have it


@pytest.mark.parametrize(("position", "reason"), [(40, GapReason.RETENTION), (700, GapReason.LOG_ENDS_BELOW)])
async def test_a_place_that_the_log_does_not_have_is_committed_anew_and_said(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch, position: int, reason: GapReason
) -> None:
    log = Log(consumer, monkeypatch, OffsetOutOfRangeError({NAME: position}))
    for known in (consumer._acked, consumer._acked_index, consumer._gap):
        known[PARTITION] = [position]  # type: ignore[index] # what Faust knows of the old log
    assert await log.fetch() == {}
    assert log.did == ["commit", "commit spectra 100", "seek spectra 100"]
    assert [(gap.place, gap.reason, gap.position) for gap in log.gaps] == [(PARTITION, reason, position)]
    assert isinstance(log.gaps[0].place, TP)
    assert consumer._committed_offset[PARTITION] == 100
    assert PARTITION not in {**consumer._acked, **consumer._acked_index, **consumer._gap}


async def test_a_log_that_begins_at_its_first_message_has_nothing_committed(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(consumer, monkeypatch, OffsetOutOfRangeError({NAME: 700}))

    async def earliest_offsets(tp: TP) -> dict[TP, int]:
        return {tp: 0}

    monkeypatch.setattr(consumer, "earliest_offsets", earliest_offsets)
    await log.fetch()
    assert consumer._committed_offset[PARTITION] is None  # Faust leaves out what is not above it


async def test_without_a_listener_a_gap_is_passed_all_the_same(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(consumer, monkeypatch, OffsetOutOfRangeError({NAME: 700}))
    consumer.app.on_gap = None  # type: ignore[attr-defined] # the app is ours
    await log.fetch()
    assert log.did[-1] == "seek spectra 100"


async def test_a_place_that_the_log_has_again_is_kept(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(consumer, monkeypatch, OffsetOutOfRangeError({NAME: 400}))
    assert await log.fetch() == {}
    assert log.did == []
    assert log.gaps == []


async def test_a_group_without_a_place_starts_at_the_first_message(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(consumer, monkeypatch, NoOffsetForPartitionError(NAME))
    assert await log.fetch() == {}
    assert log.did == ["seek spectra 100"]
    assert log.gaps == []


async def test_a_place_that_cannot_be_committed_is_tried_again_at_the_next_fetch(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(consumer, monkeypatch, OffsetOutOfRangeError({NAME: 700}))
    log.commits = False
    await log.fetch()
    assert log.did == ["commit", "commit spectra 100"]
    log.commits = True
    await log.fetch()
    assert log.did[-1] == "seek spectra 100"
    assert len(log.gaps) == 1


async def test_a_broker_that_does_not_answer_for_one_partition_keeps_no_other(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = TP("other", 3)
    log = Log(consumer, monkeypatch, OffsetOutOfRangeError({NAME: 700, TopicPartition(*other): 50}))

    async def highwaters(tp: TP) -> dict[TP, int]:
        if tp == PARTITION:
            raise KafkaConnectionError
        return {tp: 400}

    monkeypatch.setattr(consumer, "highwaters", highwaters)
    assert await log.fetch() == {}
    assert [gap.place for gap in log.gaps] == [other]


async def test_what_is_under_way_in_a_partition_is_delivered_before_it_is_read_anew(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(consumer, monkeypatch, OffsetOutOfRangeError({NAME: 700}))
    under_way, elsewhere = SimpleNamespace(tp=PARTITION), SimpleNamespace(tp=TP("other", 3))
    unacked = {id(message): message for message in (under_way, elsewhere)}
    monkeypatch.setattr(Consumer, "unacked", property(lambda _: unacked.values()))
    reading = asyncio.create_task(log.fetch())
    await asyncio.sleep(0.2)
    assert log.did == []
    del unacked[id(under_way)]
    await reading
    assert log.did[-1] == "seek spectra 100"


async def test_what_is_never_delivered_ends_the_process(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(consumer, monkeypatch, OffsetOutOfRangeError({NAME: 700}))
    monkeypatch.setattr(module, "_DRAIN_S", 0.1)
    monkeypatch.setattr(Consumer, "unacked", property(lambda _: [SimpleNamespace(tp=PARTITION)]))
    with pytest.raises(TimeoutError):
        await log.fetch()
    assert log.did == []


@pytest.mark.parametrize("name", ["on_stop", "on_partitions_revoked"])
async def test_what_is_acknowledged_is_committed_before_it_is_too_late(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    did = []

    async def commit() -> bool:
        did.append("commit")
        return True

    async def ended(self: Any, *_: Any) -> None:
        did.append("faust")

    monkeypatch.setattr(consumer, "commit", commit)
    monkeypatch.setattr(aiokafka.Consumer, name, ended)
    await getattr(consumer, name)(*([{PARTITION}] if "revoked" in name else []))
    assert did == ["commit", "faust"]


async def test_a_fetch_that_is_cancelled_does_not_end_the_thread(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def on_thread_stop(self: Any) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(aiokafka.AIOKafkaConsumerThread, "on_thread_stop", on_thread_stop)
    assert isinstance(consumer._thread, module.ConsumerThread)
    await consumer._thread.on_thread_stop()


@pytest.mark.parametrize(
    ("connected", "is_connected"),
    [
        ({1: True, 2: True}, True),
        ({1: True, 2: False}, False),
        ({1: True}, False),
        ({1: True, 2: True, 3: False}, True),
    ],
    ids=["all", "one-lost", "one-never", "of-no-concern"],
)
async def test_a_worker_is_connected_where_every_leader_of_its_partitions_is(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch, connected: dict[int, bool], is_connected: bool
) -> None:
    leaders = {PARTITION: 1, TP("other", 0): 2}
    client = SimpleNamespace(
        cluster=SimpleNamespace(leader_for_partition=leaders.get),
        _conns={
            (node, module.ConnectionGroup.DEFAULT): SimpleNamespace(connected=lambda is_up=is_up: is_up)
            for node, is_up in connected.items()
        },
    )
    monkeypatch.setattr(consumer._thread, "_consumer", SimpleNamespace(_client=client))
    monkeypatch.setattr(consumer, "assignment", lambda: set(leaders))
    assert consumer.is_connected() == is_connected
