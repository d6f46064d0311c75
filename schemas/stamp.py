"""Who and when: deterministic ids, and the times and the purpose that a result is stamped with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID, uuid5

#: Tonight's spectra, recorded ones scored again, planted ones that measure the stream, and tests.
Tense: TypeAlias = Literal["current", "archival", "injection", "test"]

AlertType: TypeAlias = Literal["initial", "update", "retraction"]

#: Namespace of every id of ours: the UUIDv5 of the DNS name ``cempstream.io``.
_NAMESPACE = UUID("8ccea81c-ba45-5fc1-b7d1-c0385576e61b")

#: Between the parts of a name; no survey puts a line's end into an id, so no two names can run together.
_SEPARATOR = "\n"


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a result carries that its spectrum and its models do not determine.

    Attributes
    ----------
    tense
        Why the spectrum was scored.
    ingested_at, inferred_at, published_at
        UTC: the packet read, the models done, the result handed to the broker.
    alert_type, revision, supersedes
        Which alert of the spectrum this is, and the ``alert_id`` that it replaces or withdraws.
    """

    tense: Tense
    ingested_at: datetime
    inferred_at: datetime
    published_at: datetime
    alert_type: AlertType = "initial"
    revision: int = 0
    supersedes: str | None = None


def record_id(survey: str, spectrum_id: str, reduction_version: str) -> str:
    """Return the id of a reduced spectrum: the same whenever and by whatever bundle it is scored."""
    return str(uuid5(_NAMESPACE, _SEPARATOR.join((survey, spectrum_id, reduction_version))))


def alert_id(record: str, bundle: str, alert_type: AlertType, revision: int) -> str:
    """Return the id of an alert: a repeated delivery has the same, an update or another bundle's has not."""
    return str(uuid5(UUID(record), _SEPARATOR.join((bundle, alert_type, str(revision)))))


def exposure_event_id(survey: str, exposure_id: str, reduction_version: str, status: str) -> str:
    """Return the id of an event about an exposure: a repeated delivery has the same."""
    return str(uuid5(_NAMESPACE, _SEPARATOR.join((survey, exposure_id, reduction_version, status))))
