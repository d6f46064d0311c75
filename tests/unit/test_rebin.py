"""Rebinning: flux, noise, masks and media against what must come out."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime

import numpy as np
import pytest

from cempstream.processors import rebin as rebin_module
from cempstream.processors.banded import BandedMatrix
from cempstream.processors.constants import FWHM_PER_SIGMA
from cempstream.processors.continuum import Normaliser
from cempstream.processors.grid import (
    Array,
    ExplicitGrid,
    LinearGrid,
    LogGrid,
    WavelengthGrid,
    air_to_vacuum,
    vacuum_to_air,
)
from cempstream.processors.rebin import Rebinner, aligned_offset, good_pixels
from cempstream.processors.spectrum import Medium, Reason, Spectrum

TARGET = LogGrid(3.57, 1e-4, 3840)
LAMOST = LogGrid(3.5682, 1e-4, 3908)
DESI = LinearGrid(3600.0, 0.8, 7781)
REDUCED_AT = datetime(2026, 11, 20, tzinfo=UTC)


def spectrum(
    grid: WavelengthGrid,
    flux: Array,
    ivar: Array | None = None,
    *,
    medium: Medium = "vacuum",
    power: float | Array = 1800.0,
    mask: Array | None = None,
) -> Spectrum:
    ivar = np.ones(grid.n_pix) if ivar is None else ivar
    return Spectrum(
        spectrum_id="s",
        survey="test",
        grid=grid,
        flux=flux.astype(np.float32),
        ivar=ivar.astype(np.float32),
        medium=medium,
        resolving_power=power,
        reduced_at=REDUCED_AT,
        mask=mask,
    )


def line(wave: Array, centre_aa: float, sigma_aa: float, depth: float = 0.6) -> Array:
    return np.asarray(1.0 - depth * np.exp(-0.5 * ((wave - centre_aa) / sigma_aa) ** 2))


def moments(wave: Array, flux: Array) -> tuple[float, float, float]:
    """Equivalent width, centre and standard deviation of one absorption line on a level of 1."""
    depth, step = 1.0 - flux.astype(np.float64), np.gradient(wave)
    area = float(np.sum(depth * step))
    centre = float(np.sum(depth * step * wave)) / area
    return area, centre, float(np.sqrt(np.sum(depth * step * (wave - centre) ** 2) / area))


@pytest.mark.parametrize(
    ("grid", "medium", "power"),
    [
        (LAMOST, "vacuum", 1800.0),
        (LAMOST, "air", 1800.0),
        (LogGrid(3.56823, 0.7e-4, 6000), "vacuum", 1800.0),
        (LinearGrid(3650.0, 1.0, 5600), "air", 1500.0),
        (DESI, "vacuum", 3500.0),
        (ExplicitGrid(3600.0 + 0.03 * np.arange(190_000)), "air", 40_000.0),
    ],
)
def test_a_constant_spectrum_stays_constant(grid: WavelengthGrid, medium: Medium, power: float) -> None:
    batch = Rebinner(TARGET, 1800.0)([spectrum(grid, np.full(grid.n_pix, 7.0), medium=medium, power=power)])
    assert np.all(batch.ivar > 0)
    np.testing.assert_allclose(batch.flux, 7.0, rtol=2e-6)


@pytest.mark.parametrize(
    ("grid", "power"), [(LinearGrid(3650.0, 1.0, 5600), 1800.0), (DESI, 1800.0), (DESI, 3500.0)]
)
def test_the_equivalent_width_and_place_of_a_line_are_kept(grid: WavelengthGrid, power: float) -> None:
    flux = line(grid.wave, 5000.3, 3.0)
    batch = Rebinner(TARGET, 1800.0)([spectrum(grid, flux, power=power)])
    area, centre, _ = moments(TARGET.wave, batch.flux[0])
    assert area == pytest.approx(0.6 * 3.0 * np.sqrt(2 * np.pi), rel=2e-3)
    assert centre == pytest.approx(5000.3, abs=0.02)


@pytest.mark.parametrize("power", [3500.0, 5000.0, 40_000.0])
def test_a_sharp_line_is_smoothed_to_the_models_resolution(power: float) -> None:
    grid = LinearGrid(3600.0, 0.2, 31_000)
    flux = line(grid.wave, 5000.0, 5000.0 / power / FWHM_PER_SIGMA)
    batch = Rebinner(TARGET, 1800.0)([spectrum(grid, flux, power=power)])
    _, _, sigma = moments(TARGET.wave, batch.flux[0])
    pixel_aa = 5000.0 * np.log(10) * 1e-4
    # Beside the resolution a pixel's own width is in the result, once where it is smoothed.
    expected = np.hypot(5000.0 / 1800.0 / FWHM_PER_SIGMA, pixel_aa / np.sqrt(12))
    assert sigma == pytest.approx(expected, rel=0.03)


def test_a_blunt_spectrum_is_not_smoothed_further() -> None:
    sigma_aa = 5000.0 / 1000.0 / FWHM_PER_SIGMA
    batch = Rebinner(TARGET, 1800.0)([spectrum(LAMOST, line(LAMOST.wave, 5000.0, sigma_aa), power=1000.0)])
    assert moments(TARGET.wave, batch.flux[0])[2] == pytest.approx(sigma_aa, rel=0.01)


def test_the_resolution_of_each_part_of_the_spectrum_counts() -> None:
    grid = LinearGrid(3600.0, 0.2, 27_000)
    power = np.where(grid.wave < 6300, 1500.0, 9000.0).astype(np.float32)
    flux = line(grid.wave, 4500.0, 2.0) * line(grid.wave, 8000.0, 0.5)
    batch = Rebinner(TARGET, 1800.0)([spectrum(grid, flux, power=power)])
    blue, red = TARGET.wave < 6000, TARGET.wave > 6800
    sigma_blue = moments(TARGET.wave[blue], batch.flux[0, blue])[2]
    sigma_red = moments(TARGET.wave[red], batch.flux[0, red])[2]
    assert sigma_blue == pytest.approx(2.0, rel=0.05)
    assert sigma_red == pytest.approx(8000.0 / 1800.0 / FWHM_PER_SIGMA, rel=0.06)


def test_pixels_that_fall_on_the_models_are_copied_bit_by_bit() -> None:
    rng = np.random.default_rng(1)
    flux, ivar = rng.normal(10, 1, LAMOST.n_pix), rng.uniform(0.5, 2, LAMOST.n_pix)
    batch = Rebinner(TARGET, 1800.0)([spectrum(LAMOST, flux, ivar)])
    assert aligned_offset(LAMOST, TARGET) == -18
    assert np.array_equal(batch.flux[0], flux.astype(np.float32)[18 : 18 + 3840])
    assert np.array_equal(batch.ivar[0], ivar.astype(np.float32)[18 : 18 + 3840])


def test_a_grid_that_starts_later_leaves_the_rest_bad() -> None:
    grid = LogGrid(3.60, 1e-4, 1000)
    batch = Rebinner(TARGET, 1800.0)([spectrum(grid, np.full(1000, 2.0))])
    assert np.flatnonzero(batch.ivar[0]).tolist() == list(range(300, 1300))
    assert not batch.flux[0, :300].any()


@pytest.mark.parametrize("power", [1800.0, 3500.0])
def test_ivar_is_the_noise_that_is_left(power: float) -> None:
    rng = np.random.default_rng(2)
    sigma = np.where(DESI.wave < 6000, 1.0, 3.0)
    rebin = Rebinner(TARGET, 1800.0)
    batch = rebin(
        [
            spectrum(DESI, 50 + sigma * rng.standard_normal(DESI.n_pix), sigma**-2, power=power)
            for _ in range(200)
        ]
    )
    pull = (batch.flux - 50.0) * np.sqrt(batch.ivar)
    for part in (TARGET.wave < 5900, TARGET.wave > 6100):
        assert np.std(pull[:, part]) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(("grid", "power"), [(LAMOST, 1800.0), (DESI, 1800.0), (DESI, 3500.0)])
@pytest.mark.parametrize("junk", [1e9, np.nan, -np.inf])
def test_bad_pixels_carry_no_weight(grid: WavelengthGrid, power: float, junk: float) -> None:
    rng = np.random.default_rng(3)
    flux = rng.normal(20, 1, grid.n_pix)
    bad = rng.random(grid.n_pix) < 0.1
    by_mask = spectrum(grid, np.where(bad, junk, flux), mask=bad.astype(np.uint8), power=power)
    by_ivar = spectrum(grid, np.where(bad, 5.0, flux), np.where(bad, 0.0, 1.0), power=power)
    first, second = Rebinner(TARGET, 1800.0)([by_mask, by_ivar]), Rebinner(TARGET, 1800.0)([by_ivar, by_mask])
    np.testing.assert_allclose(first.flux[0], first.flux[1], rtol=1e-5)
    np.testing.assert_allclose(first.ivar[0], first.ivar[1], rtol=1e-5)
    np.testing.assert_allclose(second.flux[1], first.flux[0], rtol=1e-5)
    good = first.ivar[0] > 0
    assert 0.8 < good.mean() <= 1.0
    assert np.abs(first.flux[0, good] - 20).max() < 7


@pytest.mark.parametrize("grid", [TARGET, DESI], ids=["copied", "resampled"])
@pytest.mark.parametrize("unit", [1e-17, 1e-12, 1e-6, 1e4, 1e6, 1e9, 1e15, 1e17, 1e19])
def test_the_unit_of_the_flux_changes_nothing_but_the_unit(grid: WavelengthGrid, unit: float) -> None:
    rng = np.random.default_rng(9)
    flux = 1.0 + 0.3 * rng.standard_normal(grid.n_pix)
    ivar = rng.uniform(10.0, 400.0, grid.n_pix) * (rng.random(grid.n_pix) > 0.05)
    rebin = Rebinner(TARGET, 1800.0)
    one = rebin([spectrum(grid, flux, ivar)])
    other = rebin([spectrum(grid, flux * unit, ivar / unit**2)])
    assert np.array_equal(other.ivar > 0, one.ivar > 0)
    good = one.ivar > 0
    # The unit may have been changed on the way; signal to noise is without one.
    np.testing.assert_allclose(
        (other.flux * np.sqrt(other.ivar))[good], (one.flux * np.sqrt(one.ivar))[good], rtol=1e-4, atol=1e-4
    )
    ratio = other.flux[good] / one.flux[good]
    np.testing.assert_allclose(ratio, np.median(ratio), rtol=1e-4)


def test_magnitudes_given_as_fluxes_have_no_good_pixel() -> None:
    magnitudes = np.full(DESI.n_pix, -12.0)
    assert not good_pixels(spectrum(DESI, magnitudes)).any()
    assert good_pixels(spectrum(DESI, -magnitudes)).all()


@pytest.mark.parametrize("grid", [TARGET, DESI], ids=["copied", "resampled"])
def test_a_flux_far_below_zero_is_bad_and_noise_about_zero_is_not(grid: WavelengthGrid) -> None:
    rng = np.random.default_rng(10)
    noise = rng.standard_normal(grid.n_pix)  # no star at all, S/N 0
    hole = noise.copy()
    hole[1000:1003] = -np.float32(3e38)
    rebin = Rebinner(TARGET, 1800.0)
    plain, holed = rebin([spectrum(grid, noise)]), rebin([spectrum(grid, hole)])
    assert np.count_nonzero(plain.ivar) == np.count_nonzero(rebin([spectrum(grid, noise + 50.0)]).ivar)
    lost = (plain.ivar > 0) & (holed.ivar == 0)
    assert 1 <= np.count_nonzero(lost) <= 5
    same = (holed.ivar == plain.ivar) & (plain.ivar > 0)
    np.testing.assert_array_equal(holed.flux[same], plain.flux[same])
    assert np.abs(holed.flux).max() < 10


def test_nan_and_negative_ivar_are_bad() -> None:
    ivar = np.ones(LAMOST.n_pix)
    ivar[1000], ivar[1001], ivar[1002] = np.nan, -4.0, np.inf
    batch = Rebinner(TARGET, 1800.0)([spectrum(LAMOST, np.full(LAMOST.n_pix, 3.0), ivar)])
    assert not batch.ivar[0, 982:985].any()
    assert not batch.flux[0, 982:985].any()
    assert batch.ivar[0, 985] == 1.0


@pytest.mark.parametrize(
    ("air_aa", "vacuum_aa"), [(3933.663, 3934.777), (5006.843, 5008.240), (6562.79, 6564.60)]
)
def test_air_and_vacuum_are_the_published_ones(air_aa: float, vacuum_aa: float) -> None:
    assert air_to_vacuum(np.array([air_aa]))[0] == pytest.approx(vacuum_aa, abs=0.01)
    assert vacuum_to_air(np.array([vacuum_aa]))[0] == pytest.approx(air_aa, abs=0.01)


@pytest.mark.parametrize("power", [1500.0, 4000.0])
def test_a_line_in_air_comes_out_in_vacuum(power: float) -> None:
    grid = LinearGrid(3650.0, 0.5, 10_800)
    batch = Rebinner(TARGET, 1800.0)(
        [spectrum(grid, line(grid.wave, 5006.843, 2.5), medium="air", power=power)]
    )
    assert moments(TARGET.wave, batch.flux[0])[1] == pytest.approx(5008.24, abs=0.03)


def test_spectra_of_many_grids_keep_their_order() -> None:
    grids: list[tuple[WavelengthGrid, Medium, float]] = [
        (LAMOST, "vacuum", 1800.0),
        (DESI, "vacuum", 3500.0),
        (LAMOST, "air", 1800.0),
        (DESI, "vacuum", 1800.0),
    ] * 3
    spectra = [
        spectrum(grid, np.full(grid.n_pix, float(i + 1)), medium=medium, power=power)
        for i, (grid, medium, power) in enumerate(grids)
    ]
    batch = Rebinner(TARGET, 1800.0)(spectra)
    np.testing.assert_allclose(batch.flux[:, 2000], np.arange(1, 13), rtol=1e-5)


def test_fibres_of_about_the_same_resolution_share_a_matrix() -> None:
    rng = np.random.default_rng(4)
    trend = np.linspace(2000.0, 5000.0, DESI.n_pix)
    rebin = Rebinner(TARGET, 1800.0)
    spectra = [
        spectrum(DESI, np.ones(DESI.n_pix), power=(trend * rng.normal(1.0, 0.01)).astype(np.float32))
        for _ in range(100)
    ]
    rebin(spectra)
    assert len(rebin._cache) < 30


def test_the_matrices_kept_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 5_000_000
    monkeypatch.setattr(rebin_module, "CACHE_BYTES", limit)
    rebin = Rebinner(TARGET, 1800.0)
    for i in range(12):
        grid = LinearGrid(3600.0 + 0.01 * i, 0.8, 7781)
        batch = rebin([spectrum(grid, np.full(7781, 3.0), power=3500.0)])
        np.testing.assert_allclose(batch.flux, 3.0, rtol=1e-5)
    kept = sum(matrix.nbytes for pair in rebin._cache.values() for matrix in pair)
    assert 0 < kept <= limit


def test_a_banded_matrix_is_the_matrix() -> None:
    rng = np.random.default_rng(5)
    rows = rng.integers(0, 100, 4000)
    columns = np.clip(2 * rows + rng.integers(-9, 9, 4000), 0, 199)
    weight = rng.normal(size=4000).astype(np.float32)
    rows, columns, weight = (array[rows != 70] for array in (rows, columns, weight))
    dense = np.zeros((100, 200))
    np.add.at(dense, (rows, columns), weight)
    values = rng.normal(size=(7, 200)).astype(np.float32)
    matrix = BandedMatrix(rows, columns, weight, (100, 200))
    np.testing.assert_allclose(matrix(values), values @ dense.T, atol=1e-4)
    np.testing.assert_allclose(matrix.squared()(values), values @ (dense**2).T, atol=1e-3)


def test_the_input_is_not_written_to() -> None:
    flux = np.full(LAMOST.n_pix, np.nan, dtype=np.float32)
    flux.flags.writeable = False
    Rebinner(TARGET, 1800.0)([spectrum(LAMOST, flux)])
    assert np.isnan(flux).all()


def test_a_spectrum_with_too_few_pixels_on_the_grid_is_named() -> None:
    rebin = Rebinner(TARGET, 1800.0, min_pixels=200)
    wide, narrow = LAMOST, LogGrid(3.60, 1e-4, 199)
    batch = rebin([spectrum(wide, np.ones(wide.n_pix)), spectrum(narrow, np.ones(199))])
    fine, problem = rebin.check_coverage(batch)
    assert fine is None
    assert problem is not None
    assert problem.reason is Reason.LOW_COVERAGE
    assert "199 good pixels" in problem.detail


def test_a_spike_beyond_all_numbers_leaves_the_rest_as_it_is() -> None:
    rebin, normalise = Rebinner(TARGET, 1800.0), Normaliser(96.0)
    flux = line(LAMOST.wave, 4862.7, 5.0)
    clean = normalise(rebin([spectrum(LAMOST, flux, np.full(LAMOST.n_pix, 2500.0))]))
    flux[::500] = 3e38
    spiked = normalise(rebin([spectrum(LAMOST, flux, np.full(LAMOST.n_pix, 2500.0))]))
    kept = spiked.ivar[0] > 0
    assert np.count_nonzero(~kept & (clean.ivar[0] > 0)) == 7  # of eight, one lies beyond the grid
    np.testing.assert_allclose(spiked.norm[0, kept], clean.norm[0, kept], atol=2e-3)


@pytest.mark.parametrize("grid", [LAMOST, DESI])
def test_no_value_of_float32_makes_another_than_a_number(grid: WavelengthGrid) -> None:
    rng = np.random.default_rng(7)
    odd = np.array([0, 1, 3.4e38, -3.4e38, 1e-38, 1e-45, np.nan, np.inf, -np.inf], dtype=np.float32)
    spectra = [
        spectrum(grid, rng.choice(odd, grid.n_pix), rng.choice(odd, grid.n_pix), power=power)
        for power in (1800.0, 1800.0, 1800.0, 5000.0)
    ]
    batch = Rebinner(TARGET, 1800.0)(spectra)
    normalised = Normaliser(96.0)(batch)
    for array in (batch.flux, batch.ivar, normalised.norm, normalised.ivar):
        assert np.isfinite(array).all()


@pytest.mark.parametrize("power", [1800.0, 7500.0])
def test_nothing_is_drawn_across_a_gap_between_two_arms(power: float) -> None:
    step = 1e-4 if power < 2000 else 2e-5
    arms = [np.arange(np.log10(low), np.log10(high), step) for low, high in ((4950, 5350), (6300, 6800))]
    wave = 10 ** np.concatenate(arms)
    batch = Rebinner(TARGET, 1800.0)([spectrum(ExplicitGrid(wave), np.ones(wave.size), power=power)])
    good = TARGET.wave[batch.ivar[0] > 0]
    assert not np.any((good > 5352) & (good < 6298))
    for low, high in ((4950, 5350), (6300, 6800)):
        inside = np.count_nonzero((TARGET.wave > low) & (TARGET.wave < high))
        assert np.count_nonzero((good > low - 2) & (good < high + 2)) == pytest.approx(inside, abs=2)


def test_orders_that_interleave_are_no_gaps() -> None:
    wave = np.sort(np.concatenate([np.arange(4000.0, 6000.0, 0.05), np.arange(4000.013, 6000.0, 0.05)]))
    batch = Rebinner(TARGET, 1800.0)([spectrum(ExplicitGrid(wave), np.ones(wave.size), power=40_000.0)])
    inside = (TARGET.wave > 4005) & (TARGET.wave < 5995)
    assert np.all(batch.ivar[0][inside] > 0)


def test_pixels_crammed_under_one_of_the_models_take_little_memory() -> None:
    wave = np.concatenate([np.linspace(4000.0, 4000.5, 100_000), np.linspace(4001.0, 9000.0, 5_000)])
    crammed = spectrum(ExplicitGrid(wave), np.ones(wave.size), power=50_000.0)
    tracemalloc.start()
    batch = Rebinner(TARGET, 1800.0)([crammed])
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.count_nonzero(batch.ivar[0]) > 2000
    assert peak_bytes < 400e6


def test_pixels_that_drift_away_from_the_models_are_resampled() -> None:
    """A step off by nine parts in a million is nothing over a thousand pixels, and much over ten thousand."""
    step = TARGET.log10_step + 9e-10
    start = TARGET.log10_start + 7 * TARGET.log10_step
    assert aligned_offset(LogGrid(start, step, 1000), TARGET) == 7
    assert aligned_offset(LogGrid(start, step, 10_000), TARGET) is None
    assert aligned_offset(LogGrid(start + 0.1 * TARGET.log10_step, step, 1000), TARGET) is None


def test_a_gap_has_an_empty_pixel_at_both_ends() -> None:
    pixels = np.array([0.0, 1.0, 2.0, 10.0, 11.0, 12.0, 30.0, 31.0, 32.0])
    filled, place = rebin_module._with_gaps(pixels, 1.0)
    assert filled.tolist() == [0, 1, 2, 3, 9, 10, 11, 12, 13, 29, 30, 31, 32]
    assert place is not None
    assert place.tolist() == [0, 1, 2, -1, -1, 3, 4, 5, -1, -1, 6, 7, 8]
    assert rebin_module._with_gaps(pixels[:3], 1.0)[1] is None
