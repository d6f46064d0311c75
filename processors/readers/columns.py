"""Names and units by which tables call wavelength, flux and noise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import get_args

import numpy as np

from cempstream.processors.grid import Array
from cempstream.processors.spectrum import Frame, Medium

WAVE_NAMES = ("wave", "wavelength", "loglam")
IVAR_NAMES = ("ivar",)
ERROR_NAMES = ("error", "err", "sigma", "flux_error", "flux_err", "uncertainty")
MASK_NAMES = ("mask",)
POWER_NAMES = ("resolving_power",)
ID_NAMES = ("spectrum_id", "ids", "id")

WANTED = "it needs wave, wavelength or loglam, flux, and ivar or error"

_AA_PER_UNIT = {
    "": 1.0,
    "a": 1.0,
    "aa": 1.0,
    "å": 1.0,
    "angstrom": 1.0,
    "angstroms": 1.0,
    "nm": 10.0,
    "nanometer": 10.0,
    "um": 1e4,
    "µm": 1e4,
    "micron": 1e4,
    "m": 1e10,
}


def split_unit(label: str) -> tuple[str, str]:
    """Split ``Wavelength [nm]`` into a name in lower case and a unit, '' where there is none."""
    # No regular expression: over thousands of blanks one that may skip them in three places takes minutes.
    text = label.strip()
    starts = [place for place in (text.find("["), text.find("(")) if place >= 0]
    if not starts:
        return text.lower(), ""
    name, unit = text[: min(starts)], text[min(starts) + 1 :]
    if not unit.endswith(("]", ")")) or any(bracket in unit[:-1] for bracket in "])"):
        return text.lower(), ""
    return name.strip().lower(), unit[:-1].strip()


def first_of(names: Iterable[str], present: Iterable[str]) -> str | None:
    """Return the first of some names that is there."""
    found = set(present)
    return next((name for name in names if name in found), None)


def wavelengths(values: Array, name: str, unit: str) -> Array:
    """Turn a column into Å.

    Raises
    ------
    ValueError
        Where the unit is not one of length.
    """
    if name == "loglam":
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(10.0 ** values.astype(np.float64))
    factor = _AA_PER_UNIT.get(unit.strip().lower())
    if factor is None:
        raise ValueError(f"wavelengths are in '{unit}'")
    return values if factor == 1.0 else values * factor


def ivar_of_error(error: Array) -> Array:
    """Turn errors into inverse variances; an error that is no positive number marks a bad pixel."""
    good = np.isfinite(error) & (error > 0)
    with np.errstate(divide="ignore", over="ignore"):
        return np.where(good, np.where(good, error, 1.0) ** -2.0, 0.0)


def ascending(wave: Array, *others: Array | None) -> tuple[Array, list[Array | None]]:
    """Cut pixels without a wavelength off both ends and turn a spectrum that runs redwards round."""
    with np.errstate(invalid="ignore"):
        known = np.flatnonzero(np.isfinite(wave) & (wave > 0))
    whole = slice(int(known[0]), int(known[-1]) + 1) if known.size else slice(0, 0)
    step = -1 if known.size > 1 and wave[known[0]] > wave[known[-1]] else 1
    same = [
        other[whole][::step] if other is not None and other.shape == wave.shape else other for other in others
    ]
    return wave[whole][::step], same


def medium_of(said: Mapping[str, object]) -> Medium | None:
    """Return the medium that a table's cards or scalars state.

    Raises
    ------
    ValueError
        Where the word is not one of the two.
    """
    vacuum = said.get("vacuum")
    if isinstance(vacuum, bool):
        return "vacuum" if vacuum else "air"
    word = str(said.get("medium", said.get("airorvac", ""))).strip().lower()
    word = {"vac": "vacuum", "helium": ""}.get(word, word)
    if word and word not in get_args(Medium):
        raise ValueError(f"medium is '{word}'; it must be air or vacuum")
    return "air" if word == "air" else "vacuum" if word == "vacuum" else None


def frame_of(said: Mapping[str, object]) -> Frame | None:
    """Return the frame that a table's cards or scalars state, as ``medium_of`` does the medium."""
    word = str(said.get("frame", "")).strip().lower()
    if word and word not in get_args(Frame):
        raise ValueError(f"frame is '{word}'; it must be observed or rest")
    return "observed" if word == "observed" else "rest" if word == "rest" else None
