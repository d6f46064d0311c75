"""Measure line indices on rest-frame spectra, all rows and all indices at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cempstream.processors.bands import Band, Window
from cempstream.processors.batch import NormalisedBatch
from cempstream.processors.grid import Array, LogGrid

#: Bands are measured in blocks of about this many pixels, so that a block's arrays stay in a core's cache.
_BLOCK_PIX = 700
_MIN_GOOD = 0.5
#: Bands of which KP uses one.
_KP_OF = ("k6", "k12", "k18")


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
class _Block:
    """Neighbouring bands as matrices.

    Attributes
    ----------
    pixels
        The part of the grid that they span.
    windows, lines
        Their columns among all windows, and among all bands against a line.
    weight, squared
        Å of each pixel in each window, shape ``(n_pix, n_windows)``, and its square.
    inside
        Pixels of the bands against a line, band after band, shape ``(n_inside,)``.
    draw
        From the sidebands' means (all blue, then all red) to the lines through them at those pixels, shape
        ``(2 * n_bands, n_inside)``.
    total
        Å of those pixels in their bands, shape ``(n_inside, n_bands)``.
    """

    pixels: slice
    windows: slice
    lines: slice
    weight: Array
    squared: Array
    inside: Array
    draw: Array
    total: Array


@dataclass(frozen=True, slots=True, eq=False)
class _Means:
    """Mean flux, its variance and the good fraction per window, shape ``(n_spec, n_windows)``.

    ``to_line`` is the mean over each band of flux over the line through its sidebands, ``(n_spec, n_bands)``.
    """

    flux: Array
    variance: Array
    fraction: Array
    to_line: Array


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
        names = tuple(band.name for band in bands)
        self._is_kp = all(name in names for name in _KP_OF)
        self.names = (*names, "kp") if self._is_kp else names
        groups = _neighbours(grid, self.bands)
        windows = [sorted({w for i in group for w in _windows(self.bands[i])}) for group in groups]
        # A window that two blocks need is measured in both; a band uses the one in its block.
        column = {
            (i, window): first + windows[k].index(window)
            for k, (group, first) in enumerate(zip(groups, _starts(windows), strict=True))
            for i in group
            for window in _windows(self.bands[i])
        }
        against_line = [[i for i in group if self.bands[i].kind in ("ew", "mag")] for group in groups]
        self._blocks = [
            _block(grid, [self.bands[i] for i in lines], windows[k], first_window, first_line)
            for k, (lines, first_window, first_line) in enumerate(
                zip(against_line, _starts(windows), _starts(against_line), strict=True)
            )
        ]
        self._n_windows = sum(map(len, windows))
        self._to_line = _ToLine(self.bands, [i for lines in against_line for i in lines], column)
        self._to_mean = _ToMean(
            self.bands,
            [i for i, band in enumerate(self.bands) if band.kind in ("ratio", "colour")],
            column,
            self._n_windows,
        )
        self._uses = np.zeros((self._n_windows, len(self.bands)), dtype=np.float32)
        for (i, _), i_window in column.items():
            self._uses[i_window, i] = 1.0

    def __call__(self, batch: NormalisedBatch) -> LineIndices:
        """Measure each row, on the flux with its continuum, as the indices are defined."""
        means = self._means(batch)
        usable = (means.fraction < _MIN_GOOD).astype(np.float32) @ self._uses == 0
        value = np.full((batch.n_spec, len(self.names)), np.nan, dtype=np.float32)
        error = np.full_like(value, np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            for part in (self._to_line, self._to_mean):
                of_part, error_of_part, is_positive = part(means)
                good = usable[:, part.bands] & is_positive
                value[:, part.bands] = np.where(good, of_part, np.nan)
                error[:, part.bands] = np.where(good, error_of_part, np.nan)
        self._kp(value, error)
        return LineIndices(self.names, value, error)

    def _means(self, batch: NormalisedBatch) -> _Means:
        n_spec, n_lines = batch.n_spec, self._to_line.bands.size
        mean, spread, fraction = (np.empty((n_spec, self._n_windows), dtype=np.float32) for _ in range(3))
        to_line = np.empty((n_spec, n_lines), dtype=np.float32)
        for block in self._blocks:
            ivar = batch.ivar[:, block.pixels]
            good = (ivar > 0).astype(np.float32)
            level = batch.continuum[:, block.pixels] * good
            flux = batch.norm[:, block.pixels] * level
            level *= level
            level /= ivar + (1.0 - good)
            part = good @ block.weight
            safe = part + np.float32(1e-20)
            means = (flux @ block.weight) / safe
            mean[:, block.windows] = means
            spread[:, block.windows] = (level @ block.squared) / (safe * safe)
            fraction[:, block.windows] = part / block.weight.sum(axis=0).clip(1e-20)
            to_line[:, block.lines] = self._mean_to_line(block, flux, part, means)
        return _Means(mean, spread, fraction, to_line)

    def _mean_to_line(self, block: _Block, flux: Array, part: Array, means: Array) -> Array:
        """Mean over each band of flux over the line through the sidebands (Worthey et al. 1994)."""
        window = self._to_line.window[block.lines] - block.windows.start
        blue, red = (columns[block.lines] - block.windows.start for columns in self._to_line.sides)
        ends = means[:, np.concatenate([blue, red])]
        # A line that is not positive is not a continuum; 1 keeps its values out of the other bands' sums.
        ends[ends <= 0] = 1.0
        line = ends @ block.draw
        ratio = flux[:, block.inside]
        ratio /= line
        return (ratio @ block.total) / (part[:, window] + np.float32(1e-20))

    def _kp(self, value: Array, error: Array) -> None:
        """KP of Beers et al. 1999: the narrowest Ca K band that holds the line.

        The published rule does not cover K12 > 5 Å with K18 <= 5 Å; the wide band is used there.
        """
        if not self._is_kp:
            return
        k6, k12, k18 = (self.names.index(name) for name in _KP_OF)
        narrow, middle = value[:, k6] <= 2.0, value[:, k12] <= 5.0
        for out in (value, error):
            out[:, -1] = np.where(narrow, out[:, k6], np.where(middle, out[:, k12], out[:, k18]))


class _ToLine:
    """Equivalent widths and magnitudes against the line through two sideband means (Worthey et al. 1994)."""

    def __init__(
        self, bands: Sequence[Band], members: Sequence[int], column: Mapping[tuple[int, Window], int]
    ) -> None:
        self.bands = np.array(members, dtype=np.intp)
        #: Columns of the bands' own windows.
        self.window = np.array([column[i, bands[i].window] for i in members], dtype=np.intp)
        #: Columns of the blue and of the red sidebands.
        self.sides = tuple(
            np.array([column[i, bands[i].sides[side]] for i in members], dtype=np.intp) for side in (0, 1)
        )
        self._width_aa = np.array([bands[i].window[1] - bands[i].window[0] for i in members])
        self._is_width = np.array([bands[i].kind == "ew" for i in members])

    def __call__(self, means: _Means) -> tuple[Array, Array, Array]:
        """Return index, error and whether the line is positive, shape ``(n_spec, n_bands)`` each."""
        low, high = (means.flux[:, columns] for columns in self.sides)
        # Half the variance of each sideband: each carries about half of the line's level at the band.
        blue, red = (means.variance[:, columns] for columns in self.sides)
        variance = means.variance[:, self.window] + 0.25 * (blue + red)
        relative = np.sqrt(variance) / np.abs(0.5 * (low + high))
        ratio = means.to_line
        value = np.where(self._is_width, self._width_aa * (1.0 - ratio), -2.5 * np.log10(ratio))
        error = np.where(self._is_width, self._width_aa * relative, 1.0857 * relative / ratio)
        return value, error, (low > 0) & (high > 0)


class _ToMean:
    """Ratios, and colours, of the bands' mean flux and that of their sidebands."""

    def __init__(
        self,
        bands: Sequence[Band],
        members: Sequence[int],
        column: Mapping[tuple[int, Window], int],
        n_windows: int,
    ) -> None:
        self.bands = np.array(members, dtype=np.intp)
        self._window = np.array([column[i, bands[i].window] for i in members], dtype=np.intp)
        self._average = np.zeros((n_windows, len(members)), dtype=np.float32)
        for k, i in enumerate(members):
            for side in bands[i].sides:
                self._average[column[i, side], k] = 1.0 / len(bands[i].sides)
        self._is_ratio = np.array([bands[i].kind == "ratio" for i in members])

    def __call__(self, means: _Means) -> tuple[Array, Array, Array]:
        """Return index, error and whether the sidebands are positive, shape ``(n_spec, n_bands)`` each."""
        top, bottom = means.flux[:, self._window], means.flux @ self._average
        relative = np.sqrt(
            means.variance[:, self._window] / top**2 + (means.variance @ self._average**2) / bottom**2
        )
        ratio = top / bottom
        value = np.where(self._is_ratio, ratio, -2.5 * np.log10(ratio))
        error = np.where(self._is_ratio, np.abs(ratio) * relative, 1.0857 * relative)
        return value, error, bottom > 0


