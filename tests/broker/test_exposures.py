"""Exposures over several workers and partitions: each is complete or reported, once, whoever is restarted."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest
from typer.testing import CliRunner

from cempstream.processors.spectrum import Spectrum
from cempstream.schemas.codec import encode_spectrum
from cempstream.schemas.exposure import Exposure, decode_exposure
from cempstream.streams.cli import app
from cempstream.streams.rehearsal.child_process import ChildProcess
from cempstream.streams.rehearsal.embedded import free_port
from tests.support.night import Topics, WorkerProcess, read_all, send, wait_for
from tests.support.spectra import template_spectra

pytestmark = pytest.mark.timeout(400)

SIZE = 60
#: Longer than two workers on a busy machine ever wait for each other.
TIMEOUT_S = 12.0


@dataclass
class Watch:
    """The watch as a process."""

    process: ChildProcess
    port: int

    def metric(self, name: str) -> float:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
        except URLError:
            return 0.0
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    def probe(self) -> int:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/breaker/probe", data=b"", timeout=5) as answer:
                return int(answer.status)
        except HTTPError as error:
            return error.code

    def wait_for(self, name: str, value: float, timeout_s: float = 60.0) -> None:
        deadline_s = time.monotonic() + timeout_s
        while self.metric(name) < value:
            assert self.process.is_running, self.process.log_tail()
            assert time.monotonic() < deadline_s, f"{name} is {self.metric(name)}, not {value}"
            time.sleep(0.2)


@contextmanager
def watching(bootstrap: str) -> Iterator[Watch]:
    port = free_port()
    arguments = ["exposures", "watch", "--bootstrap", bootstrap, "--timeout-s", f"{TIMEOUT_S}"]
    command = [sys.executable, "-m", "cempstream", *arguments, "--port", str(port)]
    with ChildProcess(command) as process:
        yield Watch(process, port)


@pytest.fixture
def topics(bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> Topics:
    topics = Topics.create(bootstrap, partitions=4)
    for name, value in topics.environment().items():
        monkeypatch.setenv(name, value)
    return topics


def exposure(name: str, seed: int) -> list[Spectrum]:
    """Return the spectra of an exposure that says how many it has."""
    spectra = template_spectra(SIZE, seed=seed, tag=name)
    return [replace(s, survey="desi", exposure_id=name, exposure_size=SIZE) for s in spectra]


def reported(bootstrap: str, topics: Topics) -> list[Exposure]:
    return [decode_exposure(m.value() or b"") for m in read_all(bootstrap, topics.exposures)]


def test_exposures_over_two_workers_are_complete_or_reported(bootstrap: str, topics: Topics) -> None:
    whole = [encode_spectrum(s) for s in exposure("whole", 51)]
    lacking = [encode_spectrum(s) for s in exposure("lacking", 52)]
    spoilt = [encode_spectrum(s) for s in exposure("spoilt", 53)]
    # Three are cut after the first fields and still name their exposure; one is not a packet at all.
    spoilt[:4] = [*(packet[:3000] for packet in spoilt[:3]), b"\x99" + spoilt[3][1:]]
    planted = [encode_spectrum(s) for s in exposure("planted", 54)][:5]
    breaker = {"CEMP_BREAKER__SHARE": "1.0", "CEMP_POLICY__PRIOR": "0.5"}
    with watching(bootstrap) as watch:
        first = WorkerProcess(bootstrap, topics, **breaker)
        second = WorkerProcess(bootstrap, topics, **breaker)
        with first, second:
            first.wait_ready(150)
            second.wait_ready(150)
            send(bootstrap, topics.spectra, planted, {"tense": b"test"})
            # Every packet of one exposure comes twice, as after a worker's death.
            sent = [*whole, *lacking[:-7], *spoilt, *whole]
            send(bootstrap, topics.spectra, sent)
            wait_for(bootstrap, topics, 3 * SIZE - 7 + 5)
            n_done = [worker.metric("cemp_spectra_total") for worker in (first, second)]
            assert sum(n_done) == len(sent) + len(planted)
            assert min(n_done) > 0, "both workers had partitions"
            watch.wait_for("cemp_exposures_total", 3)
            assert watch.metric('cemp_exposures_total{status="incomplete",survey="desi"}') == 2
            assert watch.metric("cemp_exposure_missing_spectra_total") == 7 + 1
            assert watch.metric("cemp_exposure_unattributed_total") == 1
            assert watch.metric("cemp_exposures_open") == 2
            assert watch.probe() == 404, "it has no breaker"
            send(bootstrap, topics.spectra, lacking[-7:])
            watch.wait_for("cemp_exposures_total", 4)
    events = {(event.exposure_id, event.status): event for event in reported(bootstrap, topics)}
    assert set(events) == {
        ("whole", "complete"),
        ("lacking", "incomplete"),
        ("lacking", "complete"),
        ("spoilt", "incomplete"),
    }
    assert len(reported(bootstrap, topics)) == 4
    complete, late = events["whole", "complete"], events["lacking", "complete"]
    assert (complete.n_expected, complete.n_scored, complete.n_dead_letters) == (SIZE, SIZE, 0)
    assert (late.n_in, late.n_missing) == (SIZE, 0)
    assert complete.latency_seconds is not None
    assert 0 < complete.latency_seconds < 120
    assert late.latency_seconds is not None
    assert late.latency_seconds > TIMEOUT_S
    assert events["lacking", "incomplete"].n_received == SIZE - 7
    spoilt_event = events["spoilt", "incomplete"]
    assert spoilt_event.n_received == SIZE - 1
    assert (spoilt_event.n_scored, spoilt_event.n_dead_letters, spoilt_event.n_missing) == (SIZE - 4, 3, 1)
    scored = wait_for(bootstrap, topics, 3 * SIZE).scores.values()
    for event in (complete, late, spoilt_event):
        n_candidates = sum(s[0].decision.is_candidate for s in scores_of(scored, event.exposure_id))
        assert event.n_alerts == n_candidates


def test_an_exposure_of_which_nothing_was_scored_is_reported(bootstrap: str, topics: Topics) -> None:
    """No worker runs: what the survey has sent is all that tells of the exposure."""
    packets = [encode_spectrum(s) for s in exposure("unread", 57)]
    send(bootstrap, topics.spectra, packets[:20])
    send(bootstrap, topics.spectra, packets[20:30], {"tense": b"archival"})
    with watching(bootstrap) as watch:
        watch.wait_for("cemp_exposures_total", 1)
        assert watch.metric("cemp_exposure_missing_spectra_total") == SIZE
        with WorkerProcess(bootstrap, topics):
            send(bootstrap, topics.spectra, packets[20:])
            watch.wait_for("cemp_exposures_total", 2, timeout_s=150)
    before, after = reported(bootstrap, topics)
    assert (before.status, before.n_expected, before.n_in, before.n_received) == ("incomplete", SIZE, 0, 20)
    assert (after.status, after.n_in, after.n_received) == ("complete", SIZE, SIZE)


def test_a_watch_that_is_killed_reports_what_came_meanwhile_and_nothing_twice(
    bootstrap: str, topics: Topics
) -> None:
    first, second = exposure("first", 55), exposure("second", 56)
    with watching(bootstrap) as watch, WorkerProcess(bootstrap, topics) as worker:
        worker.wait_ready(150)
        send(bootstrap, topics.spectra, [encode_spectrum(s) for s in [*first, *second[:30]]])
        watch.wait_for("cemp_exposures_total", 1)
        watch.process.send_signal(signal.SIGKILL)
        send(bootstrap, topics.spectra, [encode_spectrum(s) for s in second[30:]])
        wait_for(bootstrap, topics, 2 * SIZE)
    with watching(bootstrap) as watch:
        watch.wait_for("cemp_exposures_total", 1)
        watch.process.send_signal(signal.SIGTERM)
        assert watch.process.wait(20) == 0
    events = reported(bootstrap, topics)
    assert [(event.exposure_id, event.status) for event in events] == [
        ("first", "complete"),
        ("second", "complete"),
    ]
    result = CliRunner().invoke(app, ["exposures", "list", "--json", "--bootstrap", bootstrap])
    listed = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(line["exposure_id"], line["n_missing"]) for line in listed] == [("first", 0), ("second", 0)]
    result = CliRunner().invoke(app, ["exposures", "list", "--incomplete", "--bootstrap", bootstrap])
    assert "first" not in result.stdout


def scores_of(scored: object, exposure_id: str) -> list[list[object]]:
    return [scores for scores in scored if scores[0].exposure_id == exposure_id]  # type: ignore[attr-defined]
