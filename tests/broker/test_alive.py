"""Whether the stream lives and how much waits, as a subscriber sees it on a broker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from confluent_kafka import Producer

from cempstream.schemas.heartbeat import Heartbeat, encode_heartbeat
from cempstream.streams.kafka.places import StreamError
from cempstream.streams.subscriber.client import AlertStream
from tests.broker.conftest import need_kafka
from tests.broker.kafka import KafkaBroker
from tests.support.alerts import alert_packet
from tests.support.night import Topics, WorkerProcess

pytestmark = pytest.mark.timeout(240)

QUICK_GROUP = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 1500}


def publish(bootstrap: str, topic: str, *packets: bytes, at: datetime | None = None) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0})
    for packet in packets:
        producer.produce(topic, packet, timestamp=round((at or datetime.now(UTC)).timestamp() * 1000))
    assert producer.flush(20) == 0


def test_the_lag_is_what_was_not_read(bootstrap: str, new_topic: Callable[..., str]) -> None:
    topic = new_topic()
    publish(bootstrap, topic, *(alert_packet(f"{i}") for i in range(5)))
    with AlertStream(bootstrap, topic, start="earliest") as stream:
        for n_left in (4, 3, 2, 1, 0):
            next(stream)
            assert stream.lag() == n_left


def test_a_group_has_no_lag_before_it_has_partitions_and_the_command_says_where_it_stands(
    bootstrap: str, new_topic: Callable[..., str]
) -> None:
    topic, group = new_topic(), f"g-{uuid.uuid4().hex[:8]}"
    publish(bootstrap, topic, *(alert_packet(f"{i}") for i in range(4)))
    with AlertStream(bootstrap, topic, start="earliest", group=group, config=QUICK_GROUP) as stream:
        assert stream.lag() is None
        next(stream).ack()
        assert stream.lag() == 3
    words = ["lag", "--group", group, "--bootstrap", bootstrap, "--topic", topic]
    lag = [sys.executable, "-m", "cempstream", *words]
    told = subprocess.run([*lag, "--json"], capture_output=True, text=True, timeout=60, check=True)
    (facts,) = [json.loads(line) for line in told.stdout.splitlines()]
    assert (facts["acknowledged"], facts["end"], facts["waiting"], facts["expired"]) == (1, 4, 3, 0)
    told = subprocess.run(lag, capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout.splitlines()[-1] == f"3 messages wait for {group}"


def test_the_age_of_the_last_heartbeat(bootstrap: str, new_topic: Callable[..., str]) -> None:
    alerts, hearts = new_topic(), new_topic()
    now = datetime.now(UTC).replace(microsecond=0)  # Kafka's times are whole milliseconds
    with AlertStream(bootstrap, alerts, heartbeats=hearts) as stream:
        assert stream.heartbeat_age() is None
    beat = Heartbeat(
        worker_id="w", sent_at=now, started_at=now, state="running", code_version="1", provider="cpu"
    )
    publish(bootstrap, hearts, encode_heartbeat(beat), b"no heartbeat", at=now)
    with AlertStream(bootstrap, alerts, heartbeats=hearts) as stream:
        age_s = stream.heartbeat_age()
        assert age_s is not None
        assert 0 <= age_s <= (datetime.now(UTC) - now).total_seconds() + 0.01, "by two clocks"
    with (
        AlertStream(bootstrap, alerts, heartbeats="nosuch.v1") as stream,
        pytest.raises(StreamError, match=r"nosuch\.v1"),
    ):
        stream.heartbeat_age()


def test_a_filter_passes_on_a_topic_what_listen_shows(bootstrap: str, new_topic: Callable[..., str]) -> None:
    topic, where = new_topic(), "p_cemp > 0.9 and snr > 30"
    stars = [("a", 0.97, 40.0), ("b", 0.5, 40.0), ("c", 0.97, 20.0), ("d", 0.99, 60.0)]
    publish(bootstrap, topic, *(alert_packet(name, p_cemp=p, snr=snr) for name, p, snr in stars))
    own = [sys.executable, "-m", "cempstream"]
    broker = ["--bootstrap", bootstrap, "--where", where]
    tried = subprocess.run(
        [*own, "filter", "test", *broker, "--from-topic", topic, "--json"],
        **{"capture_output": True, "text": True, "timeout": 60, "check": True},
    )
    listen = ["listen", *broker, "--topic", topic, "--start", "earliest", "--until", "now", "--json"]
    shown = subprocess.run([*own, *listen], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(tried.stdout)["n_passed"] == len(shown.stdout.splitlines()) == 2


@pytest.fixture
def kafka() -> Iterator[KafkaBroker]:
    need_kafka()
    with KafkaBroker() as broker:
        yield broker


@pytest.mark.kafka
def test_listen_says_that_a_worker_was_killed_and_that_another_came(kafka: KafkaBroker) -> None:
    topics = Topics.create(kafka.bootstrap)
    words = ["listen", "--bootstrap", kafka.bootstrap, "--topic", topics.alerts]
    with (
        WorkerProcess(kafka.bootstrap, topics) as worker,
        subprocess.Popen(
            [sys.executable, "-m", "cempstream", *words, "--heartbeats", topics.heartbeat],
            **{"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, "env": os.environ},
        ) as listening,
    ):
        too_late = threading.Timer(200, listening.kill)  # its lines end, and with them the waiting below
        too_late.start()
        try:
            worker.wait_ready(120)
            lines = iter(listening.stderr or ())
            os.kill(worker.process.pid, signal.SIGKILL)
            who = f"the worker of {topics.spectra}"
            assert any(f"{who} has not been heard for" in line for line in lines)
            with WorkerProcess(kafka.bootstrap, topics):
                assert any(f"{who} is alive" in line for line in lines)
            assert any(f"{who} has stopped" in line for line in lines)
        finally:
            too_late.cancel()
            listening.kill()
