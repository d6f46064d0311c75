"""Measure line indices on rest-frame spectra, all rows and all indices at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from cempstream.processors.bands import Band, Window
from cempstream.processors.batch import NormalisedBatch
from cempstream.processors.grid import Array, LogGrid

#: Windows on either side of this wavelength go into two matrices; between them few are defined.
_SPLIT_AA = 6000.0
_MIN_GOOD = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class LineIndices:
    """Indices of a batch.

    Attributes
    ----------
    names
        Names, in the order of the columns.
    value, error
        Index and 1σ error in its own unit, float32, shape ``(n_spec, n_indices)``; NaN where under half of
        a window's pixels are good.
    """

    names: tuple[str, ...]
    value: Array = field(repr=False)
    error: Array = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class _Means:
    """Mean flux, its variance and the good fraction per window, shape ``(n_spec, n_windows)``."""

    flux: Array
    variance: Array
    fraction: Array


class LineMeter:
    """Measure the given bands.

    Parameters
    ----------
    grid
        The common grid (vacuum).
    bands
        Bands in any medium.
    """

    def __init__(self, grid: LogGrid, bands: Sequence[Band]) -> None:
        self.grid = grid
        self.bands = tuple(band.vacuum() for band in bands)
        self.names = (*(band.name for band in bands), "kp")
        self._windows = sorted({w for band in self.bands for w in (band.window, *band.sides)})
        self._column = {window: i for i, window in enumerate(self._windows)}
        self._blocks = _window_blocks(grid, self._windows)
        self._weights = {band.name: _window_weights(grid, band.window) for band in self.bands}
        self._wave = grid.wave

    def __call__(self, batch: NormalisedBatch) -> LineIndices:
        """Measure each row; the flux is taken with its continuum, as the indices are defined."""
        flux = batch.norm * batch.continuum
        good = (batch.ivar > 0).astype(np.float32)
        variance = batch.continuum * batch.continuum * good / (batch.ivar + (1.0 - good))
        means = self._means(flux * good, good, variance)
        value = np.full((batch.n_spec, len(self.names)), np.nan, dtype=np.float32)
        error = np.full_like(value, np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            for i, band in enumerate(self.bands):
                if band.kind in ("ew", "mag"):
                    value[:, i], error[:, i] = self._against_line(band, flux, good, means)
                else:
                    value[:, i], error[:, i] = self._against_mean(band, means)
        self._kp(value, error)
        return LineIndices(self.names, value, error)

    def _means(self, flux: Array, good: Array, variance: Array) -> _Means:
        n_spec, n_windows = flux.shape[0], len(self._windows)
        mean, spread, fraction = (np.zeros((n_spec, n_windows), dtype=np.float32) for _ in range(3))
        for first, last, columns, weight, squared in self._blocks:
            part = good[:, first:last] @ weight
            safe = part + np.float32(1e-20)
            mean[:, columns] = (flux[:, first:last] @ weight) / safe
            spread[:, columns] = (variance[:, first:last] @ squared) / (safe * safe)
            fraction[:, columns] = part / weight.sum(axis=0).clip(1e-20)
        return _Means(mean, spread, fraction)

    def _against_line(self, band: Band, flux: Array, good: Array, means: _Means) -> tuple[Array, Array]:
        """Equivalent width or magnitude against the line through two sideband means (Worthey et al. 1994)."""
        blue, red = (self._column[side] for side in band.sides)
        centre_blue, centre_red = (0.5 * sum(side) for side in band.sides)
        pixels, weight = self._weights[band.name]
        part = ((self._wave[pixels] - centre_blue) / (centre_red - centre_blue)).astype(np.float32)
        low, high = means.flux[:, blue, None], means.flux[:, red, None]
        line = low + (high - low) * part
        weighted = weight * good[:, pixels]
        mean = np.sum(weighted * flux[:, pixels] / line, axis=1) / weighted.sum(axis=1)
        level = 0.5 * (low + high)[:, 0]
        column = self._column[band.window]
        # Half the variance of each sideband: each carries about half of the line's level at the band.
        variance = means.variance[:, column] + 0.25 * (means.variance[:, blue] + means.variance[:, red])
        relative = np.sqrt(variance) / np.abs(level)
        usable = (means.fraction[:, [column, blue, red]] >= _MIN_GOOD).all(axis=1)
        usable &= (low > 0)[:, 0] & (high > 0)[:, 0]
        width = band.window[1] - band.window[0]
        if band.kind == "ew":
            value, error = width * (1.0 - mean), width * relative
        else:
            value, error = -2.5 * np.log10(mean), 1.0857 * relative / mean
        return np.where(usable, value, np.nan), np.where(usable, error, np.nan)

    def _against_mean(self, band: Band, means: _Means) -> tuple[Array, Array]:
        """Ratio, or colour, of the band's mean flux and that of its sidebands."""
        column, sides = self._column[band.window], [self._column[side] for side in band.sides]
        top, bottom = means.flux[:, column], means.flux[:, sides].mean(axis=1)
        ratio = top / bottom
        relative = np.sqrt(
            means.variance[:, column] / top**2
            + means.variance[:, sides].sum(axis=1) / (len(sides) * bottom) ** 2
        )
        usable = (means.fraction[:, [column, *sides]] >= _MIN_GOOD).all(axis=1) & (bottom > 0)
        if band.kind == "ratio":
            value, error = ratio, np.abs(ratio) * relative
        else:
            value, error = -2.5 * np.log10(ratio), 1.0857 * relative
        return np.where(usable, value, np.nan), np.where(usable, error, np.nan)

    def _kp(self, value: Array, error: Array) -> None:
        """KP of Beers et al. 1999: the narrowest Ca K band that holds the line.

        The published rule leaves K12 > 5 Å with K18 <= 5 Å open; the wide band is taken there.
        """
        try:
            k6, k12, k18 = (self.names.index(name) for name in ("k6", "k12", "k18"))
        except ValueError:
            return
        narrow, middle = value[:, k6] <= 2.0, value[:, k12] <= 5.0
        for out in (value, error):
            out[:, -1] = np.where(narrow, out[:, k6], np.where(middle, out[:, k12], out[:, k18]))


