"""The worker: a Faust app whose one agent reads batches, calls the pipeline, publishes and acknowledges.

At least once: offsets are committed only after the broker has confirmed every output of a packet. On an
infrastructure error the process ends with a non-zero status and its supervisor starts it again.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import os
import ssl
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NoReturn

import faust
from confluent_kafka.admin import AdminClient
from faust.types import TP, EventT

from cempstream.processors.outcome import Classification, Outcome
from cempstream.schemas.heartbeat import WorkerState
from cempstream.schemas.results import code_provenance
from cempstream.streams.kafka.messages import Origin, OutMessage
from cempstream.streams.kafka.outputs import MessageWriter
from cempstream.streams.kafka.publisher import Publisher
from cempstream.streams.scoring.assemble import load_pipeline
from cempstream.streams.scoring.pipeline import ModelBroken, Pipeline
from cempstream.streams.settings import KafkaSettings, Settings
from cempstream.streams.telemetry import notices
from cempstream.streams.telemetry.health import HealthServer
from cempstream.streams.telemetry.metrics import Metrics
from cempstream.streams.worker.batches import EventBatch, EventBatches
from cempstream.streams.worker.breaker import Breaker
from cempstream.streams.worker.faust_app import App, new_app, raw_topic
from cempstream.streams.worker.heap import keep_freed_memory
from cempstream.streams.worker.heartbeat import Heart, Pulse, Tally
from cempstream.streams.worker.lag import LagMeter
from cempstream.streams.worker.orphans import OrphanWatch
from cempstream.streams.worker.shadow import Shadow
from cempstream.streams.worker.waiting import WaitingTime

#: A consumer that has messages waiting and takes none for this long has stopped in silence.
STALL_S = 75.0

_WATCH_INTERVAL_S = 1.0
_ASK_INTERVAL_S = 5.0
_HEARTBEAT_INTERVAL_S = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Processed:
    """A batch on its way out."""

    outcomes: list[Outcome]
    origins: list[Origin]
    messages: list[OutMessage]


class Worker:
    """What the agent needs, and the state of the night.

    Parameters
    ----------
    settings
        Read once at the start.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.breaker = Breaker(
            settings.breaker.share, settings.breaker.window, settings.breaker.probe_after_s
        )
        self._slots = asyncio.Semaphore(settings.batch.concurrent)
        self.writer = MessageWriter(settings.topics, settings.limits)
        self.publisher = Publisher(
            settings.kafka.bootstrap,
            max_message_bytes=2 * settings.limits.max_packet_bytes,
            client_config=settings.kafka.client_config(),
            on_retries=self.metrics.retries.labels("publish").inc,
        )
        self.pipeline: Pipeline | None = None
        self.shadow: Shadow | None = None
        self.health: HealthServer | None = None
        self.heart: Heart | None = None
        self.admin = AdminClient(
            {
                "bootstrap.servers": settings.kafka.bootstrap,
                "log_level": 0,
                **settings.kafka.client_config(),
            }
        )
        self.lag = LagMeter(self.admin)
        self.waiting = WaitingTime()
        self.tally = Tally()
        self.bundles: tuple[str, ...] = ()
        self.has_partitions = False
        self._assignment: frozenset[Any] = frozenset()
        self._is_publishing = False
        self._lag_messages: int | None = None
        self._lag_s = 0.0
        self._progress_at_s = time.monotonic()
        self._has_lag = False

    def start(self) -> None:
        """Load and warm the models, then open the metrics port: a worker without models is never ready."""
        keep_freed_memory()
        pipeline = load_pipeline(self.settings, timer=self.metrics.time_stage)
        self.pipeline = replace(pipeline, on_retry=self.metrics.retries.labels("batch").inc)
        if self.settings.models.shadow is not None:
            self.shadow = Shadow(self.settings, self.publisher, self.metrics)
        provider, bundles = self.settings.models.provider.value, []
        for route in self.pipeline.routes:
            models = route.chain.provenance
            self.metrics.describe_models(models)
            name, version = models[0].name.partition(".")[0], models[0].version
            self.metrics.describe_bundle(name, version, provider)
            bundles.append(f"{name}/{version}")
        self.heart = Heart(
            self.publisher,
            self.metrics,
            self.settings.topics.heartbeat,
            bundles=bundles,
            provider=provider,
            topics=self.settings.topics.spectra,
            code_version=code_provenance().version,
        )
        address = self.settings.metrics
        self.health = HealthServer(
            self.metrics.registry,
            address.host,
            address.port,
            is_live=self.is_live,
            is_ready=self.is_ready,
            on_probe=self.breaker.probe_now,
        )
        self.health.start()
        self.bundles = tuple(bundles)
        shadow = self.shadow.bundle if self.shadow is not None else None
        notices.started(self.bundles, provider, f"{self.health.address}/metrics", shadow)
        OrphanWatch(
            self.admin,
            self.settings.kafka.group,
            self.settings.topics.spectra,
            is_idle=lambda: not self.has_partitions,
            on_lost=_end_lost,
        ).start()

    def is_live(self) -> str | None:
        """Say what is wrong with the stream, None where it moves or has nothing to do."""
        idle_s = time.monotonic() - self._progress_at_s
        if self._has_lag and not self.breaker.is_open and idle_s > STALL_S:
            return f"messages wait and none was taken for {idle_s:.0f} s"
        return None

    def is_ready(self) -> str | None:
        """Say why the worker does not consume."""
        if self.breaker.is_open:
            return "the breaker is open: too many dead letters"
        return None if self.has_partitions else "no partitions are assigned yet"

    async def run(self, stream: Any) -> None:
        """Consume until the app stops."""
        batch_settings = self.settings.batch
        batches = EventBatches(
            stream,
            size=batch_settings.size,
            within_s=batch_settings.within_s,
            max_in_flight=batch_settings.max_in_flight,
        )
        alive = asyncio.create_task(self._show_life())
        async with self.publisher, batches as ready:
            self._is_publishing = True
            try:
                async for batch in ready:
                    await self._hold_while_open()
                    handled = asyncio.ensure_future(self._handle(batch))
                    batch.ack_when(handled)
                    if self.breaker.is_open:  # a probe: nothing more is let through until it is judged
                        await asyncio.wait([handled])
            except ModelBroken as error:  # it ends the process, and a supervisor tells no reasons
                notices.model_broken(str(error))
                raise
            finally:
                alive.cancel()
                self._is_publishing = False
                tally = self.tally
                notices.stopped(self.bundles, tally.n_scored, tally.n_dead_letters, tally.n_alerts)

    async def _show_life(self) -> None:
        """Put the end off, again and again; an event loop that hangs can neither say so nor end.

        From before the first packet on: Faust's timers begin only after the first assignment.
        """
        while True:
            faulthandler.dump_traceback_later(STALL_S, exit=True)  # from a thread of its own
            await asyncio.sleep(_WATCH_INTERVAL_S)

    async def _handle(self, batch: EventBatch) -> None:
        """Classify a batch, off the event loop, and return when its messages are delivered.

        Batches overlap: while one waits for the broker, or for the half of its work that is not the
        networks', another uses the core.
        """
        ingested_at = datetime.now(UTC)
        async with self._slots:
            self.metrics.count_batch(batch.reason.value, batch.queue_wait_s)
            processed = await asyncio.to_thread(self._process, batch.events, ingested_at)
        await self._deliver(batch, processed)
        if self.shadow is not None:
            packets = [event.value or b"" for event in batch.events]
            await self.shadow.score(packets, processed.origins, ingested_at)

    def _process(self, events: Sequence[EventT[bytes]], ingested_at: datetime) -> Processed:
        """Classify a batch and write its messages; runs in a thread of its own, off the event loop."""
        assert self.pipeline is not None, "start() loads it"
        packets = [event.value or b"" for event in events]
        outcomes = self.pipeline(packets)
        origins = [_origin(event) for event in events]
        messages = self.writer(outcomes, origins, ingested_at, datetime.now(UTC))
        return Processed(outcomes, origins, messages)

    async def _deliver(self, batch: EventBatch, processed: Processed) -> None:
        await self.publisher.publish(processed.messages)
        delivered_at = datetime.now(UTC)
        metrics, topics = self.metrics, self.settings.topics
        metrics.count_outcomes(processed.outcomes)
        n_dead = n_alerts = n_archival = 0
        for outcome, origin in zip(processed.outcomes, processed.origins, strict=True):
            if isinstance(outcome, Classification):
                metrics.observe_latency(outcome, origin.tense, delivered_at)
                n_alerts += outcome.decision.is_candidate
                n_archival += outcome.decision.is_candidate and origin.tense == "archival"
            else:
                n_dead += 1
                notices.dead_letter(outcome, origin.topic, origin.partition, origin.offset)
            self.waiting.deliver((origin.topic, origin.partition), origin.timestamp_ms / 1000)
        for topic in (topics.alerts, topics.alerts_json):
            metrics.alerts.labels(topic).inc(n_alerts - n_archival)
        metrics.alerts.labels(topics.alerts_archival).inc(n_archival)
        self.tally.n_scored += len(processed.outcomes) - n_dead
        self.tally.n_dead_letters += n_dead
        self.tally.n_alerts += n_alerts
        self.tally.last_spectrum_at = delivered_at
        was_open = self.breaker.is_open
        self.breaker.record(len(batch), n_dead, time.monotonic())
        if self.breaker.is_open != was_open:
            self._say_breaker()
        self._progress_at_s = time.monotonic()

    async def _hold_while_open(self) -> None:
        while (wait_s := self.breaker.wait_s(time.monotonic())) > 0:
            self.metrics.ready.set(0)
            await asyncio.sleep(min(wait_s, 0.5))

    def _say_breaker(self) -> None:
        self.metrics.breaker_open.set(self.breaker.is_open)
        if self.breaker.is_open:
            notices.breaker_opened(self.breaker.share, self.breaker.probe_after_s)
        else:
            notices.breaker_closed()

    def watch(self, consumer: Any) -> None:
        """See what is assigned and how much waits."""
        assignment = frozenset(consumer.assignment())
        if assignment != self._assignment:
            notices.partitions_changed(self._assignment - assignment, assignment - self._assignment)
            self._assignment = assignment
            self.waiting.forget()
            self.metrics.forget_partitions()
        self.has_partitions = bool(assignment)
        self.metrics.ready.set(self.is_ready() is None)
        lags = self.lag.measure(consumer)
        self._lag_s = 0.0
        for partition, lag in lags.items():
            labels = (partition.topic, str(partition.partition))
            waited_s = self.waiting.measure(tuple(partition), lag, time.time())
            self._lag_s = max(self._lag_s, waited_s)
            self.metrics.lag_messages.labels(*labels).set(lag)
            self.metrics.lag_seconds.labels(*labels).set(waited_s)
        n_waiting = sum(lags.values())
        self._lag_messages = n_waiting if assignment else None
        self._has_lag = n_waiting > 0
        if not self._has_lag:
            self._progress_at_s = time.monotonic()

    async def beat(self) -> None:
        """Send a sign of life; before the broker is reached there is nobody to send it."""
        if self.heart is None or not self._is_publishing:
            return
        lag = self._lag_messages
        state: WorkerState = (
            "paused" if self.breaker.is_open else "running" if self.has_partitions else "starting"
        )
        await self.heart.beat(Pulse(state, lag, None if lag is None else self._lag_s), self.tally)


