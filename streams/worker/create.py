"""Build a worker from its settings: a Faust app, and the agent that its preparation makes."""

from __future__ import annotations

import asyncio
import gc
import io
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NoReturn

from confluent_kafka.admin import AdminClient
from faust.types import TP

from cempstream.schemas.results import code_provenance
from cempstream.schemas.sky import LookUp
from cempstream.streams.kafka.credentials import CredentialsWatch
from cempstream.streams.kafka.gaps import Gap
from cempstream.streams.kafka.outputs import MessageWriter
from cempstream.streams.kafka.publisher import Publisher
from cempstream.streams.kafka.schema_registry import use_registry
from cempstream.streams.observing.catalogue_files import read_catalogue
from cempstream.streams.observing.identities import Identities
from cempstream.streams.observing.known_stars import KnownStars
from cempstream.streams.scoring.assemble import load_pipeline
from cempstream.streams.scoring.pipeline import Pipeline
from cempstream.streams.settings import Settings
from cempstream.streams.telemetry import notices
from cempstream.streams.telemetry.health import HealthServer
from cempstream.streams.telemetry.log_writer import never_block
from cempstream.streams.telemetry.metrics import Metrics
from cempstream.streams.telemetry.watchdog import Watchdog, dump_stacks, end_at_once, say_unblocked
from cempstream.streams.worker.accounts import Accounts
from cempstream.streams.worker.agent import Agent, Classifier
from cempstream.streams.worker.breaker import Breakers
from cempstream.streams.worker.faust_app import App, broker_credentials, new_app, raw_topic
from cempstream.streams.worker.heap import keep_freed_memory
from cempstream.streams.worker.heart import Heart
from cempstream.streams.worker.kept import KeptTimes
from cempstream.streams.worker.lag import LagMeter
from cempstream.streams.worker.orphans import OrphanWatch
from cempstream.streams.worker.progress import DELIVERY_TIMEOUT_S, WATCH_INTERVAL_S, Progress
from cempstream.streams.worker.shadow import Shadow

logger = logging.getLogger(__name__)

#: How often the broker is asked how much waits.
ASK_INTERVAL_S = 5.0

_HEARTBEAT_INTERVAL_S = 1.0


def create_app(settings: Settings) -> App:
    """Build the Faust app of a worker; its models are loaded when it is prepared."""
    return app_of(settings, settings.kafka.group, settings.topics.spectra, lambda: start_agent(settings))


def app_of(settings: Settings, group: str, topics: Sequence[str], start: Callable[[], Agent]) -> App:
    """Build a Faust app that reads topics with an agent.

    Parameters
    ----------
    start
        Makes the agent; called once, when the app is prepared.
    """
    kafka = settings.kafka
    app = new_app(
        group,
        kafka.bootstrap,
        session_timeout_s=kafka.session_timeout_s,
        heartbeat_s=kafka.heartbeat_interval_s,
        commit_interval_s=kafka.commit_interval_s,
        max_fetch_bytes=kafka.fetch_max_bytes,
        broker_credentials=broker_credentials(kafka),
        broker_request_timeout=kafka.request_timeout_s,
        consumer_metadata_max_age_ms=round(kafka.metadata_max_age_s * 1000),
    )

    @cache  # one agent: made by the app's preparation, before Faust runs anything below
    def agent() -> Agent:
        use_registry(settings)
        return start()

    app.preparation = agent
    app.kafka = kafka

    async def on_gap(gap: Gap) -> None:
        await agent().progress.skip(gap)

    app.on_gap = on_gap

    def read(topic: str) -> None:
        """Read a topic by itself: while one is held, the others go on."""

        @app.agent(raw_topic(app, topic), name=f"read {topic}")
        async def take(stream: Any) -> None:
            await agent().run(topic, stream)

    for topic in topics:
        read(topic)

    @app.timer(interval=WATCH_INTERVAL_S)  # type: ignore[untyped-decorator] # faust's has no type
    async def watch() -> None:
        progress = agent().progress
        progress.watch(app.consumer)
        if (problem := progress.is_live()) is not None:
            await app.crash(RuntimeError(f"the stream has stalled: {problem}"))

    # Separate timers: a broker that does not answer must not hold up the watch.
    @app.timer(interval=ASK_INTERVAL_S)  # type: ignore[untyped-decorator] # faust's has no type
    async def ask() -> None:
        await agent().progress.ask(app.consumer)

    @app.timer(interval=_HEARTBEAT_INTERVAL_S)  # type: ignore[untyped-decorator] # faust's has no type
    async def beat() -> None:
        await agent().beat()

    return app


@dataclass(frozen=True, slots=True, eq=False)
class Equipment:
    """What every agent has, ready to run; its names are those of `Agent`."""

    publisher: Publisher
    breakers: Breakers
    progress: Progress
    heart: Heart
    watchdog: Watchdog
    credentials: CredentialsWatch
    bundles: tuple[str, ...]


