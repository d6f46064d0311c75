"""HEALPix pixels against astropy-healpix 2.0.1 (its answers are written down, it need not be installed)."""

from __future__ import annotations

import numpy as np
import pytest

from cempstream.schemas.healpix import healpix_nested

REFERENCE = [
    (0.1, 0.1, 1_369_095_419_848_407_993),
    (0.0, 90.0, 288_230_376_151_711_743),
    (0.0, -90.0, 2_305_843_009_213_693_952),
    (45.0, 41.8103, 72_057_594_037_915_395),
    (44.9999, 89.999999, 288_230_376_151_711_692),
    (359.9999999, -0.0001, 1_224_979_098_643_935_234),
    (180.0, -41.9, 3_074_456_623_490_665_002),
    (266.41683, -29.00781, 2_028_740_913_184_699_884),
    (10.68458, 41.26917, 190_633_880_104_029_212),
    (161.284333, 41.396, 389_989_340_443_502_959),
    (270.0, 88.0, 1_152_620_977_070_275_502),
    (123.456, -77.7, 2_605_087_732_468_824_595),
    (200.0, 12.3, 1_871_251_422_857_216_484),
    (83.82208, -5.39111, 1_508_682_038_474_913_486),
    (315.5, -60.2, 3_226_458_779_199_688_398),
    (90.1, -0.3, 1_513_198_930_095_794_107),
]


@pytest.mark.parametrize(("ra", "dec", "pixel"), REFERENCE)
def test_pixels_are_the_known_ones(ra: float, dec: float, pixel: int) -> None:
    assert healpix_nested(ra, dec) == pixel


def test_a_coarser_pixel_is_the_finer_one_shifted() -> None:
    for ra, dec, pixel in REFERENCE:
        for order in (0, 1, 12, 20):
            assert healpix_nested(ra, dec, order) == pixel >> 2 * (29 - order)


def test_the_pixels_have_equal_areas() -> None:
    # 20,000 points spread evenly over the sphere: every one of 48 pixels gets its share within 5 sigma
    rng = np.random.default_rng(1)
    ra = rng.uniform(-360.0, 720.0, 20_000)
    dec = np.degrees(np.arcsin(rng.uniform(-1.0, 1.0, ra.size)))
    pixels = [healpix_nested(a, d, order=1) for a, d in zip(ra, dec, strict=True)]
    counts = np.bincount(pixels, minlength=48)
    assert counts.size == 48
    share = ra.size / 48
    assert np.abs(counts - share).max() < 5 * np.sqrt(share)


@pytest.mark.parametrize("dec", [-90.0, -41.8103149, 0.0, 41.8103149, 90.0])
@pytest.mark.parametrize("ra", [0.0, 90.0, 180.0, 270.0, 359.9999999999999, 360.0])
def test_every_position_has_a_pixel(ra: float, dec: float) -> None:
    assert 0 <= healpix_nested(ra, dec) < 12 * 4**29


def position(face: int, x: float, y: float, n_side: int) -> tuple[float, float]:
    """Return right ascension and declination of a place on a face, by the equations of Górski et al. 2005."""
    ring = (2 + face // 4) * n_side - x - y
    length = min(ring, 4 * n_side - ring, n_side)  # in the caps rings are shorter
    if length < n_side:
        z = (1 - length**2 / (3 * n_side**2)) * (1 if ring < 2 * n_side else -1)
    else:
        z = 2 * (2 * n_side - ring) / (3 * n_side)
    middle = (1, 3, 5, 7, 0, 2, 4, 6, 1, 3, 5, 7)[face]
    return 45.0 * (middle + (x - y) / length), float(np.degrees(np.arcsin(z)))


@pytest.mark.parametrize("order", [0, 1, 3])
def test_every_pixel_holds_what_lies_within_its_edges(order: int) -> None:
    n_side = 1 << order
    for face in range(12):
        for x, y in np.ndindex(n_side, n_side):
            bits = sum(((x >> i & 1) | (y >> i & 1) << 1) << 2 * i for i in range(order))
            for along, up in ((0.5, 0.5), (0.01, 0.01), (0.99, 0.99), (0.01, 0.99), (0.99, 0.01)):
                ra, dec = position(face, x + along, y + up, n_side)
                assert healpix_nested(ra, dec, order) == face * 4**order + bits


def test_a_right_ascension_a_hair_below_zero_is_that_of_zero() -> None:
    """In floating point it is 360° exactly."""
    for dec in (-70.0, 10.0, 70.0):
        assert healpix_nested(-1e-20, dec) == healpix_nested(0.0, dec)
