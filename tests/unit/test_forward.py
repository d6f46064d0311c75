"""The comparison with the sky, tried on a sky that is known: the emulator's own spectra."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from cempstream.models.emulator.emulator import Emulator
from cempstream.models.emulator.grids import EMULATOR_GRID, line_spread_matrix
from cempstream.models.evaluation.forward import ObservedStar, StarComparison, compare_stars, read_stars
from cempstream.models.evaluation.forward_page import write_page
from cempstream.models.simulator.light import doppler
from cempstream.models.training.emulator.evaluate import BANDS
from cempstream.processors.grid import Array, LinearGrid
from cempstream.processors.spectrum import Spectrum

LABELS = np.array([5200.0, 3.2, -1.6, 0.1, 0.2, 0.35, 0.35, 0.0, 0.2, 20.0, 1.5])
MILES_GRID = LinearGrid(3642.5, 0.9, 4180)


@pytest.fixture(scope="module")
def emulator() -> Emulator:
    return Emulator.load()


def observe(flux: Array, name: str = "a") -> ObservedStar:
    """Return a star as MILES would have it: air, 2.5 Å."""
    matrix = line_spread_matrix(MILES_GRID, MILES_GRID.wave / 2.5, medium="air")
    seen = np.asarray(matrix @ flux, dtype=np.float32)
    spectrum = Spectrum(
        spectrum_id=name,
        survey="miles",
        grid=MILES_GRID,
        flux=seen / seen.mean(),
        ivar=np.full(seen.size, 1e4, dtype=np.float32),
        medium="air",
        frame="rest",
        resolving_power=2000.0,
        reduced_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return ObservedStar(name, "miles_dev", LABELS, spectrum)


def test_a_star_that_is_the_model_leaves_no_residual_and_its_velocity_is_found(emulator: Emulator) -> None:
    flux = emulator(LABELS[None]).flux.astype(np.float64)
    moved = doppler(flux, np.array([25.0]))[0]
    at_rest, shifted = compare_stars([observe(flux[0]), observe(moved)], emulator)
    assert at_rest.rms < 1e-3
    assert abs(at_rest.velocity_kms) < 0.5
    assert shifted.velocity_kms == pytest.approx(25.0, abs=1.0)
    assert shifted.rms < 5e-3


def test_a_weaker_band_on_the_sky_is_a_positive_residual_in_that_band_only(emulator: Emulator) -> None:
    flux = emulator(LABELS[None]).flux[0].astype(np.float64)
    continuum = emulator(LABELS[None]).continuum[0]
    low, high = BANDS["Mg b"]
    inside = (EMULATOR_GRID.wave > low) & (EMULATOR_GRID.wave < high)
    weaker = np.where(inside, 0.5 * (flux + continuum), flux)
    (comparison,) = compare_stars([observe(weaker)], emulator)
    assert comparison.band_residual("Mg b") > 0.02
    assert abs(comparison.band_residual("Ca K")) < 2e-3


def test_the_page_holds_its_table_and_pictures(emulator: Emulator, tmp_path: Path) -> None:
    flux = emulator(LABELS[None]).flux[0]
    comparisons = compare_stars([observe(flux, name) for name in ("a", "b", "HD122563")], emulator)
    page = write_page(comparisons, 4, emulator, tmp_path)
    text = page.read_text(encoding="utf-8")
    assert "4 more are outside it" in text
    assert "<td>5000–5700</td><td>-4 to -1.5</td><td>3</td>" in text
    for picture in ("residual_-4_-1.5.png", "star_HD122563.png"):
        assert picture in text
        assert (tmp_path / picture).stat().st_size > 10_000


@pytest.mark.shared
def test_real_metal_poor_stars_agree_within_a_few_per_cent(emulator: Emulator, shared_data: Path) -> None:
    stars, n_outside = read_stars(shared_data / "real")
    assert len(stars) > 350
    assert n_outside < 130
    chosen = [s for s in stars if s.name in ("HD122563", "hd140283", "cs22892-52")]
    comparisons: list[StarComparison] = compare_stars(chosen, emulator)
    assert len(comparisons) == 3
    assert all(c.rms < 0.03 for c in comparisons)
    assert all(abs(c.velocity_kms) < 12 for c in comparisons)