def start_agent(settings: Settings) -> Classifier:
    """Load and warm the models, then open the metrics port: a worker without models is never ready."""
    metrics = start_metrics()
    pipeline = identifying(start_pipeline(settings, metrics), settings)
    publisher = new_publisher(settings, metrics)
    shadow = None if settings.models.shadow is None else Shadow(settings, publisher, metrics)
    parts = equip(
        *(settings, metrics, pipeline, publisher, settings.kafka.group, settings.topics.spectra),
        shadow=shadow.bundle if shadow else None,
    )
    return Classifier(
        settings=settings.batch,
        pipeline=pipeline,
        writer=MessageWriter(settings.topics, settings.limits, read_known(settings)),
        publisher=publisher,
        accounts=Accounts(metrics, parts.breakers, settings.topics),
        progress=parts.progress,
        heart=parts.heart,
        watchdog=parts.watchdog,
        credentials=parts.credentials,
        shadow=shadow,
        bundles=parts.bundles,
    )


def identifying(pipeline: Pipeline, settings: Settings) -> Pipeline:
    """Let a catalogue's names be the ids of spectra that have none, where the settings name one."""
    stars = settings.stars
    if stars.catalogue is None:
        return pipeline
    catalogue = read_catalogue(stars.catalogue)
    logger.info("ids by position: %s", catalogue.describe())
    identities = Identities(catalogue, stars.radius_arcsec)
    return replace(pipeline, decode=lambda packet: identities.identify(pipeline.decode(packet)))


def read_known(settings: Settings) -> LookUp | None:
    """Read what alerts are compared with, and log what it is; None where the settings name nothing."""
    files = settings.known
    if not (files.stars or files.watchlists or files.regions):
        return None
    known = KnownStars(files.stars, files.watchlists, files.regions, radius_arcsec=files.radius_arcsec)
    for line in known.describe():
        logger.info("%s", line)
    return known.of_spectrum


def start_metrics() -> Metrics:
    """Make the metrics of this process, which must neither lose freed memory nor wait for its log."""
    keep_freed_memory()
    metrics = Metrics()
    never_block(metrics.log_lines_dropped.inc)
    return metrics


def start_pipeline(settings: Settings, metrics: Metrics) -> Pipeline:
    """Load and warm the models."""
    pipeline = load_pipeline(settings, timer=metrics.time_stage)
    return replace(pipeline, on_retry=metrics.retries.labels("batch").inc)


def new_publisher(settings: Settings, metrics: Metrics) -> Publisher:
    """Return the publisher of an agent, which starts it."""
    kafka = settings.kafka
    return Publisher(
        kafka.bootstrap,
        max_message_bytes=settings.limits.max_message_bytes,
        delivery_timeout_s=DELIVERY_TIMEOUT_S,
        client_config={
            **kafka.client_config(),
            "socket.timeout.ms": round(kafka.request_timeout_s * 1000),
        },
        on_retries=metrics.retries.labels("publish").inc,
    )


def equip(
    settings: Settings,
    metrics: Metrics,
    pipeline: Pipeline,
    publisher: Publisher,
    group: str,
    topics: Sequence[str],
    *,
    shadow: str | None = None,
) -> Equipment:
    """Make what an agent has beside its work, and open the metrics port.

    Parameters
    ----------
    group, topics
        What is read, and as whom.
    shadow
        The bundle that scores everything once more.
    """
    kafka, provider = settings.kafka, settings.models.provider.value
    bundles = tuple(_describe(pipeline, metrics, provider))
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0, **kafka.client_config()})
    breaker = settings.breaker
    breakers = Breakers(topics, breaker.share, breaker.window, breaker.probe_after_s)
    progress = Progress(LagMeter(admin), KeptTimes(admin, kafka), breakers, metrics)
    watchdog = Watchdog(progress.is_live)
    heart = Heart(
        publisher,
        metrics,
        settings.topics.heartbeat,
        bundles=bundles,
        provider=provider,
        topics=topics,
        code_version=code_provenance().version,
    )
    credentials = CredentialsWatch(kafka, lambda refusal: _note_refusal(metrics, refusal))
    health = HealthServer(
        metrics.registry,
        settings.metrics.host,
        settings.metrics.port,
        is_live=watchdog.is_live,
        is_ready=lambda: credentials.is_accepted() or progress.is_ready(),
        on_probe=breakers.probe_now if settings.metrics.allow_probe else None,
    )
    health.start()
    notices.started(bundles, provider, f"{health.address}/metrics", shadow)
    OrphanWatch(
        admin,
        group,
        topics,
        is_idle=lambda: not progress.has_partitions,
        on_lost=_end_lost,
    ).start()
    return Equipment(publisher, breakers, progress, heart, watchdog, credentials, bundles)


def _note_refusal(metrics: Metrics, refusal: str | None) -> None:
    metrics.credentials_refused.set(refusal is not None)
    notices.credentials_judged(refusal)


def _describe(pipeline: Pipeline, metrics: Metrics, provider: str) -> Iterator[str]:
    """Tell the metrics what is served, and yield each bundle as ``name/version``."""
    for route in pipeline.routes:
        models = route.chain.provenance
        metrics.describe_models(models)
        name, version = models[0].name.partition(".")[0], models[0].version
        metrics.describe_bundle(name, version, provider)
        yield f"{name}/{version}"


def _end_lost(orphans: frozenset[TP]) -> NoReturn:
    """End at once: with no partition nothing is in flight, and the event loop may not answer."""
    dump_stacks()
    stacks = io.StringIO()
    for task in (thing for thing in gc.get_objects() if isinstance(thing, asyncio.Task)):
        task.print_stack(file=stacks)
    say_unblocked(stacks.getvalue())
    notices.partitions_unread(orphans)
    end_at_once(1)
