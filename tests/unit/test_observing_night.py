"""The dark hours of a night, airmass and Moon: against astropy and what is known of the sky."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord, get_body
from astropy.time import Time
from astropy.utils import iers

from cempstream.streams.observing.night import NoNight, airmass, from_now, look, plan_night
from cempstream.streams.observing.sites import parse_site

LA_PALMA = parse_site("La Palma")
PLACE = EarthLocation.from_geodetic(-17.8816 * u.deg, 28.7606 * u.deg, 2326 * u.m)
WINTER = date(2026, 1, 10)


def sun_altitude(moment: datetime) -> float:
    with iers.conf.set_temp("auto_download", False):
        when = Time(moment)
        return float(get_body("sun", when, PLACE).transform_to(AltAz(obstime=when, location=PLACE)).alt.deg)


@pytest.mark.parametrize("twilight_deg", [-18.0, -12.0])
def test_the_sun_stands_at_the_twilight_when_it_begins_and_ends(twilight_deg: float) -> None:
    night = plan_night(LA_PALMA, WINTER, 24.0, twilight_deg=twilight_deg)
    # Whole minutes within the dark: the Sun moves 0.25° in one at most.
    for edge in (night.dark_from, night.dark_until):
        assert twilight_deg - 0.3 < sun_altitude(edge) <= twilight_deg + 0.01
    assert night.dark_from.date() == WINTER
    assert night.dark_until.date() == WINTER + timedelta(days=1)


def test_the_hours_are_those_asked_for_or_those_of_the_night() -> None:
    four = plan_night(LA_PALMA, WINTER, 4.0)
    assert (four.n_slot, four.hours) == (48, 4.0)
    assert four.begin == four.dark_from
    assert four.end == four.begin + timedelta(hours=4)
    assert four.middle_unix_s[0] == four.begin.timestamp() + 150.0
    whole = plan_night(LA_PALMA, WINTER, 24.0)
    assert whole.dark_until - timedelta(minutes=5) < whole.end <= whole.dark_until


def test_a_time_of_day_is_the_one_in_this_night() -> None:
    evening = plan_night(LA_PALMA, WINTER, 2.0, begin=time(23, 30))
    assert evening.begin == datetime(2026, 1, 10, 23, 30, tzinfo=UTC)
    morning = plan_night(LA_PALMA, WINTER, 2.0, begin=time(3, 0))
    assert morning.begin == datetime(2026, 1, 11, 3, 0, tzinfo=UTC)
    assert plan_night(LA_PALMA, WINTER, 2.0, begin=datetime(2026, 1, 11, 3)).begin == morning.begin
    with pytest.raises(NoNight, match="12:00 UTC is not in the dark at La Palma"):
        plan_night(LA_PALMA, WINTER, 2.0, begin=time(12, 0))


def test_the_night_of_a_date_begins_in_its_evening_all_over_the_earth() -> None:
    for name in ("Mauna Kea", "Paranal", "Xinglong", "Siding Spring"):
        site = parse_site(name)
        night = plan_night(site, WINTER, 24.0)
        middle = night.dark_from + (night.dark_until - night.dark_from) / 2
        local = middle + timedelta(hours=site.lon_deg / 15.0)
        midnight = datetime(2026, 1, 11, tzinfo=UTC)
        assert abs(local - midnight) < timedelta(minutes=30), name


def test_a_pole_in_summer_has_no_night_and_in_winter_nothing_else() -> None:
    with pytest.raises(NoNight, match=r"no dark hours at Dome C: the Sun comes down to 8\.\d°"):
        plan_night(parse_site("Dome C"), date(2026, 1, 1), 4.0)
    pole = plan_night(parse_site("-89.9,0"), date(2026, 6, 21), 30.0)
    assert pole.hours == 24.0
    with pytest.raises(NoNight, match="less than one slot"):
        plan_night(LA_PALMA, WINTER, 0.05)


def test_far_years_need_no_tables_from_the_network() -> None:
    night = plan_night(LA_PALMA, date(2049, 5, 1), 2.0)
    view = look(night, np.array([200.0]), np.array([20.0]))
    assert np.isfinite(view.altitude_deg).all()


def test_altitudes_and_distances_are_those_of_astropy() -> None:
    night = plan_night(LA_PALMA, WINTER, 6.0)
    ra, dec = np.array([80.0, 150.0, 10.0]), np.array([28.0, -5.0, 85.0])
    view = look(night, ra, dec)
    assert view.altitude_deg.shape == (3, night.n_slot)
    with iers.conf.set_temp("auto_download", False):
        when = Time(night.middle_unix_s[30], format="unix")
        stars = SkyCoord(ra * u.deg, dec * u.deg)
        frame = AltAz(obstime=when, location=PLACE)
        moon = get_body("moon", when, PLACE).transform_to(frame)
        here = stars.transform_to(frame)
        assert view.altitude_deg[:, 30] == pytest.approx(here.alt.deg, abs=0.01)
        assert view.moon_distance_deg[:, 30] == pytest.approx(moon.separation(here).deg, abs=0.01)
        assert view.moon_altitude_deg[30] == pytest.approx(moon.alt.deg, abs=0.01)


def test_a_star_in_the_zenith_has_airmass_one_and_one_that_is_down_none() -> None:
    assert airmass(np.array([90.0])) == pytest.approx(1.0, abs=1e-4)
    high = np.array([30.0, 45.0, 60.0, 80.0])
    assert airmass(high) == pytest.approx(1.0 / np.sin(np.radians(high)), rel=4e-3)
    assert airmass(np.array([10.0])) == pytest.approx(5.6, abs=0.05)  # Pickering 2002, table 1: 5.60
    assert np.isinf(airmass(np.array([0.0, -10.0]))).all()
    falling = airmass(np.linspace(1.0, 90.0, 200))
    assert (np.diff(falling) < 0).all()


@pytest.mark.parametrize(
    ("day", "lit"),
    [(date(2026, 3, 3), 1.0), (date(2026, 3, 18), 0.0), (date(2026, 3, 25), 0.5)],  # full, new, first quarter
)
def test_the_moon_is_lit_as_almanacs_say(day: date, lit: float) -> None:
    view = look(plan_night(LA_PALMA, day, 1.0), np.array([0.0]), np.array([0.0]))
    assert view.moon_illumination == pytest.approx(lit, abs=0.07)


def test_of_a_night_that_has_begun_what_is_left_is_planned() -> None:
    night = plan_night(LA_PALMA, WINTER, 4.0)
    assert from_now(night, 4.0, night.begin - timedelta(hours=3)) is night
    late = from_now(night, 4.0, night.begin + timedelta(hours=1, seconds=1))
    assert late.begin == night.begin + timedelta(hours=1, minutes=1)
    assert late.hours == 4.0  # the night is long enough
    whole = plan_night(LA_PALMA, WINTER, 24.0)
    rest = from_now(whole, 24.0, whole.dark_until - timedelta(minutes=42))
    assert rest.n_slot == 8
    with pytest.raises(NoNight, match="less than a slot is left"):
        from_now(whole, 24.0, whole.end - timedelta(seconds=90))
    with pytest.raises(NoNight, match="ended at 2026-01-11"):
        from_now(whole, 24.0, whole.dark_until + timedelta(days=9))
