"""``cempstream worker``: start a worker and stay in the foreground."""

from __future__ import annotations

import logging
from typing import Annotated, NoReturn

import typer
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from pydantic import ValidationError

from cempstream.models.sessions import Provider, ProviderUnavailable
from cempstream.streams.faust_app import run_worker as run_app
from cempstream.streams.settings import Settings
from cempstream.streams.worker import create_app

logger = logging.getLogger(__name__)

_BROKER_TIMEOUT_S = 10.0


class NotReady(RuntimeError):
    """The worker cannot start; the message says what to do."""


def worker(
    bootstrap: Annotated[str | None, typer.Option(help="Kafka brokers, host:port[,host:port…].")] = None,
    topic: Annotated[list[str] | None, typer.Option(help="Topic of spectra; may be given again.")] = None,
    provider: Annotated[Provider | None, typer.Option(help="Where the networks run.")] = None,
    bundle: Annotated[list[str] | None, typer.Option(help="Model bundle; may be given again.")] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Port of /metrics, /live and /ready.")] = None,
) -> None:
    """Score spectra as they appear. Everything else is set by the environment: CEMP_<GROUP>__<FIELD>."""
    try:
        settings = _override(Settings(), bootstrap, topic, provider, bundle, metrics_port)
        run_worker(settings)
    except ValidationError as error:
        for problem in error.errors():
            place = "__".join(str(part).upper() for part in problem["loc"])
            typer.echo(f"CEMP_{place}: {problem['msg']}", err=True)
        raise typer.Exit(2) from None
    except (NotReady, ProviderUnavailable, FileNotFoundError, ValueError) as error:
        typer.echo(f"the worker cannot start: {error}", err=True)
        raise typer.Exit(1) from None


def run_worker(settings: Settings) -> NoReturn:
    """Run until a signal (status 0) or an error (status 1) ends it."""
    check_topics(settings)
    run_app(create_app(settings))


def check_topics(settings: Settings) -> None:
    """Make sure that the broker answers and has every topic, before any spectrum is read."""
    client = AdminClient({"bootstrap.servers": settings.kafka.bootstrap, **settings.kafka.client_config()})
    try:
        known = client.list_topics(timeout=_BROKER_TIMEOUT_S).topics
    except KafkaException as error:
        raise NotReady(f"no broker answers at {settings.kafka.bootstrap}: {error.args[0].str()}") from None
    topics = settings.topics
    wanted = (*topics.spectra, topics.scores, topics.alerts, topics.alerts_json, topics.dlq)
    missing = [topic for topic in wanted if topic not in known]
    if missing:
        raise NotReady(f"topic(s) {', '.join(missing)} do not exist; `cempstream topics create` makes them")


def _override(
    settings: Settings,
    bootstrap: str | None,
    topic: list[str] | None,
    provider: Provider | None,
    bundle: list[str] | None,
    metrics_port: int | None,
) -> Settings:
    """Return the settings with what the command line says; it wins over the environment."""
    given = {
        "kafka": {"bootstrap": bootstrap},
        "topics": {"spectra": tuple(topic) if topic else None},
        "models": {"provider": provider, "bundles": tuple(bundle) if bundle else None},
        "metrics": {"port": metrics_port},
    }
    groups = {
        name: getattr(settings, name).model_copy(update={k: v for k, v in fields.items() if v is not None})
        for name, fields in given.items()
    }
    return settings.model_copy(update=groups)
