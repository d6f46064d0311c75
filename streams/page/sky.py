"""The sky as one map: Mollweide's equal-area projection, right ascension from 0h at the right to 24h."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from matplotlib.projections.geo import MollweideAxes

from cempstream.processors.grid import Array
from cempstream.streams.wording import is_on_sky, signed

#: Size of the map in its own units; the ellipse fills it but for the margin.
WIDTH, HEIGHT = 740.0, 380.0
_MARGIN = 10.0

_PROJECTION = MollweideAxes.MollweideTransform(1)
_SCALE = (WIDTH / 2 - _MARGIN) / (2 * math.sqrt(2))

#: A curve that jumps further than this goes on at the other edge of the map.
_JUMP = WIDTH / 4


@dataclass(frozen=True, slots=True)
class SkyMap:
    """Everything on the map that does not move, as paths and labels of SVG.

    Attributes
    ----------
    outline, graticule, galactic_plane
        Paths.
    galactic_centre
        Its place.
    hours, degrees
        Place and text of each label, along the equator and along the middle.
    """

    outline: str
    graticule: str
    galactic_plane: str
    galactic_centre: tuple[float, float]
    hours: tuple[tuple[float, float, str], ...]
    degrees: tuple[tuple[float, float, str], ...]


def project(ra: Array, dec: Array) -> Array:
    """Return places on the map; ``ra`` and ``dec`` in degrees, shape ``(n,)``; the result ``(n, 2)``."""
    longitude = np.radians(180.0 - np.asarray(ra) % 360.0)
    latitude = np.radians(np.asarray(dec))
    flat = np.asarray(_PROJECTION.transform_non_affine(np.column_stack([longitude, latitude])))
    return np.column_stack([WIDTH / 2 + _SCALE * flat[:, 0], HEIGHT / 2 - _SCALE * flat[:, 1]])


def place_on_map(ra: float | None, dec: float | None) -> tuple[float, float] | None:
    """Return a star's place on the map, to a tenth; None where it has no position on the sky."""
    if ra is None or dec is None or not is_on_sky(ra, dec):
        return None
    ((x, y),) = project(np.array([ra]), np.array([dec])).tolist()
    return round(x, 1), round(y, 1)


def sky_map() -> SkyMap:
    """Draw what the map always shows."""
    latitudes, around = np.linspace(-90, 90, 91), np.linspace(0.0, 359.999, 181)
    edges = [project(np.full(91, ra), latitudes) for ra in (0.0, 359.999)]
    meridians = [project(np.full(91, 15.0 * hour), latitudes) for hour in range(3, 24, 3)]
    parallels = [project(around, np.full(181, dec)) for dec in (-60.0, -30.0, 0.0, 30.0, 60.0)]
    # from one edge of the map to the other, so that the curve has few ends
    galactic = SkyCoord(l=np.linspace(0, 360, 361) * u.deg, b=np.zeros(361) * u.deg, frame="galactic").icrs
    plane = project(galactic.ra.deg, galactic.dec.deg)
    return SkyMap(
        outline=_path(np.vstack([edges[0], edges[1][::-1]])) + "Z",
        graticule="".join(map(_path, [*meridians, *parallels])),
        galactic_plane=_path(plane),
        galactic_centre=(round(float(plane[0, 0]), 1), round(float(plane[0, 1]), 1)),
        hours=tuple((*_label(15.0 * hour, 0.0), f"{hour}h") for hour in range(3, 24, 3)),
        degrees=tuple((*_label(180.0, dec), signed(dec, "{:+.0f}°")) for dec in (-60.0, -30.0, 30.0, 60.0)),
    )


def _label(ra: float, dec: float) -> tuple[float, float]:
    place = place_on_map(ra, dec)
    assert place is not None
    return place


def _path(points: Array) -> str:
    """Return a curve as an SVG path, in parts where it leaves the map at one edge."""
    parts, before = [], None
    for x, y in points.tolist():
        jumps = before is None or abs(x - before) > _JUMP
        parts.append(f"{'M' if jumps else 'L'}{x:.1f} {y:.1f}")
        before = x
    return "".join(parts)
