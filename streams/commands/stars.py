"""``cempstream stars``: follow stars over their observations, and show what is known of one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from cempstream.errors import FixableError, fixable_errors, in_one_line
from cempstream.models.sessions import Provider
from cempstream.plain import shown
from cempstream.schemas.star import StarPacket
from cempstream.streams.commands.options import Bootstrap
from cempstream.streams.commands.worker import require_topics
from cempstream.streams.kafka.changelog import require_changelog
from cempstream.streams.kafka.schema_registry import use_registry
from cempstream.streams.pictures.pages import unique_stem
from cempstream.streams.pictures.star_picture import SUFFIXES, save_star
from cempstream.streams.settings import read_settings
from cempstream.streams.stars.create import create_star_app
from cempstream.streams.stars.view import find_alerts, find_stars, headline, visits_table
from cempstream.streams.telemetry.watchdog import START_S, end_after
from cempstream.streams.worker.faust_app import run_worker


class NoSuchStar(FixableError, LookupError):
    """No star of this name is followed; the message says where it was looked for."""


stars_app = typer.Typer(help="Follow stars over their observations.", no_args_is_help=True)

_PORT = 9466


@stars_app.command()
def run(
    bootstrap: Bootstrap = None,
    provider: Annotated[Provider | None, typer.Option(help="Where the networks run.")] = None,
    bundle: Annotated[list[str] | None, typer.Option(help="Model bundle; may be given again.")] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(help=f"Port of /metrics, /live and /ready; CEMP_METRICS__PORT, or else {_PORT}."),
    ] = None,
) -> None:
    """Fold observations into stars and alert of them; workers need CEMP_STARS__ENABLED=true."""
    if metrics_port is None and "CEMP_METRICS__PORT" not in os.environ:
        metrics_port = _PORT  # a worker on the same machine has the default
    settings = read_settings(
        kafka={"bootstrap": bootstrap},
        models={"provider": provider, "bundles": bundle or None},
        metrics={"port": metrics_port},
    )
    end_after(START_S)  # a start that hangs ends too
    topics = settings.topics
    try:
        alerts = (topics.alerts, topics.alerts_json, topics.alerts_archival)
        require_topics(
            settings.kafka,
            (*alerts, topics.dlq, topics.heartbeat, topics.observations, topics.stars),
        )
        require_changelog(settings.kafka, topics.observations, topics.stars)
        app = create_star_app(settings)
        app.prepare()
    except fixable_errors() as error:
        typer.echo(f"the stars cannot be followed: {in_one_line(error)}", err=True)
        raise typer.Exit(1) from None
    run_worker(app)


@stars_app.command()
def show(
    object_id: Annotated[str, typer.Argument(help="The survey's name of the star.")],
    bootstrap: Bootstrap = None,
    survey: Annotated[str | None, typer.Option(help="Only this survey's star of that name.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Also draw it, with its alerts, into this .png, .svg or .pdf.")
    ] = None,
) -> None:
    """Show what is known of a star after each of its spectra; reads the topic of stars to its end."""
    if plot is not None:
        if plot.suffix not in SUFFIXES:
            raise typer.BadParameter(f"{plot}: the picture's name must end in {', '.join(SUFFIXES)}")
        if not plot.parent.is_dir():
            raise typer.BadParameter(f"{plot}: there is no folder {plot.parent}")
    settings = read_settings(kafka={"bootstrap": bootstrap})
    use_registry(settings)
    topic = settings.topics.stars
    found = find_stars(settings.kafka, topic, object_id, survey)
    if not found:
        whose = f" of {survey}" if survey else ""
        raise NoSuchStar(f"{topic} has no star {object_id!r}{whose}; stars are followed by `stars run`")
    console = Console()
    for packet in found:
        console.print(Text(shown(headline(packet)), style="bold"))
        console.print(visits_table(packet.star))
        if plot is not None:
            path = plot if len(found) == 1 else _own_name(plot, packet)
            save_star(packet.star, packet.survey, find_alerts(settings.kafka, settings.topics, packet), path)
            typer.echo(shown(f"picture: {path}"))


def _own_name(path: Path, packet: StarPacket) -> Path:
    """Return the name of the picture of one of several stars of a name."""
    stem = unique_stem(f"{path.stem}-{packet.survey}-{packet.star.tense}", set())
    return path.with_name(f"{stem}{path.suffix}")
