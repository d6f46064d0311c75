"""What each clause of a filter does to a night's alerts: each is a choice that costs stars."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field

from cempstream.schemas.alert import Alert
from cempstream.streams.subscriber.where import compile_where


@dataclass
class Clause:
    """One condition of those that a filter joins by ``and``.

    Attributes
    ----------
    n_alone
        Alerts that pass it.
    n_so_far
        Alerts that pass it and all clauses before it.
    lost_by_it
        Names of the alerts that pass all clauses but this one.
    """

    text: str
    n_alone: int = 0
    n_so_far: int = 0
    lost_by_it: list[str] = field(default_factory=list)


@dataclass
class Trial:
    """A filter and what it did."""

    clauses: list[Clause]
    n_alerts: int = 0
    n_passed: int = 0

    @property
    def share(self) -> float:
        """Share of the alerts that pass; NaN of none."""
        return self.n_passed / self.n_alerts if self.n_alerts else float("nan")


def split_clauses(where: str) -> list[str]:
    """Return the conditions that a filter joins by ``and``, each as a filter.

    Raises
    ------
    FilterError
        It is no filter.
    """
    compile_where(where)  # says what is wrong
    body = ast.parse(where.strip(), mode="eval").body
    if isinstance(body, ast.BoolOp) and isinstance(body.op, ast.And):
        return [ast.unparse(value) for value in body.values]
    return [where.strip()]


def try_filter(where: str, alerts: Iterable[Alert]) -> Trial:
    """Count what each clause of a filter lets through.

    Raises
    ------
    FilterError
        It is no filter.
    """
    trial = Trial([Clause(text) for text in split_clauses(where)])
    passes = [compile_where(clause.text) for clause in trial.clauses]
    for alert in alerts:
        trial.n_alerts += 1
        held = [holds(alert) for holds in passes]
        for i, clause in enumerate(trial.clauses):
            clause.n_alone += held[i]
            clause.n_so_far += all(held[: i + 1])
            if not held[i] and sum(held) == len(held) - 1:
                clause.lost_by_it.append(alert.name)
        trial.n_passed += all(held)
    return trial
