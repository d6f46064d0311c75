"""A shadow bundle on a broker: it scores all that the first one scores, and sends no alert."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from cempstream.schemas.codec import encode_spectrum
from cempstream.schemas.score import Score, decode_score
from tests.support.bundles import add_version, shift_cemp
from tests.support.night import Topics, WorkerProcess, read_all, send, wait_for
from tests.support.spectra import template_packets, template_spectra
from tests.support.topics import create_topics

pytestmark = pytest.mark.timeout(240)

N_GOOD = 120


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder of bundles with two versions; the second calls fewer stars CEMP."""
    root = tmp_path / "bundles"
    add_version(root, "1.0.0")
    add_version(root, "2.0.0", shift_cemp(-2.0))
    return root


def new_shadow_topic(bootstrap: str, **config: str) -> str:
    name = f"shadow-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    create_topics(admin, [NewTopic(name, 1, 1, config=config)])
    return name


def scores_of(bootstrap: str, topic: str) -> dict[str, Score]:
    scores = [decode_score(message.value() or b"") for message in read_all(bootstrap, topic)]
    assert len(scores) == len({score.spectrum_id for score in scores})
    return {score.spectrum_id: score for score in scores}


def events_in(log: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for line in log.read_text().splitlines():
        fields = json.loads(line)
        found.setdefault(fields.get("event", ""), []).append(fields)
    return found


def bundle(*words: str, **topics: str) -> str:
    """Run ``cempstream bundle`` as an operator does and return what it prints."""
    environment = {**os.environ, **{f"CEMP_TOPICS__{name}": topic for name, topic in topics.items()}}
    command = [sys.executable, "-m", "cempstream", "bundle", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_shadow_scores_everything_and_alerts_nobody(bootstrap: str, root: Path, tmp_path: Path) -> None:
    topics, shadow_topic = Topics.create(bootstrap), new_shadow_topic(bootstrap)
    (named,) = template_spectra(1, seed=22)
    unscorable = encode_spectrum(replace(named, resolving_power=50.0, exposure_id="e-22"))
    packets = [*template_packets(N_GOOD, seed=21), unscorable]
    log = tmp_path / "worker.log"
    settings = {
        "CEMP_MODELS__ROOT": str(root),
        "CEMP_TOPICS__SCORES_SHADOW": shadow_topic,
        "CEMP_POLICY__PRIOR": "0.5",
    }
    options = ["--bundle", "mid/1.0.0", "--shadow", "mid/2.0.0", "--log-format", "json"]
    with WorkerProcess(bootstrap, topics, arguments=options, log_path=log, **settings) as worker:
        worker.wait_ready()
        send(bootstrap, topics.spectra, packets)
        ledger = wait_for(bootstrap, topics, len(packets))
        shadows = scores_of(bootstrap, shadow_topic)
        assert worker.metric("cemp_shadow_spectra_total") == len(packets)
    assert shadows.keys() == ledger.scores.keys()
    assert len(shadows) == N_GOOD
    firsts = {name: score for name, (score,) in ledger.scores.items()}
    assert {score.bundle for score in firsts.values()} == {"mid-1.0.0"}
    assert {score.bundle for score in shadows.values()} == {"mid-2.0.0"}
    assert all(shadows[name].record_id == score.record_id for name, score in firsts.items())
    assert all(shadows[name].p_cemp < score.p_cemp for name, score in firsts.items())
    n_candidates = sum(score.decision.is_candidate for score in firsts.values())
    assert ledger.alerts.total() == n_candidates > 0, "alerts are the first bundle's alone"
    assert len(ledger.dead) == 1, "and so are dead letters"

    found = json.loads(
        bundle(
            "compare", "--json", "--bootstrap", bootstrap, SCORES=topics.scores, SCORES_SHADOW=shadow_topic
        )
    )
    assert (found["old"], found["new"], found["n_both"]) == ("mid-1.0.0", "mid-2.0.0", N_GOOD)
    assert (found["only_old"], found["only_new"]) == (0, 0)
    assert found["n_candidates_old"] == n_candidates
    assert found["shifts"]["logit p_cemp"]["median"] == pytest.approx(-2.0, abs=0.01), "as it was made"
    assert found["shifts"]["feh"]["max_abs"] == pytest.approx(0.0, abs=1e-3)
    lost = {change["spectrum_id"] for change in found["lost"]}
    assert lost == {
        name
        for name, s in firsts.items()
        if s.decision.is_candidate and not shadows[name].decision.is_candidate
    }

    events = events_in(log)
    (started,), (stopped,) = events["started"], events["stopped"]
    assert (started["bundle"], started["shadow"]) == ("mid/1.0.0", "mid-2.0.0")
    assert (stopped["n_scored"], stopped["n_dead_letters"]) == (N_GOOD, 1)
    (dead,) = events["dead_letter"]
    assert (dead["spectrum_id"], dead["exposure_id"]) == (named.spectrum_id, "e-22")
    assert dead["reason"] == "unsupported_resolution"
    assert "partitions_changed" in events
    n_lines = sum(map(len, events.values()))
    assert n_lines < N_GOOD / 4, f"{n_lines} lines: nothing is logged for a spectrum that is scored"


@pytest.mark.parametrize("broker", [pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True)
def test_a_shadow_that_cannot_deliver_stops_nothing(bootstrap: str, root: Path, tmp_path: Path) -> None:
    """Its topic takes no score: the first bundle's scores and acknowledgements go on."""
    topics = Topics.create(bootstrap)
    shadow_topic = new_shadow_topic(bootstrap, **{"max.message.bytes": "64"})
    log = tmp_path / "worker.log"
    settings = {"CEMP_MODELS__ROOT": str(root), "CEMP_TOPICS__SCORES_SHADOW": shadow_topic}
    options = ["--bundle", "mid/1.0.0", "--shadow", "mid/2.0.0", "--log-format", "json"]
    with WorkerProcess(bootstrap, topics, arguments=options, log_path=log, **settings) as worker:
        worker.wait_ready()
        send(bootstrap, topics.spectra, template_packets(30, seed=23))
        wait_for(bootstrap, topics, 30)
        send(bootstrap, topics.spectra, template_packets(30, seed=24))
        ledger = wait_for(bootstrap, topics, 60)
        assert worker.metric("cemp_shadow_spectra_total") == 60
        assert worker.get("/live")[0] == 200
        deadline = time.monotonic() + 20
        while worker.metric("cemp_consumer_lag_messages") and time.monotonic() < deadline:
            time.sleep(0.2)
        assert worker.metric("cemp_consumer_lag_messages") == 0, "all is acknowledged"
    assert len(ledger.scores) == 60
    (failed,) = events_in(log)["shadow_failed"]
    assert failed["bundle"] == "mid-2.0.0"
    assert not read_all(bootstrap, shadow_topic)


@pytest.mark.parametrize("broker", [pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True)
def test_what_is_promoted_is_what_a_worker_serves(bootstrap: str, root: Path) -> None:
    topics = Topics.create(bootstrap)

    def served(n_before: int) -> set[str]:
        settings = {"CEMP_MODELS__ROOT": str(root), "CEMP_MODELS__BUNDLES": '["mid"]'}
        with WorkerProcess(bootstrap, topics, **settings) as worker:
            worker.wait_ready()
            send(bootstrap, topics.spectra, template_packets(5, seed=30 + n_before))
            ledger = wait_for(bootstrap, topics, n_before + 5)
        return {score.bundle for scores in ledger.scores.values() for score in scores}

    here = ("--root", str(root))
    assert "mid/1.0.0 is active" in bundle("promote", "mid/1.0.0", *here)
    assert served(0) == {"mid-1.0.0"}, "though a newer version lies beside it"
    assert "mid/2.0.0 is active" in bundle("promote", "mid/2.0.0", *here)
    (active,) = [line for line in bundle("list", *here).splitlines() if " active " in line]
    assert active.split()[0] == "mid/2.0.0"
    assert "mid/1.0.0 is active" in bundle("rollback", "mid", *here)
    assert served(5) == {"mid-1.0.0"}


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_a_shadow_that_is_not_there_is_refused_at_the_start(bootstrap: str) -> None:
    topics = Topics.create(bootstrap)
    settings = {"CEMP_TOPICS__SCORES_SHADOW": new_shadow_topic(bootstrap)}
    with WorkerProcess(bootstrap, topics, arguments=["--shadow", "mid/9.9.9"], **settings) as worker:
        assert worker.process.wait(timeout_s=60) == 1
        assert "there is no bundle 'mid/9.9.9'" in worker.process.log_tail()
    without_topic = {"CEMP_TOPICS__SCORES_SHADOW": "nobody.made.this"}
    with WorkerProcess(bootstrap, topics, arguments=["--shadow", "mid"], **without_topic) as worker:
        assert worker.process.wait(timeout_s=60) == 1
        assert "nobody.made.this" in worker.process.log_tail()
