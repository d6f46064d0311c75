"""``cempstream train``: from the synthetic library to a model bundle."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from cempstream.models.bundle import load_bundle
from cempstream.models.sessions import Provider
from cempstream.processors.decide import Policy
from cempstream.streams.scoring.assemble import build_chain

if TYPE_CHECKING:
    from cempstream.models.evaluation.labelled_stars import LabelledStars


def train(
    bundle: Annotated[str, typer.Option(help="Bundle to train.")] = "mid",
    config: Annotated[Path | None, typer.Option(help="TOML file; else the bundle's own.")] = None,
    library: Annotated[
        list[Path] | None,
        typer.Option(help="File or folder of the synthetic library, cleaned; may be given again."),
    ] = None,
    work: Annotated[Path, typer.Option(help="Spectra and checkpoints; a stopped run goes on.")] = Path(
        "runs"
    ),
    out: Annotated[Path | None, typer.Option(help="Folder of the bundle; else <work>/bundle.")] = None,
    real: Annotated[
        Path | None, typer.Option(help="Folder of real stars, for the model's own error in the intervals.")
    ] = None,
    abundances: Annotated[
        Path | None, typer.Option(help="Table of literature abundances, as JINAbase has it, for real stars.")
    ] = None,
) -> None:
    """Train and export a model bundle."""
    from cempstream.models.training.config import CONFIGS, read_config
    from cempstream.models.training.emulator.stellar_library import stellar_files
    from cempstream.models.training.run import train_bundle

    path = config or CONFIGS / f"{bundle}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in CONFIGS.glob("*.toml")))
        raise typer.BadParameter(f"{path} is not a file; there are configurations for {known}")
    if not library:
        raise typer.BadParameter("give --library: the synthetic library's file or folder")
    settings = read_config(path)
    if settings.bundle != bundle:
        raise typer.BadParameter(f"{path} is for bundle '{settings.bundle}', not '{bundle}'")
    stellar_files(library)  # what is not there is refused before a bar is drawn
    stars = None if real is None else _labelled(real, abundances)
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}"),
    )
    with Progress(*columns, console=console) as bars:
        board = _Board(bars)
        run = train_bundle(
            settings,
            library,
            work,
            out or work / "bundle",
            progress=board.count,
            report=board.epoch,
            command=_command(bundle, path, library),
        )
    if stars is not None:
        _add_model_errors(run.folder, stars)
    table = Table(title=f"{run.card.name} {run.card.version}: held-out scores")
    for heading in ("sample", "score", "value", "68 %", "n"):
        table.add_column(heading)
    for score in run.scores:
        interval = f"{score.low:.3g}–{score.high:.3g}"
        table.add_row(score.sample, score.name, f"{score.value:.4g} {score.unit}", interval, str(score.n))
    console.print(table)
    console.print(f"the losses are drawn in {work / 'curves.png'}")
    typer.echo(run.folder)


def _labelled(real: Path, abundances: Path | None) -> LabelledStars:
    from cempstream.models.evaluation.labelled_stars import LIBRARIES, read_labelled

    stars = read_labelled(real, abundances)
    if not len(stars):
        names = " or ".join(f"{name}.npz" for name in LIBRARIES)
        raise typer.BadParameter(f"{real} holds no real stars; it must hold {names}", param_hint="--real")
    return stars


def _add_model_errors(folder: Path, stars: LabelledStars) -> None:
    from cempstream.models.evaluation.model_errors import add_model_errors
    from cempstream.models.evaluation.report_detection import PRIOR

    loaded = load_bundle(folder)
    chain = build_chain(loaded, Provider.CPU, threads=1)
    policy = Policy("model errors", PRIOR, loaded.card.threshold(PRIOR))
    add_model_errors(folder, lambda spectra: chain.process_spectra(spectra, policy), stars)


def _command(bundle: str, config: Path, library: list[Path]) -> str:
    """Return the command that makes the bundle again, for its card: file names without their folders."""
    files = [argument for file in library for argument in ("--library", file.name)]
    return shlex.join(["cempstream", "train", "--bundle", bundle, "--config", config.name, *files])


class _Board:
    """One progress bar per stage."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def _task(self, name: str, total: float) -> TaskID:
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total, losses="")
        return self._tasks[name]

    def count(self, stage: str, done: int, total: int) -> None:
        """Show how much of a stage is done."""
        self._bars.update(self._task(stage, total), completed=done)

    def epoch(self, phase: str, epoch: int, done: float, losses: dict[str, float]) -> None:
        """Show an epoch and its mean losses so far."""
        text = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
        self._bars.update(self._task(f"{phase}, epoch {epoch + 1}", 1.0), completed=done, losses=text)
