"""Fit the smooth table of carbon corrections that ``cempstream.models.carbon_evolution`` reads.

Input: the list of Placco et al. 2014 (ApJ 797, 21) as a CSV file with columns ``log(g)``, ``FeH``, ``CFe``
and ``Del[C/Fe]``. Run: ``python -m cempstream.models.training.carbon_table placco2014_labels.csv.gz``.
"""

from __future__ import annotations

import csv
import gzip
import sys
from itertools import product
from pathlib import Path

import numpy as np
from scipy.interpolate import RBFInterpolator

from cempstream.models.carbon_evolution import TABLE_NAME
from cempstream.processors.grid import Array

_LOGG = np.array([0.0, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 3.0])
_FEH = np.array([-4.5, -3.5, -3.0, -2.5, -2.0, -1.5, -1.0])
_CFE = np.array([-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0])
#: One unit of each axis in which the correction varies about alike.
_SCALE = np.array([0.5, 2.0, 1.0])
_SMOOTHING = 0.05


def read_corrections(path: Path) -> tuple[Array, Array]:
    """Return (log g, [Fe/H], [C/Fe]) of shape ``(n, 3)`` and the correction in dex of shape ``(n,)``."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    values = np.array([[_number(row[k]) for k in ("log(g)", "FeH", "CFe", "Del[C/Fe]")] for row in rows])
    values = values[np.isfinite(values).all(axis=1)]
    return values[:, :3], values[:, 3]


def fit_table(points: Array, correction: Array) -> Array:
    """Return the correction on the grid, shape ``(n_logg, n_feh, n_cfe)``; within [0, 0.78] dex."""
    fit = RBFInterpolator(points / _SCALE, correction, kernel="linear", smoothing=_SMOOTHING, neighbors=80)
    grid = np.stack(np.meshgrid(_LOGG, _FEH, _CFE, indexing="ij"), axis=-1)
    table = np.clip(fit(grid.reshape(-1, 3) / _SCALE).reshape(grid.shape[:3]), 0.0, 0.78)
    # Few stars lie in the corners: the physics is monotonic there (more carbon or more gravity, less loss).
    table = np.minimum.accumulate(table, axis=2)
    table = np.minimum.accumulate(table, axis=0)
    table[-1] = 0.0
    return np.asarray(table)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def main(source: Path, target: Path) -> None:
    """Write the table."""
    table = fit_table(*read_corrections(source))
    lines = [
        "# Evolutionary correction of [C/Fe] in dex: a fit to the list of Placco et al. 2014, ApJ 797, 21",
        "logg,feh,cfe,correction",
    ]
    for (g, f, c), value in zip(product(_LOGG, _FEH, _CFE), table.ravel(), strict=True):
        lines.append(f"{g:g},{f:g},{c:g},{value:.3f}")
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).parents[1] / TABLE_NAME)
