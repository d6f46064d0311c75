"""What our transport does over a new connection and with its commits, on a consumer that is not connected."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer  # type: ignore[import-untyped] # published without types
from aiokafka.errors import IllegalStateError  # type: ignore[import-untyped] # published without types
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers import aiokafka
from faust.types import TP

from cempstream.streams.kafka.gaps import Committed, Gap, GapReason
from cempstream.streams.kafka.places import NoAnswer
from cempstream.streams.kafka.trail import Trail, mark_of
from cempstream.streams.settings import KafkaSettings
from cempstream.streams.worker import faust_transport as module
from cempstream.streams.worker.faust_transport import Consumer
from tests.unit.test_faust_transport import Fetches, consumer
from tests.unit.test_trails import PARTITION, message

__all__ = ["consumer"]

pytestmark = pytest.mark.timeout(20)

OTHER = TP("other", 0)


class Broker:
    """Two partitions over one connection, what it says of their logs, and what the consumer did."""

    def __init__(self, consumer: Consumer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.consumer = consumer
        self.places = {PARTITION: 10, OTHER: 50}
        self.n_fetched = {PARTITION: 2, OTHER: 0}
        self.committed: dict[TP, Committed] = {}
        self.cuts: dict[TP, int] = {}
        self.did: list[str] = []
        self.gaps: list[Gap] = []
        self.looked: list[dict[TP, list[int]]] = []
        self.asked: list[list[TP]] = []
        self.commits = True
        consumer.app.kafka = KafkaSettings()  # type: ignore[attr-defined] # the app is ours
        consumer.app.on_gap = self._on_gap  # type: ignore[attr-defined] # the app is ours
        monkeypatch.setattr(aiokafka.Consumer, "_getmany", lambda _, *asked: self._getmany(*asked))
        for name in ("earliest_offsets", "highwaters", "seek_wait", "position", "commit", "_commit"):
            monkeypatch.setattr(consumer, name, getattr(self, name))
        monkeypatch.setattr(module, "find_cuts", self._find_cuts)
        monkeypatch.setattr(module, "ask_committed", self._ask_committed)
        monkeypatch.setattr(consumer._thread, "_consumer", SimpleNamespace(_client=self))
        self.cluster = SimpleNamespace(leader_for_partition=lambda tp: 1)
        self.connect()

    def connect(self, is_up: bool = True) -> None:
        key = (1, module.ConnectionGroup.DEFAULT)
        self._conns = {key: SimpleNamespace(connected=lambda: is_up)}

    async def _getmany(self, active_partitions: set[TP], timeout: float) -> dict[TP, list[Any]]:
        fetched = {}
        for tp in sorted(active_partitions):
            if n := self.n_fetched[tp]:
                fetched[tp] = [message(self.places[tp] + i) for i in range(n)]
                self.places[tp] += n
        return fetched

    def _find_cuts(self, kafka: KafkaSettings, trails: dict[TP, Trail]) -> dict[TP, int]:
        self.looked.append({tp: [mark.offset for mark in trail.marks] for tp, trail in trails.items()})
        return self.cuts

    def _ask_committed(self, kafka: KafkaSettings, places: list[TP]) -> dict[TP, Committed]:
        self.asked.append(places)
        return self.committed

    async def earliest_offsets(self, *tps: TP) -> dict[TP, int]:
        return dict.fromkeys(tps, 0)

    async def highwaters(self, *tps: TP) -> dict[TP, int]:
        return dict.fromkeys(tps, 400)

    async def position(self, tp: TP) -> int:
        return self.places[tp]

    async def seek_wait(self, places: dict[TP, int]) -> None:
        self.did += [f"seek {tp.topic} {offset}" for tp, offset in places.items()]
        self.places |= places

    async def commit(self) -> bool:
        self.did.append("commit")
        return True

    async def _commit(self, places: dict[TP, int]) -> bool:
        self.did += [f"commit {tp.topic} {offset}" for tp, offset in places.items()]
        return self.commits

    async def _on_gap(self, gap: Gap) -> None:
        self.gaps.append(gap)

    async def fetch(self, *tps: TP) -> dict[TP, list[int]]:
        fetched = await self.consumer._getmany(set(tps or (PARTITION,)), 1.0)
        return {tp: [record.offset for record in records] for tp, records in fetched.items()}


@pytest.fixture
def broker(consumer: Consumer, monkeypatch: pytest.MonkeyPatch) -> Broker:
    return Broker(consumer, monkeypatch)


async def test_each_partition_goes_back_to_what_is_not_yet_passed_on(broker: Broker) -> None:
    """One of two brought messages, of the other the thread says where it stands."""
    assert await broker.fetch(PARTITION, OTHER) == {}
    assert sorted(broker.did) == ["seek other 50", "seek spectra 10"]
    assert broker.looked == [{PARTITION: [], OTHER: []}]
    assert sorted(broker.asked[0]) == [OTHER, PARTITION]
    assert await broker.fetch(PARTITION, OTHER) == {PARTITION: [10, 11]}
    assert len(broker.looked) == 1


async def test_what_is_passed_on_over_a_known_connection_is_left_while_another_is_looked_at(
    broker: Broker,
) -> None:
    await broker.fetch(PARTITION)
    assert await broker.fetch(PARTITION, OTHER) == {PARTITION: [10, 11]}
    assert broker.did == ["seek spectra 10", "seek other 50"]
    assert [*broker.looked[1]] == [OTHER]


async def test_the_marks_of_the_last_commit_are_asked_for_once(broker: Broker) -> None:
    broker.committed = {PARTITION: Committed(10, Trail((mark_of(9, None, b"packet"),)))}
    await broker.fetch()
    broker.connect()
    await broker.fetch()
    assert broker.asked == [[PARTITION]]
    assert broker.looked == [{PARTITION: [9]}, {PARTITION: [9]}]


async def test_a_log_that_was_cut_is_read_again_from_what_it_has_in_common(broker: Broker) -> None:
    marks = tuple(mark_of(offset, None, b"packet") for offset in (9, 3))
    broker.committed = {PARTITION: Committed(10, Trail(marks))}
    broker.cuts = {PARTITION: 4}
    assert await broker.fetch() == {}
    assert broker.consumer._trails.until_now(PARTITION).marks == marks[1:]
    assert broker.did == ["seek spectra 10", "commit", "commit spectra 4", "seek spectra 4"]
    assert [(gap.reason, gap.position, gap.goes_on_at) for gap in broker.gaps] == [
        (GapReason.LOG_REPLACED, 10, 4)
    ]
    assert await broker.fetch() == {PARTITION: [4, 5]}


async def test_a_new_start_that_cannot_be_committed_is_tried_again(broker: Broker) -> None:
    broker.cuts, broker.commits = {PARTITION: 4}, False
    assert await broker.fetch() == {}
    assert await broker.fetch() == {}
    assert broker.gaps == []
    broker.commits = True
    assert await broker.fetch() == {}
    assert await broker.fetch() == {PARTITION: [4, 5]}


async def test_a_log_that_is_the_same_up_to_the_place_is_read_on(broker: Broker) -> None:
    broker.cuts = {PARTITION: 10}
    assert await broker.fetch() == {}
    assert await broker.fetch() == {PARTITION: [10, 11]}
    assert broker.gaps == []
    assert len(broker.looked) == 1


@pytest.mark.parametrize("why", ["stopped", "no-broker-is-ours", "not-connected"])
async def test_where_nothing_can_be_looked_at_nothing_is_held_up(broker: Broker, why: str) -> None:
    match why:
        case "stopped":
            broker.consumer.flow_active = False
        case "no-broker-is-ours":
            broker.consumer.app.kafka = None  # type: ignore[attr-defined] # the app is ours
        case _:
            broker.connect(is_up=False)
    assert await broker.fetch() == {PARTITION: [10, 11]}
    assert broker.looked == []


@pytest.mark.parametrize("name", ["ask_committed", "find_cuts"])
async def test_partitions_that_move_while_the_broker_is_asked_are_left_alone(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    loop = asyncio.get_running_loop()

    def moves(*_: Any) -> dict[TP, Any]:
        revoked = broker.consumer.on_partitions_revoked({PARTITION})
        asyncio.run_coroutine_threadsafe(revoked, loop).result(10)
        return {}

    async def ended(*_: Any) -> None: ...

    monkeypatch.setattr(aiokafka.Consumer, "on_partitions_revoked", ended)
    monkeypatch.setattr(module, name, moves)
    assert await broker.fetch() == {}
    assert broker.did == ["commit"]
    assert broker.looked == []
    assert PARTITION not in broker.consumer._trails


async def test_partitions_that_have_moved_are_looked_at_by_whoever_has_them(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def seek_wait(places: dict[TP, int]) -> None:
        raise IllegalStateError("No current assignment for partition")

    with monkeypatch.context() as moving:
        moving.setattr(broker.consumer, "seek_wait", seek_wait)
        assert await broker.fetch() == {}
    broker.places[PARTITION] = 10
    assert await broker.fetch() == {}
    assert await broker.fetch() == {PARTITION: [10, 11]}
    assert len(broker.looked) == 2


@pytest.mark.parametrize("error", [TimeoutError(), IllegalStateError("it moves")])
async def test_a_partition_whose_place_is_not_known_is_looked_at_later(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def position(tp: TP) -> int:
        raise error

    with monkeypatch.context() as silent:
        silent.setattr(broker.consumer, "position", position)
        assert await broker.fetch(OTHER) == {}
    assert (broker.looked, broker.did) == ([], [])
    await broker.fetch(OTHER)
    assert broker.did == ["seek other 50"]


async def test_a_broker_that_does_not_say_is_named_and_what_is_read_from_then_on_is_known(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def ask_committed(*_: Any) -> dict[TP, Committed]:
        raise NoAnswer("the group's offsets")

    monkeypatch.setattr(module, "ask_committed", ask_committed)
    assert await broker.fetch() == {}
    (said,) = caplog.messages
    where, why = said.split(" is the one that was read is not known: ")
    assert "spectra/0" in where
    assert "the group's offsets" in why
    assert PARTITION in broker.consumer._trails
    assert await broker.fetch() == {PARTITION: [10, 11]}
    assert broker.consumer._trails.until_now(PARTITION).marks == (mark_of(11, None, b"packet"),)


async def test_a_broker_that_takes_too_long_holds_up_nothing(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: Any) -> dict[TP, Committed]:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(module, "_CHECK_S", 0.05)
    monkeypatch.setattr(module.asyncio, "to_thread", never)
    assert await broker.fetch() == {}
    assert await broker.fetch() == {PARTITION: [10, 11]}


async def test_after_partitions_have_moved_every_log_is_looked_at_again(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ended(*_: Any) -> None: ...

    monkeypatch.setattr(aiokafka.Consumer, "on_partitions_revoked", ended)
    await broker.fetch()
    assert await broker.fetch() == {PARTITION: [10, 11]}
    await broker.consumer.on_partitions_revoked({PARTITION})
    assert await broker.fetch() == {}
    assert broker.asked == [[PARTITION], [PARTITION]]


async def test_what_is_acknowledged_goes_with_the_commit_of_the_offset_after_it(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the broker, as Faust's thread sends it: no other offset has the text."""
    sent: dict[Any, Any] = {}

    async def commit(self: Any, offsets: dict[Any, Any]) -> None:
        sent.update(offsets)

    async def commit_later(self: Any, offsets: dict[TP, int]) -> bool:
        return True

    news = iter([True, False])
    monkeypatch.setattr(AIOKafkaConsumer, "commit", commit)
    monkeypatch.setattr(aiokafka.Consumer, "_commit", commit_later)
    monkeypatch.setattr(aiokafka.Consumer, "ack", lambda self, _: next(news))
    client = consumer._thread._create_worker_consumer(consumer.transport)
    consumer._trails.begin(PARTITION, Trail())
    assert consumer.ack(message(7)) is True
    assert consumer.ack(message(8)) is False  # Faust knows it already, and what it is: nothing is noted
    assert await consumer._commit({PARTITION: 8, OTHER: 3}) is True
    name, other = TopicPartition(*PARTITION), TopicPartition(*OTHER)
    await client.commit({name: OffsetAndMetadata(8, ""), other: OffsetAndMetadata(3, "")})
    assert Trail.at(8, sent[name].metadata).marks == (mark_of(7, None, b"packet"),)
    assert sent[other] == OffsetAndMetadata(3, "")
    await client.commit({name: OffsetAndMetadata(9, "")})
    assert sent[name] == OffsetAndMetadata(9, "")
    await client.stop()


