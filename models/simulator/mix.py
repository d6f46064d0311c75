"""The mix of sources as configuration: populations, carbon, rare kinds and contaminants.

A mix is a TOML file like a survey's profile; ``mixes/galaxy.toml`` is the natural mix and cites its sources.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from cempstream.models.simulator.profile import Fraction, FrozenTable, NotNegative, Positive
from cempstream.processors.grid import Array

MIXES = Path(__file__).parent / "mixes"

#: Stars of unusual kinds, in addition to the populations.
RARE_KINDS = ("cn_strong", "r_star", "ba_star", "ch_star", "carbon_dwarf")
CONTAMINANTS = (
    "hot_star",
    "m_dwarf",
    "m_giant",
    "white_dwarf",
    "galaxy",
    "quasar",
    "sky",
    "broken_fibre",
)


class FractionTable(FrozenTable):
    """A fraction as a function of [Fe/H], linear between nodes and constant beyond."""

    feh: tuple[float, ...]
    value: tuple[float, ...]

    @model_validator(mode="after")
    def _check(self) -> FractionTable:
        if len(self.feh) != len(self.value) or list(self.feh) != sorted(self.feh):
            raise ValueError("'feh' must increase and have as many values as 'value'")
        return self

    def at(self, feh: Array) -> Array:
        """Return the fraction at these [Fe/H]."""
        return np.asarray(np.interp(feh, self.feh, self.value))


class Population(FrozenTable):
    """A part of the Galaxy.

    Attributes
    ----------
    share
        Relative number among observed stars.
    feh_mean, feh_sigma, feh_tail
        [Fe/H]: a Gaussian, with an exponential tail of this scale (dex) to its metal-poor side.
    alpha
        [α/Fe] at the low and at the high end of [Fe/H], see ``Population.alpha_at``.
    dwarfs, turn_off, giants, horizontal
        Relative numbers of the kinds of stars; magnitude-limited, so giants are overrepresented.
    turn_off_teff
        Teff of the turn-off at [Fe/H] = 0 and its change per dex.
    rv_kms
        Mean and 1σ of the heliocentric velocity.
    ebv
        Mean of the exponential distribution of the reddening.
    """

    share: NotNegative
    feh_mean: float
    feh_sigma: Positive
    feh_tail: NotNegative = 0.0
    alpha: tuple[float, float]
    dwarfs: NotNegative
    turn_off: NotNegative
    giants: NotNegative
    horizontal: NotNegative = 0.0
    turn_off_teff: tuple[float, float]
    rv_kms: tuple[float, float]
    ebv: NotNegative


class Carbon(FrozenTable):
    """CEMP stars: how many, and of which group (Yoon et al. 2016).

    Attributes
    ----------
    fraction
        Share of stars with [C/Fe] ≥ +0.7 at birth, by [Fe/H].
    turn_off_factor
        That share for dwarfs and turn-off stars over that of giants; hot stars hide CH.
    no_fraction
        Share of CEMP-no among them, by [Fe/H].
    r_fraction
        Share of CEMP-r among those that are not CEMP-no.
    high_no_fraction
        Share of CEMP-no stars below [Fe/H] = -3.1 with high A(C) (group IV).
    high_ac, low_ac
        Mean and 1σ of A(C) of the two groups.
    """

    fraction: FractionTable
    turn_off_factor: Fraction
    no_fraction: FractionTable
    r_fraction: Fraction
    high_no_fraction: Fraction
    high_ac: tuple[float, float]
    low_ac: tuple[float, float]


class Mix(FrozenTable):
    """The mix of sources in the sky, before observation.

    Attributes
    ----------
    rare
        Share of each of ``RARE_KINDS`` among all sources.
    contaminants
        Share of each of ``CONTAMINANTS`` among all sources.
    """

    name: str
    source: str
    population: dict[str, Population] = Field(min_length=1)
    carbon: Carbon
    rare: dict[str, Annotated[float, Field(ge=0.0, le=1.0)]]
    contaminants: dict[str, Annotated[float, Field(ge=0.0, le=1.0)]]

    @model_validator(mode="after")
    def _check(self) -> Mix:
        _check_names("rare", self.rare, RARE_KINDS)
        _check_names("contaminants", self.contaminants, CONTAMINANTS)
        total = sum(self.rare.values()) + sum(self.contaminants.values())
        if total >= 1.0:
            raise ValueError(f"rare kinds and contaminants add up to {total:.3g}; less than 1 is needed")
        return self


def _check_names(group: str, given: Mapping[str, float], known: tuple[str, ...]) -> None:
    unknown = set(given) - set(known)
    if unknown:
        raise ValueError(f"'{group}' has no {', '.join(sorted(unknown))}; it has {', '.join(known)}")


def load_mix(name: str | Path) -> Mix:
    """Read a mix by its name (``galaxy``, ``halo``) or its path.

    Raises
    ------
    FileNotFoundError
        No such mix; the message lists those that there are.
    pydantic.ValidationError
        A key is misspelt or a value impossible.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = MIXES / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in MIXES.glob("*.toml")))
        raise FileNotFoundError(f"no mix '{name}'; there are {known}, or give the path of a TOML file")
    return Mix.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
