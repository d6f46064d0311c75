"""A worker does not start with a bundle that was changed; one that runs keeps what it has loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import minisign
import pytest

from cempstream.models.bundle import load_bundle
from tests.support.bundles import add_version, edit_card, public_text, shift_cemp, sign
from tests.support.night import Topics, WorkerProcess, send, wait_for
from tests.support.spectra import template_packets

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.parametrize("broker", ["embedded"], indirect=True),
]

OURS = minisign.KeyPair.generate()
N_STARS = 5


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    """Return the settings of a worker with two signed versions, of which it serves the first."""
    root = tmp_path / "bundles"
    for version in ("1.0.0", "2.0.0"):
        sign(add_version(root, version), OURS)
    (root / "mid" / "active").write_text("1.0.0 2026-01-01T00:00:00+00:00\n")
    return {
        "CEMP_MODELS__ROOT": str(root),
        "CEMP_MODELS__BUNDLES": '["mid"]',
        "CEMP_MODELS__KEY": public_text(OURS),
    }


def change(settings: dict[str, str], version: str) -> Path:
    folder = Path(settings["CEMP_MODELS__ROOT"]) / "mid" / version
    edit_card(folder, shift_cemp(20.0))
    return folder


def test_a_changed_bundle_stops_the_start_and_is_named(bootstrap: str, settings: dict[str, str]) -> None:
    topics = Topics.create(bootstrap)
    change(settings, "1.0.0")
    with WorkerProcess(bootstrap, topics, **settings) as worker:
        assert worker.process.wait(timeout_s=60) == 1
        assert "mid/1.0.0/card.json has" in worker.process.log_tail()


def test_a_changed_shadow_stops_the_start_and_is_named(
    bootstrap: str, new_topic: Callable[..., str], settings: dict[str, str]
) -> None:
    topics = Topics.create(bootstrap)
    (change(settings, "2.0.0") / "manifest.json.minisig").unlink()
    shadow = {**settings, "CEMP_MODELS__SHADOW": "mid/2.0.0", "CEMP_TOPICS__SCORES_SHADOW": new_topic()}
    with WorkerProcess(bootstrap, topics, **shadow) as worker:
        assert worker.process.wait(timeout_s=60) == 1
        assert "mid/2.0.0/manifest.json.minisig is missing" in worker.process.log_tail()


def test_a_worker_keeps_what_it_has_loaded_and_a_bad_promotion_is_refused(
    bootstrap: str, settings: dict[str, str]
) -> None:
    topics = Topics.create(bootstrap)
    root = Path(settings["CEMP_MODELS__ROOT"])
    served = load_bundle(root / "mid" / "1.0.0").sha256
    with WorkerProcess(bootstrap, topics, **settings) as worker:
        worker.wait_ready()
        change(settings, "1.0.0")
        change(settings, "2.0.0")
        done = subprocess.run(
            [sys.executable, "-m", "cempstream", "bundle", "promote", "mid/2.0.0"],
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1
        assert "mid/2.0.0/card.json has" in done.stderr
        assert (root / "mid" / "active").read_text().startswith("1.0.0 ")
        send(bootstrap, topics.spectra, template_packets(N_STARS, seed=71))
        ledger = wait_for(bootstrap, topics, N_STARS)
        assert f'sha256="{served}"' in worker.get("/metrics")[1]
    models = {score.models[-1] for scores in ledger.scores.values() for score in scores}
    assert models == {f"mid.manifest/1.0.0@{served[:12]} (cpu, fp32)"}
    with WorkerProcess(bootstrap, topics, **settings) as worker:
        assert worker.process.wait(timeout_s=60) == 1
        assert "mid/1.0.0/card.json has" in worker.process.log_tail()
