"""``cempstream exposures``: watch whether every spectrum of an exposure is accounted for, and list them."""

from __future__ import annotations

import asyncio
import json
import signal
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cempstream.plain import shown
from cempstream.schemas.exposure import Exposure
from cempstream.streams.commands.options import Bootstrap, time_option
from cempstream.streams.kafka.credentials import CredentialsWatch
from cempstream.streams.kafka.schema_registry import use_registry
from cempstream.streams.operations.exposure_watch import STALL_S, ExposureWatch, read_exposures
from cempstream.streams.settings import Settings, read_settings
from cempstream.streams.telemetry import notices
from cempstream.streams.telemetry.health import HealthServer
from cempstream.streams.telemetry.log_writer import never_block
from cempstream.streams.telemetry.watchdog import Watchdog

exposures_app = typer.Typer(
    help="Say of each exposure whether all of it has been scored.", no_args_is_help=True
)

_PORT = 9465


@exposures_app.command()
def watch(
    bootstrap: Bootstrap = None,
    timeout_s: Annotated[
        float, typer.Option(min=1.0, help="Report an exposure to which nothing was added for this long.")
    ] = 900.0,
    lookback_s: Annotated[
        float, typer.Option(min=0.0, help="How far back to read at the start: longer than an exposure takes.")
    ] = 3600.0,
    reads_spectra: Annotated[
        bool,
        typer.Option(
            "--read-spectra/--no-read-spectra",
            help="Read what the survey sends, too: only so an exposure without any outcome is known.",
        ),
    ] = True,
    host: Annotated[str, typer.Option(help="Where /metrics, /live and /ready listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Their port; 0 takes any free one.")] = _PORT,
) -> None:
    """Read every outcome and publish an event per exposure; one process serves any number of workers."""
    settings = read_settings(kafka={"bootstrap": bootstrap})
    use_registry(settings)
    asyncio.run(_watch(settings, timeout_s, lookback_s, reads_spectra, host, port))


@exposures_app.command("list")
def list_(
    bootstrap: Bootstrap = None,
    since: Annotated[datetime | None, time_option("Only from this time on")] = None,
    incomplete: Annotated[
        bool, typer.Option("--incomplete", help="Only those that are not complete.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines.")] = False,
) -> None:
    """List the reported exposures, each with its last report."""
    settings = read_settings(kafka={"bootstrap": bootstrap})
    use_registry(settings)
    last: dict[tuple[str, str, str], Exposure] = {}
    for event in read_exposures(settings.kafka, settings.topics.exposures, since):
        key = (event.survey, event.exposure_id, event.reduction_version)
        if key not in last or last[key].status != "complete":
            last[key] = event
    events = [event for event in last.values() if not incomplete or event.status != "complete"]
    if as_json:
        for event in events:
            typer.echo(json.dumps(event.model_dump(mode="json") | {"n_missing": event.n_missing}))
        return
    table = Table("exposure", "survey", "status", box=None)
    for heading in ("expected", "received", "scored", "dead letters", "missing", "alerts", "latency"):
        table.add_column(heading, justify="right")
    for event in events:
        received = "" if event.n_received is None else event.n_received
        outcomes = (event.n_scored, event.n_dead_letters, event.n_missing, event.n_alerts)
        counts = (event.n_expected, received, *outcomes)
        latency = "" if event.latency_seconds is None else f"{event.latency_seconds:.1f} s"
        names = (Text(shown(event.exposure_id)), Text(shown(event.survey)))  # no markup
        table.add_row(*names, event.status, *map(str, counts), latency)
    Console().print(table)


async def _watch(
    settings: Settings, timeout_s: float, lookback_s: float, reads_spectra: bool, host: str, port: int
) -> None:
    watching = ExposureWatch(
        settings.kafka,
        settings.topics,
        timeout_s=timeout_s,
        lookback_s=lookback_s,
        reads_spectra=reads_spectra,
    )
    never_block(watching.metrics.log_lines_dropped.inc)
    watchdog = Watchdog(watching.is_live)
    health = HealthServer(
        watching.metrics.registry,
        host,
        port,
        is_live=watchdog.is_live,
        is_ready=watching.is_ready,
        on_probe=None,
        port_setting="--port",
    )
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    health.start()
    alive = asyncio.create_task(watchdog.run(STALL_S))
    credentials = CredentialsWatch(settings.kafka, notices.credentials_judged)
    # It holds nothing that is lost with it, so it ends as soon as it is refused.
    refused = asyncio.create_task(credentials.watch(lambda: False))
    watch = asyncio.create_task(watching.run(ending))
    try:
        await asyncio.wait({watch, refused}, return_when=asyncio.FIRST_COMPLETED)
        await (refused if refused.done() else watch)
    finally:
        for task in (alive, refused, watch):
            task.cancel()
        health.stop()
