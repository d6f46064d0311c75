"""``cempstream classify``: files in, a table out."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from cempstream.models.sessions import Provider
from cempstream.plain import shown
from cempstream.processors.outcome import Rejected
from cempstream.processors.readers import UnreadableFile, expand_paths
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
from cempstream.streams.scoring.result_table import SUFFIXES, open_table, table_row
from cempstream.streams.settings import read_settings


def classify(
    files: Files,
    out: Annotated[
        Path | None, typer.Option(help="Where to write: .csv, .jsonl or .parquet; else CSV to stdout.")
    ] = None,
    medium: MediumOption = None,
    frame: FrameOption = None,
    resolving_power: ResolvingPower = None,
    survey: Survey = None,
    wave_unit: WaveUnitOption = None,
    columns: ColumnsOption = None,
    provider: Annotated[Provider | None, typer.Option(help="Where the networks run.")] = None,
    bundle: Annotated[list[str] | None, typer.Option(help="Model bundle; may be given again.")] = None,
) -> None:
    """Classify the spectra of files: one row per spectrum, in order. Needs no broker."""
    if out is not None and out.suffix not in SUFFIXES:
        raise typer.BadParameter(f"{out}: the table's name must end in {', '.join(SUFFIXES)}")
    if out is not None and not out.parent.is_dir():
        raise typer.BadParameter(f"{out}: there is no folder {out.parent}")
    options = read_options(medium, frame, resolving_power, survey, wave_unit, columns)
    settings = read_settings(models={"provider": provider, "bundles": tuple(bundle) if bundle else None})
    pipeline = load_pipeline(settings)
    paths = expand_paths(files)
    n_unreadable = 0
    counts: Counter[str] = Counter()
    rejected: dict[str, list[str]] = {}
    with progress_bar() as progress, open_table(out, sys.stdout) as write:
        task = progress.add_task("files", total=len(paths))

        def complain(error: UnreadableFile) -> None:
            nonlocal n_unreadable
            n_unreadable += 1
            typer.echo(str(error), err=True)

        results = classify_files(
            paths,
            pipeline,
            options=options,
            batch_size=settings.batch.size,
            on_unreadable=complain,
            on_file=lambda path: progress.advance(task),
        )
        for result in results:
            row = table_row(result.path, result.spectrum, result.outcome)
            counts[str(row["status"])] += 1
            counts["candidates"] += row["is_candidate"] is True
            if isinstance(result.outcome, Rejected):
                rejected.setdefault(result.outcome.reason, []).append(result.outcome.detail)
            write(row)
    typer.echo(
        f"{counts['scored'] + counts['rejected']} spectra of {len(paths)} files: {counts['scored']} scored, "
        f"{counts['rejected']} rejected, {counts['candidates']} candidates; {n_unreadable} files unreadable",
        err=True,
    )
    for reason, details in rejected.items():
        typer.echo(f"{len(details)} rejected as {reason}, the first: {shown(details[0])}", err=True)
    if n_unreadable or not counts["scored"]:
        raise typer.Exit(1)
