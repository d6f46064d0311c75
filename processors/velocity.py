"""Radial velocity from a small bank of templates, and the shift to the rest frame.

The classical cross-correlation (Tonry & Davis 1979) weighted by inverse variance (Zucker 2003): for a
template t shifted by a lag, chi² falls by S²/Q with S = Σ w x t and Q = Σ w t², where x and t are
normalised flux minus one. Over ±1000 km/s a direct matrix product needs fewer operations than an FFT.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from cempstream.processors.batch import NormalisedBatch
from cempstream.processors.constants import LIGHT_KMS
from cempstream.processors.grid import Array, LogGrid
from cempstream.processors.row_chunks import row_chunks

#: Pixels summed for the coarse search.
_COARSE_PIX = 2
#: Pixels summed for the power in the coarse search, where only the structure of the weights matters.
_POWER_PIX = 16
#: The coarse search spans this much to either side, and at least this many coarse pixels: at R = 200 the zero
#: point of a slitless spectrum is wrong by several pixels.
_REACH_KMS, _FEWEST_COARSE_LAGS = 1100.0, 4
_FINE_LAGS = 2
#: Templates are accurate to about 3 %: this caps the weight of bright stars.
_MODEL_ERROR = 0.03
#: The best velocity must be better than any other by this much chi² to count as certain.
_MIN_CHI2_GAIN = 16.0
#: Template mismatch and wavelength calibration, in pixels.
_SYSTEMATIC_PIX = 0.07


@dataclass(frozen=True, slots=True, eq=False)
class Velocities:
    """Radial velocities of a batch.

    Attributes
    ----------
    rv_kms, error_kms
        float64, shape ``(n_spec,)``.
    is_certain
        Whether one velocity clearly wins, shape ``(n_spec,)``.
    """

    rv_kms: Array
    error_kms: Array
    is_certain: Array


class VelocityFinder:
    """Cross-correlates spectra with templates.

    Parameters
    ----------
    grid
        The common grid.
    templates
        Normalised rest-frame spectra, shape ``(n_templates, n_pix)``.
    """

    def __init__(self, grid: LogGrid, templates: Array) -> None:
        self.grid = grid
        depth = templates.astype(np.float32) - 1.0
        n_templates, n_pix = depth.shape
        coarse_kms = _COARSE_PIX * LIGHT_KMS * np.log(10.0) * grid.log10_step
        n_lags = max(int(np.ceil(_REACH_KMS / coarse_kms)), _FEWEST_COARSE_LAGS)
        reach = n_lags * _COARSE_PIX + _FINE_LAGS
        self._padded = np.pad(depth, ((0, 0), (reach, reach)))
        self._reach = reach
        lags = np.arange(-n_lags, n_lags + 1) * _COARSE_PIX
        shifted = np.stack([self._padded[:, reach - lag : reach - lag + n_pix] for lag in lags], axis=1)
        coarse = shifted.reshape(n_templates * lags.size, n_pix // _COARSE_PIX, _COARSE_PIX)
        self._coarse = np.ascontiguousarray(coarse.mean(axis=2).T)
        squared = (shifted**2).reshape(n_templates * lags.size, -1, _POWER_PIX).mean(axis=2)
        self._squared = np.ascontiguousarray(squared.T)
        self._lags = lags

    def __call__(self, batch: NormalisedBatch) -> Velocities:
        """Measure the velocity of each row."""
        weight, product = _weigh(batch)
        template, lag, is_certain = self._search(product, weight)
        shift_pix, error_pix = self._refine(product, weight, template, lag)
        step = np.log(10.0) * self.grid.log10_step
        return Velocities(
            rv_kms=LIGHT_KMS * np.expm1(step * shift_pix),
            error_kms=LIGHT_KMS * step * error_pix,
            is_certain=is_certain,
        )

    def _search(self, product: Array, weight: Array) -> tuple[Array, Array, Array]:
        """Find the best template and lag (pixels) of each row on the coarse grid."""
        n_spec = product.shape[0]
        signal = _block_sums(product, _COARSE_PIX) @ self._coarse
        power = _block_sums(weight, _POWER_PIX) @ self._squared
        np.maximum(signal, 0.0, out=signal)
        gain = (signal * signal / (power + np.float32(1e-20))).reshape(n_spec, -1, self._lags.size)
        row = np.arange(n_spec)
        by_lag = gain.max(axis=1)
        best_lag = by_lag.argmax(axis=1)
        template = gain[row, :, best_lag].argmax(axis=1)
        best = by_lag[row, best_lag]
        near = np.abs(np.arange(self._lags.size) - best_lag[:, None]) <= 2
        rival = np.where(near, 0.0, by_lag).max(axis=1)
        at_edge = (best_lag == 0) | (best_lag == self._lags.size - 1)
        return template, self._lags[best_lag], (best - rival > _MIN_CHI2_GAIN) & ~at_edge

    def _refine(self, product: Array, weight: Array, template: Array, lag: Array) -> tuple[Array, Array]:
        """Return the velocity and its error in pixels from a parabola through full-resolution lags."""
        n_pix = product.shape[1]
        fine = np.arange(-_FINE_LAGS, _FINE_LAGS + 1)
        signal = np.empty((product.shape[0], fine.size))
        power = np.empty((product.shape[0], fine.size))
        windows = sliding_window_view(self._padded, n_pix + 2 * _FINE_LAGS, axis=1)
        for rows in row_chunks(product.shape[0]):
            near = windows[template[rows], self._reach - _FINE_LAGS - lag[rows]]
            squared = near * near
            for i in range(fine.size):
                moved = slice(2 * _FINE_LAGS - i, 2 * _FINE_LAGS - i + n_pix)
                signal[rows, i] = _row_dots(product[rows], near[:, moved])
                power[rows, i] = _row_dots(weight[rows], squared[:, moved])
        gain = np.maximum(signal, 0.0) ** 2 / (power + 1e-20)
        row = np.arange(product.shape[0])
        peak = np.clip(gain.argmax(axis=1), 1, fine.size - 2)
        left, middle, right = (gain[row, peak + step] for step in (-1, 0, 1))
        curvature = np.minimum(0.5 * (left + right) - middle, -1e-6)
        offset = np.clip(0.25 * (left - right) / curvature, -1.0, 1.0)
        error = np.sqrt(np.minimum(1.0 / -curvature, 100.0) + _SYSTEMATIC_PIX**2)
        return lag + fine[peak] + offset, error


def _weigh(batch: NormalisedBatch) -> tuple[Array, Array]:
    """Return each pixel's weight, template errors included, and weight times depth."""
    weight, product = np.empty_like(batch.ivar), np.empty_like(batch.norm)
    for rows in row_chunks(batch.n_spec):
        np.multiply(batch.ivar[rows], np.float32(_MODEL_ERROR**2), out=weight[rows])
        weight[rows] += 1.0
        np.divide(batch.ivar[rows], weight[rows], out=weight[rows])
        np.subtract(batch.norm[rows], 1.0, out=product[rows])
        product[rows] *= weight[rows]
    return weight, product


