"""The result of one spectrum and of many: values for a program, a table for an astronomer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from cempstream.plain import shown
from cempstream.processors.grid import Array
from cempstream.processors.outcome import Classification, Estimate, Outcome, Rejected
from cempstream.processors.spectrum import Spectrum
from cempstream.streams.scoring.result_table import (
    COLUMN_INFO,
    COLUMNS,
    ResultCell,
    quantity_table,
    table_metadata,
    table_row,
)
from cempstream.streams.scoring.result_text import html_table
from cempstream.streams.wording import index_text, probability_text

if TYPE_CHECKING:
    from astropy.table import QTable
    from astropy.units import Quantity

    from cempstream.streams.pictures.picture import Picture

#: Rows that a notebook shows of a longer list.
_SHOWN_ROWS = 60

_UNITS = {column.name: column.unit for column in COLUMN_INFO}


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """The result of one spectrum; ``result["teff"]`` is its cell of the table, with the unit.

    Attributes
    ----------
    source
        The file that it comes from; None if it was given in memory.
    spectrum
        None if it could not be read.
    outcome
        Everything that the pipeline found, or why the spectrum was rejected.
    row
        The table's cells as plain values.
    """

    source: str | None
    spectrum: Spectrum | None = field(repr=False)
    outcome: Outcome = field(repr=False)
    row: Mapping[str, ResultCell] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "row", table_row(self.source, self.spectrum, self.outcome))

    def __repr__(self) -> str:
        if self.is_rejected:
            said = f"rejected: {self.row['reason']}"
        else:
            said = f"p(CEMP) {probability_text(self['p_cemp'])}"
        return f"<Result {shown(self.name)}: {said}>"

    def __getitem__(self, column: str) -> Any:
        """Return a cell: a number with its unit if it has one, NaN for a missing number."""
        _check_column(column)
        value, unit = self.row[column], _UNITS[column]
        if unit:
            from astropy.units import Quantity

            return Quantity(math.nan if value is None else value, unit)
        return value

    @property
    def name(self) -> str:
        """The star's name if the survey gave one, else the spectrum's."""
        return str(self.row["object_id"] or self.row["spectrum_id"] or self.source or "?")

    @property
    def is_rejected(self) -> bool:
        """Whether it could not be scored; ``result["reason"]`` and ``result["detail"]`` say why."""
        return isinstance(self.outcome, Rejected)

    @property
    def is_candidate(self) -> bool:
        """Whether its probability reaches the threshold."""
        return self.row["is_candidate"] is True

    @property
    def parameters(self) -> Mapping[str, Estimate]:
        """Teff in K, log g and abundances in dex with their 68 % intervals; empty where it was rejected."""
        return self.outcome.parameters if isinstance(self.outcome, Classification) else {}

    @property
    def bands(self) -> dict[str, float]:
        """Named bands and their share of the evidence, the largest first."""
        bands = self.outcome.bands if isinstance(self.outcome, Classification) else ()
        return {band.name: band.weight for band in bands}

    @property
    def lines(self) -> dict[str, tuple[Quantity, Quantity]]:
        """Line indices that could be measured: value and 1σ error, in Å or mag as their definitions say."""
        from astropy.units import Quantity

        lines = self.outcome.lines if isinstance(self.outcome, Classification) else {}
        return {
            name: (Quantity(value, index_text(name)[1]), Quantity(error, index_text(name)[1]))
            for name, (value, error) in lines.items()
            if math.isfinite(value)
        }

    def plot(self) -> Picture:
        """Draw the spectrum with the evidence over wavelength, as the demo's pictures do.

        Raises
        ------
        ValueError
            It was rejected.
        """
        if isinstance(self.outcome, Rejected):
            raise ValueError(
                f"{self.name} was rejected ({self.outcome.reason.value}); a scored spectrum has a picture"
            )
        from cempstream.streams.pictures.finding import finding_of_classification
        from cempstream.streams.pictures.picture import draw_finding

        return draw_finding(finding_of_classification(self.outcome))

    def _repr_html_(self) -> str:
        return html_table([self])


class Results:
    """Results in the order of the spectra.

    ``results[0]`` is one `Result`; ``results[2:5]`` and ``results[results["snr"] > 20]`` are some of them;
    ``results["teff"]`` is a column of `table`.
    """

    def __init__(self, results: Iterable[Result]) -> None:
        self._results = tuple(results)

    @cached_property
    def table(self) -> QTable:
        """All columns of ``cempstream classify`` as an astropy table with units and UCDs.

        A rejected spectrum keeps its row, with ``reason`` and ``detail`` and NaN for numbers. ``meta`` holds
        the version of ``cempstream``, ``bundles`` and ``models``, and ``policies`` the prior and threshold of
        each bundle and survey.
        """
        return quantity_table(
            [result.row for result in self._results],
            table_metadata(result.outcome for result in self._results),
        )

    @property
    def candidates(self) -> Results:
        """Those whose probability reaches the threshold, the most probable first."""
        chosen = [result for result in self._results if result.is_candidate]
        return Results(sorted(chosen, key=lambda result: -float(result.row["p_cemp"] or 0.0)))

    def write(self, path: Path | str) -> None:
        """Write the table; the name's ending (``.csv, .jsonl, .parquet, .ecsv, .fits, .vot``) sets the
        format.

        Raises
        ------
        ValueError
            The name ends in none of these.
        """
        from cempstream.streams.scoring.result_files import check_table_name, open_table

        path = Path(path)
        check_table_name(path)
        with open_table(path) as write:
            for result in self._results:
                write(result)

    def __len__(self) -> int:
        return len(self._results)

    def __iter__(self) -> Iterator[Result]:
        return iter(self._results)

    @overload
    def __getitem__(self, key: int) -> Result: ...
    @overload
    def __getitem__(self, key: str) -> Any: ...
    @overload
    def __getitem__(self, key: slice | Array) -> Results: ...
    def __getitem__(self, key: int | str | slice | Array) -> Any:
        if isinstance(key, str):
            _check_column(key)
            return self.table[key]
        if isinstance(key, slice):
            return Results(self._results[key])
        if isinstance(key, int | np.integer):
            return self._results[key]
        # numpy's rules for masks and lists of indices
        return Results(self._results[i] for i in np.arange(len(self))[key].tolist())

    def __repr__(self) -> str:
        return f"<Results: {self._summary()}>"

    def _repr_html_(self) -> str:
        n_more = len(self) - _SHOWN_ROWS
        more = f"; the first {_SHOWN_ROWS}" if n_more > 0 else ""
        return f"<p>{self._summary()}{more}. All columns: <code>.table</code></p>" + html_table(
            self._results[:_SHOWN_ROWS]
        )

    def _summary(self) -> str:
        n_rejected = sum(result.is_rejected for result in self._results)
        n_candidates = sum(result.is_candidate for result in self._results)
        return f"{len(self)} spectra, candidates: {n_candidates}, rejected: {n_rejected}"


def _check_column(name: str) -> None:
    if name not in COLUMNS:
        raise KeyError(f"there is no column {name!r}; there are {', '.join(COLUMNS)}")
