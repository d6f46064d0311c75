"""The emulator's wavelength grid, and the matrices that convert spectra from it to any other."""

from __future__ import annotations

from functools import lru_cache
from math import log

import numpy as np
from scipy.sparse import csr_array
from scipy.special import ndtr

from cempstream.processors.constants import FWHM_PER_SIGMA
from cempstream.processors.grid import Array, LogGrid, WavelengthGrid, air_to_vacuum

#: Vacuum, 3641.7–9951.0 Å, 2.6 pixels per resolution element; three pixels to one of the ``mid`` models'.
EMULATOR_GRID = LogGrid(3.5613, 1e-4 / 3.0, 13098)

#: λ/FWHM of the library's spectra.
EMULATOR_RESOLVING_POWER = 5000.0


def line_spread_matrix(
    grid: WavelengthGrid, resolving_power: float | Array, *, medium: str = "vacuum"
) -> csr_array:
    """Return the weights that smooth and sample spectra of the emulator's grid.

    A Gaussian widens the line-spread function from the emulator's to ``resolving_power`` and the result is
    averaged over each pixel. Rows of pixels outside the emulator's range are empty.

    Parameters
    ----------
    grid
        Pixels to sample at, in ``medium``.
    resolving_power
        λ/FWHM wanted, a number or one for each pixel; the emulator's where it is higher than that.

    Returns
    -------
    csr_array
        float32, shape ``(grid.n_pix, EMULATOR_GRID.n_pix)``, rows sum to 1 inside the range.
    """
    if isinstance(resolving_power, np.ndarray):
        return _line_spread_matrix(grid, resolving_power, medium)
    return _cached_line_spread_matrix(grid, float(resolving_power), medium)


@lru_cache(maxsize=64)
def _cached_line_spread_matrix(grid: WavelengthGrid, resolving_power: float, medium: str) -> csr_array:
    return _line_spread_matrix(grid, np.full(grid.n_pix, resolving_power), medium)


def _line_spread_matrix(grid: WavelengthGrid, resolving_power: Array, medium: str) -> csr_array:
    wave = grid.wave if medium == "vacuum" else air_to_vacuum(grid.wave)
    step = EMULATOR_GRID.log10_step * log(10.0)
    first = EMULATOR_GRID.log10_start * log(10.0)
    centre = (np.log(wave) - first) / step
    pixel = np.abs(np.gradient(centre))
    variance = np.maximum(resolving_power**-2.0 - EMULATOR_RESOLVING_POWER**-2.0, 0.0)
    # The emulator's pixels are boxes of variance 1/12, which already smooth by that much.
    sigma = np.sqrt(np.maximum(variance / (FWHM_PER_SIGMA * step) ** 2 - 1.0 / 12.0, 0.04))
    reach = float(np.max(4.0 * sigma + pixel))
    width = 2 * int(np.ceil(reach)) + 1
    columns = np.rint(centre).astype(int)[:, None] + np.arange(width) - width // 2
    # A Gaussian averaged over a pixel of width p, at distance d: the difference of two error functions'
    # integrals; five sub-pixels agree with it to 1e-4 and are simpler.
    weights = np.zeros(columns.shape)
    for part in (np.arange(5) + 0.5) / 5 - 0.5:
        distance = columns - centre[:, None] - part * pixel[:, None]
        weights += ndtr((distance + 0.5) / sigma[:, None]) - ndtr((distance - 0.5) / sigma[:, None])
    weights /= weights.sum(axis=1, keepdims=True)
    inside = (centre >= 0) & (centre <= EMULATOR_GRID.n_pix - 1)
    keep = (weights > 1e-7) & inside[:, None]
    # Near the ends the spectrum is continued with its last pixel.
    columns = np.clip(columns, 0, EMULATOR_GRID.n_pix - 1)
    rows = np.broadcast_to(np.arange(grid.n_pix)[:, None], columns.shape)
    return csr_array(
        (weights[keep].astype(np.float32), (rows[keep], columns[keep])),
        shape=(grid.n_pix, EMULATOR_GRID.n_pix),
    )
