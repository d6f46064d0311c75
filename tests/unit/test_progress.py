"""The worker's progress: what a probe, a heartbeat and the stall's watch are told of it."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import pytest
from confluent_kafka.admin import AdminClient
from faust.types import TP

from cempstream.streams.kafka.gaps import Extent, find_gap
from cempstream.streams.kafka.messages import PacketOrigin
from cempstream.streams.kafka.places import Place
from cempstream.streams.telemetry.metrics import Metrics
from cempstream.streams.worker import progress as module
from cempstream.streams.worker.breaker import Breakers
from cempstream.streams.worker.heart import Pulse
from cempstream.streams.worker.lag import LagMeter
from cempstream.streams.worker.progress import Progress

PARTITION = TP("spectra", 0)
OTHER = TP("other.spectra", 0)


class Consumer:
    """As much of Faust's consumer as the watch asks: what is committed and where it ends, by partition."""

    unacked: frozenset[object] = frozenset()

    def __init__(self, committed: int | None = None, fetched: int | None = None, **others: int) -> None:
        self._committed_offset = {} if committed is None else {PARTITION: committed}
        self._fetched = {PARTITION: fetched}
        if others:
            self._committed_offset[OTHER], self._fetched[OTHER] = others["committed_other"], others["other"]

    def assignment(self) -> set[TP]:
        return set(self._committed_offset)

    def highwater(self, tp: TP) -> int | None:
        return self._fetched[tp]


BOTH = {"committed": 4, "fetched": 9, "committed_other": 4, "other": 7}


class Kept:
    """As much of the broker's times as a gap asks: what is left was sent at the 1000th second."""

    async def ask_when_sent(self, place: Place, offset: int) -> datetime | None:
        return datetime.fromtimestamp(1000, UTC)

    async def ask_retention(self, topics: set[str]) -> dict[str, float]:
        return {topic: 3600.0 + len(topic) for topic in topics}


def delivered(partition: TP = PARTITION) -> PacketOrigin:
    """Return a packet of the partition, sent now."""
    return PacketOrigin(partition.topic, partition.partition, 9, round(time.time() * 1000), None, ())


@pytest.fixture
def breakers() -> Breakers:
    return Breakers([PARTITION.topic, OTHER.topic], share=0.2, window=10, probe_after_s=30.0)


@pytest.fixture
def progress(breakers: Breakers, monkeypatch: pytest.MonkeyPatch) -> Progress:
    """Return the progress of a worker that counts as stalled at once."""
    monkeypatch.setattr(module, "STALL_S", -1.0)
    admin = AdminClient({"bootstrap.servers": "127.0.0.1:1", "log_level": 0})
    return Progress(LagMeter(admin), Kept(), breakers, Metrics())  # type: ignore[arg-type] # what it asks


def open_breaker(breakers: Breakers, topic: str = PARTITION.topic) -> None:
    breakers[topic].record(10, 10, time.monotonic())


def test_a_worker_without_partitions_is_starting_and_not_ready(progress: Progress) -> None:
    progress.watch(Consumer())
    assert progress.is_ready() == "no partitions are assigned yet"
    assert progress.is_live() is None
    assert progress.pulse == Pulse("starting", None, None)


def test_messages_that_wait_and_are_not_taken_are_a_stall(progress: Progress) -> None:
    progress.watch(Consumer(committed=4, fetched=9))
    assert progress.is_ready() is None
    assert progress.pulse.state == "running"
    assert progress.pulse.lag_messages == 5
    assert str(progress.is_live()).startswith("messages wait in spectra and none was taken for")


def test_nothing_that_waits_is_no_stall(progress: Progress) -> None:
    progress.watch(Consumer(committed=9, fetched=9))
    assert progress.is_live() is None


