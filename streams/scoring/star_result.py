"""The result of one star: a row of the table of ``classify --stars``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cempstream.processors.outcome import Classification
from cempstream.processors.stars.star import Star
from cempstream.streams.scoring.result import Result
from cempstream.streams.scoring.result_table import (
    COLUMN_INFO,
    Column,
    ResultCell,
    finite_cells,
    scored_cells,
)

#: Columns of a spectrum that a star has in another form or not at all.
_OF_A_SPECTRUM = ("spectrum_id", "survey", "object_id", "status", "reason", "detail", "grating", "file")
_NO_SUM = "the sum of its spectra cannot be scored"

#: The columns of a star in the order in which they are written; users rely on names and order.
STAR_COLUMN_INFO = (
    Column("object_id", str, "", "meta.id;meta.main", "the survey's name of the star"),
    Column("survey", str, "", "meta.id;meta.dataset", "short name of the survey"),
    Column("status", str, "", "meta.code.status", "scored or rejected"),
    Column("reason", str, "", "meta.code.error", "why its first spectrum was rejected, where all were"),
    Column("detail", str, "", "meta.note", "the same in words"),
    Column("n_observations", int, "", "meta.number", "spectra that count, of all gratings"),
    Column("n_replaced", int, "", "meta.number", "repeats, older reductions, and spectra beyond those kept"),
    Column("n_rejected", int, "", "meta.number", "spectra that could not be scored"),
    Column("gratings", str, "", "instr.setup", "gratings of its spectra, separated by semicolons"),
    Column("grating", str, "", "instr.setup", "grating that speaks for the star in all columns below"),
    Column("n_coadded", int, "", "meta.number", "spectra in its sum"),
    Column("first_observed", str, "", "time.start;obs", "first observation, UTC"),
    Column("last_observed", str, "", "time.end;obs", "last observation, UTC"),
    *(column for column in COLUMN_INFO if column.name not in _OF_A_SPECTRUM),
    Column("p_cemp_growth", str, "", "stat.probability", "p_cemp after each visit, separated by semicolons"),
    Column("spectrum_ids", str, "", "meta.id", "spectra that count, in the order of observation"),
)


@dataclass(frozen=True, slots=True, eq=False)
class StarResult:
    """The result of one star.

    Attributes
    ----------
    star
        Its observations and what was said after each.
    outcome
        What the models said of the sum that speaks for the star; None where nothing could be scored.
    rejected
        Results of its spectra that were rejected.
    n_replaced
        Scored spectra that do not count.
    row
        The table's cells as plain values.
    """

    star: Star
    outcome: Classification | None = field(repr=False)
    rejected: Sequence[Result] = field(repr=False)
    n_replaced: int
    row: Mapping[str, ResultCell] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "row", self._row())

    @property
    def name(self) -> str:
        """The survey's name of the star."""
        return self.star.object_id

    @property
    def is_rejected(self) -> bool:
        """Whether nothing could be scored."""
        return self.outcome is None

    @property
    def is_candidate(self) -> bool:
        """Whether the star is a candidate, by its whole history."""
        return self.outcome is not None and self.star.is_candidate

    def _row(self) -> dict[str, ResultCell]:
        star = self.star
        row: dict[str, ResultCell] = dict.fromkeys(column.name for column in STAR_COLUMN_INFO)
        first, last = star.observed
        row |= {
            "object_id": star.object_id,
            "n_observations": len(star.observations),
            "n_replaced": self.n_replaced,
            "n_rejected": len(self.rejected),
            "n_coadded": 0,
            "gratings": ";".join(star.gratings),
            "first_observed": _utc(first),
            "last_observed": _utc(last),
            "spectrum_ids": ";".join(o.spectrum.spectrum_id for o in star.observations),
            "p_cemp_growth": ";".join("" if s is None else f"{s.p_cemp:.4g}" for s in star.spokesmen()),
        }
        spectra = [o.spectrum for o in star.observations] or [r.spectrum for r in self.rejected if r.spectrum]
        if spectra:
            row |= {"survey": spectra[-1].survey, "ra": spectra[-1].ra, "dec": spectra[-1].dec}
        if self.outcome is not None:
            row |= {
                **scored_cells(self.outcome),
                "status": "scored",
                "grating": self.outcome.spectrum.grating,
                "n_coadded": len(star.speaking()),
                "is_candidate": self.is_candidate,
            }
        elif self.rejected:
            why = self.rejected[0].row
            row |= {"status": "rejected", "reason": why["reason"], "detail": why["detail"]}
        else:
            row |= {"status": "rejected", "detail": _NO_SUM}
        return finite_cells(row)


def _utc(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat(timespec="seconds").replace("+00:00", "Z")
