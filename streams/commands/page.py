"""``cempstream page``: the night's candidates in a browser, as they come."""

from __future__ import annotations

import logging
import os
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from cempstream.schemas.sky import RADIUS_ARCSEC
from cempstream.streams.addresses import is_loopback
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
from cempstream.streams.interrupts import INTERRUPTED, end_on_sigterm_too
from cempstream.streams.observing.sites import parse_site
from cempstream.streams.page.app import create_app
from cempstream.streams.page.candidates import Candidates
from cempstream.streams.page.guard import Names
from cempstream.streams.page.night import Night
from cempstream.streams.page.server import PageServer
from cempstream.streams.page.tonight import Tonight
from cempstream.streams.subscriber.alert_file import AlertFile
from cempstream.streams.subscriber.client import ALERTS_TOPIC, AlertStream
from cempstream.streams.subscriber.heartbeats import HEARTBEAT_TOPIC, HeartbeatWatch
from cempstream.streams.subscriber.sieve import TENSES, Undecodable
from cempstream.streams.subscriber.start import consumer_config
from cempstream.streams.subscriber.where import compile_where
from cempstream.streams.times import TIME_FORMS, parse_start, parse_until

logger = logging.getLogger(__name__)

DEFAULT_PORT = 8474

#: From the evening on, whenever the page is started.
_TONIGHT = "14h"


def page(
    bootstrap: Broker = DEFAULT_BROKER,
    topic: AlertTopics = None,
    start: Annotated[
        str | None,
        typer.Option(
            help=f"earliest, latest, -100 for the last hundred, or a time: {TIME_FORMS}. "
            f"[default: {_TONIGHT}, which is tonight; of a file, its beginning]"
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option(help=f"When to take no more alerts: {TIME_FORMS}; the page stays.")
    ] = None,
    where: Where = None,
    tense: Tenses = None,
    file: Annotated[
        Path | None, typer.Option(help="Show a recorded file (JSON lines, also .gz) instead of a broker.")
    ] = None,
    config: ConfigFile = None,
    known: KnownFiles = None,
    watchlist: WatchlistFiles = None,
    region: RegionFiles = None,
    match_radius: MatchRadius = RADIUS_ARCSEC,
    heartbeats: Annotated[
        str, typer.Option(help="Topic where workers say that they live; empty: do not listen to it.")
    ] = HEARTBEAT_TOPIC,
    site: Annotated[
        str | None,
        typer.Option(help="Where the telescope is, for the airmass: La Palma, or latitude,longitude,metres."),
    ] = None,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on. Any but this machine's own lets others see the page."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = DEFAULT_PORT,
    name: Annotated[
        list[str] | None,
        typer.Option(help="A name that leads to this page, besides addresses; may be given again."),
    ] = None,
    keep: Annotated[
        int, typer.Option(min=1, max=5000, help="How many candidates the page holds, the newest.")
    ] = 500,
) -> None:
    """Show the night's candidates in a browser: a table that grows, a sky map, pictures. Ends on Ctrl-C."""
    refuse_misspelt(os.environ)
    check("--start", lambda: start and parse_start(start))
    check("--until", lambda: parse_until(until))
    check("--where", lambda: where and compile_where(where))
    check("--site", lambda: site and parse_site(site))
    passes = compile_where(where) if where else lambda alert: True
    candidates = Candidates(keep, passes)
    topics = topic or [ALERTS_TOPIC]

    def note(undecodable: Undecodable) -> None:
        logger.error("cannot be read: %s", undecodable)
        night.n_unreadable += 1

    # The filter is not given to the stream: that would leave out that a star is retracted.
    alerts: AlertFile | AlertStream
    tenses = tuple(tense or TENSES)
    stars = read_known(known, watchlist, region, match_radius)
    watch = None
    try:
        if file is not None:
            alerts = AlertFile(
                file, start=start or "earliest", until=until, tenses=tenses, on_error=note, known=stars
            )
        else:
            properties = read_properties(config)
            alerts = AlertStream(
                bootstrap,
                topics,
                start=start or _TONIGHT,
                until=until,
                tenses=tenses,
                on_error=note,
                config=properties,
                known=stars,
            )
            if heartbeats:
                watch = HeartbeatWatch(
                    consumer_config(bootstrap, None, properties), heartbeats, logger.warning
                )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    source = file.name if file is not None else ", ".join(topics)
    night = Night(candidates, watch, source, Tonight(parse_site(site)) if site else None)
    end_on_sigterm_too()
    try:
        with ExitStack() as opened:
            opened.enter_context(alerts)
            server = PageServer(create_app(night, Names(host, name or ()), where), host, port)
            opened.enter_context(server)
            opened.callback(night.end)  # before the server: it waits for browsers
            if watch is not None:
                watch.start()
                opened.callback(watch.close)
            typer.echo(f"candidates: {server.url}")
            if not is_loopback(host):
                typer.echo(_everybody(host, server.port), err=True)
            night.read(alerts)
            threading.Event().wait()  # what was read stays on the page
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _everybody(host: str, port: int) -> str:
    return (
        f"Whoever reaches {host}, port {port}, sees the candidates and can have pictures drawn: the page has "
        "no password and no encryption. A tunnel is safer: leave out --host, and on the other machine run "
        f"ssh -L {port}:127.0.0.1:{port} THIS_MACHINE"
    )
