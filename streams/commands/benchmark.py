"""``cempstream benchmark``: write the sets of the open benchmark, and score predictions for them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from astropy.table import Table
from rich.console import Console
from rich.table import Table as Printed

from cempstream.models.evaluation.benchmark import (
    BenchmarkError,
    benchmark_sets,
    score_predictions,
    write_set,
)

benchmark_app = typer.Typer(help="The open benchmark: its sets and its figures.", no_args_is_help=True)


@benchmark_app.command()
def write(
    out: Annotated[Path, typer.Option(help="Folder of the files; made if absent.")] = Path("benchmark"),
    only: Annotated[
        list[str] | None, typer.Option(help="A set by its name; may be given again. [all]")
    ] = None,
) -> None:
    """Simulate the sets: spectra as .npz, and their truth as CSV."""
    sets = benchmark_sets()
    for name in only or ():
        if name not in sets:
            raise typer.BadParameter(f"there is no set '{name}'; there are {', '.join(sets)}")
    out.mkdir(parents=True, exist_ok=True)
    for name in only or sets:
        spectra, truth, digest = write_set(sets[name], out)
        is_same = digest == sets[name].sha256
        remark = "as published" if is_same else "not as published: another version, or another processor"
        typer.echo(f"{spectra} and {truth}: sha256 {digest}, {remark}")


@benchmark_app.command()
def score(
    predictions: Annotated[
        Path,
        typer.Argument(help="CSV: spectrum_id, p_cemp; teff, logg, feh, cfe, ac and their _lo and _hi."),
    ],
    truth: Annotated[Path, typer.Option(help="The set's truth, as `benchmark write` writes it.")],
    as_json: Annotated[bool, typer.Option("--json", help="All figures as JSON.")] = False,
) -> None:
    """Say how good predictions are: AUC, average precision, F1; errors, bias and coverage of the labels.

    Labels count for the stars with [Fe/H] below -1. Brackets are 95 % intervals.
    """
    figures = score_predictions(_read(predictions), _read(truth))
    if as_json:
        typer.echo(json.dumps([asdict(figure) for figure in figures]))
        return
    table = Printed("figure", box=None)
    for heading in ("value", "95 %", "spectra"):
        table.add_column(heading, justify="right")
    for figure in figures:
        name = f"{figure.name} / {figure.unit}" if figure.unit else figure.name
        table.add_row(name, f"{figure.value:.4g}", f"{figure.lo:.4g} … {figure.hi:.4g}", str(figure.n))
    Console(highlight=False).print(table)


def _read(path: Path) -> Table:
    try:
        return Table.read(path, format="ascii.csv")
    except (ValueError, UnicodeDecodeError) as error:
        raise BenchmarkError(f"{path} is no table of comma-separated values: {error}") from None
