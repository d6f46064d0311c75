"""Marks of what was read, held against a log: what was replaced is seen, and nothing else alarms."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from cempstream.streams.kafka.trail import Mark, Trail, find_cuts, mark_of
from cempstream.streams.settings import KafkaSettings
from tests.support.night import send

pytestmark = pytest.mark.timeout(120)

on_kafka = pytest.mark.parametrize("broker", [pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True)

N_READ = 40
PACKETS = [b"packet %03d" % i for i in range(N_READ)]


def trail_of(packets: list[bytes]) -> Trail:
    """Return the trail of a reader that has committed after each of these messages."""
    trail = Trail()
    for offset, packet in enumerate(packets):
        trail = trail.extend(mark_of(offset, None, packet))
    return trail


def cut_of(bootstrap: str, topic: str, trail: Trail) -> int | None:
    place = (topic, 0)
    return find_cuts(KafkaSettings(bootstrap=bootstrap), {place: trail}).get(place)


@pytest.mark.parametrize("timestamp_ms", [0, -1], ids=["now", "timeless"])
def test_the_log_that_was_read_is_not_cut(
    bootstrap: str, new_topic: Callable[..., str], timestamp_ms: int
) -> None:
    topic = new_topic()
    send(bootstrap, topic, PACKETS, timestamp_ms=timestamp_ms)
    assert cut_of(bootstrap, topic, trail_of(PACKETS)) is None
    send(bootstrap, topic, [b"more"])
    assert cut_of(bootstrap, topic, trail_of(PACKETS)) is None
    assert cut_of(bootstrap, topic, Trail()) is None


@pytest.mark.parametrize("n_common", [0, 1, 25, N_READ - 1])
def test_it_is_read_again_from_the_last_message_in_common(
    bootstrap: str, new_topic: Callable[..., str], n_common: int
) -> None:
    topic = new_topic()
    send(bootstrap, topic, PACKETS[:n_common] + [b"another %d" % i for i in range(2 * N_READ)])
    start = cut_of(bootstrap, topic, trail_of(PACKETS))
    assert start is not None
    n_cut = N_READ - n_common
    assert n_common - n_cut < start <= n_common


@on_kafka
def test_a_log_that_ends_before_is_read_again_too(bootstrap: str, new_topic: Callable[..., str]) -> None:
    topic = new_topic()
    assert cut_of(bootstrap, topic, trail_of(PACKETS)) == 0
    send(bootstrap, topic, PACKETS[:-1])  # it ends where the newest message was
    assert cut_of(bootstrap, topic, trail_of(PACKETS)) == N_READ - 1


@on_kafka
@pytest.mark.parametrize("n_left", [0, 3])
def test_what_expired_since_it_was_read_says_nothing(
    bootstrap: str, new_topic: Callable[..., str], n_left: int
) -> None:
    topic = new_topic()
    send(bootstrap, topic, [*PACKETS, *[b"unread"] * n_left])
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for deleted in admin.delete_records([TopicPartition(topic, 0, N_READ)]).values():
        deleted.result(30)
    assert cut_of(bootstrap, topic, trail_of(PACKETS)) is None


@on_kafka
@pytest.mark.parametrize("n_later", [0, 2])
def test_where_no_message_is_a_marker_of_a_transaction_says_nothing(
    bootstrap: str, new_topic: Callable[..., str], n_later: int
) -> None:
    """So does a message whose key came again, in a compacted topic: there is none at its offset either."""
    topic = new_topic()
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": topic})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, PACKETS[0])
    producer.commit_transaction(30)
    if n_later:
        send(bootstrap, topic, [b"later"] * n_later)
    first = mark_of(0, None, PACKETS[0])
    assert cut_of(bootstrap, topic, Trail((first,))) is None
    assert cut_of(bootstrap, topic, Trail((Mark(1, 7), first))) is None
