"""Estimate the result of ``mend`` for published spectra, from those to which it was applied.

``mend`` takes a CPU second or more per star; what the impossible lines absorb in a pixel, given their
opacity and the flux there, is nearly the same in all stars. About a hundred mended stars are enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d
from sklearn.ensemble import HistGradientBoostingRegressor

from cempstream.models.emulator.labels import LABEL_NAMES
from cempstream.models.synthesis.atmosphere import AtmosphereGrid, AtmosphereNotCovered
from cempstream.models.synthesis.chunks import ESTIMATED, MENDED, LibraryRows, library_files, merge, read_rows
from cempstream.models.synthesis.grid_stars import Star
from cempstream.models.synthesis.linelists import LineSet, MoogLines, impossible_lines
from cempstream.models.synthesis.mend import impossible_opacity, molecules_over_continuum
from cempstream.models.synthesis.packages import ATLAS9, fetch
from cempstream.processors.grid import Array

#: A line's opacity x counts as log(1 + s x) / s, as lines saturate; values of s for weak to strong lines.
_SATURATIONS = (1.0, 5.0, 25.0, 125.0, 625.0)

#: Nothing is changed where the opacity is lower.
_LEAST_OPACITY = 1e-4

#: Pixels over which the flux is averaged, as a measure of line crowding.
_NEIGHBOURHOOD_PIX = 15.0

#: Lower limit of the flux of a pixel.
_DARKEST = 0.02

#: Labels on which the depths depend, in addition to the opacity.
_LABELS = tuple(LABEL_NAMES.index(name) for name in ("teff", "logg", "feh", "cfe", "vmic"))

#: Fewer pairs are not enough to learn from.
MIN_PAIRS = 20


def merge_estimated(sources: Sequence[Path], cache: Path) -> LibraryRows:
    """Join files of the library as ``merge`` does, and replace the published spectra by estimated ones.

    Stars whose atmosphere cannot be interpolated stay published.

    Raises
    ------
    ValueError
        With fewer than ``MIN_PAIRS`` stars that are both published and mended (or computed again).
    """
    joined = merge(sources)
    published = {}
    for path in library_files(sources):
        rows = read_rows(path)
        for k in np.flatnonzero(rows.line_set == LineSet.PUBLISHED.value).tolist():
            published[_key(rows, k)] = rows.norm[k]
    lines, grid = impossible_lines(cache), AtmosphereGrid(fetch(ATLAS9, cache))
    is_known = np.isin(joined.line_set, (MENDED, LineSet.CLEANED.value))
    pairs = [i for i in range(len(joined.index)) if is_known[i] and _key(joined, i) in published]
    if len(pairs) < MIN_PAIRS:
        raise ValueError(
            f"{len(pairs)} published stars are mended; {MIN_PAIRS} are needed to estimate the rest"
        )
    features, targets = [], []
    for i in pairs:
        before = published[_key(joined, i)].astype(np.float64)
        pixels, of_star = _features(before, joined.labels[i], lines, grid)
        features.append(of_star)
        after = joined.norm[i].astype(np.float64)
        targets.append(np.log(_floor(after[pixels]) / _floor(before[pixels])))
    model = HistGradientBoostingRegressor(
        max_iter=300, max_leaf_nodes=63, l2_regularization=1.0, early_stopping=False, random_state=0
    ).fit(np.concatenate(features), np.concatenate(targets))
    norm, line_set = joined.norm.copy(), joined.line_set.astype("U16")
    for i in np.flatnonzero(~is_known).tolist():
        before = joined.norm[i].astype(np.float64)
        try:
            pixels, of_star = _features(before, joined.labels[i], lines, grid)
        except AtmosphereNotCovered:
            continue
        if pixels.size:
            gain = np.exp(np.maximum(model.predict(of_star), 0.0))
            before[pixels] = np.minimum(before[pixels] * gain, np.maximum(before[pixels], 1.0))
        norm[i], line_set[i] = before.astype(np.float16), ESTIMATED
    return replace(joined, norm=norm, line_set=line_set)


def _features(norm: Array, labels: Array, lines: MoogLines, grid: AtmosphereGrid) -> tuple[Array, Array]:
    """Return the pixels that the lines affect, shape ``(m,)``, and the features for their depth."""
    star = Star.from_row(labels)
    log_ch, temperature = molecules_over_continuum(star, grid)
    opacity = np.stack(
        [impossible_opacity(lines, star.r1213, log_ch, temperature, saturation=s) for s in _SATURATIONS],
        axis=1,
    )
    pixels = np.flatnonzero(opacity[:, 0] > _LEAST_OPACITY)
    opacity = opacity[pixels]
    columns = [
        np.log10(opacity),
        opacity[:, ::2],
        norm[pixels, None],
        gaussian_filter1d(norm, _NEIGHBOURHOOD_PIX)[pixels, None],
        np.broadcast_to(labels[list(_LABELS)], (pixels.size, len(_LABELS))),
        pixels[:, None],
    ]
    return pixels, np.concatenate(columns, axis=1).astype(np.float32)


def _floor(norm: Array) -> Array:
    return np.maximum(norm, _DARKEST)


def _key(rows: LibraryRows, i: int) -> tuple[str, int, int]:
    return str(rows.stratum[i]), int(rows.seed[i]), int(rows.index[i])
