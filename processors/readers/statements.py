"""Interpret the headers of all formats: medium, frame, resolving power, time, position and source names.

Cards of a FITS file, comments of a text, parameters of a table and scalars of an archive all come as one
mapping from names in lower case to values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TypeAlias

from cempstream.processors.readers.columns import BadTable
from cempstream.processors.readers.fits_file import parse_utc, utc_of_mjd
from cempstream.processors.readers.star_facts import star_fact_keys
from cempstream.processors.readers.vocabulary import truth_of
from cempstream.processors.spectrum import Frame, Medium

Said: TypeAlias = Mapping[str, object]

_MEDIUM_KEYS = ("medium", "airorvac", "vacair", "airvac", "wavemed", "wavelength_medium")
#: Remarks such as ``wavelengths: air``; any other value of theirs is something else.
_WAVE_KEYS = ("wavelengths", "wavelength", "wavelength_scale", "wave_scale")
_MEDIA: Mapping[str, Medium] = {
    "air": "air", "vacuum": "vacuum", "vac": "vacuum", "em.wl;obs.atmos": "air", "awav": "air",
}  # fmt: skip

_FRAME_KEYS = ("frame", "wave_frame", "wavelength_frame", "specsys", "ssysobs", "vorf", "spectral_frame")
_FRAMES: Mapping[str, Frame] = {
    **dict.fromkeys(
        (
            "observed", "obs", "observer", "topocent", "topocentric", "geocentr", "geocentric", "barycent",
            "barycentric", "barycentre", "barycenter", "heliocen", "heliocentric", "helio", "bary", "topo",
            "lsrk", "lsrd", "lsr", "galactoc", "localgrp", "cmbdipol",
        ),
        "observed",
    ),
    **dict.fromkeys(("rest", "restframe", "stellar", "stellarrest", "source"), "rest"),
}  # fmt: skip

#: λ/Δλ by name; the second group only counts above a value that no width in Å reaches.
_POWER_KEYS = (
    "resolving_power", "resolvingpower", "respower", "res_pow", "respow", "spec_res", "specres", "spec_rp",
    "specrp", "spectral_resolving_power", "spectralresolution",
)  # fmt: skip
_PERHAPS_POWER_KEYS = ("resolution", "spectral_resolution", "resolutn", "resol", "r")
_LEAST_PERHAPS_POWER = 50.0
#: Before the number in ``R = 2000`` and ``~2000``.
_APPROXIMATE = re.compile(r"^\s*R?\s*[=~≈]*\s*", re.IGNORECASE)

_TIME_KEYS = ("observed_at", "date-obs", "date_obs", "dateobs", "obsdate", "obs_date", "date-beg", "date-avg")
_CLOCK_KEYS = ("time-obs", "time_obs", "ut", "utc", "utc-obs", "ut-obs", "utstart")
_MJD_KEYS = ("mjd-obs", "mjd_obs", "mjdobs", "mjd", "mjd-avg", "mjd-beg", "tmid", "mjd_mid")
_JD_KEYS = ("jd", "jd-obs", "bjd", "hjd")
_JD_OF_MJD = 2_400_000.5
_CLOCK = re.compile(r"(\d\d):(\d\d)(?::(\d\d(?:\.\d+)?))?", re.ASCII)

_PLACE_KEYS = (
    ("ra", "dec"), ("ra_deg", "dec_deg"), ("radeg", "decdeg"), ("raj2000", "dej2000"),
    ("raj2000", "decj2000"), ("ra_icrs", "de_icrs"), ("ra_targ", "dec_targ"),
    ("targ_ra", "targ_dec"), ("target_ra", "target_dec"),
    ("ra_obj", "dec_obj"), ("obj_ra", "obj_dec"), ("objra", "objdec"), ("objctra", "objctdec"),
    ("plug_ra", "plug_dec"), ("ra_obs", "dec_obs"),
)  # fmt: skip
#: Positions of equinox 1950 differ by half a degree from those of 2000.
_EARLIEST_EQUINOX = 1990.0
_ANGLE_MARKS = re.compile(r"[:\s]+|[hmsd°′″'\"]\s*")

#: Keys whose values are names even if they are numbers; a numeric ``target`` is something else.
_NUMBERED_KEYS = (
    "object_id", "object_ids", "objectid", "obj_id", "objid", "targetid", "target_id", "source_id",
    "gaia_source_id", "gaia_id",
)  # fmt: skip
_WAVE_UNIT_KEYS = ("wave_unit", "wave_units", "waveunit", "wavelength_unit", "wavelength_units", "xunit")
_FLUX_UNIT_KEYS = ("bunit", "flux_unit", "flux_units", "fluxunit")
OBJECT_KEYS = (
    "object_id", "object_ids", "objectid", "obj_id", "objid", "object", "objname", "obj_name", "target",
    "targname", "targetid", "target_id", "source_id", "gaia_source_id", "gaia_id", "star", "starname",
    "desig", "designation",
)  # fmt: skip
_GAIA_KEYS = ("gaia_source_id", "source_id", "gaia_id", "gaiaid", "gaia_dr3_source_id")
_NO_OBJECT = {"", "none", "null", "nan", "unknown", "n/a", "-", "--"}
_INT64 = 1 << 63


def medium_of(said: Said) -> Medium | None:
    """Return the medium that a header states.

    Raises
    ------
    BadTable
        A medium is stated and is neither of the two.
    """
    vacuum = said.get("vacuum")
    if vacuum is not None:
        truth = truth_of(vacuum)
        if truth is not None:
            return "vacuum" if truth else "air"
    for key in ("vacuum", *_MEDIUM_KEYS):
        word = str(said.get(key, "")).strip().lower().removeprefix("in ")
        if word:
            if word not in _MEDIA:
                raise BadTable(f"{key} is '{word[:40]}'", "it must be air or vacuum; --medium says another")
            return _MEDIA[word]
    words = (str(said.get(key, "")).strip().lower().removeprefix("in ") for key in _WAVE_KEYS)
    return next((_MEDIA[word] for word in words if word in _MEDIA), None)


def frame_of(said: Said) -> Frame | None:
    """Return the frame of the wavelengths that a header states.

    Every observer's frame is "observed"; celestial systems (ICRS, FK5) and unknown words say nothing about
    wavelengths.
    """
    for key in _FRAME_KEYS:
        word = re.sub(r"[\s_.-]", "", str(said.get(key, "")).lower()).removesuffix("frame")
        if word in _FRAMES:
            return _FRAMES[word]
    return None


def power_of(said: Said) -> float | None:
    """Return λ/FWHM as a header states it."""
    for keys, least in ((_POWER_KEYS, 1.0), (_PERHAPS_POWER_KEYS, _LEAST_PERHAPS_POWER)):
        for key in keys:
            stated = said.get(key)
            power = _number(_APPROXIMATE.sub("", stated) if isinstance(stated, str) else stated)
            if power is not None and least < power < 1e6:
                return power
    return None


def observed_at_of(said: Said) -> datetime | None:
    """Return the UTC time of the observation: from a date with its time, else a Julian date, else a date."""
    days: list[datetime] = []
    for key in _TIME_KEYS:
        text = str(said.get(key, "")).strip()
        time = parse_utc(text)
        if time is None:
            continue
        if len(text) > len("2026-11-20"):
            return time
        days.append(time)
    clock = next(
        (found for key in _CLOCK_KEYS if (found := _CLOCK.fullmatch(str(said.get(key, "")).strip()))), None
    )
    if days and clock:
        hours, minutes, seconds = (float(part or 0) for part in clock.groups())
        return days[0] + timedelta(hours=hours, minutes=minutes, seconds=seconds)
    for keys, offset in ((_MJD_KEYS, 0.0), (_JD_KEYS, _JD_OF_MJD)):
        for key in keys:
            day = _number(said.get(key))
            time = utc_of_mjd(day - offset) if day is not None else None
            if time is not None:
                return time
    return days[0] if days else None


def position_of(said: Said) -> tuple[float, float] | None:
    """Return right ascension and declination in degrees, both or neither.

    Numbers are degrees; ``12:34:56.7``, ``12 34 56.7`` and ``12h34m56.7s`` are hours. Positions of an
    equinox other than 2000 are ignored.
    """
    equinox = _number(str(said.get("equinox", "")).strip().upper().lstrip("JB"))
    system = str(said.get("radesys", said.get("radecsys", ""))).strip().upper()
    if system.startswith("FK4") or (equinox is not None and equinox < _EARLIEST_EQUINOX):
        return None
    for ra_key, dec_key in _PLACE_KEYS:
        position = coordinates_of(said.get(ra_key), said.get(dec_key))
        if position is not None:
            return position
    return None


def coordinates_of(ra: object, dec: object) -> tuple[float, float] | None:
    """Return a pair of coordinates in degrees; None if either is absent or out of range."""
    ra_deg, dec_deg = _angle(ra, hours=True), _angle(dec, hours=False)
    if ra_deg is None or dec_deg is None or not (-360.0 <= ra_deg <= 360.0 and -90.0 <= dec_deg <= 90.0):
        return None
    return ra_deg % 360.0, dec_deg


def object_of(said: Said) -> str | None:
    """Return the name of the source; a long number keeps all its digits."""
    for key in OBJECT_KEYS:
        value = said.get(key)
        name = text_of(value) if isinstance(value, str | bytes) or key in _NUMBERED_KEYS else ""
        if name.lower() not in _NO_OBJECT:
            return name
    return None


def wave_unit_stated(said: Said) -> str | None:
    """Return the unit of wavelength as a header states it, not yet parsed."""
    return next((str(said[key]).strip() for key in _WAVE_UNIT_KEYS if said.get(key)), None)


def flux_unit_stated(said: Said) -> str | None:
    """Return the unit of the flux as a header states it."""
    return next((str(said[key]).strip() for key in _FLUX_UNIT_KEYS if said.get(key)), None)


def gaia_source_of(said: Said) -> int | None:
    """Return Gaia's source_id."""
    for key in _GAIA_KEYS:
        text = text_of(said.get(key)).lower().removeprefix("gaia dr3").strip()
        if text.isascii() and text.isdigit() and 0 < int(text) < _INT64:
            return int(text)
    return None


