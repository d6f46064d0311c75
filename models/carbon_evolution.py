"""Carbon that a giant has lost to the CN cycle, interpolated from Placco et al. 2014.

On the upper red-giant branch mixing turns carbon into nitrogen; Placco et al. (2014, ApJ 797, 21) computed
how much [C/Fe] must be raised to give the star's value at birth, and list it for 616 metal-poor stars.
``placco2014_correction.csv`` is a smooth fit to that list on a small grid (``training/carbon_table.py``).
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

import numpy as np

from cempstream.processors.grid import Array

TABLE_NAME = "placco2014_correction.csv"


def carbon_correction(logg: Array, feh: Array, cfe: Array) -> Array:
    """Return the correction to add to [C/Fe], in dex, never negative.

    Trilinear in log g, [Fe/H] and [C/Fe]; outside the table the edge value is used. Zero above log g = 3.

    Returns
    -------
    Array
        float64, in the broadcast shape of the arguments; NaN where one of them is NaN.
    """
    axes, table = _table()
    points = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (logg, feh, cfe)))
    low: list[Array] = []
    part: list[Array] = []
    for axis, values in zip(axes, points, strict=True):
        inside = np.clip(np.nan_to_num(values), axis[0], axis[-1])
        left = np.clip(np.searchsorted(axis, inside, side="right") - 1, 0, axis.size - 2)
        low.append(left)
        part.append((inside - axis[left]) / (axis[left + 1] - axis[left]))
    total = np.zeros(points[0].shape)
    for corner in np.ndindex(2, 2, 2):
        weight = np.ones(points[0].shape)
        for step, fraction in zip(corner, part, strict=True):
            weight = weight * (fraction if step else 1.0 - fraction)
        total += weight * table[tuple(left + step for left, step in zip(low, corner, strict=True))]
    total[np.isnan(points[0] + points[1] + points[2])] = np.nan
    return total


@lru_cache(maxsize=1)
def _table() -> tuple[tuple[Array, Array, Array], Array]:
    """Return the axes (log g, [Fe/H], [C/Fe]) and the correction on their grid."""
    text = files("cempstream.models").joinpath(TABLE_NAME).read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line and not line.startswith(("#", "logg"))]
    values = np.array([[float(x) for x in row.split(",")] for row in rows])
    # Not `np.unique`, with which NumPy imports its masked arrays: a tenth of what one file takes.
    axes = (_axis(values[:, 0]), _axis(values[:, 1]), _axis(values[:, 2]))
    return axes, values[:, 3].reshape([axis.size for axis in axes])


def _axis(column: Array) -> Array:
    """Return the different values of a column, in order."""
    return np.array(sorted(set(column.tolist())))
