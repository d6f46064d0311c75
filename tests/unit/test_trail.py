"""Marks of what was read: few, dense near the newest, and believed only where they belong to the offset."""

from __future__ import annotations

import math

import pytest

from cempstream.streams.kafka.trail import Mark, Trail, mark_of


def trail_of(offsets: range) -> Trail:
    trail = Trail()
    for offset in offsets:
        trail = trail.extend(Mark(offset, offset * 7))
    return trail


@pytest.mark.parametrize("step", [1, 37])
def test_from_any_cut_less_is_read_again_than_was_cut_or_one_commit(step: int) -> None:
    newest = 5_000 * step
    marks = trail_of(range(0, newest + 1, step)).marks
    for n_cut in [*range(1, 200), *range(200, newest, 991 * step)]:
        end = newest + 1 - n_cut
        in_common = next(mark.offset + 1 for mark in marks if mark.offset < end)
        assert 0 <= end - in_common < max(n_cut, step)


def test_a_trail_is_short_and_reaches_back_to_its_beginning() -> None:
    marks = trail_of(range(10_000)).marks
    assert marks[0].offset == 9_999
    assert marks[-1].offset == 0
    assert len(marks) <= 2 * math.log2(10_000) + 2


def test_it_goes_with_the_commit_of_the_offset_behind_it() -> None:
    trail = trail_of(range(5, 900, 3))
    end = trail.marks[0].offset + 1
    assert Trail.at(end, trail.text_at(end)) == trail
    assert trail.text_at(end).endswith("\0"), "confluent-kafka reads on up to a zero byte"
    assert trail.text_at(end + 1) == ""
    assert Trail.at(end + 100, trail.text_at(end)) == Trail(), "moved by others, or copied to another cluster"


@pytest.mark.parametrize(
    "text", ["", None, "host-7", "cemp1", "cemp1 9", "cemp1 x:y", "cemp1 3:4:5", "cemp2 9:1"]
)
def test_another_ones_words_are_no_trail(text: str | None) -> None:
    assert Trail.at(10, text) == Trail()


def test_a_broker_takes_even_the_longest() -> None:
    """It takes 4,096 bytes; the oldest marks are left out first."""
    trail = Trail(tuple(Mark(10**15 - i, 0xFFFFFFFF) for i in range(500)))
    text = trail.text_at(10**15 + 1)
    assert 1900 < len(text) <= 2001
    assert Trail.at(10**15 + 1, text).marks == trail.marks[: len(text.split()) - 1]


def test_going_back_forgets_what_came_after() -> None:
    trail = trail_of(range(100)).extend(Mark(40, 1))
    assert trail.marks[0] == Mark(40, 1)
    assert all(mark.digest == mark.offset * 7 for mark in trail.marks[1:])


def test_a_mark_tells_messages_apart_and_knows_no_time() -> None:
    one = mark_of(7, b"key", b"packet one")
    assert one == mark_of(7, b"key", b"packet one")
    others = [(b"key", b"packet two"), (b"ke", b"ypacket one"), (None, b"packet one"), (b"key", None)]
    assert len({one, *(mark_of(7, *other) for other in others)}) == 5
    assert mark_of(7, None, b"x" * 5000) != mark_of(7, None, b"x" * 5001)
