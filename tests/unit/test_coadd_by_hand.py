"""Co-adds worked out by hand: where a value is clipped, at which velocity a sum stands, whose facts."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cempstream.processors.grid import Array, LogGrid
from cempstream.processors.stars.coadd import clipped_mean, coadd, put_together, visits_at_rest
from cempstream.processors.stars.observation import Observation
from tests.support.visits import FIND, NORMALISE, REBIN, VISIT_GRID, line_flux, visit

INNER = slice(20, -20)
N_PIX = VISIT_GRID.n_pix


def with_facts(observation: Observation, **facts: Any) -> Observation:
    return replace(observation, spectrum=replace(observation.spectrum, **facts))


def mean_of(values: list[float], ivar: list[float]) -> tuple[float, float]:
    mean, total = clipped_mean(np.array(values)[:, None], np.array(ivar)[:, None])
    return float(mean[0]), float(total[0])


def variance_of_a_median(variances: list[float]) -> float:
    return float(np.pi / 2 * np.median(variances) / len(variances))


@pytest.mark.parametrize(
    ("others", "ivar"),
    [
        ([1.0, 1.0], [400.0, 400.0, 400.0]),
        ([1.0, 1.0], [400.0, 100.0, 25.0]),
        ([1.0, 1.0, 1.0], [900.0, 400.0, 100.0, 50.0]),
        ([1.0, 1.1, 1.2, 1.05], [900.0, 400.0, 100.0, 50.0, 70.0]),
    ],
)
def test_a_value_is_left_out_beyond_six_sigma_of_its_distance_from_the_median(
    others: list[float], ivar: list[float]
) -> None:
    """Its own noise, the median's, and 3 % of calibration."""
    variances = [1 / w for w in ivar]
    expected = variances[-1] + variance_of_a_median(variances) + 0.03**2
    middle = float(np.median([*others, np.inf]))  # a high value's own size does not move the median
    at_the_limit = middle + 6 * np.sqrt(expected)
    _, kept = mean_of([*others, at_the_limit - 1e-6], ivar)
    mean, left = mean_of([*others, at_the_limit + 1e-6], ivar)
    assert kept == pytest.approx(sum(ivar))
    assert left == pytest.approx(sum(ivar[:-1]))
    assert mean == pytest.approx(np.average(others, weights=ivar[:-1]))


def test_two_contradict_each_other_beyond_six_sigma_of_half_their_difference() -> None:
    limit = 2 * 6 * np.sqrt((1 / 400 + 1 / 100) / 4 + 0.03**2)
    for rows in (([], []), ([7.0], [0.0])):  # a third of which the pixel is bad says nothing
        assert mean_of([1.0, 1 + limit - 1e-6, *rows[0]], [400.0, 100.0, *rows[1]])[1] == 500.0
        assert mean_of([1.0, 1 + limit + 1e-6, *rows[0]], [400.0, 100.0, *rows[1]]) == (0.0, 0.0)


def test_of_an_even_number_the_median_is_between_the_two_in_the_middle() -> None:
    values, ivar = [1.0, 1.0, 1.6, 1.6], [1e9] * 4
    limit = 6 * 0.03
    assert mean_of(values, ivar) == (0.0, 0.0)  # 0.3 from the middle is too far for all
    near = [1.0, 1.0, 1.0 + 1.99 * limit, 1.0 + 1.99 * limit]
    assert mean_of(near, ivar)[1] == pytest.approx(4e9)


@pytest.mark.parametrize("is_given", [True, False])
def test_a_sum_stands_at_the_mean_velocity_weighted_by_signal_to_noise_squared(is_given: bool) -> None:
    speeds, snrs = [1000.0, 4000.0], [10.0, 20.0]
    visits = [visit(i, shift_kms=v, snr=s) for i, (v, s) in enumerate(zip(speeds, snrs, strict=True))]
    if is_given:
        visits[0] = with_facts(visits[0], rv_kms=1000.0)
    total = coadd(visits, REBIN, NORMALISE)
    assert total.rv_kms == (pytest.approx((1000 * 100 + 4000 * 400) / 500) if is_given else None)
    np.testing.assert_allclose(total.flux[INNER], line_flux(3400.0)[INNER], atol=0.03)


