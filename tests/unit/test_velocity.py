"""Velocities: what was put in comes out, with an error that says how well."""

from __future__ import annotations

import numpy as np
import pytest

from cempstream.processors.batch import NormalisedBatch
from cempstream.processors.constants import LIGHT_KMS
from cempstream.processors.grid import Array, LogGrid
from cempstream.processors.velocity import VelocityFinder, _weigh, shift_to_rest

GRID = LogGrid(3.57, 1e-4, 3840)
WAVE = GRID.wave
PIXEL_KMS = LIGHT_KMS * np.log(10) * 1e-4

HOT = (
    (3890.2, 8, 0.4),
    (3971.2, 8, 0.5),
    (4102.9, 8, 0.6),
    (4341.7, 8, 0.6),
    (4862.7, 8, 0.6),
    (6564.6, 7, 0.5),
)
COOL = (
    (3934.8, 6, 0.6),
    (3969.6, 6, 0.6),
    (4306.0, 9, 0.4),
    (5175.3, 7, 0.4),
    (5270.0, 2, 0.3),
    (5893.6, 2, 0.4),
    (8500.4, 3, 0.3),
    (8544.4, 3, 0.4),
    (8664.5, 3, 0.4),
)


def star(lines: tuple[tuple[float, float, float], ...], rv_kms: float = 0.0) -> Array:
    rest = WAVE / (1 + rv_kms / LIGHT_KMS)
    flux = np.ones_like(rest)
    for centre, sigma, depth in lines:
        flux *= 1 - depth * np.exp(-0.5 * ((rest - centre) / sigma) ** 2)
    return flux


def batch(norm: Array, ivar: Array | float) -> NormalisedBatch:
    norm = np.atleast_2d(norm)
    ivar = np.broadcast_to(ivar, norm.shape)
    norm = np.where(ivar > 0, norm, 1.0).astype(np.float32)
    return NormalisedBatch(GRID, norm, ivar.astype(np.float32), np.full_like(norm, 5.0))


@pytest.fixture(scope="module")
def finder() -> VelocityFinder:
    return VelocityFinder(GRID, np.stack([star(HOT), star(COOL)]))


@pytest.mark.parametrize("lines", [HOT, COOL])
def test_a_velocity_is_recovered(
    finder: VelocityFinder, lines: tuple[tuple[float, float, float], ...]
) -> None:
    rv = np.array([-950.0, -400.0, -133.3, -20.0, 0.0, 7.0, 34.5, 69.0, 210.0, 480.0, 930.0])
    found = finder(batch(np.stack([star(lines, v) for v in rv]), 50.0**2))
    assert found.is_certain.all()
    np.testing.assert_allclose(found.rv_kms, rv, atol=0.08 * PIXEL_KMS)


def test_the_error_is_the_scatter(finder: VelocityFinder) -> None:
    rng = np.random.default_rng(1)
    rv = rng.uniform(-300, 300, 150)
    norm = np.stack([star(COOL, v) for v in rv]) + 0.12 * rng.standard_normal((150, 3840))
    found = finder(batch(norm, 0.12**-2))
    pull = (found.rv_kms - rv) / found.error_kms
    assert found.is_certain.mean() > 0.99
    assert 0.8 < pull.std() < 1.2
    assert abs(pull.mean()) < 0.3


def test_noise_has_no_velocity(finder: VelocityFinder) -> None:
    rng = np.random.default_rng(2)
    found = finder(batch(1 + 0.2 * rng.standard_normal((60, 3840)), 25.0))
    assert found.is_certain.mean() < 0.05
    assert np.isfinite(found.rv_kms).all()
    assert np.isfinite(found.error_kms).all()


def test_bad_pixels_carry_no_weight(finder: VelocityFinder) -> None:
    rng = np.random.default_rng(3)
    ivar = np.where(rng.random((1, 3840)) < 0.3, 0.0, 2500.0)
    found = finder(batch(star(COOL, 100.0), ivar))
    assert found.is_certain.all()
    np.testing.assert_allclose(found.rv_kms, 100.0, atol=0.1 * PIXEL_KMS)


def test_an_empty_row_is_uncertain_and_finite(finder: VelocityFinder) -> None:
    found = finder(batch(np.ones(3840), 0.0))
    assert not found.is_certain.any()
    assert np.isfinite(found.rv_kms).all()


def test_a_row_does_not_depend_on_its_batch(finder: VelocityFinder) -> None:
    rng = np.random.default_rng(4)
    norm = np.stack([star(COOL, v) for v in np.linspace(-400, 400, 37)]) + 0.03 * rng.standard_normal(
        (37, 3840)
    )
    many = finder(batch(norm, 900.0))
    for row in (0, 16, 36):
        alone = finder(batch(norm[row], 900.0))
        np.testing.assert_allclose(alone.rv_kms[0], many.rv_kms[row], atol=0.01)


