"""``cempstream explain``: why the spectra of a file score as they do, as pictures and pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from heapq import nlargest
from itertools import groupby
from pathlib import Path
from typing import Annotated, get_args

import typer

from cempstream.models.sessions import Provider
from cempstream.plain import shown
from cempstream.processors.outcome import Rejected
from cempstream.processors.readers import expand_paths
from cempstream.schemas.stamp import Tense
from cempstream.streams.commands.options import (
    ColumnsOption,
    FrameOption,
    MediumOption,
    ResolvingPower,
    Survey,
    WaveUnitOption,
    progress_bar,
    read_options,
)
from cempstream.streams.pictures.finding import Finding, finding_of_alert, finding_of_classification
from cempstream.streams.pictures.pages import INDEX, IndexRow, index_row, unique_stem, write_index, write_star
from cempstream.streams.scoring.assemble import load_pipeline
from cempstream.streams.scoring.files import classify_files
from cempstream.streams.scoring.result import Result
from cempstream.streams.settings import read_settings
from cempstream.streams.subscriber.alert_file import AlertFile, holds_alerts
from cempstream.streams.subscriber.sieve import Undecodable
from cempstream.streams.wording import probability_text

SpectraOrAlerts = Annotated[
    list[Path],
    typer.Argument(help="Files of spectra or of alerts, or folders of spectra.", show_default=False),
]

#: Errors that drawing raises for numbers or names that it cannot draw.
_PICTURE_ERRORS = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)


def explain(
    files: SpectraOrAlerts,
    out: Annotated[Path, typer.Option(help="Folder for the pictures and pages.")] = Path("explained"),
    medium: MediumOption = None,
    frame: FrameOption = None,
    resolving_power: ResolvingPower = None,
    survey: Survey = None,
    wave_unit: WaveUnitOption = None,
    columns: ColumnsOption = None,
    provider: Annotated[Provider | None, typer.Option(help="Where the networks run.")] = None,
    bundle: Annotated[list[str] | None, typer.Option(help="Model bundle; may be given again.")] = None,
    candidates: Annotated[bool, typer.Option("--candidates", help="Draw only the candidates.")] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Draw at most this many, those of the highest p(CEMP).")
    ] = None,
) -> None:
    """Draw spectra with the evidence over wavelength, a page for each, and an index page of them all.

    An alert, as `listen --json` prints it or as an Avro packet, is drawn as it was published, without any
    model.
    """
    options = read_options(medium, frame, resolving_power, survey, wave_unit, columns)
    settings = read_settings(models={"provider": provider, "bundles": tuple(bundle) if bundle else None})
    load = cache(partial(load_pipeline, settings))  # alerts need no models
    out.mkdir(parents=True, exist_ok=True)
    paths = expand_paths(files)
    n_bad = 0
    taken = {Path(INDEX).stem}

    def complain(problem: str) -> None:
        nonlocal n_bad
        n_bad += 1
        typer.echo(shown(problem), err=True)

    with progress_bar() as progress:
        task = progress.add_task("files", total=len(paths))

        def find() -> Iterator[Finding]:
            for are_alerts, group in groupby(paths, holds_alerts):
                if are_alerts:
                    for path in group:
                        yield from _alert_findings(path, complain)
                        progress.advance(task)
                    continue
                results = classify_files(
                    group,
                    load(),
                    options=options,
                    on_unreadable=lambda error: complain(str(error)),
                    on_file=lambda path: progress.advance(task),
                )
                yield from _findings(results, complain)

        findings = find()
        if candidates:
            findings = (finding for finding in findings if finding.decision.is_candidate)
        if limit is not None:
            findings = iter(nlargest(limit, findings, key=lambda finding: finding.p_cemp))
        rows = list(_drawn(out, findings, taken, complain))
    write_index(
        out / INDEX,
        sorted(rows, key=lambda row: -row.p_cemp),
        title="Why these spectra score as they do",
        lead=f"{len(rows)} spectra, the likeliest carbon-enhanced metal-poor stars first.",
        nothing="No candidates." if candidates else "No spectra.",
    )
    typer.echo(f"{out / INDEX}: {len(rows)} spectra")
    if n_bad:
        raise typer.Exit(1)


def _drawn(
    folder: Path, findings: Iterable[Finding], taken: set[str], complain: Callable[[str], None]
) -> Iterator[IndexRow]:
    """Draw findings one by one; if one cannot be drawn, the others still are."""
    for finding in findings:
        try:
            page = write_star(folder, unique_stem(finding.spectrum_id, taken), finding)
            row = index_row(finding, page)
        except _PICTURE_ERRORS as error:
            complain(f"{finding.spectrum_id}: no picture ({error})")
            continue
        bands = ", ".join(f"{band.name} {100 * band.weight:.0f} %" for band in finding.telling_bands[:3])
        said = f"{folder / page}: p(CEMP) {probability_text(finding.p_cemp)}; {bands or 'no named band'}"
        typer.echo(shown(said))
        yield row


def _alert_findings(path: Path, complain: Callable[[str], None]) -> Iterator[Finding]:
    def refuse(bad: Undecodable) -> None:
        complain(f"{path}, line {bad.offset}: {bad.reason.value}: {bad.detail}")

    with AlertFile(path, tenses=get_args(Tense), on_error=refuse) as alerts:
        yield from map(finding_of_alert, alerts)


def _findings(results: Iterable[Result], complain: Callable[[str], None]) -> Iterator[Finding]:
    for result in results:
        if isinstance(result.outcome, Rejected):
            complain(f"{result.source}: {result.outcome.reason.value}: {result.outcome.detail}")
        else:
            yield finding_of_classification(result.outcome)
