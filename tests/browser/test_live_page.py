"""``cempstream page`` as it is used: alerts on Apache Kafka, the command as a process, and Chromium."""

from __future__ import annotations

import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from confluent_kafka import Producer

from cempstream.schemas.heartbeat import Heartbeat, encode_heartbeat
from cempstream.streams.interrupts import INTERRUPTED
from cempstream.streams.rehearsal.child_process import ChildProcess
from tests.broker.conftest import need_kafka
from tests.broker.kafka import KafkaBroker
from tests.browser.conftest import PATIENCE_S, Browser
from tests.support.alerts import alert_packet
from tests.support.night import Topics

pytestmark = pytest.mark.timeout(280)


@pytest.fixture(scope="module")
def kafka() -> Iterator[KafkaBroker]:
    need_kafka()
    with KafkaBroker() as broker:
        yield broker


class Sender:
    """Whoever fills the topics."""

    def __init__(self, bootstrap: str, topics: Topics) -> None:
        self._producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0})
        self._topics = topics
        self._has_died = threading.Event()

    def send(self, *packets: bytes) -> None:
        for packet in packets:
            self._producer.produce(self._topics.alerts, packet)
        assert self._producer.flush(PATIENCE_S) == 0

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Send heartbeats, twice a second, until the block ends."""
        ending = threading.Event()

        def beat() -> None:
            while not ending.wait(0.5):
                now = datetime.now(UTC)
                facts = {"state": "running", "code_version": "1", "provider": "cpu", "topics": ("s.v1",)}
                packet = encode_heartbeat(Heartbeat(worker_id="w", sent_at=now, started_at=now, **facts))
                self._producer.produce(self._topics.heartbeat, packet)
                self._producer.poll(0)

        beating = threading.Thread(target=beat, daemon=True)
        beating.start()
        try:
            yield
        finally:
            ending.set()
            beating.join(PATIENCE_S)
            assert self._producer.flush(PATIENCE_S) == 0


def address(process: ChildProcess) -> str:
    """Wait until the command says where the page is."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and process.is_running:
        if said := re.search(r"candidates: (http://\S+)", process.log_tail()):
            return said[1]
        time.sleep(0.1)
    raise AssertionError(f"no address: {process.log_tail()}")


def test_a_night_on_kafka(kafka: KafkaBroker, browser: Browser) -> None:
    topics = Topics.create(kafka.bootstrap)
    sender = Sender(kafka.bootstrap, topics)
    sender.send(alert_packet("before"), b"no alert at all")
    words = [
        "page",
        "--bootstrap",
        kafka.bootstrap,
        "--topic",
        topics.alerts,
        "--heartbeats",
        topics.heartbeat,
    ]
    command = [sys.executable, "-m", "cempstream", *words, "--port", "0", "--where", "p_cemp > 0.5"]
    process = ChildProcess(command)
    try:
        with sender.alive():
            browser.open(address(process))
            assert browser.wait("row", browser.rows) == ["star before"]
            browser.wait("worker", lambda: "The worker of s.v1 is alive" in browser.text("#state"))
            assert "1 message could not be read as alerts" in browser.text("#state")
            sender.send(alert_packet("new", minutes=1), alert_packet("unlikely", minutes=2, p_cemp=0.2))
            browser.wait("new row", lambda: browser.rows() == ["star new", "star before"])
            sender.send(alert_packet("new", minutes=3, p_cemp=0.1, kind="retraction", revision=1))
            browser.wait("strike", lambda: browser.text("tr.retracted s") == "star new")
            assert "retracted" in browser.text("tr.retracted td:last-child")
        browser.wait("warning", lambda: "The worker of s.v1 is silent" in browser.text("#state"))
        with sender.alive():
            browser.wait("all clear", lambda: "The worker of s.v1 is alive" in browser.text("#state"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == INTERRUPTED
    finally:
        process.kill()
    browser.wait("warning", lambda: "lost its server" in browser.text("#state"))
    browser.driver.get("about:blank")
    browser.complaints()  # the browser notes that there was no server in the end
