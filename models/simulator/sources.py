"""Draw sources: stars of some population with their abundances, or contaminants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from cempstream.models.carbon_evolution import carbon_correction
from cempstream.models.emulator.labels import LABEL_NAMES, highest_cfe, move_into_range
from cempstream.models.simulator.mix import CONTAMINANTS, RARE_KINDS, Mix, Population
from cempstream.processors.grid import Array

#: Kinds of source, in the order of the codes in ``Sources.kind``.
ORDINARY_KINDS = ("dwarf", "turn_off", "giant", "horizontal")
KINDS = ORDINARY_KINDS + RARE_KINDS + CONTAMINANTS
KIND_CODE = {name: code for code, name in enumerate(KINDS)}
_FIRST_CONTAMINANT = len(ORDINARY_KINDS) + len(RARE_KINDS)

#: A(C) and the C/O of the Sun (Asplund et al. 2009): carbon outnumbers oxygen above this [C/O].
SOLAR_CARBON = 8.43
_SOLAR_CO = 0.26

_Change: TypeAlias = Callable[[int, np.random.Generator], dict[str, Array]]

_DWARF, _TURN_OFF, _GIANT, _HORIZONTAL = range(4)
_NORMAL, _S, _NO, _R = range(4)


@dataclass(frozen=True, slots=True, eq=False)
class Sources:
    """Sources before any spectrum is computed; drawing them is cheap, so most may be dropped again.

    Attributes
    ----------
    kind
        Index into ``KINDS``, int8, shape ``(n,)``.
    population
        Index into the mix's populations, int8, shape ``(n,)``.
    labels
        In the order of ``LABEL_NAMES``, all within the emulator's range, float64, shape ``(n, 11)``. For a
        contaminant: the star that some of its light may come from.
    rv_kms, ebv
        float64, shape ``(n,)``.
    """

    kind: Array = field(repr=False)
    population: Array = field(repr=False)
    labels: Array = field(repr=False)
    rv_kms: Array = field(repr=False)
    ebv: Array = field(repr=False)

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def is_star(self) -> Array:
        """Whether it is a star of the emulator with valid labels, bool, shape ``(n,)``."""
        return np.asarray(self.kind < _FIRST_CONTAMINANT)

    def take(self, rows: Array) -> Sources:
        """Return some of the sources."""
        return Sources(
            self.kind[rows], self.population[rows], self.labels[rows], self.rv_kms[rows], self.ebv[rows]
        )


def draw_sources(n: int, mix: Mix, rng: np.random.Generator) -> Sources:
    """Draw sources; about a million a second."""
    populations = tuple(mix.population.values())
    share = np.array([p.share for p in populations])
    population = _choose(rng, share, n)
    kind = np.empty(n, dtype=np.int8)
    teff, logg, feh, rv_kms, ebv = (np.empty(n) for _ in range(5))
    afe = np.empty(n)
    for code, part in enumerate(populations):
        rows = np.flatnonzero(population == code)
        kind[rows], teff[rows], logg[rows], feh[rows] = _draw_stars(rows.size, part, rng)
        afe[rows] = _alpha(part, feh[rows]) + 0.07 * rng.standard_normal(rows.size)
        rv_kms[rows] = part.rv_kms[0] + part.rv_kms[1] * rng.standard_normal(rows.size)
        ebv[rows] = np.minimum(rng.exponential(part.ebv, rows.size), 2.0)
    named = {"teff": teff, "logg": logg, "feh": feh, "afe": afe}
    _draw_abundances(named, mix, rng)
    rare = np.array([mix.rare.get(name, 0.0) for name in RARE_KINDS])
    alien = np.array([mix.contaminants.get(name, 0.0) for name in CONTAMINANTS])
    special = _choose(rng, np.concatenate([[1 - rare.sum() - alien.sum()], rare, alien]), n)
    kind = np.where(special > 0, special + len(ORDINARY_KINDS) - 1, kind).astype(np.int8)
    for name, change in _RARE.items():
        rows = np.flatnonzero(kind == KIND_CODE[name])
        if rows.size:
            changed = change(rows.size, rng)
            for label, values in changed.items():
                named[label][rows] = values
    is_extragalactic = np.isin(kind, [KIND_CODE[k] for k in ("galaxy", "quasar", "sky", "broken_fibre")])
    rv_kms[is_extragalactic] = 0.0
    return Sources(
        kind,
        population.astype(np.int8),
        move_into_range(np.stack([named[name] for name in LABEL_NAMES], axis=1)),
        rv_kms,
        ebv,
    )


def _choose(rng: np.random.Generator, share: Array, n: int) -> Array:
    """Draw indices with these relative probabilities; five times faster than ``Generator.choice``."""
    edges = np.cumsum(share) / np.sum(share)
    return np.searchsorted(edges[:-1], rng.random(n), side="right")


def _draw_stars(n: int, part: Population, rng: np.random.Generator) -> tuple[Array, Array, Array, Array]:
    """Return kind, Teff, log g and [Fe/H] of a population's stars, along tracks for its age."""
    feh = part.feh_mean + part.feh_sigma * rng.standard_normal(n) - rng.exponential(1.0, n) * part.feh_tail
    feh = np.clip(feh, -4.0, 0.5)
    kind = _choose(rng, np.array([part.dwarfs, part.turn_off, part.giants, part.horizontal]), n)
    u = rng.random((3, n))
    noise = rng.standard_normal((2, n))
    at_zero, per_dex = part.turn_off_teff
    turn_off = np.minimum(at_zero + per_dex * np.maximum(feh, -2.2) + 120 * noise[0], 6950.0)
    teff, logg = np.empty(n), np.empty(n)

    rows = kind == _DWARF
    # Magnitude limits favour the bright end of the main sequence.
    teff[rows] = 3950 + (turn_off[rows] - 4150) * u[0, rows] ** 0.6
    logg[rows] = _main_sequence(teff[rows], feh[rows]) + 0.05 * noise[1, rows]

    rows = kind == _TURN_OFF
    is_subgiant = u[1, rows] < 0.5
    part_way = u[0, rows]
    base = _giant_branch(np.full(rows.sum(), 3.5), feh[rows])
    teff[rows] = np.where(
        is_subgiant,
        base + (turn_off[rows] - base) * part_way**0.7,
        turn_off[rows] - 350 * part_way,
    )
    logg[rows] = np.where(is_subgiant, 3.5 + 0.55 * part_way, 4.1 + 0.25 * part_way) + 0.05 * noise[1, rows]

    rows = kind == _GIANT
    is_clump = (u[1, rows] < 0.45) & (feh[rows] > -1.2)
    # Fewer stars high up the branch: N ∝ 10^(0.35 log g) between 0.4 and 3.5.
    low, high = 10 ** (0.35 * 0.4), 10 ** (0.35 * 3.5)
    logg_rgb = np.log10(low + (high - low) * u[0, rows]) / 0.35
    logg[rows] = np.where(is_clump, 2.45 + 0.1 * noise[1, rows], logg_rgb)
    teff[rows] = _giant_branch(logg[rows], feh[rows]) + 100 * is_clump + 70 * noise[0, rows]

    rows = kind == _HORIZONTAL
    teff[rows] = 5100 + 1850 * u[0, rows]
    logg[rows] = 2.3 + 0.7 * u[0, rows] + 0.1 * noise[1, rows]
    return kind, teff, logg, feh


