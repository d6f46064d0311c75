"""The normaliser: blind to what a survey's calibration does, faithful to what a star does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from cempstream.processors.batch import NormalisedBatch, SpectrumBatch
from cempstream.processors.continuum import BLOCK_PIX, Normaliser
from cempstream.processors.grid import Array, LogGrid

GRID = LogGrid(3.57, 1e-4, 3840)
WAVE = GRID.wave
normalise = Normaliser(sigma_pix=96.0)


def batch(flux: Array, ivar: Array | float = 100.0) -> SpectrumBatch:
    flux = np.atleast_2d(flux)
    ivar = np.broadcast_to(ivar, flux.shape)
    return SpectrumBatch(GRID, (flux * (ivar > 0)).astype(np.float32), ivar.astype(np.float32))


def star() -> Array:
    lines = sum(
        0.5 * np.exp(-0.5 * ((WAVE - centre) / 4.0) ** 2) for centre in (3934.8, 4306.0, 4862.7, 6564.6)
    )
    return np.asarray(1.0 - lines)


def test_a_scale_does_not_matter() -> None:
    one, many = normalise(batch(star(), 1e4)), normalise(batch(1e5 * star(), 1e-6))
    np.testing.assert_allclose(one.norm, many.norm, atol=2e-5)
    np.testing.assert_allclose(one.ivar, many.ivar, rtol=2e-4)


@pytest.mark.parametrize("tilt", [-1.5, 1.5])
def test_a_slope_hardly_matters(tilt: float) -> None:
    flat, sloped = normalise(batch(star())), normalise(batch(star() * (WAVE / 5500.0) ** tilt))
    inner = slice(200, -200)
    assert np.abs(flat.norm - sloped.norm)[:, inner].max() < 0.01
    assert np.abs(flat.norm - sloped.norm).max() < 0.05


def test_a_featureless_spectrum_becomes_one() -> None:
    result = normalise(batch(np.full(3840, 42.0)))
    np.testing.assert_allclose(result.norm, 1.0, atol=1e-4)
    np.testing.assert_allclose(result.continuum, 42.0, rtol=1e-4)


def test_the_continuum_is_the_gaussian_mean() -> None:
    flux = star() * (1 + 0.3 * np.sin(WAVE / 300.0))
    pixels = np.arange(3840)
    kernel = np.exp(-0.5 * ((pixels[:, None] - pixels) / 96.0) ** 2)
    expected = (kernel @ flux) / kernel.sum(axis=1)
    inner = slice(BLOCK_PIX, -BLOCK_PIX)  # it is held constant from the last node outwards
    np.testing.assert_allclose(normalise(batch(flux)).continuum[0, inner], expected[inner], rtol=2e-3)


def test_signal_to_noise_is_that_of_the_data() -> None:
    data = batch(5.0 * star(), 4.0)
    result = normalise(data)
    np.testing.assert_allclose(
        result.norm * np.sqrt(result.ivar), data.flux * np.sqrt(data.ivar), rtol=1e-4, atol=1e-3
    )


def test_noise_does_not_bias_the_mean() -> None:
    rng = np.random.default_rng(1)
    truth = star() * 10.0
    noisy = truth + (10.0 / 4.0) * rng.standard_normal((400, 3840))
    result = normalise(batch(noisy, (4.0 / 10.0) ** 2))
    clean = normalise(batch(truth))
    inner = slice(100, -100)
    bias = result.norm[:, inner].mean(axis=0) - clean.norm[0, inner]
    assert abs(bias.mean()) < 0.002
    assert bias.std() < 1.3 * 0.25 / np.sqrt(400)


def test_bad_pixels_carry_no_weight_and_are_one() -> None:
    ivar = np.full(3840, 100.0)
    ivar[500:700] = 0.0
    ivar[::97] = 0.0
    result, whole = normalise(batch(star(), ivar)), normalise(batch(star()))
    bad = ivar == 0
    assert np.all(result.norm[0, bad] == 1.0)
    assert np.all(result.ivar[0, bad] == 0.0)
    away = np.r_[0:200, 1100:3840]
    assert np.abs(result.continuum - whole.continuum)[0, away].max() < 0.01


def test_an_empty_row_stays_finite_and_bad() -> None:
    result = normalise(batch(np.stack([np.zeros(3840), star()]), np.array([[0.0], [1.0]])))
    assert np.isfinite(result.norm).all()
    assert np.isfinite(result.continuum).all()
    assert not result.ivar[0].any()
    assert result.ivar[1].all()


def test_a_spectrum_of_sky_residuals_stays_finite() -> None:
    rng = np.random.default_rng(2)
    result = normalise(batch(rng.standard_normal((20, 3840)) - 0.5, 1.0))
    assert np.isfinite(result.norm).all()
    assert np.isfinite(result.ivar).all()
    assert np.abs(result.norm).max() <= 3.0


def test_a_cosmic_ray_is_taken_out_and_moves_nothing() -> None:
    hit = star()
    hit[2000] = 400.0
    result, clean = normalise(batch(hit)), normalise(batch(star()))
    assert result.ivar[0, 2000] == 0.0
    assert result.norm[0, 2000] == 1.0
    # Without the one pixel the mean differs by a thousandth.
    others = np.delete(np.arange(3840), 2000)
    np.testing.assert_allclose(result.norm[0, others], clean.norm[0, others], atol=2e-3)


def test_signal_to_noise_is_that_of_the_data_beside_a_spike_too() -> None:
    flux = 5.0 * star()
    flux[1000] = 500.0
    data = batch(flux, 4.0)
    result = normalise(data)
    others = np.delete(np.arange(3840), 1000)
    np.testing.assert_allclose(
        (result.norm * np.sqrt(result.ivar))[0, others], (data.flux * 2.0)[0, others], rtol=1e-4
    )
    assert result.continuum[0, 1000] == pytest.approx(
        normalise(batch(5.0 * star())).continuum[0, 1000], rel=2e-3
    )


@pytest.mark.parametrize(
    ("height", "sigma", "is_spike"),
    [(1.45, 1e-3, False), (1.6, 0.08, True), (1.6, 0.12, False), (0.4, 1e-3, False)],
)
def test_a_spike_is_half_above_the_mean_and_six_sigma(height: float, sigma: float, is_spike: bool) -> None:
    flux = np.ones(3840)
    flux[2000] = height
    assert (normalise(batch(flux, sigma**-2)).ivar[0, 2000] == 0) == is_spike


def test_the_continuum_of_a_slope_is_the_slope() -> None:
    """To a tenth of a pixel, where the mean has as much on either side."""
    slope = 1000.0 + np.arange(3840.0)
    inner = slice(500, -500)
    np.testing.assert_allclose(normalise(batch(slope)).continuum[0, inner], slope[inner], atol=0.1)


def test_the_continuum_is_level_at_the_ends() -> None:
    """From the middle of the last block outwards it is the last node's."""
    continuum = normalise(batch(1000.0 + np.arange(3840.0))).continuum[0]
    np.testing.assert_allclose(continuum[:8], continuum[0], rtol=1e-6)
    np.testing.assert_allclose(continuum[-8:], continuum[-1], rtol=1e-6)
    assert continuum[0] > 1050.0
    assert continuum[-1] < 1000.0 + 3789.0


