"""Plain FITS tables: one spectrum with a pixel per row, or a spectrum per row in columns of vectors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from cempstream.processors.grid import Array
from cempstream.processors.outcome import Rejected
from cempstream.processors.readers.columns import WANTED, first_of, split_unit
from cempstream.processors.readers.fits_file import FitsFile
from cempstream.processors.readers.generic import Entry, GenericTable, read_table
from cempstream.processors.readers.options import ReadOptions
from cempstream.processors.readers.statements import OBJECT_KEYS, known_keys, text_of
from cempstream.processors.readers.vocabulary import ID_NAMES, Layout, layout_of
from cempstream.processors.spectrum import Spectrum

#: What ESO's Phase 3 and the virtual observatory write beside wavelengths in air.
_UCD_OF_AIR = "em.wl;obs.atmos"


def table_indices(file: FitsFile) -> list[int]:
    """Return the tables with wavelengths and flux that have rows; where all are empty, none."""
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
    """Read the spectra of a FITS table in their order.

    Parameters
    ----------
    label
        What tells the table's spectra from those of the file's other tables.
    """
    said = _statements(file, index)
    written = {split_unit(name)[0]: name for name in reversed(file.columns(index))}
    # Every class of PypeIt's data model states what it is; in all of them a mask of 1 is a good pixel.
    layout = layout_of(reversed(written), mask_means_good="dmodcls" in said)
    assert layout is not None  # table_indices chose the table
    flux = file.numbers(index, written[layout.flux])
    values = {name: file.numbers(index, written[name]) for name in layout.names if name != layout.flux}
    values[layout.flux] = flux
    layout = _of_pixels(layout, values, flux.ndim)
    unit = file.unit(index, written[layout.wave]) or split_unit(written[layout.wave])[1]
    number = file.columns(index)[written[layout.wave]]
    if str(file.cards(index).text(f"TUCD{number}") or "").replace(" ", "").lower() == _UCD_OF_AIR:
        layout = replace(layout, medium=layout.medium or "air")
    if flux.ndim == 1:
        entries = [Entry({name: values[name] for name in layout.names})]
    else:
        entries = _entries(file, index, layout, values, written)
    table = GenericTable(layout=layout, entries=entries, wave_unit=unit, said=said, label=label)
    try:
        yield from read_table(file.source, table, options)
    except ValueError as error:
        raise file.source.unreadable(str(error), getattr(error, "remedy", WANTED)) from error


def _statements(file: FitsFile, index: int) -> dict[str, object]:
    """Return the cards that say something, the table's own before those of the primary header."""
    own, primary = file.cards(index), file.cards()
    said: dict[str, object] = {}
    for key in known_keys():
        value = own.value(key.upper())
        value = primary.value(key.upper()) if value is None else value
        if value is not None:
            said[key] = value
    return said


def _of_pixels(layout: Layout, values: dict[str, Array], n_dim: int) -> Layout:
    """Leave out columns of one value per row beside vectors: the S/N of a spectrum is not that of a pixel."""
    return replace(
        layout,
        noises=tuple(one for one in layout.noises if values[one[0]].ndim == n_dim),
        masks=tuple(one for one in layout.masks if values[one[0]].ndim == n_dim),
    )


def _entries(
    file: FitsFile, index: int, layout: Layout, values: dict[str, Array], written: dict[str, str]
) -> list[Entry]:
    """Return the spectra of a table of vectors, with what the other columns say of each."""
    n_spec = len(values[layout.flux])
    stated: dict[str, list[Any]] = {}
    for name in (*known_keys(), *ID_NAMES):
        if name in written:
            column = file.column(index, written[name])
            if column.shape == (n_spec,):
                stated[name] = column.tolist()
    id_name = first_of(ID_NAMES, stated) or first_of(OBJECT_KEYS, stated)
    ids = [text_of(value) for value in stated[id_name]] if id_name else []
    if id_name not in ID_NAMES and len(set(ids)) < n_spec:
        ids = []  # several spectra of one source
    return [
        Entry(
            {name: _vector(values[name], i) for name in layout.names},
            said={
                name: column[i].decode(errors="replace") if isinstance(column[i], bytes) else column[i]
                for name, column in stated.items()
            },
            spectrum_id=ids[i] or None if ids else None,
        )
        for i in range(n_spec)
    ]


def _vector(column: Array, i: int) -> Array:
    """Return a spectrum's own vector; a grid that stands once serves all."""
    return column[i if len(column) > i else 0] if column.ndim == 2 else column
