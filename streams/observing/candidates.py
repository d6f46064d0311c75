"""Candidates for follow-up: the newest alert of each star, and why some stars cannot be planned."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from cempstream.processors.outcome import SUBCLASSES, Estimate
from cempstream.schemas.alert import Alert
from cempstream.streams.observing.exposure_time import BANDS, Question


class Why(StrEnum):
    """Why a star is not in the plan."""

    RETRACTED = "retracted"
    NO_POSITION = "no_position"
    NO_MAGNITUDE = "no_magnitude"
    TOO_BRIGHT = "too_bright"
    TOO_FAINT = "too_faint"
    NEVER_UP = "never_up"
    NEAR_MOON = "near_moon"
    NO_ROOM = "no_room"
    OTHERS_FIRST = "others_first"


#: What each reason means, for a table.
WHY_TEXT: Mapping[Why, str] = {
    Why.RETRACTED: "its newest alert withdraws it",
    Why.NO_POSITION: "its alert has no position",
    Why.NO_MAGNITUDE: f"its alert has no magnitude in {', '.join(BANDS)}",
    Why.TOO_BRIGHT: "brighter than the instrument's limit",
    Why.TOO_FAINT: "fainter than the instrument's limit, or it needs longer than its max_star_s",
    Why.NEVER_UP: "never within the limits of airmass and altitude in these hours",
    Why.NEAR_MOON: "too near to the Moon while it is up",
    Why.NO_ROOM: "its exposure does not fit between rising, setting and the end",
    Why.OTHERS_FIRST: "it could be observed, other stars are worth more for their time",
}


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A star that is not in the plan."""

    name: str
    alert_id: str
    why: Why
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What planning needs to know of a star.

    Attributes
    ----------
    ra_deg, dec_deg
        ICRS.
    band, magnitude
        The magnitude whose band is nearest to the feature in question.
    subclass_p
        Probability of each subclass, given that it is a CEMP star.
    """

    name: str
    alert_id: str
    survey: str
    ra_deg: float
    dec_deg: float
    epoch: float | None
    gaia_source_id: int | None
    band: str
    magnitude: float
    p_cemp: float
    expected_purity: float | None
    parameters: Mapping[str, Estimate] = field(repr=False)
    subclass: str
    subclass_p: Mapping[str, float] = field(repr=False)


def newest_alerts(alerts: Iterable[Alert]) -> list[Alert]:
    """Return the newest alert of each star, in the order in which stars first appear.

    A star is what its survey calls one; a spectrum without a star's name stands for itself.
    """
    newest: dict[tuple[str, str], Alert] = {}
    for alert in alerts:
        star = (alert.survey, alert.object_id or f"\n{alert.spectrum_id}")
        known = newest.get(star)
        if known is None or (alert.revision, alert.published_at) >= (known.revision, known.published_at):
            newest[star] = alert
    return list(newest.values())


def candidates_of(alerts: Iterable[Alert], question: Question) -> tuple[list[Candidate], list[LeftOut]]:
    """Return the stars that can be planned by their newest alerts, and those that cannot, with the reason."""
    found: list[Candidate] = []
    left: list[LeftOut] = []
    for alert in newest_alerts(alerts):
        why = _why_not(alert)
        if why is not None:
            left.append(LeftOut(alert.name, alert.alert_id, why))
            continue
        band = _band(alert, question)
        if band is None:
            bands = ", ".join(sorted(alert.photometry)) or "none at all"
            left.append(LeftOut(alert.name, alert.alert_id, Why.NO_MAGNITUDE, f"it has {bands}"))
            continue
        found.append(_candidate(alert, band))
    return found, left


def _why_not(alert: Alert) -> Why | None:
    if alert.alert_type == "retraction":
        return Why.RETRACTED
    if alert.ra is None or alert.dec is None:
        return Why.NO_POSITION
    is_place = math.isfinite(alert.ra) and -90.0 <= alert.dec <= 90.0
    return None if is_place else Why.NO_POSITION


def _band(alert: Alert, question: Question) -> str | None:
    """Return the band, among those with a known zero point, that is nearest to the feature."""
    bands = [name for name in BANDS if name in alert.photometry and math.isfinite(alert.photometry[name].mag)]
    return min(bands, key=lambda name: abs(BANDS[name].pivot_aa - question.wave_aa), default=None)


def _candidate(alert: Alert, band: str) -> Candidate:
    assert alert.ra is not None
    assert alert.dec is not None
    parameters = alert.parameters
    return Candidate(
        name=alert.name,
        alert_id=alert.alert_id,
        survey=alert.survey,
        ra_deg=alert.ra,
        dec_deg=alert.dec,
        epoch=alert.epoch,
        gaia_source_id=alert.gaia_source_id,
        band=band,
        magnitude=alert.photometry[band].mag,
        p_cemp=alert.p_cemp,
        expected_purity=alert.expected_purity,
        parameters={name: getattr(parameters, name) for name in ("teff", "feh", "cfe", "bafe")},
        subclass=alert.subclass,
        subclass_p={name: getattr(alert.subclass_p, name) for name in SUBCLASSES},
    )
