"""The parts of rebinning: units, weights, gaps, resolving powers and the cache, each against its sum."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest

from cempstream.processors import rebin as module
from cempstream.processors.constants import FWHM_PER_SIGMA
from cempstream.processors.grid import Array, ExplicitGrid, LinearGrid, LogGrid
from cempstream.processors.rebin import Rebinner
from tests.unit.test_rebin import TARGET, spectrum

SMALL = LogGrid(3.7, 1e-4, 64)
STEP = log(10.0) * 1e-4
CENTRE = np.log(SMALL.wave)


def row(value: float, n_pix: int = 5) -> Array:
    return np.full((1, n_pix), value, dtype=np.float32)


@pytest.mark.parametrize(
    ("flux", "ivar", "strains"),
    [
        (1.0, 1.0, False), (9e5, 1e-3, False), (2e6, 1e-3, True), (-2e6, 1e-3, True), (2e-6, 1.0, False),
        (5e-7, 1.0, True), (2e-3, 9e11, False), (2e-3, 2e12, True), (1.0, 2e-12, False), (1.0, 5e-13, True),
        (1e3, 9e3, False), (1e3, 1.1e4, True), (-1e3, 1.1e4, True),
    ],
)  # fmt: skip
def test_a_row_that_float32_cannot_square_needs_another_unit(flux: float, ivar: float, strains: bool) -> None:
    """Beyond 1e±6 in flux, 1e±12 in inverse variance, or S/N 1e5, whichever it is alone."""
    rows = np.concatenate([row(1.0), row(flux), row(1.0)]), np.concatenate([row(1.0), row(ivar), row(1.0)])
    assert module._strains(*rows).tolist() == [False, strains, False]
    spike = row(1.0)
    spike[0, 3] = flux
    weight = row(1.0)
    weight[0, 3] = ivar
    if abs(flux) >= 1 and ivar >= 1:
        assert module._strains(spike, weight).tolist() == [strains]


@pytest.mark.parametrize("unit", [1e-17, 3e-9, 1.0, 7e8, 1e17])
def test_another_unit_is_a_power_of_two_near_the_median(unit: float) -> None:
    rng = np.random.default_rng(1)
    flux = (unit * rng.uniform(0.5, 2.0, 101)).astype(np.float32)
    ivar = (rng.uniform(0.1, 0.9, 101) / unit**2).astype(np.float32)
    flux[7], ivar[7] = 0.0, 0.0
    in_unit, weight = module._in_own_unit(flux, ivar)
    assert 0.7 < np.median(np.abs(in_unit[in_unit != 0])) < 1.42
    factor = flux[0].astype(float) / in_unit[0]
    assert np.log2(factor) == round(np.log2(factor))
    np.testing.assert_array_equal(in_unit * factor, flux.astype(float))
    np.testing.assert_allclose(weight / factor**2, ivar, rtol=1e-6)
    assert in_unit.dtype == weight.dtype == np.float32


def test_a_unit_is_that_of_the_pixels_with_light() -> None:
    """Most are bad or zero here; and where all are zero, the noise gives the unit."""
    flux, ivar = np.zeros(100, np.float32), np.ones(100, np.float32)
    flux[:10], flux[50:] = -1e10, 3.0
    ivar[50:] = 0.0
    assert module._in_own_unit(flux, ivar)[0][0] == pytest.approx(-1.0, rel=0.42)
    dark, weight = module._in_own_unit(np.zeros(9, np.float32), np.full(9, 1e-20, np.float32))
    assert not dark.any()
    assert weight == pytest.approx(1.0, rel=1.1)
    empty = module._in_own_unit(np.zeros(9, np.float32), np.zeros(9, np.float32))
    assert not np.any(empty)


def test_a_unit_leaves_spikes_and_certainties_finite() -> None:
    flux, ivar = np.ones(100, np.float32), np.ones(100, np.float32)
    flux[3], flux[4], ivar[5] = 1e30, -1e30, 1e30
    in_unit, weight = module._in_own_unit(flux, ivar)
    assert (in_unit[3], in_unit[4], weight[5]) == (1e6, -1e6, np.float32(1e10))


def test_a_flux_is_impossible_from_six_sigma_below_zero() -> None:
    values = spectrum(LinearGrid(4000.0, 1.0, 4), np.array([-5.9, -6.1, 6.1, 0.0]), np.full(4, 1.0))
    assert module.good_pixels(values).tolist() == [True, False, True, True]
    precise = spectrum(LinearGrid(4000.0, 1.0, 4), np.array([-5.9, -6.1, 6.1, 0.0]), np.full(4, 0.25))
    assert module.good_pixels(precise).all()


def test_bad_pixels_are_zero_in_all() -> None:
    grid = LinearGrid(4000.0, 1.0, 5)
    values = spectrum(grid, np.array([5.0, 5.0, np.nan, 5.0, -7.0]), np.array([1.0, 0.0, 1.0, -1.0, 1.0]))
    flux, ivar, good = module._stack([values], slice(None))
    assert flux.tolist() == [[5.0, 0.0, 0.0, 0.0, 0.0]]
    assert ivar.tolist() == good.tolist() == [[1.0, 0.0, 0.0, 0.0, 0.0]]


def dense(parts: tuple[Array, Array, Array], n_in: int) -> Array:
    matrix = np.zeros((SMALL.n_pix, n_in))
    np.add.at(matrix, parts[:2], parts[2])
    return matrix


@pytest.mark.parametrize("ratio", [0.05, 0.3, 0.77, 1.0, 1.9, 7.0])
def test_interpolation_keeps_a_level_and_a_slope(ratio: float) -> None:
    """Whatever the pixels' width: the weights of a row add up to one, and their mean place is the row's."""
    log_wave = np.arange(CENTRE[0] - 10 * STEP, CENTRE[-1] + 10 * STEP, ratio * STEP)
    weights = dense(module._interpolation_weights(log_wave, SMALL), log_wave.size)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(weights @ (log_wave - CENTRE[0]) / STEP, np.arange(64), atol=1e-6)
    # Nothing from beyond a pixel's own width and one input pixel.
    away = np.abs(log_wave - CENTRE[:, None])
    assert weights[away > (0.5 + ratio) * STEP * 1.001].sum() == 0
    assert np.all(weights >= 0)


def test_a_pixel_sees_all_of_its_width_evenly() -> None:
    """Ten input pixels in one of the model's: each has a tenth."""
    log_wave = CENTRE[0] + STEP * (np.arange(-100, 740) + 0.5) / 10
    weights = dense(module._interpolation_weights(log_wave, SMALL), log_wave.size)
    inner = weights[10][np.abs(log_wave - CENTRE[10]) < 0.4 * STEP]
    np.testing.assert_allclose(inner, 0.1, rtol=0.03)