def create_app(settings: Settings) -> App:
    """Build the Faust app of a worker."""
    kafka = settings.kafka
    app = new_app(
        kafka.group,
        kafka.bootstrap,
        session_timeout_s=kafka.session_timeout_s,
        heartbeat_s=kafka.heartbeat_interval_s,
        commit_interval_s=kafka.commit_interval_s,
        max_fetch_bytes=kafka.fetch_max_bytes,
        broker_credentials=_credentials(kafka),
        consumer_metadata_max_age_ms=round(kafka.metadata_max_age_s * 1000),
    )
    worker = Worker(settings)
    source = raw_topic(app, *settings.topics.spectra)

    @app.agent(source, name="classify")
    async def classify(stream: Any) -> None:
        await worker.run(stream)

    app.preparation = worker.start

    @app.timer(interval=_WATCH_INTERVAL_S)  # type: ignore[untyped-decorator] # faust's has no type
    async def watch() -> None:
        worker.watch(app.consumer)
        if (problem := worker.is_live()) is not None:
            await app.crash(RuntimeError(f"the stream has stalled: {problem}"))

    # Timers of their own: a broker that does not answer must not hold up the watch.
    @app.timer(interval=_ASK_INTERVAL_S)  # type: ignore[untyped-decorator] # faust's has no type
    async def ask() -> None:
        await worker.lag.ask(app.consumer)

    @app.timer(interval=_HEARTBEAT_INTERVAL_S)  # type: ignore[untyped-decorator] # faust's has no type
    async def beat() -> None:
        await worker.beat()

    return app


