"""Build the process that follows stars from its settings: a Faust app with the agent that folds."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

from cempstream.streams.kafka.changelog import Changelog
from cempstream.streams.scoring.star_judge import StarJudge
from cempstream.streams.settings import Settings
from cempstream.streams.stars.accounts import StarAccounts
from cempstream.streams.stars.agent import StarAgent
from cempstream.streams.stars.store import StarStore
from cempstream.streams.stars.table import StarTable
from cempstream.streams.telemetry.star_metrics import StarMetrics
from cempstream.streams.worker.create import (
    app_of,
    equip,
    new_publisher,
    read_known,
    start_metrics,
    start_pipeline,
)
from cempstream.streams.worker.faust_app import App
from cempstream.streams.worker.faust_transport import Consumer

_FORGET_INTERVAL_S = 3600.0


def create_star_app(settings: Settings) -> App:
    """Build the Faust app that follows stars; its models are loaded when it is prepared."""
    agent = cache(lambda: start_star_agent(settings))
    app = app_of(settings, settings.stars.group, (settings.topics.observations,), agent)

    async def on_assigned(consumer: Consumer) -> None:
        await agent().take_over(consumer)

    app.on_assigned = on_assigned

    @app.timer(interval=_FORGET_INTERVAL_S)  # type: ignore[untyped-decorator] # faust's has no type
    async def forget() -> None:
        await agent().forget_silent(datetime.now(UTC))

    return app


def start_star_agent(settings: Settings) -> StarAgent:
    """Load and warm the models, then open the metrics port."""
    topics = settings.topics
    metrics = start_metrics()
    pipeline = start_pipeline(settings, metrics)
    publisher = new_publisher(settings, metrics)
    star_metrics = StarMetrics(metrics.registry)
    read = (topics.observations,)
    parts = equip(settings, metrics, pipeline, publisher, settings.stars.group, read)
    table = StarTable(Changelog(settings.kafka, topics.stars), StarStore(settings.stars.folder), star_metrics)
    return StarAgent(
        settings=settings.batch,
        publisher=publisher,
        accounts=StarAccounts(metrics, parts.breakers, topics, star_metrics),
        progress=parts.progress,
        heart=parts.heart,
        watchdog=parts.watchdog,
        credentials=parts.credentials,
        bundles=parts.bundles,
        judge=StarJudge(pipeline),
        table=table,
        topics=topics,
        limits=settings.limits,
        stars=settings.stars,
        look_up=read_known(settings),
    )
