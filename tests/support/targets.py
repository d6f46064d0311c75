"""Alerts of stars for tests of what plans a night, as simple as they can be."""

from __future__ import annotations

from typing import Any

from cempstream.processors.outcome import Estimate
from cempstream.schemas.alert import Alert, Magnitude, alert_from_json
from cempstream.streams.observing.candidates import Candidate
from tests.support.alerts import alert_packet


def star_alert(
    name: str,
    ra: float | None = 80.0,
    dec: float | None = 30.0,
    magnitude: float | None = 14.0,
    *,
    minutes: float = 0.0,
    revision: int = 0,
    **more: Any,
) -> Alert:
    """Return the alert of a star; `more` are fields of `Alert`."""
    alert = alert_from_json(alert_packet(name, minutes=minutes, revision=revision, as_json=True))
    photometry = {} if magnitude is None else {"r": Magnitude(magnitude, 0.02)}
    fields = {"ra": ra, "dec": dec, "photometry": photometry, "object_id": name, "spectrum": None}
    fields |= {"epoch": None, "gaia_source_id": None, "expected_purity": None}
    return alert.model_copy(update=fields | more)


def candidate(
    name: str = "star",
    ra: float = 80.0,
    dec: float = 30.0,
    magnitude: float = 14.0,
    *,
    p_cemp: float = 0.9,
    expected_purity: float | None = None,
    feh: tuple[float, float, float] = (-2.5, -2.7, -2.3),
    cfe: tuple[float, float, float] = (1.5, 1.3, 1.7),
    bafe: tuple[float, float, float] = (0.5, 0.0, 1.0),
    subclass_p: tuple[float, float, float, float] = (0.0, 1.0, 0.0, 0.0),
    teff: float = 5000.0,
) -> Candidate:
    """Return a candidate; intervals are value, lower and upper end."""
    shares = dict(zip(("cemp_no", "cemp_s", "cemp_r", "undetermined"), subclass_p, strict=True))
    return Candidate(
        name=name,
        alert_id=f"alert of {name}",
        survey="lamost",
        ra_deg=ra,
        dec_deg=dec,
        epoch=None,
        gaia_source_id=None,
        band="r",
        magnitude=magnitude,
        p_cemp=p_cemp,
        expected_purity=expected_purity,
        parameters={
            "teff": Estimate(teff, teff - 100, teff + 100),
            "feh": Estimate(*feh),
            "cfe": Estimate(*cfe),
            "bafe": Estimate(*bafe),
        },
        subclass="cemp_s",
        subclass_p=shares,
    )
