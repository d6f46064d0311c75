"""No alert is lost between the readers of a group, however often they are killed and their shares move."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from cempstream.streams.rehearsal.child_process import ChildProcess
from cempstream.streams.subscriber.client import AlertStream
from tests.broker.kafka import KafkaBroker
from tests.chaos.ledger_table import Row, Table
from tests.chaos.subscriber import QUICK_GROUP
from tests.support.alerts import alert_packet
from tests.support.topics import create_topics

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(600)]

N_ALERTS = 6000
N_FAULTS = 20
N_READERS = 2


def test_twenty_rebalances_and_kills_lose_no_alert(kafka: KafkaBroker, table: Table, tmp_path: Path) -> None:
    topic, group = f"alerts.{uuid.uuid4().hex[:8]}.v1", f"observers-{uuid.uuid4().hex[:8]}"
    create_topics(AdminClient({"bootstrap.servers": kafka.bootstrap}), [NewTopic(topic, 4, 1)])
    _publish(kafka.bootstrap, topic)
    readers: list[ChildProcess] = []

    def start() -> None:
        diary = tmp_path / f"diary-{uuid.uuid4().hex[:8]}"
        command = [sys.executable, "-m", "tests.chaos.subscriber", kafka.bootstrap, topic, group, str(diary)]
        readers.append(ChildProcess(command))

    def written() -> list[str]:
        return [name for diary in tmp_path.glob("diary-*") for name in diary.read_text().splitlines()]

    rng = random.Random(17)
    try:
        for _ in range(N_READERS):
            start()
        n_due = 0
        for fault in range(N_FAULTS):
            n_due = len(set(written())) + 100
            _wait(lambda n=n_due: len(set(written())) >= n, lambda: readers[-1].log_tail())  # type: ignore[misc]
            victim = readers.pop(rng.randrange(len(readers)))
            if fault % 4 == 0:
                victim.send_signal(signal.SIGKILL)
            else:
                victim.send_signal(signal.SIGINT)  # it leaves, and its alerts in hand are others' now
            _wait_for_end(victim)
            start()
    finally:
        for reader in readers:
            reader.stop()
    with AlertStream(
        kafka.bootstrap, topic, start="earliest", until="now", group=group, config=QUICK_GROUP
    ) as rest:
        last = [alert.spectrum_id for alert in rest]
    dealt_with = [*written(), *last]
    n_lost = N_ALERTS - len(set(dealt_with))
    n_repeats = len(dealt_with) - len(set(dealt_with))
    # Between two acknowledgements' commits a reader deals with at most what it reads in a second, and a
    # rebalance hands out again what was in hand.
    table.rows.append(
        Row(f"{N_FAULTS} rebalances and kills of subscribers", N_ALERTS, n_lost, n_repeats, N_ALERTS, None)
    )
    assert n_lost == 0
    assert len(last) < N_ALERTS, "the readers before dealt with some"


def _publish(bootstrap: str, topic: str) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0})
    for i in range(N_ALERTS):
        producer.produce(topic, alert_packet(f"a{i:05d}"), partition=i % 4)
        producer.poll(0)
    assert producer.flush(60) == 0


def _wait_for_end(reader: ChildProcess, timeout_s: float = 120.0) -> None:
    """Wait until a reader has ended; it may first have to ask a busy broker for its group's place."""
    try:
        reader.wait(timeout_s)
    except subprocess.TimeoutExpired:
        reader.send_signal(signal.SIGUSR1)
        _wait(lambda: "most recent call first" in reader.log_tail(1 << 16), lambda: "it shows no stack", 10)
        raise AssertionError(f"it has not ended: {reader.log_tail(1 << 16)}") from None
    finally:
        reader.stop()


def _wait(holds: Callable[[], bool], tell: Callable[[], str], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, tell()
        time.sleep(0.05)
