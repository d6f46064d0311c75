"""Radial velocity from a small bank of templates, and the step to the rest frame.

The classical cross-correlation (Tonry & Davis 1979) weighted by inverse variance (Zucker 2003): for a
template t shifted by a lag, chi² falls by S²/Q with S = Σ w x t and Q = Σ w t², where x and t are
normalised flux minus one. Over ±1000 km/s a direct matrix product needs fewer operations than an FFT.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from cempstream.processors.batch import NormalisedBatch
from cempstream.processors.grid import Array, LogGrid

LIGHT_KMS = 299_792.458

#: Pixels summed for the coarse search.
_COARSE_PIX = 2
#: The coarse search spans this many coarse pixels to either side: ±1100 km/s on 1e-4 dex pixels.
_COARSE_LAGS = 8
_FINE_LAGS = 3
#: A template is right to about 3 %: a brighter star does not weigh more than that allows.
_MODEL_ERROR = 0.03
#: The best velocity must beat any other by this much chi² to be believed.
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
    """Cross-correlate spectra with templates.

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
        reach = _COARSE_LAGS * _COARSE_PIX + _FINE_LAGS
        self._padded = np.pad(depth, ((0, 0), (reach, reach)))
        self._reach = reach
        lags = np.arange(-_COARSE_LAGS, _COARSE_LAGS + 1) * _COARSE_PIX
        shifted = np.stack([self._padded[:, reach - lag : reach - lag + n_pix] for lag in lags], axis=1)
        coarse = shifted.reshape(n_templates * lags.size, n_pix // _COARSE_PIX, _COARSE_PIX)
        self._coarse = np.ascontiguousarray(coarse.mean(axis=2).T)
        self._coarse_squared = np.ascontiguousarray((coarse**2).mean(axis=2).T)
        self._lags = lags

    def __call__(self, batch: NormalisedBatch) -> Velocities:
        """Measure the velocity of each row."""
        weight = batch.ivar / (1.0 + np.float32(_MODEL_ERROR**2) * batch.ivar)
        product = weight * (batch.norm - 1.0)
        gain, template, lag, is_certain = self._search(product, weight)
        shift_pix, error_pix = self._refine(product, weight, gain, template, lag)
        step = np.log(10.0) * self.grid.log10_step
        return Velocities(
            rv_kms=LIGHT_KMS * np.expm1(step * shift_pix),
            error_kms=LIGHT_KMS * step * error_pix,
            is_certain=is_certain,
        )

    def _search(self, product: Array, weight: Array) -> tuple[Array, Array, Array, Array]:
        """Find the best template and lag (pixels) of each row on the coarse grid."""
        n_spec = product.shape[0]
        ones = np.ones(_COARSE_PIX, dtype=np.float32)
        signal = (product.reshape(-1, _COARSE_PIX) @ ones).reshape(n_spec, -1) @ self._coarse
        power = (weight.reshape(-1, _COARSE_PIX) @ ones).reshape(n_spec, -1) @ self._coarse_squared
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
        return best, template, self._lags[best_lag], (best - rival > _MIN_CHI2_GAIN) & ~at_edge

    def _refine(
        self, product: Array, weight: Array, gain: Array, template: Array, lag: Array
    ) -> tuple[Array, Array]:
        """Return the velocity and its error in pixels from a parabola through full-resolution lags."""
        n_pix = product.shape[1]
        windows = sliding_window_view(self._padded, n_pix, axis=1)
        fine = np.arange(-_FINE_LAGS, _FINE_LAGS + 1)
        centre = windows[template, self._reach - lag]
        power = np.einsum("np,np,np->n", weight, centre, centre, optimize=False) + 1e-20
        signal = np.stack(
            [np.einsum("np,np->n", product, windows[template, self._reach - lag - step]) for step in fine],
            axis=1,
        ).astype(np.float64)
        fine_gain = np.maximum(signal, 0.0) ** 2 / power[:, None]
        row = np.arange(product.shape[0])
        peak = np.clip(fine_gain.argmax(axis=1), 1, fine.size - 2)
        left, middle, right = (fine_gain[row, peak + step] for step in (-1, 0, 1))
        curvature = np.minimum(0.5 * (left + right) - middle, -1e-6)
        offset = np.clip(0.25 * (left - right) / curvature, -1.0, 1.0)
        error = np.sqrt(np.minimum(1.0 / -curvature, 100.0) + _SYSTEMATIC_PIX**2)
        return lag + fine[peak] + offset, error


def shift_to_rest(batch: NormalisedBatch, rv_kms: Array) -> NormalisedBatch:
    """Move each row to its rest frame by linear interpolation.

    The noise of neighbouring pixels mixes; ``ivar`` is interpolated like the flux, so that it stays the
    S/N of the data. Pixels that come from beyond the grid are bad.

    Parameters
    ----------
    rv_kms
        Shape ``(n_spec,)``.
    """
    n_spec, n_pix = batch.norm.shape
    shift_pix = np.log10(1.0 + rv_kms / LIGHT_KMS) / batch.grid.log10_step
    whole = np.floor(shift_pix).astype(np.int64)
    part = (shift_pix - whole).astype(np.float32)[:, None]
    reach = int(np.max(np.abs(whole), initial=0)) + 1
    rows = np.arange(n_spec)

    def interpolate(values: Array, fill: float) -> tuple[Array, Array, Array]:
        padded = np.pad(values, ((0, 0), (reach, reach)), constant_values=fill)
        windows = sliding_window_view(padded, n_pix, axis=1)
        left, right = windows[rows, reach + whole], windows[rows, reach + whole + 1]
        return left + part * (right - left), left, right

    ivar, left, right = interpolate(batch.ivar, 0.0)
    # A good pixel next to a bad one keeps its value when nearly all of it comes from the good one.
    ivar *= ((left > 0) | (part > 0.95)) & ((right > 0) | (part < 0.05))
    good = ivar > 0
    norm = interpolate(batch.norm, 1.0)[0]
    norm -= 1.0
    norm *= good
    norm += 1.0
    continuum = interpolate(batch.continuum, 0.0)[0]
    return NormalisedBatch(batch.grid, norm, ivar, continuum)
