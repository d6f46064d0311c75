"""Alerts as notices in the manner of NASA's General Coordinates Network (GCN).

Names, types and meanings are those of GCN's core schemas 7.2.3 (Alert, Event, Reporter, DateTime,
Localization, Statistics, FollowUp, AdditionalInfo) wherever they have a word for it; what they have none for
stands beside them. `SCHEMA_PATH` is the JSON Schema of the whole.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from cempstream.processors.outcome import PARAMETERS, SUBCLASSES
from cempstream.schemas.alert import Alert
from cempstream.streams.exporters.facts import finite, headline, position, utc_text

#: Version of GCN's core schemas that is followed.
CORE_VERSION = "7.2.3"

SCHEMA_PATH = Path(__file__).with_name("gcn.schema.json")

#: GCN's words; ``unknown``, which a later version of our schema may bring, is left out.
_TYPES = ("initial", "subsequent", "update", "retraction")
_TENSES = ("current", "archival", "injection", "test")


@cache
def notice_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a notice."""
    schema: dict[str, Any] = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
    return schema


def gcn_notice(
    alert: Alert, *, instrument: str | None = None, position_error_arcsec: float = 1.0
) -> dict[str, Any]:
    """Return an alert as a notice, without its spectrum; what the alert does not know is left out.

    Parameters
    ----------
    instrument
        Name of the spectrograph; None: the grating, where the survey states one.
    position_error_arcsec
        Radius that is stated with the position; surveys give none.
    """
    place = position(alert)
    name = alert.name if alert.gaia_source_id is None else [alert.name, f"Gaia {alert.gaia_source_id}"]
    notice = {
        "$schema": notice_schema()["$id"],
        "alert_datetime": _zulu(utc_text(alert.published_at)),
        "alert_tense": alert.alert_tense if alert.alert_tense in _TENSES else None,
        "alert_type": alert.alert_type if alert.alert_type in _TYPES else None,
        "event_name": name,
        "id": alert.name,
        "mission": alert.survey,
        "instrument": instrument or "+".join(alert.gratings) or None,
        "record_number": alert.revision + 1,
        "messenger": "EM",
        **_band(alert),
        "trigger_time": _zulu(utc_text(alert.observed_at)),
        "ra": None if place is None else place[0],
        "dec": None if place is None else place[1],
        "ra_dec_error": None if place is None else position_error_arcsec / 3600.0,
        "classification": _classes(alert),
        "reference": None if alert.supersedes is None else {"gcn.notices.cempstream.alert": alert.supersedes},
        "additional_info": headline(alert),
        **_ours(alert),
    }
    return {key: value for key, value in notice.items() if value is not None}


def notice_line(notice: dict[str, Any]) -> bytes:
    """Return a notice as one line of JSON in ASCII, as GCN sends it."""
    return json.dumps(notice, allow_nan=False, separators=(",", ":")).encode("ascii")


def _zulu(time: str | None) -> str | None:
    return None if time is None else f"{time}Z"


def _band(alert: Alert) -> dict[str, Any]:
    """Return the wavelengths of the spectrum in nm."""
    if alert.spectrum is None:
        return {}
    wave = alert.spectrum.grid.wave
    return {
        "spectral_band": [round(float(wave[0]) / 10.0, 3), round(float(wave[-1]) / 10.0, 3)],
        "spectral_band_units": "nm",
    }


def _classes(alert: Alert) -> dict[str, float] | None:
    """Return the probabilities of classes that exclude each other; they sum to 1."""
    p_cemp = finite(alert.p_cemp)
    shares = {name: finite(getattr(alert.subclass_p, name)) for name in SUBCLASSES}
    if p_cemp is None:
        return None
    if any(share is None for share in shares.values()):
        return {"cemp": p_cemp, "not_cemp": round(1.0 - p_cemp, 9)}
    found = {name: round(p_cemp * (share or 0.0), 9) for name, share in shares.items()}
    return found | {"not_cemp": round(1.0 - p_cemp, 9)}


def _ours(alert: Alert) -> dict[str, Any]:
    """Return what GCN has no word for."""
    return {
        "alert_id": alert.alert_id,
        "supersedes": alert.supersedes,
        "spectrum_id": alert.spectrum_id,
        "gaia_source_id": None if alert.gaia_source_id is None else str(alert.gaia_source_id),
        "epoch": finite(alert.epoch),
        "p_cemp": finite(alert.p_cemp),
        "p_cemp_corrected": finite(alert.p_cemp_corrected),
        "expected_purity": finite(alert.expected_purity),
        "threshold": finite(alert.decision.threshold),
        "prior": finite(alert.decision.prior),
        "priority": finite(alert.decision.priority),
        "snr": finite(alert.snr),
        "subclass": alert.subclass,
        "parameters": _parameters(alert),
        "rv_kms": finite(alert.rv_kms),
        "rv_error_kms": finite(alert.rv_error_kms),
        "magnitudes": _magnitudes(alert),
        "flags": list(alert.flags),
        "bundle": alert.bundle,
        "code": alert.code.version,
        "spectrum_uri": alert.spectrum_uri,
    }


def _parameters(alert: Alert) -> dict[str, Any]:
    found = {}
    for name in PARAMETERS:
        estimate = getattr(alert.parameters, name)
        if finite(estimate.value) is not None:
            found[name] = {part: finite(getattr(estimate, part)) for part in ("value", "lo", "hi")}
    return found


def _magnitudes(alert: Alert) -> dict[str, Any]:
    known = {band: (finite(mag.mag), finite(mag.error)) for band, mag in alert.photometry.items()}
    return {band: {"mag": mag, "error": error} for band, (mag, error) in known.items() if mag is not None}
