"""What a spectrum is worth, against values that were worked out by hand."""

from __future__ import annotations

import math

import pytest

from cempstream.processors.outcome import Estimate
from cempstream.streams.observing.star_value import (
    WeightError,
    Weights,
    parse_weights,
    probability_below,
    worth,
)
from tests.support.targets import candidate

NOTHING = Weights(0.0, 0.0, 0.0, 0.0)


def test_an_ordinary_star_is_worth_its_chance() -> None:
    assert worth(candidate(p_cemp=0.9), "cfe", NOTHING).value == 0.9
    assert worth(candidate(p_cemp=0.99, expected_purity=0.02), "cfe", NOTHING).value == 0.02
    assert worth(candidate(p_cemp=0.5, expected_purity=0.9), "cfe", NOTHING).value == 0.5
    assert worth(candidate(p_cemp=math.nan), "cfe", NOTHING).value == 0.0


def test_rarity_adds_what_its_weight_says() -> None:
    star = candidate(p_cemp=0.8, feh=(-3.0, -3.2, -2.9), subclass_p=(0.3, 0.1, 0.5, 0.1))
    assert worth(star, "cfe", Weights(2.0, 0.0, 0.0, 0.0)).value == pytest.approx(0.8 * (1 + 2 * 0.5))
    assert worth(star, "cfe", Weights(0.0, 1.0, 0.0, 0.0)).value == pytest.approx(0.8 * (1 + 0.3))
    assert worth(star, "cfe", Weights(0.0, 0.0, 3.0, 0.0)).value == pytest.approx(0.8 * (1 + 3 * 0.5))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (-3.0, 0.5),
        (-3.2, 0.8413),  # a sigma of 0.2 upwards lies between
        (-2.7, 0.1587),  # a sigma of 0.3 downwards
        (-2.4, 0.0228),
        (-9.0, 1.0),
    ],
)
def test_each_side_of_an_interval_has_its_own_width(value: float, expected: float) -> None:
    assert probability_below(Estimate(value, value - 0.3, value + 0.2), -3.0) == pytest.approx(
        expected, abs=1e-4
    )


@pytest.mark.parametrize(
    "estimate",
    [Estimate(math.nan, math.nan, math.nan), Estimate(-4.0, math.nan, -3.8), Estimate(-4.0, -4.0, -4.0)],
)
def test_what_is_not_known_is_not_rare(estimate: Estimate) -> None:
    assert probability_below(estimate, -3.0) == 0.0


def test_a_wide_interval_teaches_more() -> None:
    learn = Weights(0.0, 0.0, 0.0, 1.0)
    assert worth(candidate(cfe=(1.5, 1.1, 1.9)), "cfe", learn).bits == pytest.approx(2.0)  # 0.4 to 0.1 dex
    assert worth(candidate(cfe=(1.5, 1.45, 1.55)), "cfe", learn).bits == 0.0
    assert worth(candidate(bafe=(0.0, -0.6, 0.6)), "ba", learn).bits == pytest.approx(2.0)  # 0.6 to 0.15 dex
    unknown = worth(candidate(bafe=(math.nan, math.nan, math.nan)), "ba", learn).bits
    wide = worth(candidate(bafe=(0.0, -9.0, 9.0)), "ba", learn).bits
    assert unknown == wide == pytest.approx(math.log2(1.0 / 0.15))
    assert worth(candidate(subclass_p=(0.25, 0.25, 0.25, 0.25)), "eu", learn).bits == pytest.approx(2.0)
    assert worth(candidate(subclass_p=(1.0, 0.0, 0.0, 0.0)), "eu", learn).bits == 0.0


def test_weights_are_written_by_name() -> None:
    assert parse_weights([]) == Weights()
    assert parse_weights(["emp=5", "learn=0"]) == Weights(emp=5.0, learn=0.0)


@pytest.mark.parametrize(
    "text", ["emp", "emp=", "emp=many", "emp=-1", "emp=nan", "emp=inf", "gold=1", "=1", ""]
)
def test_what_is_no_weight_is_said(text: str) -> None:
    with pytest.raises(WeightError, match="one of emp, no, r, learn"):
        parse_weights([text])
