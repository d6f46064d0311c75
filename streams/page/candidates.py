"""The night's candidates as the page holds them: one for each star, after its last alert, the newest only."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from itertools import count

from cempstream.schemas.alert import Alert
from cempstream.streams.page.row import Row, candidate_row
from cempstream.streams.subscriber.where import Predicate


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A star of which there was an alert.

    Attributes
    ----------
    change
        Number of the last change, counted over all stars.
    standing
        The last alert that says the star is a candidate: filters look at this one.
    latest
        The last alert; another than `standing` where that was retracted.
    """

    change: int
    standing: Alert
    latest: Alert
    row: Row


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """All candidates at one moment, in the order of their last change.

    Attributes
    ----------
    change
        Number of the last change: nothing has changed as long as it is the same.
    n_dropped
        How many were dropped, because newer ones took their place.
    """

    candidates: tuple[Candidate, ...]
    change: int
    n_dropped: int


class Candidates:
    """The candidates of a night; alerts are taken in one thread, and looked at in others.

    A retraction is judged by what it retracts. It says a low probability, so a filter that let the star in
    would leave out that the star is none.

    Parameters
    ----------
    n_kept
        How many stars are held; the one that was quiet for longest is dropped for a new one.
    passes
        Which stars are taken at all.
    """

    def __init__(self, n_kept: int, passes: Predicate = lambda alert: True) -> None:
        self.n_kept = n_kept
        self._passes = passes
        self._by_star: OrderedDict[tuple[str, str], Candidate] = OrderedDict()
        self._numbers = count(1)
        self._change = 0
        self._n_dropped = 0
        self._lock = threading.Lock()

    def take(self, alert: Alert) -> None:
        """Add a star, or say what has become of one; one whose new numbers do not pass is taken out."""
        star = (alert.survey, alert.name)
        known = self._by_star.get(star)
        if known is not None and alert.published_at < known.latest.published_at:
            return  # a repeat, or a late one of another partition
        if alert.alert_type == "retraction":
            if known is not None:
                self._put(star, known.row.number, known.standing, alert)
        elif self._passes(alert):
            self._put(star, next(self._numbers) if known is None else known.row.number, alert, alert)
        elif known is not None:
            with self._lock:
                del self._by_star[star]
                self._change += 1

    def held(self) -> Held:
        """Return all candidates as they are now."""
        with self._lock:
            return Held(tuple(self._by_star.values()), self._change, self._n_dropped)

    def find(self, number: int) -> Candidate | None:
        """Return the candidate of a row; None if there is none any more."""
        return next((one for one in self.held().candidates if one.row.number == number), None)

    def _put(self, star: tuple[str, str], number: int, standing: Alert, latest: Alert) -> None:
        change = self._change + 1
        row = candidate_row(latest, number, change)  # before the lock: it takes longest
        with self._lock:
            self._by_star[star] = Candidate(change, standing, latest, row)
            self._by_star.move_to_end(star)
            self._change = change
            if len(self._by_star) > self.n_kept:
                self._by_star.popitem(last=False)
                self._n_dropped += 1