def _windows(band: Band) -> tuple[Window, ...]:
    return (band.window, *band.sides)


def _starts(groups: Sequence[Sequence[object]]) -> list[int]:
    """Return where each group starts when all are concatenated."""
    return [sum(map(len, groups[:k])) for k in range(len(groups))]


def _window_weights(grid: LogGrid, window: Window) -> tuple[slice, Array]:
    """Return the pixels of a window and how many Å of each lie in it."""
    half = 0.5 * grid.log10_step
    left = 10.0 ** (grid.log10_start + grid.log10_step * np.arange(grid.n_pix) - half)
    right = left * 10.0**grid.log10_step
    overlap = np.clip(np.minimum(right, window[1]) - np.maximum(left, window[0]), 0.0, None)
    inside = np.flatnonzero(overlap)
    pixels = slice(int(inside[0]), int(inside[-1]) + 1) if inside.size else slice(0, 1)
    return pixels, overlap[pixels].astype(np.float32)


def _neighbours(grid: LogGrid, bands: Sequence[Band]) -> list[list[int]]:
    """Return indices of bands in groups that span about ``_BLOCK_PIX`` pixels each."""
    span = [
        (
            min(_window_weights(grid, window)[0].start for window in _windows(band)),
            max(_window_weights(grid, window)[0].stop for window in _windows(band)),
        )
        for band in bands
    ]
    groups: list[list[int]] = []
    for i in sorted(range(len(bands)), key=lambda i: span[i]):
        if groups and span[i][1] - span[groups[-1][0]][0] <= _BLOCK_PIX:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


