"""Results for a person: about ten columns, the same at a terminal and in a notebook."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from cempstream.plain import shown
from cempstream.processors.outcome import Classification
from cempstream.processors.spectrum import Flag
from cempstream.streams.wording import (
    MISSING,
    PARAMETER_TEXT,
    flag_text,
    probability_text,
    signed,
    subclass_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cempstream.streams.scoring.result import Result
    from cempstream.streams.scoring.star_result import StarResult

#: The parameters shown in the short table.
_SHOWN = ("teff", "feh", "cfe")
_CANDIDATE = "★"
_LONGEST_NAME = 40

HEADINGS = (
    "", "name", "S/N", "RV\nkm/s",
    *(f"{text}\n{unit}".rstrip() for name, text, _, unit in PARAMETER_TEXT if name in _SHOWN),
    "p(CEMP)", "subclass", "notes",
)  # fmt: skip


def short_cells(result: Result | StarResult) -> tuple[str, ...]:
    """Return one result's cells under ``HEADINGS``; for a spectrum unlike the training, no parameters."""
    outcome = result.outcome
    name = shown(result.name, longest=_LONGEST_NAME)
    if not isinstance(outcome, Classification):
        blank = (MISSING,) * (len(HEADINGS) - 3)
        why = ": ".join(shown(str(result.row[cell])) for cell in ("reason", "detail") if result.row[cell])
        return ("", name, *blank, f"rejected, {why}")
    means_nothing = Flag.OUT_OF_DISTRIBUTION.value in outcome.flags
    return (
        _CANDIDATE if result.is_candidate else "",
        name,
        f"{outcome.snr:.0f}",
        MISSING if outcome.rv_kms is None else signed(outcome.rv_kms, "{:+.0f}"),
        *(
            MISSING if means_nothing else signed(outcome.parameters[key].value, form)
            for key, _, form, _ in PARAMETER_TEXT
            if key in _SHOWN
        ),
        probability_text(outcome.p_cemp),
        subclass_text(outcome.subclass),
        ", ".join(flag_text(shown(flag)) for flag in outcome.flags),
    )


def terminal_table(results: Iterable[Result]) -> Table:
    """Return the table that ``classify`` prints at a terminal."""
    return _table(HEADINGS, ((result, short_cells(result)) for result in results))


def terminal_table_of_stars(stars: Iterable[StarResult]) -> Table:
    """Return the table that ``classify --stars`` prints: the same, with the number of spectra."""

    def cells(star: StarResult) -> tuple[str, ...]:
        first, name, *others = short_cells(star)
        return first, name, str(star.row["n_observations"]), *others

    return _table((*HEADINGS[:2], "visits", *HEADINGS[2:]), ((star, cells(star)) for star in stars))


def _table(headings: tuple[str, ...], rows: Iterable[tuple[Result | StarResult, tuple[str, ...]]]) -> Table:
    table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="bold")
    for heading in headings:
        is_text = heading in ("", "name", "subclass", "notes")
        # In a narrow window names and notes are wrapped; a number is never cut.
        table.add_column(
            Text(heading),
            justify="left" if is_text else "right",
            no_wrap=heading not in ("name", "notes"),
            overflow="fold",
        )
    for result, cells in rows:
        # Text, not a string: Rich would take [Fe/H], or a name like it, for a style
        style = "bold green" if result.is_candidate else "dim" if result.is_rejected else ""
        table.add_row(*map(Text, cells), style=style)
    return table


def html_table(results: Iterable[Result]) -> str:
    """Return the same table as HTML."""
    head = "".join(f"<th>{escape(heading)}</th>" for heading in HEADINGS)
    rows = (
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in short_cells(result)) + "</tr>"
        for result in results
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
