"""``cempstream replay --from-topic``: a recorded night scored again sends no live alert; two bundles."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner, Result

from cempstream.models.bundle import BUNDLES, newest_bundle
from cempstream.schemas.alert import decode_alert
from cempstream.schemas.codec import decode_spectrum
from cempstream.schemas.score import decode_score
from cempstream.schemas.stamp import record_id
from cempstream.streams.cli import app
from tests.support.bundles import add_version, shift_cemp
from tests.support.night import Topics, read_all
from tests.support.spectra import template_packets

pytestmark = pytest.mark.timeout(180)

START = datetime(2026, 11, 20, 18, tzinfo=UTC)
END = START + timedelta(hours=12)
RANGE = ("--start", START.isoformat(), "--end", END.isoformat())
N_NIGHT, N_PLANTED, N_OTHER = 150, 5, 7

#: What a bundle's calibration is moved by: the logits must differ by exactly this, enough to gain alerts.
OFFSET = 4.0


def record(
    bootstrap: str, topic: str, packets: list[bytes], at: datetime, headers: Mapping[str, bytes]
) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    for i, packet in enumerate(packets):
        stamp_ms = round(at.timestamp() * 1000) + i
        producer.produce(topic, packet, headers=dict(headers), timestamp=stamp_ms)
    assert producer.flush(30) == 0


@pytest.fixture
def topics(bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> Topics:
    """A recorded night: its own spectra, one that is junk, planted ones, and some of the days around it."""
    topics = Topics.create(bootstrap)
    for name, value in topics.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CEMP_KAFKA__BOOTSTRAP", bootstrap)
    monkeypatch.setenv("CEMP_POLICY__PRIOR", "0.5")
    days = ((START - timedelta(hours=1), "before"), (END, "at-the-end"), (END + timedelta(hours=1), "after"))
    night = template_packets(N_NIGHT, seed=21)
    record(bootstrap, topics.spectra, template_packets(N_OTHER, seed=22, tag="b"), days[0][0], {})
    record(bootstrap, topics.spectra, night[:-50], START, {"tense": b"current"})
    record(bootstrap, topics.spectra, [*night[-50:], b"junk"], START + timedelta(hours=3), {})
    planted = template_packets(N_PLANTED, seed=23, tag="planted")
    record(bootstrap, topics.spectra, planted, START + timedelta(hours=4), {"tense": b"injection"})
    for at, tag in days[1:]:
        record(bootstrap, topics.spectra, template_packets(N_OTHER, seed=24, tag=tag), at, {})
    return topics


def replay(*args: str, status: int = 0) -> Result:
    result = CliRunner().invoke(app, ["replay", *args])
    assert result.exit_code == status, result.output
    return result


def test_a_night_scored_again_keeps_its_ids_and_pages_nobody(bootstrap: str, topics: Topics) -> None:
    n_recorded = len(read_all(bootstrap, topics.spectra))
    said = replay("--from-topic", topics.spectra, *RANGE).stdout
    assert f"{N_NIGHT + 1} packets, {N_NIGHT} scored" in said
    assert f"1 rejected (1 not_avro), {N_PLANTED} planted left out; published as archival" in said
    scores = [decode_score(m.value() or b"") for m in read_all(bootstrap, topics.scores)]
    night = [decode_spectrum(packet) for packet in template_packets(N_NIGHT, seed=21)]
    expected = {record_id(s.survey, s.spectrum_id, s.reduction_version) for s in night}
    assert {score.record_id for score in scores} == expected
    assert len(scores) == N_NIGHT
    assert {score.tense for score in scores} == {"archival"}
    alerts = [decode_alert(m.value() or b"") for m in read_all(bootstrap, topics.alerts_archival)]
    assert {a.record_id for a in alerts} == {s.record_id for s in scores if s.decision.is_candidate}
    assert alerts
    assert {alert.alert_tense for alert in alerts} == {"archival"}
    for silent in (topics.alerts, topics.alerts_json, topics.dlq):
        assert read_all(bootstrap, silent) == []
    assert len(read_all(bootstrap, topics.spectra)) == n_recorded


def test_two_bundles_are_compared_and_nothing_is_written(
    bootstrap: str, topics: Topics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = newest_bundle(BUNDLES, "mid")
    root = tmp_path / "bundles"
    shutil.copytree(old, root / "mid" / old.name)
    add_version(root, "99.0.0", shift_cemp(OFFSET))
    monkeypatch.setenv("CEMP_MODELS__ROOT", str(root))
    report = tmp_path / "report.json"
    bundles = ("--bundle", "mid", "--against", f"mid/{old.name}")
    said = replay("--from-topic", topics.spectra, *RANGE, *bundles, "--report", str(report)).stdout
    found = json.loads(report.read_text())
    assert (found["old"], found["new"]) == (f"mid-{old.name}", "mid-99.0.0")
    assert found["n_both"] == N_NIGHT
    assert found["shifts"]["logit p_cemp"]["median"] == pytest.approx(OFFSET, abs=1e-3)
    assert found["shifts"]["feh"]["max_abs"] == 0.0
    assert found["n_lost"] == 0
    assert found["n_candidates_new"] - found["n_candidates_old"] == found["n_gained"] > 0
    assert said.count("gained:") == min(found["n_gained"], 20) + (found["n_gained"] > 20)
    for silent in (topics.scores, topics.alerts, topics.alerts_archival, topics.dlq):
        assert read_all(bootstrap, silent) == []


def test_what_makes_no_sense_is_refused(topics: Topics) -> None:
    source = ("--from-topic", topics.spectra)
    replay(status=2)
    replay("a.fits", *source, status=2)
    replay(*source, status=2)
    replay(*source, "--start", "yesterday", status=2)
    replay(*source, "--start", END.isoformat(), "--end", START.isoformat(), status=2)
    replay(*source, *RANGE, "--tense", "current", status=2)
    replay(*source, *RANGE, "--report", "r.json", status=2)
    replay("a.fits", "--bundle", "mid", status=2)
    assert "no bundle 'mid-9.9.9'" in replay(*source, *RANGE, "--bundle", "mid-9.9.9", status=1).output
    assert "there is no topic 'absent'" in replay("--from-topic", "absent", *RANGE, status=1).output
