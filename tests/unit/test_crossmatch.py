"""Stars are found where they are at the alert's epoch, wherever on the sky and however fast."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.time import Time

from cempstream.streams.observing.crossmatch import Crossmatch

BARNARD = (269.452075, 4.693391, -798.58, 10328.12)  #: at 2000.0; 10.4 arcsec/yr


def one(ra: float, dec: float, pmra: float = 0.0, pmdec: float = 0.0, epoch: float = 2000.0) -> Crossmatch:
    return Crossmatch(*(np.array([value]) for value in (ra, dec, pmra, pmdec, epoch)))


def moved(ra: float, dec: float, pmra: float, pmdec: float, years: float) -> SkyCoord:
    star = SkyCoord(
        ra * u.deg,
        dec * u.deg,
        pm_ra_cosdec=pmra * u.mas / u.yr,
        pm_dec=pmdec * u.mas / u.yr,
        distance=10 * u.pc,  # without one, astropy warns
        radial_velocity=0 * u.km / u.s,
        obstime=Time(2000.0, format="jyear", scale="tcb"),
    )
    return star.apply_space_motion(new_obstime=Time(2000.0 + years, format="jyear", scale="tcb"))


@pytest.mark.parametrize("years", [-50.0, 0.0, 26.0])
@pytest.mark.parametrize(
    "star",
    [BARNARD, (0.0001, -0.0001, -900.0, 400.0), (12.0, 89.9995, 3000.0, 4000.0), (5.0, -90.0, 900.0, 0.0)],
)
def test_a_star_is_found_where_its_motion_took_it(
    star: tuple[float, float, float, float], years: float
) -> None:
    there = moved(*star, years)
    rows, separations = one(*star).near(there.ra.deg, there.dec.deg, 2000.0 + years, 1.0)
    assert rows.tolist() == [0]
    assert separations[0] < 0.01


def test_a_fast_star_is_not_found_where_it_was() -> None:
    ra, dec, *_ = BARNARD
    assert one(*BARNARD).near(ra, dec, 2026.0, 5.0)[0].size == 0


def test_separations_are_those_of_astropy_nearest_first() -> None:
    rng = np.random.default_rng(7)
    ra, dec = rng.uniform(0, 360, 20_000), np.degrees(np.arcsin(rng.uniform(-1, 1, 20_000)))
    match = Crossmatch(ra, dec, *np.zeros((2, 20_000)), np.full(20_000, 2016.0))
    stars = SkyCoord(ra * u.deg, dec * u.deg)
    for at_ra, at_dec in [(0.0, 0.0), (359.99, 12.0), (180.0, 89.7), (33.0, -90.0), (77.7, -45.6)]:
        rows, separations = match.near(at_ra, at_dec, 2016.0, 7200.0)
        expected = SkyCoord(at_ra * u.deg, at_dec * u.deg).separation(stars).arcsec
        within = np.flatnonzero(expected <= 7200.0)
        assert within.size > 2
        assert rows.tolist() == within[np.argsort(expected[within])].tolist()
        np.testing.assert_allclose(separations, expected[rows], atol=1e-6)


def test_stars_of_every_speed_are_found_in_one_search() -> None:
    ra, dec = np.full(5, 40.0), np.full(5, -20.0) + np.arange(5) * 2e-4
    pmdec = np.array([0.0, 100.0, 1000.0, 5000.0, 20.0])
    match = Crossmatch(ra, dec - pmdec * 10 / 3.6e6, np.zeros(5), pmdec, np.full(5, 2016.0))
    rows, separations = match.near(40.0, -20.0, 2026.0, 3.0)
    assert rows.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(separations, np.arange(5) * 0.72, atol=1e-3)


def test_every_row_is_moved_from_its_own_epoch() -> None:
    match = Crossmatch(
        np.full(2, 10.0),
        np.array([0.0, 10 / 3600]),
        np.zeros(2),
        np.full(2, 1000.0),
        np.array([2000.0, 2010.0]),
    )
    rows, separations = match.near(10.0, 10 / 3600, 2010.0, 1.0)
    assert sorted(rows.tolist()) == [0, 1]
    np.testing.assert_allclose(separations, 0.0, atol=1e-6)


def test_the_radius_itself_is_within() -> None:
    match = one(10.0, 0.0)
    assert match.near(10.0, 4.999 / 3600, 2000.0, 5.0)[0].size == 1
    assert match.near(10.0, 5.001 / 3600, 2000.0, 5.0)[0].size == 0


def test_a_catalogue_without_stars_finds_none() -> None:
    empty = np.empty(0)
    match = Crossmatch(empty, empty, empty, empty, empty)
    assert match.n_stars == 0
    rows, separations = match.near(10.0, 0.0, 2016.0, 5.0)
    assert (rows.size, separations.size) == (0, 0)
