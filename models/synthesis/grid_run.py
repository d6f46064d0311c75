"""Compute a library: plan, compute in parallel, and write chunks from which a stopped run continues."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TypeVar

import numpy as np

from cempstream.models.synthesis.atmosphere import AtmosphereGrid, AtmosphereNotCovered
from cempstream.models.synthesis.build_synspec import build_synspec
from cempstream.models.synthesis.chunks import LibraryRows, chunk_path, computed, read_rows, write_rows
from cempstream.models.synthesis.errors import SynspecFailed
from cempstream.models.synthesis.grid_spectrum import LibrarySpectrum, library_spectrum
from cempstream.models.synthesis.grid_stars import EVERYTHING, STRATA, Star, sobol_labels
from cempstream.models.synthesis.linelists import LineSet, prepare_linelists
from cempstream.models.synthesis.packages import ATLAS9, fetch
from cempstream.models.synthesis.synspec import SynspecRunner

logger = logging.getLogger(__name__)

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

#: Spectra in a file, which is the most that a stopped run loses per worker.
CHUNK_SIZE = 8

#: Called with the number of spectra that exist and the total number.
TellChunks = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Positions of one stratum's sequence that go into one file."""

    stratum: str
    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GridRun:
    """The result of a run.

    Attributes
    ----------
    n_computed, n_before
        Spectra computed in this run, and found from earlier runs.
    failures
        Stars that could not be computed, with the reason.
    """

    n_computed: int
    n_before: int
    failures: tuple[str, ...]


def prepare(cache: Path, line_set: LineSet = LineSet.CLEANED) -> SynspecRunner:
    """Fetch, compile and convert everything needed to compute a star.

    Raises
    ------
    SynthesisError
        There is no gfortran, or a package cannot be fetched.
    """
    cache.mkdir(parents=True, exist_ok=True)
    return SynspecRunner(
        build_synspec(cache),
        AtmosphereGrid(fetch(ATLAS9, cache)),
        prepare_linelists(cache, line_set),
        cache / "runs",
    )


def run_grid(
    n: int,
    seed: int,
    workers: int,
    out: Path,
    cache: Path,
    strata: Mapping[str, int] | None = None,
    given: Sequence[Path] = (),
    line_set: LineSet = LineSet.CLEANED,
    progress: TellChunks | None = None,
) -> GridRun:
    """Compute a library, or its missing part.

    Parameters
    ----------
    n
        Stars of the sequence over all of label space, positions 0 to n - 1.
    workers
        Synspec processes that run in parallel; each takes about 0.3 GB of memory.
    out
        Folder of the chunks.
    strata
        Number of stars of further strata by name; they are mixed evenly among the others.
    given
        Files of existing spectra, with any line set: their positions are computed last.
    """
    chunks = plan_chunks({EVERYTHING: n, **(strata or {})}, _taken(given, seed))
    done = computed(out, line_set)
    pending = list(_pending(chunks, done, seed))
    n_due = sum(len(chunk.indices) for chunk in chunks)
    n_before = n_due - sum(len(chunk.indices) for chunk in pending)
    report = progress or _silent
    report(n_before, n_due)
    if not pending:
        return GridRun(0, n_before, ())
    runner = prepare(cache, line_set)
    failures: list[str] = []
    n_computed = n_tried = 0
    stop = Event()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for rows, failed, n_stars in in_parallel(
                pool, workers, pending, lambda chunk: compute_chunk(runner, chunk, seed, line_set, stop)
            ):
                failures += failed
                n_tried += n_stars
                if rows is not None:
                    stratum, first = str(rows.stratum[0]), int(rows.index[0])
                    write_rows(chunk_path(out, stratum, seed, line_set, first), rows)
                    n_computed += len(rows.index)
                report(n_before + n_tried, n_due)
        finally:
            stop.set()  # the pool waits for its threads: an interrupted run ends after the current stars
    return GridRun(n_computed, n_before, tuple(failures))


