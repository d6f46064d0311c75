"""The publisher against librdkafka's mock cluster: confirmed, failed, refused, held back, flushed."""

import asyncio
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from cempstream.streams.kafka.messages import OutMessage
from cempstream.streams.kafka.publisher import DeliveryFailed, Publisher

pytestmark = pytest.mark.timeout(60)


class MockCluster:
    """librdkafka's broker within the process; it ends with the producer that holds it."""

    def __init__(self) -> None:
        self._holder: Producer | None = Producer({"test.mock.num.brokers": 1, "log_level": 0})
        broker = next(iter(self._holder.list_topics(timeout=10).brokers.values()))
        self.bootstrap = f"{broker.host}:{broker.port}"

    def end(self) -> None:
        self._holder = None

    def read(self, topic: str, n_messages: int) -> list[Message]:
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "test", "log_level": 0})
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, i, 0) for i in partitions])
        found: list[Message] = []
        deadline = time.monotonic() + 20
        while len(found) < n_messages and time.monotonic() < deadline:
            found += consumer.consume(n_messages, timeout=0.5)
        found += consumer.consume(1, timeout=0.3)  # one too many would show
        consumer.close()
        return found


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    mock = MockCluster()
    yield mock
    mock.end()


def _messages(n_messages: int, topic: str = "scores", size: int = 100) -> list[OutMessage]:
    return [OutMessage(topic, f"key-{i}".encode(), bytes([i % 256]) * size) for i in range(n_messages)]


async def test_publish_returns_when_every_message_is_in_the_broker(cluster: MockCluster) -> None:
    sent = [*_messages(50), OutMessage("scores", None, b"with headers", (("a", b"1"), ("a", b"2")))]
    async with Publisher(cluster.bootstrap) as publisher:
        await publisher.publish(sent)
        found = await asyncio.to_thread(cluster.read, "scores", len(sent))  # before any flush
    assert {(m.key(), m.value()) for m in found} == {(m.key, m.value) for m in sent}
    assert len(found) == len(sent)
    with_headers = next(m for m in found if m.key() is None)
    assert with_headers.headers() == [("a", b"1"), ("a", b"2")]


async def test_an_empty_batch_is_delivered_at_once(cluster: MockCluster) -> None:
    async with Publisher(cluster.bootstrap) as publisher:
        await asyncio.wait_for(publisher.publish([]), 1)


async def test_batches_may_overlap(cluster: MockCluster) -> None:
    async with Publisher(cluster.bootstrap) as publisher:
        await asyncio.gather(*(publisher.publish(_messages(20, topic=f"t{i}")) for i in range(10)))
    for i in range(10):
        assert len(cluster.read(f"t{i}", 20)) == 20


async def test_a_broker_that_is_gone_fails_the_batch_and_names_topic_and_error(cluster: MockCluster) -> None:
    async with Publisher(cluster.bootstrap, delivery_timeout_s=6.0) as publisher:
        await publisher.publish(_messages(1))
        cluster.end()
        with pytest.raises(
            DeliveryFailed, match=r"3 of 3 messages not delivered.*'alerts'.*_MSG_TIMED_OUT"
        ) as caught:
            await publisher.publish(_messages(3, topic="alerts"))
    assert caught.value.topic == "alerts"
    assert caught.value.error.code() == KafkaError._MSG_TIMED_OUT
    assert (caught.value.n_failed, caught.value.n_messages) == (3, 3)


async def test_a_message_above_the_limit_is_refused_by_name(cluster: MockCluster) -> None:
    batch = [*_messages(2), *_messages(1, topic="alerts", size=20_000), *_messages(2)]
    async with Publisher(cluster.bootstrap, max_message_bytes=10_000) as publisher:
        with pytest.raises(DeliveryFailed, match=r"3 of 5.*'alerts'.*MSG_SIZE_TOO_LARGE"):
            await publisher.publish(batch)
        await publisher.publish(_messages(2))  # the producer has survived it


async def test_a_full_queue_holds_the_caller_back_and_loses_nothing(cluster: MockCluster) -> None:
    async with Publisher(cluster.bootstrap, max_queue_messages=10) as publisher:
        await publisher.publish(_messages(500))
    assert len(cluster.read("scores", 500)) == 500


async def test_the_event_loop_goes_on_while_the_queue_is_full(cluster: MockCluster) -> None:
    cluster.end()
    publisher = Publisher(cluster.bootstrap, max_queue_messages=10, delivery_timeout_s=2.0)
    publisher.start()
    full_until = time.monotonic() + 2.0
    waiting = asyncio.create_task(publisher.publish(_messages(20)))
    n_turns = 0
    while time.monotonic() < full_until:
        await asyncio.sleep(0.001)
        n_turns += 1
    assert n_turns > 20  # a caller that holds the loop back leaves it one or two
    with pytest.raises(DeliveryFailed, match="20 of 20"):
        await waiting
    await publisher.stop(0.1)


async def test_stop_flushes_what_nobody_waited_for(cluster: MockCluster) -> None:
    publisher = Publisher(cluster.bootstrap, linger_s=5.0)
    publisher.start()
    waiting = asyncio.create_task(publisher.publish(_messages(10)))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await publisher.stop()
    await waiting
    assert len(cluster.read("scores", 10)) == 10


async def test_stop_gives_up_after_its_timeout_and_tells_who_waits(
    cluster: MockCluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.end()
    publisher = Publisher(cluster.bootstrap, delivery_timeout_s=3600)  # not what ends the wait
    publisher.start()
    waiting = asyncio.create_task(publisher.publish(_messages(4)))
    await asyncio.sleep(0.1)
    await publisher.stop(timeout_s=0.3)
    with pytest.raises(DeliveryFailed, match="4 of 4"):
        await waiting
    assert "4 messages were not delivered" in caplog.text


async def test_publish_before_start_says_so() -> None:
    with pytest.raises(RuntimeError, match="not running"):
        await Publisher("127.0.0.1:1").publish(_messages(1))
