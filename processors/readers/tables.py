"""Plain tables of spectra: FITS tables and CSV, with columns wave, wavelength or loglam, flux, ivar or error.

A FITS table holds one spectrum with a pixel per row, or a spectrum per row in columns of vectors. Header
cards ``MEDIUM`` (or ``VACUUM``, ``AIRORVAC``), ``FRAME`` and ``RESPOWER`` are believed, as are lines like
``# medium: air`` at the head of a CSV.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping

import numpy as np

from cempstream.processors.grid import Array
from cempstream.processors.outcome import Rejected
from cempstream.processors.readers.build import Origin, to_float64
from cempstream.processors.readers.columns import (
    ERROR_NAMES,
    ID_NAMES,
    IVAR_NAMES,
    MASK_NAMES,
    WANTED,
    WAVE_NAMES,
    ascending,
    first_of,
    frame_of,
    ivar_of_error,
    medium_of,
    split_unit,
    wavelengths,
)
from cempstream.processors.readers.conventions import TableRow, build_row, conventions_of
from cempstream.processors.readers.fits_file import Cards, FitsFile
from cempstream.processors.readers.options import ReadOptions
from cempstream.processors.readers.source import Source
from cempstream.processors.spectrum import MAX_PIXELS, Spectrum

_MAX_CSV_BYTES = 128 << 20
_REMARK = re.compile(r"#\s*([A-Za-z_]+)\s*[:=]\s*(\S+)\s*")
_DELIMITERS = (",", ";", "\t", None)


def table_indices(file: FitsFile) -> list[int]:
    """Return the tables with wavelengths and flux that have rows; where all are empty, none."""
    found = []
    for index in range(1, len(file)):
        if file.is_table(index) and file.cards(index).integer("NAXIS2"):
            names = {split_unit(name)[0] for name in file.columns(index)}
            if "flux" in names and first_of(WAVE_NAMES, names):
                found.append(index)
    return found


def read_fits_table(
    file: FitsFile, index: int, options: ReadOptions, *, label: str = ""
) -> Iterator[Spectrum | Rejected]:
    """Read the spectra of a FITS table in their order.

    Parameters
    ----------
    label
        What tells the table's spectra from those of the file's other tables.
    """
    source = file.source
    own, primary = file.cards(index), file.cards()
    said = {name: _said(own, primary, name) for name in ("medium", "vacuum", "airorvac", "frame")}
    written = {split_unit(name)[0]: name for name in file.columns(index)}
    columns = {name: file.column(index, written[name]) for name in _wanted(written)}
    wave_name = first_of(WAVE_NAMES, columns) or "wave"
    unit = file.unit(index, written[wave_name]) or split_unit(written[wave_name])[1]
    try:
        numbers = {name: to_float64(column) for name, column in columns.items() if name not in ID_NAMES}
        numbers[wave_name] = wavelengths(numbers[wave_name], wave_name, unit)
        medium, frame = medium_of(_given(said)), frame_of(_given(said))
    except ValueError as error:
        raise source.unreadable(str(error), WANTED) from error
    per_row = columns["flux"].ndim == 2
    n_spec = columns["flux"].shape[0] if per_row else 1
    stem = f"{source.stem}-{label}" if label else source.stem
    ids = _row_ids(stem, columns, n_spec) if per_row else [stem]
    power = own.number("RESPOWER") or primary.number("RESPOWER")
    rows = []
    for i in range(n_spec):
        chosen = {name: _vector(column, i) if per_row else column for name, column in numbers.items()}
        origin = Origin(
            spectrum_id=ids[i],
            survey=(primary.text("SURVEY") or "generic").lower(),
            exposure_id=source.stem,
            exposure_size=n_spec,
            observed_at=primary.utc("DATE-OBS"),
            reduced_at=primary.utc("DATE") or source.modified_at,
            ra=primary.within("RA", 0.0, 360.0) if n_spec == 1 else None,
            dec=primary.within("DEC", -90.0, 90.0) if n_spec == 1 else None,
            uri=f"{source.uri}#{i}" if n_spec > 1 else source.uri,
        )
        rows.append(_table_row(origin, chosen, power))
    conventions = conventions_of(rows, options, medium=medium, frame=frame)
    for row in rows:
        yield build_row(row, conventions, options)


def read_csv(source: Source, options: ReadOptions) -> Iterator[Spectrum | Rejected]:
    """Read the one spectrum of a text table, whatever separates its columns."""
    lines, said = _text_lines(source)
    labels, delimiter = _header(source, lines)
    named = [split_unit(label) for label in labels]
    names = [name for name, _ in named]
    wanted = _wanted(names)
    rows = csv.reader(lines[1:], delimiter=delimiter) if delimiter else (line.split() for line in lines[1:])
    values: dict[str, list[float]] = {name: [] for name in wanted}
    places = {name: names.index(name) for name in wanted}
    try:
        for number, cells in enumerate(rows, start=2):
            for name, place in places.items():
                values[name].append(_cell_value(cells, place, name, number))
        columns = {name: np.array(column) for name, column in values.items()}
        wave_name = first_of(WAVE_NAMES, columns) or "wave"
        columns[wave_name] = wavelengths(columns[wave_name], wave_name, named[places[wave_name]][1])
        medium, frame = medium_of(said), frame_of(said)
        power = float(said["resolving_power"]) if "resolving_power" in said else None
    except (ValueError, csv.Error) as error:
        raise source.unreadable(str(error), WANTED) from error
    origin = Origin(
        spectrum_id=source.stem,
        survey=said.get("survey", "generic"),
        reduced_at=source.modified_at,
        uri=source.uri,
    )
    row = _table_row(origin, columns, power)
    conventions = conventions_of([row], options, medium=medium, frame=frame)
    yield build_row(row, conventions, options)


def _table_row(origin: Origin, columns: Mapping[str, Array], power: float | None) -> TableRow:
    ivar_name, error_name = first_of(IVAR_NAMES, columns), first_of(ERROR_NAMES, columns)
    ivar = columns[ivar_name] if ivar_name else None
    if ivar is None and error_name:
        ivar = ivar_of_error(columns[error_name])
    mask = columns.get("mask")
    wave, (flux, ivar, mask) = ascending(
        columns[first_of(WAVE_NAMES, columns) or "wave"], columns["flux"], ivar, mask
    )
    assert flux is not None
    is_bad = mask != 0 if mask is not None else None
    return TableRow(origin, wave, flux, ivar, is_bad=is_bad, resolving_power=power)


def _wanted(names: Mapping[str, object] | list[str]) -> list[str]:
    known = (*WAVE_NAMES, "flux", *IVAR_NAMES, *ERROR_NAMES, *MASK_NAMES, *ID_NAMES)
    return [name for name in known if name in names]


def _vector(column: Array, i: int) -> Array:
    """Return a spectrum's own vector; a grid that stands once serves all."""
    return column[i if len(column) > i else 0] if column.ndim == 2 else column


