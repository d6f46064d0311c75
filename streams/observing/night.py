"""The dark hours of a night at a site, and how stars and Moon stand in them. By astropy, without network."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord, get_body
from astropy.time import Time
from astropy.utils import iers

from cempstream.errors import FixableError
from cempstream.processors.grid import Array
from cempstream.streams.observing.sites import Site

#: Where the Sun has to stand below for astronomical night.
TWILIGHT_DEG = -18.0

SLOT_S = 300.0

_STEP_S = 300.0
_DAY_S = 86_400.0


class NoNight(FixableError, ValueError):
    """There are no dark hours as asked for; the message says why and when there are."""


@dataclass(frozen=True, slots=True, eq=False)
class Night:
    """The hours of one night that are planned, cut into slots.

    Attributes
    ----------
    dark_from, dark_until
        When the Sun is below the twilight's altitude, UTC.
    begin
        When the plan begins, UTC.
    slot_s
        Length of a slot.
    n_slot
        Whole slots in the plan's hours.
    """

    site: Site
    date: date
    dark_from: datetime
    dark_until: datetime
    begin: datetime
    slot_s: float
    n_slot: int

    @property
    def hours(self) -> float:
        """Hours that are planned."""
        return self.n_slot * self.slot_s / 3600.0

    @property
    def end(self) -> datetime:
        """When the plan ends, UTC."""
        return self.begin + timedelta(seconds=self.n_slot * self.slot_s)

    @property
    def middle_unix_s(self) -> Array:
        """Middle of each slot, Unix time, shape ``(n_slot,)``."""
        return np.asarray(self.begin.timestamp() + (np.arange(self.n_slot) + 0.5) * self.slot_s)


@dataclass(frozen=True, slots=True, eq=False)
class SkyView:
    """Where stars and Moon stand in the middle of every slot.

    Attributes
    ----------
    altitude_deg, moon_distance_deg
        Of the stars, shape ``(n_star, n_slot)``.
    moon_altitude_deg, moon_phase_deg
        Shape ``(n_slot,)``. The phase angle is 0 at full and 180 at new moon.
    """

    altitude_deg: Array = field(repr=False)
    moon_distance_deg: Array = field(repr=False)
    moon_altitude_deg: Array = field(repr=False)
    moon_phase_deg: Array = field(repr=False)

    @property
    def airmass(self) -> Array:
        """Airmass of the stars, shape ``(n_star, n_slot)``; infinite below the horizon."""
        return airmass(self.altitude_deg)

    @property
    def moon_illumination(self) -> float:
        """Lit share of the Moon's disc, in the middle of the hours."""
        return float(0.5 * (1.0 + np.cos(np.radians(np.median(self.moon_phase_deg)))))


def plan_night(
    site: Site,
    day: date,
    hours: float,
    *,
    begin: datetime | time | None = None,
    twilight_deg: float = TWILIGHT_DEG,
    slot_s: float = SLOT_S,
) -> Night:
    """Return the night that begins in the evening of a date (the site's), and the hours of it to be planned.

    Parameters
    ----------
    hours
        As many are planned, or as the night has from `begin` on.
    begin
        When to begin, UTC; a time without a date is that of this night. None: when it is dark.

    Raises
    ------
    NoNight
        It does not get dark, or `begin` is not in the dark.
    """
    noon = datetime.combine(day, time(12), UTC) - timedelta(hours=site.lon_deg / 15.0)
    unix_s = noon.timestamp() + np.arange(0.0, _DAY_S + 1.0, _STEP_S)
    dark = _dark_span(unix_s, _sun_altitude(site, unix_s), twilight_deg)
    if isinstance(dark, float):
        raise NoNight(
            f"the night of {day} has no dark hours at {site.name}: the Sun comes down to {dark:.1f}°, "
            f"darkness begins at {twilight_deg:g}°; give a brighter --twilight, another date or site"
        )
    # Whole minutes within the dark: no one points a telescope by the second.
    dark_from = datetime.fromtimestamp(np.ceil(dark[0] / 60.0) * 60.0, UTC)
    dark_until = datetime.fromtimestamp(np.floor(dark[1] / 60.0) * 60.0, UTC)
    start = dark_from if begin is None else _moment_in(begin, noon)
    if not dark_from <= start < dark_until:
        raise NoNight(
            f"{start:%Y-%m-%d %H:%M} UTC is not in the dark at {site.name}: the night of {day} is from "
            f"{dark_from:%Y-%m-%d %H:%M} to {dark_until:%H:%M}"
        )
    length_s = min(hours * 3600.0, (dark_until - start).total_seconds())
    n_slot = int(length_s / slot_s + 1e-6)
    if n_slot < 1:
        raise NoNight(
            f"{length_s / 60:.0f} minutes in the dark at {site.name} in the night of {day} are less than one "
            f"slot of {slot_s / 60:g} minutes; give more --hours, an earlier --begin or shorter slots"
        )
    return Night(site, day, dark_from, dark_until, start, slot_s, n_slot)


