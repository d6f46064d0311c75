"""``cempstream worker``: start a worker and stay in the foreground."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from cempstream.errors import FixableError, fixable_errors, in_one_line
from cempstream.models.sessions import Provider
from cempstream.streams.commands.options import Bootstrap, KnownFiles, RegionFiles, WatchlistFiles
from cempstream.streams.kafka.topics import TopicAdmin
from cempstream.streams.settings import KafkaSettings, Settings, read_settings
from cempstream.streams.telemetry.watchdog import START_S, end_after
from cempstream.streams.worker.create import create_app
from cempstream.streams.worker.faust_app import run_worker

logger = logging.getLogger(__name__)

_BROKER_TIMEOUT_S = 10.0


class NotReady(FixableError, RuntimeError):
    """The worker cannot start; the message says what to do."""


def worker(
    bootstrap: Bootstrap = None,
    topic: Annotated[list[str] | None, typer.Option(help="Topic of spectra; may be given again.")] = None,
    provider: Annotated[Provider | None, typer.Option(help="Where the networks run.")] = None,
    bundle: Annotated[list[str] | None, typer.Option(help="Model bundle; may be given again.")] = None,
    shadow: Annotated[
        str | None,
        typer.Option(help="Second bundle, scoring to a separate topic, without alerts."),
    ] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Port of /metrics, /live and /ready.")] = None,
    known: KnownFiles = None,
    watchlist: WatchlistFiles = None,
    region: RegionFiles = None,
) -> None:
    """Score spectra as they arrive. Other settings come from the environment: CEMP_<GROUP>__<FIELD>."""
    settings = read_settings(
        kafka={"bootstrap": bootstrap},
        topics={"spectra": topic or None},
        models={"provider": provider, "bundles": bundle or None, "shadow": shadow},
        metrics={"port": metrics_port},
        known={"stars": known or None, "watchlists": watchlist or None, "regions": region or None},
    )
    end_after(START_S)  # a start that hangs ends too
    try:
        run(settings)
    except fixable_errors() as error:
        typer.echo(f"the worker cannot start: {in_one_line(error)}", err=True)
        raise typer.Exit(1) from None


def run(settings: Settings) -> NoReturn:
    """Run until a signal (status 0) or an error (status 1) ends it."""
    topics, wanted = settings.topics, [*settings.topics.spectra, *settings.topics.written]
    if settings.models.shadow is not None:
        wanted.append(topics.scores_shadow)
    if settings.stars.enabled:
        wanted.append(topics.observations)
    require_topics(settings.kafka, wanted)
    app = create_app(settings)
    app.prepare()
    run_worker(app)


def require_topics(kafka: KafkaSettings, wanted: Sequence[str]) -> None:
    """Make sure that the broker answers and has every topic, before anything is read."""
    known = TopicAdmin(kafka).metadata(_BROKER_TIMEOUT_S).topics
    missing = [topic for topic in wanted if topic not in known]
    if missing:
        names = ", ".join(missing)
        raise NotReady(f"these topics do not exist: {names}; create them with `cempstream topics create`")