def _main_sequence(teff: Array, feh: Array) -> Array:
    return np.interp(teff, [3900, 5000, 6000, 6900], [4.75, 4.58, 4.36, 4.2]) - 0.03 * np.minimum(feh, 0)


def _giant_branch(logg: Array, feh: Array) -> Array:
    """Return Teff (K) of old giants; passes the clump, HD 122563 and CS 22892-052."""
    return np.asarray(4600.0 - 110.0 * feh + 420.0 * (logg - 2.0))


def _alpha(part: Population, feh: Array) -> Array:
    return np.interp(feh, [-1.0, 0.1], part.alpha)


def _draw_abundances(named: dict[str, Array], mix: Mix, rng: np.random.Generator) -> None:
    """Add the abundances: those of ordinary stars, and carbon as in the mix."""
    logg, feh, afe = named["logg"], named["feh"], named["afe"]
    n = feh.size
    noise = rng.standard_normal((5, n))
    u = rng.random((5, n))
    is_evolved = logg < 3.4
    carbon = mix.carbon
    p_rich = carbon.fraction.at(feh) * np.where(is_evolved, 1.0, carbon.turn_off_factor)
    group = np.where(u[0] < p_rich, _S, _NORMAL)
    group[(group == _S) & (u[1] < carbon.no_fraction.at(feh))] = _NO
    group[(group == _S) & (u[1] > 1 - carbon.r_fraction)] = _R

    born = 0.05 + 0.15 * noise[0]
    is_high = (group == _S) | ((group == _NO) & (feh < -3.1) & (u[2] < carbon.high_no_fraction))
    mean = np.where(is_high, carbon.high_ac[0], carbon.low_ac[0])
    mean = np.where(group == _R, 0.5 * (mean + carbon.high_ac[0]), mean)
    sigma = np.where(is_high, carbon.high_ac[1], carbon.low_ac[1])
    rich = mean + sigma * noise[1] - SOLAR_CARBON - feh
    # The star was drawn as CEMP; the scatter of its group must not change that.
    rich = 0.7 + np.abs(rich - 0.7)
    rows = np.flatnonzero(group != _NORMAL)
    born[rows] = np.minimum(rich[rows], highest_cfe(feh[rows]))

    lost = np.zeros(n)
    # Mixing above the bump: computed for metal-poor stars; fades out towards the disc.
    rows = np.flatnonzero(logg < 2.6)
    fade = np.interp(feh[rows], [-1.0, -0.3], [1.0, 0.2])
    lost[rows] = fade * carbon_correction(logg[rows], feh[rows], born[rows])
    cfe = born - lost - 0.1 * is_evolved
    nfe = 0.05 + 0.15 * noise[2] + 0.25 * is_evolved + 1.3 * lost
    nfe = np.where(group == _NORMAL, nfe, 0.2 + 0.45 * np.minimum(born, 2.5) + 0.4 * noise[2])

    sfe = np.where(feh < -2.5, -0.3, 0.0) + np.where(feh < -1, 0.25, 0.12) * noise[3]
    rfe = np.interp(feh, [-1.0, 0.0], [0.3, 0.0]) + np.where(feh < -1, 0.25, 0.1) * noise[4]
    sfe = np.select([group == _S, group == _NO, group == _R], [1.5, -0.4, 0.5], 0.0) + np.where(
        group == _NORMAL, sfe, 0.45 * noise[3]
    )
    rfe = np.select([group == _S, group == _NO, group == _R], [0.7, 0.1, 1.4], 0.0) + np.where(
        group == _NORMAL, rfe, np.where(group == _R, 0.2, 0.5) * noise[4]
    )
    r1213 = np.where(is_evolved, np.where((logg < 2.0) | (u[3] < 0.3), 5.0, 20.0), 89.0)
    r1213 = np.where(group == _NORMAL, r1213, np.array([5.0, 20.0, 89.0])[(3 * u[3]).astype(int)])
    named |= {
        "cfe": cfe,
        "nfe": nfe,
        "ofe": afe + 0.4 * u[4] * np.maximum(0.0, cfe - 0.5),
        "sfe": sfe,
        "rfe": rfe,
        "r1213": r1213,
        "vmic": np.maximum(0.7, 2.13 - 0.23 * logg) + 0.2 * (rng.random(n) - 0.5),
    }


