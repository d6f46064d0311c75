"""A real Prometheus scrapes a worker on Apache Kafka, and every expression of rules and boards is asked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from cempstream.schemas.codec import encode_spectrum
from cempstream.streams.rehearsal.child_process import ChildProcess
from cempstream.streams.rehearsal.embedded import free_port
from cempstream.streams.rehearsal.prometheus_server import MonitorError, PrometheusServer
from cempstream.streams.settings import PolicySettings
from tests.broker.conftest import need_kafka
from tests.broker.kafka import KafkaBroker
from tests.contract.monitoring import dashboard_queries, picture_queries, rule_queries
from tests.support.followed import follower
from tests.support.night import Topics, WorkerProcess, send, wait_for
from tests.support.spectra import template_spectra

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

N_SPECTRA = 300

#: Compares with what was an hour ago and before: empty in a first night.
_NEEDS_HISTORY = {"cemp:score_distance:rate1h"}


def wait_for_data(prometheus: PrometheusServer, expr: str, timeout_s: float) -> None:
    """Return once an expression has data."""
    deadline = time.monotonic() + timeout_s
    while not prometheus.query(expr):
        assert time.monotonic() < deadline, f"no data for {expr!r} after {timeout_s} s"
        time.sleep(0.5)


@pytest.fixture
def broker() -> Iterator[KafkaBroker]:
    need_kafka()
    with KafkaBroker() as kafka:
        yield kafka


def exposure(i: int, n_lacking: int = 0) -> list[bytes]:
    """Return the packets of one exposure, the last of them left out; half are of stars with a name."""
    spectra = template_spectra(N_SPECTRA // 3, seed=i)
    of_stars = [replace(s, object_id=f"star {n}") if n % 2 else s for n, s in enumerate(spectra)]
    named = (replace(s, exposure_id=f"e{i}", exposure_size=len(spectra)) for s in of_stars)
    return [encode_spectrum(spectrum) for spectrum in named][: len(spectra) - n_lacking]


@contextmanager
def exposure_watch(broker: KafkaBroker, topics: Topics) -> Iterator[str]:
    """Run the watch on exposures and give its address."""
    port = free_port()
    words = ["exposures", "watch", "--bootstrap", broker.bootstrap, "--port", str(port), "--timeout-s", "8"]
    command = [sys.executable, "-m", "cempstream", *words]
    with ChildProcess(command, env={**os.environ, **topics.environment()}):
        yield f"127.0.0.1:{port}"


def test_every_expression_is_answered_by_a_real_night(broker: KafkaBroker, tmp_path: Path) -> None:
    topics = Topics.create(broker.bootstrap)
    with (
        exposure_watch(broker, topics) as exposures,
        WorkerProcess(
            broker.bootstrap, topics, CEMP_POLICY__PRIOR="0.5", CEMP_STARS__ENABLED="true"
        ) as worker,
        follower(broker.bootstrap, topics) as stars,
    ):
        worker.wait_ready(120)
        stars.wait_ready(120)
        targets = {
            "cempstream": [f"127.0.0.1:{worker.port}"],
            "cempstream-exposures": [exposures],
            "cempstream-stars": [f"127.0.0.1:{stars.port}"],
        }
        with PrometheusServer(tmp_path, targets, scrape_s=1, evaluation_s=1) as prometheus:
            wait_for_data(prometheus, "cemp_ready == 1", 60)
            header = {"tense": b"current"}
            n_sent = 0
            for part in range(3):  # apart in time, so that there is a rate
                packets = [*exposure(part, n_lacking=5 if part == 0 else 0), b"junk"]
                n_sent += send(broker.bootstrap, topics.spectra, packets, header)
                wait_for(broker.bootstrap, topics, n_sent)
                time.sleep(3)
            wait_for_data(prometheus, f'cemp_spectra_total{{outcome="scored"}} == {N_SPECTRA - 5}', 30)
            wait_for_data(prometheus, 'cemp_exposures_total{status="complete",survey="lamost"} == 2', 30)
            wait_for_data(prometheus, "rate(cemp_star_latency_seconds_count[1m]) >= 0", 60)
            wait_for_data(prometheus, "cemp:high_score_share:rate1h", 90)  # evaluated once a minute
            asked = [*dashboard_queries(), *(q for q in picture_queries() if q.metrics)]
            empty = {q.place: q.metrics for q in asked if not prometheus.query(q.expr)}
            assert all(metrics & _NEEDS_HISTORY for metrics in empty.values()), empty
            for query in rule_queries():
                prometheus.query(query.expr)
            assert not list(prometheus.broken_rules())
            wait_for_data(prometheus, 'ALERTS{alertname="CempExposureIncomplete",alertstate="firing"}', 30)
            missing = 'cemp_exposure_missing_spectra_total{survey="lamost"} == 5'
            wait_for_data(prometheus, missing, 10)


def test_the_command_draws_its_night_and_ends(tmp_path: Path) -> None:
    night = [sys.executable, "-m", "cempstream", "night", "--minutes", "0.2", "--out", str(tmp_path)]
    done = subprocess.run(night, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "dead letters" in done.stdout
    picture = tmp_path / "night.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20_000, "curves, not empty axes"
    assert f"picture     {picture}" in done.stdout


def read_until(process: subprocess.Popen[str], wanted: str) -> dict[str, str]:
    """Read what a night says until a line holds this; return all by its name, the line itself under ''."""
    assert process.stdout is not None
    said: dict[str, str] = {}
    for line in process.stdout:
        what, _, text = line.partition("  ")
        said[what] = text.strip()
        if wanted in line:
            return {**said, "": line.strip()}
    raise AssertionError(f"it ended before it had said {wanted!r}: {said}")


def assert_nothing_serves(said: dict[str, str]) -> None:
    for what in ("worker", "exposures", "prometheus"):
        with pytest.raises(URLError):
            urlopen(said[what].partition(",")[0], timeout=5)


def test_ctrl_c_ends_the_night_with_its_picture_and_leaves_nothing_running(tmp_path: Path) -> None:
    night = [sys.executable, "-m", "cempstream", "night", "--minutes", "30", "--out", str(tmp_path)]
    with subprocess.Popen(night, stdout=subprocess.PIPE, text=True) as process:
        try:
            said = read_until(process, " out, ")
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=60)
            assert process.returncode == 0, rest
        finally:
            process.kill()
    assert "interrupted" in rest
    assert (tmp_path / "night.png").read_bytes().startswith(b"\x89PNG")
    assert_nothing_serves(said)


def test_a_night_that_stays_is_listened_to_and_ended_by_sigterm(tmp_path: Path) -> None:
    """Its worker keeps the natural prior, whatever share of CEMP stars the simulated programme has."""
    options = ["--minutes", "0.2", "--stay", "--out", str(tmp_path)]
    with subprocess.Popen(
        [sys.executable, "-m", "cempstream", "night", *options], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            said = read_until(process, " listen ")
            listen = f"{said['']} -n 1 --json"
            listened = subprocess.run(listen, shell=True, capture_output=True, text=True, timeout=120)
            with urlopen(said["worker"].partition(",")[0], timeout=20) as answer:
                metrics = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines())
            process.send_signal(signal.SIGTERM)
            rest, _ = process.communicate(timeout=60)
            assert process.returncode == 0, rest
        finally:
            process.kill()
    assert json.loads(listened.stdout)["spectrum_id"].startswith("sim-"), listened.stderr
    n_scored = float(metrics['cemp_spectra_total{outcome="scored"}'])
    expected = float(metrics['cemp_expected_candidates_total{survey="lamost"}'])
    assert expected == pytest.approx(n_scored * PolicySettings().prior)
    assert (tmp_path / "night.png").read_bytes().startswith(b"\x89PNG")
    assert_nothing_serves(said)


def test_the_command_says_what_it_lacks(tmp_path: Path) -> None:
    night = [sys.executable, "-m", "cempstream", "night", "--minutes", "0.3", "--out", str(tmp_path)]
    done = subprocess.run(
        night,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PATH": "/nowhere"},
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "cempstream: there is no `prometheus` on PATH; on Debian: apt install prometheus"
    )


def test_rules_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(MonitorError, match=r"no .*rules: the rules are in the project's checkout"):
        PrometheusServer(tmp_path, {}, source=tmp_path / "nowhere")
