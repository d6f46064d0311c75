"""The Prometheus metrics: base units, histograms, labels from closed sets, never a source's name."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from cempstream.processors.outcome import Classification, Outcome, Provenance, Rejected
from cempstream.processors.spectrum import Reason

LATENCY_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900)
STAGE_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
SCORE_BUCKETS = (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
FEH_BUCKETS_DEX = (-5.0, -4.5, -4.0, -3.5, -3.0, -2.5, -2.0, -1.5, -1.0, -0.5)
CFE_BUCKETS_DEX = (0.0, 0.35, 0.7, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5)

#: Candidates are counted by cells of the sky this wide, named by their lower edges.
SKY_CELL_DEG = 30

#: Surveys that get their own label; a packet cannot add more.
SURVEYS = ("lamost", "sdss", "desi", "csst", "4most", "weave", "simulated")

#: Every value of the label.
SURVEY_LABELS = (*SURVEYS, "other")

STAGES = ("decode", "rebin", "normalise", "velocity", "denoise", "features", "classify", "regress", "decide")


class Metrics:
    """The worker's metrics, in their own registry."""

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
        self.skipped = Counter(
            "cemp_skipped",
            "Offsets before the group's place, or behind it, that the broker no longer holds.",
            ["topic", "reason"],
            registry=registry,
        )
        self.alerts = Counter(
            "cemp_alerts_published", "Alerts delivered, by topic.", ["topic"], registry=registry
        )
        self.score = Histogram(
            "cemp_score", "p_cemp of scored spectra.", buckets=SCORE_BUCKETS, registry=registry
        )
        self.ood = Counter("cemp_ood", "Spectra unlike what the models know.", registry=registry)
        self.shadow_spectra = Counter(
            "cemp_shadow_spectra", "Packets that the shadow bundle has seen.", ["outcome"], registry=registry
        )
        self.retries = Counter(
            "cemp_retries",
            "What had to be done once more: requests to the broker, batches in the models.",
            ["what"],
            registry=registry,
        )
        self.candidates = Counter(
            "cemp_candidates",
            "Spectra over their threshold, by most probable subclass.",
            ["survey", "subclass"],
            registry=registry,
        )
        self.expected_candidates = Counter(
            "cemp_expected_candidates",
            "CEMP stars expected among the scored spectra: the sum of their priors.",
            ["survey"],
            registry=registry,
        )
        self.candidate_feh = Histogram(
            "cemp_candidate_feh_dex",
            "[Fe/H] of candidates; those whose spectrum cannot tell are left out.",
            ["survey"],
            buckets=FEH_BUCKETS_DEX,
            registry=registry,
        )
        self.candidate_cfe = Histogram(
            "cemp_candidate_cfe_dex",
            "[C/Fe] of candidates, as it is today; those whose spectrum cannot tell are left out.",
            ["survey"],
            buckets=CFE_BUCKETS_DEX,
            registry=registry,
        )
        self.candidate_sky = Counter(
            "cemp_candidate_sky",
            f"Candidates by cell of {SKY_CELL_DEG} degrees (ICRS), named by its lower edges.",
            ["ra_deg", "dec_deg"],
            registry=registry,
        )
        self.log_lines_dropped = log_lines_dropped(registry)
        self.rebalances = Counter(
            "cemp_rebalances", "Times that the partitions of this worker changed.", registry=registry
        )
        self.lag_messages = Gauge(
            "cemp_consumer_lag_messages",
            "Messages behind the high watermark.",
            ["topic", "partition"],
            registry=registry,
        )
        self.lag_seconds = Gauge(
            "cemp_consumer_lag_seconds",
            "How long the oldest message that waits has waited; 0 when none waits.",
            ["topic", "partition"],
            registry=registry,
        )
        self.retention = Gauge(
            "cemp_retention_seconds",
            "How long the broker keeps a message of a topic that is read; infinite for ever.",
            ["topic"],
            registry=registry,
        )
        self.model_info = Gauge(
            "cemp_model_info",
            "Always 1; the labels say what is served.",
            ["model", "version", "sha256", "provider"],
            registry=registry,
        )
        self.bundle_info = Gauge(
            "cemp_bundle_info",
            "Always 1; the labels say what was asked for.",
            ["bundle", "version", "provider"],
            registry=registry,
        )
        self.breaker_open = Gauge(
            "cemp_breaker_open",
            "1 while too many dead letters of a topic stop its consumption.",
            ["topic"],
            registry=registry,
        )
        self.credentials_refused = Gauge(
            "cemp_credentials_refused",
            "1 while the broker refuses new connections with the worker's credentials.",
            registry=registry,
        )
        self.ready = Gauge("cemp_ready", "1 while the worker consumes.", registry=registry)
        self.heartbeat = Gauge(
            "cemp_heartbeat_timestamp_seconds", "When the last heartbeat was delivered.", registry=registry
        )
        # memory and CPU time of the process, where the system provides them (Linux)
        ProcessCollector(registry=registry)
        for outcome in ("scored", "rejected"):
            self.spectra.labels(outcome)
        # To Prometheus a counter that appears with its first count has not increased; it would miss a fault.
        for what in ("publish", "batch"):
            self.retries.labels(what)
        for outcome in ("scored", "rejected", "failed", "dropped"):
            self.shadow_spectra.labels(outcome)
        for reason in Reason:
            self.dead_letters.labels(reason.value)
        for survey in SURVEY_LABELS:
            self.negative_latency.labels(survey)

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
                survey = survey_label(outcome.spectrum.survey)
                self.expected_candidates.labels(survey).inc(outcome.decision.prior)
                if outcome.decision.is_candidate:
                    self._count_candidate(outcome, survey)
        self.spectra.labels("rejected").inc(n_rejected)
        self.spectra.labels("scored").inc(len(outcomes) - n_rejected)

    def _count_candidate(self, star: Classification, survey: str) -> None:
        self.candidates.labels(survey, star.subclass).inc()
        for histogram, name in ((self.candidate_feh, "feh"), (self.candidate_cfe, "cfe")):
            value = star.parameters[name].value
            if math.isfinite(value):
                histogram.labels(survey).observe(value)
        ra_deg, dec_deg = star.spectrum.ra, star.spectrum.dec
        if ra_deg is not None and dec_deg is not None:
            self.candidate_sky.labels(*sky_cell(ra_deg, dec_deg)).inc()

    def observe_latency(self, outcome: Classification, tense: str, delivered_at: datetime) -> None:
        """Measure reduced → delivered; spectra reduced in the future are counted separately."""
        seconds = (delivered_at - outcome.spectrum.reduced_at).total_seconds()
        survey = survey_label(outcome.spectrum.survey)
        if seconds < 0:
            self.negative_latency.labels(survey).inc()
        else:
            self.latency.labels(survey, tense).observe(seconds)

    def describe_bundle(self, bundle: str, version: str, provider: str) -> None:
        """Say which bundle and provider the settings ask for."""
        self.bundle_info.labels(bundle, version, provider).set(1)

    def forget_partitions(self) -> None:
        """Drop the lag of partitions that another worker may have now, and count the change."""
        self.rebalances.inc()
        self.lag_messages.clear()
        self.lag_seconds.clear()

    def describe_models(self, provenance: Sequence[Provenance]) -> None:
        """Say which graphs are served, and the hash of each bundle as a whole."""
        for model in provenance:
            self.model_info.labels(model.name, model.version, model.sha256, model.provider).set(1)


def log_lines_dropped(registry: CollectorRegistry) -> Counter:
    """Return the counter of log lines that stderr did not take."""
    return Counter("cemp_log_lines_dropped", "Log lines that stderr did not take.", registry=registry)


def survey_label(survey: str) -> str:
    """Return the survey's label; those we do not know share one."""
    name = survey.lower()
    return name if name in SURVEYS else "other"


def sky_cell(ra_deg: float, dec_deg: float) -> tuple[str, str]:
    """Return the lower edges of a position's cell, in degrees."""
    ra = SKY_CELL_DEG * int(ra_deg % 360.0 // SKY_CELL_DEG)
    dec = SKY_CELL_DEG * math.floor(min(dec_deg, 89.999) / SKY_CELL_DEG)
    return str(ra), str(dec)