def _row_ids(stem: str, columns: Mapping[str, Array], n_spec: int) -> list[str]:
    name = first_of(ID_NAMES, columns)
    if name is not None and columns[name].shape == (n_spec,):
        values = columns[name].tolist()
        ids = [v.decode(errors="replace").strip() if isinstance(v, bytes) else str(v) for v in values]
        if all(ids):
            return ids
    return [f"{stem}-{i}" for i in range(n_spec)] if n_spec > 1 else [stem]


def _said(own: Cards, primary: Cards, name: str) -> str | bool | None:
    for cards in (own, primary):
        value = cards.text(name.upper()) or cards.logical(name.upper())
        if value is not None:
            return value
    return None


def _given(said: Mapping[str, str | bool | None]) -> dict[str, str | bool]:
    return {name: value for name, value in said.items() if value is not None}


def _text_lines(source: Source) -> tuple[list[str], dict[str, str]]:
    """Return the lines that are no remarks, and what remarks state; a remark may be the header itself."""
    content = source.read(_MAX_CSV_BYTES)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise source.unreadable("is neither FITS, HDF5, npz nor text", "give a file of spectra") from error
    if "\0" in text:
        raise source.unreadable("is neither FITS, HDF5, npz nor text", "give a file of spectra")
    lines: list[str] = []
    said: dict[str, str] = {}
    for line in text.splitlines():
        remark = _REMARK.fullmatch(line)
        if remark and not lines:
            said[remark[1].lower()] = remark[2]
        elif line.startswith("#") and not lines and _is_header(line[1:]):
            lines.append(line[1:])
        elif line.strip() and not line.startswith("#"):
            lines.append(line)
        if len(lines) > MAX_PIXELS + 1:
            raise source.unreadable(
                f"has more than {MAX_PIXELS} rows", "a CSV holds one spectrum, a pixel per row"
            )
    return lines, said


def _is_header(line: str) -> bool:
    return _split_header(line) is not None


def _split_header(line: str) -> tuple[list[str], str | None] | None:
    for delimiter in _DELIMITERS:
        labels = next(csv.reader([line], delimiter=delimiter), []) if delimiter else line.split()
        names = [split_unit(label)[0] for label in labels]
        if "flux" in names and first_of(WAVE_NAMES, names):
            return labels, delimiter
    return None


def _header(source: Source, lines: list[str]) -> tuple[list[str], str | None]:
    try:
        header = _split_header(lines[0]) if lines else None
    except csv.Error:
        header = None
    if header is None:
        found = f"its first line is '{lines[0][:60]}'" if lines else "it has no lines"
        raise source.unreadable(f"is text without a header of spectra: {found}", f"a table {WANTED}")
    return header


def _cell_value(cells: list[str], place: int, name: str, line: int) -> float:
    text = cells[place].strip() if place < len(cells) else ""
    if text == "":
        return float("nan")
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"row {line} has '{text[:30]}' as {name}") from None
