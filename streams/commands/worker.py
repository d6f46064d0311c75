"""``cempstream worker``: start a worker and stay in the foreground."""

from __future__ import annotations

import logging
from typing import Annotated, NoReturn

import typer
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from cempstream.errors import FixableError
from cempstream.models.bundle import BundleError
from cempstream.models.sessions import Provider, ProviderUnavailable
from cempstream.streams.commands.options import Bootstrap
from cempstream.streams.settings import Settings, read_settings
from cempstream.streams.worker.agent import create_app
from cempstream.streams.worker.faust_app import run_worker as run_app

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
        str | None, typer.Option(help="Bundle that scores beside it, to a topic of its own, alerting nobody.")
    ] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Port of /metrics, /live and /ready.")] = None,
) -> None:
    """Score spectra as they appear. Everything else is set by the environment: CEMP_<GROUP>__<FIELD>."""
    settings = read_settings(
        kafka={"bootstrap": bootstrap},
        topics={"spectra": topic or None},
        models={"provider": provider, "bundles": bundle or None, "shadow": shadow},
        metrics={"port": metrics_port},
    )
    try:
        run_worker(settings)
    except (NotReady, ProviderUnavailable, BundleError) as error:
        typer.echo(f"the worker cannot start: {error}", err=True)
        raise typer.Exit(1) from None


def run_worker(settings: Settings) -> NoReturn:
    """Run until a signal (status 0) or an error (status 1) ends it."""
    check_topics(settings)
    app = create_app(settings)
    app.prepare()
    run_app(app)


def check_topics(settings: Settings) -> None:
    """Make sure that the broker answers and has every topic, before any spectrum is read."""
    client = AdminClient({"bootstrap.servers": settings.kafka.bootstrap, **settings.kafka.client_config()})
    try:
        known = client.list_topics(timeout=_BROKER_TIMEOUT_S).topics
    except KafkaException as error:
        raise NotReady(f"no broker answers at {settings.kafka.bootstrap}: {error.args[0].str()}") from None
    topics = settings.topics
    wanted = [*topics.spectra, *topics.written]
    if settings.models.shadow is not None:
        wanted.append(topics.scores_shadow)
    missing = [topic for topic in wanted if topic not in known]
    if missing:
        raise NotReady(f"topic(s) {', '.join(missing)} do not exist; `cempstream topics create` makes them")
