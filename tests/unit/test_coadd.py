"""Co-adds of one grating: known sums, clipped outliers, velocities that differ between visits."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cempstream.processors.stars.coadd import clipped_mean, coadd
from tests.support.visits import NORMALISE, REBIN, VISIT_GRID, line_flux, visit

INNER = slice(20, -20)


@pytest.mark.parametrize("n", [1, 2, 3, 9])
def test_n_equal_spectra_have_the_same_flux_and_sqrt_n_of_the_signal_to_noise(n: int) -> None:
    total = coadd([visit(i) for i in range(n)], REBIN, NORMALISE)
    np.testing.assert_allclose(total.flux, line_flux(), rtol=1e-5)
    np.testing.assert_allclose(np.sqrt(total.ivar), 20.0 * np.sqrt(n), rtol=1e-4)


def test_the_noise_of_a_sum_is_as_large_as_its_ivar_says() -> None:
    rng = np.random.default_rng(7)
    visits = [
        visit(i, flux=line_flux() + rng.normal(0, 1 / snr, VISIT_GRID.n_pix), snr=snr)
        for i, snr in enumerate([10.0, 20.0, 40.0, 15.0])
    ]
    total = coadd(visits, REBIN, NORMALISE)
    pull = (total.flux - line_flux()) * np.sqrt(total.ivar)
    assert 0.85 < pull[INNER].std() < 1.15


@pytest.mark.parametrize("height", [0.4, 5.0, -0.6])
@pytest.mark.parametrize("n", [3, 4, 5])
def test_what_one_visit_alone_has_is_clipped(n: int, height: float) -> None:
    struck = line_flux()
    struck[150] += height
    total = coadd(
        [visit(0, flux=struck, snr=50.0), *(visit(i, snr=50.0) for i in range(1, n))], REBIN, NORMALISE
    )
    assert total.flux[150] == pytest.approx(line_flux()[150], rel=0.01)
    assert total.ivar[150] == pytest.approx(50.0**2 * (n - 1), rel=0.03)
    assert total.ivar[151] == pytest.approx(50.0**2 * n, rel=0.03)


def test_two_visits_that_contradict_each_other_are_both_left_out_there() -> None:
    value, ivar = clipped_mean(np.array([[1.0, 1.0], [1.0, 1.9]]), np.full((2, 2), 400.0))
    assert value.tolist() == [1.0, 0.0]
    assert ivar.tolist() == [800.0, 0.0]


def test_a_pixel_that_only_one_visit_has_is_that_visits() -> None:
    value, ivar = clipped_mean(np.array([[0.3, 9.0], [0.0, 0.0]]), np.array([[4.0, 0.0], [0.0, 0.0]]))
    assert value.tolist() == [0.3, 0.0]
    assert ivar.tolist() == [4.0, 0.0]


def test_visits_are_weighted_by_inverse_variance() -> None:
    value, ivar = clipped_mean(np.array([[1.0], [1.3]]), np.array([[1.0], [3.0]]))
    assert value[0] == pytest.approx((1.0 + 3 * 1.3) / 4)
    assert ivar[0] == 4.0


@given(st.lists(st.tuples(st.floats(0.5, 1.5), st.floats(1.0, 1e4)), min_size=1, max_size=8))
def test_the_mean_does_not_depend_on_the_order(rows: list[tuple[float, float]]) -> None:
    values, ivar = np.array(rows).T
    once = clipped_mean(values[:, None], ivar[:, None])
    again = clipped_mean(values[::-1, None], ivar[::-1, None])
    np.testing.assert_allclose(once, again, rtol=1e-12)
    is_left = once[1][0] > 0  # of two that contradict each other nothing is
    assert is_left or len(rows) > 1
    assert values.min() - 1e-9 <= once[0][0] <= values.max() + 1e-9 or not is_left
    assert once[1][0] <= ivar.sum() * (1 + 1e-12)


@given(
    st.lists(st.floats(1.0, 1e4), min_size=1, max_size=8),
    st.lists(st.floats(-1.0, 1.0), min_size=8, max_size=8),
)
def test_visits_within_their_noise_have_the_analytic_mean_and_inverse_variance(
    ivar: list[float], pulls: list[float]
) -> None:
    weight = np.array(ivar)
    values = 1.0 + np.array(pulls[: len(ivar)]) / np.sqrt(weight)
    mean, total = clipped_mean(values[:, None], weight[:, None])
    assert total[0] == pytest.approx(weight.sum(), rel=1e-12)
    assert mean[0] == pytest.approx((weight * values).sum() / weight.sum(), rel=1e-12)


def test_visits_of_different_velocities_meet_and_their_lines_are_not_washed_out() -> None:
    speeds = (-2000.0, 0.0, 1500.0, 2500.0)
    total = coadd([visit(i, shift_kms=v) for i, v in enumerate(speeds)], REBIN, NORMALISE)
    expected = line_flux(float(np.mean(speeds)))
    assert total.frame == "observed"
    np.testing.assert_allclose(total.flux[INNER], expected[INNER], atol=0.03)
    washed_out = np.mean([line_flux(v) for v in speeds], axis=0)
    assert np.abs(washed_out - expected)[INNER].max() > 0.1


def test_a_visit_too_faint_for_a_velocity_has_that_of_the_others() -> None:
    bright = [visit(i, shift_kms=1500.0, snr=40.0) for i in range(2)]
    faint = visit(2, shift_kms=1500.0, snr=3.0)
    lost = replace(faint, shift_kms=-5000.0, is_shift_certain=False)
    total = coadd([*bright, lost], REBIN, NORMALISE)
    np.testing.assert_allclose(total.flux[INNER], line_flux(1500.0)[INNER], atol=0.02)
    assert np.median(total.ivar) == pytest.approx(2 * 40.0**2 + 3.0**2, rel=0.05)


def test_visits_of_which_none_tells_a_velocity_are_added_as_they_are() -> None:
    lost = [visit(i, flux=line_flux(600.0), shift_kms=9000.0 * i, is_certain=False) for i in range(3)]
    total = coadd(lost, REBIN, NORMALISE)
    np.testing.assert_allclose(total.flux[INNER], line_flux(600.0)[INNER], atol=0.01)


def test_a_visit_at_rest_brings_the_others_to_rest() -> None:
    at_rest = visit(0)
    at_rest = replace(at_rest, spectrum=replace(at_rest.spectrum, frame="rest"))
    total = coadd([at_rest, visit(1, shift_kms=2000.0)], REBIN, NORMALISE)
    assert total.frame == "rest"
    np.testing.assert_allclose(total.flux[INNER], line_flux()[INNER], atol=0.03)


def test_fluxes_of_different_size_and_slope_count_alike() -> None:
    slope = np.linspace(0.7, 1.4, VISIT_GRID.n_pix)
    plain, steep = visit(0), visit(1, flux=1e-3 * slope * line_flux())
    steep = replace(steep, spectrum=replace(steep.spectrum, ivar=(400.0 * 1e6 / slope**2).astype(np.float32)))
    total = NORMALISE(REBIN([coadd([plain, steep], REBIN, NORMALISE)]))
    alone = NORMALISE(REBIN([plain.spectrum]))
    far_from_the_ends = slice(60, -60)  # a running mean does not follow a slope to its end
    np.testing.assert_allclose(total.norm[0][far_from_the_ends], alone.norm[0][far_from_the_ends], atol=0.01)
    assert np.median(total.ivar) == pytest.approx(2 * np.median(alone.ivar), rel=0.05)


def test_contamination_is_the_mean_of_those_that_are_known() -> None:
    clean, dirty = visit(0), visit(1)
    share = np.full(VISIT_GRID.n_pix, 0.3, dtype=np.float32)
    dirty = replace(dirty, spectrum=replace(dirty.spectrum, contamination=share))
    total = coadd([clean, dirty], REBIN, NORMALISE)
    assert total.contamination is not None
    assert total.contamination.tolist() == share.tolist()
    assert coadd([clean], REBIN, NORMALISE).contamination is None


def test_a_visit_without_a_good_pixel_changes_nothing() -> None:
    good, empty = [visit(i) for i in range(2)], visit(2, snr=0.0)
    with_it, without = (coadd(seen, REBIN, NORMALISE) for seen in ([*good, empty], good))
    np.testing.assert_allclose(with_it.flux, without.flux, rtol=1e-5)
    np.testing.assert_allclose(with_it.ivar, without.ivar, rtol=1e-5)
    nothing = coadd([empty], REBIN, NORMALISE)
    assert not nothing.ivar.any()
    assert np.isfinite(nothing.flux).all()


def test_what_was_assumed_of_one_visit_is_assumed_of_the_sum() -> None:
    plain, flagged = visit(0), visit(1)
    flagged = replace(flagged, spectrum=replace(flagged.spectrum, flags=("ivar_estimated",)))
    total = coadd([flagged, plain, flagged], REBIN, NORMALISE)
    assert total.flags == ("ivar_estimated",)
