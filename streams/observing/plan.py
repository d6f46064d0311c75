"""The best use of some hours: which stars, when. Solved by HiGHS (Huangfu & Hall 2018) through scipy.

Time is cut into slots. ``cost[i, s]`` is how many slots star `i` takes when it is begun in slot `s`, 0 where
it cannot be. To choose beginnings so that no two stars overlap and the sum of values is largest is the
time-indexed formulation of scheduling on one machine (Sousa & Wolsey 1992, Math. Program. 54, 353), an
integer program.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from cempstream.processors.grid import Array

#: A plan this near to the best is good enough; weather changes more.
_GAP = 0.002
_LONGEST_S = 60.0
#: Beginnings in each slot that are considered: those with most value for their time. More would take hours.
_MOST_IN_SLOT = 60


@dataclass(frozen=True, slots=True)
class Visit:
    """A star (its row) and the slots that it takes."""

    star: int
    slot: int
    n_slot: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Visits in the order of time.

    Attributes
    ----------
    gap
        By which share of its value a better plan may exceed this one, of the beginnings that were considered;
        None where no solver was asked, or it found nothing in its time.
    """

    visits: tuple[Visit, ...]
    gap: float | None = None


def best_plan(
    cost: Array, value: Array, seconds: Array | None = None, *, longest_s: float = _LONGEST_S
) -> Plan:
    """Return the plan with the largest sum of values.

    Parameters
    ----------
    cost
        Slots, integer, shape ``(n_star, n_slot)``; 0 where a star cannot be begun.
    value
        Shape ``(n_star,)``.
    seconds
        As `cost`, not rounded: the same stars are then observed when they take the shortest time, which is
        where they stand high. None: whenever they fit.
    longest_s
        The solver ends then, with the best plan that it has; if it has none, stars are taken in the order of
        value for their time.
    """
    rate = np.where((cost > 0) & (value > 0.0)[:, None], value[:, None] / np.maximum(cost, 1), 0.0)
    star, slot = np.nonzero(rate > 0.0)
    if star.size == 0:
        return Plan((), 0.0)
    if rate.shape[0] > _MOST_IN_SLOT:
        least = np.partition(rate, -_MOST_IN_SLOT, axis=0)[-_MOST_IN_SLOT]
        star, slot = np.nonzero((rate > 0.0) & (rate >= least))
    chosen, gap = _solve(-value[star], star, slot, cost, 0.0, longest_s)
    if chosen is None:
        return walk(cost, np.argsort(-rate.max(axis=1), kind="stable"))
    star, slot = star[chosen], slot[chosen]
    if seconds is not None and star.size:
        every, when = np.nonzero(cost[star] > 0)
        every = star[every]
        shortest, _ = _solve(seconds[every, when], every, when, cost, 1.0, longest_s)
        if shortest is not None:
            star, slot = every[shortest], when[shortest]
    order = np.argsort(slot)
    visits = (Visit(int(i), int(s), int(cost[i, s])) for i, s in zip(star[order], slot[order], strict=True))
    return Plan(tuple(visits), gap)


def _solve(
    loss: Array, star: Array, slot: Array, cost: Array, least: float, longest_s: float
) -> tuple[Array | None, float]:
    """Choose beginnings with the smallest sum of losses: of each star at least `least` and at most one.

    Returns
    -------
    tuple
        Whether each beginning is chosen, bool, shape as `loss`, and the gap; None where nothing was found.
    """
    length = cost[star, slot].astype(np.int64)
    columns = np.arange(star.size)
    stars, row = np.unique(star, return_inverse=True)
    once = coo_array((np.ones(star.size), (row, columns)), shape=(stars.size, star.size))
    # One row for each slot: the beginnings that take it.
    taken = np.repeat(slot - np.concatenate([[0], np.cumsum(length)[:-1]]), length) + np.arange(length.sum())
    alone = coo_array(
        (np.ones(taken.size), (taken, np.repeat(columns, length))), shape=(cost.shape[1], star.size)
    )
    found = milp(
        loss,
        integrality=np.ones(star.size, dtype=np.int64),
        bounds=Bounds(0.0, 1.0),
        constraints=[
            LinearConstraint(once.tocsr(), least, 1.0),
            LinearConstraint(alone.tocsr(), -np.inf, 1.0),
        ],
        options={"time_limit": longest_s, "mip_rel_gap": _GAP},
    )
    if found.x is None:
        return None, 0.0
    return np.asarray(found.x > 0.5), float(found.mip_gap or 0.0)


def walk(cost: Array, order: Sequence[int] | Array) -> Plan:
    """Return the plan of one who goes down a list: always the first star on it that can be observed now.

    Where none can, a slot passes.
    """
    visits: list[Visit] = []
    waiting = [int(star) for star in order]
    slot = 0
    while slot < cost.shape[1] and waiting:
        star = next((star for star in waiting if cost[star, slot] > 0), None)
        if star is None:
            slot += 1
            continue
        visits.append(Visit(star, slot, int(cost[star, slot])))
        slot += int(cost[star, slot])
        waiting.remove(star)
    return Plan(tuple(visits))
