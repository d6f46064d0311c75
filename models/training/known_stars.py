"""Photometric Teff and log g of training stars, with errors that are stated and errors that are not."""

from __future__ import annotations

import numpy as np

from cempstream.processors.grid import Array
from cempstream.processors.outcome import PARAMETERS

#: 1σ errors that photometry states, drawn log-uniformly: K and dex.
TEFF_ERROR, LOGG_ERROR = (50.0, 300.0), (0.05, 0.6)
#: Share of the stars whose photometry is worse than it says (a variable, a wrong reddening), and by how much.
UNDERESTIMATED, TIMES = 0.10, 3.0
#: Share of the stars whose photometry is another star's (a blend, a wrong match).
ANOTHERS = 0.02
#: Shares of both, of Teff alone and of log g alone; the others have none.
_BOTH, _TEFF, _LOGG = 0.55, 0.20, 0.05
_ANYONE = ((4000.0, 7000.0), (0.5, 4.8))


def draw_photometry(parameters: Array, rng: np.random.Generator, *, complete: bool = False) -> Array:
    """Draw what photometry says of stars.

    Parameters
    ----------
    parameters
        In the order of ``PARAMETERS``, shape ``(n, n_parameters)``; NaN where a source is not a star of the
        library: its photometry is then any star's.
    complete
        Whether every star has both; else some have one or none.

    Returns
    -------
    Array
        Teff in K, its stated 1σ, log g and its, float32, shape ``(n, 4)``; 0 where there is none.
    """
    n = len(parameters)
    true = parameters[:, [PARAMETERS.index("teff"), PARAMETERS.index("logg")]].astype(np.float64)
    anyone = np.stack([rng.uniform(*limits, n) for limits in _ANYONE], axis=1)
    is_anothers = (rng.random(n) < ANOTHERS) | ~np.isfinite(true).all(axis=1)
    true = np.where(is_anothers[:, None], anyone, true)
    limits = np.log([TEFF_ERROR, LOGG_ERROR])
    stated = np.exp(rng.uniform(limits[:, 0], limits[:, 1], (n, 2)))
    worse = np.where(rng.random((n, 1)) < UNDERESTIMATED, TIMES, 1.0)
    said = true + worse * stated * rng.standard_normal((n, 2))
    known = np.stack([said[:, 0], stated[:, 0], said[:, 1], stated[:, 1]], axis=1)
    if not complete:
        which = rng.random(n)
        has_teff = which < _BOTH + _TEFF
        has_logg = (which < _BOTH) | ((which >= _BOTH + _TEFF) & (which < _BOTH + _TEFF + _LOGG))
        known[~has_teff, :2] = 0.0
        known[~has_logg, 2:] = 0.0
    return known.astype(np.float32)
