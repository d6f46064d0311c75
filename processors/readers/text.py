"""Plain text of one spectrum, or of several one after another: a pixel per row, columns by any separator.

Columns are identified by the names in a header line, which may be a comment, or by ``ReadOptions.columns``,
or else by their order: wavelength, flux and error; the result is then flagged ``columns_by_order``. Comments
like ``# medium: air`` count like cards of a FITS header. Where a column names the spectrum or its source,
each run of rows with one name is a spectrum.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cempstream.processors.grid import Array
from cempstream.processors.outcome import Rejected
from cempstream.processors.readers.columns import WANTED, BadTable, refuse_repeated, split_unit, wave_unit_of
from cempstream.processors.readers.encoding import decode_text
from cempstream.processors.readers.generic import GenericTable, entries_by_name, read_table, tell
from cempstream.processors.readers.options import ReadOptions
from cempstream.processors.readers.source import Source
from cempstream.processors.readers.statements import known_keys
from cempstream.processors.readers.vocabulary import ID_NAMES, MaskSense, is_bad_cell, layout_of
from cempstream.processors.spectrum import MAX_PIXELS, Flag, Spectrum

_MAX_TEXT_BYTES = 128 << 20
#: Each row needs a few hundred bytes of memory while it is read.
_MAX_ROWS = 4 * MAX_PIXELS
_REMARK = re.compile(r"([A-Za-z_][A-Za-z0-9_ -]{0,40})[:=]\s*(\S.*)")
_REMARK_MARKS = ("#", "%", ";", "!", "//")
#: The blank means any number of blanks.
_DELIMITERS = (",", ";", "\t", " ")
_MISSING = {
    "", "nan", "null", "none", "na", "n/a", "-", "--", "---", "...", "indef", "masked", "*", "***",
    ".", "#n/a", "#na", "#value!", "#div/0!", "#num!",
}  # fmt: skip
#: A number with a decimal comma, such as 3800,143.
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+([eEdD][+-]?\d+)?", re.ASCII)
_RULE = set("-=+| \t,;")
_MOST_PROSE = 100
_BY_ORDER = ("wavelength", "flux", "error")


@dataclass(frozen=True, slots=True)
class _Text:
    """A text table: the statements in its comments, its header or None, and the lines of its rows."""

    said: dict[str, str]
    labels: list[str] | None
    rows: list[str]
    delimiter: str


def read_text(source: Source, options: ReadOptions) -> Iterator[Spectrum | Rejected]:
    """Read the spectra of a text table.

    Raises
    ------
    UnreadableFile
        It is not text, or not a table of spectra.
    """
    try:
        yield from read_table(source, _table(source, options), options)
    except csv.Error as error:
        raise source.unreadable(f"is text, but no table ({error})", f"a table {WANTED}") from error
    except ValueError as error:
        raise source.unreadable(str(error), getattr(error, "remedy", WANTED)) from error


def _table(source: Source, options: ReadOptions) -> GenericTable:
    text = _split_text(source, decode_text(source, _MAX_TEXT_BYTES), options)
    rows = list(_split_rows(text.rows, text.delimiter))
    width = len(rows[0]) if rows else 0
    labels = list(options.columns) if options.columns else text.labels
    is_by_order = labels is None
    if labels is None:
        labels = list(_BY_ORDER[:width])
        if width > len(_BY_ORDER):
            tell(
                source, f"has no header and {width} columns; the first three are read as {', '.join(labels)}"
            )
    named = [split_unit(label) for label in labels]
    units = {name: unit for name, unit in reversed(named)}
    names = [name for name, _ in named]
    layout = layout_of(name for name in names if name)
    if layout is None:
        raise BadTable(f"has the columns {', '.join(names)[:80] or '(none)'}")
    refuse_repeated(names, layout.names)
    if rows:
        rows = _aligned(rows, len(names), may_have_more=is_by_order)
    wave_place = names.index(layout.wave)
    if rows and not _is_number(rows[0][wave_place]) and wave_unit_of(rows[0][wave_place]) is not None:
        for name in (layout.wave, layout.flux):
            units[name] = units[name] or rows[0][names.index(name)].strip()
        rows = rows[1:]
    stated = [name for name in names if name in known_keys() or name in ID_NAMES]
    columns = {
        name: [row[names.index(name)].strip() for row in rows]
        for name in dict.fromkeys((*layout.names, *stated))
    }
    masks = dict(layout.masks)
    values = {
        name: _marks(columns[name], name, masks[name]) if name in masks else _numbers(columns[name], name)
        for name in layout.names
    }
    return GenericTable(
        layout=layout,
        entries=entries_by_name(values, layout, {name: columns[name] for name in stated}),
        wave_unit=units[layout.wave],
        flux_unit=units[layout.flux],
        said=text.said,
        flags=(Flag.COLUMNS_BY_ORDER,) if is_by_order else (),
    )


def _split_text(source: Source, text: str, options: ReadOptions) -> _Text:
    """Split comments, header and rows."""
    said: dict[str, str] = {}
    labels: list[str] | None = None
    delimiter = " "
    rows: list[str] = []
    is_headed = False
    prose: list[str] = []
    for line in text.splitlines():
        bare = line.strip()
        if not bare or (rows and bare[0] in "#%!") or set(bare) <= _RULE:
            continue
        mark = next((mark for mark in _REMARK_MARKS if bare.startswith(mark)), None)
        if mark is not None and not rows:
            remark = bare.lstrip(mark).strip()
            if statement := _statement(remark):
                said[statement[0]] = statement[1]
            elif not is_headed and (header := _split_header(remark)):
                labels, delimiter = header
        elif not rows and not is_headed and (header := _split_header(line)):
            (labels, delimiter), is_headed = header, True
        elif not rows and not is_headed and _numeric_delimiter(line) is None:
            prose.append(bare)
            if statement := _statement(bare):
                said[statement[0]] = statement[1]
        else:
            rows.append(line)
        # Prose is allowed above a known header; above bare numbers it may be a header that is not understood.
        if prose and not is_headed and (rows or len(prose) > _MOST_PROSE) and options.columns is None:
            raise _headless(prose[0])
        if len(rows) > _MAX_ROWS:
            raise BadTable(f"has more than {_MAX_ROWS} rows", "give a table of fewer rows, a pixel per row")
    if prose and not is_headed and not rows:
        raise _headless(prose[0])
    if not rows and labels is None:
        raise source.unreadable("is text without a header of spectra: it has no lines", f"a table {WANTED}")
    if rows and (labels is None or len(next(_split_rows(rows[:1], delimiter))) < len(labels)):
        delimiter = _numeric_delimiter(rows[0]) or delimiter
    return _Text(said, labels, rows, delimiter)


def _statement(remark: str) -> tuple[str, str] | None:
    """Return key and value of a remark; of several words, only those of known statements are a key."""
    match = _REMARK.fullmatch(remark)
    key = "_".join(match[1].lower().split()) if match else ""
    if match is None or (" " in match[1].strip() and key not in known_keys()):
        return None
    return key, match[2].strip().strip("'\"")


def _headless(line: str) -> BadTable:
    return BadTable(
        f"is text without a header of spectra: its first line is '{line[:60]}'",
        f"a table {WANTED}; --columns wave,flux,error names them in order",
    )


def _numeric_delimiter(line: str) -> str | None:
    """Return what separates the numbers of a line; None if there are fewer than two."""
    for delimiter in _DELIMITERS:
        cells = next(_split_rows([line], delimiter))
        while len(cells) > 2 and not cells[-1].strip():
            cells.pop()
        if len(cells) >= 2 and all(
            _is_number(cell) or cell.strip().lower() in _MISSING for cell in cells[:3]
        ):
            return delimiter
    return None


def _split_header(line: str) -> tuple[list[str], str] | None:
    """Return the labels of a line that names wavelength and flux, and what separates them."""
    for delimiter in _DELIMITERS:
        if delimiter == " ":
            labels = _split_blanks(line)
        else:
            labels = next(csv.reader([line], delimiter=delimiter), [])
        if len(labels) >= 2 and layout_of(split_unit(label)[0] for label in labels) is not None:
            return labels, delimiter
    return None


def _split_blanks(line: str) -> list[str]:
    """Split a header at blanks, keeping a unit in brackets with the name before it."""
    labels: list[str] = []
    depth = 0
    for word in line.split():
        if labels and (depth > 0 or word[0] in "[("):
            labels[-1] += f" {word}"
        else:
            labels.append(word)
        depth += sum(word.count(c) for c in "[(") - sum(word.count(c) for c in "])")
    return labels


def _split_rows(lines: Sequence[str], delimiter: str) -> Iterator[list[str]]:
    if delimiter == " ":
        return (line.split() for line in lines)
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=True)


def _aligned(rows: list[list[str]], width: int, *, may_have_more: bool) -> list[list[str]]:
    """Return rows as wide as the header; cells missing at the end of a row are missing values.

    Raises
    ------
    BadTable
        Header and first row have different widths, so that columns cannot be identified.
    """
    first = rows[0]
    has_more = any(cell.strip() for cell in first[width:])
    if len(first) < width or (has_more and not may_have_more):
        raise BadTable(
            f"its header has {width} columns and its first row {len(first)}",
            "give every column a name, by a header or by --columns",
        )
    return [row if len(row) >= width else [*row[:1], *[""] * (width - 1)] for row in rows]


def _is_number(cell: str) -> bool:
    try:
        _number(cell)
    except ValueError:
        return False
    return True


def _number(cell: str) -> float:
    text = cell.strip().strip("'\"")
    try:
        return float(text)
    except ValueError:
        if _DECIMAL_COMMA.fullmatch(text):
            text = text.replace(",", ".")
        # Fortran writes 1.0D-16.
        return float(text.lower().replace("d", "e"))


def _numbers(cells: Sequence[str], name: str) -> Array:
    """Return cells as float64; a missing one is NaN."""
    values = []
    for row, cell in enumerate(cells, start=2):
        try:
            values.append(float(cell))
        except ValueError:
            if cell.strip("'\"").lower() in _MISSING:
                values.append(np.nan)
            elif _is_number(cell):
                values.append(_number(cell))
            else:
                raise BadTable(f"row {row} has '{cell[:30]}' as {name}") from None
    return np.array(values, dtype=np.float64)


def _marks(cells: Sequence[str], name: str, sense: MaskSense) -> Array:
    """Return the cells of a mask as float64, NaN where missing."""
    known: dict[str, float] = {}
    for row, cell in enumerate(cells, start=2):
        if cell in known:
            continue
        is_bad = is_bad_cell(cell, sense)
        if is_bad is None and cell.strip("'\"").lower() not in _MISSING:
            raise BadTable(
                f"row {row} has '{cell[:30]}' as {name}", "a mask holds 0 and 1, or True and False"
            )
        known[cell] = np.nan if is_bad is None else float(is_bad == (sense == "bad"))
    return np.array([known[cell] for cell in cells], dtype=np.float64)
