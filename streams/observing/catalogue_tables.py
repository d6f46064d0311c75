"""Read the tables that astropy reads: ECSV, VOTable and FITS, with their units and UCDs."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from astropy.table import Table

from cempstream.plain import shown
from cempstream.streams.observing.catalogue import CatalogueError, Column


def table_columns(path: Path, form: str) -> list[Column]:
    """Return the columns of a table that hold one value a row.

    Parameters
    ----------
    form
        As astropy calls it: ``ascii.ecsv``, ``votable``, ``fits``.

    Raises
    ------
    CatalogueError
        It is damaged.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # units and strings that do not follow the standard are no obstacle
            table = Table.read(path, format=form)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, OSError, SyntaxError) as error:
        said = " ".join(str(error).split())
        raise CatalogueError(f"it cannot be read as {form}: {shown(said, longest=200)}") from error
    return [
        _column(table, name)
        for name in table.colnames
        if table[name].ndim == 1 and table[name].dtype.kind in "fiuUSOb"
    ]


def _column(table: Table, name: str) -> Column:
    """Return a column; where a value is masked, NaN or an empty text."""
    column = table[name]
    values = column
    if column.dtype.kind == "f":
        values = np.ma.filled(np.ma.asarray(column).astype(np.float64), np.nan)
    elif np.ma.is_masked(column):
        values = np.array(["" if value is np.ma.masked else str(value) for value in column])
    elif column.dtype.kind == "S":
        values = np.char.decode(np.asarray(column), "utf-8", "replace")
    meta = getattr(column, "meta", None) or {}
    ucd = str(meta.get("ucd", ""))
    return Column(name, np.asarray(values), str(column.unit or ""), ucd)