def test_beyond_the_last_pixel_half_a_pixel_is_known() -> None:
    log_wave = CENTRE[20:41]
    weights = dense(module._interpolation_weights(log_wave, SMALL), log_wave.size).sum(axis=1)
    assert np.flatnonzero(weights > 0.99).tolist() == list(range(20, 41))
    assert np.flatnonzero(weights).tolist() == list(range(20, 41))
    shifted = dense(module._interpolation_weights(log_wave + 0.4 * STEP, SMALL), log_wave.size).sum(axis=1)
    assert np.flatnonzero(shifted).tolist() == list(range(20, 42))
    assert shifted[20] == pytest.approx(0.6, abs=0.13)  # known from 0.1 left of its centre on
    assert shifted[41] == pytest.approx(0.4, abs=0.13)


def test_between_fewer_than_two_pixels_nothing_is_known() -> None:
    assert not dense(module._interpolation_weights(CENTRE[[30]], SMALL), 1).any()


@pytest.mark.parametrize(
    ("centres", "edges"),
    [([1.0, 2.0, 4.0], [0.5, 1.5, 3.0, 5.0]), ([3.0], [2.9999, 3.0001]), ([1.0, 2.0], [0.5, 1.5, 2.5])],
)
def test_edges_lie_between_pixels(centres: list[float], edges: list[float]) -> None:
    assert module._edges(np.array(centres)) == pytest.approx(np.array(edges))


