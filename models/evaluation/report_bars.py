"""The table of the bundle's required figures, filled in from the sections that measured them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cempstream.models.evaluation.report import Section, Table, Value
from cempstream.models.statistics import Measured


@dataclass(frozen=True, slots=True)
class _Bar:
    """One bar and where to find its value: section, table, start of the row's name, column."""

    what: str
    section: str
    table: int
    row: str
    column: str
    bar: float | None
    aim: float | None
    is_limit: bool = False


_BARS = (
    _Bar("purity at recall 60 %, natural prior", "detection", 0, "recall 0.6", "purity", 0.88, None),
    _Bar("purity at recall 75 %, natural prior", "detection", 0, "recall 0.75", "purity", None, 0.88),
    _Bar("[Fe/H] MAE, metal-poor, S/N 20", "noise", 0, "S/N 20", "[Fe/H] MAE, metal-poor", 0.15, 0.10, True),
    _Bar("[C/Fe] MAE, CEMP, S/N 20", "noise", 0, "S/N 20", "[C/Fe] MAE, CEMP", 0.20, 0.12, True),
    _Bar(
        "[Fe/H] MAE, metal-poor, S/N 20, library held out", "held-out", 0, "S/N 20",
        "[Fe/H] MAE, metal-poor", 0.15, 0.10, True,
    ),
    _Bar(
        "[C/Fe] MAE, CEMP, S/N 20, library held out", "held-out", 0, "S/N 20", "[C/Fe] MAE, CEMP", 0.20, 0.12,
        True,
    ),
    _Bar(
        "no against s, balanced accuracy, S/N 30", "noise", 0, "S/N 30", "no against s, balanced accuracy",
        0.85, 0.92,
    ),
    _Bar("attribution inside the windows", "attribution", 0, "40", "share inside the windows", 0.60, 0.75),
    _Bar("the same over chance", "attribution", 0, "40", "over chance", 3.0, 3.0),
    _Bar("deletion test over random", "attribution", 0, "40", "over a random tenth", 3.0, 5.0),
)  # fmt: skip

#: Bars of the low-resolution bundle that differ.
_LOW = {"[Fe/H] MAE": (0.20, 0.12), "[C/Fe] MAE": (0.30, 0.20)}


def bars(sections: Sequence[Section], *, is_low: bool = False) -> Section:
    """Gather the bars' values; a bar whose section is missing says so."""
    by_key = {section.key: section for section in sections}
    rows: list[list[Value]] = []
    for bar in _BARS:
        limit, aim = _limits(bar, _LOW if is_low else {})
        value = _find(by_key.get(bar.section), bar)
        number = value.value if isinstance(value, Measured) else value
        if isinstance(number, int | float) and np.isfinite(number):
            verdict = _verdict(float(number), limit, aim, is_limit=bar.is_limit)
        else:
            verdict = "not measured"
        rows.append([bar.what, value, limit, aim, verdict])
    lead = "Other bars (rate, latency, memory, nothing lost) are the stream's: `cempstream bench`."
    table = Table("Bars", ("what", "measured", "bar", "aim", "verdict"), rows)
    return Section("bars", "What it must reach", lead, [table])


def _verdict(number: float, limit: float | None, aim: float | None, *, is_limit: bool) -> str:
    def reaches(x: float | None) -> bool:
        return x is not None and (number <= x if is_limit else number >= x)

    if reaches(aim):
        return "aim reached"
    if limit is None:
        return "aim not reached"
    return "met" if reaches(limit) else "not met"


def _limits(bar: _Bar, changed: Mapping[str, tuple[float, float]]) -> tuple[float | None, float | None]:
    for beginning, limits in changed.items():
        if bar.what.startswith(beginning):
            return limits
    return bar.bar, bar.aim


def _find(section: Section | None, bar: _Bar) -> Value:
    if section is None or section.missing or len(section.tables) <= bar.table:
        return None
    table = section.tables[bar.table]
    column = list(table.columns).index(bar.column)
    for row in table.rows:
        name = f"{row[0]:g}" if isinstance(row[0], float) else str(row[0])
        if name == bar.row:
            return row[column]
    return None
