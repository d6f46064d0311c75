"""What the formats say of an alert, each fact with its unit, its UCD and what it means.

UCDs are of the IVOA's controlled vocabulary, UCD1+ 1.5. It has no word for carbon, so abundances but iron's
are ``phys.abund``. A unit is written as VOUnits has it; dex is none of them, so abundances have no unit and
their description says what they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Literal, TypeAlias

from cempstream.plain import shown
from cempstream.processors.outcome import PARAMETERS, SUBCLASSES
from cempstream.schemas.alert import Alert
from cempstream.streams.wording import is_on_sky, probability_text, sexagesimal, subclass_text

Value: TypeAlias = str | int | float | None
Type: TypeAlias = Literal["text", "int", "float"]


@dataclass(frozen=True, slots=True)
class Fact:
    """One value of an alert.

    Attributes
    ----------
    get
        Gives the value, None where the alert has none; every text prints, and no number is NaN.
    """

    name: str
    type: Type
    unit: str
    ucd: str
    meaning: str
    get: Callable[[Alert], Value]


def finite(value: float | None) -> float | None:
    """Return a number, or None where there is none."""
    return None if value is None or not math.isfinite(value) else float(value)


def position(alert: Alert) -> tuple[float, float] | None:
    """Return right ascension, from 0 to 360, and declination in degrees; None where the alert has none."""
    ra, dec = alert.ra, alert.dec
    return None if ra is None or dec is None or not is_on_sky(ra, dec) else (ra % 360.0, dec)


def utc_text(moment: datetime | None) -> str | None:
    """Return a time in UTC as ISO 8601 without a zone, as VOEvent and VOTable write it."""
    if moment is None:
        return None
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


def headline(alert: Alert) -> str:
    """Return one line for a person: what the alert is, the star, how probable, and where."""
    kinds = {
        "initial": "Candidate",
        "subsequent": "Seen again",
        "update": "Update",
        "retraction": "RETRACTED, no candidate any more",
    }
    kind = kinds.get(alert.alert_type, shown(alert.alert_type))
    tense = "" if alert.alert_tense == "current" else f" ({shown(alert.alert_tense)})"
    said = (
        f"p(CEMP) {probability_text(alert.p_cemp)}",
        subclass_text(shown(alert.subclass)),
        sexagesimal(alert.ra, alert.dec),
        f"S/N {alert.snr:.0f}" if math.isfinite(alert.snr) else "",
    )
    return f"{kind}{tense}: {shown(alert.name, longest=100)}, {', '.join(filter(None, said))}"


def _text(name: str, ucd: str, meaning: str, get: Callable[[Alert], Any] | None = None) -> Fact:
    find = get or attrgetter(name)

    def found(alert: Alert) -> Value:
        value = find(alert)
        return None if value is None else shown(value)

    return Fact(name, "text", "", ucd, meaning, found)


def _number(
    name: str, unit: str, ucd: str, meaning: str, get: Callable[[Alert], float | None] | None = None
) -> Fact:
    find = get or attrgetter(name)
    return Fact(name, "float", unit, ucd, meaning, lambda alert: finite(find(alert)))


def _time(name: str, ucd: str, meaning: str) -> Fact:
    return _text(name, ucd, meaning, lambda alert: utc_text(getattr(alert, name)))


def _subclass(name: str) -> Fact:
    meaning = f"probability of {subclass_text(name)}, if it is a CEMP star"
    return _number(f"p_{name}", "", "stat.probability;src.class", meaning, attrgetter(f"subclass_p.{name}"))


#: Parameter to its unit, UCD and meaning.
_PARAMETERS = {
    "teff": ("K", "phys.temperature.effective", "effective temperature"),
    "logg": ("", "phys.gravity", "log10 of the surface gravity in cm/s2"),
    "feh": ("", "phys.abund.Fe", "[Fe/H] in dex, 1D LTE, Asplund et al. 2009"),
    "cfe": ("", "phys.abund", "[C/Fe] in dex, 1D LTE, Asplund et al. 2009"),
    "ac": ("", "phys.abund", "A(C) in dex"),
    "bafe": ("", "phys.abund", "[Ba/Fe] in dex, 1D LTE"),
}


def _parameters() -> Iterator[Fact]:
    for name in PARAMETERS:
        unit, ucd, meaning = _PARAMETERS[name]
        of = f"parameters.{name}"
        yield _number(name, unit, ucd, meaning, attrgetter(f"{of}.value"))
        for part, limit, end in (("lo", "stat.min", "lower"), ("hi", "stat.max", "upper")):
            meaning = f"{end} end of the 68 % interval of {name}"
            yield _number(f"{name}_{part}", unit, f"{ucd};{limit}", meaning, attrgetter(f"{of}.{part}"))


_PROBABILITY = "stat.probability"
_VELOCITY = "spect.dopplerVeloc;pos.heliocentric"

#: Who and what the alert is.
IDENTITY = (
    _text("alert_id", "meta.id", "id of the alert"),
    _text("alert_type", "meta.code", "initial, subsequent, update or retraction"),
    _text("alert_tense", "meta.code", "current, archival, injection or test"),
    Fact("revision", "int", "", "meta.number", "number of the alert of its star", attrgetter("revision")),
    _text("supersedes", "meta.id.assoc", "id of the alert that this one replaces, adds to or withdraws"),
    _text("name", "meta.id;meta.main", "the star's name by its survey, or the spectrum's id"),
    _text("survey", "meta.id;obs", "the survey"),
    _text("spectrum_id", "meta.id", "the survey's id of the spectrum"),
    Fact("gaia_source_id", "int", "", "meta.id.cross", "Gaia's source_id", attrgetter("gaia_source_id")),
)

#: Where and when.
PLACE = (
    _number("ra", "deg", "pos.eq.ra;meta.main", "right ascension, ICRS"),
    _number("dec", "deg", "pos.eq.dec;meta.main", "declination, ICRS"),
    _number("epoch", "yr", "time.epoch", "epoch of the position, Julian year"),
    _time("observed_at", "time.epoch;obs", "time of the spectrum, UTC"),
    _time("published_at", "time.creation", "time of the alert, UTC"),
)

#: What was found.
FINDING = (
    _number("p_cemp", "", _PROBABILITY, "probability that [Fe/H] < -1 and [C/Fe] >= +0.7, at the prior"),
    _number(
        "p_cemp_corrected",
        "",
        _PROBABILITY,
        "the same with the carbon that the star was born with (Placco et al. 2014)",
    ),
    _number("expected_purity", "", _PROBABILITY, "share of right alerts among those of this S/N"),
    _number(
        "threshold",
        "",
        _PROBABILITY,
        "p_cemp from which on it is a candidate",
        attrgetter("decision.threshold"),
    ),
    _number("prior", "", _PROBABILITY, "share of CEMP stars that is assumed", attrgetter("decision.prior")),
    _number("priority", "", "stat.value", "worth of a follow-up, 0 to 1", attrgetter("decision.priority")),
    _text("subclass", "src.class", "most probable subclass"),
    *map(_subclass, SUBCLASSES),
    *_parameters(),
    _number("snr", "", "stat.snr", "signal to noise of the spectrum"),
    _number("rv", "km/s", _VELOCITY, "radial velocity", attrgetter("rv_kms")),
    _number("rv_error", "km/s", f"stat.error;{_VELOCITY}", "1 sigma error of rv", attrgetter("rv_error_kms")),
    _number("ood_score", "", "stat.value", "how unlike the training data"),
    _text("flags", "meta.code.qual", "what limits the numbers", lambda alert: " ".join(alert.flags)),
    _text("bundle", "meta.version", "models that made the numbers"),
)

FACTS = (*IDENTITY, *PLACE, *FINDING)
