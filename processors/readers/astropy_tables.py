"""ECSV and VOTable, read by astropy after a check for what a hostile file could make it do."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any
from xml.parsers import expat

import numpy as np

from cempstream.processors.grid import Array
from cempstream.processors.outcome import Rejected
from cempstream.processors.readers.columns import WANTED, BadTable, split_unit
from cempstream.processors.readers.encoding import decode_text
from cempstream.processors.readers.generic import (
    UCD_OF_AIR,
    GenericTable,
    entries_by_name,
    read_table,
    without_scalars,
)
from cempstream.processors.readers.options import ReadOptions
from cempstream.processors.readers.source import ASTROPY_DAMAGE, Source
from cempstream.processors.readers.statements import known_keys
from cempstream.processors.readers.vocabulary import ID_NAMES, MaskSense, is_bad_cell, layout_of
from cempstream.processors.spectrum import Spectrum

ECSV_MAGIC = "# %ECSV"
#: astropy needs about ten times the text's size.
_MAX_BYTES = 48 << 20
_MAX_FIELDS = 1000
_NUMBER = re.compile(r"\d{1,12}", re.ASCII)


def is_votable(head: bytes) -> bool:
    """Say whether a file is a VOTable, by its first bytes."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") and b"VOTABLE" in head


def read_ecsv(source: Source, options: ReadOptions) -> Iterator[Spectrum | Rejected]:
    """Read the spectra of an enhanced CSV, whose YAML header gives units and more."""
    from astropy.io import ascii as astropy_ascii

    text = decode_text(source, _MAX_BYTES)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = astropy_ascii.read(text.splitlines(), format="ecsv", guess=False)
    except ASTROPY_DAMAGE as error:
        raise source.unreadable(f"is a damaged ECSV table ({error})", "write it by astropy") from error
    meta = {str(key).lower(): value for key, value in dict(table.meta).items()}
    yield from _read(source, table, meta, {}, options)


def read_votable(source: Source, options: ReadOptions) -> Iterator[Spectrum | Rejected]:
    """Read the spectra of all tables of a VOTable that have wavelength and flux."""
    from astropy.io.votable import parse

    content = source.read(_MAX_BYTES)
    try:
        _check_votable(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            document = parse(BytesIO(content), verify="ignore")
            tables = [(one, one.to_table(use_names_over_ids=True)) for one in document.iter_tables()]
    except (expat.ExpatError, *ASTROPY_DAMAGE) as error:
        raise source.unreadable(f"is a damaged or unsafe VOTable ({error})", "fetch it again") from error
    found = [
        (one, table)
        for one, table in tables
        if len(table) and layout_of(split_unit(name)[0] for name in table.colnames) is not None
    ]
    if not found and tables:
        names = ", ".join(name for _, table in tables for name in table.colnames)
        raise source.unreadable(f"has the columns {names[:80]}", f"a table {WANTED}")
    for i, (one, table) in enumerate(found):
        said = {str(param.name).lower(): param.value for param in one.params}
        ucds = {str(field.name): str(field.ucd or "") for field in one.fields}
        label = str(one.name or one.ID or i) if len(found) > 1 else ""
        yield from _read(source, table, said, ucds, options, label=label)


def _check_votable(content: bytes) -> None:
    """Refuse a table that would make astropy fetch other files, or allocate more than the file could fill.

    Raises
    ------
    ValueError
        The document does one of these.
    """
    n_rows, n_stated, n_values, n_fields = 0, 0, 0, 0

    def start(name: str, attributes: Mapping[str, str]) -> None:
        nonlocal n_rows, n_stated, n_values, n_fields
        tag = name.rpartition(":")[2].upper()
        if tag in ("FITS", "PARQUET") or (tag == "STREAM" and "href" in attributes):
            raise ValueError(f"its {tag} points at another file, which is never opened")
        if tag == "TABLE":
            n_stated = max(n_stated, int((_NUMBER.match(attributes.get("nrows", "")) or ["0"])[0]))
        if tag in ("FIELD", "PARAM"):
            n_fields += 1
            size = 1
            for number in _NUMBER.findall(attributes.get("arraysize", "")):
                size *= int(number)
            n_values += size
        n_rows += tag == "TR"

    def refuse_doctype(*_: object) -> None:
        raise ValueError("it declares a document type, which a VOTable never has")

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = refuse_doctype
    parser.Parse(content, True)
    if n_fields > _MAX_FIELDS:
        raise ValueError(f"it has {n_fields} fields, more than {_MAX_FIELDS}")
    if max(n_rows, n_stated, 1) * n_values > 8 * len(content) + 1_000_000:
        raise ValueError(f"it claims {max(n_rows, n_stated)} rows of {n_values} values, the file is shorter")


def _read(
    source: Source,
    table: Any,
    said: Mapping[str, object],
    ucds: Mapping[str, str],
    options: ReadOptions,
    *,
    label: str = "",
) -> Iterator[Spectrum | Rejected]:
    """Make spectra of an astropy table."""
    written = {split_unit(name)[0]: name for name in reversed(table.colnames)}
    layout = layout_of(reversed(written), mask_means_good="dmodcls" in said)
    try:
        if layout is None:
            raise BadTable(f"has the columns {', '.join(written)[:80]}")
        senses = dict(layout.masks)
        lists = table[written[layout.flux]].dtype.kind == "O"
        columns = {name: _column(table[written[name]], senses.get(name)) for name in layout.names}
        n_dim = 2 if lists else columns[layout.flux].ndim
        layout = without_scalars(layout, {name: 2 if lists else c.ndim for name, c in columns.items()}, n_dim)
        stated = {
            name: _cells(table[written[name]])
            for name in (*known_keys(), *ID_NAMES)
            if name in written and table[written[name]].ndim == 1
        }
        unit = table[written[layout.wave]].unit
        is_air = ucds.get(written[layout.wave], "").replace(" ", "").lower() == UCD_OF_AIR
        yield from read_table(
            source,
            GenericTable(
                layout=layout,
                entries=entries_by_name(
                    {name: columns[name] for name in layout.names}, layout, stated, n_dim
                ),
                wave_unit=str(unit) if unit is not None else split_unit(written[layout.wave])[1] or None,
                flux_unit=str(table[written[layout.flux]].unit or split_unit(written[layout.flux])[1]),
                said={"medium": "air", **said} if is_air else said,
                label=label,
            ),
            options,
        )
    except ValueError as error:
        raise source.unreadable(str(error), getattr(error, "remedy", WANTED)) from error


def _column(column: Any, sense: MaskSense | None) -> Array:
    """Return a column as float64, NaN where it is masked; arrays of different lengths as objects."""
    values = np.ma.asarray(column)
    if values.dtype.kind == "O":
        arrays = np.empty(len(values), dtype=object)
        for i, cell in enumerate(values):
            arrays[i] = np.ma.filled(np.ma.asarray(cell, dtype=np.float64), np.nan)
        return arrays
    if values.dtype.kind in "SU":
        if sense is None:
            raise BadTable(f"'{column.name}' holds no numbers")
        marks = [is_bad_cell(str(cell), sense) for cell in np.ma.filled(values, "").ravel().tolist()]
        return np.array([np.nan if mark is None else float(mark == (sense == "bad")) for mark in marks])
    return np.asarray(np.ma.filled(values.astype(np.float64), np.nan))


def _cells(column: Any) -> list[Any]:
    """Return the cells of a column as Python objects; a masked one is None."""
    return list(np.ma.asarray(column).tolist())