def test_a_mean_below_zero_has_a_floor_and_the_flux_its_bounds() -> None:
    """A fiftieth of the mean size; what is left is cut at -1 and 3."""
    flux = np.where(np.arange(3840) < 1920, 100.0, -100.0)
    result = normalise(batch(flux, 1e-4))
    far = np.r_[2400:3800]
    np.testing.assert_allclose(result.continuum[0, far], 2.0, rtol=0.15)
    assert np.all(result.norm[0, far] == -1.0)
    assert np.all(normalise(batch(np.where(np.arange(3840) % 640 == 9, 50.0, 1.0), 1e-4)).norm <= 3.0)
    high = np.ones(3840)
    high[2000] = 9.0
    assert normalise(batch(high, 1e-4)).norm[0, 2000] == 3.0  # of S/N 0.1: no spike, cut


def test_a_deep_line_is_no_spike() -> None:
    result = normalise(batch(star(), 1e4))
    assert result.ivar.all()
    assert result.norm.min() < 0.6


def test_a_spike_in_one_row_is_no_matter_of_the_others() -> None:
    rows = np.stack([star()] * 40)
    alone = normalise(batch(rows))
    rows[7, 1000] = 300.0
    beside = normalise(batch(rows))
    others = np.delete(np.arange(40), 7)
    np.testing.assert_array_equal(alone.norm[others], beside.norm[others])


def test_a_row_does_not_depend_on_its_batch() -> None:
    rng = np.random.default_rng(3)
    rows = star() + 0.1 * rng.standard_normal((37, 3840))
    many = normalise(batch(rows))
    for row in (0, 16, 36):
        np.testing.assert_allclose(normalise(batch(rows[row])).norm[0], many.norm[row], atol=1e-5)


def test_the_input_is_not_written_to() -> None:
    data = batch(star())
    flux, ivar = data.flux.copy(), data.ivar.copy()
    normalise(data)
    assert np.array_equal(data.flux, flux)
    assert np.array_equal(data.ivar, ivar)


def test_a_grid_of_broken_blocks_is_refused() -> None:
    grid = LogGrid(3.57, 1e-4, 3 * BLOCK_PIX + 1)
    ones = np.ones((1, grid.n_pix), dtype=np.float32)
    with pytest.raises(ValueError, match="a multiple of 16 is needed"):
        normalise(SpectrumBatch(grid, ones, ones))


@pytest.mark.parametrize("wrong", ["flux", "ivar", "norm", "continuum"])
@pytest.mark.parametrize("spoil", [lambda a: a[:, :-1], lambda a: a.astype(np.float64)])
def test_a_batch_whose_arrays_do_not_fit_is_refused(wrong: str, spoil: Callable[[Array], Array]) -> None:
    ones = np.ones((3, GRID.n_pix), dtype=np.float32)
    arrays = {wrong: spoil(ones)}
    said = rf"^'{wrong}' is float(32|64) \(.*; it must be float32 \(3, 3840\)$"
    kind, names = NormalisedBatch, ("norm", "ivar", "continuum")
    if wrong in ("flux", "ivar"):
        kind, names = SpectrumBatch, ("flux", "ivar")  # type: ignore[assignment] # two kinds, one question
    with pytest.raises(ValueError, match=said):
        kind(GRID, **{name: ones for name in names} | arrays)


def test_a_batch_knows_how_many_spectra_it_holds() -> None:
    ones = np.ones((3, GRID.n_pix), dtype=np.float32)
    assert SpectrumBatch(GRID, ones, ones).n_spec == 3
    assert NormalisedBatch(GRID, ones, ones, ones).n_spec == 3
