"""Spectra estimated from mended ones: what the lines take is learned from pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

from cempstream.models.synthesis import estimate_mended
from cempstream.models.synthesis.chunks import ESTIMATED, MENDED, LibraryRows, write_rows
from cempstream.models.synthesis.grid_spectrum import LIBRARY_CONTINUUM_WAVE, LIBRARY_WAVE
from cempstream.models.synthesis.grid_stars import EVERYTHING, STRATA, Star, sobol_labels
from cempstream.models.synthesis.linelists import LineSet, MoogLines
from cempstream.models.synthesis.mend import impossible_opacity
from cempstream.processors.grid import Array

pytestmark = pytest.mark.train

LINES_AA = np.linspace(4600.0, 9000.0, 40)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> MoogLines:
    """Return forty lines, and put them and a simple atmosphere where the packages' would be fetched."""
    n = LINES_AA.size
    lines = MoogLines(
        LINES_AA, np.full(n, "106.00112"), np.ones(n), np.linspace(-2.0, 1.0, n), np.full(n, "BX10R285")
    )
    monkeypatch.setattr(estimate_mended, "impossible_lines", lambda cache: lines)
    monkeypatch.setattr(estimate_mended, "fetch", lambda package, cache: cache)
    monkeypatch.setattr(estimate_mended, "molecules_over_continuum", strength)
    return lines


def strength(star: Star, grid: object) -> tuple[float, float]:
    return 0.6 * star.cfe, 0.85 * star.teff


def rows_of(line_set: str, indices: list[int], norm: Array) -> LibraryRows:
    n = len(indices)
    return LibraryRows(
        norm.astype(np.float16),
        np.full((n, LIBRARY_CONTINUUM_WAVE.size), 1e5, dtype=np.float32),
        sobol_labels(STRATA[EVERYTHING], 7, np.array(indices)),
        np.full(n, EVERYTHING),
        np.full(n, 7),
        np.array(indices),
        np.full(n, line_set),
    )


def test_the_rest_is_estimated_from_the_mended(lines: MoogLines, tmp_path: Path) -> None:
    indices = list(range(30))
    labels = sobol_labels(STRATA[EVERYTHING], 7, np.array(indices))
    clean = np.full((30, LIBRARY_WAVE.size), 0.95)
    opacity = np.stack(
        [
            impossible_opacity(lines, row[9], *strength(Star.from_row(row), None), saturation=1.0)
            for row in labels
        ]
    )
    published = clean * np.exp(-np.minimum(0.3 * opacity, 0.5))
    write_rows(tmp_path / "published.npz", rows_of(LineSet.PUBLISHED.value, indices, published))
    write_rows(tmp_path / "mended.npz", rows_of(MENDED, indices[:24], clean[:24]))
    joined = estimate_mended.merge_estimated([tmp_path], tmp_path)
    assert joined.line_set.tolist() == [MENDED] * 24 + [ESTIMATED] * 6
    left = joined.norm[24:].astype(np.float64) - clean[24:]
    assert np.sqrt(np.mean(left**2)) < 0.2 * np.sqrt(np.mean((published[24:] - clean[24:]) ** 2))
    untouched = opacity[24:] < 1e-6
    np.testing.assert_allclose(left[untouched], 0.0, atol=1e-3)


def test_too_few_pairs_are_refused(lines: MoogLines, tmp_path: Path) -> None:
    flat = np.full((5, LIBRARY_WAVE.size), 0.95)
    write_rows(tmp_path / "published.npz", rows_of(LineSet.PUBLISHED.value, list(range(5)), flat))
    with pytest.raises(ValueError, match="0 published stars are mended; 20 are needed"):
        estimate_mended.merge_estimated([tmp_path], tmp_path)
