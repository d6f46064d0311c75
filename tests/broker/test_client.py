"""The subscriber's client on a broker: where it starts and ends, what it acknowledges, what it refuses."""

from __future__ import annotations

import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]

from cempstream.streams.kafka.places import StreamError
from cempstream.streams.rehearsal.embedded import free_port
from cempstream.streams.subscriber import client
from cempstream.streams.subscriber import start as start_module
from cempstream.streams.subscriber.client import AlertStream
from cempstream.streams.subscriber.partition import Partition
from cempstream.streams.subscriber.sieve import Undecodable, UndecodableError
from tests.support.alerts import alert_packet

pytestmark = pytest.mark.timeout(90)

#: Times of messages count from here, in seconds; well in the past, so that every range is over.
START = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)

#: One of the brokers lets a group join after half a session timeout only.
QUICK_GROUP = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 1500}

Send = Callable[..., None]


@pytest.fixture
def send(bootstrap: str) -> Send:
    """Return a function that publishes packets at a time and waits until the broker has them."""
    producer = Producer(
        {"bootstrap.servers": bootstrap, "log_level": 0, "topic.metadata.refresh.interval.ms": 300}
    )

    def publish(topic: str, *packets: bytes, at_s: float = 0.0, partition: int = 0) -> None:
        time_ms = round((START + timedelta(seconds=at_s)).timestamp() * 1000)
        for packet in packets:
            producer.produce(topic, packet, partition=partition, timestamp=time_ms)
        assert producer.flush(20) == 0

    return publish


@pytest.fixture
def group() -> str:
    return f"observers-{uuid.uuid4().hex[:8]}"


def names(stream: Iterable[object]) -> list[str]:
    return [alert.spectrum_id for alert in stream]  # type: ignore[attr-defined]


def test_from_the_beginning_everything_comes_once(
    bootstrap: str, new_topic: Callable[..., str], send: Send
) -> None:
    topic = new_topic(n_partitions=3)
    for partition in range(3):
        packets = [alert_packet(f"{partition}-{i}") for i in range(4)]
        send(topic, *packets, packets[1], partition=partition)
    with AlertStream(bootstrap, topic, start="earliest", until="now") as stream:
        found = names(stream)
    for partition in range(3):
        assert [name for name in found if name[0] == str(partition)] == [f"{partition}-{i}" for i in range(4)]
    assert len(found) == 12


def test_latest_means_what_comes_from_now_on(
    bootstrap: str, new_topic: Callable[..., str], send: Send
) -> None:
    topic = new_topic(n_partitions=2)
    send(topic, *(alert_packet(f"old-{i}") for i in range(7)))
    with AlertStream(bootstrap, topic, start="latest") as stream:
        send(topic, alert_packet("new-0"), partition=1)
        send(topic, alert_packet("new-1"), partition=0)
        assert {next(stream).spectrum_id, next(stream).spectrum_id} == {"new-0", "new-1"}


def test_an_empty_topic_has_a_latest_too(bootstrap: str, new_topic: Callable[..., str], send: Send) -> None:
    topic = new_topic()
    with AlertStream(bootstrap, topic) as stream:
        send(topic, alert_packet("first"))
        assert next(stream).spectrum_id == "first"


def test_the_last_hundred_are_the_newest_of_all_partitions(
    bootstrap: str, new_topic: Callable[..., str], send: Send
) -> None:
    topic = new_topic(n_partitions=3)
    for i in range(9):
        send(topic, alert_packet(f"s{i}"), at_s=i, partition=i % 2)
    with AlertStream(bootstrap, topic, start=-4, until="now") as stream:
        assert names(stream) == ["s5", "s6", "s7", "s8"]
    with AlertStream(bootstrap, topic, start="-100", until="now") as stream:
        assert names(stream) == [f"s{i}" for i in range(9)]
    with AlertStream(bootstrap, topic, start=-1) as stream:
        assert next(stream).spectrum_id == "s8"
        send(topic, alert_packet("s9"), at_s=9, partition=2)
        assert next(stream).spectrum_id == "s9"


def test_a_range_of_time(bootstrap: str, new_topic: Callable[..., str], send: Send) -> None:
    topic = new_topic(n_partitions=2)
    for i in range(10):
        send(topic, alert_packet(f"s{i}"), at_s=i, partition=i % 2)
    start, until = START + timedelta(seconds=3), START + timedelta(seconds=7)
    with AlertStream(bootstrap, topic, start=start.isoformat(), until=until) as stream:
        assert sorted(names(stream)) == ["s3", "s4", "s5", "s6"]
    with AlertStream(bootstrap, topic, start=START + timedelta(minutes=5), until="now") as stream:
        assert names(stream) == []


