"""The template match: the right template, at the chi² that its noise allows."""

from __future__ import annotations

import numpy as np
import pytest

from cempstream.processors.batch import NormalisedBatch
from cempstream.processors.grid import Array, LogGrid
from cempstream.processors.templates import TemplateMatcher

GRID = LogGrid(3.57, 1e-4, 3840)
WAVE = GRID.wave


def templates(n: int = 40) -> tuple[Array, Array]:
    strength = np.linspace(0.1, 0.8, n)
    shape = sum(
        np.exp(-0.5 * ((WAVE - centre) / 8.0) ** 2) for centre in (3934.8, 4306.0, 4862.7, 5175.0, 6564.6)
    )
    labels = np.stack([4000 + 50 * np.arange(n), np.full(n, 2.0), -3 * strength, 2 * strength], axis=1)
    return 1.0 - strength[:, None] * shape, labels


def batch(norm: Array, ivar: Array | float) -> NormalisedBatch:
    norm = np.atleast_2d(norm)
    ivar = np.broadcast_to(ivar, norm.shape)
    norm = np.where(ivar > 0, norm, 1.0).astype(np.float32)
    return NormalisedBatch(GRID, norm, ivar.astype(np.float32), np.ones_like(norm))


def test_every_template_finds_itself() -> None:
    norm, labels = templates()
    matches = TemplateMatcher(norm, labels)(batch(norm, 1e4))
    np.testing.assert_allclose(matches.labels, labels.astype(np.float32))
    # What is left is the structure within a bin of four pixels.
    assert np.all(matches.chi2 < 0.3)


@pytest.mark.parametrize("sigma", [0.2, 1.25])
def test_noise_gives_a_reduced_chi2_of_one(sigma: float) -> None:
    norm, labels = templates()
    rng = np.random.default_rng(1)
    wanted = rng.integers(0, len(norm), 60)
    noisy = norm[wanted] + sigma * rng.standard_normal((60, 3840))
    matches = TemplateMatcher(norm, labels)(batch(noisy, sigma**-2))
    assert np.abs(matches.chi2 - 1).max() < 0.12
    found = np.array([np.flatnonzero(labels[:, 0] == teff)[0] for teff in matches.labels[:, 0]])
    assert np.abs(found - wanted).max() <= 5 * sigma / 0.2


def test_templates_are_accurate_to_two_percent() -> None:
    """However bright a star is: one that misses its template by the model's error has a chi² of one."""
    norm, labels = templates()
    off = norm[[20]] + 0.02 * np.where(np.arange(3840) // 4 % 2, 1.0, -1.0)
    chi2 = TemplateMatcher(norm, labels)(batch(off, 1e12)).chi2[0]
    assert chi2 == pytest.approx(1.0, rel=0.2)  # float32 sums of large weights


def test_bad_pixels_carry_no_weight() -> None:
    norm, labels = templates()
    rng = np.random.default_rng(2)
    bad = rng.random(3840) < 0.4
    matches = TemplateMatcher(norm, labels)(batch(norm[[5, 30]], np.where(bad, 0.0, 1e4)))
    np.testing.assert_allclose(matches.labels, labels[[5, 30]].astype(np.float32))


def test_no_good_pixel_no_chi2() -> None:
    norm, labels = templates()
    matches = TemplateMatcher(norm, labels)(batch(norm[:2], np.array([[0.0], [4.0]])))
    assert np.isnan(matches.chi2).tolist() == [True, False]


def test_a_row_does_not_depend_on_its_batch() -> None:
    norm, labels = templates()
    rng = np.random.default_rng(3)
    rows = norm[rng.integers(0, 40, 37)] + 0.1 * rng.standard_normal((37, 3840))
    match = TemplateMatcher(norm, labels)
    many = match(batch(rows, 100.0))
    for row in (0, 16, 36):
        alone = match(batch(rows[row], 100.0))
        assert np.array_equal(alone.labels[0], many.labels[row])
        assert alone.chi2[0] == pytest.approx(many.chi2[row], rel=1e-4)


def test_labels_must_fit_the_templates() -> None:
    norm, labels = templates()
    with pytest.raises(ValueError, match="40 templates have 39 labels"):
        TemplateMatcher(norm, labels[:-1])
