"""What Prometheus is told: base units, histograms, labels from closed sets, never a source's name."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from cempstream.processors.outcome import Classification, Outcome, Provenance, Rejected

LATENCY_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900)
STAGE_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
SCORE_BUCKETS = (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)

#: Surveys that get a label of their own; a packet cannot make up more.
SURVEYS = ("lamost", "sdss", "desi", "csst", "4most", "weave", "simulated")

STAGES = ("decode", "rebin", "normalise", "velocity", "denoise", "features", "classify", "regress", "decide")


class Metrics:
    """The worker's metrics in a registry of their own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = registry or CollectorRegistry()
        self.latency = Histogram(
            "cemp_end_to_end_latency_seconds",
            "From a spectrum's reduction to the delivery of its outcome; replayed packets by their tense.",
            ["survey", "tense"],
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.negative_latency = Counter(
            "cemp_negative_latency",
            "Spectra that arrived before they were reduced: a clock is wrong.",
            ["survey"],
            registry=registry,
        )
        self.stage = Histogram(
            "cemp_stage_duration_seconds",
            "Time of a batch in one stage.",
            ["stage"],
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )
        self.queue_wait = Histogram(
            "cemp_queue_wait_seconds",
            "Time of a packet between its arrival in the worker and its batch's start.",
            ["stage"],
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )
        self.batch_size = Histogram(
            "cemp_batch_size", "Packets in a batch.", buckets=BATCH_BUCKETS, registry=registry
        )
        self.batch_flush = Counter(
            "cemp_batch_flush", "Batches by what closed them.", ["reason"], registry=registry
        )
        self.spectra = Counter(
            "cemp_spectra", "Packets by what became of them.", ["outcome"], registry=registry
        )
        self.dead_letters = Counter("cemp_dlq", "Dead letters by reason.", ["reason"], registry=registry)
        self.alerts = Counter(
            "cemp_alerts_published", "Alerts delivered, by topic.", ["topic"], registry=registry
        )
        self.score = Histogram(
            "cemp_score", "p_cemp of scored spectra.", buckets=SCORE_BUCKETS, registry=registry
        )
        self.ood = Counter("cemp_ood", "Spectra unlike what the models know.", registry=registry)
        self.lag_messages = Gauge(
            "cemp_consumer_lag_messages",
            "Messages behind the high watermark.",
            ["topic", "partition"],
            registry=registry,
        )
        self.lag_seconds = Gauge(
            "cemp_consumer_lag_seconds",
            "Age of the last message that was processed while more wait; 0 when none waits.",
            ["topic", "partition"],
            registry=registry,
        )
        self.model_info = Gauge(
            "cemp_model_info",
            "Always 1; the labels say what is served.",
            ["model", "version", "sha256", "provider"],
            registry=registry,
        )
        self.breaker_open = Gauge(
            "cemp_breaker_open", "1 while too many dead letters hold consumption.", registry=registry
        )
        self.ready = Gauge("cemp_ready", "1 while the worker consumes.", registry=registry)
        self.heartbeat = Gauge(
            "cemp_heartbeat_timestamp_seconds", "When the last heartbeat was delivered.", registry=registry
        )
        for outcome in ("scored", "rejected"):
            self.spectra.labels(outcome)

    @contextmanager
    def time_stage(self, stage: str) -> Iterator[None]:
        """Measure a stage of the pipeline."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.stage.labels(stage).observe(time.perf_counter() - start)

    def count_batch(self, reason: str, waits_s: Sequence[float]) -> None:
        """Count a batch as it starts."""
        self.batch_size.observe(len(waits_s))
        self.batch_flush.labels(reason).inc()
        wait = self.queue_wait.labels("batch")
        for seconds in waits_s:
            wait.observe(seconds)

    def count_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """Count outcomes whose messages are delivered."""
        n_rejected = 0
        for outcome in outcomes:
            if isinstance(outcome, Rejected):
                n_rejected += 1
                self.dead_letters.labels(outcome.reason.value).inc()
            else:
                self.score.observe(outcome.p_cemp)
                if "out_of_distribution" in outcome.flags:
                    self.ood.inc()
        self.spectra.labels("rejected").inc(n_rejected)
        self.spectra.labels("scored").inc(len(outcomes) - n_rejected)

    def observe_latency(self, outcome: Classification, tense: str, delivered_at: datetime) -> None:
        """Measure reduced → delivered; what lies in the future is counted, not hidden."""
        seconds = (delivered_at - outcome.spectrum.reduced_at).total_seconds()
        survey = survey_label(outcome.spectrum.survey)
        if seconds < 0:
            self.negative_latency.labels(survey).inc()
        else:
            self.latency.labels(survey, tense).observe(seconds)

    def describe_models(self, provenance: Sequence[Provenance]) -> None:
        """Say which graphs are served."""
        for model in provenance:
            self.model_info.labels(model.name, model.version, model.sha256, model.provider).set(1)


def survey_label(survey: str) -> str:
    """Return the survey's label; those we do not know share one."""
    name = survey.lower()
    return name if name in SURVEYS else "other"
