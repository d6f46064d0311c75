"""The plan is the best one: against all plans that there are, and by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cempstream.processors.grid import Array
from cempstream.streams.observing.plan import Plan, Visit, best_plan, walk

SETTINGS = st.integers(1, 4).flatmap(
    lambda n: st.tuples(
        st.lists(st.lists(st.integers(0, 3), min_size=5, max_size=5), min_size=n, max_size=n),
        st.lists(st.integers(1, 9), min_size=n, max_size=n),
    )
)


def within(cost: Array) -> Array:
    """Return costs of which none goes beyond the last slot, as those of a night do."""
    n_slot = cost.shape[1]
    return np.where(cost + np.arange(n_slot) <= n_slot, cost, 0)


def best_value(cost: Array, value: Array) -> float:
    """Return the largest sum of values by trying every plan."""
    n_star, n_slot = cost.shape
    best = 0.0
    for begins in product(range(-1, n_slot), repeat=n_star):
        taken: list[int] = []
        for star, begin in enumerate(begins):
            if begin >= 0:
                if cost[star, begin] == 0:
                    break
                taken += range(begin, begin + cost[star, begin])
        else:
            if len(taken) == len(set(taken)):
                best = max(best, float(sum(value[i] for i, begin in enumerate(begins) if begin >= 0)))
    return best


def check(plan: Plan, cost: Array) -> None:
    """Assert that a plan is possible."""
    stars = [visit.star for visit in plan.visits]
    assert len(stars) == len(set(stars))
    free = 0
    for visit in plan.visits:
        assert visit.slot >= free
        assert visit.n_slot == cost[visit.star, visit.slot] > 0
        free = visit.slot + visit.n_slot
    assert free <= cost.shape[1]


@given(SETTINGS)
def test_no_plan_is_better(setting: tuple[list[list[int]], list[int]]) -> None:
    cost, value = within(np.array(setting[0])), np.array(setting[1], dtype=np.float64)
    plan = best_plan(cost, value)
    check(plan, cost)
    assert sum(value[visit.star] for visit in plan.visits) == pytest.approx(best_value(cost, value))


@given(SETTINGS, st.randoms(use_true_random=False))
def test_a_walk_is_possible(setting: tuple[list[list[int]], list[int]], random: object) -> None:
    cost = within(np.array(setting[0]))
    order = np.argsort(setting[1])
    check(walk(cost, order), cost)


def test_the_same_stars_are_observed_when_they_stand_high() -> None:
    cost = np.array([[2, 2, 2, 0], [2, 2, 2, 0]])
    seconds = np.array([[599.0, 500.0, 310.0, np.inf], [301.0, 400.0, 599.0, np.inf]])
    plan = best_plan(cost, np.array([1.0, 1.0]), seconds)
    assert plan.visits == (Visit(1, 0, 2), Visit(0, 2, 2))


def test_a_walk_goes_down_its_list_and_waits() -> None:
    #           slots 0  1  2  3  4
    cost = np.array([[0, 0, 2, 2, 0], [1, 1, 1, 1, 1], [3, 3, 3, 0, 0]])
    assert walk(cost, [0, 1, 2]).visits == (Visit(1, 0, 1), Visit(2, 1, 3))
    assert walk(cost, [0]).visits == (Visit(0, 2, 2),)
    assert walk(cost, []).visits == ()


def test_nothing_to_observe_is_an_empty_plan() -> None:
    assert best_plan(np.zeros((2, 3), dtype=int), np.ones(2)) == Plan((), 0.0)
    assert best_plan(np.ones((2, 3), dtype=int), np.zeros(2)) == Plan((), 0.0)
    assert best_plan(np.zeros((0, 3), dtype=int), np.zeros(0)) == Plan((), 0.0)


def test_without_time_for_the_solver_stars_are_taken_by_value_for_their_time() -> None:
    rng = np.random.default_rng(1)
    cost = within(rng.integers(1, 9, (300, 60)))
    value = rng.random(300)
    plan = best_plan(cost, value, longest_s=1e-9)
    check(plan, cost)
    assert plan.gap is None
    best_rate = np.where(cost > 0, value[:, None] / np.maximum(cost, 1), 0.0).max(axis=1)
    assert plan == walk(cost, np.argsort(-best_rate, kind="stable"))


def test_of_many_stars_the_worthless_are_not_missed() -> None:
    """Of 2,060 stars that take a slot each, the twelve of highest value fill twelve slots."""
    cost = np.ones((2060, 12), dtype=int)
    value = np.concatenate([np.full(2000, 0.01), np.linspace(0.9, 1.0, 60)])
    plan = best_plan(cost, value)
    check(plan, cost)
    assert {visit.star for visit in plan.visits} == set(range(2048, 2060))
