"""The metrics of the process that follows stars, beside those that it shares with a worker."""

from __future__ import annotations

from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from cempstream.processors.stars.life import AlertType
from cempstream.streams.telemetry.metrics import LATENCY_BUCKETS_S, survey_label


class StarMetrics:
    """What becomes of observations and stars."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = registry or CollectorRegistry()
        self.held = Gauge("cemp_stars_held", "Stars that this process holds.", registry=registry)
        self.folds = Counter(
            "cemp_star_folds",
            "Observations by what they brought: a change of their star, or none.",
            ["outcome"],
            registry=registry,
        )
        self.alerts = Counter(
            "cemp_star_alerts", "Alerts of stars delivered, by type.", ["type"], registry=registry
        )
        self.restored = Counter(
            "cemp_stars_restored", "Messages of the changelog that were read.", registry=registry
        )
        self.restoring = Gauge(
            "cemp_stars_restoring",
            "Partitions whose stars are being read from the changelog.",
            registry=registry,
        )
        self.forgotten = Counter(
            "cemp_stars_forgotten", "Stars that left after long silence.", registry=registry
        )
        self.lost = Counter(
            "cemp_star_changelog_lost",
            "Partitions whose changelog was gone, so that their observations were read again.",
            registry=registry,
        )
        self.latency = Histogram(
            "cemp_star_latency_seconds",
            "From a spectrum's reduction to the delivery of its star's alert.",
            ["survey", "tense"],
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        for outcome in ("changed", "repeated", "rejected"):
            self.folds.labels(outcome)
        for alert_type in get_args(AlertType):
            self.alerts.labels(alert_type)

    def observe_latency(self, survey: str, tense: str, seconds: float) -> None:
        """Measure reduced → delivered."""
        self.latency.labels(survey_label(survey), tense).observe(max(0.0, seconds))
