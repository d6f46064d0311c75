"""Labels of training stars: how they are drawn, and the truth that follows from them.

Order and meaning are those of the synthetic library: Teff in K, log g, [Fe/H], [C/Fe], [N/Fe], [O/Fe],
[α/Fe], s- and r-process shifts over iron, 12C/13C, microturbulence in km/s; 1D LTE, Asplund et al. 2009.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from cempstream.models.carbon_evolution import carbon_correction
from cempstream.models.emulator.labels import LABEL_NAMES, highest_cfe, lowest_logg, move_into_range
from cempstream.models.simulator.sources import SOLAR_CARBON
from cempstream.processors.grid import Array
from cempstream.processors.outcome import PARAMETERS

#: Column of each label in a label array.
COLUMN = {name: i for i, name in enumerate(LABEL_NAMES)}

#: Definition of a CEMP star, DESIGN.md section 1.
CEMP_MAX_FEH = -1.0
CEMP_MIN_CFE = 0.7

_CEMP_NO, _CEMP_S, _CEMP_R, _UNDETERMINED = range(4)


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """The truth of a training spectrum.

    Attributes
    ----------
    parameters
        In the order of ``PARAMETERS``, NaN where undefined, float32 ``(n, 6)``.
    is_cemp, is_cemp_corrected
        bool, shape ``(n,)``.
    subclass
        Index into ``SUBCLASSES``, -1 where the star is too near the CEMP border to say, int8 ``(n,)``.
    is_ood
        1 contaminant, 0 star of the label range, -1 in between (not taught), int8 ``(n,)``.
    """

    parameters: Array = field(repr=False)
    is_cemp: Array = field(repr=False)
    is_cemp_corrected: Array = field(repr=False)
    subclass: Array = field(repr=False)
    is_ood: Array = field(repr=False)


def label_truth(labels: Array) -> Truth:
    """Return the truth of stars with these labels, shape ``(n, 11)``."""
    teff, logg, feh, cfe = labels[:, :4].T
    bafe, eufe = labels[:, COLUMN["sfe"]], labels[:, COLUMN["rfe"]]
    corrected = cfe + carbon_correction(logg, feh, cfe)
    is_cemp = (feh < CEMP_MAX_FEH) & (cfe >= CEMP_MIN_CFE)
    parameters = np.stack([teff, logg, feh, cfe, cfe + feh + SOLAR_CARBON, bafe], axis=1)
    if parameters.shape[1] != len(PARAMETERS):
        raise ValueError(f"{parameters.shape[1]} parameters are filled; {PARAMETERS} are needed")
    return Truth(
        parameters=parameters.astype(np.float32),
        is_cemp=is_cemp,
        is_cemp_corrected=(feh < CEMP_MAX_FEH) & (corrected >= CEMP_MIN_CFE),
        subclass=_subclass(feh, cfe, bafe, eufe, is_cemp),
        is_ood=np.zeros(len(labels), dtype=np.int8),
    )


def _subclass(feh: Array, cfe: Array, bafe: Array, eufe: Array, is_cemp: Array) -> Array:
    """Beers & Christlieb 2005; r/s counts as s, the gap 0..1 in [Ba/Fe] as undetermined."""
    subclass = np.full(feh.size, _UNDETERMINED, dtype=np.int8)
    subclass[bafe < 0] = _CEMP_NO
    subclass[(bafe > 1) & (bafe - eufe > 0)] = _CEMP_S
    subclass[(eufe > 1) & (bafe - eufe < 0)] = _CEMP_R
    # A carbon-normal star has no CEMP subclass; next to the border nothing is taught.
    subclass[~is_cemp] = np.where((cfe < 0.3) | (feh > -0.6), _UNDETERMINED, -1)[~is_cemp]
    return subclass


def draw_labels(n: int, rng: np.random.Generator) -> Array:
    """Draw training labels, more of them where the decision is difficult.

    More than a quarter follow the library's own box, so that nothing is learned from correlations alone; the
    rest are metal-poor stars around the CEMP border, CEMP stars with the abundance patterns of their groups,
    and carbon-normal stars of the disc and the halo along the main sequence and the giant branch, and of the
    halo on the horizontal branch and beyond it.

    Returns
    -------
    Array
        float64, shape ``(n, 11)``, columns ``LABEL_NAMES``.
    """
    kind = rng.choice(6, size=n, p=[0.28, 0.19, 0.21, 0.17, 0.10, 0.05])
    u = rng.random((n, 11))
    teff = 3900 + 3100 * u[:, 0]
    tracks = kind >= 1
    on_track = tracks & (rng.random(n) < 0.8)
    logg = lowest_logg(teff) + (5 - lowest_logg(teff)) * u[:, 1]
    logg[on_track] = _track_logg(teff[on_track], rng)
    evolved = kind == 5
    teff[evolved], logg[evolved] = _after_the_giant_branch(u[evolved, :2], rng)
    feh = -4 + 4.5 * u[:, 2]
    feh[kind == 1] = -3.6 + 3.0 * u[kind == 1, 2]
    feh[kind == 2] = -3.9 + 2.9 * u[kind == 2, 2]
    disc = kind == 3
    spread_out = -1.0 + 1.5 * u[disc, 2]
    peaked = np.clip(-0.15 + 0.3 * rng.standard_normal(disc.sum()), -1.5, 0.5)
    feh[disc] = np.where(rng.random(disc.sum()) < 0.5, spread_out, peaked)
    halo = kind >= 4
    feh[halo] = np.clip(-1.6 + 0.7 * rng.standard_normal(halo.sum()), -4.0, 0.0)
    top = highest_cfe(feh)
    cfe = -0.6 + (top + 0.6) * u[:, 3]
    border = kind == 1
    cfe[border] = 0.7 + 0.45 * rng.standard_normal(border.sum())
    rich = kind == 2
    cfe[rich] = np.minimum(0.7 + 1.8 * u[rich, 3] ** 1.2, top[rich])
    normal = kind >= 3
    cfe[normal] = 0.05 + 0.22 * rng.standard_normal(normal.sum()) - 0.35 * (logg[normal] < 1.8)
    cfe = np.clip(cfe, -0.6, top)
    poor = feh < -1
    nfe = -0.4 + np.where(poor, 2.6, 1.4) * u[:, 4]
    # Giants have mixed: carbon is down and nitrogen up.
    mixed = 0.25 * (logg[normal] < 2.8)
    nfe[normal] = np.clip(0.1 + mixed + 0.3 * rng.standard_normal(normal.sum()), -0.4, 1.0)
    alpha = np.clip(np.interp(feh, [-1.0, 0.2], [0.38, 0.02]) + 0.12 * rng.standard_normal(n), -0.1, 0.6)
    afe = np.where(tracks, alpha, -0.1 + 0.7 * u[:, 5])
    ofe = afe + 0.4 * u[:, 10] * np.maximum(0.0, cfe - 0.5)
    sfe = np.where(feh < -0.7, -1.2 + 3.7 * u[:, 6], -0.6 + 1.6 * u[:, 6])
    rfe = np.where(feh < -0.7, -0.5 + 2.3 * u[:, 7], -0.4 + 0.9 * u[:, 7])
    sfe[normal] = np.clip(0.25 * rng.standard_normal(normal.sum()) - 0.1 * (feh[normal] < -2), -1.2, 1.0)
    rfe[normal] = np.clip(0.15 + 0.25 * rng.standard_normal(normal.sum()), -0.4, 0.5)
    _pattern(rich & (rng.random(n) < 0.65), feh, cfe, sfe, rfe, rng)
    r1213 = np.array([5.0, 20.0, 89.0])[(3 * u[:, 8]).astype(int)]
    vmic = np.maximum(0.7, 2.13 - 0.23 * logg) + 0.6 * (u[:, 9] - 0.5)
    labels = np.stack([teff, logg, feh, cfe, nfe, ofe, afe, sfe, rfe, r1213, vmic], axis=1)
    return move_into_range(labels)


def _track_logg(teff: Array, rng: np.random.Generator) -> Array:
    """Draw log g along an old isochrone: dwarfs, or giants and subgiants of the same temperature."""
    dwarf = np.interp(teff, [3900, 5000, 6000, 6500, 7000], [4.8, 4.65, 4.35, 4.15, 4.0])
    giant = np.interp(teff, [3900, 4500, 5000, 5500, 6000, 7000], [0.5, 1.2, 2.2, 3.2, 3.7, 4.0])
    is_dwarf = rng.random(teff.size) < 0.4
    logg = np.where(is_dwarf, dwarf, giant) + 0.25 * rng.standard_normal(teff.size)
    return np.clip(logg, lowest_logg(teff), 5.0)


def _after_the_giant_branch(u: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw Teff (K) and log g of horizontal-branch stars and, one in three, of stars above the branch.

    ``u`` is uniform in 0..1, shape ``(n, 2)``; both results have shape ``(n,)``. Post-AGB stars proper lie
    below the library's lowest log g.
    """
    teff = 5200 + 1800 * u[:, 0]
    # the branch runs from its red clump to the RR Lyrae stars
    branch = np.interp(teff, [5200, 7000], [2.3, 3.0]) + 0.15 * rng.standard_normal(teff.size)
    lowest = lowest_logg(teff)
    above = lowest + (branch - lowest) * u[:, 1]
    logg = np.where(rng.random(teff.size) < 1 / 3, above, branch)
    return teff, np.maximum(logg, lowest)


def _pattern(which: Array, feh: Array, cfe: Array, sfe: Array, rfe: Array, rng: np.random.Generator) -> None:
    """Give CEMP stars the neutron-capture pattern of their A(C) group (Yoon et al. 2016), in place."""
    rows = np.flatnonzero(which)
    carbon = cfe[rows] + feh[rows] + SOLAR_CARBON
    p_s = 1 / (1 + np.exp(-(carbon - 7.1) / 0.2))
    is_s = rng.random(rows.size) < np.clip(p_s, 0.05, 0.93)
    noise = rng.standard_normal((2, rows.size))
    sfe[rows] = np.clip(np.where(is_s, 1.5 + 0.45 * noise[0], -0.5 + 0.4 * noise[0]), -1.2, 2.5)
    r_of_s = np.clip(0.7 + 0.6 * noise[1], -0.5, 1.8)
    rfe[rows] = np.where(is_s, r_of_s, np.clip(0.1 + 0.4 * noise[1], -0.5, 1.8))
