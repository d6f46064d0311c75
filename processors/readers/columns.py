"""Convert wavelengths of any unit to Å, and noise of any kind to inverse variance."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from cempstream.processors.grid import WAVE_LIMITS_AA, Array
from cempstream.processors.readers.vocabulary import MaskSense, NoiseKind

WANTED = "it needs wave, wavelength or loglam, flux, and ivar or error"

_AA_PER_UNIT = {
    **dict.fromkeys(
        ("", "a", "aa", "å", "ang", "angs", "angstrom", "angstroms", "ångström", "angstroem"), 1.0
    ),
    **dict.fromkeys(
        ("0.1nm", "0.1 nm", "1e-10m", "1e-10 m", "10-10m", "10**-10m", "10^-10m", "10^-10 m"), 1.0
    ),
    **dict.fromkeys(("unknown", "none", "-", "n/a"), 1.0),
    **dict.fromkeys(("nm", "nanometer", "nanometers", "nanometre", "nanometres"), 10.0),
    **dict.fromkeys(("um", "μm", "mum", "micron", "microns", "micrometer", "micrometers", "micrometre"), 1e4),
    **dict.fromkeys(("m", "meter", "metre"), 1e10),
}
_NOT_LINEAR = re.compile(r"(ab|st|vega|m)?[\s_-]?mags?(nitudes?)?\b|(log(10)?|ln|dex|db)\b", re.ASCII)
_LOG_UNIT = re.compile(r"(log10|log|dex|ln)\s*[\s(\[]?\s*(.*)")
#: Ranges of optical wavelengths whose unit is not stated, as (unit, least, most).
_LOOKS = (
    ("AA", 2500.0, 26000.0),
    ("nm", 250.0, 2500.0),
    ("um", 0.25, 2.5),
    ("log10(AA)", 3.4, 4.45),
    ("ln(AA)", 7.8, 10.2),
    ("m", 2.5e-7, 2.5e-6),
)
_SAMPLE = 20_000
#: From the picometre to the metre.
_LEAST_UNIT_AA, _LARGEST_UNIT_AA = 0.009, 1.1e10


class BadTable(ValueError):
    """Columns or statements of a table cannot be read; the remedy says what would be right."""

    def __init__(self, why: str, remedy: str = WANTED) -> None:
        super().__init__(why)
        self.remedy = remedy


def refuse_repeated(names: Iterable[str], read: Iterable[str]) -> None:
    """Refuse a table in which a column that would be read has another of its name beside it.

    Raises
    ------
    BadTable
        It names the column.
    """
    counts = Counter(names)
    for name in read:
        if counts[name] > 1:
            raise BadTable(f"has {counts[name]} columns named '{name}'", "give each a different name")


@dataclass(frozen=True, slots=True)
class WaveUnit:
    """A unit of wavelength: numbers, or powers of ``base`` where they are logarithms, times Å."""

    factor: float
    base: float | None = None

    def to_aa(self, values: Array) -> Array:
        """Convert numbers in this unit to Å; those that are not wavelengths become NaN."""
        if self.base is not None:
            with np.errstate(over="ignore", invalid="ignore"):
                numbers = values.astype(np.float64)
                powers = self.factor * self.base**numbers
                # Files fill gaps with zeros, which as logarithms would give 1.
                return np.asarray(np.where(np.isfinite(powers) & (numbers != 0), powers, np.nan))
        return values if self.factor == 1.0 else values * self.factor


def wave_unit_of(text: str, log: str = "") -> WaveUnit | None:
    """Return the unit that a word states; None where it is not a unit of length.

    Parameters
    ----------
    text
        ``nm``, ``Angstrom``, ``0.1nm``, ``log10(AA)`` …; '' is Å.
    log
        ``log10`` or ``ln`` where the column's name says that it holds logarithms.
    """
    # Å and µ have two characters each.
    word = unicodedata.normalize("NFKC", text).strip().lower()
    match = _LOG_UNIT.fullmatch(word)
    if match is not None:
        log, word = match[1], match[2].strip(" )]")
        word = "" if word in ("lambda", "wave", "wavelength", "λ") else word
    factor = _AA_PER_UNIT.get(word)
    if factor is None:
        factor = _aa_per_astropy_unit(text if match is None else match[2].strip(" )]"))
    if factor is None:
        return None
    return WaveUnit(factor, None if not log else float(np.e) if log == "ln" else 10.0)


def _aa_per_astropy_unit(text: str) -> float | None:
    if not text or len(text) > 40:
        return None
    from astropy import units

    try:
        factor = float(units.Unit(text).to(units.AA))
    except (ValueError, TypeError, units.UnitsError):
        return None
    # A parsec is a length, but not a unit of wavelength.
    return factor if _LEAST_UNIT_AA <= factor <= _LARGEST_UNIT_AA else None


def is_per_frequency(unit: str | None) -> bool:
    """Say whether a unit of flux is per frequency (Jy, erg/s/cm2/Hz), not per wavelength."""
    word = (unit or "").lower()
    return "hz" in word or re.search(r"(^|[^a-z])(k|m|u|n|μ|µ|micro|milli|nano)?j(y|ansky)", word) is not None


def check_linear(unit: str | None) -> None:
    """Refuse a flux in magnitudes or logarithms.

    Raises
    ------
    BadTable
        The unit is not linear.
    """
    if _NOT_LINEAR.match((unit or "").strip().lower()):
        raise BadTable(f"the flux is in '{unit}'", "give a linear flux, such as erg/s/cm2/Angstrom")


def split_unit(label: str) -> tuple[str, str]:
    """Split ``Wavelength [nm]`` into a name in lower case and a unit, '' where there is none."""
    # No regular expression: with optional blanks in three places it takes minutes on thousands of blanks.
    text = label.strip()
    starts = [place for place in (text.find("["), text.find("(")) if place >= 0]
    if not starts:
        return text.lower(), ""
    name, unit = text[: min(starts)], text[min(starts) + 1 :]
    closed = unit.endswith(("]", ")"))
    inside = unit[:-1]
    if not closed or inside.count("(") != inside.count(")") or inside.count("[") != inside.count("]"):
        return text.lower(), ""
    return name.strip().lower(), inside.strip()


def first_of(names: Iterable[str], present: Iterable[str]) -> str | None:
    """Return the first of these names that is present."""
    found = set(present)
    return next((name for name in names if name in found), None)


def wavelengths(
    values: Array, name: str, unit: str | None, *, log: str = "", chosen: str | None = None
) -> Array:
    """Convert a column of wavelengths to Å.

    Parameters
    ----------
    name
        Name of the column; ``loglam`` holds logarithms whatever its unit.
    unit
        As the file states it; None or '' where it states none.
    log
        ``log10`` or ``ln`` where the name says that.
    chosen
        The unit that the caller states, which overrides all others.

    Raises
    ------
    BadTable
        The unit is not one of length, or the numbers look like another unit.
    """
    if name.lower() == "loglam":
        log = log or "log10"
    stated = wave_unit_of(chosen) if chosen is not None else wave_unit_of(unit or "", log)
    if stated is None:
        raise BadTable(
            f"wavelengths are in '{chosen or unit}'", "the unit must be a length; --wave-unit nm says another"
        )
    wave = stated.to_aa(values)
    likely = _other_unit(values, wave)
    if likely is not None:
        low, high = _range(values, share=0.0)
        said = chosen or unit or (log and f"{log} of Å")
        stated_as = f"in {said}" if said else "without a unit"
        raise BadTable(
            f"wavelengths run from {low:.6g} to {high:.6g} {stated_as}: these look like {likely}",
            f"say --wave-unit '{likely}', or write the unit into the file: wavelength [{likely}]",
        )
    return wave


def _range(values: Array, share: float = 2.0) -> tuple[float, float]:
    """Return the range of the positive numbers without a few per cent at each end."""
    sample = values.ravel()[:: max(1, values.size // _SAMPLE)]
    sample = sample[np.isfinite(sample) & (sample > 0)]
    if not sample.size:
        return float("nan"), float("nan")
    low, high = np.percentile(sample, [share, 100.0 - share])
    return float(low), float(high)


def _other_unit(values: Array, wave: Array) -> str | None:
    """Return the unit that numbers seem to have, where they cannot be wavelengths as they are."""
    low_aa, high_aa = _range(wave)
    if WAVE_LIMITS_AA[0] <= low_aa <= high_aa <= WAVE_LIMITS_AA[1]:
        return None
    low, high = _range(values)
    return next((unit for unit, least, most in _LOOKS if least <= low <= high <= most), None)


def ivar_of(kind: NoiseKind, values: Array, flux: Array) -> Array:
    """Convert a noise of any kind to inverse variances; anything but a positive number marks a bad pixel."""
    if kind == "ivar":
        return values
    if kind == "error":
        return ivar_of_error(values)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if kind == "variance":
            return np.where(np.isfinite(values) & (values > 0), 1.0 / values, 0.0)
        return np.where(np.isfinite(values) & (values > 0) & (flux != 0), (values / flux) ** 2, 0.0)


def ivar_of_error(error: Array) -> Array:
    """Convert errors to inverse variances; an error that is not a positive number marks a bad pixel."""
    good = np.isfinite(error) & (error > 0)
    with np.errstate(divide="ignore", over="ignore"):
        return np.where(good, np.where(good, error, 1.0) ** -2.0, 0.0)


def bad_of(sense: MaskSense, values: Array) -> Array:
    """Return which pixels a mask marks as bad; a pixel without a value is bad."""
    if values.dtype.kind == "b":
        return values if sense == "bad" else ~values
    is_set = values != 0
    return np.asarray((is_set if sense == "bad" else ~is_set) | np.isnan(values))


def ascending(wave: Array, *others: Array | None) -> tuple[Array, list[Array | None]]:
    """Remove pixels without a wavelength at both ends; reverse a spectrum with decreasing wavelengths."""
    with np.errstate(invalid="ignore"):
        known = np.flatnonzero(np.isfinite(wave) & (wave > 0))
    whole = slice(int(known[0]), int(known[-1]) + 1) if known.size else slice(0, 0)
    step = -1 if known.size > 1 and wave[known[0]] > wave[known[-1]] else 1
    same = [
        other[whole][::step] if other is not None and other.shape == wave.shape else other for other in others
    ]
    return wave[whole][::step], same
