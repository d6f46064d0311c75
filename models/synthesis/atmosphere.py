"""ATLAS9 model atmospheres (Castelli & Kurucz 2003, ODFNEW), interpolated."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from zipfile import ZipFile

import numpy as np

from cempstream.processors.grid import Array

#: File of each metallicity: alpha-enhanced below solar, scaled-solar from solar up.
GRID_FILES = {
    -4.0: "am40ak2odfnew.dat",
    -2.5: "am25ak2odfnew.dat",
    -2.0: "am20ak2odfnew.dat",
    -1.5: "am15ak2odfnew.dat",
    -1.0: "am10ak2odfnew.dat",
    -0.5: "am05ak2odfnew.dat",
    0.0: "ap00k2odfnew.dat",
    0.5: "ap05k2odfnew.dat",
}
_TEFF_STEP_K, _LOGG_STEP = 250.0, 0.5
_FIRST_TEFF_K, _LAST_TEFF_K, _LAST_LOGG = 3500.0, 10000.0, 5.0

#: Columns that Synspec reads.
N_COLUMNS = 4


class AtmosphereNotCovered(ValueError):
    """The grid has no models around these parameters."""


@dataclass(frozen=True, slots=True)
class AtmosphereGrid:
    """The grids inside the published wheel.

    Attributes
    ----------
    wheel
        The ``Fraunhofer`` wheel; its files are read in place.
    """

    wheel: Path

    def node(self, teff_k: float, logg: float, mh: float) -> Array:
        """Return one published model: column mass (g/cm²), T (K), gas pressure, electron density (cgs).

        Returns
        -------
        Array
            float64, shape ``(72, 4)``.
        """
        models = _read_grid(self.wheel, GRID_FILES[mh])
        try:
            return models[teff_k, logg].copy()
        except KeyError:
            raise AtmosphereNotCovered(
                f"no ATLAS9 model at Teff {teff_k:g} K, log g {logg:g}, [M/H] {mh:g}"
            ) from None

    def interpolate(self, teff_k: float, logg: float, mh: float) -> Array:
        """Interpolate a model, layer by layer, linearly in the logarithm of all four columns.

        Raises
        ------
        AtmosphereNotCovered
            A corner of the cell does not exist.
        """
        corners = product(
            _bracket(teff_k, np.arange(_FIRST_TEFF_K, _LAST_TEFF_K + 1.0, _TEFF_STEP_K)),
            _bracket(logg, np.arange(0.0, _LAST_LOGG + 0.1, _LOGG_STEP)),
            _bracket(mh, np.array(sorted(GRID_FILES))),
        )
        weighted = [(wt * wg * wm, (t, g, m)) for (t, wt), (g, wg), (m, wm) in corners if wt * wg * wm > 0.0]
        if len(weighted) == 1:  # a node; taking the logarithm and back would change its last digit
            return self.node(*weighted[0][1])
        return np.asarray(np.exp(sum(weight * np.log(self.node(*corner)) for weight, corner in weighted)))


def _bracket(value: float, nodes: Array) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the nodes around a value with their weights."""
    if not nodes[0] <= value <= nodes[-1]:
        raise AtmosphereNotCovered(f"{value:g} is outside the grid, {nodes[0]:g} to {nodes[-1]:g}")
    i = min(int(np.searchsorted(nodes, value, side="right")) - 1, nodes.size - 2)
    share = (value - nodes[i]) / (nodes[i + 1] - nodes[i])
    return (float(nodes[i]), 1.0 - share), (float(nodes[i + 1]), share)


@cache
def _read_grid(wheel: Path, name: str) -> dict[tuple[float, float], Array]:
    """Read all models of one metallicity, by (Teff in K, log g)."""
    with ZipFile(wheel) as archive:
        lines = archive.read(f"fraunhofer/data/{name}").decode("ascii").splitlines()
    models: dict[tuple[float, float], Array] = {}
    teff_k = logg = np.nan
    for i, line in enumerate(lines):
        if line.startswith("TEFF"):
            words = line.split()
            teff_k, logg = float(words[1]), float(words[3])
        elif line.startswith("READ DECK6"):
            layers = lines[i + 1 : i + 1 + int(line.split()[2])]
            models[teff_k, logg] = np.array(
                [[float(x) for x in layer.split()[:N_COLUMNS]] for layer in layers]
            )
    return models
