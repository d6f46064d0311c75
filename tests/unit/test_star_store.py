"""The stars that are held: by partition, newest last, and found when they have long been silent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cempstream.streams.stars.store import Held, StarStore

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def held(packet: bytes, survey: str = "csst", days_ago: float = 0.0) -> Held:
    return Held(packet, survey, NOW - timedelta(days=days_ago))


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StarStore:
    return StarStore(tmp_path / "new" if request.param == "file" else None)


def test_the_newest_is_held_by_partition_and_none_lets_go(store: StarStore) -> None:
    store.put(0, {b"a": held(b"1"), b"b": held(b"2")})
    store.put(1, {b"a": held(b"3")})
    store.put(0, {b"a": held(b"4"), b"b": None, b"never": None})
    assert [store.get(0, b"a"), store.get(0, b"b"), store.get(1, b"a")] == [b"4", None, b"3"]
    assert store.count() == 2


def test_a_partition_that_goes_takes_its_stars_along(store: StarStore) -> None:
    store.put(0, {b"a": held(b"1")})
    store.put(1, {b"a": held(b"2")})
    store.drop(0)
    assert (store.get(0, b"a"), store.get(1, b"a"), store.count()) == (None, b"2", 1)


def test_silent_stars_are_those_of_the_survey_and_the_partitions(store: StarStore) -> None:
    store.put(0, {b"old": held(b"1", days_ago=9), b"new": held(b"2"), b"desi": held(b"3", "desi", 9)})
    store.put(1, {b"old": held(b"4", days_ago=9)})
    since = NOW - timedelta(days=5)
    assert store.silent([0], "csst", since, 10) == [(0, b"old")]
    assert sorted(store.silent([0, 1], "csst", since, 10)) == [(0, b"old"), (1, b"old")]
    assert len(store.silent([0, 1], "csst", since, 1)) == 1
    assert store.silent([], "csst", since, 10) == []
    assert sorted(store.surveys()) == ["csst", "desi"]


def test_what_an_earlier_process_left_is_not_believed(tmp_path: Path) -> None:
    store = StarStore(tmp_path)
    store.put(0, {b"a": held(b"1")})
    store.close()
    assert StarStore(tmp_path).count() == 0
