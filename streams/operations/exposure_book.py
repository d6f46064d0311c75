"""Is every spectrum of an exposure accounted for? Counted from published outcomes, so that the answer is
right for any number of workers, through restarts and repeats.

A spectrum counts once, by its id. A repeat changes nothing; a dead letter that is sent again and scored
counts as scored. What the survey has sent is counted too: so an exposure of which nothing was scored is
known. The numbers of exposures and spectra kept in memory are limited.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntFlag
from hashlib import blake2b
from typing import NamedTuple

from cempstream.schemas.exposure import Exposure, ExposureStatus

#: An announced size above this is ignored.
LARGEST_EXPOSURE = 200_000


class ExposureKey(NamedTuple):
    """An exposure, as reduced by one version of its survey's software."""

    survey: str
    exposure_id: str
    reduction_version: str


class Step(IntFlag):
    """What has become of a spectrum so far."""

    NONE = 0
    SENT = 1
    DEAD = 2
    SCORED = 4


@dataclass(frozen=True, slots=True)
class Seen:
    """One step of one spectrum.

    Attributes
    ----------
    size
        How many spectra the exposure yields, as this packet says.
    step
        One of the flags.
    at
        When it was sent by the survey, or its outcome was published.
    reduced_at
        Of a scored one.
    """

    key: ExposureKey
    size: int
    spectrum_id: str
    step: Step
    at: datetime
    is_alert: bool = False
    reduced_at: datetime | None = None


@dataclass(slots=True)
class _Open:
    """An exposure that is not complete; of each spectrum 8 bytes of a hash are kept."""

    size: int = 0
    steps: dict[int, Step] = field(default_factory=dict)
    counts: Counter[Step] = field(default_factory=Counter)
    n_alerts: int = 0
    first_reduced_at: datetime | None = None
    last_published_at: datetime | None = None
    last_at: datetime | None = None
    is_reported: bool = False

    @property
    def n_in(self) -> int:
        return self.counts[Step.SCORED] + self.counts[Step.DEAD]

    def add(self, seen: Seen) -> bool:
        """Count a step; False for a repeat."""
        name = int.from_bytes(blake2b(seen.spectrum_id.encode(), digest_size=8).digest(), "big")
        self.size = max(self.size, seen.size)
        known = self.steps.get(name, Step.NONE)
        if seen.step in known or (seen.step is Step.DEAD and Step.SCORED in known):
            return False
        if seen.step is Step.SCORED and Step.DEAD in known:
            known ^= Step.DEAD
            self.counts[Step.DEAD] -= 1
        self.steps[name] = known | seen.step
        self.counts[seen.step] += 1
        self.n_alerts += seen.is_alert
        if seen.reduced_at is not None:
            self.first_reduced_at = min(self.first_reduced_at or seen.reduced_at, seen.reduced_at)
        self.last_at = max(self.last_at or seen.at, seen.at)
        if seen.step is not Step.SENT:
            self.last_published_at = max(self.last_published_at or seen.at, seen.at)
        return True


class ExposureBook:
    """Count the spectra of exposures.

    Parameters
    ----------
    timeout_s
        An exposure to which nothing was added for this long is reported as incomplete, once; if it becomes
        complete later, that is reported too.
    max_spectra
        Of all open exposures together; above this, the exposure that waits longest is given up. A million
        take about 0.15 GB.
    max_closed
        How many closed exposures are remembered, to recognise late repeats.
    knows_sent
        Whether the book is also told what the survey has sent.
    """

    def __init__(
        self,
        timeout_s: float,
        *,
        max_spectra: int = 1_000_000,
        max_closed: int = 10_000,
        knows_sent: bool = True,
    ) -> None:
        self._knows_sent = knows_sent
        self._timeout = timedelta(seconds=timeout_s)
        self._max_spectra = max_spectra
        self._max_closed = max_closed
        self._open: OrderedDict[ExposureKey, _Open] = OrderedDict()
        self._closed: OrderedDict[ExposureKey, None] = OrderedDict()
        self._reported: set[ExposureKey] = set()
        self._n_spectra = 0

    @property
    def n_open(self) -> int:
        """Exposures that wait for spectra."""
        return len(self._open)

    @property
    def n_spectra(self) -> int:
        """Spectra of all open exposures."""
        return self._n_spectra

    def oldest_s(self, now: datetime) -> float:
        """Return when something was last added to the exposure that waits longest; 0 if none waits."""
        last = min((o.last_at for o in self._open.values() if o.last_at), default=now)
        return max(0.0, (now - last).total_seconds())

    def remember(self, event: Exposure) -> None:
        """Note an event that was reported earlier, so that it is not reported again."""
        key = ExposureKey(event.survey, event.exposure_id, event.reduction_version)
        if event.status == "complete":
            self._close(key)
        else:
            self._reported.add(key)

    def take(self, seen: Seen, now: datetime) -> Iterator[Exposure]:
        """Count a step; yield an event if it completes an exposure or one is given up."""
        if seen.key in self._closed or not 0 < seen.size <= LARGEST_EXPOSURE:
            return
        exposure = self._open.get(seen.key)
        if exposure is None:
            exposure = self._open[seen.key] = _Open(is_reported=seen.key in self._reported)
            self._reported.discard(seen.key)
        n_before = len(exposure.steps)
        if exposure.add(seen):
            self._open.move_to_end(seen.key)
        self._n_spectra += len(exposure.steps) - n_before
        if exposure.n_in >= exposure.size:
            self._forget(seen.key)
            self._close(seen.key)
            yield self._event(seen.key, exposure, "complete", now)
        while self._n_spectra > self._max_spectra:
            key = next(iter(self._open))
            given_up = self._forget(key)
            self._close(key)
            if not given_up.is_reported:
                yield self._event(key, given_up, "incomplete", now)

    def has_overdue(self, now: datetime) -> bool:
        """Whether `overdue` would yield something."""
        return any(self._is_overdue(exposure, now) for exposure in self._open.values())

    def overdue(self, now: datetime) -> Iterator[Exposure]:
        """Yield an event for each exposure that has waited too long and is not reported yet."""
        for key, exposure in self._open.items():
            if self._is_overdue(exposure, now):
                exposure.is_reported = True
                yield self._event(key, exposure, "incomplete", now)

    def _is_overdue(self, exposure: _Open, now: datetime) -> bool:
        last = exposure.last_at
        return not exposure.is_reported and last is not None and now - last > self._timeout

    def _forget(self, key: ExposureKey) -> _Open:
        exposure = self._open.pop(key)
        self._n_spectra -= len(exposure.steps)
        return exposure

    def _close(self, key: ExposureKey) -> None:
        self._closed[key] = None
        self._closed.move_to_end(key)
        if len(self._closed) > self._max_closed:
            self._closed.popitem(last=False)

    def _event(self, key: ExposureKey, exposure: _Open, status: ExposureStatus, now: datetime) -> Exposure:
        last_at = exposure.last_published_at or exposure.last_at
        assert last_at is not None, "an exposure is opened by a step"
        return Exposure.of(
            *key,
            status=status,
            n_expected=exposure.size,
            n_scored=exposure.counts[Step.SCORED],
            n_dead_letters=exposure.counts[Step.DEAD],
            n_alerts=exposure.n_alerts,
            first_reduced_at=exposure.first_reduced_at,
            last_published_at=last_at,
            reported_at=now,
            n_received=exposure.counts[Step.SENT] if self._knows_sent else None,
        )