def of_all_sources(said: Said) -> Said:
    """Return the statements that hold for all sources of a file: no position or name of a source."""
    of_one = {*(key for pair in _PLACE_KEYS for key in pair), *OBJECT_KEYS, *_GAIA_KEYS, *star_fact_keys()}
    return {key: value for key, value in said.items() if key not in of_one}


def text_of(value: object) -> str:
    """Return an identifier as text; a whole number stored as a float is written without a decimal point."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode(errors="replace").strip()
    if isinstance(value, float) and value.is_integer() and abs(value) < 2.0**53:
        return str(int(value))
    return str(value).strip()


def known_keys() -> Iterable[str]:
    """Return the names of all statements that are understood."""
    places = (key for pair in _PLACE_KEYS for key in pair)
    return dict.fromkeys(
        (
            "vacuum", *_MEDIUM_KEYS, *_FRAME_KEYS, *_POWER_KEYS, *_PERHAPS_POWER_KEYS, *_TIME_KEYS,
            *_CLOCK_KEYS, *_MJD_KEYS, *_JD_KEYS, *places, "equinox", "radesys", "radecsys", *OBJECT_KEYS,
            *_GAIA_KEYS, *_WAVE_UNIT_KEYS, *_FLUX_UNIT_KEYS, "survey", "date", "dmodcls",
            "telescop", "instrume", *star_fact_keys(),
        )
    )  # fmt: skip


def _number(value: object) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def _angle(value: object, *, hours: bool) -> float | None:
    """Return an angle in degrees from a number in degrees or from sexagesimal text."""
    number = _number(value)
    if number is not None or not isinstance(value, str):
        return number
    text = value.strip().replace("−", "-")
    parts = [_number(part) for part in _ANGLE_MARKS.split(text.lstrip("+-")) if part]
    if not 2 <= len(parts) <= 3 or len(text) > 40:
        return None
    total = 0.0
    for part, scale in zip(parts, (1.0, 60.0, 3600.0), strict=False):
        if part is None or part < 0 or (scale > 1.0 and part > 60.0):
            return None
        total += part / scale
    if hours and parts[0] is not None and parts[0] <= 24 and "d" not in text.lower() and "°" not in text:
        total *= 15.0
    return -total if text.startswith("-") else total
