"""Classify spectra without a broker, with the same packets and pipeline as in the worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from cempstream.processors.outcome import Rejected
from cempstream.processors.readers import ReadOptions, UnreadableFile, read_spectra
from cempstream.processors.spectrum import Spectrum
from cempstream.schemas.codec import encode_spectrum
from cempstream.streams.scoring.pipeline import Pipeline
from cempstream.streams.scoring.result import Result

#: A spectrum, or its reader's refusal, and the file that it comes from.
Read: TypeAlias = tuple[str | None, Spectrum | Rejected]

_DEFAULTS = ReadOptions()


def classify_files(
    paths: Iterable[Path],
    pipeline: Pipeline,
    *,
    options: ReadOptions = _DEFAULTS,
    batch_size: int = 64,
    on_unreadable: Callable[[UnreadableFile], None],
    on_file: Callable[[Path], None] = lambda path: None,
    complete: Callable[[Spectrum], Spectrum] = lambda spectrum: spectrum,
) -> Iterator[Result]:
    """Yield one result per spectrum, in the files' order; no file is held whole in memory.

    Parameters
    ----------
    on_unreadable
        Called for every file that cannot be read (to its end); the other files are still classified.
    on_file
        Called for every file that has been read.
    complete
        Adds what is known of a star from elsewhere to its spectrum.

    Raises
    ------
    ModelBroken
        The models fail on good spectra.
    """

    def read() -> Iterator[Read]:
        for path in paths:
            try:
                for spectrum in read_spectra(path, options):
                    yield str(path), complete(spectrum) if isinstance(spectrum, Spectrum) else spectrum
            except UnreadableFile as error:
                on_unreadable(error)
            on_file(path)

    return classify_spectra(read(), pipeline, batch_size=batch_size)


def classify_spectra(reads: Iterable[Read], pipeline: Pipeline, *, batch_size: int = 64) -> Iterator[Result]:
    """Yield one result per spectrum, in order.

    Parameters
    ----------
    reads
        Each spectrum with its file, or None if it has none; a spectrum that its reader refused keeps its
        place.

    Raises
    ------
    ModelBroken
        The models fail on good spectra.
    """
    gathered: list[Read] = []
    for read in reads:
        gathered.append(read)
        if len(gathered) == batch_size:
            yield from _run(pipeline, gathered)
            gathered = []
    yield from _run(pipeline, gathered)


def _run(pipeline: Pipeline, gathered: Sequence[Read]) -> Iterator[Result]:
    """Run one batch."""
    packets = [encode_spectrum(read) for _, read in gathered if isinstance(read, Spectrum)]
    outcomes = iter(pipeline.classify_packets(packets))
    for source, read in gathered:
        if isinstance(read, Spectrum):
            yield Result(source, read, next(outcomes))
        else:
            yield Result(source, None, read)
