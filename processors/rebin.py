"""From the survey's pixels to the model's: one sparse matrix per input grid, kept.

Spectra sharper than the model's resolution are smoothed to it on the way; blunter ones stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import log

import numpy as np
from scipy.sparse import csr_array

from cempstream.processors.batch import SpectrumBatch
from cempstream.processors.grid import Array, LogGrid, WavelengthGrid, air_to_vacuum
from cempstream.processors.spectrum import BadSpectrum, Medium, Reason, Spectrum

#: Input grids whose matrices are kept; a matrix takes 0.1 MB, 1 MB where it smooths.
CACHED_MATRICES = 64

#: Spectra up to this much sharper than the target are not smoothed: 10 % is within any survey's own spread.
SHARPER_TOLERANCE = 1.1

#: Resolving powers are rounded to 5 % so that fibres of one spectrograph share a matrix.
_POWER_STEP = 0.05
_POWER_NODES = 8

_FWHM_PER_SIGMA = 2.3548200450309493

PowerKey = tuple[int, ...]


class Rebinner:
    """Put spectra on one logarithmic vacuum grid at (at most) one resolving power.

    Parameters
    ----------
    target
        The model's grid.
    resolving_power
        The model's λ/FWHM.
    min_pixels
        Good pixels that a spectrum must bring to the grid.
    """

    def __init__(self, target: LogGrid, resolving_power: float, *, min_pixels: int = 200) -> None:
        self.target = target
        self.resolving_power = resolving_power
        self.min_pixels = min_pixels

    def __call__(self, spectra: Sequence[Spectrum]) -> SpectrumBatch:
        """Rebin spectra; row i of the batch is spectrum i."""
        flux = np.zeros((len(spectra), self.target.n_pix), dtype=np.float32)
        ivar = np.zeros_like(flux)
        groups: dict[tuple[WavelengthGrid, Medium, PowerKey], list[int]] = {}
        for row, spectrum in enumerate(spectra):
            groups.setdefault((spectrum.grid, spectrum.medium, self._power_key(spectrum)), []).append(row)
        for (grid, medium, power), rows in groups.items():
            group_flux, group_ivar = _stack([spectra[row] for row in rows])
            offset = None if power or medium == "air" else aligned_offset(grid, self.target)
            if offset is not None:
                _copy_shifted(group_flux, flux, rows, offset)
                _copy_shifted(group_ivar, ivar, rows, offset)
            else:
                matrix, squared = _matrices(grid, medium, power, self.target, self.resolving_power)
                flux[rows], ivar[rows] = _apply(matrix, squared, group_flux, group_ivar)
        return SpectrumBatch(self.target, flux, ivar)

    def check_coverage(self, batch: SpectrumBatch) -> list[BadSpectrum | None]:
        """Say of each row whether enough of it is left on the grid.

        Returns
        -------
        list
            Per row None, or the ``BadSpectrum`` that it is.
        """
        n_good = np.count_nonzero(batch.ivar, axis=1)
        wave = self.target.wave
        return [
            None
            if n >= self.min_pixels
            else BadSpectrum(
                Reason.LOW_COVERAGE,
                f"{n} good pixels in {wave[0]:.0f}–{wave[-1]:.0f} Å; at least {self.min_pixels} are needed",
            )
            for n in n_good.tolist()
        ]

    def _power_key(self, spectrum: Spectrum) -> PowerKey:
        """Return rounded resolving powers along the grid; empty where no smoothing is due."""
        power = spectrum.resolving_power
        limit = SHARPER_TOLERANCE * self.resolving_power
        if not isinstance(power, np.ndarray):
            return (_rounded(power),) if power > limit else ()
        edges = np.linspace(0, power.size, _POWER_NODES + 1).astype(int)
        nodes = [float(np.nanmedian(part)) if part.size else np.nan for part in np.split(power, edges[1:-1])]
        filled = [p if np.isfinite(p) and p > 0 else self.resolving_power for p in nodes]
        return tuple(_rounded(p) for p in filled) if max(filled) > limit else ()


def _rounded(power: float) -> int:
    return round(log(power) / _POWER_STEP)


def _stack(spectra: Sequence[Spectrum]) -> tuple[Array, Array]:
    """Return flux and ivar of spectra on one grid, bad pixels zero in both."""
    flux = np.stack([s.flux for s in spectra])
    ivar = np.stack([s.ivar for s in spectra])
    for row, spectrum in enumerate(spectra):
        if spectrum.mask is not None:
            ivar[row] *= spectrum.mask == 0
    if not (np.isfinite(flux).all() and np.isfinite(ivar).all()):
        odd = ~(np.isfinite(flux) & np.isfinite(ivar))
        flux[odd] = 0.0
        ivar[odd] = 0.0
    np.maximum(ivar, 0.0, out=ivar)
    flux *= ivar > 0
    return flux, ivar


def aligned_offset(grid: WavelengthGrid, target: LogGrid) -> int | None:
    """Return by how many whole pixels a vacuum grid starts after the target; None where it is not whole.

    SDSS and LAMOST share the 1e-4 dex pixels of the ``mid`` models: they are copied, not resampled.
    """
    if not isinstance(grid, LogGrid) or abs(grid.log10_step - target.log10_step) > 1e-9:
        return None
    offset = (grid.log10_start - target.log10_start) / target.log10_step
    drift_pix = abs(grid.log10_step - target.log10_step) / target.log10_step * grid.n_pix
    return round(offset) if abs(offset - round(offset)) + drift_pix < 0.05 else None


def _copy_shifted(source: Array, out: Array, rows: list[int], offset: int) -> None:
    """Copy rows into ``out`` (a new array of our own), ``offset`` pixels to the right."""
    first, last = max(offset, 0), min(offset + source.shape[1], out.shape[1])
    if last > first:
        out[rows, first:last] = source[:, first - offset : last - offset]


@lru_cache(maxsize=CACHED_MATRICES)
def _matrices(
    grid: WavelengthGrid, medium: Medium, power: PowerKey, target: LogGrid, target_power: float
) -> tuple[csr_array, csr_array]:
    """Return the resampling weights, shape ``(target.n_pix, grid.n_pix)``, and their squares."""
    wave = grid.wave if medium == "vacuum" else air_to_vacuum(grid.wave)
    log_wave = np.log(wave)
    rows, columns, weights = (
        _smoothing_weights(log_wave, target, target_power, power)
        if power
        else _interpolation_weights(log_wave, target)
    )
    matrix = csr_array(
        (weights.astype(np.float32), (rows, columns)), shape=(target.n_pix, grid.n_pix)
    )  # sums what falls on one place
    squared = matrix.copy()
    squared.data = squared.data**2
    return matrix, squared


def _edges(centres: Array) -> Array:
    middle = 0.5 * (centres[1:] + centres[:-1])
    if middle.size == 0:
        return np.array([centres[0] - 1e-4, centres[0] + 1e-4])
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def _interpolation_weights(log_wave: Array, target: LogGrid) -> tuple[Array, Array, Array]:
    """Mean over each target pixel of the linearly interpolated spectrum."""
    step = target.log10_step * log(10.0)
    centre = np.log(target.wave)
    finest = float(np.min(np.diff(log_wave))) if log_wave.size > 1 else step
    n_sub = int(np.clip(np.ceil(2 * step / finest), 4, 64))
    sub = (np.arange(n_sub) + 0.5) / n_sub - 0.5
    points = (centre[:, None] + step * sub).ravel()
    rows = np.repeat(np.arange(target.n_pix), n_sub)
    right = np.clip(np.searchsorted(log_wave, points), 1, max(log_wave.size - 1, 1))
    left = right - 1
    right = np.minimum(right, log_wave.size - 1)
    span = np.maximum(log_wave[right] - log_wave[left], 1e-12)
    part = (points - log_wave[left]) / span
    inside = (part >= -0.5) & (part <= 1.5)
    part = np.clip(part, 0.0, 1.0)
    keep_left, keep_right = inside & (part < 1), inside & (part > 0)
    return (
        np.concatenate([rows[keep_left], rows[keep_right]]),
        np.concatenate([left[keep_left], right[keep_right]]),
        np.concatenate([1 - part[keep_left], part[keep_right]]) / n_sub,
    )


def _smoothing_weights(
    log_wave: Array, target: LogGrid, target_power: float, power: PowerKey
) -> tuple[Array, Array, Array]:
    """Gaussian that widens the line-spread function from the survey's to the model's, pixel by pixel."""
    from scipy.special import ndtr

    step = target.log10_step * log(10.0)
    centre = np.log(target.wave)
    nodes = np.exp(np.asarray(power) * _POWER_STEP)
    where = np.linspace(log_wave[0], log_wave[-1], 2 * len(nodes) + 1)[1::2]
    local = np.interp(centre, where, nodes)
    # Where the survey is blunter than the model only the pixel's own width is left to average over.
    variance = np.maximum(target_power**-2.0 - local**-2.0, 0.0) / _FWHM_PER_SIGMA**2
    sigma = np.sqrt(variance + (step**2) / 12.0)
    edges = _edges(log_wave)
    first = np.searchsorted(edges, centre - 4 * sigma)
    last = np.searchsorted(edges, centre + 4 * sigma)
    width = int(np.max(last - first)) + 2
    columns = np.clip(first[:, None] - 1 + np.arange(width), 0, log_wave.size - 1)
    duplicate = np.zeros_like(columns, dtype=bool)
    duplicate[:, 1:] = columns[:, 1:] == columns[:, :-1]
    low = (edges[columns] - centre[:, None]) / sigma[:, None]
    high = (edges[columns + 1] - centre[:, None]) / sigma[:, None]
    weights = np.where(duplicate, 0.0, ndtr(high) - ndtr(low))
    rows = np.broadcast_to(np.arange(target.n_pix)[:, None], columns.shape)
    keep = weights > 1e-6
    return rows[keep], columns[keep], weights[keep]


def _apply(matrix: csr_array, squared: csr_array, flux: Array, ivar: Array) -> tuple[Array, Array]:
    """Resample rows; a target pixel is good where at least half of its weight came from good pixels."""
    good = (ivar > 0).astype(np.float32)
    tiny = np.float32(1e-30)
    variance = good / (ivar + (1.0 - good))
    weight = np.ascontiguousarray((matrix @ good.T).T)
    total = np.ascontiguousarray((matrix @ flux.T).T)
    spread = np.ascontiguousarray((squared @ variance.T).T)
    is_good = weight > 0.5
    return total / (weight + tiny) * is_good, weight * weight / (spread + tiny) * is_good
