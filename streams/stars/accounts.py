"""The accounts of the process that follows stars: what became of every observation."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cempstream.processors.outcome import Rejected
from cempstream.streams.kafka.messages import PacketOrigin
from cempstream.streams.settings import TopicSettings
from cempstream.streams.stars.folding import Change
from cempstream.streams.telemetry import notices
from cempstream.streams.telemetry.metrics import Metrics
from cempstream.streams.telemetry.star_metrics import StarMetrics
from cempstream.streams.worker.accounts import Accounts
from cempstream.streams.worker.breaker import Breakers


class StarAccounts(Accounts):
    """Book observations whose stars' states and alerts are delivered."""

    def __init__(
        self, metrics: Metrics, breakers: Breakers, topics: TopicSettings, stars: StarMetrics
    ) -> None:
        super().__init__(metrics, breakers, topics)
        self.stars = stars

    def book_stars(
        self,
        changes: Sequence[Change],
        refused: Sequence[tuple[Rejected, PacketOrigin]],
        delivered_at: datetime,
    ) -> None:
        """Book a batch; what could not be folded is among what was refused."""
        n_folded = 0
        for change in changes:
            if change.problem is not None:
                continue
            n_folded += len(change.arrivals)
            outcome = "changed" if change.has_changed else "repeated"
            self.stars.folds.labels(outcome).inc(len(change.arrivals))
            for told in (change.again, change.alert):
                if told is not None:
                    self._book_alert(change, told.sent.alert_type, delivered_at)
        for rejected, origin in refused:
            self.stars.folds.labels("rejected").inc()
            self._metrics.dead_letters.labels(rejected.reason.value).inc()
            notices.dead_letter(rejected, origin.topic, origin.partition, origin.offset)
        self.tally.n_scored += n_folded
        self.tally.n_dead_letters += len(refused)
        self.tally.last_spectrum_at = delivered_at
        self._judge(self._topics.observations, n_folded + len(refused), len(refused))

    def _book_alert(self, change: Change, alert_type: str, delivered_at: datetime) -> None:
        self.tally.n_alerts += 1
        self.stars.alerts.labels(alert_type).inc()
        tense, topics = change.star.tense, self._topics
        live = (topics.alerts, topics.alerts_json)
        for topic in (topics.alerts_archival,) if tense == "archival" else live:
            self._metrics.alerts.labels(topic).inc()
        spectrum = change.arrivals[-1].packet.observation.spectrum
        waited_s = (delivered_at - spectrum.reduced_at).total_seconds()
        self.stars.observe_latency(spectrum.survey, tense, waited_s)
