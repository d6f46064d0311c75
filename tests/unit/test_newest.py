"""The last messages of several partitions: those that are newest, in order, and those that came meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cempstream.streams.subscriber.newest import Newest
from cempstream.streams.subscriber.start import StartingPoints

A, B = ("alerts", 0), ("alerts", 1)


@dataclass(frozen=True)
class Sent:
    """As much of a message as is asked."""

    place: tuple[str, int]
    at: int
    time_ms: int

    def topic(self) -> str:
        return self.place[0]

    def partition(self) -> int:
        return self.place[1]

    def offset(self) -> int:
        return self.at

    def timestamp(self) -> tuple[int, int]:
        return 1, self.time_ms


def collect(points: StartingPoints, n_last: int, *messages: Sent) -> tuple[Newest, list[Any]]:
    newest = Newest(points, n_last)
    for message in messages:
        newest.take(message)  # type: ignore[arg-type] # as much of one as is asked
    return newest, list(newest)


def test_the_newest_of_all_partitions_in_the_order_of_their_times() -> None:
    old, mid, new, last = Sent(A, 0, 10), Sent(B, 0, 20), Sent(A, 1, 30), Sent(B, 1, 40)
    points = StartingPoints({A: 0, B: 0}, {A: 2, B: 2})
    newest, kept = collect(points, 3, old, new, mid, last)
    assert kept == [mid, new, last]
    assert newest.is_complete


def test_what_came_meanwhile_is_kept_besides_and_comes_last() -> None:
    before, since = Sent(A, 1, 30), Sent(A, 2, 5)
    newest, kept = collect(StartingPoints({A: 1}, {A: 2}), 1, before, since)
    assert kept == [before, since]
    assert newest.is_complete


def test_it_is_complete_when_every_partition_was_read_to_its_end() -> None:
    points = StartingPoints({A: 0, B: 3}, {A: 2, B: 3})
    assert not collect(points, 9, Sent(A, 0, 1))[0].is_complete, "one message of A is missing"
    assert collect(points, 9, Sent(A, 0, 1), Sent(A, 1, 2))[0].is_complete, "B was empty"
    assert collect(StartingPoints({B: 3}, {B: 3}), 9)[0].is_complete
