"""Balmer cores: measured on lines of known depth, and drawn as the table says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cempstream.models.emulator.grids import EMULATOR_GRID
from cempstream.models.evaluation.forward import GRID, ObservedStar, StarComparison
from cempstream.models.evaluation.line_depths import (
    NODES,
    core_depth,
    feature_depth,
    fit_deepening,
    residual_depths,
    write_tables,
)
from cempstream.models.training.balmer import (
    BALMER_AIR,
    CORE_AA,
    TABLE,
    deepen_cores,
    measured_deepening,
)
from cempstream.models.training.star_labels import COLUMN
from cempstream.processors.grid import Array, air_to_vacuum, vacuum_to_air


def test_a_box_as_wide_as_the_core_has_its_own_depth() -> None:
    wave = np.arange(4800.0, 4920.0, 0.1)
    centre = air_to_vacuum(np.array([BALMER_AIR["Hb"]]))[0]
    flux = np.where(np.abs(wave - centre) < CORE_AA, 0.7, 1.0)
    assert core_depth(np.stack([flux, 0.5 * flux]), wave, BALMER_AIR["Hb"]) == pytest.approx([0.3, 0.15])


def test_a_feature_is_measured_from_the_mean_of_its_sidebands() -> None:
    wave = np.arange(4900.0, 5300.0, 1.0)
    windows = ((5050.0, 5100.0), (4950.0, 5000.0), (5150.0, 5200.0))
    tilted = 1.0 + 0.001 * (wave - 5075.0)
    inside = (vacuum_to_air(wave) > 5049.0) & (vacuum_to_air(wave) < 5101.0)
    flux = np.where(inside, tilted - 0.2, tilted)
    assert feature_depth(flux[None], wave, windows) == pytest.approx([0.2], abs=2e-3)


def comparison(labels: Array, observed: Array, emulated: Array) -> StarComparison:
    return StarComparison(ObservedStar("a", "miles_dev", labels, None), observed, emulated, 0.0)  # type: ignore[arg-type]


def test_what_is_deeper_on_the_sky_is_positive_in_that_line_alone() -> None:
    emulated = np.ones(GRID.n_pix)
    centre = air_to_vacuum(np.array([BALMER_AIR["Hg"]]))[0]
    observed = emulated - 0.1 * (np.abs(GRID.wave - centre) < 3.0)
    found = residual_depths([comparison(np.zeros(11), observed, emulated)])
    assert found["Hg"] == pytest.approx([0.1])
    assert {name: float(values[0]) for name, values in found.items() if name in BALMER_AIR} == pytest.approx(
        dict.fromkeys(BALMER_AIR, 0.0) | {"Hg": 0.1}
    )


def test_the_fit_finds_a_known_law_and_its_scatter_despite_outliers() -> None:
    rng = np.random.default_rng(3)
    teff, feh = rng.uniform(4000, 6900, 600), rng.uniform(-2.5, 0.3, 600)
    share = np.clip((feh + 2.0) / 2.0, 0.0, 1.0)
    truth = 0.15 - 5e-5 * (np.clip(teff, 4200, 6600) - 4200) - 0.04 * share
    values = truth + 0.015 * rng.standard_normal(600)
    values[:20] += 0.5
    values[20:30] = np.nan
    poor, rich, scatter = fit_deepening(values, teff, feh)
    assert poor == pytest.approx(0.15 - 5e-5 * (NODES - 4200), abs=0.012)
    assert rich == pytest.approx(poor - 0.04, abs=0.015)
    assert scatter == pytest.approx(np.full(NODES.size, 0.015), rel=0.2)


@pytest.mark.parametrize(("teff", "feh"), [(4300.0, -2.2), (5000.0, -1.0), (6100.0, 0.0)])
def test_drawn_cores_have_the_mean_and_the_scatter_of_the_table(teff: float, feh: float) -> None:
    n = 3000
    labels = np.zeros((n, len(COLUMN)))
    labels[:, COLUMN["teff"]], labels[:, COLUMN["feh"]] = teff, feh
    wave = EMULATOR_GRID.wave
    near = (wave > 4780) & (wave < 4940)
    norm = np.ones((n, int(near.sum())), dtype=np.float32)
    deepen_cores(norm, labels, vacuum_to_air(wave[near]), 1.0, np.random.default_rng(5))
    offset = np.arange(-40, 41) * np.diff(wave[near]).mean()
    kernel = np.exp(-0.5 * (offset / (2.5 / 2.3548)) ** 2)
    seen = np.apply_along_axis(np.convolve, 1, norm - 1.0, kernel / kernel.sum(), "same") + 1.0
    depth = core_depth(seen, wave[near], BALMER_AIR["Hb"])
    table = measured_deepening()["Hb"]
    assert depth.mean() == pytest.approx(float(table.mean(np.array(teff), np.array(feh))), abs=0.006)
    assert depth.std() == pytest.approx(float(table.sigma(np.array(teff))), rel=0.15)


def test_nothing_but_the_cores_changes_and_no_core_is_negative() -> None:
    labels = np.zeros((8, len(COLUMN)))
    labels[:, COLUMN["teff"]], labels[:, COLUMN["feh"]] = 4200.0, -2.0
    wave_air = vacuum_to_air(EMULATOR_GRID.wave)
    norm = np.full((8, wave_air.size), 0.05, dtype=np.float32)
    deepen_cores(norm, labels, wave_air, 1.0, np.random.default_rng(6))
    far = np.abs(wave_air[:, None] - np.array(list(BALMER_AIR.values()))).min(axis=1) > 10.0
    assert np.all(norm[:, far] == np.float32(0.05))
    assert norm.min() > 0


def test_cooler_and_poorer_stars_lack_more_of_their_cores() -> None:
    for name in ("Ha", "Hb"):
        table = measured_deepening()[name]
        poor = np.full(NODES.size, -2.0)
        assert np.all(table.mean(NODES, poor)[:-1] >= table.mean(NODES, poor + 2.0)[:-1] - 1e-9)
        assert table.mean(NODES, poor)[0] > table.mean(NODES, poor)[-1] + 0.05


def test_the_shipped_table_is_what_the_command_writes(shared_data: Path, tmp_path: Path) -> None:
    write_tables(shared_data / "real", tmp_path)
    assert (tmp_path / "features.csv").stat().st_size > 1000
    written, shipped = (
        [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
        for path in (tmp_path / TABLE.name, TABLE)
    )
    assert [row[:2] for row in written] == [row[:2] for row in shipped]
    numbers = (np.array([row[2:] for row in rows[5:]], dtype=float) for rows in (written, shipped))
    np.testing.assert_allclose(*numbers, atol=2e-3)
