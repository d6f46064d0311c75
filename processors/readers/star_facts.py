"""Magnitudes, parallax and reddening of a star as headers and tables of spectra state them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from cempstream.processors.spectrum import STAR_FACTS

#: Names, in lower case, of Gaia's and 2MASS's magnitudes; ``g``, ``j`` and ``h`` alone may be anything.
MAGNITUDE_KEYS: Mapping[str, tuple[str, ...]] = {
    "G": ("gaia_g", "phot_g_mean_mag"),
    "BP": ("gaia_bp", "phot_bp_mean_mag"),
    "RP": ("gaia_rp", "phot_rp_mean_mag"),
    "J": ("j_2mass", "j_m"),
    "H": ("h_2mass", "h_m"),
    "Ks": ("ks_2mass", "ks_m", "k_m"),
}
_OTHER_NAMES = {"parallax_mas": "parallax", "parallax_error_mas": "parallax_error"}
FACT_KEYS: Mapping[str, tuple[str, ...]] = {
    name: (name, _OTHER_NAMES[name]) if name in _OTHER_NAMES else (name,) for name in STAR_FACTS
}
_NAN = float("nan")
#: No star is brighter or fainter, mag; catalogues fill with 0, 99 or -999.
_MAG_RANGE = (-2.0, 30.0)


def star_fact_keys() -> tuple[str, ...]:
    """Return the names of all statements that are read here, in lower case."""
    magnitudes = [key for keys in MAGNITUDE_KEYS.values() for key in keys]
    facts = [key for keys in FACT_KEYS.values() for key in keys]
    return (*magnitudes, *(f"{key}_error" for key in magnitudes), *facts)


def photometry_of(said: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Return the magnitudes that are stated, with their errors; NaN for an unknown error."""
    found: dict[str, tuple[float, float]] = {}
    for band, keys in MAGNITUDE_KEYS.items():
        for key in keys:
            mag = _number(said.get(key))
            if mag is not None and _MAG_RANGE[0] < mag < _MAG_RANGE[1] and mag != 0.0:
                error = _number(said.get(f"{key}_error"))
                found[band] = (mag, _NAN if error is None or error < 0 else error)
                break
    return found


def star_facts_of(said: Mapping[str, Any]) -> dict[str, float]:
    """Return what is stated of parallax, reddening and photometric parameters, by ``Spectrum``'s names."""
    numbers = {
        name: next((value for key in keys if (value := _number(said.get(key))) is not None), None)
        for name, keys in FACT_KEYS.items()
    }
    return {name: value for name, value in numbers.items() if value is not None}


def _number(value: object) -> float | None:
    """Return a finite number; None for anything else and for a catalogue's fill value."""
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if math.isfinite(number) and number > -900.0 else None
