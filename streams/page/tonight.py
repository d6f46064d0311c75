"""How the candidates stand at a site tonight: airmass now, and when they are best."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

import numpy as np

from cempstream.plain import shown
from cempstream.processors.grid import Array
from cempstream.streams.observing.night import Night, NoNight, airmass, look, plan_night
from cempstream.streams.observing.sites import Site
from cempstream.streams.page.row import Row
from cempstream.streams.wording import signed

_SLOT_S = 600.0
_N_SLOT = 144

#: A spectrum that is taken lower costs twice the light.
_GOOD_AIRMASS = 2.0

#: Tracks of stars that are kept, 2 KB each; beyond it all are computed anew.
_MOST_TRACKS = 10_000


@dataclass(frozen=True, slots=True)
class Standing:
    """How one star stands.

    Attributes
    ----------
    altitude
        Now, in degrees.
    text
        Airmass now and whether the star rises, or when it comes up.
    facts
        More of it, name and text.
    """

    altitude: float
    text: str
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Track:
    """Altitude of a star and distance to the Moon in every slot, in degrees."""

    altitude: Array
    moon: Array


class Tonight:
    """The stars of a page as they stand at a site, from one noon there to the next.

    Parameters
    ----------
    now
        The clock, UTC.
    """

    def __init__(self, site: Site, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.site = site
        self._now = now
        self._hours = _hours_of(site, now())
        self._tracks: dict[tuple[float, float], _Track] = {}
        self._lock = threading.Lock()

    def darkness(self) -> str:
        """Say when it is dark at the site."""
        night, name = self._hours, shown(self.site.name)
        if night.dark_until <= night.dark_from:
            return f"It does not get dark at {name} tonight."
        return f"Dark at {name} from {night.dark_from:%H:%M} to {night.dark_until:%H:%M} UTC."

    def standings(self, rows: Iterable[Row]) -> dict[int, Standing]:
        """Return how stars stand now, by the numbers of their rows; one without a position is left out."""
        placed = {
            row.number: (row.ra, row.dec)
            for row in rows
            if row.place is not None and row.ra is not None and row.dec is not None
        }
        with self._lock:
            now = self._now()
            if now >= self._hours.end:
                self._hours, self._tracks = _hours_of(self.site, now), {}
            new = list({place for place in placed.values() if place not in self._tracks})
            if new:
                if len(self._tracks) > _MOST_TRACKS:
                    self._tracks = {}
                view = look(self._hours, *np.array(new, dtype=np.float64).T)
                for i, place in enumerate(new):
                    self._tracks[place] = _Track(view.altitude_deg[i], view.moon_distance_deg[i])
            return {n: _standing(self._hours, self._tracks[place], now) for n, place in placed.items()}


def _hours_of(site: Site, now: datetime) -> Night:
    """Return the whole day around a night: from noon at the site, the one before `now`, to the next."""
    day = (now + timedelta(hours=site.lon_deg / 15.0 - 12.0)).date()
    noon = datetime.combine(day, time(12), UTC) - timedelta(hours=site.lon_deg / 15.0)
    try:
        night = plan_night(site, day, 24.0)
        dark = night.dark_from, night.dark_until
    except NoNight:
        dark = noon, noon
    return Night(site, day, *dark, noon, _SLOT_S, _N_SLOT)


def _standing(night: Night, track: _Track, now: datetime) -> Standing:
    """Say how a star stands, from its track."""
    middle = night.middle_unix_s
    altitude, soon = np.interp([now.timestamp(), now.timestamp() + _SLOT_S], middle, track.altitude).tolist()
    is_dark = (middle >= night.dark_from.timestamp()) & (middle < night.dark_until.timestamp())
    good = is_dark & (airmass(track.altitude) <= _GOOD_AIRMASS)
    facts = [
        ("altitude now", signed(altitude, "{:.0f}°")),
        ("from the Moon", f"{np.interp(now.timestamp(), middle, track.moon):.0f}°"),
    ]
    if is_dark.any():
        best = int(np.argmax(np.where(is_dark, track.altitude, -90.0)))
        hours = float(good.sum()) * _SLOT_S / 3600.0
        facts.append(("in the dark below airmass 2", f"{hours:.1f} h"))
        if track.altitude[best] > 0:
            at = _clock(middle[best])
            facts.append(
                ("best in the dark", f"{at} UTC, airmass {float(airmass(track.altitude[best])):.2f}")
            )
    return Standing(round(altitude, 1), _text(night, track, altitude, soon, now), tuple(facts))


def _text(night: Night, track: _Track, altitude: float, soon: float, now: datetime) -> str:
    """Return the airmass and which way it goes, or when a star that is down comes up."""
    if altitude > 0:
        return f"{float(airmass(np.array(altitude))):.2f} {'rising' if soon > altitude else 'setting'}"
    later = night.middle_unix_s > now.timestamp()
    up = np.flatnonzero(later & (track.altitude > 0))
    return f"up at {_clock(night.middle_unix_s[up[0]])}" if up.size else "down"


def _clock(unix_s: float) -> str:
    return f"{datetime.fromtimestamp(unix_s, UTC):%H:%M}"
