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
        """Replace the table in the README, keeping the text above it."""
        text = README.read_text(encoding="utf-8").partition(TABLE_MARK)[0]
        lines = [
            TABLE_MARK,
            "",
            "| case | spectra | lost | repeats | at most | recovery |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
            *(
                f"| {row.case} | {row.n_packets:,} | {row.n_lost} | {row.n_repeats} | {row.max_repeats} | "
                f"{'–' if row.recovery_s is None else f'{row.recovery_s:.1f} s'} |"
                for row in self.rows
            ),
        ]
        README.write_text(text + "\n".join(lines) + "\n", encoding="utf-8")