def test_a_velocity_without_any_signal_still_counts_where_there_is_no_other() -> None:
    dark = with_facts(visit(0, shift_kms=300.0, snr=0.0), rv_kms=300.0)
    assert coadd([dark], REBIN, NORMALISE).rv_kms == pytest.approx(300.0)
    bright = with_facts(visit(1, shift_kms=900.0), rv_kms=900.0)
    assert coadd([dark, bright], REBIN, NORMALISE).rv_kms == pytest.approx(900.0, abs=1e-3)


def test_a_zero_point_is_what_was_measured_be_it_certain_or_not() -> None:
    """Without an error it is no star's velocity, and the others do not know it better."""
    sure = visit(0, shift_kms=1500.0)
    other = visit(1, shift_kms=-1500.0, is_certain=False)
    own = replace(other, said=replace(other.said, rv_error_kms=None))
    total = coadd([sure, own], REBIN, NORMALISE)
    np.testing.assert_allclose(total.flux[INNER], line_flux(0.0)[INNER], atol=0.03)


def test_beside_a_spectrum_at_rest_a_faint_one_is_moved_like_the_bright_ones() -> None:
    at_rest = with_facts(visit(0), frame="rest", rv_kms=77.0)
    bright = [visit(1, shift_kms=1000.0, snr=10.0), visit(2, shift_kms=2000.0, snr=20.0)]
    lost = visit(3, flux=line_flux(1800.0), shift_kms=-7000.0, is_certain=False)
    total = coadd([at_rest, *bright, lost], REBIN, NORMALISE)
    assert (total.frame, total.rv_kms) == ("rest", None)
    rows = visits_at_rest([at_rest, *bright, lost], REBIN, NORMALISE)
    for row in rows.norm:
        np.testing.assert_allclose(
            row[INNER], NORMALISE(REBIN([visit(0).spectrum])).norm[0, INNER], atol=0.06
        )
    alone = coadd([lost, at_rest], REBIN, NORMALISE)  # nothing tells its velocity: it is left where it is
    assert alone.rv_kms == 77.0
    assert alone.flux[INNER] == pytest.approx(
        np.mean([line_flux(1800.0)[INNER], line_flux()[INNER]], axis=0), abs=0.03
    )


def test_the_last_gives_its_names_and_each_what_was_assumed_of_it() -> None:
    first = with_facts(visit(0), flags=("b", "a"), resolving_power=300.0, medium="air")
    last = with_facts(visit(1), flags=("c", "a"), resolving_power=200.0, mask=np.zeros(N_PIX, np.uint8))
    total = coadd([first, last], REBIN, NORMALISE)
    assert (total.spectrum_id, total.medium, total.mask) == ("v1-GV", "vacuum", None)
    assert total.flags == ("b", "a", "c")
    assert total.resolving_power == 200.0
    assert (total.flux.dtype, total.ivar.dtype) == (np.float32, np.float32)


def test_the_continuum_of_a_sum_is_weighted_by_signal_to_noise_squared() -> None:
    weak = visit(0, snr=10.0)
    strong = with_facts(visit(1, flux=3 * line_flux(), snr=20.0), ivar=np.full(N_PIX, 400.0 / 9, np.float32))
    total = coadd([weak, strong], REBIN, NORMALISE)
    np.testing.assert_allclose(total.flux[INNER], 2.6 * line_flux()[INNER], rtol=2e-3)
    np.testing.assert_allclose(total.ivar[INNER], 500.0 / 2.6**2, rtol=5e-3)


def test_contaminations_are_averaged_on_the_grid_of_the_sum() -> None:
    shifted = LogGrid(VISIT_GRID.log10_start - 0.01, 1e-3, N_PIX + 20)

    def of(observation: Observation, share: Array, grid: LogGrid = VISIT_GRID) -> Observation:
        extra = {name: np.ones(grid.n_pix, np.float32) for name in ("flux", "ivar")}
        return with_facts(observation, grid=grid, contamination=share.astype(np.float32), **extra)

    here = of(visit(0), np.full(N_PIX, 0.1))
    there = of(visit(1), shifted.wave / 1e5, shifted)
    total = coadd([visit(2), here, there], REBIN, NORMALISE)
    assert total.contamination is not None
    np.testing.assert_allclose(total.contamination, (0.1 + VISIT_GRID.wave / 1e5) / 2, rtol=1e-5)
    assert total.contamination.dtype == np.float32


