"""``cempstream archive``: the night as tables that DuckDB, Polars, pandas and Spark read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cempstream.plain import shown
from cempstream.streams.archive.follow import Follower, compact
from cempstream.streams.archive.ledger import Ledger
from cempstream.streams.archive.tables import Subject
from cempstream.streams.commands.options import Bootstrap
from cempstream.streams.interrupts import INTERRUPTED
from cempstream.streams.kafka.schema_registry import use_registry
from cempstream.streams.settings import read_settings

archive_app = typer.Typer(
    help="Keep scores, alerts and dead letters as Parquet tables.", no_args_is_help=True
)

Folder = Annotated[Path, typer.Argument(help="The archive's folder.", file_okay=False)]


@archive_app.command()
def write(
    folder: Folder,
    bootstrap: Bootstrap = None,
    subject: Annotated[
        list[Subject] | None, typer.Option("--of", help="Only this; may be given again. [default: all]")
    ] = None,
    until: Annotated[
        Literal["now"] | None, typer.Option(help="now ends where the topics end; else it goes on.")
    ] = None,
    rows: Annotated[int, typer.Option(min=1, max=1_000_000, help="Write when so many have come.")] = 50_000,
    every: Annotated[float, typer.Option(min=0.1, max=86_400.0, help="Or after so many seconds.")] = 60.0,
    longitude: Annotated[
        float,
        typer.Option(min=-180.0, max=180.0, help="Of the telescope, degrees east: when its evening begins."),
    ] = 0.0,
) -> None:
    """Write what the topics hold, and go on as they grow; started again, it goes on where it stood.

    The tables hold exactly the topics' rows, whenever this is stopped or killed.
    """
    settings = read_settings(kafka={"bootstrap": bootstrap})
    use_registry(settings)
    with Ledger(folder) as ledger:
        follower = Follower(
            ledger, settings, subject or list(Subject), n_rows=rows, every_s=every, longitude_deg=longitude
        )
        try:
            follower.run(to_end=until == "now", on_written=lambda n: typer.echo(f"{n} rows"))
        except KeyboardInterrupt:
            _say_what_is_held(ledger)
            raise typer.Exit(INTERRUPTED) from None
        _say_what_is_held(ledger)


def _say_what_is_held(ledger: Ledger) -> None:
    n_rows = sum(ledger.held.files.values())
    typer.echo(f"{shown(ledger.folder)} holds {n_rows} rows in {len(ledger.held.files)} files", err=True)


@archive_app.command("compact")
def compact_(
    folder: Folder,
    least: Annotated[int, typer.Option(min=2, help="Leave folders with fewer files as they are.")] = 2,
) -> None:
    """Put the many small files of each night together, while nothing writes."""
    with Ledger(folder, is_old=True) as ledger:
        n_before, n_after = compact(ledger, least=least)
    typer.echo(f"{n_before} files are {n_after} now")