def _end_lost(orphans: frozenset[TP]) -> NoReturn:
    """End without ceremony: with no partition nothing is under way, and the event loop may not answer."""
    faulthandler.dump_traceback(all_threads=True)
    for task in (thing for thing in gc.get_objects() if isinstance(thing, asyncio.Task)):
        task.print_stack(file=sys.stderr)
    notices.partitions_unread(orphans)
    os._exit(1)


def _credentials(kafka: KafkaSettings) -> Any:
    if kafka.security_protocol == "PLAINTEXT":
        return None
    context = ssl.create_default_context(cafile=str(kafka.ca_file) if kafka.ca_file else None)
    if kafka.security_protocol == "SSL":
        return faust.SSLCredentials(context)
    return faust.SASLCredentials(
        username=kafka.username,
        password=kafka.secret(),
        mechanism=kafka.sasl_mechanism,
        ssl_context=context if kafka.security_protocol == "SASL_SSL" else None,
    )


def _origin(event: EventT[bytes]) -> Origin:
    message = event.message
    headers = message.headers or []
    pairs = list(headers.items()) if isinstance(headers, Mapping) else headers
    return Origin(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        timestamp_ms=round((message.timestamp or 0) * 1000),
        key=message.key,
        headers=tuple((str(name), bytes(value or b"")) for name, value in pairs),
    )
