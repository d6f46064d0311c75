"""Small alerts for tests of what reads them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np

from cempstream.processors.grid import LogGrid
from cempstream.processors.stars.life import AlertType
from cempstream.schemas.alert import alert_to_json, encode_alert
from cempstream.schemas.samples import sample_classification, sample_spectrum, sample_stamp
from cempstream.schemas.stamp import Tense

_STAMP = sample_stamp()
_SPECTRUM = replace(
    sample_spectrum(),
    grid=LogGrid(3.6, 1e-3, 16),
    flux=np.ones(16, np.float32),
    ivar=np.ones(16, np.float32),
)

PUBLISHED_AT = _STAMP.published_at


def alert_packet(
    name: str,
    *,
    p_cemp: float = 0.97,
    snr: float = 40.0,
    minutes: float = 0.0,
    tense: Tense = "current",
    revision: int = 0,
    kind: AlertType = "initial",
    place: tuple[float, float] | None = (161.284333, 41.396),
    flags: tuple[str, ...] = (),
    as_json: bool = False,
) -> bytes:
    """Return the alert packet of a star by that name, published so many minutes after `PUBLISHED_AT`."""
    ra, dec = place or (None, None)
    spectrum = replace(_SPECTRUM, spectrum_id=name, object_id=f"star {name}", ra=ra, dec=dec)
    result = replace(sample_classification(), spectrum=spectrum, p_cemp=p_cemp, snr=snr, flags=flags)
    published_at = PUBLISHED_AT + timedelta(minutes=minutes)
    stamp = replace(_STAMP, tense=tense, alert_type=kind, revision=revision, published_at=published_at)
    return alert_to_json(result, stamp) if as_json else encode_alert(result, stamp)
