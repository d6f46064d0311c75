"""The test harness's Apache Kafka: it keeps what it confirmed over a kill, and a cluster over a lost node."""

import signal
import time

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.broker.conftest import need_kafka
from tests.broker.kafka import KILLED_MS, KafkaBroker, KafkaCluster
from tests.support.topics import create_topics
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def _installed() -> None:
    need_kafka()


def _produce(bootstrap: str, topic: str, values: list[bytes]) -> None:
    producer = Producer(
        {"bootstrap.servers": bootstrap, "acks": "all", "message.max.bytes": 12_000_000, "log_level": 0}
    )
    errors = []
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(60) == 0
    assert errors == [None] * len(values)


def _read(bootstrap: str, topic: str, n_messages: int) -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "test", "log_level": 0})
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[bytes] = []
    for _ in range(60):
        found += [message.value() for message in consumer.consume(n_messages, timeout=1)]
        if len(found) >= n_messages:
            break
    consumer.close()
    return found


def test_the_log_survives_a_kill_and_a_restart() -> None:
    with KafkaBroker(silence_ms=KILLED_MS) as kafka:
        _produce(kafka.bootstrap, "a", [b"1", bytes(10_000_000)])
        address = kafka.bootstrap
        kafka.kill()
        kafka.start()
        assert kafka.bootstrap == address
        _produce(address, "a", [b"3"])
        kafka.restart()
        assert [len(value) for value in _read(address, "a", 3)] == [1, 10_000_000, 1]
        log_folder = kafka.log_folder
    assert not log_folder.exists()


def test_a_topic_is_created_on_a_broker_that_was_silent_for_too_long() -> None:
    with KafkaBroker(silence_ms=1500) as kafka:
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
        for number in range(5):
            kafka.send_signal(signal.SIGSTOP)
            time.sleep(2)
            kafka.send_signal(signal.SIGCONT)
            create_topics(admin, [NewTopic(f"silent-{number}", 1, 1)])
        wait_until(lambda: len(admin.list_topics(timeout=10).topics) == 5, "a topic is missing")
        with pytest.raises(KafkaException, match="name is invalid"):
            create_topics(admin, [NewTopic("no blanks", 1, 1)])


def test_a_cluster_of_three_serves_without_one() -> None:
    with KafkaCluster() as cluster:
        admin = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})
        create_topics(admin, [NewTopic("a", 1, 3)])
        _produce(cluster.bootstrap, "a", [b"1"])
        cluster.nodes[1].kill()
        _produce(cluster.bootstrap, "a", [b"2"])
        assert _read(cluster.bootstrap, "a", 2) == [b"1", b"2"]
