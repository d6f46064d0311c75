"""CSST's packets and any spectrum of R = 100 to 500 are scored by ``low``, the others by ``mid``."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cempstream.processors.grid import Array
from cempstream.streams.cli import app
from tests.support.spectra import template_spectra
from tests.support.survey_files import write_cess


def classify(path: Path, *options: str) -> list[dict[str, str]]:
    """Return the rows of ``cempstream classify``."""
    out = path.with_suffix(".out.csv")
    result = CliRunner().invoke(app, ["classify", str(path), "--out", str(out), *options])
    assert result.exit_code == 0, result.output
    with out.open(newline="") as stream:
        return list(csv.DictReader(stream))


def is_scored_by_low(row: dict[str, str]) -> bool:
    return row["status"] == "scored" and row["bundle"].startswith("low-")


def star(wave: Array) -> Array:
    """Return a cool star's broad lines."""
    flux = np.ones_like(wave)
    for centre, sigma, depth in (
        (3951, 25, 0.5), (4304, 35, 0.3), (4862, 9, 0.25), (5176, 20, 0.25), (6564, 9, 0.3), (8600, 40, 0.2),
    ):  # fmt: skip
        flux *= 1 - depth * np.exp(-0.5 * ((wave - centre) / sigma) ** 2)
    return flux


def test_both_bands_of_a_cess_file_are_scored_without_velocity_and_barium(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    bands: dict[str, dict[str, Array]] = {}
    for name, wave in (("GV", np.linspace(3810, 6590, 530)), ("GI", np.linspace(6110, 10420, 520))):
        truth = np.tile(100 * star(wave), (3, 1))
        bands[name] = {
            "wave": wave,
            "flux_ujy_with_noise": truth * (1 + rng.standard_normal(truth.shape) / 30),
            "ferr": truth / 30,
            "spec_mask": np.ones(truth.shape),
            "snr_mask": np.ones(truth.shape),
        }
    rows = classify(write_cess(tmp_path / "cess.hdf5", bands))
    assert [row["grating"] for row in rows] == ["GV", "GI"] * 3
    for row in rows:
        assert is_scored_by_low(row)
        assert row["rv_kms"] == ""
        assert row["bafe"] in ("", "nan")
        assert float(row["feh_lo"]) < float(row["feh"]) < float(row["feh_hi"])
        assert 0 <= float(row["p_cemp"]) <= 1
        assert "partial_coverage" not in row["flags"]
        assert "k18" not in row["lines"]
    assert "gpe" in rows[0]["lines"]


def test_a_simulated_night_of_csst_is_scored(tmp_path: Path) -> None:
    night = tmp_path / "night.npz"
    arguments = f"simulate --survey csst --n 16 --seed 3 --out {night}"
    assert CliRunner().invoke(app, arguments.split()).exit_code == 0
    rows = classify(night)
    assert len(rows) == 16
    assert sum(is_scored_by_low(row) for row in rows) >= 14


@pytest.mark.parametrize("power", [100.0, 230.0, 499.0])
def test_a_table_is_scored_at_the_resolution_that_it_is_said_to_have(tmp_path: Path, power: float) -> None:
    wave = np.arange(3820.0, 6580.0, 5.0)
    flux = star(wave) * (1 + np.random.default_rng(2).standard_normal(wave.size) / 30)
    path = tmp_path / "star.csv"
    np.savetxt(
        path,
        np.stack([wave, flux, flux / 30], axis=1),
        delimiter=",",
        header="wave,flux,error",
        comments="",
    )
    (row,) = classify(path, "--resolving-power", f"{power}", "--medium", "vacuum")
    assert is_scored_by_low(row)


def test_a_batch_of_both_resolutions_goes_to_both_bundles(tmp_path: Path) -> None:
    sharp = template_spectra(2)
    wave = np.arange(3820.0, 6580.0, 5.0)
    flux = [*(s.flux for s in sharp), star(wave)]
    np.savez(
        tmp_path / "mixed.npz",
        wave=np.concatenate([*(s.grid.wave for s in sharp), wave]),
        flux=np.concatenate(flux),
        ivar=np.concatenate([900.0 / np.maximum(f, 0.1) ** 2 for f in flux]),
        offsets=np.cumsum([0, *(f.size for f in flux)]),
        resolving_power=np.array([1800.0, 1800.0, 230.0]),
        medium="vacuum",
        frame="observed",
    )
    rows = classify(tmp_path / "mixed.npz")
    assert [row["bundle"].split("-")[0] for row in rows] == ["mid", "mid", "low"]
    assert not math.isnan(float(rows[0]["rv_kms"]))
