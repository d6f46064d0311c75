"""Options and terminal output that several verbs share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cempstream.processors.spectrum import Frame, Medium
from cempstream.streams.addresses import parse_brokers
from cempstream.streams.times import TIME_FORMS, parse_time

if TYPE_CHECKING:
    from cempstream.processors.readers import ReadOptions


def option(parse: Callable[[str], Any], metavar: str, help: str, **more: Any) -> Any:
    """Return an option that is read by `parse`, whose `ValueError` names the option in one line."""

    def parsed(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    return typer.Option(parser=parsed, metavar=metavar, help=help, **more)


def time_option(what: str) -> Any:
    """Return an option whose value is a time, read in one way by every verb."""
    return option(parse_time, "TIME", f"{what}: {TIME_FORMS}.")


def broker_option(help: str, **more: Any) -> Any:
    """Return an option whose value is where Kafka's brokers are."""
    return option(parse_brokers, "HOST:PORT", help, **more)


Bootstrap = Annotated[
    str | None, broker_option("Kafka brokers, host:port[,host:port…]; else CEMP_KAFKA__BOOTSTRAP.")
]

OwnBroker = Annotated[str | None, broker_option("Kafka broker, host:port; else an embedded one.")]


Files = Annotated[
    list[Path], typer.Argument(help="Files of spectra, or folders of them.", show_default=False)
]
MediumOption = Annotated[
    Medium | None, typer.Option(help="Of the wavelengths; else the file's or the data's.")
]
FrameOption = Annotated[Frame | None, typer.Option(help="Of the wavelengths; else the file's or the data's.")]
ResolvingPower = Annotated[float | None, typer.Option(help="λ/FWHM; else the file's or the data's.")]
Survey = Annotated[str | None, typer.Option(help="Short name of the survey; else the file's.")]

KnownFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--known",
        help="Catalogue of known stars to look for at each position: CSV, ECSV, VOTable, FITS; may be given "
        "again.",
    ),
]
WatchlistFiles = Annotated[
    list[Path] | None,
    typer.Option("--watchlist", help="The same with stars that you watch; may be given again."),
]
RegionFiles = Annotated[
    list[Path] | None, typer.Option("--region", help="Region of the sky, a MOC file; may be given again.")
]

WaveUnitOption = Annotated[
    str | None,
    typer.Option(
        "--wave-unit", help="Of the wavelengths of a table: AA, nm, um, log10(AA) …; else the file's."
    ),
]
ColumnsOption = Annotated[
    str | None,
    typer.Option("--columns", help="Columns of a text table in order: wave,flux,error; - skips one."),
]


def read_options(
    medium: Medium | None,
    frame: Frame | None,
    resolving_power: float | None,
    survey: str | None,
    wave_unit: str | None = None,
    columns: str | None = None,
) -> ReadOptions:
    """Return what the command line says about the files."""
    from cempstream.processors.readers import ReadOptions  # it needs astropy, which a subscriber lacks

    try:
        return ReadOptions(
            medium=medium,
            frame=frame,
            resolving_power=resolving_power,
            survey=survey,
            wave_unit=wave_unit,
            columns=tuple(columns.split(",")) if columns is not None else None,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def progress_bar() -> Progress:
    """Return a progress bar on stderr; it prints nothing if stderr is not a terminal.

    Rich also takes a log or a notebook for a terminal when ``FORCE_COLOR`` is set.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
