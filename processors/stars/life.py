"""The life of a star's alert: what is to be said of the star, by what it was and what was said before."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from cempstream.processors.outcome import Estimate
from cempstream.processors.stars.observation import Said

AlertType: TypeAlias = Literal["initial", "subsequent", "update", "retraction"]

#: A candidate stays one until its odds are below this share of the threshold's odds.
KEPT_ODDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The last alert of a star.

    Attributes
    ----------
    subclass, parameters
        What it said of the star, against which later numbers are compared.
    supersedes
        The alert before it.
    """

    alert_id: str
    alert_type: AlertType
    revision: int
    subclass: str
    parameters: Mapping[str, Estimate]
    supersedes: str | None = None

    @property
    def stands(self) -> bool:
        """Whether observers were told of a candidate, and not that it is none."""
        return self.alert_type != "retraction"


def is_candidate_after(history: Iterable[tuple[float, float]]) -> bool:
    """Return whether a star is a candidate after a history of (p, threshold).

    It becomes one where p reaches the threshold, and stays one until its odds fall below ``KEPT_ODDS`` of
    the threshold's: p that moves about the threshold changes nothing. A p that is not a number changes
    nothing either.
    """
    is_one = False
    for p, threshold in history:
        if p >= threshold:
            is_one = True
        elif is_one and _odds(p) < KEPT_ODDS * _odds(threshold):
            is_one = False
    return is_one


def next_alert(is_candidate: bool, said: Said, sent: Sent | None) -> AlertType | None:
    """Return the alert that a changed star calls for; None where observers need not hear of it.

    For every star the alerts are: an initial one, any number of subsequent ones and updates, a retraction;
    then perhaps the same again. A retraction never comes first.

    Parameters
    ----------
    is_candidate
        By `is_candidate_after`.
    said
        What is now said of the star.
    sent
        The last alert of the star, if there was one.
    """
    if sent is None or not sent.stands:
        return "initial" if is_candidate else None
    if not is_candidate:
        return "retraction"
    return "update" if has_moved(said, sent) else "subsequent"


def has_moved(said: Said, sent: Sent) -> bool:
    """Return whether a parameter left the 68 % interval of the last alert, or the subclass changed."""
    return said.subclass != sent.subclass or any(
        _is_outside(said.parameters[name].value, then) for name, then in sent.parameters.items()
    )


def _is_outside(value: float, then: Estimate) -> bool:
    return value < then.lo or value > then.hi  # False where either is NaN


def _odds(p: float) -> float:
    return math.inf if p >= 1.0 else p / (1.0 - p)


def growth(saids: Sequence[Said | None]) -> list[tuple[float, float]]:
    """Return (p, threshold) after each observation; NaN where nothing could be said.

    Nor is anything said by a spectrum that may be another source's: p is high, and yet it was no candidate.
    """
    return [
        (math.nan, math.nan) if said is None or _is_confused(said) else (said.p_cemp, said.decision.threshold)
        for said in saids
    ]


def _is_confused(said: Said) -> bool:
    return said.p_cemp >= said.decision.threshold and not said.decision.is_candidate
