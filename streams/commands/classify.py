"""``cempstream classify``: files in, a table out."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cempstream.models.sessions import Provider
from cempstream.plain import shown
from cempstream.processors.outcome import Rejected
from cempstream.processors.readers import UnreadableFile, expand_paths
from cempstream.processors.readers.star_table import read_star_table
from cempstream.processors.spectrum import Spectrum
from cempstream.streams.commands.options import (
    ColumnsOption,
    Files,
    FrameOption,
    MediumOption,
    ResolvingPower,
    Survey,
    WaveUnitOption,
    progress_bar,
    read_options,
)
from cempstream.streams.scoring.assemble import load_pipeline
from cempstream.streams.scoring.files import classify_files
from cempstream.streams.scoring.result import Result
from cempstream.streams.scoring.result_files import SUFFIXES, check_table_name, open_table
from cempstream.streams.scoring.result_table import COLUMN_INFO, Column
from cempstream.streams.scoring.result_text import terminal_table, terminal_table_of_stars
from cempstream.streams.scoring.star_result import STAR_COLUMN_INFO, StarResult
from cempstream.streams.scoring.stars import observing, results_of_stars
from cempstream.streams.settings import read_settings


def classify(
    files: Files,
    out: Annotated[
        Path | None,
        typer.Option(
            help=f"Where to write: {', '.join(SUFFIXES)}. Without it a short table at a terminal, else CSV."
        ),
    ] = None,
    stars: Annotated[
        bool, typer.Option("--stars", help="One row per star: spectra of one object_id are added up.")
    ] = False,
    medium: MediumOption = None,
    frame: FrameOption = None,
    resolving_power: ResolvingPower = None,
    survey: Survey = None,
    wave_unit: WaveUnitOption = None,
    columns: ColumnsOption = None,
    photometry: Annotated[
        Path | None,
        typer.Option(
            help="Table of the stars' magnitudes, parallaxes and E(B-V): CSV or ECSV, by id or position."
        ),
    ] = None,
    provider: Annotated[Provider | None, typer.Option(help="Where the networks run.")] = None,
    bundle: Annotated[list[str] | None, typer.Option(help="Model bundle; may be given again.")] = None,
) -> None:
    """Classify the spectra of files: one row per spectrum, in order, or per star. Needs no broker."""
    if out is not None:
        try:
            check_table_name(out)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
    options = read_options(medium, frame, resolving_power, survey, wave_unit, columns)
    settings = read_settings(models={"provider": provider, "bundles": tuple(bundle) if bundle else None})
    catalogue = read_star_table(photometry) if photometry is not None else None
    pipeline = load_pipeline(settings)
    pipeline = observing(pipeline) if stars else pipeline
    paths = expand_paths(files)
    n_unreadable = 0
    counts: Counter[str] = Counter()
    rejected: dict[str, list[str]] = {}
    n_known = 0
    of_stars: Counter[str] = Counter()
    if stars:
        opened = _open(out, STAR_COLUMN_INFO, terminal_table_of_stars)
    else:
        opened = _open(out, COLUMN_INFO, terminal_table)
    with opened as write, progress_bar() as progress:  # the bar is gone before a table is printed
        task = progress.add_task("files", total=len(paths))

        def complain(error: UnreadableFile) -> None:
            nonlocal n_unreadable
            n_unreadable += 1
            typer.echo(str(error), err=True)

        def complete(spectrum: Spectrum) -> Spectrum:
            nonlocal n_known
            if catalogue is None:
                return spectrum
            n_known += catalogue.find(spectrum) is not None
            return catalogue.complete(spectrum)

        results = classify_files(
            paths,
            pipeline,
            options=options,
            batch_size=settings.batch.size,
            on_unreadable=complain,
            on_file=lambda path: progress.advance(task),
            complete=complete,
        )

        def counted() -> Iterator[Result]:
            for result in results:
                counts[str(result.row["status"])] += 1
                counts["candidates"] += result.is_candidate
                counts["unnamed"] += result.row["object_id"] is None
                if isinstance(result.outcome, Rejected):
                    rejected.setdefault(result.outcome.reason, []).append(result.outcome.detail)
                yield result

        rows: Iterable[Result | StarResult] = counted()
        if stars:
            rows = _counted_stars(results_of_stars(counted(), pipeline), of_stars)
        for row in rows:
            write(row)
    n_spec = counts["scored"] + counts["rejected"]
    if n_spec or len(paths) > 1:  # the reason was already printed
        typer.echo(
            f"{n_spec} spectra of {len(paths)} files: {counts['scored']} scored, {counts['rejected']} "
            f"rejected, {counts['candidates']} candidates; {n_unreadable} files unreadable",
            err=True,
        )
    if stars and n_spec:
        typer.echo(
            f"{of_stars['all']} stars: {of_stars['candidates']} candidates, {of_stars['rejected']} without a "
            f"scored spectrum; {of_stars['replaced']} spectra are repeats, older reductions or too many",
            err=True,
        )
        if counts["unnamed"]:
            typer.echo(
                f"{counts['unnamed']} spectra have no object_id: each counts as a star by itself", err=True
            )
    if photometry is not None:
        typer.echo(f"{n_known} of them found in {shown(photometry)}", err=True)
    for reason, details in rejected.items():
        typer.echo(f"{len(details)} rejected as {reason}, the first: {shown(details[0])}", err=True)
    if n_unreadable or not counts["scored"]:
        raise typer.Exit(1)


def _counted_stars(stars: Iterable[StarResult], counts: Counter[str]) -> Iterator[StarResult]:
    for star in stars:
        counts["all"] += 1
        counts["candidates"] += star.is_candidate
        counts["rejected"] += star.is_rejected
        counts["replaced"] += star.n_replaced
        yield star


@contextmanager
def _open(
    out: Path | None, columns: Sequence[Column], table: Callable[[list[Any]], Table]
) -> Iterator[Callable[[Any], None]]:
    """Open the output of the results; a terminal gets them at the end, when their widths are known."""
    if out is not None or not sys.stdout.isatty():
        with open_table(out or sys.stdout, columns) as write:
            yield write
        return
    results: list[Any] = []
    yield results.append
    Console().print(table(results))