def plan_chunks(counts: Mapping[str, int], taken: frozenset[int] = frozenset()) -> list[Chunk]:
    """Cut the strata into chunks and mix them evenly, so that a run stopped early has a share of each.

    Parameters
    ----------
    counts
        Stars by stratum.
    taken
        Positions of the sequence over all of label space that come last.
    """
    placed: list[tuple[float, Chunk]] = []
    for name, count in counts.items():
        if name not in STRATA:
            raise ValueError(f"there is no stratum '{name}'; there are {', '.join(STRATA)}")
        late = taken if name == EVERYTHING else frozenset()
        fresh = _cut(name, [index for index in range(count) if index not in late])
        placed += [((i + 0.5) / len(fresh), chunk) for i, chunk in enumerate(fresh)]
        placed += [(1.0, chunk) for chunk in _cut(name, sorted(late & set(range(count))))]
    return [chunk for _, chunk in sorted(placed, key=lambda item: item[0])]


def _cut(stratum: str, indices: Sequence[int]) -> list[Chunk]:
    return [Chunk(stratum, tuple(indices[i : i + CHUNK_SIZE])) for i in range(0, len(indices), CHUNK_SIZE)]


def compute_chunk(
    runner: SynspecRunner, chunk: Chunk, seed: int, line_set: LineSet, stop: Event
) -> tuple[LibraryRows | None, list[str], int]:
    """Compute the stars of a chunk; return its rows, what failed, and how many were tried.

    Setting ``stop`` ends it early.
    """
    labels = sobol_labels(STRATA[chunk.stratum], seed, np.array(chunk.indices))
    spectra: list[LibrarySpectrum] = []
    kept: list[int] = []
    failures: list[str] = []
    for i, row in enumerate(labels):
        if stop.is_set():
            break
        try:
            spectra.append(library_spectrum(runner(Star.from_row(row))))
        except (SynspecFailed, AtmosphereNotCovered) as error:
            logger.warning("%s %d: %s", chunk.stratum, chunk.indices[i], error)
            failures.append(f"{chunk.stratum} {chunk.indices[i]}: {error}")
        else:
            kept.append(i)
    if not kept:
        return None, failures, len(labels)
    rows = LibraryRows(
        np.stack([spectrum.norm for spectrum in spectra]),
        np.stack([spectrum.continuum for spectrum in spectra]),
        labels[kept],
        np.full(len(kept), chunk.stratum),
        np.full(len(kept), seed),
        np.array(chunk.indices)[kept],
        np.full(len(kept), line_set.value),
    )
    return rows, failures, len(labels)


def _taken(given: Sequence[Path], seed: int) -> frozenset[int]:
    found: set[int] = set()
    for path in given:
        rows = read_rows(path)
        found |= set(rows.index[(rows.stratum == EVERYTHING) & (rows.seed == seed)].tolist())
    return frozenset(found)


def _pending(chunks: Sequence[Chunk], done: set[tuple[str, int, int]], seed: int) -> Iterator[Chunk]:
    """Yield the missing part of each chunk."""
    for chunk in chunks:
        missing = tuple(i for i in chunk.indices if (chunk.stratum, seed, i) not in done)
        if missing:
            yield Chunk(chunk.stratum, missing)


def in_parallel(
    pool: ThreadPoolExecutor, workers: int, items: Iterable[_Item], compute: Callable[[_Item], _Result]
) -> Iterator[_Result]:
    """Yield results as they end; only one task per worker is started, so that a stop is prompt."""
    left = iter(items)
    running: set[Future[_Result]] = set()
    while True:
        for item in left:
            running.add(pool.submit(compute, item))
            if len(running) >= workers:
                break
        if not running:
            return
        ended, running = wait(running, return_when=FIRST_COMPLETED)
        for future in ended:
            yield future.result()


def _silent(n_done: int, n_due: int) -> None:
    """Report nothing."""
