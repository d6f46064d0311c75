"""The scores of an explanation, on classifiers whose explanations are known to be right or wrong."""

import numpy as np

from cempstream.models.evaluation.attribution import delete_bins, score_attribution, window_share
from cempstream.processors.grid import Array

WIDTH, N_BINS = 48, 80
EDGES = 10 ** (3.57 + 1e-4 * (np.arange(N_BINS + 1) * WIDTH - 0.5))
#: Bins of the G band and of C2 4737.
CARBON = np.flatnonzero(window_share(EDGES) > 0.95)[:8]


def _depth(norm: Array) -> Array:
    return 1.0 - norm.reshape(len(norm), N_BINS, WIDTH).mean(axis=2)


def _honest(norm: Array, ivar: Array) -> tuple[Array, Array]:
    contribution = np.zeros((len(norm), N_BINS))
    contribution[:, CARBON] = np.maximum(_depth(norm)[:, CARBON], 0) + 1e-9
    return contribution.sum(axis=1) * 10, contribution / contribution.sum(axis=1, keepdims=True)


def _dishonest(norm: Array, ivar: Array) -> tuple[Array, Array]:
    logit, _ = _honest(norm, ivar)
    elsewhere = np.zeros((len(norm), N_BINS))
    elsewhere[:, 60:68] = 1 / 8
    return logit, elsewhere


def _carbon_stars() -> tuple[Array, Array]:
    norm = np.ones((20, N_BINS * WIDTH), dtype=np.float32)
    for b in CARBON:
        norm[:, b * WIDTH : (b + 1) * WIDTH] = 0.5
    return norm, np.full_like(norm, 400.0)


def test_an_honest_explanation_passes_both_tests() -> None:
    score = score_attribution(_honest, *_carbon_stars(), EDGES)
    assert score.inside > 0.95
    assert 0.15 < score.chance < 0.35
    assert score.lost_top > 30
    assert score.deletion_ratio > 5


def test_an_explanation_that_points_elsewhere_fails_the_deletion_test() -> None:
    score = score_attribution(_dishonest, *_carbon_stars(), EDGES)
    assert score.lost_top == 0
    assert score.deletion_ratio < 1


def test_random_deletion_takes_only_bins_with_data() -> None:
    norm, ivar = _carbon_stars()
    ivar[:, N_BINS // 2 * WIDTH :] = 0
    everywhere = score_attribution(_honest, *_carbon_stars(), EDGES).lost_random
    blue_only = score_attribution(_honest, norm, ivar, EDGES)
    assert blue_only.lost_random > 1.5 * everywhere
    assert blue_only.chance != score_attribution(_honest, *_carbon_stars(), EDGES).chance


def test_deleted_bins_are_bad_pixels() -> None:
    norm, ivar = _carbon_stars()
    changed, weight = delete_bins(norm, ivar, np.full((20, 1), CARBON[0]), WIDTH)
    gone = slice(CARBON[0] * WIDTH, (CARBON[0] + 1) * WIDTH)
    assert np.all(weight[:, gone] == 0)
    assert np.all(changed[:, gone] == 1)
    assert np.all(ivar > 0)
