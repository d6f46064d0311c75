"""Tables of results as files: CSV, JSON lines and Parquet row by row; ECSV, FITS and VOTable with astropy."""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, Protocol, TextIO, TypeAlias

from cempstream.plain import csv_cell
from cempstream.processors.outcome import Outcome
from cempstream.streams.scoring.result_table import (
    COLUMN_INFO,
    Column,
    ResultRow,
    quantity_table,
    table_metadata,
)


class Tabled(Protocol):
    """A result of a spectrum or of a star: its row, and what tells of the models that made it."""

    @property
    def row(self) -> ResultRow:
        """The cells by column."""

    @property
    def outcome(self) -> Outcome | None:
        """What the pipeline found."""


WriteResult: TypeAlias = Callable[[Tabled], None]
Columns: TypeAlias = Sequence[Column]

_ROWS_PER_GROUP = 4096


@contextmanager
def open_table(path: Path | TextIO, columns: Columns = COLUMN_INFO) -> Iterator[WriteResult]:
    """Open a table for writing and give the function that takes its results.

    The file appears when all is written; after a failure an older file is left as it was.

    Parameters
    ----------
    path
        Ends in one of ``SUFFIXES``; an open stream takes CSV.
    columns
        Those of spectra or of stars.
    """
    if not isinstance(path, Path):
        with _csv(path, columns) as write:
            yield write
        return
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream, _FORMATS[path.suffix](stream, columns) as write:
            yield write
        part.chmod(0o666 & ~_umask())  # mkstemp lets only the owner read and write
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def check_table_name(path: Path) -> None:
    """Refuse a path to which no table can be written.

    Raises
    ------
    ValueError
        It ends in none of ``SUFFIXES``, or its folder does not exist.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: the table's name must end in {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise ValueError(f"{path}: there is no folder {path.parent}")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def _csv(stream: TextIO, columns: Columns) -> Iterator[WriteResult]:
    writer = csv.DictWriter(stream, [column.name for column in columns], lineterminator="\n")
    writer.writeheader()

    yield lambda result: writer.writerow({name: csv_cell(value) for name, value in result.row.items()})
    stream.flush()


@contextmanager
def _csv_file(stream: IO[bytes], columns: Columns) -> Iterator[WriteResult]:
    with _as_text(stream) as text, _csv(text, columns) as write:
        yield write


@contextmanager
def _json_lines(stream: IO[bytes], columns: Columns) -> Iterator[WriteResult]:
    def write(result: Tabled) -> None:
        stream.write(json.dumps(result.row, ensure_ascii=False, allow_nan=False).encode() + b"\n")

    yield write


@contextmanager
def _parquet(stream: IO[bytes], columns: Columns) -> Iterator[WriteResult]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {str: pa.string(), float: pa.float64(), int: pa.int64(), bool: pa.bool_()}
    schema = pa.schema([(column.name, kinds[column.kind]) for column in columns])
    rows: list[ResultRow] = []
    with pq.ParquetWriter(stream, schema) as writer:

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            rows.clear()

        def write(result: Tabled) -> None:
            rows.append(result.row)
            if len(rows) == _ROWS_PER_GROUP:
                flush()

        yield write
        flush()


def _by_astropy(save: Callable[[Any, IO[bytes], Columns], None]) -> Callable[[IO[bytes], Columns], Any]:
    """Return the writer of a format that needs the whole table; the rows wait in memory until the end."""

    @contextmanager
    def write_whole(stream: IO[bytes], columns: Columns) -> Iterator[WriteResult]:
        rows: list[ResultRow] = []
        policies: dict[tuple[str, str], Outcome | None] = {}

        def write(result: Tabled) -> None:
            rows.append(result.row)
            policies.setdefault((str(result.row["bundle"]), str(result.row["survey"])), result.outcome)

        yield write
        save(quantity_table(rows, table_metadata(policies.values()), columns), stream, columns)

    return write_whole


def _save_ecsv(table: Any, stream: IO[bytes], columns: Columns) -> None:
    with _as_text(stream) as text:
        table.write(text, format="ascii.ecsv")


def _save_fits(table: Any, stream: IO[bytes], columns: Columns) -> None:
    """Write a FITS table; a header cannot hold lists, so COMMENT cards say what made the table."""
    from astropy.io.fits import HDUList, PrimaryHDU, table_to_hdu

    lines = _metadata_lines(table.meta)
    table.meta.clear()
    for column in columns:
        if column.kind is str:  # FITS text is ASCII
            table[column.name] = [text.encode("ascii", "backslashreplace") for text in table[column.name]]
    hdu = table_to_hdu(table)
    hdu.name = "RESULTS"
    for i, column in enumerate(columns, start=1):
        hdu.header[f"TCOMM{i}"] = column.description
        hdu.header[f"TUCD{i}"] = column.ucd
    for line in lines:
        hdu.header.add_comment(line)
    HDUList([PrimaryHDU(), hdu]).writeto(stream)


def _save_votable(table: Any, stream: IO[bytes], columns: Columns) -> None:
    from astropy.io.votable import from_table

    file = from_table(table, table_id="results")
    file.get_first_table().description = "; ".join(_metadata_lines(table.meta))
    file.to_xml(stream)


def _metadata_lines(metadata: dict[str, Any]) -> list[str]:
    return [
        f"cempstream {metadata['cempstream']}",
        *metadata["models"],
        *(
            f"{policy['bundle']}, survey {policy['survey']}: prior {policy['prior']:g}, "
            f"threshold {policy['threshold']:g}, policy {policy['policy_version']}"
            for policy in metadata["policies"]
        ),
    ]


@contextmanager
def _as_text(stream: IO[bytes]) -> Iterator[TextIO]:
    text = TextIOWrapper(stream, encoding="utf-8", newline="")
    yield text
    text.detach()


_FORMATS: dict[str, Callable[[IO[bytes], Columns], Any]] = {
    ".csv": _csv_file,
    ".jsonl": _json_lines,
    ".parquet": _parquet,
    ".ecsv": _by_astropy(_save_ecsv),
    ".fits": _by_astropy(_save_fits),
    ".vot": _by_astropy(_save_votable),
}

#: What the name of a table may end in.
SUFFIXES = tuple(_FORMATS)