def test_an_end_in_the_future_is_waited_for(
    bootstrap: str, new_topic: Callable[..., str], send: Send
) -> None:
    topic = new_topic()
    send(topic, alert_packet("early"))
    started_s = time.monotonic()
    until = datetime.now(UTC) + timedelta(seconds=1)
    with AlertStream(bootstrap, topic, start="earliest", until=until) as stream:
        assert next(stream).spectrum_id == "early"
        send(topic, alert_packet("late"))
        assert names(stream) == ["late"]
    assert time.monotonic() - started_s > 1.0


def test_filters_and_json_topics(bootstrap: str, new_topic: Callable[..., str], send: Send) -> None:
    avro, as_json = new_topic(), new_topic()
    for name, p_cemp in (("a", 0.99), ("b", 0.5), ("c", 0.96)):
        send(avro, alert_packet(name, p_cemp=p_cemp))
        send(as_json, alert_packet(name, p_cemp=p_cemp, as_json=True))
    send(as_json, alert_packet("planted", tense="injection", as_json=True))
    for topics in ([avro], [as_json], [avro, as_json]):
        with AlertStream(bootstrap, topics, start="earliest", until="now", where="p_cemp > 0.95") as stream:
            assert names(stream) == ["a", "c"]


def test_known_stars_are_looked_up_before_the_filter(
    bootstrap: str, new_topic: Callable[..., str], send: Send, tmp_path: Path
) -> None:
    topic = new_topic()
    send(topic, alert_packet("a"), alert_packet("b", as_json=True), alert_packet("c", p_cemp=0.2))
    known = tmp_path / "jina.csv"
    known.write_text("name,ra,dec\nHD 1,161.284333,41.396\n")
    where = "known and p_cemp > 0.5"
    with AlertStream(bootstrap, topic, start="earliest", until="now", known=known, where=where) as stream:
        found = [(alert.spectrum_id, alert.matches[0].name) for alert in stream]
    assert found == [("a", "HD 1"), ("b", "HD 1")]
    with AlertStream(bootstrap, topic, start="earliest", until="now", known=known, where="not known") as none:
        assert names(none) == []


def test_a_group_resumes_at_the_first_alert_that_was_not_acknowledged(
    bootstrap: str, new_topic: Callable[..., str], send: Send, group: str
) -> None:
    topic = new_topic()
    send(topic, *(alert_packet(name) for name in "abcdef"))

    def stream() -> AlertStream:
        return AlertStream(
            bootstrap,
            topic,
            start="earliest",
            until="now",
            group=group,
            where="name != 'star d'",
            config=QUICK_GROUP,
        )

    with stream() as first:
        alerts = [next(first) for _ in range(3)]
        alerts[0].ack()
        alerts[2].ack()  # not b: it comes again, and c with it
    with stream() as second:
        rest = list(second)
        assert [alert.spectrum_id for alert in rest] == ["b", "c", "e", "f"]
        for alert in rest:
            alert.ack()
    with stream() as third:
        assert names(third) == []


def test_what_a_rebalance_takes_away_unacknowledged_comes_again(
    bootstrap: str, new_topic: Callable[..., str], send: Send, group: str
) -> None:
    topic = new_topic(n_partitions=1)
    send(topic, *(alert_packet(name) for name in "ab"))
    with AlertStream(bootstrap, topic, start="earliest", group=group, config=QUICK_GROUP) as stream:
        first = next(stream)
        assert stream._consumer is not None
        place = [TopicPartition(topic, 0)]
        stream._forget(stream._consumer, place)  # as librdkafka calls it when another reader joins
        stream._assign(stream._consumer, place)  # and when that one has gone again
        assert [next(stream).spectrum_id, next(stream).spectrum_id] == ["a", "b"]
        first.ack()  # handed out before the rebalance: no offset of the new assignment may move back
        assert stream._partitions[(topic, 0)].resume_at == 1


def test_an_acknowledgement_before_the_first_message_does_not_rewind_the_group(
    bootstrap: str, new_topic: Callable[..., str], send: Send, group: str
) -> None:
    topic = new_topic(n_partitions=1)
    send(topic, *(alert_packet(name) for name in "abc"))
    with AlertStream(bootstrap, topic, start="earliest", group=group, config=QUICK_GROUP) as stream:
        first, second = next(stream), next(stream)
        first.ack()
        assert stream._consumer is not None
        stream._consumer.commit(asynchronous=False)
        place = [TopicPartition(topic, 0)]
        stream._forget(stream._consumer, place)
        stream._assign(stream._consumer, place)
        second.ack()  # nothing of the new assignment was read yet
        assert stream._partitions[(topic, 0)].resume_at is None
        assert next(stream).spectrum_id == "c"  # b is known as acknowledged


