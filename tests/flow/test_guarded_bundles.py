"""Whatever loads a bundle refuses one with a changed number, and one that no trusted key has signed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import minisign
import numpy as np
import pytest
from typer.testing import CliRunner

from cempstream import Classifier
from cempstream.models.bundle import BUNDLES, BundleError, newest_bundle, write_manifest
from cempstream.processors.outcome import Classification
from cempstream.schemas.alert import alert_to_json
from cempstream.schemas.score import decode_score, encode_score
from cempstream.schemas.stamp import Stamp
from cempstream.streams.cli import app
from cempstream.streams.scoring.assemble import load_pipeline
from cempstream.streams.settings import SettingsError, read_settings
from cempstream.streams.worker.create import start_agent
from tests.support.bundles import add_version, edit_card, public_text, shift_cemp, sign
from tests.support.spectra import template_packets, template_spectra

VERSION = newest_bundle(BUNDLES, "mid").name
OURS = minisign.KeyPair.generate()
THEIRS = minisign.KeyPair.generate()
NOW = datetime.now(UTC)
STAMP = Stamp("current", NOW, NOW, NOW)


def change_a_number(folder: Path) -> None:
    edit_card(folder, shift_cemp(20.0))


def change_a_number_and_the_manifest(folder: Path) -> None:
    change_a_number(folder)
    write_manifest(folder)


def sign_by_another(folder: Path) -> None:
    sign(folder, THEIRS)


def take_the_signature_away(folder: Path) -> None:
    (folder / "manifest.json.minisig").unlink()


FAULTS = {
    change_a_number: "its manifest says",
    change_a_number_and_the_manifest: "is not a signature of manifest.json as it is",
    sign_by_another: "is a signature by key",
    take_the_signature_away: "manifest.json.minisig is missing",
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of bundles, all signed by the key that is trusted."""
    root = tmp_path / "bundles"
    for version in ("1.3.0", VERSION):
        sign(add_version(root, version), OURS)
    monkeypatch.setenv("CEMP_MODELS__ROOT", str(root))
    monkeypatch.setenv("CEMP_MODELS__BUNDLES", '["mid"]')
    monkeypatch.setenv("CEMP_MODELS__KEY", public_text(OURS))
    monkeypatch.setenv("CEMP_METRICS__PORT", "0")
    return root


@pytest.fixture
def spectra(tmp_path: Path) -> Path:
    (star,) = template_spectra(1)
    path = tmp_path / "star.npz"
    np.savez(
        path,
        wave=star.grid.wave,
        flux=star.flux,
        ivar=star.ivar,
        ids=np.array([star.spectrum_id]),
        medium="vacuum",
        frame="observed",
        resolving_power=1800.0,
    )
    return path


@pytest.fixture(scope="module")
def alert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (outcome,) = load_pipeline(read_settings()).classify_packets(template_packets(1))
    assert isinstance(outcome, Classification)
    path = tmp_path_factory.mktemp("alert") / "alert.json"
    path.write_bytes(alert_to_json(outcome, STAMP))
    return path


def said(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(map(str, words)))
    return result.exit_code, result.output


def load_a_shadow() -> None:
    settings = read_settings(models={"shadow": f"mid/{VERSION}", "bundles": ("mid/1.3.0",)})
    start_agent(settings)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_nothing_loads_it(
    root: Path, spectra: Path, alert: Path, tmp_path: Path, fault: Callable[[Path], None]
) -> None:
    fault(root / "mid" / VERSION)
    table, pages = tmp_path / "out.csv", tmp_path / "pages"
    for load in (Classifier, load_a_shadow, lambda: start_agent(read_settings())):
        with pytest.raises(BundleError, match=FAULTS[fault]):
            load()
    for status, words in (
        (1, ("classify", spectra, "--out", table)),
        (1, ("explain", spectra, "--out", pages)),
        (3, ("verify", alert)),
        (1, ("bundle", "check", "mid")),
        (1, ("bundle", "promote", f"mid/{VERSION}")),
        (1, ("bench", "pipeline")),
    ):
        found, output = said(*words)
        assert (found, FAULTS[fault] in output) == (status, True), (words, output)
    assert not table.exists()
    assert not list(pages.glob("*"))
    listed = "".join(said("bundle", "list")[1].split())  # its columns are narrow here
    assert f"mid/{VERSION}broken" in listed
    assert "mid/1.3.0" in listed


