"""Photometry of training stars: errors as stated, some that are not, and who has any."""

import numpy as np
import pytest

from cempstream.models.training.known_stars import (
    ANOTHERS,
    LOGG_ERROR,
    TEFF_ERROR,
    TIMES,
    UNDERESTIMATED,
    draw_photometry,
)
from cempstream.processors.grid import Array
from cempstream.processors.outcome import PARAMETERS

N = 20_000


def parameters(teff: float = 5000.0, logg: float = 2.0) -> Array:
    values = np.zeros((N, len(PARAMETERS)), dtype=np.float32)
    values[:, 0], values[:, 1] = teff, logg
    return values


@pytest.mark.parametrize(("column", "true", "limits"), [(0, 5000.0, TEFF_ERROR), (2, 2.0, LOGG_ERROR)])
def test_errors_are_those_that_are_stated_but_for_a_share(
    column: int, true: float, limits: tuple[float, float]
) -> None:
    known = draw_photometry(parameters(), np.random.default_rng(1), complete=True)
    stated = known[:, column + 1]
    assert limits[0] <= stated.min() < 1.05 * limits[0]
    assert 0.95 * limits[1] < stated.max() <= limits[1] * 1.0001
    pull = np.abs(known[:, column] - true) / stated
    assert np.median(pull) == pytest.approx(0.6745 * (1 + 0.13), rel=0.08)
    # Beyond 3 sigma are a third of the underestimated ones and most of other stars, hardly any else.
    expected = UNDERESTIMATED * 0.317 + ANOTHERS
    assert (pull > 3).mean() == pytest.approx(expected, abs=0.5 * expected)
    assert TIMES == 3.0


def test_some_stars_have_both_some_one_and_some_none() -> None:
    known = draw_photometry(parameters(), np.random.default_rng(2))
    has_teff, has_logg = known[:, 1] > 0, known[:, 3] > 0
    for has, column in ((has_teff, 0), (has_logg, 2)):
        assert not known[~has, column].any()
        assert known[has, column].all()
    shares = [(has_teff & has_logg).mean(), (has_teff & ~has_logg).mean(), (~has_teff & has_logg).mean()]
    assert shares == pytest.approx([0.55, 0.20, 0.05], abs=0.02)
    assert draw_photometry(parameters(), np.random.default_rng(2), complete=True)[:, [1, 3]].all()


def test_what_is_no_star_has_any_stars_photometry() -> None:
    unknown = parameters()
    unknown[:] = np.nan
    known = draw_photometry(unknown, np.random.default_rng(3), complete=True)
    assert known.dtype == np.float32
    assert np.isfinite(known).all()
    assert known[:, 0].std() > 700.0
