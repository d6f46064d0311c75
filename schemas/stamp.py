"""Deterministic ids, and the times and purpose that are added to a result."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID, uuid5

from cempstream.processors.stars.life import AlertType

#: Live spectra, recorded ones scored again, injected ones that measure the stream, and tests.
Tense: TypeAlias = Literal["current", "archival", "injection", "test"]

#: Namespace of all our ids: the UUIDv5 of the DNS name ``cempstream.io``.
_NAMESPACE = UUID("8ccea81c-ba45-5fc1-b7d1-c0385576e61b")

#: Separates the parts of a name; no id contains a line break, so two different names never become equal.
_SEPARATOR = "\n"


@dataclass(frozen=True, slots=True)
class Stamp:
    """The fields of a result that do not depend on its spectrum and its models.

    Attributes
    ----------
    tense
        Why the spectrum was scored.
    ingested_at, inferred_at, published_at
        UTC times when the packet was read, the models were done, and the result was sent to the broker.
    alert_type, revision, supersedes
        Which alert of the star this is, and the ``alert_id`` that it replaces or withdraws.
    """

    tense: Tense
    ingested_at: datetime
    inferred_at: datetime
    published_at: datetime
    alert_type: AlertType = "initial"
    revision: int = 0
    supersedes: str | None = None


def record_id(survey: str, spectrum_id: str, reduction_version: str) -> str:
    """Return the id of a reduced spectrum: the same for every time and bundle it is scored with."""
    return str(uuid5(_NAMESPACE, _SEPARATOR.join((survey, spectrum_id, reduction_version))))


def alert_id(record: str, bundle: str, alert_type: AlertType, revision: int) -> str:
    """Return the id of an alert: the same for a repeated delivery, another for an update or other bundle."""
    return str(uuid5(UUID(record), _SEPARATOR.join((bundle, alert_type, str(revision)))))


def exposure_event_id(survey: str, exposure_id: str, reduction_version: str, status: str) -> str:
    """Return the id of an event about an exposure, the same for a repeated delivery."""
    return str(uuid5(_NAMESPACE, _SEPARATOR.join((survey, exposure_id, reduction_version, status))))