def _cn_strong(n: int, rng: np.random.Generator) -> dict[str, Array]:
    """Giants of globular clusters' second generation: nitrogen-rich, carbon-poor."""
    feh = np.clip(-0.8 + 0.4 * rng.standard_normal(n), -1.9, 0.2)
    logg = rng.uniform(0.8, 3.0, n)
    return {
        "teff": _giant_branch(logg, feh) + 80 * rng.standard_normal(n),
        "logg": logg,
        "feh": feh,
        "cfe": -0.15 + 0.2 * rng.standard_normal(n),
        "nfe": 0.9 + 0.25 * rng.standard_normal(n),
        "r1213": np.full(n, 5.0),
    }


def _r_star(n: int, rng: np.random.Generator) -> dict[str, Array]:
    """Clump giants of the disc with C/O near and above 1 and no s-process."""
    feh = np.clip(-0.3 + 0.2 * rng.standard_normal(n), -0.9, 0.2)
    ofe = -0.3 * feh
    return {
        "teff": rng.uniform(4200, 5100, n),
        "logg": rng.uniform(1.6, 2.8, n),
        "feh": feh,
        "afe": ofe,
        "ofe": ofe,
        "cfe": _SOLAR_CO + ofe + rng.uniform(-0.1, 0.45, n),
        "nfe": 0.5 + 0.2 * rng.standard_normal(n),
        "r1213": np.full(n, 5.0),
    }


