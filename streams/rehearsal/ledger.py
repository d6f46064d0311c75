"""The night's ledger: every spectrum sent comes out as a score or a dead letter, at least once."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from cempstream.schemas.alert import Alert, decode_alert
from cempstream.schemas.score import decode_score
from cempstream.streams.kafka.dead_letters import REASON, SHA256
from cempstream.streams.rehearsal.arrivals import Arrival
from cempstream.streams.rehearsal.night_spectra import NightSpectrum
from cempstream.streams.settings import TopicSettings


@dataclass(frozen=True, slots=True)
class Quality:
    """Alerts against the simulated truth.

    Attributes
    ----------
    n_cemp, n_found
        CEMP stars that went in, and those of them that were alerted.
    n_alerts
        Alerts of simulated stars, true or not.
    """

    n_cemp: int
    n_found: int
    n_alerts: int

    @property
    def recall(self) -> float:
        """Share of the CEMP stars that was found; NaN without any."""
        return self.n_found / self.n_cemp if self.n_cemp else float("nan")

    @property
    def purity(self) -> float:
        """Share of the alerts that are CEMP stars; NaN without any."""
        return self.n_found / self.n_alerts if self.n_alerts else float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class AlertSeen:
    """An alert with the truth, where there is one."""

    alert: Alert = field(repr=False)
    packet: bytes = field(repr=False)
    is_cemp: bool | None

    @property
    def latency_s(self) -> float:
        """Seconds from reduction to publication."""
        return (self.alert.published_at - self.alert.reduced_at).total_seconds()


class Ledger:
    """A ledger by ``spectrum_id``; the feed writes to it from its own thread."""

    def __init__(self, topics: TopicSettings) -> None:
        self._topics = topics
        self._lock = threading.Lock()
        self._sent: dict[str, NightSpectrum] = {}
        self._n_sent: Counter[str] = Counter()
        self._id_of_packet: dict[str, str] = {}
        self._scored: Counter[str] = Counter()
        self._dead: Counter[str] = Counter()
        self._alerts: dict[str, AlertSeen] = {}
        self._candidates: set[str] = set()
        self._latencies_s: list[float] = []
        self._scored_at_s: list[float] = []
        self.dead_reasons: Counter[str] = Counter()
        self.n_undelivered = 0

    def enter(self, item: NightSpectrum, packet_sha256: str) -> None:
        """Enter a spectrum as sent."""
        spectrum_id = item.spectrum.spectrum_id
        with self._lock:
            self._sent[spectrum_id] = item
            self._n_sent[spectrum_id] += 1
            self._id_of_packet[packet_sha256] = spectrum_id

    def book(self, arrivals: Sequence[Arrival]) -> list[AlertSeen]:
        """Enter the stream's output and return the new alerts."""
        new = []
        for arrival in arrivals:
            if arrival.topic == self._topics.scores:
                score = decode_score(arrival.value)
                self._scored[score.spectrum_id] += 1
                if score.decision.is_candidate:
                    self._candidates.add(score.spectrum_id)
                self._latencies_s.append((score.published_at - score.reduced_at).total_seconds())
                self._scored_at_s.append(time.monotonic())
            elif arrival.topic == self._topics.dlq:
                self._book_dead(arrival)
            elif arrival.topic in (self._topics.alerts, self._topics.alerts_archival):
                alert = decode_alert(arrival.value)
                if alert.alert_id not in self._alerts:
                    item = self._sent.get(alert.spectrum_id)
                    seen = AlertSeen(alert, arrival.value, item.is_cemp if item else None)
                    self._alerts[alert.alert_id] = seen
                    new.append(seen)
        return new

    def _book_dead(self, arrival: Arrival) -> None:
        with self._lock:
            spectrum_id = self._id_of_packet.get(arrival.headers.get(SHA256, ""), "")
        self._dead[spectrum_id] += 1
        self.dead_reasons[arrival.headers.get(REASON, "")] += 1

    @property
    def n_sent(self) -> int:
        """Spectra that went in."""
        with self._lock:
            return self._n_sent.total()

    @property
    def n_scored(self) -> int:
        """Spectra that were scored, repeats not counted."""
        return sum(min(n, self._n_sent[name]) for name, n in self._scored.items())

    @property
    def n_dead(self) -> int:
        """Spectra that became dead letters, repeats not counted."""
        return sum(min(n, self._n_sent[name]) for name, n in self._dead.items())

    @property
    def n_out(self) -> int:
        """Spectra with an outcome."""
        return sum(min(self._scored[name] + self._dead[name], n) for name, n in self._snapshot())

    @property
    def alerts(self) -> list[AlertSeen]:
        """Every alert, in the order of arrival."""
        return list(self._alerts.values())

    def unaccounted(self) -> list[str]:
        """Return the ids of spectra that went in and did not come out."""
        return [name for name, n in self._snapshot() if self._scored[name] + self._dead[name] < n]

    def without_alert(self) -> list[str]:
        """Return the ids of candidates whose alert has not come."""
        alerted = {seen.alert.spectrum_id for seen in self.alerts}
        return sorted(self._candidates - alerted)

    def is_balanced(self) -> bool:
        """Whether all that went in has come out, and every candidate as an alert too."""
        return self.n_out >= self.n_sent and not self.without_alert()

    def faults(self) -> list[str]:
        """Return what does not balance, a line each."""
        found = []
        if unaccounted := self.unaccounted():
            found.append(f"{len(unaccounted)} spectra are unaccounted for: {', '.join(unaccounted[:5])}")
        if self.n_undelivered:
            found.append(f"the broker did not take {self.n_undelivered} spectra")
        if lacking := self.without_alert():
            found.append(f"{len(lacking)} candidates have no alert: {', '.join(lacking[:5])}")
        return found

    def _snapshot(self) -> list[tuple[str, int]]:
        with self._lock:
            return list(self._n_sent.items())

    def latency_s(self, percentile: float) -> float:
        """Return a percentile of the latency from reduction to the score's publication; NaN without any."""
        return float(np.percentile(self._latencies_s, percentile)) if self._latencies_s else float("nan")

    def rate(self, window_s: float = 5.0) -> float:
        """Return the rate of scores over the last seconds, in spectra/s."""
        since_s = time.monotonic() - window_s
        return sum(at_s > since_s for at_s in self._scored_at_s[-5000:]) / window_s

    def quality(self) -> Quality:
        """Compare the alerts with the simulated truth."""
        found = {seen.alert.spectrum_id for seen in self.alerts if seen.is_cemp}
        with self._lock:
            n_cemp = sum(item.is_cemp is True for item in self._sent.values())
        return Quality(
            n_cemp=n_cemp,
            n_found=len(found),
            n_alerts=len({seen.alert.spectrum_id for seen in self.alerts if seen.is_cemp is not None}),
        )
