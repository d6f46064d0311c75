"""Results as a table: one row per spectrum, written as CSV, JSON lines or Parquet."""

from __future__ import annotations

import csv
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TextIO, TypeAlias

from cempstream.plain import shown
from cempstream.processors.outcome import PARAMETERS, Classification, Outcome
from cempstream.processors.spectrum import Spectrum

#: None where there is nothing to say; never NaN, for which JSON has no word.
Cell: TypeAlias = str | float | bool | None
Row: TypeAlias = Mapping[str, Cell]
WriteRow: TypeAlias = Callable[[Row], None]

_TEXT = (
    "spectrum_id", "survey", "status", "reason", "subclass", "flags", "bundle", "file", "object_id",
    "grating", "bands", "lines", "detail",
)  # fmt: skip

#: Columns in the order in which they are written.
COLUMNS = (
    "spectrum_id",
    "survey",
    "status",
    "reason",
    "snr",
    "rv_kms",
    *(f"{name}{end}" for name in PARAMETERS for end in ("", "_lo", "_hi")),
    "cfe_corrected",
    "p_cemp",
    "p_cemp_corrected",
    "subclass",
    "ood_score",
    "is_candidate",
    "flags",
    "bundle",
    "priority",
    "rv_error_kms",
    *(f"template_{name}" for name in ("teff", "logg", "feh", "cfe", "chi2")),
    "bands",
    "lines",
    "ra",
    "dec",
    "object_id",
    "grating",
    "file",
    "detail",
)

#: A spreadsheet takes a cell that begins so for a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")

SUFFIXES = (".csv", ".jsonl", ".parquet")
_ROWS_PER_GROUP = 4096


def table_row(path: Path, spectrum: Spectrum | None, outcome: Outcome) -> dict[str, Cell]:
    """Return one spectrum's row; a value that is not finite is None.

    Parameters
    ----------
    spectrum
        None where the file's own entry was bad: then the outcome says what is known.
    """
    row: dict[str, Cell] = dict.fromkeys(COLUMNS)
    row["file"] = str(path).encode("utf-8", "backslashreplace").decode()  # a name may be no text
    if spectrum is not None:
        row |= {
            "spectrum_id": spectrum.spectrum_id,
            "survey": spectrum.survey,
            "object_id": spectrum.object_id,
            "grating": spectrum.grating,
            "ra": spectrum.ra,
            "dec": spectrum.dec,
            "flags": ";".join(spectrum.flags),
        }
    if isinstance(outcome, Classification):
        row |= {"status": "scored", **_scores(outcome)}
    else:
        row |= {"status": "rejected", "reason": outcome.reason.value, "detail": outcome.detail}
        if spectrum is None:
            row |= {"spectrum_id": outcome.spectrum_id, "survey": outcome.survey}
    return {name: None if _is_not_finite(value) else value for name, value in row.items()}


@contextmanager
def open_table(path: Path | None, stdout: TextIO) -> Iterator[WriteRow]:
    """Open a table for writing and give the function that takes its rows.

    The file appears, whole, when all is written; what fails on the way leaves an older one as it was.

    Parameters
    ----------
    path
        Ends in one of ``SUFFIXES``; None writes CSV to `stdout`.
    """
    if path is None:
        with _csv(stdout) as write:
            yield write
        return
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream, _FORMATS[path.suffix](stream) as write:
            yield write
        part.chmod(0o666 & ~_umask())  # mkstemp's own are the owner's alone
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _scores(outcome: Classification) -> dict[str, Cell]:
    template = outcome.template
    scores: dict[str, Cell] = {
        "snr": outcome.snr,
        "rv_kms": outcome.rv_kms,
        "rv_error_kms": outcome.rv_error_kms,
        "cfe_corrected": outcome.cfe_corrected,
        "p_cemp": outcome.p_cemp,
        "p_cemp_corrected": outcome.p_cemp_corrected,
        "subclass": outcome.subclass,
        "ood_score": outcome.ood_score,
        "is_candidate": outcome.decision.is_candidate,
        "priority": outcome.decision.priority,
        "flags": ";".join(outcome.flags),
        "bundle": outcome.bundle,
        "template_teff": template.teff,
        "template_logg": template.logg,
        "template_feh": template.feh,
        "template_cfe": template.cfe,
        "template_chi2": template.chi2,
        "bands": ";".join(f"{band.name}={band.weight:.3f}" for band in outcome.bands),
        "lines": ";".join(
            f"{name}={value:.4g}" for name, (value, _) in outcome.lines.items() if math.isfinite(value)
        ),
    }
    for name, estimate in outcome.parameters.items():
        scores |= {name: estimate.value, f"{name}_lo": estimate.lo, f"{name}_hi": estimate.hi}
    return scores


def _is_not_finite(value: Cell) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def _csv(stream: TextIO) -> Iterator[WriteRow]:
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()

    yield lambda row: writer.writerow({name: csv_cell(value) for name, value in row.items()})
    stream.flush()


def csv_cell(value: Cell) -> Cell:
    """Return a value as it stands in a CSV: no text that a spreadsheet would run or a terminal obey.

    Text that begins like a formula is given an apostrophe, as OWASP advises; numbers stay as they are.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return value
    return f"'{shown(value)}" if value.startswith(_FORMULA_STARTS) else shown(value)


@contextmanager
def _csv_file(stream: IO[bytes]) -> Iterator[WriteRow]:
    with open(stream.fileno(), "w", encoding="utf-8", newline="", closefd=False) as text, _csv(text) as write:
        yield write


@contextmanager
def _json_lines(stream: IO[bytes]) -> Iterator[WriteRow]:
    def write(row: Row) -> None:
        stream.write(json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n")

    yield write


@contextmanager
def _parquet(stream: IO[bytes]) -> Iterator[WriteRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def kind(name: str) -> Any:
        if name == "is_candidate":
            return pa.bool_()
        return pa.string() if name in _TEXT else pa.float64()

    schema = pa.schema([(name, kind(name)) for name in COLUMNS])
    rows: list[Row] = []
    with pq.ParquetWriter(stream, schema) as writer:

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            rows.clear()

        def write(row: Row) -> None:
            rows.append(row)
            if len(rows) == _ROWS_PER_GROUP:
                flush()

        yield write
        flush()


_FORMATS = {".csv": _csv_file, ".jsonl": _json_lines, ".parquet": _parquet}
