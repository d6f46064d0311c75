"""A group's place against what the broker holds."""

from __future__ import annotations

import pytest

from cempstream.streams.kafka.gaps import Extent, GapReason, find_gap, find_gaps

PLACE = ("lamost.spectra.v1", 3)


@pytest.mark.parametrize("position", [5, 7, 10])
def test_between_the_ends_a_group_reads_on(position: int) -> None:
    assert find_gap(PLACE, position, Extent(5, 10)) is None


def test_an_empty_log_that_has_expired_is_no_gap_where_all_was_read() -> None:
    assert find_gap(PLACE, 10, Extent(10, 10)) is None


def test_what_was_deleted_unread_is_counted() -> None:
    gap = find_gap(PLACE, 5, Extent(165, 200))
    assert gap is not None
    assert gap.reason is GapReason.RETENTION
    assert gap.offsets == (5, 164)
    assert gap.n_offsets == 160
    assert str(gap) == (
        "lamost.spectra.v1/3 begins at offset 165 and the group was at 5: 160 were deleted unread"
    )


def test_a_log_that_ends_below_the_group_names_both() -> None:
    gap = find_gap(PLACE, 740, Extent(0, 40))
    assert gap is not None
    assert gap.reason is GapReason.LOG_ENDS_BELOW
    assert gap.offsets == (40, 739)
    assert gap.n_offsets == 700
    assert str(gap).startswith("lamost.spectra.v1/3 ends at offset 40 and the group was at 740")


def test_partitions_that_are_not_known_are_left_out() -> None:
    positions = {("t", 2): 4, ("t", 0): 4, ("t", 1): 0}
    gaps = [*find_gaps(positions, {("t", 0): Extent(5, 9), ("t", 1): Extent(0, 9)}, {})]
    assert [gap.place for gap in gaps] == [("t", 0)]
