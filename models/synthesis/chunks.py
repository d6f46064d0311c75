"""Files of the library: the chunks of a run, and merged files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np

from cempstream.models.emulator.labels import LABEL_NAMES
from cempstream.models.synthesis.grid_spectrum import LIBRARY_CONTINUUM_WAVE, LIBRARY_WAVE
from cempstream.models.synthesis.grid_stars import EVERYTHING
from cempstream.models.synthesis.linelists import LineSet
from cempstream.processors.grid import Array

#: Stratum and seed of the shared library, whose file does not state them.
_SHARED_SEED = 7

#: Line set of published spectra from which the impossible lines were taken out, see ``mend``.
MENDED = "mended"

#: Line set of published spectra for which that was only estimated, see ``estimate_mended``.
ESTIMATED = "estimated"

#: Of several spectra of one star, the one whose line set comes first here is used.
_PREFERENCE = (LineSet.CLEANED.value, MENDED, ESTIMATED, LineSet.PUBLISHED.value)

_SUFFIX = ".npz"


@dataclass(frozen=True, slots=True, eq=False)
class LibraryRows:
    """Spectra with their labels and origin.

    Attributes
    ----------
    norm, continuum
        float16, shape ``(n, 12570)``, and float32, shape ``(n, 128)``; see ``LibrarySpectrum``.
    labels
        float64, shape ``(n, 11)``, in the order of ``LABEL_NAMES``.
    stratum, seed, index
        The stratum's name, the run's seed and the position in that sequence, shape ``(n,)``.
    line_set
        A ``LineSet`` by name, ``MENDED`` or ``ESTIMATED``, shape ``(n,)``.
    """

    norm: Array = field(repr=False)
    continuum: Array = field(repr=False)
    labels: Array = field(repr=False)
    stratum: Array = field(repr=False)
    seed: Array = field(repr=False)
    index: Array = field(repr=False)
    line_set: Array = field(repr=False)

    def __post_init__(self) -> None:
        n_rows = len(self.labels)
        shapes = {
            "norm": (n_rows, LIBRARY_WAVE.size),
            "continuum": (n_rows, LIBRARY_CONTINUUM_WAVE.size),
            "labels": (n_rows, len(LABEL_NAMES)),
        }
        for name in (f.name for f in fields(self)):
            found, due = getattr(self, name).shape, shapes.get(name, (n_rows,))
            if found != due:
                raise ValueError(f"{name} has shape {found}; {due} fits the labels and the library's grids")

    def select(self, rows: Array) -> LibraryRows:
        """Return these rows, in this order."""
        return LibraryRows(*(getattr(self, f.name)[rows] for f in fields(self)))


def write_rows(path: Path, rows: LibraryRows, with_grids: bool = False) -> None:
    """Write rows in the shared library's layout, atomically.

    Parameters
    ----------
    with_grids
        Also write ``wave`` and ``cont_wave``, which a complete library needs.
    """
    arrays = {
        "norm": rows.norm,
        "cont": rows.continuum,
        "index": rows.index,
        "stratum": rows.stratum,
        "seed": rows.seed,
        "line_set": rows.line_set,
        **dict(zip(LABEL_NAMES, rows.labels.T, strict=True)),
    }
    if with_grids:
        arrays |= {"wave": LIBRARY_WAVE, "cont_wave": LIBRARY_CONTINUUM_WAVE}
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    with open(unfinished, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    os.replace(unfinished, path)


def read_rows(path: Path) -> LibraryRows:
    """Read a chunk, a merged library or the shared one, which is ``published`` lines throughout."""
    with np.load(path, allow_pickle=False) as file:
        n_rows = len(file["norm"])
        return LibraryRows(
            file["norm"],
            file["cont"],
            np.stack([file[name].astype(np.float64) for name in LABEL_NAMES], axis=1),
            file.get("stratum", np.full(n_rows, EVERYTHING)),
            file.get("seed", np.full(n_rows, _SHARED_SEED)),
            file["index"],
            file.get("line_set", np.full(n_rows, LineSet.PUBLISHED.value)),
        )


def chunk_path(folder: Path, stratum: str, seed: int, line_set: str, first_index: int) -> Path:
    """Return the path of the chunk that begins at this position."""
    return folder / f"{line_set}_{stratum}_{seed}_{first_index:06d}{_SUFFIX}"


def computed(folder: Path, line_set: str) -> set[tuple[str, int, int]]:
    """Return (stratum, seed, index) of all spectra with these lines in a folder's chunks."""
    found: set[tuple[str, int, int]] = set()
    for path in sorted(folder.glob(f"{line_set}_*{_SUFFIX}")):
        with np.load(path, allow_pickle=False) as file:
            rows = zip(file["stratum"], file["seed"], file["index"], strict=True)
            found |= {(str(stratum), int(seed), int(index)) for stratum, seed, index in rows}
    return found


def library_files(paths: Sequence[Path]) -> list[Path]:
    """Return these files and the ``.npz`` files in these folders."""
    found: list[Path] = []
    for path in paths:
        found += sorted(path.glob(f"*{_SUFFIX}")) if path.is_dir() else [path]
    return found


def merge(paths: Sequence[Path]) -> LibraryRows:
    """Join files of the library, each star once.

    Of stars with equal stratum, seed and index, cleaned lines are preferred to mended and published ones.

    Raises
    ------
    FileNotFoundError
        There is nothing to join.
    """
    files = library_files(paths)
    if not files:
        raise FileNotFoundError(f"no {_SUFFIX} file in {', '.join(map(str, paths)) or 'nothing'}")
    parts = [read_rows(path) for path in files]
    joined = LibraryRows(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(LibraryRows)))
    rank = np.array([_PREFERENCE.index(str(line_set)) for line_set in joined.line_set])
    order = np.lexsort((rank, joined.index, joined.seed, joined.stratum))
    stars = [(joined.stratum[i], joined.seed[i], joined.index[i]) for i in order]
    is_new = [i == 0 or star != stars[i - 1] for i, star in enumerate(stars)]
    return joined.select(order[np.array(is_new, dtype=bool)])