def _block_sums(values: Array, n_pix: int) -> Array:
    """Sum neighbouring pixels by a matrix-vector product, as numpy is slow over a short last axis."""
    return (values.reshape(-1, n_pix) @ np.ones(n_pix, dtype=np.float32)).reshape(len(values), -1)


def _row_dots(a: Array, b: Array) -> Array:
    """Return the dot product of each row of ``a`` with the same row of ``b``, shape ``(n_spec,)``."""
    return np.asarray(np.matmul(a[:, None, :], b[:, :, None])[:, 0, 0])


def shift_to_rest(batch: NormalisedBatch, rv_kms: Array) -> NormalisedBatch:
    """Move each row to its rest frame by linear interpolation.

    The noise of neighbouring pixels mixes; ``ivar`` is interpolated like the flux, so that it keeps the
    S/N of the data. Pixels from outside the grid are bad.

    Parameters
    ----------
    rv_kms
        Shape ``(n_spec,)``.
    """
    shift_pix = np.log10(1.0 + rv_kms / LIGHT_KMS) / batch.grid.log10_step
    whole = np.floor(shift_pix).astype(np.int64)
    part = (shift_pix - whole).astype(np.float32)[:, None]
    norm, ivar, continuum = (np.empty_like(batch.norm) for _ in range(3))
    for rows in row_chunks(batch.n_spec):
        move = _Move(whole[rows], part[rows], batch.grid.n_pix)
        ivar[rows], good = move.noise(batch.ivar[rows])
        np.multiply(move(batch.norm[rows] - 1.0), good, out=norm[rows])
        norm[rows] += 1.0
        continuum[rows] = move.nearest(batch.continuum[rows])
    return NormalisedBatch(batch.grid, norm, ivar, continuum)


class _Move:
    """Moves each row by its own number of pixels; pixels from outside the grid are 0.

    Parameters
    ----------
    whole, part
        Whole pixels to move to the left, shape ``(n_spec,)``, and the remaining fraction, ``(n_spec, 1)``.
    """

    def __init__(self, whole: Array, part: Array, n_pix: int) -> None:
        self._part = part
        self._reach = int(np.abs(whole).max()) + 1
        self._rows = np.arange(whole.size)
        self._first = self._reach + whole
        self._padded = np.zeros((whole.size, n_pix + 2 * self._reach), dtype=np.float32)
        self._inner = self._padded[:, self._reach : self._reach + n_pix]
        self._windows = sliding_window_view(self._padded, n_pix + 1, axis=1)

    def __call__(self, values: Array) -> Array:
        """Interpolate linearly, shape ``(n_spec, n_pix)``."""
        return self._between(self._take(values))

    def noise(self, ivar: Array) -> tuple[Array, Array]:
        """Return ivar, and 1 where a pixel is good, else 0: 95 % of it must come from good pixels."""
        taken = self._take(ivar)
        has_light = taken > 0
        left, right = has_light[:, :-1], has_light[:, 1:]
        is_good = left & right
        part = self._part[:, 0]
        is_good[part < 0.05] = left[part < 0.05]
        is_good[part > 0.95] = right[part > 0.95]
        good = is_good.astype(np.float32)
        moved = self._between(taken)
        moved *= good
        return moved, good

    def nearest(self, values: Array) -> Array:
        """Return the nearest pixel's value, accurate enough for smooth arrays."""
        taken = self._take(values)
        is_right = self._part[:, 0] > 0.5
        moved = taken[:, :-1].copy()
        moved[is_right] = taken[is_right, 1:]
        return moved

    def _between(self, taken: Array) -> Array:
        left, right = taken[:, :-1], taken[:, 1:]
        moved = right - left
        moved *= self._part
        moved += left
        return moved

    def _take(self, values: Array) -> Array:
        self._inner[:] = values
        return np.asarray(self._windows[self._rows, self._first])
