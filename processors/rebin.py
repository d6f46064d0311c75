"""Resample from the survey's pixels to the model's, with one cached banded matrix per input grid.

Spectra sharper than the model's resolution are smoothed to it; those of lower resolution are not.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import log
from threading import Lock
from typing import TypeAlias

import numpy as np

from cempstream.processors.banded import BandedMatrix
from cempstream.processors.batch import SpectrumBatch
from cempstream.processors.constants import FWHM_PER_SIGMA
from cempstream.processors.grid import Array, LogGrid, WavelengthGrid, air_to_vacuum
from cempstream.processors.row_chunks import row_chunks
from cempstream.processors.spectrum import BadSpectrum, Medium, Reason, Spectrum

#: Memory for cached matrices; those of one input grid take about 1 MB, 3 MB with smoothing.
CACHE_BYTES = 64 * 1024 * 1024

#: Spectra up to this much sharper than the target are not smoothed: 10 % is within the spread of any survey.
SHARPER_TOLERANCE = 1.1

#: Resolving powers are rounded to steps of 15 %, so that the fibres of one spectrograph share a few matrices:
#: where a survey is twice as sharp as the model, 7 % of its resolution are 2 % of the result's.
_POWER_STEP = 0.15
_POWER_NODES = 8
_NODE_SAMPLES = 5

#: A flux this far below zero is no star and no noise: a detector defect, bad sky subtraction, a fill value.
_IMPOSSIBLE_SIGMA = np.float32(6.0)

#: Fluxes and inverse variances up to here, and down to their inverses, leave float32 room to square them.
#: Others are converted to another unit, and S/N per pixel is capped at 1e5, which no real spectrum reaches.
_ROOMY_FLUX = np.float32(1e6)
_ROOMY_IVAR = np.float32(1e12)
_LARGEST_SNR2 = np.float32(1e10)
_LARGEST_VARIANCE = np.float32(1e18)

#: A step of this many pixels, both neighbouring pixels' and the model's, is a gap where nothing was measured.
_GAP_PIX = 4.0

#: Where a Gaussian is cut off; the part beyond is 7e-6.
_REACH_SIGMA = 4.5


PowerKey: TypeAlias = tuple[int, ...]
CacheKey: TypeAlias = tuple[WavelengthGrid, Medium, PowerKey]


class Rebinner:
    """Resamples spectra to one logarithmic vacuum grid and (at most) one resolving power.

    Parameters
    ----------
    target
        The model's grid.
    resolving_power
        The model's λ/FWHM.
    min_pixels
        Good pixels that a spectrum must have on the grid.
    """

    def __init__(self, target: LogGrid, resolving_power: float, *, min_pixels: int = 200) -> None:
        self.target = target
        self.resolving_power = resolving_power
        self.min_pixels = min_pixels
        self._cache: OrderedDict[CacheKey, tuple[BandedMatrix, BandedMatrix]] = OrderedDict()
        self._lock = Lock()

    def __call__(self, spectra: Sequence[Spectrum]) -> SpectrumBatch:
        """Rebin spectra; row i of the batch is spectrum i."""
        flux = np.zeros((len(spectra), self.target.n_pix), dtype=np.float32)
        ivar = np.zeros_like(flux)
        groups: dict[CacheKey, list[int]] = {}
        for row, spectrum in enumerate(spectra):
            groups.setdefault((spectrum.grid, spectrum.medium, self._power_key(spectrum)), []).append(row)
        for (grid, medium, power), rows in groups.items():
            members = [spectra[row] for row in rows]
            offset = None if power or medium == "air" else aligned_offset(grid, self.target)
            if offset is not None:
                _copy(members, rows, offset, flux, ivar)
            else:
                flux[rows], ivar[rows] = _resample(members, *self._matrices(grid, medium, power))
        return SpectrumBatch(self.target, flux, ivar)

    def check_coverage(self, batch: SpectrumBatch) -> list[BadSpectrum | None]:
        """Check for each row whether enough good pixels lie on the grid.

        Returns
        -------
        list
            Per row None, or a ``BadSpectrum`` error.
        """
        n_good = (batch.ivar > 0).astype(np.float32) @ np.ones(self.target.n_pix, dtype=np.float32)
        return [None if n >= self.min_pixels else self._too_few(n) for n in n_good.astype(int).tolist()]

    def _too_few(self, n_good: int) -> BadSpectrum:
        low, high = self.target.wave[[0, -1]]
        return BadSpectrum(
            Reason.LOW_COVERAGE,
            f"{n_good} good pixels in {low:.0f}–{high:.0f} Å; at least {self.min_pixels} are needed",
        )

    def _power_key(self, spectrum: Spectrum) -> PowerKey:
        """Return rounded resolving powers along the grid; empty where no smoothing is needed."""
        power = spectrum.resolving_power
        limit = SHARPER_TOLERANCE * self.resolving_power
        if not isinstance(power, np.ndarray):
            return (round(log(power) / _POWER_STEP),) if power > limit else ()
        # A median of a few pixels around each node: sorting puts NaN last.
        nodes = np.sort(power[_node_pixels(power.size)], axis=1)[:, _NODE_SAMPLES // 2]
        nodes = np.where(np.isfinite(nodes) & (nodes > 0), nodes, self.resolving_power)
        if nodes.max() <= limit:
            return ()
        return tuple(np.rint(np.log(nodes) / _POWER_STEP).astype(int).tolist())

    def _matrices(
        self, grid: WavelengthGrid, medium: Medium, power: PowerKey
    ) -> tuple[BandedMatrix, BandedMatrix]:
        """Return the resampling weights and their squares, from the cache if they are there."""
        key = (grid, medium, power)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        made = _make_matrices(grid, medium, power, self.target, self.resolving_power)
        with self._lock:
            self._cache[key] = made
            while len(self._cache) > 1 and _nbytes(self._cache.values()) > CACHE_BYTES:
                self._cache.popitem(last=False)
        return made


@lru_cache(maxsize=64)
def _node_pixels(n_pix: int) -> Array:
    """Return the pixels at which resolving powers are looked up, shape ``(_POWER_NODES, _NODE_SAMPLES)``."""
    n_samples = _POWER_NODES * _NODE_SAMPLES
    return ((np.arange(n_samples) + 0.5) * n_pix / n_samples).astype(np.intp).reshape(_POWER_NODES, -1)


def _nbytes(pairs: Iterable[tuple[BandedMatrix, BandedMatrix]]) -> int:
    return sum(matrix.nbytes for pair in pairs for matrix in pair)


def _stack(spectra: Sequence[Spectrum], pixels: slice) -> tuple[Array, Array, Array]:
    """Return flux, ivar and good (1, else 0) of spectra on one grid, bad pixels zero in all.

    Later steps divide by the continuum, so any unit will do: it is changed where float32 cannot hold the
    values safely, as in erg/s/cm²/Å.
    """
    flux = np.stack([s.flux[pixels] for s in spectra])
    ivar = np.stack([s.ivar[pixels] for s in spectra])
    if any(s.mask is not None for s in spectra):
        clear = np.zeros(flux.shape[1], dtype=np.uint8)
        mask = np.stack([clear if s.mask is None else s.mask[pixels] for s in spectra])
        with np.errstate(invalid="ignore"):  # an infinite ivar times 0 is handled below
            ivar *= (mask == 0).astype(np.float32)
    if not (np.isfinite(flux).all() and np.isfinite(ivar).all()):
        odd = ~(np.isfinite(flux) & np.isfinite(ivar))
        flux[odd] = 0.0
        ivar[odd] = 0.0
    np.maximum(ivar, 0.0, out=ivar)
    below = np.flatnonzero(flux < 0)
    with np.errstate(over="ignore"):
        depth = flux.ravel()[below] * np.sqrt(ivar.ravel()[below])
    ivar.ravel()[below[depth < -_IMPOSSIBLE_SIGMA]] = 0.0
    flux *= ivar > 0
    for row in np.flatnonzero(_strains(flux, ivar)):
        flux[row], ivar[row] = _in_own_unit(flux[row], ivar[row])
    good = (ivar > 0).astype(np.float32)
    return flux, ivar, good


def _strains(flux: Array, ivar: Array) -> Array:
    """Return which rows need another unit: bool, shape ``(n_spec,)``."""
    high = np.maximum(flux.max(axis=1, initial=0.0), -flux.min(axis=1, initial=0.0))
    weight = ivar.max(axis=1, initial=0.0)
    with np.errstate(over="ignore"):
        snr2 = high * high * weight
    return np.asarray(
        (high > _ROOMY_FLUX)
        | (high < 1 / _ROOMY_FLUX)
        | (weight > _ROOMY_IVAR)
        | (weight < 1 / _ROOMY_IVAR)
        | (snr2 > _LARGEST_SNR2)
    )


def _in_own_unit(flux: Array, ivar: Array) -> tuple[Array, Array]:
    """Return one spectrum divided by the power of two nearest to its median, so that no digit changes.

    Pixels a million times the median stay finite; the search for spikes deals with them.
    """
    wide, weight = flux.astype(np.float64), ivar.astype(np.float64)
    is_lit = (weight > 0) & (wide != 0)
    if is_lit.any():
        size = np.median(np.abs(wide[is_lit]))
    else:
        size = 1 / np.sqrt(weight.max()) if weight.any() else 1.0
    unit = np.exp2(np.rint(np.log2(size)))
    wide = np.clip(wide / unit, -_ROOMY_FLUX, _ROOMY_FLUX)
    weight = np.minimum(weight * unit**2, _LARGEST_SNR2)
    return wide.astype(np.float32), weight.astype(np.float32)


def good_pixels(spectrum: Spectrum) -> Array:
    """Return where a spectrum has a usable flux: bool, shape ``(n_pix,)``."""
    _, _, good = _stack([spectrum], slice(None))
    return np.asarray(good[0] > 0)


def aligned_offset(grid: WavelengthGrid, target: LogGrid) -> int | None:
    """Return by how many whole pixels a vacuum grid starts after the target; None if the offset is not whole.

    SDSS and LAMOST share the 1e-4 dex pixels of the ``mid`` models: they are copied, not resampled.
    """
    if not isinstance(grid, LogGrid) or abs(grid.log10_step - target.log10_step) > 1e-9:
        return None
    offset = (grid.log10_start - target.log10_start) / target.log10_step
    drift_pix = abs(grid.log10_step - target.log10_step) / target.log10_step * grid.n_pix
    return round(offset) if abs(offset - round(offset)) + drift_pix < 0.05 else None


def _copy(spectra: Sequence[Spectrum], rows: list[int], offset: int, flux: Array, ivar: Array) -> None:
    """Copy spectra into rows of the new arrays ``flux`` and ``ivar``, ``offset`` pixels to the right."""
    first, last = max(offset, 0), min(offset + spectra[0].n_pix, flux.shape[1])
    if last <= first:
        return
    for part in row_chunks(len(spectra)):
        members = rows[part]
        flux[members, first:last], ivar[members, first:last], _ = _stack(
            spectra[part], slice(first - offset, last - offset)
        )


def _resample(
    spectra: Sequence[Spectrum], matrix: BandedMatrix, squared: BandedMatrix
) -> tuple[Array, Array]:
    """Resample spectra; a target pixel is good where at least half of its weight came from good pixels."""
    n_spec, n_pix = len(spectra), spectra[0].n_pix
    light = np.empty((2 * n_spec, n_pix), dtype=np.float32)
    variance = np.empty((n_spec, n_pix), dtype=np.float32)
    for part in row_chunks(n_spec):
        flux, ivar, good = _stack(spectra[part], slice(None))
        light[part.start : part.stop] = flux
        light[n_spec + part.start : n_spec + part.stop] = good
        ivar += 1.0 - good  # a bad pixel's ivar is 0; for counts a good pixel's may be 1e-9
        with np.errstate(over="ignore"):  # an ivar of 1e-45 is still a good pixel
            np.divide(good, ivar, out=variance[part])
        np.minimum(variance[part], _LARGEST_VARIANCE, out=variance[part])
    resampled, spread = matrix(light), squared(variance)
    flux_out, ivar_out = np.empty_like(spread), np.empty_like(spread)
    tiny = np.float32(1e-30)
    for part in row_chunks(n_spec):
        weight = resampled[n_spec + part.start : n_spec + part.stop]
        is_good = (weight > 0.5).astype(np.float32)
        np.divide(resampled[part], weight + tiny, out=flux_out[part])
        flux_out[part] *= is_good
        np.multiply(weight, weight, out=ivar_out[part])
        ivar_out[part] /= spread[part] + tiny
        ivar_out[part] *= is_good
    return flux_out, ivar_out


def _make_matrices(
    grid: WavelengthGrid, medium: Medium, power: PowerKey, target: LogGrid, target_power: float
) -> tuple[BandedMatrix, BandedMatrix]:
    """Return the resampling weights, shape ``(target.n_pix, grid.n_pix)``, and their squares."""
    wave = grid.wave if medium == "vacuum" else air_to_vacuum(grid.wave)
    log_wave, place = _with_gaps(np.log(wave), target.log10_step * log(10.0))
    rows, columns, weights = (
        _smoothing_weights(log_wave, target, target_power, power)
        if power
        else _interpolation_weights(log_wave, target)
    )
    if place is not None:
        columns = place[columns]
        is_pixel = columns >= 0
        rows, columns, weights = rows[is_pixel], columns[is_pixel], weights[is_pixel]
    matrix = BandedMatrix(rows, columns, weights, (target.n_pix, grid.n_pix))
    return matrix, matrix.squared()


def _with_gaps(log_wave: Array, target_step: float) -> tuple[Array, Array | None]:
    """Put empty pixels at both ends of every gap, e.g. between two arms, so that it is not interpolated over.

    Returns
    -------
    log_wave, place
        Pixels in order, and the index of each in the spectrum, -1 for an empty one; None without a gap.
    """
    step = np.diff(log_wave)
    if step.size < 2:
        return log_wave, None
    usual = np.minimum(np.append(step[1:], step[-1]), np.append(step[0], step[:-1]))
    gaps = np.flatnonzero(step > _GAP_PIX * np.maximum(usual, target_step))
    if not gaps.size:
        return log_wave, None
    before, after = log_wave[gaps] + usual[gaps], log_wave[gaps + 1] - usual[gaps]
    filled = np.insert(log_wave, np.repeat(gaps + 1, 2), np.stack([before, after], axis=1).ravel())
    place = np.insert(np.arange(log_wave.size), np.repeat(gaps + 1, 2), -1)
    return filled, place


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
    # Where the survey's resolution is lower than the model's, only the pixel's own width is averaged over.
    variance = np.maximum(target_power**-2.0 - local**-2.0, 0.0) / FWHM_PER_SIGMA**2
    sigma = np.sqrt(variance + (step**2) / 12.0)
    edges = _edges(log_wave)
    # Each row has its own number of columns: all pixels of a spectrum may fall in one row.
    first = np.maximum(np.searchsorted(edges, centre - _REACH_SIGMA * sigma) - 1, 0)
    last = np.minimum(np.searchsorted(edges, centre + _REACH_SIGMA * sigma), log_wave.size)
    count = np.maximum(last - first, 0)
    rows = np.repeat(np.arange(target.n_pix), count)
    columns = np.arange(rows.size) - np.repeat(np.cumsum(count) - count - first, count)
    weights = ndtr((edges[columns + 1] - centre[rows]) / sigma[rows])
    weights -= ndtr((edges[columns] - centre[rows]) / sigma[rows])
    keep = weights > 1e-6
    return rows[keep], columns[keep], weights[keep]