def _ba_star(n: int, rng: np.random.Generator) -> dict[str, Array]:
    """Giants and dwarfs with barium and some carbon from a companion, C/O below 1."""
    feh = np.clip(-0.3 + 0.25 * rng.standard_normal(n), -1.0, 0.2)
    return {
        "feh": feh,
        "cfe": rng.uniform(0.05, 0.45, n),
        "nfe": 0.3 + 0.2 * rng.standard_normal(n),
        "sfe": rng.uniform(0.4, 1.6, n),
    }


def _ch_star(n: int, rng: np.random.Generator) -> dict[str, Array]:
    """Metal-poor giants with s-process and carbon; the most metal-poor of them are CEMP by definition."""
    feh = np.clip(-1.0 + 0.4 * rng.standard_normal(n), -2.2, -0.3)
    logg = rng.uniform(0.6, 3.0, n)
    ofe = np.full(n, 0.35)
    return {
        "teff": _giant_branch(logg, feh) + 100 * rng.standard_normal(n),
        "logg": logg,
        "feh": feh,
        "afe": ofe,
        "ofe": ofe,
        "cfe": _SOLAR_CO + ofe + rng.uniform(-0.1, 0.8, n),
        "nfe": 0.6 + 0.3 * rng.standard_normal(n),
        "sfe": 1.4 + 0.4 * rng.standard_normal(n),
        "r1213": np.array([5.0, 20.0, 89.0])[rng.integers(0, 3, n)],
    }


def _carbon_dwarf(n: int, rng: np.random.Generator) -> dict[str, Array]:
    """Main-sequence stars with C/O > 1; most are metal-poor and then CEMP by definition."""
    feh = np.clip(-1.0 + 0.5 * rng.standard_normal(n), -2.5, 0.0)
    teff = rng.uniform(3950, 5400, n)
    ofe = np.full(n, 0.3)
    return {
        "teff": teff,
        "logg": _main_sequence(teff, feh) + 0.1,
        "feh": feh,
        "afe": ofe,
        "ofe": ofe,
        "cfe": _SOLAR_CO + ofe + rng.uniform(0.05, 0.8, n),
        "nfe": 0.4 + 0.3 * rng.standard_normal(n),
        "sfe": 1.0 + 0.6 * rng.standard_normal(n),
        "r1213": np.full(n, 89.0),
    }


def _starlight(teff: tuple[float, float], logg: tuple[float, float], feh: float) -> _Change:
    """The emulator's star nearest to a contaminant, carbon-normal."""

    def change(n: int, rng: np.random.Generator) -> dict[str, Array]:
        return {
            "teff": rng.uniform(*teff, n),
            "logg": rng.uniform(*logg, n),
            "feh": np.clip(feh + 0.25 * rng.standard_normal(n), -2.5, 0.4),
            "cfe": -0.05 + 0.1 * rng.standard_normal(n),
            "nfe": 0.1 + 0.1 * rng.standard_normal(n),
        }

    return change


_RARE: dict[str, _Change] = {
    "cn_strong": _cn_strong,
    "r_star": _r_star,
    "ba_star": _ba_star,
    "ch_star": _ch_star,
    "carbon_dwarf": _carbon_dwarf,
    "hot_star": _starlight((6700, 7000), (3.2, 4.6), -0.3),
    "m_dwarf": _starlight((3900, 4100), (4.6, 5.0), -0.2),
    "m_giant": _starlight((3900, 4050), (0.2, 1.4), -0.3),
    "galaxy": _starlight((4100, 6800), (1.5, 4.6), -0.2),
}
