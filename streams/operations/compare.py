"""Two bundles on the same spectra: alerts gained and lost, and by how much scores and parameters moved."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from cempstream.plain import shown
from cempstream.processors.outcome import PARAMETERS, Classification, Outcome
from cempstream.schemas.score import Score

UNITS: Mapping[str, str] = {
    "p_cemp": "",
    "logit p_cemp": "",
    "ood_score": "",
    "cfe_corrected": "dex",
    "teff": "K",
    **dict.fromkeys(("logg", "feh", "cfe", "ac", "bafe"), "dex"),
}

_MOST_NAMED = 1000
_SHOWN = 20
#: A probability of exactly 0 or 1 has no logit.
_SMALLEST_P = 1e-9


@dataclass(frozen=True, slots=True)
class Change:
    """One spectrum on whose decision the bundles differ."""

    spectrum_id: str
    survey: str
    p_old: float
    p_new: float


@dataclass(frozen=True, slots=True)
class Shift:
    """How a quantity moved, new − old, over the spectra on which both bundles have it; NaN without any.

    Attributes
    ----------
    median_abs, p99_abs, max_abs
        Of the shift's absolute value.
    n_appeared, n_vanished
        Spectra on which only the new, or only the old, bundle has the quantity.
    """

    n_spec: int
    mean: float
    median: float
    median_abs: float
    p99_abs: float
    max_abs: float
    n_appeared: int
    n_vanished: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two bundles on one set of spectra.

    Attributes
    ----------
    n_both
        Spectra that both scored.
    gained, lost
        Candidates of the new, or of the old, bundle alone, the most certain first; at most a thousand are
        named, ``n_gained`` and ``n_lost`` count all.
    died, revived
        Spectra that only the new, or only the old, bundle rejected, by reason.
    shifts
        By quantity.
    """

    old: str
    new: str
    n_both: int
    n_candidates_old: int
    n_candidates_new: int
    n_gained: int
    n_lost: int
    gained: tuple[Change, ...]
    lost: tuple[Change, ...]
    n_rejected_by_both: int
    died: Mapping[str, int]
    revived: Mapping[str, int]
    n_other_subclass: int
    shifts: Mapping[str, Shift]

    def to_json(self) -> dict[str, Any]:
        """Return its values for JSON, with None for what is not a number."""
        plain: dict[str, Any] = plain_json(asdict(self))
        return plain


@dataclass(frozen=True, slots=True)
class ComparedSpectrum:
    """The quantities of a scored spectrum that are compared.

    Attributes
    ----------
    quantities
        By the names of ``UNITS``; NaN where the spectrum cannot tell.
    """

    spectrum_id: str
    survey: str
    is_candidate: bool
    subclass: str
    p_cemp: float
    quantities: Mapping[str, float]


class Comparer:
    """Compare outcome by outcome, keeping a few numbers per spectrum.

    Parameters
    ----------
    old, new
        Names of the bundles, for the report.
    """

    def __init__(self, old: str, new: str) -> None:
        self._names = (old, new)
        self._n_both = self._n_rejected = self._n_other_subclass = 0
        self._n_candidates = [0, 0]
        self._gained: list[Change] = []
        self._lost: list[Change] = []
        self._died: Counter[str] = Counter()
        self._revived: Counter[str] = Counter()
        self._moved = {name: array("d") for name in UNITS}
        self._appeared: Counter[str] = Counter()
        self._vanished: Counter[str] = Counter()

    def add(self, old: Outcome, new: Outcome) -> None:
        """Add one spectrum's two outcomes."""
        self.add_read(_read_outcome(old), _read_outcome(new))

    def add_read(self, old: ComparedSpectrum | str, new: ComparedSpectrum | str) -> None:
        """Add one spectrum; each side is what was scored, or why it was rejected."""
        for i, outcome in enumerate((old, new)):
            self._n_candidates[i] += isinstance(outcome, ComparedSpectrum) and outcome.is_candidate
        if isinstance(old, ComparedSpectrum) and isinstance(new, ComparedSpectrum):
            self._add_scored(old, new)
        elif isinstance(old, ComparedSpectrum):
            assert isinstance(new, str)
            self._died[new] += 1
            if old.is_candidate:
                self._lost.append(_change(old, old.p_cemp, math.nan))
        elif isinstance(new, ComparedSpectrum):
            self._revived[old] += 1
            if new.is_candidate:
                self._gained.append(_change(new, math.nan, new.p_cemp))
        else:
            self._n_rejected += 1

    def _add_scored(self, old: ComparedSpectrum, new: ComparedSpectrum) -> None:
        self._n_both += 1
        self._n_other_subclass += old.subclass != new.subclass
        if new.is_candidate and not old.is_candidate:
            self._gained.append(_change(new, old.p_cemp, new.p_cemp))
        elif old.is_candidate and not new.is_candidate:
            self._lost.append(_change(old, old.p_cemp, new.p_cemp))
        before, after = old.quantities, new.quantities
        for name, moved in self._moved.items():
            is_before, is_after = math.isfinite(before[name]), math.isfinite(after[name])
            if is_before and is_after:
                moved.append(after[name] - before[name])
            else:
                self._appeared[name] += is_after
                self._vanished[name] += is_before

    def report(self) -> Comparison:
        """Return the comparison so far."""
        gained = sorted(self._gained, key=lambda change: change.p_new, reverse=True)
        lost = sorted(self._lost, key=lambda change: change.p_old, reverse=True)
        return Comparison(
            old=self._names[0],
            new=self._names[1],
            n_both=self._n_both,
            n_candidates_old=self._n_candidates[0],
            n_candidates_new=self._n_candidates[1],
            n_gained=len(gained),
            n_lost=len(lost),
            gained=tuple(gained[:_MOST_NAMED]),
            lost=tuple(lost[:_MOST_NAMED]),
            n_rejected_by_both=self._n_rejected,
            died=dict(self._died),
            revived=dict(self._revived),
            n_other_subclass=self._n_other_subclass,
            shifts={
                name: _shift(moved, self._appeared[name], self._vanished[name])
                for name, moved in self._moved.items()
            },
        )


