"""The worker's accounts: what became of every packet, in its tally, in the metrics and in the breaker."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cempstream.processors.outcome import Classification, Outcome
from cempstream.processors.stars.observation import is_followed
from cempstream.streams.kafka.messages import PacketOrigin
from cempstream.streams.settings import TopicSettings
from cempstream.streams.telemetry import notices
from cempstream.streams.telemetry.metrics import Metrics
from cempstream.streams.worker.breaker import Breakers


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
    breakers
        Told of every packet; their opening and closing are logged here.
    topics
        Names under which alerts are counted.
    """

    def __init__(self, metrics: Metrics, breakers: Breakers, topics: TopicSettings) -> None:
        self.tally = Tally()
        self._metrics = metrics
        self._breakers = breakers
        for topic in breakers.topics:
            metrics.breaker_open.labels(topic).set(0)
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
        n_alerts = n_archival = 0
        dead: Counter[str] = Counter()
        for outcome, origin in zip(outcomes, origins, strict=True):
            if isinstance(outcome, Classification):
                metrics.observe_latency(outcome, origin.tense, delivered_at)
                is_alert = outcome.decision.is_candidate and not is_followed(outcome)
                n_alerts += is_alert
                n_archival += is_alert and origin.tense == "archival"
            else:
                dead[origin.topic] += 1
                notices.dead_letter(outcome, origin.topic, origin.partition, origin.offset)
        for topic in (topics.alerts, topics.alerts_json):
            metrics.alerts.labels(topic).inc(n_alerts - n_archival)
        metrics.alerts.labels(topics.alerts_archival).inc(n_archival)
        self.tally.n_scored += len(outcomes) - dead.total()
        self.tally.n_dead_letters += dead.total()
        self.tally.n_alerts += n_alerts
        self.tally.last_spectrum_at = delivered_at
        for topic, n_packets in Counter(origin.topic for origin in origins).items():
            self._judge(topic, n_packets, dead[topic])

    def _judge(self, topic: str, n_packets: int, n_dead: int) -> None:
        """Tell a topic's breaker, and log it when it opens or closes."""
        breaker = self._breakers[topic]
        was_open = breaker.is_open
        breaker.record(n_packets, n_dead, time.monotonic())
        if breaker.is_open == was_open:
            return
        self._metrics.breaker_open.labels(topic).set(breaker.is_open)
        if breaker.is_open:
            notices.breaker_opened(topic, breaker.share, breaker.probe_after_s)
        else:
            notices.breaker_closed(topic)
