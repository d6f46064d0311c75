"""``cempstream listen`` as its own process on a broker."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable

import pytest
from confluent_kafka import Producer

from tests.support.alerts import alert_packet

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def topic(bootstrap: str, new_topic: Callable[..., str]) -> str:
    """A topic with three alerts, the second of them under another name's filter."""
    name = new_topic()
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0})
    for star, p_cemp in (("a", 0.97), ("b", 0.6), ("c", 0.99)):
        producer.produce(name, alert_packet(star, p_cemp=p_cemp))
    assert producer.flush(20) == 0
    return name


def command(bootstrap: str, topic: str, *args: str) -> list[str]:
    words = ["listen", "--bootstrap", bootstrap, "--topic", topic, "--heartbeats", ""]
    return [sys.executable, "-m", "cempstream", *words, *args]


def test_a_range_as_json_for_the_next_program(bootstrap: str, topic: str) -> None:
    args = ("--json", "--start", "earliest", "--until", "now", "--where", "p_cemp > 0.9")
    run = subprocess.run(command(bootstrap, topic, *args), capture_output=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert [json.loads(line)["spectrum_id"] for line in run.stdout.splitlines()] == ["a", "c"]


def test_a_group_goes_on_where_it_was(
    bootstrap: str, topic: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    properties = tmp_path_factory.mktemp("listen") / "quick.properties"
    properties.write_text("session.timeout.ms=6000\nheartbeat.interval.ms=1500\n")
    args = (
        "--json",
        "--start",
        "earliest",
        "--group",
        f"g-{uuid.uuid4().hex[:8]}",
        "--config",
        str(properties),
    )
    seen = []
    for n_alerts in ("1", "2"):
        run = subprocess.run(
            command(bootstrap, topic, *args, "-n", n_alerts), capture_output=True, timeout=60
        )
        assert run.returncode == 0, run.stderr
        seen.append([json.loads(line)["spectrum_id"] for line in run.stdout.splitlines()])
    assert seen == [["a"], ["b", "c"]]


def test_ctrl_c_ends_it_quietly(bootstrap: str, topic: str) -> None:
    listener = subprocess.Popen(
        command(bootstrap, topic, "--json", "--start", "earliest"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert listener.stdout is not None
    for star in "abc":
        assert json.loads(listener.stdout.readline())["spectrum_id"] == star
    listener.send_signal(signal.SIGINT)
    rest, errors = listener.communicate(timeout=30)
    assert (listener.returncode, rest, errors) == (130, b"", b"")
