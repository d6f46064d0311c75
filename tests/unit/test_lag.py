"""The lag: seen although the consumer fetches nothing, and without offsets that are never committed."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest
from aiokafka.errors import IllegalStateError  # type: ignore[import-untyped] # published without types
from confluent_kafka.admin import AdminClient
from faust.types import TP

from cempstream.streams.kafka.gaps import Extent
from cempstream.streams.worker import lag as module
from cempstream.streams.worker.lag import LagMeter

A, B = TP("spectra", 0), TP("spectra", 1)


class Consumer:
    """As much of Faust's consumer as the meter asks."""

    def __init__(
        self, committed: dict[TP, int | None], fetched: dict[TP, int], read_to: dict[TP, int]
    ) -> None:
        self._committed_offset = committed
        self._fetched = fetched
        self._read_to = read_to
        self.unacked: set[object] = set()

    def assignment(self) -> set[TP]:
        return set(self._committed_offset)

    def highwater(self, tp: TP) -> int | None:
        return self._fetched.get(tp)

    async def position(self, tp: TP) -> int:
        return self._read_to[tp]


class Moving(Consumer):
    """One whose partitions are taken away while it is asked."""

    async def position(self, tp: TP) -> int:
        raise IllegalStateError(f"Partition {tp} is not assigned")


def meter(monkeypatch: pytest.MonkeyPatch, extents: dict[TP, Extent]) -> LagMeter:
    """Return a meter whose broker is a table."""
    made = LagMeter(AdminClient({"bootstrap.servers": "127.0.0.1:1", "log_level": 0}))

    def ask(partitions: Collection[TP]) -> dict[TP, Extent]:
        return {tp: extents[tp] for tp in partitions}

    monkeypatch.setattr(made, "_ask_extents", ask)
    return made


async def test_the_lag_is_what_is_not_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    lag = meter(monkeypatch, {A: Extent(0, 10), B: Extent(3, 3)})
    consumer = Consumer({A: 9, B: None}, {A: 12}, {A: 9, B: 3})
    assert lag.measure(consumer) == {A: 3}
    await lag.ask(consumer)
    assert lag.measure(consumer) == {A: 3, B: 0}


async def test_a_consumer_that_fetches_nothing_cannot_hide_what_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lag = meter(monkeypatch, {A: Extent(5, 105)})
    consumer = Consumer({A: None}, {}, {A: 5})
    await lag.ask(consumer)
    assert lag.measure(consumer) == {A: 100}


async def test_the_end_of_a_transaction_is_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten messages and their marker: the eleventh offset is never committed."""
    lag = meter(monkeypatch, {A: Extent(0, 11)})
    consumer = Consumer({A: 10}, {A: 11}, {A: 11})
    await lag.ask(consumer)
    assert lag.measure(consumer) == {A: 0}
    consumer.unacked.add("a message in the models")
    assert lag.measure(consumer) == {A: 1}


async def test_a_partition_that_moves_while_it_is_asked_for_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lag = meter(monkeypatch, {A: Extent(0, 10)})
    await lag.ask(Moving({A: 4}, {A: 10}, {}))
    assert lag.measure(Consumer({A: 4}, {A: 10}, {})) == {A: 6}


async def test_where_the_consumer_no_longer_stands_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The marker of a transaction was read; then the partition moves, and it may be a message again."""
    lag = meter(monkeypatch, {A: Extent(0, 11)})
    consumer = Consumer({A: 10}, {A: 11}, {A: 11})
    await lag.ask(consumer)
    assert lag.measure(consumer) == {A: 0}
    await lag.ask(Moving({A: 10}, {A: 11}, {}))
    assert lag.measure(consumer) == {A: 1}


async def test_a_group_that_has_committed_nothing_lacks_all_that_is_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lag = meter(monkeypatch, {A: Extent(0, 10), B: Extent(4, 10)})
    consumer = Consumer({A: None, B: None}, {}, {A: 0, B: 4})
    await lag.ask(consumer)
    assert lag.measure(consumer) == {A: 10, B: 6}


async def test_what_is_committed_beyond_the_end_is_no_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    lag = meter(monkeypatch, {A: Extent(0, 10)})
    consumer = Consumer({A: 12}, {}, {A: 3})
    await lag.ask(consumer)
    assert lag.measure(consumer) == {A: 0}


async def test_one_message_that_waits_counts_where_the_place_is_not_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lag = meter(monkeypatch, {A: Extent(0, 1)})
    await lag.ask(Moving({A: 0}, {}, {}))
    assert lag.measure(Consumer({A: 0}, {}, {})) == {A: 1}


def test_without_the_brokers_answer_what_is_fetched_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a partition of which nothing is known, nothing is said."""
    lag = meter(monkeypatch, {})
    assert lag.measure(Consumer({A: 0, B: None}, {A: 5, B: 7}, {})) == {A: 5}
    assert lag.measure(Consumer({A: 4}, {}, {})) == {A: 0}


async def test_the_broker_is_asked_with_this_client_about_these_partitions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    admin = AdminClient({"bootstrap.servers": "127.0.0.1:1", "log_level": 0})

    def ask_extents(asked: AdminClient, partitions: Collection[TP]) -> dict[tuple[str, int], Extent]:
        assert asked is admin
        return {tuple(tp): Extent(2, 6) for tp in partitions}

    monkeypatch.setattr(module, "ask_extents", ask_extents)
    lag, consumer = LagMeter(admin), Consumer({A: None}, {}, {A: 2})
    await lag.ask(consumer)
    assert lag.measure(consumer) == {A: 4}
    assert all(isinstance(tp, TP) for tp in lag._extents)


async def test_a_thread_that_does_not_say_where_it_stands_holds_up_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Silent(Consumer):
        async def position(self, tp: TP) -> int:
            await asyncio.Event().wait()
            raise AssertionError

    monkeypatch.setattr(module, "_TIMEOUT_S", 0.05)
    lag = meter(monkeypatch, {A: Extent(0, 10)})
    async with asyncio.timeout(10):
        await lag.ask(Silent({A: 4}, {}, {}))
    assert lag.measure(Consumer({A: 4}, {}, {})) == {A: 6}