@pytest.mark.parametrize("rv_kms", [-633.0, -69.0, 12.3, 345.6])
def test_the_rest_frame_is_the_rest_frame(rv_kms: float) -> None:
    rest = shift_to_rest(batch(star(HOT, rv_kms), 100.0), np.array([rv_kms]))
    inner = slice(100, -100)
    np.testing.assert_allclose(rest.norm[0, inner], star(HOT)[inner], atol=0.01)
    np.testing.assert_allclose(rest.ivar[0, inner], 100.0, rtol=1e-5)
    np.testing.assert_allclose(rest.continuum[0, inner], 5.0, rtol=1e-5)


def test_no_velocity_changes_nothing() -> None:
    rng = np.random.default_rng(5)
    data = batch(1 + 0.1 * rng.standard_normal((3, 3840)), np.where(rng.random((3, 3840)) < 0.1, 0.0, 100.0))
    rest = shift_to_rest(data, np.zeros(3))
    np.testing.assert_array_equal(rest.ivar, data.ivar)
    np.testing.assert_allclose(rest.norm, data.norm, atol=1e-6)
    np.testing.assert_array_equal(rest.continuum, data.continuum)


def test_rows_move_by_their_own_velocity() -> None:
    rv = np.linspace(-900, 900, 41)
    rest = shift_to_rest(batch(np.stack([star(HOT, v) for v in rv]), 100.0), rv)
    inner = slice(100, -100)
    np.testing.assert_allclose(rest.norm[:, inner], np.tile(star(HOT)[inner], (41, 1)), atol=0.01)


def test_what_lies_beyond_the_grid_is_bad() -> None:
    shift = 12.0 * PIXEL_KMS
    rest = shift_to_rest(batch(np.full((2, 3840), 0.5), 9.0), np.array([shift, -shift]))
    away, near = np.flatnonzero(rest.ivar[0] == 0), np.flatnonzero(rest.ivar[1] == 0)
    assert away.min() >= 3840 - 13
    assert near.max() <= 12
    assert 11 <= away.size <= 13
    assert 11 <= near.size <= 13
    assert np.all(rest.norm[rest.ivar == 0] == 1.0)


def test_a_bad_pixel_spoils_its_neighbours_unless_it_hardly_counts() -> None:
    ivar = np.full(3840, 100.0)
    ivar[2000] = 0.0
    n_bad = {}
    for part in (0.0, 0.02, 0.5, 0.98):
        shift = LIGHT_KMS * (10 ** (part * 1e-4) - 1)
        rest = shift_to_rest(batch(np.full(3840, 0.7), ivar), np.array([shift]))
        n_bad[part] = int(np.count_nonzero(rest.ivar[0, 1900:2100] == 0))
        good = rest.ivar[0] > 0
        assert np.abs(rest.norm[0, good] - 0.7).max() < 0.02
    assert n_bad == {0.0: 1, 0.02: 1, 0.5: 2, 0.98: 1}


@pytest.mark.parametrize("rv_kms", [-1800.0, -300.0, 0.0, 900.0, 1700.0])
def test_at_r_200_a_wrong_zero_point_of_several_pixels_is_found(rv_kms: float) -> None:
    grid = LogGrid(3.57, 4e-4, 1024)
    pixel_kms = 4 * PIXEL_KMS
    broad = tuple((centre, 9.0, 0.25) for centre, _, _ in COOL)

    def seen(rv: float) -> Array:
        rest = grid.wave / (1 + rv / LIGHT_KMS)
        return np.asarray(
            np.prod([1 - d * np.exp(-0.5 * ((rest - c) / s) ** 2) for c, s, d in broad], axis=0)
        )

    noisy = seen(rv_kms) + 0.02 * np.random.default_rng(6).standard_normal((50, grid.n_pix))
    ivar = np.full_like(noisy, 2500.0, dtype=np.float32)
    found = VelocityFinder(grid, seen(0.0)[None])(
        NormalisedBatch(grid, noisy.astype(np.float32), ivar, np.ones_like(ivar))
    )
    assert np.abs(found.rv_kms - rv_kms).max() < 0.5 * pixel_kms
    assert found.is_certain.all()


def test_templates_are_accurate_to_three_percent() -> None:
    """The weight is that of the noise and of the template's error together."""
    sigma = np.array([0.0, 0.3, 0.03, 1e-4])
    ivar = np.where(sigma > 0, np.maximum(sigma, 1e-9) ** -2.0, 0.0)
    data = batch(np.repeat(0.6, 3840), np.resize(ivar, 3840))
    weight, product = _weigh(data)
    expected = np.where(ivar > 0, 1 / (sigma**2 + 0.03**2), 0.0)
    np.testing.assert_allclose(weight[0, :4], expected, rtol=1e-5)
    np.testing.assert_allclose(product[0, :4], -0.4 * expected, rtol=1e-5)


