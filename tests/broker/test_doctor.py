"""``cempstream doctor`` on a broker: what would stop a worker fails, with what to do."""

import json
import shutil
import time
import uuid
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from typer.testing import CliRunner

from cempstream.models.bundle import BUNDLES, newest_bundle
from cempstream.streams.cli import app
from cempstream.streams.kafka.topics import SIZE, TopicAdmin, TopicPlan, TopicState, plan_topics
from cempstream.streams.operations.checkup import Status, check_topics
from cempstream.streams.settings import KafkaSettings, TopicSettings

pytestmark = pytest.mark.timeout(90)


def examine(bootstrap: str, *args: str) -> tuple[int, dict[str, dict[str, str]]]:
    """Return the exit status and the last finding of each subject."""
    result = CliRunner().invoke(app, ["doctor", "--json", "--bootstrap", bootstrap, *args])
    findings = [json.loads(line) for line in result.stdout.splitlines()]
    return result.exit_code, {finding["subject"]: finding for finding in findings}


@pytest.fixture
def topics(monkeypatch: pytest.MonkeyPatch) -> TopicSettings:
    """Return names that no other test uses, told by the environment."""
    tag = uuid.uuid4().hex[:8]
    fields = ("scores", "alerts", "alerts_json", "alerts_archival", "dlq", "heartbeat", "exposures")
    names = {field: f"{field}.{tag}" for field in fields}
    for field, name in names.items():
        monkeypatch.setenv(f"CEMP_TOPICS__{field.upper()}", name)
    monkeypatch.setenv("CEMP_TOPICS__SPECTRA", json.dumps([f"spectra.{tag}"]))
    return TopicSettings(spectra=(f"spectra.{tag}",), **names)


def test_a_broker_without_topics_fails_until_they_are_created(bootstrap: str, topics: TopicSettings) -> None:
    status, findings = examine(bootstrap)
    assert status == 1
    assert findings["topics"]["status"] == "fail"
    assert topics.dlq in findings["topics"]["said"]
    assert findings["topics"]["remedy"] == "cempstream topics create"
    assert CliRunner().invoke(app, ["topics", "create", "--bootstrap", bootstrap]).exit_code == 0
    status, findings = examine(bootstrap)
    assert status == 0
    assert {subject: f["status"] for subject, f in findings.items() if subject != "clock"} == {
        "package": "ok", "models": "ok", "provider": "ok", "broker": "ok", "topics": "ok", "group": "ok",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("waited_days", "n_read", "status", "said"),
    [
        (4.0, 0, "warn", "has waited 4.0 d and will be deleted in 3.0 d"),
        (6.0, 0, "fail", "has waited 6.0 d and will be deleted in 1.0 d"),
        (2.0, 0, "ok", "can read on in 2 partitions"),
        (6.0, 1, "ok", "can read on in 2 partitions"),
    ],
    ids=["half-is-over", "most-is-over", "much-is-left", "it-is-read"],
)
def test_what_will_be_deleted_unread_is_said(
    bootstrap: str,
    topics: TopicSettings,
    monkeypatch: pytest.MonkeyPatch,
    waited_days: float,
    n_read: int,
    status: str,
    said: str,
) -> None:
    (topic,) = topics.spectra
    monkeypatch.setenv("CEMP_KAFKA__GROUP", group := f"readers-of-{topic}")
    plans = plan_topics(topics, n_partitions=2, replication=1, retention_days=7)
    TopicAdmin(KafkaSettings(bootstrap=bootstrap)).create(plans)
    producer = Producer({"bootstrap.servers": bootstrap})
    # Half a minute less, so that the slowest machine shows the same figure.
    sent_ms = round(1000 * (time.time() - 86400 * waited_days + 30))
    producer.produce(topic, b"a spectrum", partition=1, timestamp=sent_ms)
    assert producer.flush(20) == 0
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    consumer.commit(
        offsets=[TopicPartition(topic, 0, 0), TopicPartition(topic, 1, n_read)], asynchronous=False
    )
    consumer.close()
    _, findings = examine(bootstrap)
    assert findings["group"]["status"] == status
    assert said in findings["group"]["said"]


def test_a_dead_letter_topic_smaller_than_the_input_fails(bootstrap: str, topics: TopicSettings) -> None:
    admin = TopicAdmin(KafkaSettings(bootstrap=bootstrap))
    plans = plan_topics(topics, n_partitions=2, replication=1, retention_days=1)
    admin.create([p if p.name != topics.dlq else TopicPlan(p.name, 2, 1, {SIZE: "1000000"}) for p in plans])
    status, findings = examine(bootstrap)
    assert status == 1
    assert findings["topics"]["said"].startswith(f"{topics.dlq} takes 1000000 bytes")
    arguments = ["topics", "create", "--bootstrap", bootstrap, "--partitions", "2", "--alter"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert examine(bootstrap)[0] == 0


def test_the_clock_is_compared_where_the_broker_stamps(bootstrap: str, topics: TopicSettings) -> None:
    _, findings = examine(bootstrap)
    assert findings["clock"]["said"].startswith(("the broker's is", "not compared"))
    assert findings["clock"]["status"] != "fail"
    left = TopicAdmin(KafkaSettings(bootstrap=bootstrap)).states()
    assert not [name for name in left if name.startswith("cemp.doctor")]


@pytest.mark.kafka
@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_apache_kafka_stamps_and_one_machine_has_one_clock(bootstrap: str) -> None:
    _, findings = examine(bootstrap)
    assert findings["clock"]["status"] == "ok"


def test_no_broker_fails_and_the_rest_is_examined_all_the_same() -> None:
    status, findings = examine("127.0.0.1:1")
    assert status == 1
    assert findings["broker"]["status"] == "fail"
    assert "--bootstrap" in findings["broker"]["remedy"]
    assert findings["models"]["status"] == "ok"


def test_a_bundle_that_its_card_does_not_describe_fails(
    bootstrap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(BUNDLES, tmp_path / "bundles")
    model = newest_bundle(tmp_path / "bundles", "mid") / "classify.onnx"
    model.write_bytes(model.read_bytes() + b"\0")
    monkeypatch.setenv("CEMP_MODELS__ROOT", str(tmp_path / "bundles"))
    monkeypatch.setenv("CEMP_MODELS__BUNDLES", '["mid"]')
    status, findings = examine(bootstrap)
    assert status == 1
    assert findings["models"]["status"] == "fail"
    assert "classify.onnx" in findings["models"]["said"]


def test_a_provider_that_does_not_load_fails_and_says_what_to_install(bootstrap: str) -> None:
    status, findings = examine(bootstrap, "--provider", "cuda")
    assert status == 1
    assert findings["provider"]["status"] == "fail"
    assert "cempstream[gpu]" in findings["provider"]["said"]


def test_what_a_cluster_could_lose_is_a_warning() -> None:
    topics = TopicSettings()
    config = {SIZE: "4000000", "min.insync.replicas": "1", "retention.ms": "1000"}
    names = {*topics.spectra, *topics.written, topics.exposures} - {topics.dlq}
    states = {name: TopicState(name, 1, 1, config) for name in names}
    states[topics.dlq] = TopicState(topics.dlq, 1, 3, {**config, SIZE: "5000000", "retention.ms": "10"})
    found = list(check_topics(topics, states, n_brokers=3))
    assert {finding.status for finding in found} == {Status.WARN}
    said = " | ".join(finding.said for finding in found)
    for words in ("fewer than 3 copies", "min.insync.replicas is 1", "one partition", "forgets sooner"):
        assert words in said
