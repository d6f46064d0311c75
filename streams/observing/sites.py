"""Observatories by name, or any place by its coordinates; nothing is fetched."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches

from cempstream.errors import FixableError
from cempstream.plain import shown

#: Name: latitude and longitude in degrees (east is positive), metres above the sea. Rounded from the
#: observatories' own pages; a hundredth of a degree moves an airmass of 2 by less than 0.001.
_TABLE = {
    "Apache Point": (32.7803, -105.8203, 2788),
    "Calar Alto": (37.2236, -2.5461, 2168),
    "Cerro Pachon": (-30.2407, -70.7367, 2715),
    "Cerro Tololo": (-30.1690, -70.8063, 2207),
    "Devasthal": (29.3606, 79.6844, 2450),
    "Dome C": (-75.1000, 123.3333, 3233),
    "Haleakala": (20.7067, -156.2561, 3055),
    "Hanle": (32.7794, 78.9642, 4500),
    "Haute-Provence": (43.9308, 5.7133, 650),
    "Kitt Peak": (31.9583, -111.5967, 2096),
    "La Palma": (28.7606, -17.8816, 2326),
    "La Silla": (-29.2567, -70.7300, 2400),
    "Las Campanas": (-29.0146, -70.6926, 2380),
    "Lick": (37.3414, -121.6429, 1283),
    "Lijiang": (26.6951, 100.0299, 3193),
    "Mauna Kea": (19.8261, -155.4747, 4205),
    "McDonald": (30.6715, -104.0215, 2070),
    "Mount Graham": (32.7013, -109.8891, 3221),
    "Mount Hopkins": (31.6883, -110.8850, 2608),
    "Okayama": (34.5770, 133.5940, 355),
    "Palomar": (33.3563, -116.8650, 1712),
    "Paranal": (-24.6272, -70.4042, 2635),
    "Pic du Midi": (42.9364, 0.1428, 2877),
    "Siding Spring": (-31.2754, 149.0669, 1149),
    "Sutherland": (-32.3793, 20.8107, 1798),
    "Teide": (28.3005, -16.5098, 2390),
    "Xinglong": (40.3958, 117.5775, 900),
}

#: Other names of the same places.
_ALIASES = {
    "APO": "Apache Point", "CTIO": "Cerro Tololo", "Gemini North": "Mauna Kea",
    "Gemini South": "Cerro Pachon", "GTC": "La Palma", "INT": "La Palma", "Keck": "Mauna Kea",
    "LBT": "Mount Graham", "Magellan": "Las Campanas", "Maunakea": "Mauna Kea", "MMT": "Mount Hopkins",
    "NOT": "La Palma", "ORM": "La Palma", "SAAO": "Sutherland", "Seimei": "Okayama",
    "SOAR": "Cerro Pachon", "Subaru": "Mauna Kea", "TNG": "La Palma", "VLT": "Paranal",
    "WHT": "La Palma",
}  # fmt: skip

_COORDINATES = re.compile(r"\s*([^,]+),([^,]+)(?:,([^,]+))?\s*")


class SiteError(FixableError, ValueError):
    """The text is no site; the message says which is meant, or how one is written."""


@dataclass(frozen=True, slots=True)
class Site:
    """A place to observe from: degrees (east is positive) and metres above the sea."""

    name: str
    lat_deg: float
    lon_deg: float
    height_m: float


def site_names() -> tuple[str, ...]:
    """Return the names of the sites that are known."""
    return tuple(_TABLE)


def parse_site(text: str) -> Site:
    """Read a site: a name, in any case, or ``latitude,longitude[,metres]`` in degrees.

    Raises
    ------
    SiteError
        No such name, or no such place on Earth.
    """
    if (match := _COORDINATES.fullmatch(text)) is not None:
        return _place(text, match)
    names = {_folded(name): name for name in (*_TABLE, *_ALIASES)}
    found = names.get(_folded(text))
    if found is None:
        near = get_close_matches(_folded(text), names, n=1, cutoff=0.5)
        meant = f"did you mean {names[near[0]]}?" if near else f"there are {', '.join(_TABLE)}."
        raise SiteError(
            f"{shown(text, longest=60)!r} is not a site that is known; {meant} "
            "Any other is written latitude,longitude,metres"
        )
    name = _ALIASES.get(found, found)
    return Site(name, *_TABLE[name])


def _folded(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


def _place(text: str, match: re.Match[str]) -> Site:
    try:
        lat_deg, lon_deg, height_m = (float(part) if part else 0.0 for part in match.groups())
    except ValueError:
        raise SiteError(
            f"{shown(text, longest=60)!r}: a place is written latitude,longitude,metres: 28.76,-17.88,2326"
        ) from None
    for what, value, low, high in (
        ("latitude", lat_deg, -90.0, 90.0),
        ("longitude", lon_deg, -180.0, 360.0),
        ("height", height_m, -500.0, 9000.0),
    ):
        if not low <= value <= high:
            raise SiteError(f"{what} {value:g} is not between {low:g} and {high:g}")
    return Site(f"{lat_deg:g},{lon_deg:g}", lat_deg, (lon_deg + 180.0) % 360.0 - 180.0, height_m)
