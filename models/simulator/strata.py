"""Importance sampling: keep all difficult sources and a share of the easy ones, with weights.

A natural night holds one CEMP star in some thousands, and the false alarms that matter come from a few rare
kinds. Drawing labels is far cheaper than computing spectra, so sources are drawn in their natural shares and
most of the easy ones are dropped before any spectrum is computed: each kept source represents
1 / (share kept).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cempstream.models.carbon_evolution import carbon_correction
from cempstream.models.simulator.mix import Mix
from cempstream.models.simulator.sources import Sources, draw_sources
from cempstream.processors.grid import Array

_DRAWN_AT_ONCE = 16384


@dataclass(frozen=True, slots=True)
class Strata:
    """Share of each stratum that is kept.

    Attributes
    ----------
    cemp
        CEMP stars.
    boundary
        Stars that are almost CEMP: metal-poor with some carbon, more metal-rich with much, or CEMP only after
        correction for evolution.
    metal_poor
        Other stars below [Fe/H] = -0.8.
    ordinary
        All other stars.
    contaminant
        Sources outside the library.
    """

    cemp: float = 1.0
    boundary: float = 1.0
    metal_poor: float = 0.1
    ordinary: float = 0.002
    contaminant: float = 0.005

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ValueError(f"'{name}' is {getattr(self, name)}; a share in (0, 1] is needed")

    def kept(self, sources: Sources) -> Array:
        """Return the share kept of the stratum of each source, shape ``(n,)``."""
        logg, feh, cfe, _, ofe = sources.labels[:, 1:6].T
        corrected = cfe + carbon_correction(logg, feh, cfe)
        is_metal_poor = feh < -0.8
        is_cemp = (feh < -1.0) & (cfe >= 0.7)
        is_near = is_metal_poor & ((cfe > 0.35) | (corrected >= 0.7))
        # [C/O] of -0.1 is C/O = 0.44: CH and C2 grow steeply from there on.
        is_carbon_rich = (cfe > 0.35) & (cfe - ofe > -0.1)
        return np.select(
            [~sources.is_star, is_cemp, is_near | is_carbon_rich, is_metal_poor],
            [self.contaminant, self.cemp, self.boundary, self.metal_poor],
            self.ordinary,
        )


def draw_stratified(n: int, mix: Mix, strata: Strata, rng: np.random.Generator) -> tuple[Sources, Array]:
    """Draw ``n`` sources by strata.

    Returns
    -------
    Sources
        The sources that were kept.
    Array
        How many natural sources each represents, shape ``(n,)``.
    """
    kept: list[Sources] = []
    weights: list[Array] = []
    n_kept = 0
    while n_kept < n:
        drawn = draw_sources(_DRAWN_AT_ONCE, mix, rng)
        share = strata.kept(drawn)
        rows = np.flatnonzero(rng.random(len(drawn)) < share)
        kept.append(drawn.take(rows))
        weights.append(1.0 / share[rows])
        n_kept += rows.size
    sources = Sources(*(np.concatenate([getattr(s, name) for s in kept])[:n] for name in Sources.__slots__))
    return sources, np.concatenate(weights)[:n]