def arm(grating: str, pixels: slice, *, rv_kms: float, snr: float, **facts: Any) -> Observation:
    """Return a spectrum through a grating, whose velocity is known."""
    whole = visit(0, grating=grating, shift_kms=rv_kms, snr=snr)
    seen = np.zeros(N_PIX, np.float32)
    seen[pixels] = 1.0
    lit = {"flux": whole.spectrum.flux * seen, "ivar": whole.spectrum.ivar * seen}
    return with_facts(whole, rv_kms=rv_kms, **lit, **facts)


BLUE, RED = slice(0, 170), slice(150, 320)


def test_gratings_that_measure_velocities_are_joined_at_the_mean_weighted_by_their_light() -> None:
    red = arm("GI", RED, rv_kms=400.0, snr=40.0, resolving_power=200.0, flags=("r", "both"))
    blue = arm("GV", BLUE, rv_kms=-200.0, snr=20.0, flags=("b", "both"))
    joined = put_together([red, blue], REBIN, NORMALISE, FIND)
    assert (joined.frame, joined.grating, joined.medium) == ("observed", "GV+GI", "vacuum")
    assert joined.rv_kms == pytest.approx((2 * 400.0 - 200.0) / 3, abs=2.0)
    assert (joined.resolving_power, joined.flags, joined.mask) == (200.0, ("b", "both", "r"), None)
    assert joined.spectrum_id == "v0-GV"  # the newest
    found = NORMALISE(REBIN([joined])).norm[0, INNER]
    whole = NORMALISE(REBIN([visit(0, shift_kms=200.0).spectrum])).norm[0, INNER]
    np.testing.assert_allclose(found, whole, atol=0.03)
    assert joined.ivar[240] / joined.ivar[80] == pytest.approx(4.0, rel=0.2)


def test_a_grating_whose_velocity_is_not_known_has_the_one_that_is_found() -> None:
    red = with_facts(arm("GI", RED, rv_kms=0.0, snr=40.0), rv_kms=None)
    joined = put_together([red, arm("GV", BLUE, rv_kms=0.0, snr=40.0)], REBIN, NORMALISE, FIND)
    assert joined.frame == "observed"
    assert joined.rv_kms == 0.0  # of the newest: not all are known


def test_a_grating_at_rest_brings_all_to_rest() -> None:
    at_rest = with_facts(arm("GV", BLUE, rv_kms=0.0, snr=40.0), frame="rest", rv_kms=55.0)
    joined = put_together([arm("GI", RED, rv_kms=900.0, snr=40.0), at_rest], REBIN, NORMALISE, FIND)
    assert (joined.frame, joined.rv_kms) == ("rest", 55.0)
    found = NORMALISE(REBIN([joined])).norm[0, INNER]
    whole = NORMALISE(REBIN([visit(0).spectrum])).norm[0, INNER]
    np.testing.assert_allclose(found, whole, atol=0.03)


def test_contamination_where_both_gratings_see_is_the_mean_and_of_one_that_knows_none_zero() -> None:
    dirty = np.full(N_PIX, 0.4, np.float32)
    blue, red = (
        arm("GV", BLUE, rv_kms=0.0, snr=40.0, contamination=dirty),
        arm("GI", RED, rv_kms=0.0, snr=40.0),
    )
    joined = put_together([blue, red], REBIN, NORMALISE, FIND)
    assert joined.contamination is not None
    assert joined.contamination[[40, 160, 280]] == pytest.approx([0.4, 0.2, 0.0])


def test_beyond_the_end_of_one_visit_the_continuum_is_that_of_the_other() -> None:
    """Two flat visits, 5000 km/s apart, meet in the middle: each has lost one end."""
    faint = visit(0, flux=np.ones(N_PIX))
    strong = with_facts(
        visit(1, flux=np.full(N_PIX, 3.0), shift_kms=5000.0), ivar=np.full(N_PIX, 400.0 / 9, np.float32)
    )
    flux = coadd([faint, strong], REBIN, NORMALISE).flux
    assert flux[[0, 1, 160, -2, -1]] == pytest.approx([3.0, 3.0, 2.0, 1.0, 1.0], rel=1e-3)


def test_visits_of_which_none_tells_a_velocity_stand_at_none() -> None:
    lost = [with_facts(visit(i, shift_kms=900.0, is_certain=False), rv_kms=900.0) for i in range(2)]
    assert coadd(lost, REBIN, NORMALISE).rv_kms == 0.0