def test_a_bundle_rolled_back_to_must_be_sound(root: Path) -> None:
    for version in (VERSION, "1.3.0"):
        assert said("bundle", "promote", f"mid/{version}")[0] == 0
    change_a_number(root / "mid" / VERSION)
    status, output = said("bundle", "rollback", "mid")
    assert status == 1
    assert "its manifest says" in output
    assert (root / "mid" / "active").read_text().splitlines()[-1].startswith("1.3.0 ")


def test_a_sound_bundle_is_checked_and_loaded(root: Path, spectra: Path, alert: Path, tmp_path: Path) -> None:
    assert said("bundle", "check", "mid")[1].splitlines() == [
        f"mid-{VERSION} in {root / 'mid' / VERSION} is what its manifest and its card say; signed by a "
        "trusted key",
        f"sha256 {load_pipeline(read_settings()).routes[0].chain.provenance[-1].sha256}",
    ]
    assert said("classify", spectra, "--out", tmp_path / "out.csv")[0] == 0
    assert Classifier().bundles == (f"mid-{VERSION}",)


def test_a_new_manifest_asks_for_a_new_signature(root: Path) -> None:
    folder = root / "mid" / VERSION
    before = said("bundle", "check", folder)[1]
    edit_card(folder, shift_cemp(0.1))
    status, output = said("bundle", "manifest", folder)
    assert status == 0
    assert "sign again" in output
    sign(folder, OURS)
    after = said("bundle", "check", folder)[1]
    assert after.splitlines()[-1] == output.splitlines()[1]
    assert after.splitlines()[-1] != before.splitlines()[-1]


def test_the_hash_of_the_whole_stands_in_scores_and_alerts(root: Path) -> None:
    edit_card(root / "mid" / VERSION, shift_cemp(0.1))
    bundle = write_manifest(root / "mid" / VERSION)
    sign(bundle.folder, OURS)
    (outcome,) = load_pipeline(read_settings()).classify_packets(template_packets(1))
    assert isinstance(outcome, Classification)
    score = decode_score(encode_score(outcome, STAMP))
    assert score.models[-1] == f"mid.manifest/{VERSION}@{bundle.sha256[:12]} (cpu, fp32)"
    assert json.loads(alert_to_json(outcome, STAMP))["models"][-1]["sha256"] == bundle.sha256


def test_verify_tells_that_the_card_is_another_than_the_alerts(
    root: Path, alert: Path, tmp_path: Path
) -> None:
    """Graphs and version are the same; a threshold or a calibration may not be.

    The shift is upwards: this star's p is 1e-5, and can fall by no more than that.
    """
    edit_card(root / "mid" / VERSION, shift_cemp(5.0))
    write_manifest(root / "mid" / VERSION)
    sign(root / "mid" / VERSION, OURS)
    status, output = said("verify", alert)
    assert status == 3
    assert f"mid.manifest of mid-{VERSION} has sha256" in output
    old = json.loads(alert.read_text())
    assert old["models"].pop()["name"] == "mid.manifest"
    (tmp_path / "old.json").write_text(json.dumps(old))
    status, output = said("verify", tmp_path / "old.json")
    assert (status, "p_cemp" in output) == (1, True), "an alert from before names the graphs alone"


def test_a_key_that_is_none_stops_the_start(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CEMP_MODELS__KEY", "RWnonsense")
    with pytest.raises(SettingsError, match=r"CEMP_MODELS__KEY: .*neither a public key"):
        read_settings()


def test_the_key_may_be_a_file(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "night.pub"
    path.write_bytes(bytes(OURS.public_key) + b"\n")
    monkeypatch.setenv("CEMP_MODELS__KEY", str(path))
    assert Classifier().bundles == (f"mid-{VERSION}",)
