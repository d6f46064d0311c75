"""Exports from a stream: hop's own consumer reads what is sent, and a group loses nothing on the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from confluent_kafka import Producer
from hop.io import Metadata, StartPosition, Stream
from hop.models import JSONBlob, VOEvent
from typer.testing import CliRunner, Result

from cempstream.schemas.alert import Alert
from cempstream.streams.cli import app
from cempstream.streams.exporters.hopskotch import HopSink
from cempstream.streams.exporters.sink import NotDelivered
from cempstream.streams.exporters.webhook import WebhookSink, _Refused
from tests.support.star_life import TYPES, star_life, star_life_lines

#: The embedded broker takes many seconds to let a group begin and end.
on_kafka = pytest.mark.parametrize("broker", [pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True)


@pytest.fixture
def topic(bootstrap: str, new_topic: Callable[..., str]) -> str:
    """Return a topic that holds a star's life, and that of an injected one."""
    name = new_topic()
    producer = Producer({"bootstrap.servers": bootstrap})
    for line in (*star_life_lines(), *star_life_lines("planted", tense="injection", spectrum_id="planted")):
        producer.produce(name, line)
    assert producer.flush(30) == 0
    return name


def export(bootstrap: str, topic: str, *words: str | Path) -> Result:
    place = ("--bootstrap", bootstrap, "--topic", topic, "--start", "earliest", "--until", "now")
    return CliRunner().invoke(app, ["export", *map(str, words), *place])


def read(bootstrap: str, topic: str, *, with_tests: bool = False) -> list[tuple[object, Metadata]]:
    """Return what hop's consumer reads of a topic."""
    stream = Stream(auth=False, start_at=StartPosition.EARLIEST, until_eos=True)
    with stream.open(f"kafka://{bootstrap}/{topic}", "r", ignoretest=not with_tests) as messages:
        return list(messages.read(metadata=True))


def test_hop_reads_alerts_with_its_headers(bootstrap: str, topic: str, new_topic: Callable[..., str]) -> None:
    out = new_topic()
    to = ("--to", f"kafka://{bootstrap}/{out}", "--no-account", "--sender", "cemp")
    result = export(
        bootstrap, topic, "hop", *to, "--tense", "current", "--tense", "injection", "--no-spectrum"
    )
    assert result.exit_code == 0, result.output
    found = read(bootstrap, out)
    alerts = star_life()
    assert len(found) == 4  # what is injected is a test, which hop leaves out
    for (blob, metadata), alert in zip(found, alerts, strict=True):
        assert isinstance(blob, JSONBlob)
        assert blob.content == json.loads(alert.to_json(with_spectrum=False))
        headers = dict(metadata.headers)
        assert UUID(bytes=headers["_id"]) == UUID(alert.alert_id)
        assert headers["_sender"] == b"cemp"
        assert headers["_format"] == b"json"
        assert "_test" not in headers
    everything = read(bootstrap, out, with_tests=True)
    assert [dict(metadata.headers).get("_test") for _, metadata in everything] == [None] * 4 + [b"true"] * 4


def test_hop_reads_voevents_and_notices(bootstrap: str, topic: str, new_topic: Callable[..., str]) -> None:
    events, notices = new_topic(), new_topic()
    packets = ("--payload", "voevent", "--ivorn", "ivo://org.example/cemp")
    for out, payload in ((events, packets), (notices, ("--payload", "gcn"))):
        result = export(
            bootstrap, topic, "hop", "--to", f"kafka://{bootstrap}/{out}", "--no-account", *payload
        )
        assert result.exit_code == 0, result.output
    found = [packet for packet, _ in read(bootstrap, events)]
    assert [packet.role for packet in found if isinstance(packet, VOEvent)] == ["observation"] * 4
    assert found[-1].Citations["EventIVORN"]["cite"] == "retraction"  # type: ignore[attr-defined]
    blobs = [blob.content for blob, _ in read(bootstrap, notices) if isinstance(blob, JSONBlob)]
    assert [blob["alert_type"] for blob in blobs] == list(TYPES)  # type: ignore[index, call-overload]


def test_a_topic_that_is_not_there_and_a_broker_that_is_away_are_said(bootstrap: str, topic: str) -> None:
    gone = export(bootstrap, topic, "hop", "--no-account", "--to", f"kafka://{bootstrap}/nowhere")
    assert gone.exit_code == 1
    assert "there is no such topic" in gone.output
    with pytest.raises(NotDelivered, match=r"kafka://127\.0\.0\.1:1/alerts: "):
        HopSink("kafka://127.0.0.1:1/alerts", Alert.to_json, "json", has_account=False)


@on_kafka
def test_a_group_continues_with_the_alert_that_could_not_be_delivered(
    bootstrap: str, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CEMPSTREAM_WEBHOOK_SECRET", "whsec_" + "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
    taken: list[str] = []

    def post(self: object, alert_id: str, body: bytes) -> None:
        kind = json.loads(body)["type"].rpartition(".")[2]
        if kind == "update" and len(taken) == 2:
            raise _Refused("status 400")
        taken.append(kind)

    monkeypatch.setattr(WebhookSink, "_post", post)
    words = ("webhook", "--to", "https://x.example/y", "--group", f"chat-{topic}")
    first = export(bootstrap, topic, *words)
    assert (first.exit_code, taken) == (1, ["initial", "subsequent"])
    taken.append("failed")
    assert export(bootstrap, topic, *words).exit_code == 0
    assert taken == ["initial", "subsequent", "failed", "update", "retraction"]
    assert export(bootstrap, topic, *words).exit_code == 0
    assert len(taken) == 5  # nothing comes again


@on_kafka
def test_a_group_of_a_table_is_acknowledged_when_the_table_is_written(
    bootstrap: str, topic: str, tmp_path: Path
) -> None:
    words = ("ecsv", "--group", f"table-{topic}", "--to")
    folder = tmp_path / "no such folder"
    assert export(bootstrap, topic, *words, folder / "a.ecsv").exit_code == 1
    assert export(bootstrap, topic, *words, tmp_path / "a.ecsv").exit_code == 0
    assert len((tmp_path / "a.ecsv").read_text().splitlines()) > 4
    assert "retraction" in (tmp_path / "a.ecsv").read_text()