def test_a_delivery_is_progress(progress: Progress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALL_S", 600.0)
    progress._moved_at_s[PARTITION.topic] -= 700.0
    progress.watch(Consumer(committed=4, fetched=9))
    assert progress.is_live() is not None
    progress.deliver([delivered()])
    assert progress.is_live() is None


def test_an_open_breaker_holds_on_purpose(progress: Progress, breakers: Breakers) -> None:
    progress.watch(Consumer(committed=4, fetched=9))
    open_breaker(breakers)
    assert progress.is_held
    assert progress.is_live() is None
    assert progress.is_ready() == "the breaker is open: too many dead letters of spectra"
    assert progress.pulse.state == "paused"


def test_what_is_taken_away_is_waited_for_no_longer(progress: Progress) -> None:
    progress.watch(Consumer(committed=4, fetched=9))
    progress.watch(Consumer())
    assert not progress.has_partitions
    assert progress.is_live() is None


@pytest.mark.parametrize(
    ("extent", "sent"),
    [(Extent(30, 40), ("1970-01-01T00:15:00.000+00:00", "1970-01-01T00:16:40.000+00:00")),
     (Extent(0, 10), (None, None))],
    ids=["retention", "log-ends-below"],
)  # fmt: skip
async def test_what_the_broker_has_deleted_was_sent_between_two_known_times(
    progress: Progress, caplog: pytest.LogCaptureFixture, extent: Extent, sent: tuple[str | None, str | None]
) -> None:
    """Of what was undone, nothing tells."""
    progress.deliver([PacketOrigin(PARTITION.topic, PARTITION.partition, 9, 900_000, None, ())])
    gap = find_gap(PARTITION, 20, extent)
    assert gap is not None
    await progress.skip(gap)
    (record,) = caplog.records
    said = vars(record)
    assert (said.get("sent_after"), said.get("sent_before")) == sent
    assert said["last_offset"] - said["first_offset"] + 1 == 10
    labels = {"topic": PARTITION.topic, "reason": gap.reason.value}
    assert progress._metrics.registry.get_sample_value("cemp_skipped_total", labels) == 10


def test_one_topic_that_is_held_leaves_the_worker_at_work(progress: Progress, breakers: Breakers) -> None:
    progress.watch(Consumer(**BOTH))
    open_breaker(breakers)
    assert progress.held == [PARTITION.topic]
    assert progress.is_topic_held(PARTITION.topic)
    assert not progress.is_topic_held(OTHER.topic)
    assert progress.is_ready() is None
    assert (progress.pulse.state, progress.pulse.lag_messages) == ("running", 8)
    assert str(progress.is_live()).startswith("messages wait in other.spectra and none was taken for")


def test_with_all_its_topics_held_it_is_not_ready(progress: Progress, breakers: Breakers) -> None:
    progress.watch(Consumer(**BOTH))
    for topic in breakers.topics:
        open_breaker(breakers, topic)
    assert progress.is_ready() == "the breaker is open: too many dead letters of spectra, other.spectra"
    assert progress.pulse.state == "paused"
    assert progress.is_live() is None


def test_a_topic_of_which_it_has_no_partition_keeps_it_from_nothing(
    progress: Progress, breakers: Breakers
) -> None:
    progress.watch(Consumer(committed=4, fetched=9))
    open_breaker(breakers, OTHER.topic)
    assert progress.is_ready() is None
    open_breaker(breakers)
    assert progress.is_held


def test_what_moves_in_one_topic_hides_no_stall_of_another(
    progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STALL_S", 600.0)
    for topic in (PARTITION.topic, OTHER.topic):
        progress._moved_at_s[topic] -= 700.0
    progress.watch(Consumer(**BOTH))
    progress.deliver([delivered(OTHER)])
    assert str(progress.is_live()).startswith("messages wait in spectra")
    progress.move(PARTITION.topic)
    assert progress.is_live() is None


async def test_only_a_topic_that_is_held_waits(progress: Progress, breakers: Breakers) -> None:
    open_breaker(breakers)
    async with asyncio.timeout(10):
        await progress.wait_while_held(OTHER.topic)
        waiting = asyncio.create_task(progress.wait_while_held(PARTITION.topic))
        await asyncio.sleep(0)
        assert not waiting.done()
        breakers.probe_now(PARTITION.topic)
        await waiting


def test_the_metrics_tell_how_much_waits_and_for_how_long(progress: Progress) -> None:
    progress.watch(Consumer(committed=4, fetched=9))
    sent_ms = round((time.time() - 100.0) * 1000)
    progress.deliver([PacketOrigin(PARTITION.topic, PARTITION.partition, 3, sent_ms, None, ())])
    least_s = time.time() - sent_ms / 1000
    progress.watch(Consumer(committed=4, fetched=9))
    labels = {"topic": PARTITION.topic, "partition": "0"}
    registry = progress._metrics.registry
    assert registry.get_sample_value("cemp_consumer_lag_messages", labels) == 5
    waited_s = registry.get_sample_value("cemp_consumer_lag_seconds", labels)
    assert waited_s is not None
    assert least_s <= waited_s <= time.time() - sent_ms / 1000


def metric(progress: Progress, name: str, **labels: str) -> float | None:
    return progress._metrics.registry.get_sample_value(name, labels)


def test_a_worker_counts_as_ready_while_it_has_something_to_read(progress: Progress) -> None:
    progress.watch(Consumer())
    assert metric(progress, "cemp_ready") == 0
    progress.watch(Consumer(committed=4, fetched=9))
    assert metric(progress, "cemp_ready") == 1


def test_partitions_that_come_and_go_are_said_and_what_has_gone_is_measured_no_longer(
    progress: Progress, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    progress.watch(Consumer(**BOTH))
    progress.deliver([delivered()])
    progress.watch(Consumer(committed=4, fetched=9))
    progress.watch(Consumer(committed=4, fetched=9))
    moves = [(vars(record).get("lost"), vars(record).get("gained")) for record in caplog.records]
    assert [tuple((one or "").count("/0") for one in move) for move in moves] == [(0, 2), (1, 0)]
    assert metric(progress, "cemp_consumer_lag_messages", topic=OTHER.topic, partition="0") is None
    assert metric(progress, "cemp_consumer_lag_messages", topic=PARTITION.topic, partition="0") == 5
    assert progress._waiting.last_delivered_s(tuple(PARTITION)) is None  # by now it may have been another's


def test_a_heartbeat_says_how_long_the_oldest_has_waited(progress: Progress) -> None:
    progress.watch(Consumer(**BOTH))
    for partition, ago_s in ((PARTITION, 500.0), (OTHER, 100.0)):
        sent_ms = round((time.time() - ago_s) * 1000)
        progress.deliver([PacketOrigin(partition.topic, partition.partition, 3, sent_ms, None, ())])
    progress.watch(Consumer(**BOTH))
    assert progress.pulse.lag_messages == 8
    waited_s = progress.pulse.lag_seconds
    assert waited_s is not None
    assert waited_s == metric(progress, "cemp_consumer_lag_seconds", topic=PARTITION.topic, partition="0")
    progress.watch(Consumer(committed=9, fetched=9))
    assert progress.pulse.lag_seconds == 0.0


async def test_the_broker_is_asked_where_partitions_end_and_how_long_it_keeps_them(
    progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def ask(consumer: Consumer) -> None:
        asked.append(consumer)

    monkeypatch.setattr(progress._lag, "ask", ask)
    consumer = Consumer(**BOTH)
    progress.watch(consumer)
    await progress.ask(consumer)
    assert asked == [consumer]
    for topic in (PARTITION.topic, OTHER.topic):
        assert metric(progress, "cemp_retention_seconds", topic=topic) == 3600.0 + len(topic)


def test_idleness_begins_when_something_waits(progress: Progress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALL_S", 600.0)
    for topic in (PARTITION.topic, OTHER.topic):
        progress._moved_at_s[topic] -= 700.0
    progress.watch(Consumer(committed=9, fetched=9, committed_other=4, other=4))
    progress.watch(Consumer(**BOTH))
    assert progress.is_live() is None
    progress._moved_at_s[OTHER.topic] -= 650.0
    assert str(progress.is_live()).startswith("messages wait in other.spectra and none was taken for 650 s")


def test_it_stalls_by_the_time_that_it_names(progress: Progress) -> None:
    assert progress.stall_s == module.STALL_S


async def test_what_is_held_is_not_ready_while_it_waits(progress: Progress, breakers: Breakers) -> None:
    progress.watch(Consumer(committed=4, fetched=9))
    open_breaker(breakers)
    async with asyncio.timeout(10):
        waiting = asyncio.create_task(progress.wait_while_held(PARTITION.topic))
        await asyncio.sleep(0)
        assert metric(progress, "cemp_ready") == 0
        breakers.probe_now(PARTITION.topic)
        await waiting
