"""Probabilities at any prior, intervals by bin, named bands and the policy."""

from dataclasses import replace

import numpy as np
import pytest

from cempstream.processors.bands import NAMED_WINDOWS
from cempstream.processors.classify import BandNamer, Calibration, ClassScores
from cempstream.processors.decide import Policy
from cempstream.processors.grid import Array, air_to_vacuum
from cempstream.processors.outcome import PARAMETERS
from cempstream.processors.regress import IntervalTable, ParameterEstimates, SkyError


def test_a_logit_at_its_own_prior_is_the_plain_probability() -> None:
    calibration = Calibration(scale=1.0, offset=0.0, prior=0.3)
    np.testing.assert_allclose(calibration(np.array([0.0, 2.0]), 0.3), [0.5, 1 / (1 + np.exp(-2.0))])


def test_prior_shift_keeps_the_likelihood_ratio() -> None:
    """Bayes: a likelihood ratio of 1000 at a prior of 3e-4 gives odds of 0.30009."""
    prior0 = 0.25
    logit = np.log(1000 * prior0 / (1 - prior0))
    p = Calibration(1.0, 0.0, prior0)(np.array([logit]), 3e-4)[0]
    assert p / (1 - p) == pytest.approx(1000 * 3e-4 / (1 - 3e-4), rel=1e-9)


def test_an_absurd_logit_stays_a_probability() -> None:
    p = Calibration(2.0, 0.0, 0.5)(np.array([-1e30, 1e30]), 1e-4)
    assert p.min() >= 0.0
    assert p.max() <= 1.0


def test_interval_factors_are_taken_from_the_bin_of_each_star() -> None:
    scale = np.arange(2 * 3 * len(PARAMETERS), dtype=float).reshape(2, 3, -1)
    table = IntervalTable(np.array([10.0]), np.array([-3.0, -2.0]), scale)
    half = table(np.array([5.0, 50.0]), means(feh=[-3.5, -1.0]), np.full((2, len(PARAMETERS)), 3.0))
    np.testing.assert_array_equal(half, 3.0 * scale[[0, 1], [0, 2]])


def test_the_models_own_error_is_that_of_the_stars_group_and_adds_in_quadrature() -> None:
    sigma = np.arange(4.0)[:, None].repeat(len(PARAMETERS), axis=1).reshape(2, 2, -1)
    one = IntervalTable(np.array([]), np.array([]), np.ones((1, 1, len(PARAMETERS))))
    table = replace(one, sky_error=SkyError(3.5, -1.0, sigma))
    stars = means(logg=[1.0, 1.0, 4.5, 4.5, 3.5], feh=[-2.0, 0.0, -2.0, 0.0, -1.0])
    half = table(np.ones(5), stars, np.full((5, len(PARAMETERS)), 4.0))
    np.testing.assert_allclose(half[:, 0], np.hypot(4.0, [0.0, 1.0, 2.0, 3.0, 3.0]))


def test_model_errors_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(1, 2, 6\) of model errors; it must be \(2, 2, 6\)"):
        SkyError(3.5, -1.0, np.ones((1, 2, 6)))


def means(**columns: list[float]) -> Array:
    """Return what a network says of stars: 0 but for these parameters."""
    mean = np.zeros((len(next(iter(columns.values()))), len(PARAMETERS)))
    for name, values in columns.items():
        mean[:, PARAMETERS.index(name)] = values
    return mean


def test_an_interval_table_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(1, 1, 6\)"):
        IntervalTable(np.array([]), np.array([]), np.ones((2, 1, 6)))


def test_attribution_in_the_g_band_is_named_and_elsewhere_is_not() -> None:
    edges = np.arange(3800.0, 8100.0, 10.0)
    low, high = air_to_vacuum(np.array(dict(NAMED_WINDOWS)["CH G"]))
    inside = (edges[:-1] >= low) & (edges[1:] <= high)
    attribution = np.zeros((2, edges.size - 1), dtype=np.float32)
    attribution[0, inside] = 0.8 / inside.sum()
    attribution[0, edges[:-1] == 6000.0] = 0.2
    attribution[1, edges[:-1] == 6000.0] = 1.0
    named, nothing = BandNamer(edges)(attribution)
    assert [band.name for band in named] == ["CH G"]
    assert named[0].weight == pytest.approx(0.8, abs=1e-3)
    assert nothing == ()
    even = np.full((1, edges.size - 1), 1 / (edges.size - 1), dtype=np.float32)
    namer = BandNamer(edges)
    for band in namer(even)[0]:
        assert band.weight == pytest.approx(namer.chance[band.name], abs=1e-4)


def scores(*p_cemp: float) -> ClassScores:
    p = np.array(p_cemp)
    return ClassScores(p, p, np.full((p.size, 4), 0.25), p * 0, np.ones((p.size, 1)))


def parameters(*feh: float) -> ParameterEstimates:
    value: Array = np.zeros((len(feh), len(PARAMETERS)))
    value[:, PARAMETERS.index("feh")] = feh
    return ParameterEstimates(value, value, value, np.zeros(len(feh)))


def test_the_threshold_is_a_candidate() -> None:
    below, at = Policy("1", 3e-4, 0.5).decide(scores(0.4999, 0.5), parameters(-2, -2), [None, None])
    assert (below.is_candidate, at.is_candidate) == (False, True)
    assert (at.threshold, at.prior, at.policy_version) == (0.5, 3e-4, "1")


def test_rarer_and_brighter_stars_come_first() -> None:
    plain, rarer, brighter = Policy("1", 3e-4, 0.5).decide(
        scores(0.9, 0.9, 0.9), parameters(-2, -4, -2), [16.0, 16.0, 12.0]
    )
    assert plain.priority < brighter.priority < rarer.priority <= 1.0


@pytest.mark.parametrize(("name", "value"), [("prior", 0.0), ("threshold", 1.0)])
def test_a_policy_outside_its_range_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"'{name}' is {value}"):
        Policy("1", **{"prior": 3e-4, "threshold": 0.5, name: value})
