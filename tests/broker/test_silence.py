"""A broker that does not reply, or a part of it that is away, is never read as "none" or "0"."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from typer.testing import CliRunner

from cempstream.streams.cli import app
from cempstream.streams.interrupts import INTERRUPTED
from tests.broker.conftest import need_kafka
from tests.broker.kafka import KafkaCluster
from tests.support.alerts import alert_packet
from tests.support.mute_broker import MuteBroker, Request
from tests.support.night import Topics
from tests.support.topics import create_topics
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(240)

SPECTRUM, ID = "spectra.v1", "00000000-0000-0000-0000-000000000000"
NAMES = (
    "scores",
    "scores_shadow",
    "alerts",
    "alerts_json",
    "alerts_archival",
    "dlq",
    "heartbeat",
    "exposures",
)

DLQ_LIST, DLQ_STATS = ("dlq", "list"), ("dlq", "stats")
READS = {
    "dlq list": DLQ_LIST,
    "dlq list since": (*DLQ_LIST, "--since", "2h"),
    "dlq stats": (*DLQ_STATS, "--json"),
    "dlq show": ("dlq", "show", "0:0"),
    "dlq requeue": ("dlq", "requeue", "--all"),
    "topics list": ("topics", "list"),
    "exposures list": ("exposures", "list", "--json"),
    "verify": ("verify", ID),
    "bundle compare": ("bundle", "compare"),
    "replay": ("replay", "--from-topic", SPECTRUM, "--start", "2h"),
    "listen": ("listen", "--topic", "alerts", "--until", "now"),
    "listen earliest": ("listen", "--topic", "alerts", "--until", "now", "--start", "earliest"),
    "listen since": ("listen", "--topic", "alerts", "--until", "now", "--start", "2h"),
    "listen group": ("listen", "--topic", "alerts", "--until", "now", "--group", "g", "--start", "earliest"),
    "doctor": ("doctor",),
}


def test_every_case_asks_what_is_kept_from_it() -> None:
    assert {way for way, _ in CASES} == set(READS)


CASES = [
    ("dlq list", Request.FETCH),
    ("dlq list since", Request.LIST_OFFSETS),
    ("dlq stats", Request.FETCH),
    ("dlq show", Request.FETCH),
    ("dlq requeue", Request.FIND_COORDINATOR),
    ("topics list", Request.FETCH),
    ("topics list", Request.DESCRIBE_CONFIGS),
    ("exposures list", Request.FETCH),
    ("verify", Request.FETCH),
    ("bundle compare", Request.FETCH),
    ("replay", Request.LIST_OFFSETS),
    ("replay", Request.FETCH),
    ("listen", Request.FETCH),
    ("listen earliest", Request.FETCH),
    ("listen since", Request.LIST_OFFSETS),
    ("listen group", Request.OFFSET_FETCH),
    ("doctor", Request.FIND_COORDINATOR),
    ("doctor", Request.OFFSET_FETCH),
    ("doctor", Request.PRODUCE),
]


@pytest.fixture(scope="module")
def mute() -> Iterator[MuteBroker]:
    """A broker with our topics and one message in each."""
    with MuteBroker() as broker:
        names = [*NAMES, SPECTRUM]
        create_topics(
            AdminClient({"bootstrap.servers": broker.bootstrap}), [NewTopic(n, 1, 1) for n in names]
        )
        producer = Producer({"bootstrap.servers": broker.bootstrap})
        for name in names:
            producer.produce(name, b"\x99")
        assert producer.flush(20) == 0
        yield broker


def run(bootstrap: str, *words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [*words, "--bootstrap", bootstrap])
    return result.exit_code, result.stdout, result.stderr


def name_topics(monkeypatch: pytest.MonkeyPatch, names: dict[str, str], spectra: str) -> None:
    for field, name in names.items():
        monkeypatch.setenv(f"CEMP_TOPICS__{field.upper()}", name)
    monkeypatch.setenv("CEMP_TOPICS__SPECTRA", json.dumps([spectra]))


@pytest.mark.parametrize(("way", "kind"), CASES)
def test_a_request_without_an_answer_is_said(
    way: str, kind: Request, mute: MuteBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    name_topics(monkeypatch, {name: name for name in NAMES}, SPECTRUM)
    mute.silence([kind])
    try:
        status, stdout, stderr = run(mute.bootstrap, *READS[way])
    finally:
        mute.silence([])
    assert status == 1, (stdout, stderr)
    if way == "doctor":
        assert any("fail" in line and "no answer" in line for line in stdout.splitlines()), stdout
    else:
        assert stdout == ""
        assert "no answer from" in stderr
        assert stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("kind", "says"),
    [(Request.OFFSET_FETCH, ""), (Request.OFFSET_COMMIT, "what was acknowledged last may come again")],
    ids=["it joins", "it has acknowledged"],
)
def test_ctrl_c_ends_a_subscriber_to_whom_nothing_is_said(
    kind: Request, says: str, mute: MuteBroker, tmp_path: Path
) -> None:
    """librdkafka would wait for as long as its configuration allows, five minutes here."""
    (tmp_path / "patient.properties").write_text("socket.timeout.ms=300000\n")
    topic, group = (f"{name}-{uuid.uuid4().hex[:8]}" for name in ("alerts", "group"))
    create_topics(AdminClient({"bootstrap.servers": mute.bootstrap}), [NewTopic(topic, 1, 1)])
    producer = Producer({"bootstrap.servers": mute.bootstrap})
    producer.produce(topic, alert_packet("a"))
    assert producer.flush(20) == 0
    options = {"topic": topic, "group": group, "start": "earliest", "bootstrap": mute.bootstrap}
    words = [f"--{name}={value}" for name, value in options.items()]
    mute.silence([kind])
    try:
        with subprocess.Popen(
            [sys.executable, "-m", "cempstream", "listen", *words, "--config=patient.properties"],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as listener:
            try:
                wait_until(lambda: mute.n_swallowed > 0, f"no {kind.name}", timeout_s=120)
                listener.send_signal(signal.SIGINT)
                _, stderr = listener.communicate(timeout=120)
            finally:
                listener.kill()
    finally:
        mute.silence([])
    assert listener.returncode == INTERRUPTED, stderr
    assert says in stderr


@pytest.mark.kafka
@pytest.mark.timeout(600)
def test_a_partition_whose_leader_is_away_is_not_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of three brokers is killed; a third of the partitions has no leader, the others answer."""
    need_kafka()
    with KafkaCluster(config={"auto.create.topics.enable": "false"}) as cluster:
        topics = Topics.create(cluster.bootstrap, partitions=3)
        spread = [f"spread.{kind}" for kind in ("dlq", "scores", "alerts", "exposures")]
        create_topics(
            AdminClient({"bootstrap.servers": cluster.bootstrap}),
            [NewTopic(name, 3, 1, config={"min.insync.replicas": "1"}) for name in spread],
        )
        names = {field: getattr(topics, field) for field in NAMES if field != "scores_shadow"}
        names |= {name.partition(".")[2]: name for name in spread}
        name_topics(monkeypatch, names, topics.spectra)
        # The coordinators' topics have three copies; two nodes keep the quorum.
        cluster.nodes[2].kill()
        alive = ",".join(node.bootstrap for node in cluster.nodes[:2])
        for way in ("dlq list", "dlq list since", "topics list", "exposures list"):
            status, stdout, stderr = run(alive, *READS[way])
            assert (status, stdout) == (1, ""), (way, stdout, stderr)
            assert "no answer from" in stderr, (way, stderr)
        for start in ("earliest", "2h"):
            words = ("listen", "--topic", names["alerts"], "--until", "now", "--start", start)
            status, stdout, stderr = run(alive, *words)
            assert (status, stdout) == (1, ""), (start, stdout, stderr)
            assert "no answer from" in stderr, (start, stderr)
