"""How much waits for a subscriber: between what it has read and what the broker says that there is."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, TopicPartition

from cempstream.streams.kafka.places import NoAnswer
from cempstream.streams.subscriber.lag import GroupPlace, count_unread
from cempstream.streams.subscriber.partition import Partition

A, B = ("alerts", 0), ("alerts", 1)


class Extents:
    """As much of a consumer as is asked: each partition's ends, and those that were fetched."""

    def __init__(self, asked: dict[Any, tuple[int, int]], fetched: dict[Any, tuple[int, int]]) -> None:
        self._asked, self._fetched = asked, fetched

    def get_watermark_offsets(
        self, part: TopicPartition, timeout: float = 0, cached: bool = False
    ) -> tuple[int, int]:
        known = self._fetched if cached else self._asked
        if (place := (part.topic, part.partition)) not in known:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return known[place]


@pytest.mark.parametrize(
    ("read_to", "unread"),
    [(20, 0), (12, 8), (3, 10), (OFFSET_BEGINNING, 10), (25, 0)],
    ids=["at the end", "within", "expired", "not begun", "beyond the end"],
)
def test_what_waits_is_between_the_place_and_the_end(read_to: int, unread: int) -> None:
    consumer: Any = Extents({A: (10, 20), B: (0, 5)}, {})
    assert count_unread(consumer, {A: read_to, B: 4}) == {A: unread, B: 1}


def test_the_later_of_two_ends_counts() -> None:
    consumer: Any = Extents({A: (0, 3)}, {A: (0, 7)})
    assert count_unread(consumer, {A: 2}) == {A: 5}


def test_silence_is_not_an_answer() -> None:
    consumer: Any = Extents({}, {})
    with pytest.raises(
        NoAnswer, match="no answer from the broker about where alerts/0 ends: Local: Timed out"
    ):
        count_unread(consumer, {A: 0})


def test_where_a_partition_is_read_next() -> None:
    partition = Partition(start=7)
    assert partition.read_to == 7
    partition.next_offset = 9
    assert partition.read_to == 9
    assert Partition().read_to == OFFSET_BEGINNING


@pytest.mark.parametrize(
    ("acknowledged", "waiting", "expired"), [(None, 10, 0), (10, 10, 0), (14, 6, 0), (4, 10, 6), (20, 0, 0)]
)
def test_a_group_waits_for_what_is_there_and_has_lost_what_is_gone(
    acknowledged: int | None, waiting: int, expired: int
) -> None:
    place = GroupPlace(A, acknowledged, first=10, end=20)
    assert (place.n_waiting, place.n_expired) == (waiting, expired)
