"""Worker and `stars run` together: who alerts of which star, and the same states as `classify --stars`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from cempstream.schemas.alert import Alert, decode_alert
from cempstream.schemas.codec import encode_spectrum
from cempstream.streams.operations.verify import SAME_PROVIDER
from cempstream.streams.scoring.pipeline import Pipeline
from tests.support.followed import (
    EVEN,
    even_pipeline,
    follower,
    lives,
    newest_states,
    observations_of,
    undisturbed,
)
from tests.support.night import Topics, WorkerProcess, read_all, send
from tests.support.spectra import template_spectra, visits_of

pytestmark = pytest.mark.timeout(600)

N_STARS, N_VISITS = 8, 2
FOLLOW = {"CEMP_STARS__ENABLED": "true", "CEMP_STARS__OBSERVED_FROM": "1e-9"}


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return even_pipeline()


def wait_counted(process: WorkerProcess, name: str, count: int, timeout_s: float = 240.0) -> None:
    """Return once a process has delivered what so many messages called for."""
    deadline = time.monotonic() + timeout_s
    while (n_now := process.metric(name)) < count:
        assert time.monotonic() < deadline, f"{name} is {n_now}: {process.process.log_tail()}"
        time.sleep(0.1)


def assert_drawn(
    bootstrap: str, topics: Topics, name: str, told: Mapping[str, Sequence[Alert]], folder: Path
) -> None:
    """Draw a star as a person does: the picture holds every alert that was sent of it, and no other's."""
    picture = folder / "star.svg"
    command = [sys.executable, "-m", "cempstream", "stars", "show", name, "--plot", str(picture)]
    environment = {**os.environ, **topics.environment(), "CEMP_KAFKA__BOOTSTRAP": bootstrap}
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert f"picture: {picture}" in shown.stdout
    life = " → ".join(f"{a.alert_type} {a.published_at:%m-%d %H:%M:%S}" for a in told[name])
    assert f"<!-- alerts (UTC): {life} -->" in picture.read_text()


def test_a_replay_ends_in_the_states_of_classify_and_each_star_is_alerted_of_by_one(
    bootstrap: str, pipeline: Pipeline, tmp_path: Path
) -> None:
    topics = Topics.create(bootstrap)
    stars = template_spectra(N_STARS, seed=1, snr=1e4)
    seen = [visits_of(star, N_VISITS, snr=6.0, seed=i) for i, star in enumerate(stars)]
    named = [visits[i] for i in range(N_VISITS) for visits in seen]
    nameless = [replace(star, spectrum_id=f"alone-{i}") for i, star in enumerate(stars)]
    expected = undisturbed(pipeline, observations_of(pipeline, N_STARS, N_VISITS))
    assert any(star.is_candidate for star in expected.values())
    with (
        WorkerProcess(bootstrap, topics, **EVEN, **FOLLOW) as worker,
        follower(bootstrap, topics, **FOLLOW) as following,
    ):
        worker.wait_ready()
        send(bootstrap, topics.spectra, map(encode_spectrum, [*named, *nameless]))
        wait_counted(worker, "cemp_spectra_total", len(named) + len(nameless))
        wait_counted(following, "cemp_star_folds_total", len(named))
        n_by_worker = worker.metric(f'cemp_alerts_published_total{{topic="{topics.alerts}"}}')
    states = newest_states(bootstrap, topics)
    assert states.keys() == expected.keys()
    for name, wanted in expected.items():
        star = states[name].star
        assert [o.visit for o in star.observations] == [o.visit for o in wanted.observations]
        pairs = zip(star.spokesmen(), wanted.spokesmen(), strict=True)
        for ours, theirs in pairs:
            assert ours is not None
            assert theirs is not None
            assert ours.p_cemp == pytest.approx(theirs.p_cemp, abs=SAME_PROVIDER)
        assert star.is_candidate == wanted.is_candidate
    alerts = [decode_alert(message.value() or b"") for message in read_all(bootstrap, topics.alerts)]
    alone = [alert for alert in alerts if alert.object_id is None]
    assert n_by_worker == len(alone) > 0
    assert {alert.spectrum_id for alert in alone} <= {spectrum.spectrum_id for spectrum in nameless}
    told = lives(bootstrap, topics)
    assert_drawn(bootstrap, topics, max(expected, key=lambda name: len(told.get(name, ()))), told, tmp_path)
    assert {name for name, star in expected.items() if star.is_candidate} <= told.keys()
