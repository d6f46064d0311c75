"""What one browser sees: the candidates that pass its filter, as changes since it looked last.

A view keeps no queue. It compares what is held now with what it has shown, so a slow browser costs no memory
and gets the last state of every star, and one that connects again begins with everything.
"""

from __future__ import annotations

from dataclasses import dataclass

from cempstream.streams.page.candidates import Candidates
from cempstream.streams.page.row import Row
from cempstream.streams.subscriber.where import compile_where


@dataclass(frozen=True, slots=True)
class Changes:
    """What is new to a browser.

    Attributes
    ----------
    rows
        New and changed candidates, the newest last.
    gone
        Numbers of rows that are no longer shown: dropped, or their new numbers do not pass.
    n_held, n_dropped
        Candidates on this page with any filter, and those that were dropped for newer ones.
    """

    rows: tuple[Row, ...]
    gone: tuple[int, ...]
    n_held: int
    n_dropped: int


class View:
    """The candidates of a page through a filter.

    Raises
    ------
    FilterError
        The filter cannot be understood.
    """

    def __init__(self, candidates: Candidates, where: str | None = None) -> None:
        self._candidates = candidates
        self._passes = compile_where(where) if where else lambda alert: True
        self._shown: dict[int, Row] = {}
        self._seen = -1

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows that are shown now."""
        return tuple(self._shown.values())

    def changes(self) -> Changes | None:
        """Return what has changed since the last call, at first everything; None where nothing has."""
        held = self._candidates.held()
        if held.change == self._seen:
            return None
        rows, wanted = [], {}
        for one in held.candidates:
            number = one.row.number
            if one.change <= self._seen:
                if number in self._shown:
                    wanted[number] = one.row
            elif self._passes(one.standing):
                wanted[number] = one.row
                rows.append(one.row)
        gone = tuple(sorted(self._shown.keys() - wanted.keys()))
        self._shown, self._seen = wanted, held.change
        return Changes(tuple(rows), gone, len(held.candidates), held.n_dropped)