def print_comparison(found: Comparison, console: Console) -> None:
    """Print a comparison for a person."""
    counts = Table("", found.old, found.new, box=None)
    counts.add_row("scored by both", str(found.n_both), str(found.n_both))
    counts.add_row("rejected", _rejected(found, found.revived), _rejected(found, found.died))
    counts.add_row("candidates", str(found.n_candidates_old), str(found.n_candidates_new))
    counts.add_row("alerts of this bundle alone", f"{found.n_lost} lost", f"{found.n_gained} gained")
    console.print(counts)
    console.print(f"another subclass: {found.n_other_subclass} of {found.n_both}")
    shifts = Table("shift, new − old", "unit", box=None)
    for heading in ("spectra", "median", "median |shift|", "99 % within", "largest", "appeared", "vanished"):
        shifts.add_column(heading, justify="right")
    for name, shift in found.shifts.items():
        numbers = (shift.median, shift.median_abs, shift.p99_abs, shift.max_abs)
        shifts.add_row(
            name,
            UNITS[name],
            str(shift.n_spec),
            *(f"{number:.3g}" for number in numbers),
            str(shift.n_appeared),
            str(shift.n_vanished),
        )
    console.print(shifts)
    for word, changes, n_changes in (
        ("gained", found.gained, found.n_gained),
        ("lost", found.lost, found.n_lost),
    ):
        for change in changes[:_SHOWN]:
            console.print(
                f"{word}: {shown(change.survey)} {shown(change.spectrum_id)} "
                f"p(CEMP) {change.p_old:.4f} → {change.p_new:.4f}",
                highlight=False,
                markup=False,
            )
        if n_changes > _SHOWN:
            console.print(f"{word}: {n_changes - _SHOWN} more")


def read_score(score: Score) -> ComparedSpectrum:
    """Return the quantities of a score packet that are compared."""
    values = {name: getattr(score.parameters, name).value for name in PARAMETERS}
    return ComparedSpectrum(
        score.spectrum_id,
        score.survey,
        score.decision.is_candidate,
        score.subclass,
        score.p_cemp,
        _quantities(score.p_cemp, score.ood_score, score.cfe_corrected, values),
    )


def _read_outcome(outcome: Outcome) -> ComparedSpectrum | str:
    if not isinstance(outcome, Classification):
        return outcome.reason.value
    values = {name: estimate.value for name, estimate in outcome.parameters.items()}
    return ComparedSpectrum(
        outcome.spectrum.spectrum_id,
        outcome.spectrum.survey,
        outcome.decision.is_candidate,
        outcome.subclass,
        outcome.p_cemp,
        _quantities(outcome.p_cemp, outcome.ood_score, outcome.cfe_corrected, values),
    )


def _quantities(
    p_cemp: float, ood_score: float, cfe_corrected: float, parameters: Mapping[str, float]
) -> dict[str, float]:
    p = min(max(p_cemp, _SMALLEST_P), 1.0 - _SMALLEST_P)
    return {
        "p_cemp": p_cemp,
        "logit p_cemp": math.log(p / (1.0 - p)),
        "ood_score": ood_score,
        "cfe_corrected": cfe_corrected,
        **{name: parameters[name] for name in PARAMETERS},
    }


def _change(star: ComparedSpectrum, p_old: float, p_new: float) -> Change:
    return Change(star.spectrum_id, star.survey, p_old, p_new)


def _shift(moved: array[float], n_appeared: int, n_vanished: int) -> Shift:
    values = np.frombuffer(moved) if moved else np.array([math.nan])
    size = np.abs(values)
    return Shift(
        n_spec=len(moved),
        mean=float(values.mean()),
        median=float(np.median(values)),
        median_abs=float(np.median(size)),
        p99_abs=float(np.percentile(size, 99)),
        max_abs=float(size.max()),
        n_appeared=n_appeared,
        n_vanished=n_vanished,
    )


def _rejected(found: Comparison, alone: Mapping[str, int]) -> str:
    own = ", ".join(f"{count} {reason}" for reason, count in alone.items())
    return str(found.n_rejected_by_both + sum(alone.values())) + (f" (alone: {own})" if own else "")


def plain_json(value: Any) -> Any:
    """Return a value for JSON, None if it is not a finite number."""
    if isinstance(value, dict):
        return {name: plain_json(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
