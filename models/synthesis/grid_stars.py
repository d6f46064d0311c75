"""The stars of a library: scrambled Sobol sequences mapped onto labels, over everything or one stratum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import qmc

from cempstream.models.emulator.labels import (
    GIANT_LIMIT_LOGG,
    GIANT_LIMIT_TEFF,
    LABEL_NAMES,
    MAX_CARBON_OVER_H,
)
from cempstream.processors.grid import Array

#: 12C/13C has three values because a line list is made for each.
ISOTOPE_RATIOS = (5, 20, 89)

#: Columns of the Sobol sequence.
_N_DIMENSIONS = 11


@dataclass(frozen=True, slots=True)
class Star:
    """One row of labels, with the units and meaning of ``cempstream.models.emulator.labels``."""

    teff: float
    logg: float
    feh: float
    cfe: float
    nfe: float
    ofe: float
    afe: float
    sfe: float
    rfe: float
    r1213: float
    vmic: float

    @classmethod
    def from_row(cls, row: Array) -> Star:
        """Make a star of one row of labels in the order of ``LABEL_NAMES``."""
        return cls(**dict(zip(LABEL_NAMES, map(float, row), strict=True)))


@dataclass(frozen=True, slots=True)
class Stratum:
    """A part of label space with a separate Sobol sequence.

    Attributes
    ----------
    seed_offset
        Added to the run's seed, so that strata do not share their points.
    teff_k, feh, cfe
        Lowest and highest value; [C/Fe] ends at ``MAX_CARBON_OVER_H`` - [Fe/H] in any case.
    logg
        Lowest and highest log g; the limit of the atmospheres holds in any case.
    """

    name: str
    seed_offset: int
    teff_k: tuple[float, float] = (3900.0, 7000.0)
    logg: tuple[float, float] = (0.0, 5.0)
    feh: tuple[float, float] = (-4.0, 0.5)
    cfe: tuple[float, float] = (-0.6, 3.5)


#: The whole space; the shared library is this stratum's sequence with seed 7.
EVERYTHING = "sobol"

STRATA = {
    stratum.name: stratum
    for stratum in (
        Stratum(EVERYTHING, 0),
        Stratum("cemp", 4, feh=(-4.0, -1.0), cfe=(0.0, 3.0)),
        Stratum("cool_giant", 5, teff_k=(3900.0, 4800.0), logg=(0.0, 3.0)),
        Stratum("turnoff", 6, teff_k=(5800.0, 7000.0), logg=(3.2, 4.8)),
        Stratum("metal_rich", 7, feh=(-1.0, 0.5), cfe=(-0.5, 0.4)),
        # Carbon mostly above oxygen, where the spectrum changes fastest with the labels.
        Stratum(
            "carbon_giant", 8, teff_k=(3900.0, 4700.0), logg=(0.0, 3.0), feh=(-4.0, -0.2), cfe=(0.6, 3.5)
        ),
    )
}


def sobol_labels(stratum: Stratum, seed: int, indices: Array) -> Array:
    """Return the labels of these positions of a stratum's sequence.

    Returns
    -------
    Array
        float64, shape ``(n, 11)`` in the order of ``LABEL_NAMES``; each row depends on its position alone.
    """
    indices = np.asarray(indices, dtype=np.intp)
    if indices.size == 0:
        return np.empty((0, len(LABEL_NAMES)))
    # With a power of two the sequence is balanced and scipy does not warn; the points are the same.
    n_points = max(8192, 1 << int(indices.max()).bit_length())
    # Named `seed`, not `rng`: the shared library was drawn with it.
    points = qmc.Sobol(_N_DIMENSIONS, seed=seed + stratum.seed_offset).random(n_points)[indices]
    return map_labels(points, stratum)


def map_labels(points: Array, stratum: Stratum) -> Array:
    """Map points of the unit cube, shape ``(n, 11)``, onto labels of a stratum, ``LABEL_NAMES`` in order."""
    u = points.T
    teff = _between(stratum.teff_k[0], stratum.teff_k[1], u[0])
    lowest = np.maximum(np.interp(teff, GIANT_LIMIT_TEFF, GIANT_LIMIT_LOGG), stratum.logg[0])
    logg = _between(lowest, stratum.logg[1], u[1])
    feh = _between(stratum.feh[0], stratum.feh[1], u[2])
    cfe = _between(stratum.cfe[0], np.minimum(stratum.cfe[1], MAX_CARBON_OVER_H - feh), u[3])
    nfe = -0.4 + np.where(feh >= -1.0, 1.4, 2.6) * u[4]
    afe = -0.1 + 0.7 * u[5]
    is_enriched_little = feh >= -0.7
    sfe = np.where(is_enriched_little, -0.6 + 1.6 * u[6], -1.2 + 3.7 * u[6])
    rfe = np.where(is_enriched_little, -0.4 + 0.9 * u[7], -0.5 + 2.3 * u[7])
    r1213 = np.array(ISOTOPE_RATIOS, dtype=np.float64)[(3 * u[8]).astype(np.intp)]
    vmic = np.maximum(0.7, 2.13 - 0.23 * logg) + 0.6 * (u[9] - 0.5)
    ofe = afe + 0.4 * np.maximum(0.0, cfe - 0.5) * u[10]
    columns = {
        "teff": teff,
        "logg": logg,
        "feh": feh,
        "cfe": cfe,
        "nfe": nfe,
        "ofe": ofe,
        "afe": afe,
        "sfe": sfe,
        "rfe": rfe,
        "r1213": r1213,
        "vmic": vmic,
    }
    return np.stack([columns[name] for name in LABEL_NAMES], axis=1)


def _between(low: Array | float, high: Array | float, u: Array) -> Array:
    return np.asarray(low + (high - low) * u)