def from_now(night: Night, hours: float, now: datetime) -> Night:
    """Return a night as it is, or what is left of it from now on.

    Raises
    ------
    NoNight
        Its hours are over, or less than a slot is left.
    """
    if night.end <= now:
        raise NoNight(
            f"the hours of the night of {night.date} ended at {night.end:%Y-%m-%d %H:%M} UTC; "
            "give a --night to come"
        )
    if night.begin >= now:
        return night
    begin = datetime.fromtimestamp(np.ceil(now.timestamp() / 60.0) * 60.0, UTC)
    left_s = min(hours * 3600.0, (night.dark_until - begin).total_seconds())
    n_slot = int(left_s / night.slot_s + 1e-6)
    if n_slot < 1:
        raise NoNight(f"less than a slot is left of the night of {night.date}; give a --night to come")
    return replace(night, begin=begin, n_slot=n_slot)


def look(night: Night, ra_deg: Array, dec_deg: Array) -> SkyView:
    """Say where stars and Moon stand in every slot of a night.

    Parameters
    ----------
    ra_deg, dec_deg
        ICRS, shape ``(n_star,)``.
    """
    with _offline():
        when = Time(night.middle_unix_s, format="unix")
        frame = AltAz(obstime=when, location=_location(night.site))
        moon = get_body("moon", when, _location(night.site))
        sun = get_body("sun", when, _location(night.site))
        moon_here = moon.transform_to(frame)
        stars = SkyCoord(np.asarray(ra_deg)[:, None] * u.deg, np.asarray(dec_deg)[:, None] * u.deg)
        here = stars.transform_to(frame[None, :])
        # The Moon's phase angle, from the elongation and both distances (Meeus 1998, chapter 48).
        apart = moon.separation(sun)
        phase = np.arctan2(sun.distance * np.sin(apart), moon.distance - sun.distance * np.cos(apart))
        return SkyView(
            altitude_deg=here.alt.deg,
            moon_distance_deg=_separation(here.alt.rad, here.az.rad, moon_here.alt.rad, moon_here.az.rad),
            moon_altitude_deg=moon_here.alt.deg,
            moon_phase_deg=np.degrees(np.abs(phase.to_value(u.rad))),
        )


def airmass(altitude_deg: Array) -> Array:
    """Return the airmass at an apparent altitude (Pickering 2002, DIO 12, 1); infinite below the horizon."""
    altitude = np.asarray(altitude_deg, dtype=np.float64)
    above = np.maximum(altitude, 0.0)
    angle = np.radians(above + 244.0 / (165.0 + 47.0 * above**1.1))
    return np.where(altitude > 0.0, 1.0 / np.sin(angle), np.inf)


def _separation(alt: Array, az: Array, alt_0: Array, az_0: Array) -> Array:
    """Return the angle between directions in degrees, from radians (haversine)."""
    half = np.sin((alt - alt_0) / 2) ** 2 + np.cos(alt) * np.cos(alt_0) * np.sin((az - az_0) / 2) ** 2
    return np.asarray(np.degrees(2 * np.arcsin(np.sqrt(np.clip(half, 0.0, 1.0)))))


def _sun_altitude(site: Site, unix_s: Array) -> Array:
    with _offline():
        when = Time(unix_s, format="unix")
        location = _location(site)
        return np.asarray(
            get_body("sun", when, location).transform_to(AltAz(obstime=when, location=location)).alt.deg
        )


def _dark_span(unix_s: Array, altitude_deg: Array, twilight_deg: float) -> tuple[float, float] | float:
    """Return when the Sun goes below and rises above an altitude; where it does not, how low it comes."""
    below = altitude_deg < twilight_deg
    if not below.any():
        return float(altitude_deg.min())
    first, last = np.flatnonzero(below)[[0, -1]]

    def crossing(a: int, b: int) -> float:
        share = (twilight_deg - altitude_deg[a]) / (altitude_deg[b] - altitude_deg[a])
        return float(unix_s[a] + share * (unix_s[b] - unix_s[a]))

    begin = float(unix_s[0]) if first == 0 else crossing(first - 1, first)
    end = float(unix_s[-1]) if last == len(unix_s) - 1 else crossing(last, last + 1)
    return begin, end


def _moment_in(begin: datetime | time, noon: datetime) -> datetime:
    """Return the moment that is meant; a time of day is the one in the day after `noon`."""
    if isinstance(begin, datetime):
        return begin.astimezone(UTC) if begin.tzinfo else begin.replace(tzinfo=UTC)
    moment = datetime.combine(noon.date(), begin.replace(tzinfo=None), UTC)
    return moment if moment >= noon else moment + timedelta(days=1)


def _location(site: Site) -> EarthLocation:
    return EarthLocation.from_geodetic(site.lon_deg * u.deg, site.lat_deg * u.deg, site.height_m * u.m)


@contextmanager
def _offline() -> Iterator[None]:
    """Let astropy use the Earth's rotation as it was shipped.

    Beyond its tables UT1 is taken for UTC: less than a second, 15 arcsec of the sky, which no plan notices.
    """
    with (
        iers.conf.set_temp("auto_download", False),
        iers.conf.set_temp("iers_degraded_accuracy", "ignore"),
        iers.conf.set_temp("auto_max_age", None),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message=".*dubious year.*")
        warnings.filterwarnings("ignore", message=".*polar motions.*")
        warnings.filterwarnings("ignore", message=".*leap-second.*")
        yield
