"""The table in the README: one row a case."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

README = Path(__file__).parent / "README.md"
TABLE_MARK = "<!-- written by the suite -->"


@dataclass(frozen=True)
class Row:
    """One line of the ledger table.

    Attributes
    ----------
    max_repeats
        What the design allows the case.
    recovery_s
        None where nothing was interrupted.
    """

    case: str
    n_packets: int
    n_lost: int
    n_repeats: int
    max_repeats: int
    recovery_s: float | None = None


@dataclass
class Table:
    """What the cases of a session showed."""

    rows: list[Row] = field(default_factory=list)

    def write(self) -> None:
        """Renew the README's rows of these cases, and leave those of others."""
        text, _, table = README.read_text(encoding="utf-8").partition(TABLE_MARK)
        lines = {line.split("|")[1].strip(): line for line in table.splitlines() if line.startswith("|")}
        lines |= {row.case: _line(row) for row in self.rows}
        head = ("case", "---")
        rows = [line for case, line in lines.items() if case not in head]
        README.write_text("\n".join([text + TABLE_MARK, "", *_HEAD, *rows, ""]), encoding="utf-8")


_HEAD = (
    "| case | spectra | lost | repeats | at most | recovery |",
    "| --- | ---: | ---: | ---: | ---: | ---: |",
)


def _line(row: Row) -> str:
    recovery = "–" if row.recovery_s is None else f"{row.recovery_s:.1f} s"
    cells = (row.case, f"{row.n_packets:,}", row.n_lost, row.n_repeats, row.max_repeats, recovery)
    return f"| {' | '.join(map(str, cells))} |"