async def test_a_thread_that_stops_ends_fausts(consumer: Consumer, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = []

    async def on_thread_stop(self: Any) -> None:
        ended.append(self)

    monkeypatch.setattr(aiokafka.AIOKafkaConsumerThread, "on_thread_stop", on_thread_stop)
    thread: Any = consumer._thread
    await thread.on_thread_stop()
    assert ended == [thread]


async def test_the_app_is_told_of_its_places_before_anything_is_read(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    did: list[Any] = []

    async def perform_seek(self: Any) -> None:
        did.append("faust")

    async def on_assigned(of: Consumer) -> None:
        did.append(of)

    monkeypatch.setattr(aiokafka.Consumer, "perform_seek", perform_seek)
    consumer.app.on_assigned = None  # type: ignore[attr-defined] # the app is ours
    await consumer.perform_seek()
    consumer.app.on_assigned = on_assigned  # type: ignore[attr-defined] # the app is ours
    await consumer.perform_seek()
    assert did == ["faust", "faust", consumer]


@pytest.mark.parametrize("first", [0, 30])
async def test_a_group_that_reads_again_begins_at_the_first_message(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    async def earliest_offsets(*tps: TP) -> dict[TP, int]:
        return dict.fromkeys(tps, first)

    consumer = broker.consumer
    monkeypatch.setattr(consumer, "earliest_offsets", earliest_offsets)
    marks = tuple(mark_of(offset, None, b"packet") for offset in (90, 29))
    consumer._trails.begin(PARTITION, Trail(marks))
    assert await consumer.read_again([PARTITION]) is True
    assert broker.did == [f"commit spectra {first}", f"seek spectra {first}"]
    assert consumer._committed_offset[PARTITION] == (first or None)
    assert consumer._trails.until_now(PARTITION).marks == (marks[1:] if first else ())


async def test_a_group_whose_partitions_have_moved_reads_nothing_again(broker: Broker) -> None:
    broker.commits = False
    assert await broker.consumer.read_again([PARTITION]) is False
    assert broker.did == ["commit spectra 0"]


async def test_a_topic_without_room_cuts_short_no_other(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetches = Fetches(consumer, monkeypatch)
    consumer.hold(fetches.HELD.topic, fetches.queue)
    fetches.ends = {fetches.HELD: 12, fetches.OTHER: 30}
    assert await fetches.fetch() == {fetches.HELD: [*range(8)], fetches.OTHER: [*range(30)]}


async def test_a_topic_that_alone_is_read_goes_on_when_it_has_room(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetches = Fetches(consumer, monkeypatch)
    consumer._active_partitions = {fetches.HELD}
    consumer.hold(fetches.HELD.topic, fetches.queue)
    assert await fetches.fetch() == {fetches.HELD: [*range(8)]}
    reading = asyncio.create_task(fetches.fetch())
    await asyncio.sleep(0.05)
    assert not reading.done()
    fetches.take(4)
    assert await asyncio.wait_for(reading, 10) == {fetches.HELD: [8, 9, 10, 11]}
