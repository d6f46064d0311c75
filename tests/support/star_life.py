"""The alerts of a star's life, one of each type, for tests of what they become elsewhere."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from cempstream.schemas.alert import Alert, alert_from_json, alert_to_json
from cempstream.schemas.samples import sample_classification, sample_stamp
from cempstream.schemas.stamp import Stamp

TYPES = ("initial", "subsequent", "update", "retraction")

#: p_cemp of each.
P_CEMP = (0.97, 0.98, 0.9, 0.2)


def star_life(name: str = "HE 1327-2326", **changes: Any) -> list[Alert]:
    """Return the alerts of a star, an hour apart, each naming the one before.

    Parameters
    ----------
    changes
        Fields of the spectrum that differ from those of the sample.
    """
    return [alert_from_json(line) for line in star_life_lines(name, **changes)]


def star_life_lines(name: str = "HE 1327-2326", tense: str = "current", **changes: Any) -> list[bytes]:
    """Return the same as lines of JSON."""
    scored = sample_classification()
    spectrum = replace(scored.spectrum, object_id=name, **changes)
    lines: list[bytes] = []
    before: str | None = None
    for i, (kind, p_cemp) in enumerate(zip(TYPES, P_CEMP, strict=True)):
        stamp: Stamp = replace(
            sample_stamp(),
            tense=tense,
            alert_type=kind,
            revision=i,
            supersedes=before,
            published_at=sample_stamp().published_at + timedelta(hours=i),
        )
        lines.append(alert_to_json(replace(scored, spectrum=spectrum, p_cemp=p_cemp), stamp))
        before = alert_from_json(lines[-1]).alert_id
    return lines
