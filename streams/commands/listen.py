"""``cempstream listen``: alerts at the terminal, or one JSON object a line for the next program."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cempstream.schemas.alert import Alert
from cempstream.schemas.sky import RADIUS_ARCSEC
from cempstream.streams.commands.subscriber_options import (
    DEFAULT_BROKER,
    AlertTopics,
    Broker,
    ConfigFile,
    KnownFiles,
    MatchRadius,
    RegionFiles,
    Tenses,
    WatchlistFiles,
    Where,
    check,
    read_known,
    read_properties,
    refuse_misspelt,
)
from cempstream.streams.interrupts import INTERRUPTED
from cempstream.streams.subscriber.alert_file import AlertFile
from cempstream.streams.subscriber.alert_view import alert_panel
from cempstream.streams.subscriber.client import ALERTS_TOPIC, AlertStream
from cempstream.streams.subscriber.heartbeats import HEARTBEAT_TOPIC, HeartbeatWatch
from cempstream.streams.subscriber.sieve import TENSES, Undecodable
from cempstream.streams.subscriber.start import consumer_config
from cempstream.streams.subscriber.where import compile_where
from cempstream.streams.times import TIME_FORMS, parse_start, parse_until

logger = logging.getLogger(__name__)

_WIDEST = 110


def listen(
    bootstrap: Broker = DEFAULT_BROKER,
    topic: AlertTopics = None,
    start: Annotated[
        str | None,
        typer.Option(
            help=f"earliest, latest, -100 for the last hundred, or a time: {TIME_FORMS}. "
            "[default: latest; of a file, its beginning]"
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option(help=f"When to end: {TIME_FORMS}; now ends where the topics end.")
    ] = None,
    where: Where = None,
    group: Annotated[
        str | None,
        typer.Option(help="Remember under this name what was shown; the next run continues there."),
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="File that remembers what was shown, so that repeats are not shown.")
    ] = None,
    number: Annotated[int | None, typer.Option("-n", min=1, help="End after this many alerts.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line, with the spectrum.")
    ] = False,
    no_spectrum: Annotated[
        bool, typer.Option("--no-spectrum", help="With --json: leave out the spectrum, most of an alert.")
    ] = False,
    tense: Tenses = None,
    file: Annotated[
        Path | None, typer.Option(help="Read a recorded file (JSON lines, also .gz) instead of a broker.")
    ] = None,
    config: ConfigFile = None,
    known: KnownFiles = None,
    watchlist: WatchlistFiles = None,
    region: RegionFiles = None,
    match_radius: MatchRadius = RADIUS_ARCSEC,
    heartbeats: Annotated[
        str, typer.Option(help="Topic where workers say that they live; empty: do not listen to it.")
    ] = HEARTBEAT_TOPIC,
) -> None:
    """Subscribe to alerts. Ends on Ctrl-C, after -n alerts or at --until; without --group nothing is kept."""
    refuse_misspelt(os.environ)
    bad: list[Undecodable] = []

    def note(undecodable: Undecodable) -> None:
        logger.error("cannot be read: %s", undecodable)
        bad.append(undecodable)

    check("--start", lambda: start and parse_start(start))
    check("--until", lambda: parse_until(until))
    check("--where", lambda: where and compile_where(where))
    tenses = tuple(tense or TENSES)
    stars = read_known(known, watchlist, region, match_radius)
    alerts: AlertFile | AlertStream
    try:
        if file is not None:
            alerts = AlertFile(
                file,
                start=start or "earliest",
                until=until,
                where=where,
                tenses=tenses,
                on_error=note,
                known=stars,
            )
        else:
            alerts = AlertStream(
                bootstrap,
                topic or [ALERTS_TOPIC],
                start=start or "latest",
                until=until,
                where=where,
                group=group,
                state=state,
                tenses=tenses,
                on_error=note,
                config=read_properties(config),
                known=stars,
            )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    is_live = file is None and until != "now" and bool(heartbeats)
    watch = _watch(bootstrap, config, heartbeats) if is_live else nullcontext()
    show = partial(_json_line, with_spectrum=not no_spectrum) if as_json else _pretty()
    try:
        with alerts, watch:
            _show_all(alerts, number, show)
    except BrokenPipeError:  # the reader of our output is gone: `listen | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python reports it at its end
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    if bad:
        raise typer.Exit(1)


@contextmanager
def _watch(bootstrap: str, config: Path | None, topic: str) -> Iterator[None]:
    """Say on stderr when no worker is heard any more, and when one is again."""
    watch = HeartbeatWatch(consumer_config(bootstrap, None, read_properties(config)), topic, logger.warning)
    watch.start()
    try:
        yield
    finally:
        watch.close()


def _show_all(alerts: Iterable[Alert], number: int | None, show: Callable[[Alert], None]) -> None:
    for n_shown, alert in enumerate(alerts, start=1):
        show(alert)
        alert.ack()
        if n_shown == number:
            return


def _json_line(alert: Alert, *, with_spectrum: bool) -> None:
    sys.stdout.buffer.write(alert.to_json(with_spectrum=with_spectrum) + b"\n")
    sys.stdout.buffer.flush()


def _pretty() -> Callable[[Alert], None]:
    console = Console(highlight=False)
    width = min(console.width, _WIDEST)

    def show(alert: Alert) -> None:
        console.print(alert_panel(alert), width=width)
        console.file.flush()

    return show