@pytest.mark.parametrize("power", [2500.0, 4000.0, 40_000.0])
def test_smoothing_widens_by_what_is_missing(power: float) -> None:
    """Variance of the model less that of the survey, and a pixel's own twelfth."""
    key = (round(log(power) / module._POWER_STEP),)
    rounded = exp(key[0] * module._POWER_STEP)
    log_wave = np.arange(CENTRE[0] - 60 * STEP, CENTRE[-1] + 60 * STEP, 0.2 * STEP)
    weights = dense(module._smoothing_weights(log_wave, SMALL, 1800.0, key), log_wave.size)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-4)
    mean = weights @ log_wave / weights.sum(axis=1)
    np.testing.assert_allclose(mean, CENTRE, atol=0.01 * STEP)
    spread = np.sqrt(np.sum(weights * (log_wave - mean[:, None]) ** 2, axis=1))
    missing = (1800.0**-2 - rounded**-2) / FWHM_PER_SIGMA**2
    np.testing.assert_allclose(spread, np.sqrt(missing + STEP**2 / 12), rtol=0.01)
    reach = np.abs(log_wave - CENTRE[:, None]) / spread[:, None]
    assert 4.2 < reach[weights > 0].max() < 4.8


def test_each_part_is_smoothed_by_its_own_power() -> None:
    """Of the nodes in equal parts of the spectrum, each at the middle of its part."""
    low, high = (round(log(power) / module._POWER_STEP) for power in (2000.0, 8000.0))
    log_wave = np.arange(CENTRE[0] - 9 * STEP, CENTRE[-1] + 9 * STEP, 0.1 * STEP)
    weights = dense(module._smoothing_weights(log_wave, SMALL, 1800.0, (low, low, high, high)), log_wave.size)
    away = log_wave - CENTRE[:, None]
    spread = np.sqrt(np.sum(weights * away**2, axis=1))
    place = (CENTRE - log_wave[0]) / (log_wave[-1] - log_wave[0])
    local = np.interp(place, [0.125, 0.375, 0.625, 0.875], np.exp(0.15 * np.array([low, low, high, high])))
    expected = np.sqrt((1800.0**-2 - local**-2) / FWHM_PER_SIGMA**2 + STEP**2 / 12)
    np.testing.assert_allclose(spread, expected, rtol=0.01)


def test_a_spectrum_blunter_than_the_model_is_only_averaged() -> None:
    log_wave = np.arange(CENTRE[0] - 9 * STEP, CENTRE[-1] + 9 * STEP, 0.1 * STEP)
    weights = dense(module._smoothing_weights(log_wave, SMALL, 1800.0, (40,)), log_wave.size)
    spread = np.sqrt(np.sum(weights * (log_wave - CENTRE[:, None]) ** 2, axis=1))
    np.testing.assert_allclose(spread, STEP / np.sqrt(12), rtol=0.02)


def test_resolving_powers_are_looked_up_in_equal_parts() -> None:
    np.testing.assert_array_equal(module._node_pixels(400), (10 * np.arange(40) + 5).reshape(8, 5))
    assert module._node_pixels(3).min() == 0
    assert module._node_pixels(3).max() == 2


KEYS = Rebinner(TARGET, 1800.0)


def key_of(power: float | Array) -> tuple[int, ...]:
    return KEYS._power_key(spectrum(LinearGrid(4000.0, 1.0, 4000), np.ones(4000), power=power))


@pytest.mark.parametrize(("power", "is_smoothed"), [(900.0, False), (1975.0, False), (1985.0, True)])
def test_a_spectrum_a_tenth_sharper_is_not_smoothed(power: float, is_smoothed: bool) -> None:
    assert bool(key_of(power)) == is_smoothed
    assert bool(key_of(np.full(4000, power, np.float32))) == is_smoothed


@pytest.mark.parametrize("power", [2000.0, 3456.0, 50_000.0])
def test_powers_are_rounded_by_half_of_fifteen_percent(power: float) -> None:
    (one,) = key_of(power)
    assert exp(0.15 * one) == pytest.approx(power, rel=0.078)
    assert key_of(np.full(4000, power, np.float32)) == (one,) * 8


def test_pixels_without_a_power_are_passed_over() -> None:
    """Of five looked up in a part the median is taken; where most have none the model's own power."""
    power = np.full(4000, 4000.0, np.float32)
    sharp, own = key_of(4000.0)[0], round(log(1800.0) / 0.15)
    pixels = module._node_pixels(4000)
    power[pixels[2, :2]] = np.nan
    power[pixels[3, :2]] = 90_000.0
    assert key_of(power) == (sharp,) * 8
    power[pixels[5, :3]], power[pixels[6]] = np.nan, 0.0
    assert key_of(power) == (sharp, sharp, sharp, sharp, sharp, own, own, sharp)


