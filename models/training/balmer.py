"""How much deeper observed cores of Balmer lines are than computed, by temperature and metallicity.

LTE in plane-parallel atmospheres without a chromosphere makes the cores too shallow, most of all in cool
stars (Barklem 2007, A&A 466, 327; Amarsi et al. 2018, A&A 615, A139). The table is measured on stars with
literature labels by ``python -m cempstream.models.evaluation.line_depths``.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from scipy.special import erf

from cempstream.models.training.star_labels import COLUMN
from cempstream.processors.grid import Array

#: Whatever the star, or as measured.
BalmerCores: TypeAlias = Literal["any", "measured"]

TABLE = Path(__file__).parent / "balmer_deepening.csv"

#: Air Å.
BALMER_AIR = {"Ha": 6562.8, "Hb": 4861.3, "Hg": 4340.5, "Hd": 4101.7, "He": 3970.1, "H8": 3889.1}
#: Half width of the measured core, Å.
CORE_AA = 2.2
#: 1σ of a resolution element of the stars of the table, Å.
_SEEN_SIGMA_AA = 2.5 / 2.3548
#: Intrinsic 1σ of the missing core, Å; observed 1.5 to 2 Å for Hα to Hδ at 2.5 Å FWHM.
_WIDTH_AA = (0.9, 1.8)
_REACH_AA = 10.0
_FLOOR = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Deepening:
    """Observed minus emulated depth of one line's core: mean over ±2.2 Å at 2.5 Å FWHM, of the continuum.

    Attributes
    ----------
    teff
        Nodes in K, shape ``(n,)``.
    poor, rich
        Depth at [Fe/H] = -2 and 0, linear between and constant outside, shape ``(n,)``.
    scatter
        1σ from star to star, shape ``(n,)``.
    """

    teff: Array = field(repr=False)
    poor: Array = field(repr=False)
    rich: Array = field(repr=False)
    scatter: Array = field(repr=False)

    def mean(self, teff: Array, feh: Array) -> Array:
        """Return the expected deepening of stars, shape of ``teff``."""
        poor, rich = (np.interp(teff, self.teff, values) for values in (self.poor, self.rich))
        share = np.clip((feh + 2.0) / 2.0, 0.0, 1.0)
        return np.asarray((1.0 - share) * poor + share * rich)

    def sigma(self, teff: Array) -> Array:
        """Return the scatter of stars, shape of ``teff``."""
        return np.asarray(np.interp(teff, self.teff, self.scatter))


@cache
def measured_deepening(path: Path = TABLE) -> dict[str, Deepening]:
    """Read the table: one entry per line of ``BALMER_AIR``."""
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(line for line in stream if not line.startswith("#")))
    return {
        name: Deepening(
            *(
                np.array([float(row[column]) for row in rows if row["line"] == name])
                for column in ("teff", "poor", "rich", "scatter")
            )
        )
        for name in BALMER_AIR
    }


def deepen_cores(norm: Array, labels: Array, wave_air: Array, wild: float, rng: np.random.Generator) -> None:
    """Give the cores of Balmer lines the depth that stars of these labels have, with its scatter, in place.

    A star's lines err together for half of the variance: all form in the same outer layers.

    Parameters
    ----------
    norm
        Flux over continuum at the library's resolution, shape ``(n, n_wave)``.
    labels
        Columns of ``star_labels``, shape ``(n, n_labels)``.
    wild
        Scale of the scatter.
    """
    teff, feh = labels[:, COLUMN["teff"]], labels[:, COLUMN["feh"]]
    n = len(norm)
    common = rng.standard_normal(n)
    width = rng.uniform(*_WIDTH_AA, (n, 1))
    total = np.hypot(width, _SEEN_SIGMA_AA)
    # Depth at the centre of a Gaussian whose mean over the core is 1 once it is seen at 2.5 Å.
    height = 2 * CORE_AA / (width * np.sqrt(2 * np.pi) * erf(CORE_AA / (np.sqrt(2.0) * total)))
    for name, deepening in measured_deepening().items():
        alone = rng.standard_normal(n)
        depth = deepening.mean(teff, feh) + wild * deepening.sigma(teff) * (common + alone) / np.sqrt(2.0)
        window = np.flatnonzero(np.abs(wave_air - BALMER_AIR[name]) < _REACH_AA)
        shape = height * np.exp(-0.5 * ((wave_air[window] - BALMER_AIR[name]) / width) ** 2)
        norm[:, window] = np.maximum(norm[:, window] - depth[:, None] * shape, _FLOOR)
