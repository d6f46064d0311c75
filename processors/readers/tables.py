"""Plain FITS tables: one spectrum with a pixel per row, or a spectrum per row in columns of vectors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from cempstream.processors.grid import Array
from cempstream.processors.outcome import Rejected
from cempstream.processors.readers.columns import WANTED, BadTable, refuse_repeated, split_unit
from cempstream.processors.readers.fits_file import FitsFile
from cempstream.processors.readers.generic import (
    UCD_OF_AIR,
    GenericTable,
    entries_by_name,
    read_table,
    without_scalars,
)
from cempstream.processors.readers.options import ReadOptions
from cempstream.processors.readers.statements import known_keys
from cempstream.processors.readers.vocabulary import ID_NAMES, MaskSense, is_bad_cell, layout_of
from cempstream.processors.spectrum import Spectrum


def table_indices(file: FitsFile) -> list[int]:
    """Return the tables that have wavelengths, flux and rows."""
    return [
        index
        for index in range(1, len(file))
        if file.is_table(index)
        and file.cards(index).integer("NAXIS2")
        and layout_of(split_unit(name)[0] for name in file.columns(index)) is not None
    ]


def read_fits_table(
    file: FitsFile, index: int, options: ReadOptions, *, label: str = ""
) -> Iterator[Spectrum | Rejected]:
    """Read the spectra of a FITS table, in order.

    Parameters
    ----------
    label
        Distinguishes the table's spectra from those of other tables in the file.
    """
    said = statements(file, index)
    written = {split_unit(name)[0]: name for name in reversed(file.columns(index))}
    # Each PypeIt file states its data model; in all of them a mask of 1 is a good pixel.
    layout = layout_of(reversed(written), mask_means_good="dmodcls" in said)
    assert layout is not None  # table_indices chose the table
    try:
        refuse_repeated((split_unit(name)[0] for name in file.column_names(index)), layout.names)
    except BadTable as error:
        raise file.source.unreadable(str(error), error.remedy) from error
    flux = file.numbers(index, written[layout.flux])
    senses = dict(layout.masks)
    values = {name: _numbers(file, index, written[name], senses.get(name)) for name in layout.names}
    layout = without_scalars(layout, {name: values[name].ndim for name in values}, flux.ndim)
    unit = file.unit(index, written[layout.wave]) or split_unit(written[layout.wave])[1]
    flux_unit = file.unit(index, written[layout.flux]) or split_unit(written[layout.flux])[1]
    number = file.columns(index)[written[layout.wave]]
    if str(file.cards(index).text(f"TUCD{number}") or "").replace(" ", "").lower() == UCD_OF_AIR:
        layout = replace(layout, medium=layout.medium or "air")
    values = {name: values[name] for name in layout.names}
    entries = entries_by_name(values, layout, _stated(file, index, written), flux.ndim)
    table = GenericTable(
        layout=layout, entries=entries, wave_unit=unit, flux_unit=flux_unit, said=said, label=label
    )
    try:
        yield from read_table(file.source, table, options)
    except ValueError as error:
        raise file.source.unreadable(str(error), getattr(error, "remedy", WANTED)) from error


def statements(file: FitsFile, index: int) -> dict[str, object]:
    """Return the cards with a value; those of the table override those of the primary header."""
    own, primary = file.cards(index), file.cards()
    said: dict[str, object] = {}
    for key in known_keys():
        value = own.value(key.upper())
        value = primary.value(key.upper()) if value is None else value
        if value is not None:
            said[key] = value
    return said


def _numbers(file: FitsFile, index: int, name: str, sense: MaskSense | None) -> Array:
    """Return a column as float64; a mask may be written in words."""
    if sense is not None:
        column = file.column(index, name)
        if column.dtype.kind == "S":
            marks = [is_bad_cell(cell.decode(errors="replace"), sense) for cell in column.ravel().tolist()]
            values = [np.nan if mark is None else float(mark == (sense == "bad")) for mark in marks]
            return np.array(values).reshape(column.shape)
    return file.numbers(index, name)


def _stated(file: FitsFile, index: int, written: dict[str, str]) -> dict[str, list[Any]]:
    """Return the columns with information about each row."""
    stated = {}
    for name in (*known_keys(), *ID_NAMES):
        if name in written:
            column = file.column(index, written[name])
            if column.ndim == 1:
                stated[name] = column.tolist()
    return stated