def _block(
    grid: LogGrid, bands: Sequence[Band], windows: Sequence[Window], first_window: int, first_line: int
) -> _Block:
    weights = [_window_weights(grid, window) for window in windows]
    first = min(pixels.start for pixels, _ in weights)
    last = max(pixels.stop for pixels, _ in weights)
    matrix = np.zeros((last - first, len(windows)), dtype=np.float32)
    for i, (pixels, weight) in enumerate(weights):
        matrix[pixels.start - first : pixels.stop - first, i] = weight
    inside = [_window_weights(grid, band.window) for band in bands]
    starts = _starts([weight.tolist() for _, weight in inside])
    n_inside = sum(weight.size for _, weight in inside)
    draw = np.zeros((2 * len(bands), n_inside), dtype=np.float32)
    total = np.zeros((n_inside, len(bands)), dtype=np.float32)
    for i, (band, (pixels, weight), start) in enumerate(zip(bands, inside, starts, strict=True)):
        blue, red = (0.5 * sum(side) for side in band.sides)
        place = slice(start, start + weight.size)
        draw[len(bands) + i, place] = (grid.wave[pixels] - blue) / (red - blue)
        draw[i, place] = 1.0 - draw[len(bands) + i, place]
        total[place, i] = weight
    return _Block(
        pixels=slice(first, last),
        windows=slice(first_window, first_window + len(windows)),
        lines=slice(first_line, first_line + len(bands)),
        weight=matrix,
        squared=matrix**2,
        inside=np.concatenate(
            [np.arange(p.start, p.stop) - first for p, _ in inside] or [np.zeros(0)]
        ).astype(np.intp),
        draw=draw,
        total=total,
    )