def _window_weights(grid: LogGrid, window: Window) -> tuple[slice, Array]:
    """Return the pixels of a window and how many Å of each lie in it."""
    half = 0.5 * grid.log10_step
    left = 10.0 ** (grid.log10_start + grid.log10_step * np.arange(grid.n_pix) - half)
    right = left * 10.0**grid.log10_step
    overlap = np.clip(np.minimum(right, window[1]) - np.maximum(left, window[0]), 0.0, None)
    inside = np.flatnonzero(overlap)
    pixels = slice(int(inside[0]), int(inside[-1]) + 1) if inside.size else slice(0, 1)
    return pixels, overlap[pixels].astype(np.float32)


def _window_blocks(
    grid: LogGrid, windows: Sequence[Window]
) -> list[tuple[int, int, list[int], Array, Array]]:
    """Return per block its pixel range, its windows and their weights as a matrix, plain and squared."""
    blocks = []
    for is_red in (False, True):
        columns = [i for i, window in enumerate(windows) if (window[0] > _SPLIT_AA) is is_red]
        if not columns:
            continue
        weights = [_window_weights(grid, windows[i]) for i in columns]
        first = min(pixels.start for pixels, _ in weights)
        last = max(pixels.stop for pixels, _ in weights)
        matrix = np.zeros((last - first, len(columns)), dtype=np.float32)
        for column, (pixels, weight) in enumerate(weights):
            matrix[pixels.start - first : pixels.stop - first, column] = weight
        blocks.append((first, last, columns, matrix, matrix**2))
    return blocks