def test_repeats_over_a_restart_are_dropped_where_there_is_a_state(
    bootstrap: str, new_topic: Callable[..., str], send: Send, tmp_path: Path
) -> None:
    topic = new_topic(n_partitions=1)
    send(topic, *(alert_packet(name) for name in "ab"))
    state = tmp_path / "seen.sqlite"

    def read() -> Iterator[str]:
        with AlertStream(bootstrap, topic, start="earliest", until="now", state=state) as stream:
            for alert in stream:
                if alert.spectrum_id != "b":
                    alert.ack()
                yield alert.spectrum_id

    assert list(read()) == ["a", "b"]
    send(topic, alert_packet("a"), alert_packet("c"))
    assert list(read()) == ["b", "c"]
    assert list(read()) == ["b"]


def test_acknowledging_costs_the_same_however_many_wait() -> None:
    n = 40_000
    partition = Partition()
    partition.next_offset = n
    steps = 0

    class Counted(OrderedDict[int, None]):
        def __iter__(self) -> Iterator[int]:
            nonlocal steps
            for key in super().__iter__():
                steps += 1
                yield key

    partition.unacknowledged = Counted.fromkeys(range(n))
    for offset in range(n):
        partition.unacknowledged.pop(offset)
        assert partition.resume_at == offset + 1
    assert steps == n - 1  # one look an acknowledgement


def test_without_a_group_nothing_is_remembered(
    bootstrap: str, new_topic: Callable[..., str], send: Send
) -> None:
    topic = new_topic()
    send(topic, alert_packet("a"))
    for _ in range(2):
        with AlertStream(bootstrap, topic, start="earliest", until="now") as stream:
            for alert in stream:
                assert alert.spectrum_id == "a"
                alert.ack()


def test_what_cannot_be_read_is_never_passed_over_in_silence(
    bootstrap: str, new_topic: Callable[..., str], send: Send
) -> None:
    topic = new_topic()
    send(topic, alert_packet("a"), b"not an alert", alert_packet("b"))
    with AlertStream(bootstrap, topic, start="earliest", until="now") as stream:
        assert next(stream).spectrum_id == "a"
        with pytest.raises(UndecodableError, match=rf"{topic}/0@1: not_avro"):
            next(stream)
        assert names(stream) == ["b"]
    bad: list[Undecodable] = []
    with AlertStream(bootstrap, topic, start="earliest", until="now", on_error=bad.append) as stream:
        assert names(stream) == ["a", "b"]
    assert [one.packet for one in bad] == [b"not an alert"]


@pytest.mark.parametrize("broker", [pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True)
def test_a_topic_that_grows_is_read_whole(
    bootstrap: str, new_topic: Callable[..., str], send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_NEW_PARTITIONS_EVERY_S", 0.2)
    topic = new_topic()
    with AlertStream(bootstrap, topic) as stream:
        send(topic, alert_packet("a"))
        assert next(stream).spectrum_id == "a"
        admin = AdminClient({"bootstrap.servers": bootstrap})
        admin.create_partitions([NewPartitions(topic, 2)])[topic].result(20)
        time.sleep(1.0)  # until the producer's metadata know it
        send(topic, alert_packet("b"), partition=1)
        assert next(stream).spectrum_id == "b"
        send(topic, alert_packet("c"), partition=0)
        assert next(stream).spectrum_id == "c"


def test_a_missing_topic_is_named(bootstrap: str, new_topic: Callable[..., str]) -> None:
    new_topic()
    with pytest.raises(StreamError, match=r"no topic 'cemp\.alerts\.v0' that you may read, only .*test-"):
        next(AlertStream(bootstrap, "cemp.alerts.v0"))


def test_a_missing_broker_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start_module, "_TIMEOUT_S", 1.0)
    nowhere = f"127.0.0.1:{free_port()}"
    with pytest.raises(StreamError, match=rf"no broker answers.*{nowhere}"):
        AlertStream(nowhere).open()


@pytest.mark.parametrize(
    "wrong",
    [
        {"start": "tomorrow"},
        {"until": "soon"},
        {"where": "p_cemp >"},
        {"config": {"group.id": "mine"}},
        {"config": {"enable.auto.offset.store": True}},
    ],
)
def test_what_cannot_be_understood_is_refused_before_connecting(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"'.+'"):
        AlertStream("127.0.0.1:1", **wrong)  # type: ignore[arg-type]
