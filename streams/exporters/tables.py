"""Alerts as a table with units and UCDs: VOTable 1.4, and ECSV 1.0, which astropy and TOPCAT read."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable
from typing import IO, Any, Literal, TypeAlias

from astropy.io.votable import from_table
from astropy.io.votable.tree import CooSys
from astropy.table import MaskedColumn, Table

from cempstream.schemas.alert import Alert
from cempstream.streams.exporters.facts import FACTS, Fact, Value
from cempstream.streams.exporters.sink import Sink

TableFormat: TypeAlias = Literal["votable", "ecsv"]

_TITLE = "Alerts of carbon-enhanced metal-poor (CEMP) stars"
_DTYPES = {"int": "int64", "float": "float64"}


def alerts_table(alerts: Iterable[Alert]) -> Table:
    """Return a row for each alert in the given order, also for updates and retractions; no spectra.

    What an alert does not know is masked; a column's UCD is in its ``meta``.
    """
    rows = [[fact.get(alert) for fact in FACTS] for alert in alerts]
    columns = [_column(fact, [row[i] for row in rows]) for i, fact in enumerate(FACTS)]
    return Table(columns, meta={"description": _TITLE}, masked=True)


def _column(fact: Fact, values: list[Value]) -> MaskedColumn:
    mask = [value is None for value in values]
    if fact.type == "text":
        filled: list[Any] = ["" if value is None else value for value in values]
        dtype: str = f"U{max(map(len, filled), default=1) or 1}"
    else:
        blank = 0 if fact.type == "int" else math.nan
        filled = [blank if value is None else value for value in values]
        dtype = _DTYPES[fact.type]
    return MaskedColumn(
        filled,
        fact.name,
        mask=mask,
        dtype=dtype,
        unit=fact.unit or None,
        description=fact.meaning,
        meta={"ucd": fact.ucd},
    )


def table_bytes(table: Table, form: TableFormat) -> bytes:
    """Return a table of alerts as a file of that form."""
    if form == "ecsv":
        text = io.StringIO()
        table.write(text, format="ascii.ecsv")
        return text.getvalue().encode("utf-8")
    file = from_table(table)
    (resource,) = file.resources
    resource.coordinate_systems.append(CooSys(ID="icrs", system="ICRS"))
    (written,) = resource.tables
    for field in written.fields:
        field.ucd = table[field.name].meta["ucd"]
        if field.name in ("ra", "dec"):
            field.ref = "icrs"
    out = io.BytesIO()
    file.to_xml(out)
    return out.getvalue()


class TableSink(Sink):
    """Keeps alerts until the end and writes them as one table; only then are they acknowledged.

    Parameters
    ----------
    write
        Is given the whole file's content, once.
    """

    def __init__(self, write: Callable[[bytes], object], form: TableFormat) -> None:
        self._write = write
        self._form = form
        self._alerts: list[Alert] = []

    def send(self, alert: Alert) -> None:
        self._alerts.append(alert.model_copy(update={"spectrum": None}))  # most of its bytes

    def close(self) -> None:
        alerts, self._alerts = self._alerts, []
        self._write(table_bytes(alerts_table(alerts), self._form))
        for alert in alerts:
            alert.ack()


def to_file(file: IO[bytes]) -> Callable[[bytes], object]:
    """Return what writes to a file that is open."""

    def write(content: bytes) -> None:
        file.write(content)
        file.flush()

    return write