def test_a_gap_is_more_than_four_pixels_of_both() -> None:
    def n_gaps(last: float, target_step: float) -> int:
        _, place = module._with_gaps(np.array([0.0, 1.0, 2.0, last, last + 1, last + 2]), target_step)
        return 0 if place is None else int(np.count_nonzero(place < 0)) // 2

    assert [n_gaps(2.0 + width, 0.5) for width in (3.9, 4.1)] == [0, 1]
    assert [n_gaps(2.0 + width, 2.0) for width in (4.1, 7.9, 8.1)] == [0, 0, 1]
    filled, place = module._with_gaps(np.array([0.0, 10.0, 11.0, 21.0]), 1.0)
    assert filled.tolist() == [0, 1, 9, 10, 11, 12, 20, 21]
    assert place is not None
    assert place.tolist() == [0, -1, -1, 1, 2, -1, -1, 3]
    assert module._with_gaps(np.array([0.0, 10.0]), 1.0)[1] is None  # of one step nothing is usual


def test_a_pixel_needs_half_of_its_weight() -> None:
    """Two input pixels share each of the model's; the flux is that of the good one, the noise too."""
    grid = ExplicitGrid(10 ** (TARGET.log10_start + 1e-4 * (np.arange(400) - 0.5)))
    flux, ivar = np.full(400, 7.0), np.full(400, 4.0)
    flux[100::20], ivar[100::20] = 1e4, 0.0
    batch = Rebinner(TARGET, 1800.0)([spectrum(grid, flux, ivar)])
    good = batch.ivar[0] > 0
    assert not good[400:].any()
    np.testing.assert_allclose(batch.flux[0, good], 7.0, rtol=1e-6)
    whole = Rebinner(TARGET, 1800.0)([spectrum(grid, np.full(400, 7.0), np.full(400, 4.0))])
    # Half and half: a mean of two with variance a quarter has an eighth.
    assert whole.ivar[0, 50] == pytest.approx(8.0, rel=0.35)
    assert np.all(whole.ivar[0, 1:399] > 0)


def test_a_grid_beside_the_models_gives_nothing() -> None:
    for grid in (LogGrid(3.4, 1e-4, 1700), LogGrid(3.954, 1e-4, 200), LinearGrid(9100.0, 1.0, 300)):
        batch = Rebinner(TARGET, 1800.0)([spectrum(grid, np.ones(grid.n_pix))])
        assert not batch.ivar.any()
    last = Rebinner(TARGET, 1800.0)([spectrum(LogGrid(3.57 - 1699e-4, 1e-4, 1700), np.ones(1700))])
    assert np.flatnonzero(last.ivar[0]).tolist() == [0]


def test_the_matrix_used_longest_ago_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    rebin = Rebinner(TARGET, 1800.0)
    grids = [LinearGrid(4000.0 + 0.3 * i, 1.0, 4000) for i in range(3)]
    spectra = [spectrum(grid, np.ones(4000)) for grid in grids]
    rebin(spectra[:1])
    (size,) = (module._nbytes(rebin._cache.values()),)
    assert size == sum(matrix.nbytes for pair in rebin._cache.values() for matrix in pair)
    monkeypatch.setattr(module, "CACHE_BYTES", 2.2 * size)
    for i in (1, 0, 2):
        rebin([spectra[i]])
    assert [key[0] for key in rebin._cache] == [grids[0], grids[2]]
    monkeypatch.setattr(module, "CACHE_BYTES", 1)
    rebin([spectra[1]])
    assert [key[0] for key in rebin._cache] == [grids[1]]  # the one in use stays


def test_the_grids_range_is_in_the_message() -> None:
    rebin = Rebinner(TARGET, 1800.0)
    (problem,) = rebin.check_coverage(rebin([spectrum(LogGrid(3.6, 1e-4, 150), np.ones(150))]))
    assert problem is not None
    assert problem.detail == "150 good pixels in 3715–8993 Å; at least 200 are needed"
    (fine,) = rebin.check_coverage(rebin([spectrum(LogGrid(3.6, 1e-4, 200), np.ones(200))]))
    assert fine is None
