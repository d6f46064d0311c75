"""The worker's accounts: what became of every packet, in its tally, in the metrics and in the breaker."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cempstream.processors.outcome import Classification, Outcome
from cempstream.streams.kafka.messages import PacketOrigin
from cempstream.streams.settings import TopicSettings
from cempstream.streams.telemetry import notices
from cempstream.streams.telemetry.metrics import Metrics
from cempstream.streams.worker.breaker import Breaker


@dataclass(slots=True)
class Tally:
    """What a worker has done since it started."""

    n_scored: int = 0
    n_dead_letters: int = 0
    n_alerts: int = 0
    last_spectrum_at: datetime | None = None


class Accounts:
    """Book what is delivered.

    Parameters
    ----------
    breaker
        Told of every batch; its opening and closing are logged here.
    topics
        Names under which alerts are counted.
    """

    def __init__(self, metrics: Metrics, breaker: Breaker, topics: TopicSettings) -> None:
        self.tally = Tally()
        self._metrics = metrics
        self._breaker = breaker
        self._topics = topics

    def count_batch(self, reason: str, queue_wait_s: Sequence[float]) -> None:
        """Count a batch as it is taken: why it was closed, and how long each packet had waited."""
        self._metrics.count_batch(reason, queue_wait_s)

    def book(
        self, outcomes: Sequence[Outcome], origins: Sequence[PacketOrigin], delivered_at: datetime
    ) -> None:
        """Book a batch whose outcomes are delivered; entry i of the origins is outcome i's."""
        metrics, topics = self._metrics, self._topics
        metrics.count_outcomes(outcomes)
        n_dead = n_alerts = n_archival = 0
        for outcome, origin in zip(outcomes, origins, strict=True):
            if isinstance(outcome, Classification):
                metrics.observe_latency(outcome, origin.tense, delivered_at)
                n_alerts += outcome.decision.is_candidate
                n_archival += outcome.decision.is_candidate and origin.tense == "archival"
            else:
                n_dead += 1
                notices.dead_letter(outcome, origin.topic, origin.partition, origin.offset)
        for topic in (topics.alerts, topics.alerts_json):
            metrics.alerts.labels(topic).inc(n_alerts - n_archival)
        metrics.alerts.labels(topics.alerts_archival).inc(n_archival)
        self.tally.n_scored += len(outcomes) - n_dead
        self.tally.n_dead_letters += n_dead
        self.tally.n_alerts += n_alerts
        self.tally.last_spectrum_at = delivered_at
        self._judge(len(outcomes), n_dead)

    def _judge(self, n_packets: int, n_dead: int) -> None:
        """Tell the breaker, and log it when it opens or closes."""
        breaker, was_open = self._breaker, self._breaker.is_open
        breaker.record(n_packets, n_dead, time.monotonic())
        if breaker.is_open == was_open:
            return
        self._metrics.breaker_open.set(breaker.is_open)
        if breaker.is_open:
            notices.breaker_opened(breaker.share, breaker.probe_after_s)
        else:
            notices.breaker_closed()
