"""The watch on partitions that no worker reads: a lost worker ends, a spare one stays."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException, TopicPartition
from faust.types import TP

from cempstream.streams.worker import orphans
from cempstream.streams.worker.orphans import OrphanWatch

A, B = TP("spectra", 0), TP("spectra", 1)


class Admin:
    """A broker of one topic and one group, as the admin client tells of it."""

    def __init__(self, members: Sequence[Sequence[TP]] | int, topic_error: int | None = None) -> None:
        self.members = members
        self.topic_error = topic_error
        self.state = ConsumerGroupState.STABLE
        self.silence: list[KafkaException] = []
        self.n_asked = 0

    def list_consumer_groups(self, *, request_timeout: float) -> Future[Any]:
        return _answer(None, SimpleNamespace(valid=[], errors=self.silence))

    def describe_topics(self, topics: Any, *, request_timeout: float) -> dict[str, Future[Any]]:
        partitions = [SimpleNamespace(id=0), SimpleNamespace(id=1)]
        return {"spectra": _answer(self.topic_error, SimpleNamespace(partitions=partitions))}

    def describe_consumer_groups(
        self, groups: list[str], *, request_timeout: float
    ) -> dict[str, Future[Any]]:
        self.n_asked += 1
        if isinstance(self.members, int):
            return {groups[0]: _answer(self.members, None)}
        places = [[TopicPartition(*tp) for tp in member] for member in self.members]
        members = [SimpleNamespace(assignment=SimpleNamespace(topic_partitions=p)) for p in places]
        return {groups[0]: _answer(None, SimpleNamespace(state=self.state, members=members))}


def _answer(error: int | None, result: object) -> Future[Any]:
    future: Future[Any] = Future()
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(KafkaException(KafkaError(error)))
    return future


def watch(
    admin: Admin,
    is_idle: Callable[[], bool] = lambda: True,
    on_lost: Callable[[frozenset[TP]], object] = print,
) -> OrphanWatch:
    return OrphanWatch(admin, "group", ["spectra"], is_idle=is_idle, on_lost=on_lost)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([], {A, B}),  # the state is EMPTY, see below
        ([[]], {A, B}),
        ([[A], []], {B}),
        ([[A], [B], []], set()),
        (KafkaError.GROUP_ID_NOT_FOUND, {A, B}),
        (KafkaError._TIMED_OUT, set()),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, set()),
    ],
)
def test_orphans_are_what_no_member_holds_where_the_broker_tells(
    members: Sequence[Sequence[TP]] | int, expected: set[TP]
) -> None:
    admin = Admin(members)
    admin.state = ConsumerGroupState.STABLE if members else ConsumerGroupState.EMPTY
    assert watch(admin).find() == expected


def test_a_silent_broker_is_not_asked_for_members() -> None:
    """librdkafka may end the process where the answer does not come."""
    admin = Admin([[]])
    admin.silence = [KafkaException(KafkaError(KafkaError._TIMED_OUT))]
    assert watch(admin).find() == set()
    assert admin.n_asked == 0
    admin.silence = []
    assert watch(admin).find() == {A, B}


def test_a_stable_group_without_members_tells_nothing() -> None:
    assert watch(Admin([])).find() == set()


@pytest.mark.parametrize("error", [KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._TIMED_OUT])
def test_a_topic_that_is_not_there_has_no_orphans(error: int) -> None:
    assert watch(Admin([[]], error)).find() == set()


@pytest.mark.parametrize(
    ("error", "expected"), [(KafkaError.UNKNOWN_TOPIC_OR_PART, {A, B}), (KafkaError._TIMED_OUT, set())]
)
def test_a_topic_that_is_not_there_hides_no_other_but_silence_does(error: int, expected: set[TP]) -> None:
    class TwoTopics(Admin):
        def describe_topics(self, topics: Any, *, request_timeout: float) -> dict[str, Future[Any]]:
            known = super().describe_topics(topics, request_timeout=request_timeout)
            return {"other": _answer(error, None), **known}

    assert watch(TwoTopics([[]])).find() == expected


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphans, "_INTERVAL_S", 0.01)
    monkeypatch.setattr(orphans, "PATIENCE_S", 0.05)


@pytest.mark.usefixtures("quick")
def test_a_lost_worker_is_told_once_which_partitions_nobody_reads() -> None:
    told: list[frozenset[TP]] = []
    is_told = threading.Event()

    def on_lost(found: frozenset[TP]) -> None:
        told.append(found)
        is_told.set()

    lost = watch(Admin([[A], []]), on_lost=on_lost)
    lost.start()
    assert is_told.wait(30)
    lost._thread.join(30)
    assert told == [{B}]


@pytest.mark.usefixtures("quick")
def test_neither_a_spare_worker_nor_a_short_rebalance_ends_anything() -> None:
    """The broker is asked a hundred times: mostly all is read, and never twice in a row is something not."""
    admin = Admin([[A], [B], []])
    enough = threading.Event()
    told: list[frozenset[TP]] = []

    def is_idle() -> bool:
        if admin.n_asked >= 100:
            enough.set()
            return False
        admin.members = [[], []] if admin.n_asked % 3 == 2 else [[A], [B], []]
        return True

    watch(admin, is_idle, told.append).start()
    assert enough.wait(60)
    assert told == []


@pytest.mark.usefixtures("quick")
def test_a_worker_with_partitions_asks_nothing() -> None:
    admin = Admin([[]])
    looked = threading.Event()
    n_looks = 0

    def is_idle() -> bool:
        nonlocal n_looks
        n_looks += 1
        if n_looks == 20:
            looked.set()
        return False

    watch(admin, is_idle).start()
    assert looked.wait(30)
    assert admin.n_asked == 0
