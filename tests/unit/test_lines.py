"""Line indices against Gaussians whose integrals are known."""

from __future__ import annotations

import numpy as np
import pytest

from cempstream.processors.bands import CEMP_BANDS, Band
from cempstream.processors.batch import NormalisedBatch
from cempstream.processors.grid import Array, LogGrid
from cempstream.processors.lines import LineIndices, LineMeter

GRID = LogGrid(3.57, 1e-4, 3840)
WAVE = GRID.wave

EW = Band("ew", "ew", (4960.0, 5040.0), ((4900.0, 4940.0), (5060.0, 5100.0)), "vacuum")
MAG = Band("mag", "mag", (4960.0, 5040.0), ((4900.0, 4940.0), (5060.0, 5100.0)), "vacuum")
RATIO = Band("ratio", "ratio", (4960.0, 5040.0), ((4900.0, 4940.0), (5060.0, 5100.0)), "vacuum")
COLOUR = Band("colour", "colour", (4960.0, 5040.0), ((4900.0, 4940.0),), "vacuum")
BANDS = (EW, MAG, RATIO, COLOUR)


def batch(flux: Array, ivar: Array | float = 1e4, continuum: Array | float = 1.0) -> NormalisedBatch:
    """Return a batch whose flux, continuum included, is the given one."""
    flux = np.atleast_2d(flux)
    level = np.broadcast_to(continuum, flux.shape).astype(np.float32)
    ivar = np.broadcast_to(ivar, flux.shape)
    norm = np.where(ivar > 0, flux / level, 1.0)
    return NormalisedBatch(GRID, norm.astype(np.float32), ivar.astype(np.float32), level.copy())


def gaussian(depth: float = 0.5, sigma_aa: float = 6.0) -> Array:
    return np.asarray(1.0 - depth * np.exp(-0.5 * ((WAVE - 5000.0) / sigma_aa) ** 2))


def column(indices: LineIndices, name: str) -> Array:
    return np.asarray(indices.value[:, indices.names.index(name)])


def test_the_equivalent_width_of_a_gaussian_is_its_integral() -> None:
    indices = LineMeter(GRID, BANDS)(batch(np.stack([gaussian(0.5), gaussian(0.1)])))
    expected = np.array([0.5, 0.1]) * 6.0 * np.sqrt(2 * np.pi)
    np.testing.assert_allclose(column(indices, "ew"), expected, rtol=2e-3)
    np.testing.assert_allclose(column(indices, "mag"), -2.5 * np.log10(1 - expected / 80.0), rtol=2e-3)
    np.testing.assert_allclose(column(indices, "ratio"), 1 - expected / 80.0, rtol=1e-4)
    np.testing.assert_allclose(column(indices, "colour"), -2.5 * np.log10(1 - expected / 80.0), rtol=2e-3)


def test_a_straight_continuum_does_not_change_the_width() -> None:
    slope = 1.0 + (WAVE - 5000.0) / 400.0
    meter = LineMeter(GRID, BANDS)
    flat, sloped = meter(batch(gaussian())), meter(batch(gaussian() * slope))
    np.testing.assert_allclose(column(sloped, "ew"), column(flat, "ew"), rtol=1e-3)
    # The same with the slope in the continuum that was divided out.
    again = meter(batch(gaussian() * slope, continuum=slope.clip(0.05)))
    np.testing.assert_allclose(column(again, "ew"), column(flat, "ew"), rtol=1e-3)


