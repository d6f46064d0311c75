"""Classify files without a broker: the same packets through the same pipeline as in the worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cempstream.models.sessions import Provider
from cempstream.processors.outcome import Outcome, Rejected
from cempstream.processors.readers import ReadOptions, UnreadableFile, expand_paths, read_spectra
from cempstream.processors.spectrum import Frame, Medium, Spectrum
from cempstream.schemas.codec import encode_spectrum
from cempstream.streams.scoring.assemble import load_pipeline
from cempstream.streams.scoring.pipeline import Pipeline
from cempstream.streams.scoring.result_table import Cell, table_row
from cempstream.streams.settings import read_settings

_DEFAULTS = ReadOptions()


@dataclass(frozen=True, slots=True, eq=False)
class FileOutcome:
    """What became of one spectrum of a file.

    Attributes
    ----------
    spectrum
        None where the file's own entry was bad.
    """

    path: Path
    spectrum: Spectrum | None
    outcome: Outcome


def classify_files(
    paths: Iterable[Path],
    pipeline: Pipeline,
    *,
    options: ReadOptions = _DEFAULTS,
    batch_size: int = 64,
    on_unreadable: Callable[[UnreadableFile], None],
    on_file: Callable[[Path], None] = lambda path: None,
) -> Iterator[FileOutcome]:
    """Yield one outcome per spectrum, in the files' order; no file is held whole.

    Parameters
    ----------
    on_unreadable
        Told of every file that cannot be read (to its end); the others are done all the same.
    on_file
        Told of every file that has been read.

    Raises
    ------
    ModelBroken
        The models fail on good spectra.
    """
    gathered: list[tuple[Path, Spectrum | Rejected]] = []
    for path in paths:
        try:
            for read in read_spectra(path, options):
                gathered.append((path, read))
                if len(gathered) == batch_size:
                    yield from _run(pipeline, gathered)
                    gathered = []
        except UnreadableFile as error:
            on_unreadable(error)
        on_file(path)
    yield from _run(pipeline, gathered)


def classify(
    paths: Path | str | Sequence[Path | str],
    *,
    medium: Medium | None = None,
    frame: Frame | None = None,
    resolving_power: float | None = None,
    survey: str | None = None,
    wave_unit: str | None = None,
    columns: Sequence[str] | None = None,
    provider: Provider | str | None = None,
    bundles: Sequence[str] | None = None,
) -> list[dict[str, Cell]]:
    """Classify files: one row per spectrum, in order, with the columns of ``cempstream classify``.

    Parameters
    ----------
    paths
        One or several files, or folders of them.
    medium, frame, resolving_power, survey, wave_unit, columns
        What the caller knows better than the files; see ``ReadOptions``.
    provider, bundles
        Where the networks run and which are asked; None leaves it to the settings.

    Raises
    ------
    UnreadableFile
        A file cannot be read.
    BundleError, ProviderUnavailable
        The models cannot be loaded, or not where they shall run.
    """

    def refuse(error: UnreadableFile) -> None:
        raise error

    settings = read_settings(
        models={"provider": provider, "bundles": tuple(bundles) if bundles is not None else None}
    )
    options = ReadOptions(
        medium=medium,
        frame=frame,
        resolving_power=resolving_power,
        survey=survey,
        wave_unit=wave_unit,
        columns=tuple(columns) if columns is not None else None,
    )
    files = expand_paths([paths] if isinstance(paths, Path | str) else paths)
    results = classify_files(
        files, load_pipeline(settings), options=options, batch_size=settings.batch.size, on_unreadable=refuse
    )
    return [table_row(result.path, result.spectrum, result.outcome) for result in results]


def _run(pipeline: Pipeline, gathered: Sequence[tuple[Path, Spectrum | Rejected]]) -> Iterator[FileOutcome]:
    """Run one batch; what the reader refused keeps its place."""
    packets = [encode_spectrum(read) for _, read in gathered if isinstance(read, Spectrum)]
    outcomes = iter(pipeline(packets))
    for path, read in gathered:
        if isinstance(read, Spectrum):
            yield FileOutcome(path, read, next(outcomes))
        else:
            yield FileOutcome(path, None, read)
