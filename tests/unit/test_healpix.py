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