def test_the_scale_of_the_flux_does_not_matter() -> None:
    meter = LineMeter(GRID, CEMP_BANDS)
    rng = np.random.default_rng(1)
    norm = gaussian() + 0.02 * rng.standard_normal(3840)
    small, large = meter(batch(norm, 2500.0)), meter(batch(norm * 3e4, 2500.0, 3e4))
    np.testing.assert_allclose(small.value, large.value, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(small.error, large.error, rtol=1e-3)
    # Nor does it where the noise is larger than the flux: the error grows with it, and nothing else changes.
    noisy = meter(batch(norm, 0.25))
    np.testing.assert_allclose(noisy.value, small.value, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(noisy.error, 100 * small.error, rtol=1e-3)


@pytest.mark.parametrize("name", ["ew", "mag", "ratio", "colour"])
def test_the_error_is_the_scatter(name: str) -> None:
    rng = np.random.default_rng(2)
    noisy = gaussian() + 0.05 * rng.standard_normal((400, 3840))
    indices = LineMeter(GRID, BANDS)(batch(noisy, 400.0))
    error = indices.error[:, indices.names.index(name)]
    assert np.median(error) == pytest.approx(column(indices, name).std(), rel=0.12)


def test_bad_pixels_carry_no_weight() -> None:
    rng = np.random.default_rng(3)
    bad = rng.random(3840) < 0.2
    flux = np.where(bad, 50.0, 1.0)
    indices = LineMeter(GRID, BANDS)(batch(flux, np.where(bad, 0.0, 100.0)))
    np.testing.assert_allclose(column(indices, "ew"), 0.0, atol=1e-4)
    np.testing.assert_allclose(column(indices, "ratio"), 1.0, atol=1e-5)


def test_an_index_without_half_of_a_window_is_nan_and_alone() -> None:
    ivar = np.full((2, 3840), 100.0)
    ivar[0, (WAVE > 4895) & (WAVE < 4925)] = 0.0
    narrow = Band("narrow", "ew", (5110.0, 5130.0), ((5060.0, 5100.0), (5140.0, 5160.0)), "vacuum")
    indices = LineMeter(GRID, (*BANDS, narrow))(batch(np.stack([gaussian()] * 2), ivar))
    for name in ("ew", "mag", "ratio", "colour"):
        assert np.isnan(column(indices, name)).tolist() == [True, False]
    assert np.isfinite(column(indices, "narrow")).all()
    assert np.isnan(indices.error[0, :4]).all()


def test_a_row_without_light_is_nan_and_says_nothing_of_others() -> None:
    meter = LineMeter(GRID, BANDS)
    rows = np.stack([gaussian(), np.zeros(3840), -gaussian()])
    ivar = np.array([[100.0], [0.0], [100.0]])
    indices = meter(batch(rows, ivar))
    np.testing.assert_allclose(indices.value[0], meter(batch(gaussian(), 100.0)).value[0], rtol=1e-4)
    assert np.isnan(indices.value[1]).all()
    assert np.isnan(column(indices, "ew")[2])


def test_a_band_off_the_grid_is_nan() -> None:
    beyond = Band("beyond", "ew", (9100.0, 9150.0), ((9050.0, 9080.0), (9200.0, 9230.0)), "vacuum")
    indices = LineMeter(GRID, (EW, beyond))(batch(gaussian()))
    assert np.isnan(column(indices, "beyond")).all()
    assert np.isfinite(column(indices, "ew")).all()


def test_windows_in_air_are_put_in_vacuum() -> None:
    in_air = Band("a", "ew", (4998.605, 5003.605), ((4900.0, 4940.0), (5060.0, 5100.0)))
    assert in_air.vacuum().window == pytest.approx((5000.0, 5005.0), abs=0.01)


@pytest.mark.parametrize(
    ("depth", "sigma_aa", "wanted"), [(0.25, 1.0, "k6"), (0.8, 1.6, "k12"), (0.95, 5.0, "k18")]
)
def test_kp_takes_the_band_that_holds_the_line(depth: float, sigma_aa: float, wanted: str) -> None:
    flux = 1.0 - depth * np.exp(-0.5 * ((WAVE - 3934.777) / sigma_aa) ** 2)
    indices = LineMeter(GRID, CEMP_BANDS)(batch(flux))
    np.testing.assert_array_equal(column(indices, "kp"), column(indices, wanted))


def test_every_published_band_is_measured_on_a_whole_spectrum() -> None:
    indices = LineMeter(GRID, CEMP_BANDS)(batch(np.ones(3840)))
    names = [name for name in indices.names if not np.isfinite(column(indices, name)).all()]
    assert names == []
    for band in CEMP_BANDS:
        expected = 1.0 if band.kind == "ratio" else 0.0
        np.testing.assert_allclose(column(indices, band.name), expected, atol=2e-3)


def test_a_row_does_not_depend_on_its_batch() -> None:
    rng = np.random.default_rng(4)
    rows = gaussian() + 0.05 * rng.standard_normal((37, 3840))
    meter = LineMeter(GRID, CEMP_BANDS)
    many = meter(batch(rows, 400.0))
    for row in (0, 16, 36):
        alone = meter(batch(rows[row], 400.0))
        np.testing.assert_allclose(alone.value[0], many.value[row], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("side", [0, 1])
def test_a_line_through_a_sideband_below_zero_is_no_continuum(side: int) -> None:
    flux = np.ones((2, 3840))
    low, high = EW.sides[side]
    flux[0, np.abs(WAVE - 0.5 * (low + high)) < 0.5 * (high - low)] = -0.2
    indices = LineMeter(GRID, BANDS)(batch(flux))
    for name in ("ew", "mag"):
        assert np.isnan(column(indices, name)).tolist() == [True, False]
    assert np.isfinite(column(indices, "ratio")).all()  # against the mean of both, which is positive
