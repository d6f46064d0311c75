"""``cempstream topics`` on a broker: created once, with room for every dead letter, counted rightly."""

import json
import uuid

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from cempstream.streams.cli import app
from cempstream.streams.kafka.topics import TopicAdmin
from cempstream.streams.settings import KafkaSettings

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch, bootstrap: str) -> dict[str, str]:
    """Topics that no other test uses, and the broker, told by the environment."""
    tag = uuid.uuid4().hex[:8]
    results = ("scores", "scores_shadow", "alerts", "alerts_json", "alerts_archival")
    fields = ("spectra", *results, "dlq", "observations", "stars", "heartbeat", "exposures")
    topics = {field: f"{field}.{tag}" for field in fields}
    for field, name in topics.items():
        monkeypatch.setenv(
            f"CEMP_TOPICS__{field.upper()}", json.dumps([name]) if field == "spectra" else name
        )
    monkeypatch.setenv("CEMP_KAFKA__BOOTSTRAP", bootstrap)
    return topics


def invoke(*args: str) -> str:
    result = CliRunner().invoke(app, ["topics", *args])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_create_makes_what_is_missing_and_leaves_the_rest(names: dict[str, str]) -> None:
    first = invoke("create", "--partitions", "3")
    assert first.count(": created: ") == len(names)
    assert f"{names['spectra']}: created: 3 partitions, replication 1" in first
    second = invoke("create", "--partitions", "3")
    assert second.splitlines() == [f"{name}: exists" for name in names.values()]


def test_a_dead_letter_fits_where_any_packet_fits(names: dict[str, str], bootstrap: str) -> None:
    invoke("create", "--partitions", "1")
    states = TopicAdmin(KafkaSettings(bootstrap=bootstrap)).states(names.values())
    size = {field: states[name].number("max.message.bytes") or 0 for field, name in names.items()}
    assert size["dlq"] > size["spectra"] >= 50_000_000
    producer = Producer({"bootstrap.servers": bootstrap, "message.max.bytes": 100_000_000})
    errors: list[object] = []
    for topic in (names["spectra"], names["dlq"]):
        producer.produce(topic, bytes(50_000_000), on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(60) == 0
    assert errors == [None, None]


def test_a_departure_from_the_plan_is_said_and_mended_on_request(names: dict[str, str]) -> None:
    invoke("create", "--partitions", "1", "--retention-days", "2")
    said = invoke("create", "--partitions", "1", "--retention-days", "5").splitlines()[0]
    assert said.startswith(f"{names['spectra']}: exists, but retention.ms is 172800000, 432000000 planned")
    altered = invoke("create", "--partitions", "1", "--retention-days", "5", "--alter").splitlines()[0]
    assert altered.startswith(f"{names['spectra']}: altered: ")
    again = invoke("create", "--partitions", "1", "--retention-days", "5").splitlines()[0]
    assert again == f"{names['spectra']}: exists"


def test_list_counts_messages_and_names_what_is_absent(names: dict[str, str], bootstrap: str) -> None:
    assert {json.loads(line)["exists"] for line in invoke("list", "--json").splitlines()} == {False}
    invoke("create", "--partitions", "2")
    producer = Producer({"bootstrap.servers": bootstrap})
    for i in range(25):
        producer.produce(names["spectra"], bytes(30_000), key=str(i))
    assert producer.flush(20) == 0
    facts = {line["topic"]: line for line in map(json.loads, invoke("list", "--json").splitlines())}
    assert facts[names["spectra"]]["messages"] == 25
    assert facts[names["scores"]]["messages"] == 0
    assert facts[names["spectra"]]["partitions"] == 2
    assert names["spectra"] in invoke("list")
