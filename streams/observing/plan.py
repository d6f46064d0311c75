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
from scipy.sparse import coo_array, vstack

from cempstream.errors import FixableError
from cempstream.processors.grid import Array

#: A plan this near to the best is good enough; weather changes more.
_GAP = 0.002
_LONGEST_S = 60.0


class PlanFailed(FixableError, RuntimeError):
    """The solver gave no plan; the message has its words."""


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
        By which share of its value a better plan may exceed this one; None where nobody asked.
    """

    visits: tuple[Visit, ...]
    gap: float | None = None


def best_plan(cost: Array, value: Array, *, longest_s: float = _LONGEST_S) -> Plan:
    """Return the plan with the largest sum of values.

    Parameters
    ----------
    cost
        Slots, integer, shape ``(n_star, n_slot)``; 0 where a star cannot be begun.
    value
        Shape ``(n_star,)``.
    longest_s
        The solver ends then, with the best plan that it has.

    Raises
    ------
    PlanFailed
        There is no plan even then.
    """
    star, slot = np.nonzero((cost > 0) & (value > 0.0)[:, None])
    if star.size == 0:
        return Plan((), 0.0)
    length = cost[star, slot].astype(np.int64)
    columns = np.arange(star.size)
    once = coo_array((np.ones(star.size), (star, columns)), shape=(cost.shape[0], star.size))
    # A column of slots' rows: ones in the slots that this beginning takes.
    taken = np.repeat(slot - np.concatenate([[0], np.cumsum(length)[:-1]]), length) + np.arange(length.sum())
    alone = coo_array(
        (np.ones(taken.size), (taken, np.repeat(columns, length))), shape=(cost.shape[1], star.size)
    )
    found = milp(
        -value[star],
        integrality=np.ones(star.size, dtype=np.int64),
        bounds=Bounds(0.0, 1.0),
        constraints=LinearConstraint(vstack([once, alone]).tocsr(), -np.inf, 1.0),
        options={"time_limit": longest_s, "mip_rel_gap": _GAP},
    )
    if found.x is None:
        raise PlanFailed(
            f"no plan was found in {longest_s:g} s: {found.message}; give fewer alerts or longer slots"
        )
    chosen = np.flatnonzero(found.x > 0.5)
    chosen = chosen[np.argsort(slot[chosen])]
    visits = tuple(Visit(int(star[i]), int(slot[i]), int(length[i])) for i in chosen)
    return Plan(visits, float(found.mip_gap))


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
