"""Read catalogues: CSV with numpy alone; ECSV, VOTable and FITS by astropy; JINAbase by its own layout."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from io import TextIOWrapper
from itertools import chain, islice
from pathlib import Path
from typing import IO

import numpy as np

from cempstream.errors import install_hint
from cempstream.plain import shown
from cempstream.processors.grid import Array
from cempstream.streams.observing.catalogue import MAX_CHARS, Catalogue, CatalogueError, Column, catalogue_of
from cempstream.streams.observing.jinabase import is_jinabase, jinabase_columns

#: Rows that are turned from Python's texts into numpy's at once: a million as texts would take a gigabyte.
_CHUNK = 50_000
_MAX_COLUMNS = 1000
_DELIMITERS = ",;\t|"
_SUFFIXES = (".csv", ".ecsv", ".vot", ".votable", ".xml", ".fits", ".fit", ".tsv", ".txt", ".gz")


def read_catalogue(path: Path | str) -> Catalogue:
    """Read a catalogue; its name is the file's without the endings. The format is known by the first bytes.

    Raises
    ------
    CatalogueError
        It is none, or what reads it is not installed.
    OSError
        The file cannot be read.
    """
    path = Path(path)
    name = catalogue_name(path)
    try:
        with _open(path) as file:
            head = file.read(4096)
        columns = _columns(path, head)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CatalogueError(f"{path}: the gzip file is damaged: {error}") from error
    except CatalogueError as error:
        raise CatalogueError(f"{path}: {error}") from error
    if is_jinabase([column.name for column in columns]):
        columns = jinabase_columns(columns)
    try:
        return catalogue_of(name, columns)
    except CatalogueError as error:
        raise CatalogueError(f"{path}: {str(error).removeprefix(f'{name}: ')}") from error


def catalogue_name(path: Path) -> str:
    """Return a file's name without its endings: ``jinabase`` of ``jinabase.csv.gz``."""
    name = path.name
    while (suffix := Path(name).suffix.lower()) in _SUFFIXES and Path(name).stem:
        name = name[: -len(suffix)]
    return name


def _columns(path: Path, head: bytes) -> list[Column]:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    form = None
    if start.startswith(b"# %ECSV"):
        form = "ascii.ecsv"
    elif start.startswith(b"<"):
        form = "votable"
    elif head.startswith(b"SIMPLE  ="):
        form = "fits"
    if form is None:
        return _csv_columns(path)
    try:
        from cempstream.streams.observing.catalogue_tables import table_columns
    except ModuleNotFoundError as error:
        raise CatalogueError(f"{form} is read by {error.name}: {install_hint('observing')}") from error
    return table_columns(path, form)


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        is_gzipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if is_gzipped else path.open("rb")  # type: ignore[return-value] # it reads bytes


def _csv_columns(path: Path) -> list[Column]:
    """Read text with a header, whose values are separated by comma, semicolon, tab or bar."""
    with _open(path) as raw, TextIOWrapper(raw, "utf-8-sig", "replace", newline="") as file:
        lines = (line for line in file if line.strip() and not line.startswith("#"))
        header = next(lines, "")
        if "\0" in header or "\ufffd" in header:
            raise CatalogueError("it is neither text with a header, nor ECSV, VOTable or FITS")
        delimiter = max(_DELIMITERS, key=header.count)
        reader = csv.reader(chain([header], lines), delimiter=delimiter)
        try:
            names = [name.strip() for name in next(reader, [])]
            if len(names) > _MAX_COLUMNS:
                raise CatalogueError(
                    f"the header has {len(names):,} names; at most {_MAX_COLUMNS:,} are read"
                )
            chunks = list(_chunks(reader, len(names)))
        except csv.Error as error:
            raise CatalogueError(
                f"line {reader.line_num}: {error}; a row is a line of texts and numbers"
            ) from error
    if not chunks:
        raise CatalogueError(f"there are no rows below the header {shown(header.strip(), longest=60)!r}")
    return [Column(name, _join([chunk[i] for chunk in chunks])) for i, name in enumerate(names)]


def _chunks(rows: Iterator[Sequence[str]], n_columns: int) -> Iterator[list[Array]]:
    """Yield the columns of so many rows; a row of another length is kept as one without a position."""
    empty = [""] * n_columns
    while chunk := list(islice(rows, _CHUNK)):
        fitting = [row if len(row) == n_columns else empty for row in chunk]
        yield [_values(cells) for cells in zip(*fitting, strict=True)]


def _values(cells: Sequence[str]) -> Array:
    """Return numbers where all are, else texts.

    Integers stay texts: Gaia's identifiers have more digits than a float64.
    """
    if not all(cell.strip().lstrip("+-").isdigit() for cell in cells[:100]):
        try:
            return np.array([cell.strip() or "nan" for cell in cells], dtype=np.float64)
        except ValueError:
            pass
    return np.array([cell.strip()[:MAX_CHARS] for cell in cells], dtype=np.dtypes.StringDType())


def _join(parts: Sequence[Array]) -> Array:
    """Join the chunks of a column: as numbers where all chunks are numbers."""
    if len({part.dtype.kind for part in parts}) > 1:
        parts = [_as_texts(part) for part in parts]
    return np.concatenate(parts)


def _as_texts(part: Array) -> Array:
    if part.dtype.kind != "f":
        return part
    listed = ["" if value != value else repr(value) for value in part.tolist()]
    return np.array(listed, dtype=np.dtypes.StringDType())
