"""What a worker remembers of each partition, and that nothing over a new connection is passed on unseen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from cempstream.streams.kafka.trail import Trail, mark_of
from cempstream.streams.settings import KafkaSettings
from cempstream.streams.worker import faust_transport
from cempstream.streams.worker.faust_transport import Consumer
from cempstream.streams.worker.trails import Trails
from tests.unit.test_faust_transport import consumer

__all__ = ["consumer"]

pytestmark = pytest.mark.timeout(20)

PARTITION = TP("spectra", 0)


def message(offset: int, value: bytes = b"packet") -> Any:
    return SimpleNamespace(tp=PARTITION, offset=offset, key=None, value=value)


@pytest.fixture
def trails() -> Trails:
    trails = Trails()
    trails.begin(PARTITION, Trail())
    return trails


def test_a_commit_has_the_marks_of_what_is_acknowledged(trails: Trails) -> None:
    for offset in range(5):
        trails.acknowledge(message(offset))
    assert Trail.at(3, trails.commit(PARTITION, 3)).marks[0] == mark_of(2, None, b"packet")
    text = trails.commit(PARTITION, 5)
    assert [mark.offset for mark in Trail.at(5, text).marks] == [4, 2]


def test_a_commit_behind_something_else_has_none(trails: Trails) -> None:
    """Such as a transaction's marker."""
    trails.acknowledge(message(4))
    assert trails.commit(PARTITION, 6) == ""
    assert trails.commit(TP("other", 0), 5) == ""


def test_a_line_in_place_of_a_packet_leaves_no_mark(trails: Trails) -> None:
    """The broker has the packet itself."""
    refused = b"its batch, offsets 3 to 4, unpacks to more than 9 bytes: not unpacked"
    trails.acknowledge(message(3, refused))
    trails.read(PARTITION, message(3, refused))
    assert trails.commit(PARTITION, 4) == ""
    assert trails.until_now(PARTITION) == Trail()


def test_what_is_read_and_not_acknowledged_counts_too(trails: Trails) -> None:
    trails.acknowledge(message(1))
    trails.commit(PARTITION, 2)
    trails.read(PARTITION, message(7))
    assert [mark.offset for mark in trails.until_now(PARTITION).marks] == [7, 1]
    trails.go_back(PARTITION, 2)
    assert [mark.offset for mark in trails.until_now(PARTITION).marks] == [1]


class Thread:
    """The thread that fetches, with a connection that may be made anew."""

    def __init__(self) -> None:
        self.place = 10
        self.connect()

    def connect(self) -> None:
        self.connection = SimpleNamespace(connected=lambda: True)

    @property
    def _consumer(self) -> Any:
        cluster = SimpleNamespace(leader_for_partition=lambda tp: 1)
        conns = {(1, faust_transport.ConnectionGroup.DEFAULT): self.connection}
        return SimpleNamespace(_client=SimpleNamespace(cluster=cluster, _conns=conns))

    async def getmany(self, active_partitions: set[TP] | None, timeout: float) -> dict[TP, list[Any]]:
        records = [message(self.place + i) for i in range(2)]
        self.place += 2
        return {PARTITION: records}

    async def seek_wait(self, places: dict[TP, int]) -> None:
        self.place = places[PARTITION]


async def test_what_comes_over_a_new_connection_is_passed_on_once_its_log_was_looked_at(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int | None] = []

    def find_cuts(kafka: KafkaSettings, trails: dict[TP, Trail]) -> dict[TP, int]:
        marks = trails[PARTITION].marks
        looked.append(marks[0].offset if marks else None)
        return {}

    async def fetch() -> list[int]:
        fetched = await consumer._getmany({PARTITION}, 1.0)
        return [record.offset for record in fetched.get(PARTITION, [])]

    thread = Thread()
    consumer.app.kafka = KafkaSettings()  # type: ignore[attr-defined] # the app is ours
    monkeypatch.setattr(consumer, "seek_wait", thread.seek_wait)
    monkeypatch.setattr(faust_transport.aiokafka.Consumer, "_getmany", lambda _, *args: thread.getmany(*args))
    monkeypatch.setattr(consumer._thread, "_consumer", thread._consumer)
    monkeypatch.setattr(faust_transport, "find_cuts", find_cuts)
    monkeypatch.setattr(faust_transport, "ask_committed", lambda kafka, places: {})
    assert await fetch() == []
    assert await fetch() == [10, 11]
    assert await fetch() == [12, 13]
    thread.connect()
    monkeypatch.setattr(consumer._thread, "_consumer", thread._consumer)
    assert await fetch() == []
    assert await fetch() == [14, 15]
    assert looked == [None, 13]