def one_line(rv_kms: float = 0.0, sigma_pix: float = 1.5) -> Array:
    shift = np.log10(1 + rv_kms / LIGHT_KMS) / 1e-4
    return np.asarray(1 - 0.5 * np.exp(-0.5 * ((np.arange(3840) - 1920.0 - shift) / sigma_pix) ** 2))


@pytest.mark.parametrize(("gain", "is_certain"), [(9.0, False), (13.0, False), (20.0, True), (30.0, True)])
def test_a_velocity_is_certain_by_sixteen_of_chi2(gain: float, is_certain: bool) -> None:
    """One line without noise: chi² falls by the sum of its squared depth over the variance."""
    norm = one_line()
    ivar = gain / np.sum((norm - 1) ** 2)
    ivar /= 1 - 0.03**2 * ivar  # the template's error beside it
    found = VelocityFinder(GRID, norm[None])(batch(norm, ivar))
    assert bool(found.is_certain[0]) == is_certain


@pytest.mark.parametrize("sign", [-1, 1])
def test_velocities_up_to_1000_are_certain(sign: int) -> None:
    finder = VelocityFinder(GRID, one_line()[None])
    rv = sign * np.array([1000.0, 1100.0, 1400.0])  # the second is found at the last lag of all
    found = finder(batch(np.stack([one_line(v) for v in rv]), 1e4))
    assert found.is_certain.tolist() == [True, False, False]
    assert found.rv_kms[0] == pytest.approx(rv[0], abs=0.1 * PIXEL_KMS)
    assert abs(found.rv_kms[2]) < 1400


def test_the_error_of_one_line_is_that_of_its_slope() -> None:
    """Of a known line the place has variance 1 / Σ w (dt/dx)²; and no better than 0.07 pixel."""
    norm = one_line(sigma_pix=4.0)
    slope2 = np.sum(np.gradient(norm) ** 2)
    ivar = np.array([[100.0], [400.0], [1e9]])
    found = VelocityFinder(GRID, norm[None])(batch(np.repeat(norm[None], 3, axis=0), ivar))
    weight = 1 / (1 / ivar[:, 0] + 0.03**2)
    expected = np.sqrt(1 / (weight * slope2) + 0.07**2) * PIXEL_KMS
    np.testing.assert_allclose(found.error_kms, expected, rtol=0.06)


def test_a_spectrum_without_light_has_no_small_error(finder: VelocityFinder) -> None:
    found = finder(batch(np.ones(3840), 0.0))
    assert found.error_kms[0] == pytest.approx(10 * PIXEL_KMS, rel=1e-3)  # the largest that is given


@pytest.mark.parametrize(
    ("part", "bad"),
    [(0.04, [1000]), (0.06, [999, 1000]), (0.5, [999, 1000]), (0.94, [999, 1000]), (0.96, [999])],
)
def test_a_pixel_is_good_where_95_percent_of_it_are(part: float, bad: list[int]) -> None:
    """Pixel i of the result lies between i and i + 1; here pixel 1000 is bad."""
    ivar = np.full(3840, 100.0)
    ivar[1000] = 0.0
    rest = shift_to_rest(batch(np.full(3840, 0.7), ivar), np.array([LIGHT_KMS * (10 ** (part * 1e-4) - 1)]))
    assert np.flatnonzero(rest.ivar[0, :3800] == 0).tolist() == bad


@pytest.mark.parametrize(("part", "moved"), [(0.45, 0), (0.55, 1), (3.45, 3), (-2.45, -2), (-2.55, -3)])
def test_the_continuum_is_the_nearest_pixels(part: float, moved: int) -> None:
    data = batch(np.full(3840, 0.7), 100.0)
    data = NormalisedBatch(GRID, data.norm, data.ivar, np.arange(3840, dtype=np.float32)[None])
    rest = shift_to_rest(data, np.array([LIGHT_KMS * (10 ** (part * 1e-4) - 1)]))
    assert rest.continuum[0, 1000:1003].tolist() == [1000 + moved, 1001 + moved, 1002 + moved]


def test_flux_and_noise_are_interpolated_alike() -> None:
    ramp = np.arange(3840) / 10_000.0
    data = batch(ramp, 50.0 + np.arange(3840))
    rest = shift_to_rest(data, np.array([LIGHT_KMS * (10 ** (2.3 * 1e-4) - 1)]))
    np.testing.assert_allclose(rest.norm[0, 100:3700], ramp[100:3700] + 2.3e-4, atol=1e-6)
    np.testing.assert_allclose(rest.ivar[0, 100:3700], 52.3 + np.arange(100, 3700), rtol=1e-5)
