"""What the page shows of one candidate; every text is made here, safe and of bounded length."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from cempstream.plain import shown
from cempstream.processors.outcome import SUBCLASSES
from cempstream.processors.spectrum import Flag
from cempstream.schemas.alert import Alert
from cempstream.streams.page.sky import place_on_map
from cempstream.streams.wording import (
    FLAG_MEANING,
    MISSING,
    PARAMETER_TEXT,
    estimate_text,
    flag_text,
    match_text,
    probability_text,
    sexagesimal,
    signed,
    sky_links,
    subclass_text,
)

_T = TypeVar("_T")

_LONGEST_NAME = 60
_LONGEST_TEXT = 120
_LONGEST_CELL = 14
_LONGEST_NUMBER = 7
#: What the surveys send is far less; a packet may hold anything.
_MOST_LISTED = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One candidate as the page shows it.

    Attributes
    ----------
    number
        Names the star on this page.
    picture
        Address of its picture, relative to the page; another one after each alert.
    published_s
        When the last alert was published, in seconds since 1970.
    p
        What the table is sorted by; None if it is not a number.
    kinds
        What the last alert is, where that is not the first of a star seen now: ``update 2``, ``archival``.
    facts, flags, links
        Name and text; a flag and its meaning; name and address.
    place
        On the sky map; None without a position.
    """

    number: int
    picture: str
    name: str
    position: str
    ra: float | None
    dec: float | None
    place: tuple[float, float] | None
    published_s: float
    time: str
    kinds: tuple[str, ...]
    is_retracted: bool
    p: float | None
    p_text: str
    feh: str
    cfe: str
    subclass: str
    snr: str
    magnitude: str
    facts: tuple[tuple[str, str], ...]
    flags: tuple[tuple[str, str], ...]
    links: tuple[tuple[str, str], ...]


def candidate_row(alert: Alert, number: int, change: int) -> Row:
    """Return the row of a star after its last alert.

    Parameters
    ----------
    alert
        The last alert of the star.
    number
        Names the star on this page.
    change
        Grows with every alert, so that a picture is asked for again after each.
    """
    is_familiar = Flag.OUT_OF_DISTRIBUTION not in alert.flags
    p = alert.parameters
    return Row(
        number=number,
        picture=f"picture/{number}?after={change}",
        name=shown(alert.name, longest=_LONGEST_NAME),
        position=sexagesimal(alert.ra, alert.dec),
        ra=_finite(alert.ra),
        dec=_finite(alert.dec),
        place=place_on_map(alert.ra, alert.dec),
        published_s=alert.published_at.timestamp(),
        time=f"{alert.published_at:%H:%M:%S}",
        kinds=_kinds(alert),
        is_retracted=alert.alert_type == "retraction",
        p=_finite(alert.p_cemp),
        p_text=probability_text(alert.p_cemp),
        feh=_number(p.feh.value, "{:+.2f}") if is_familiar else MISSING,
        cfe=_number(p.cfe.value, "{:+.2f}") if is_familiar else MISSING,
        subclass=shown(subclass_text(alert.subclass), longest=_LONGEST_CELL),
        snr=_number(alert.snr),
        magnitude=shown(_magnitudes(alert, most=1), longest=_LONGEST_CELL),
        facts=_facts(alert, is_familiar),
        flags=tuple((_short(flag_text(flag)), FLAG_MEANING.get(flag, "")) for flag in _some(alert.flags)),
        links=sky_links(alert.ra, alert.dec),
    )


def _kinds(alert: Alert) -> tuple[str, ...]:
    """Return what an alert is beyond the first of a star that was observed now."""
    later = alert.alert_type not in ("initial", "retraction")
    kinds = [f"{alert.alert_type} {alert.revision}"] if later else []
    return tuple(map(_short, [*kinds, *([alert.alert_tense] if alert.alert_tense != "current" else [])]))


def _facts(alert: Alert, is_familiar: bool) -> tuple[tuple[str, str], ...]:
    parameters = [
        (label, estimate_text(name, getattr(alert.parameters, name))) for name, label, *_ in PARAMETER_TEXT
    ]
    shares = sorted(((getattr(alert.subclass_p, name), name) for name in SUBCLASSES), reverse=True)
    subclasses = ", ".join(f"{subclass_text(name)} {_number(100 * share)} %" for share, name in shares)
    bands = ", ".join(f"{_short(band.name)} {_number(100 * band.weight)} %" for band in _some(alert.bands))
    purity = alert.expected_purity
    facts = [
        ("p(CEMP)", probability_text(alert.p_cemp)),
        ("p(CEMP), corrected for evolution", probability_text(alert.p_cemp_corrected)),
        ("right of all alerts of this S/N", "" if purity is None else f"{_number(100 * purity)} %"),
        *(parameters if is_familiar else ()),
        ("[C/Fe], corrected for evolution", signed(alert.cfe_corrected) if is_familiar else ""),
        ("subclass", subclasses),
        ("bands that drove it", bands),
        ("magnitudes", _magnitudes(alert, most=_MOST_LISTED)),
        ("S/N", _number(alert.snr)),
        ("spectra", str(alert.n_observations)),
        ("radial velocity", "" if alert.rv_kms is None else f"{signed(alert.rv_kms, '{:+.0f}')} km/s"),
        ("novelty, 0 to 1", f"{alert.ood_score:.2f}" if math.isfinite(alert.ood_score) else ""),
        ("Gaia source", "" if alert.gaia_source_id is None else str(alert.gaia_source_id)),
        *map(match_text, _some(alert.matches)),
        ("survey", alert.survey),
        ("spectrum", alert.spectrum_id),
        ("alert", f"{alert.alert_type} {alert.revision}, {alert.alert_tense}, {alert.alert_id}"),
        ("models", alert.bundle),
        ("published", f"{alert.published_at:%Y-%m-%d %H:%M:%S} UTC"),
    ]
    return tuple((label, _short(text)) for label, text in facts if text not in ("", MISSING))


def _magnitudes(alert: Alert, most: int) -> str:
    listed = list(alert.photometry.items())[:most]
    return ", ".join(
        f"{_short(band)} {_number(m.mag, '{:.1f}')}" for band, m in listed if math.isfinite(m.mag)
    )


def _number(value: float, form: str = "{:.0f}") -> str:
    """Return a number in a few characters, also one that no star has."""
    text = signed(value, form)
    return text if len(text) <= _LONGEST_NUMBER else signed(value, "{:.0e}")


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _short(text: str) -> str:
    return shown(text, longest=_LONGEST_TEXT)


def _some(items: Iterable[_T]) -> list[_T]:
    return list(islice(items, _MOST_LISTED))
