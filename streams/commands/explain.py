"""``cempstream explain``: why the spectra of a file score as they do, as pictures and pages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from cempstream.models.sessions import Provider
from cempstream.processors.outcome import Rejected
from cempstream.processors.readers import UnreadableFile, expand_paths
from cempstream.streams.commands.options import (
    Files,
    FrameOption,
    MediumOption,
    ResolvingPower,
    Survey,
    progress_bar,
    read_options,
)
from cempstream.streams.pictures.finding import finding_of_classification
from cempstream.streams.pictures.pages import write_explanation
from cempstream.streams.pictures.picture import save_picture
from cempstream.streams.pictures.wording import probability_text
from cempstream.streams.scoring.assemble import load_pipeline
from cempstream.streams.scoring.files import classify_files
from cempstream.streams.settings import read_settings


def explain(
    files: Files,
    out: Annotated[Path, typer.Option(help="Folder for the pictures and pages.")] = Path("explained"),
    medium: MediumOption = None,
    frame: FrameOption = None,
    resolving_power: ResolvingPower = None,
    survey: Survey = None,
    provider: Annotated[Provider | None, typer.Option(help="Where the networks run.")] = None,
    bundle: Annotated[list[str] | None, typer.Option(help="Model bundle; may be given again.")] = None,
) -> None:
    """Draw every spectrum of the files with the evidence over wavelength, and a page that holds it all."""
    options = read_options(medium, frame, resolving_power, survey)
    pipeline = load_pipeline(
        read_settings(models={"provider": provider, "bundles": tuple(bundle) if bundle else None})
    )
    out.mkdir(parents=True, exist_ok=True)
    paths = expand_paths(files)
    n_bad = 0

    def complain(error: UnreadableFile) -> None:
        nonlocal n_bad
        n_bad += 1
        typer.echo(str(error), err=True)

    taken: set[str] = set()
    with progress_bar() as progress:
        task = progress.add_task("files", total=len(paths))
        for result in classify_files(
            paths,
            pipeline,
            options=options,
            on_unreadable=complain,
            on_file=lambda path: progress.advance(task),
        ):
            outcome = result.outcome
            if isinstance(outcome, Rejected):
                n_bad += 1
                typer.echo(f"{result.path}: {outcome.reason.value}: {outcome.detail}", err=True)
                continue
            finding = finding_of_classification(outcome)
            stem = unique_stem(finding.spectrum_id, taken)
            picture, page = out / f"{stem}.png", out / f"{stem}.html"
            save_picture(finding, picture)
            write_explanation(page, finding, picture.read_bytes())
            bands = ", ".join(f"{band.name} {100 * band.weight:.0f} %" for band in finding.telling_bands[:3])
            typer.echo(f"{page}: p(CEMP) {probability_text(finding.p_cemp)}; {bands or 'no named band'}")
    if n_bad:
        raise typer.Exit(1)


def unique_stem(spectrum_id: str, taken: set[str]) -> str:
    """Return a file name made of a spectrum's id, unlike any in ``taken``, and add it there."""
    stem = re.sub(r"[^\w.+-]+", "_", spectrum_id).strip("._")[:100] or "spectrum"
    name, n = stem, 1
    while name.lower() in taken:
        n += 1
        name = f"{stem}-{n}"
    taken.add(name.lower())
    return name
