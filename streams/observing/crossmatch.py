"""Which stars of a catalogue lie at a position, each moved to the position's epoch: pure functions on arrays.

Stars are sorted by z, the sine of the declination. A circle spans a narrow range of it, and within the range
every distance is computed. The circle is first made as much wider as the fastest star can have moved. So that
one fast star does not widen the search for all, stars are kept apart by how fast they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from cempstream.processors.grid import Array

_ARCSEC = np.pi / 648_000.0  #: radians
_MAS = _ARCSEC / 1000.0

#: Bounds in arcsec/yr between groups of like speed; the faster, the fewer there are.
_SPEEDS_ARCSEC_YR = (0.05, 0.3, 2.0)


def unit_vectors(ra_deg: Array, dec_deg: Array) -> Array:
    """Return positions as unit vectors, float64, shape ``(n, 3)``."""
    ra, dec = np.radians(np.asarray(ra_deg, np.float64)), np.radians(np.asarray(dec_deg, np.float64))
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def tangential_motions(ra_deg: Array, dec_deg: Array, pmra_mas_yr: Array, pmdec_mas_yr: Array) -> Array:
    """Return proper motions as vectors in radians per year, float64, shape ``(n, 3)``.

    Parameters
    ----------
    pmra_mas_yr
        Along right ascension, with the cosine of the declination in it, as Gaia and SIMBAD give it.
    """
    ra, dec = np.radians(np.asarray(ra_deg, np.float64)), np.radians(np.asarray(dec_deg, np.float64))
    east = np.stack([-np.sin(ra), np.cos(ra), np.zeros_like(ra)], axis=-1)
    north = np.stack([-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)], axis=-1)
    along = np.asarray(pmra_mas_yr, np.float64)[..., None] * east
    up = np.asarray(pmdec_mas_yr, np.float64)[..., None] * north
    return np.asarray((along + up) * _MAS)


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Stars of like speed, sorted by z: their rows in the catalogue, and what a search needs of them."""

    rows: Array
    z: Array
    places: Array
    motions: Array
    epochs: Array
    speed: float
    first_epoch: float
    last_epoch: float

    @classmethod
    def of(cls, rows: Array, places: Array, motions: Array, epochs: Array, speeds: Array) -> Self:
        rows = rows[np.argsort(places[rows, 2], kind="stable")]
        years = epochs[rows]
        return cls(
            rows=rows,
            z=places[rows, 2].copy(),
            places=places[rows],
            motions=motions[rows],
            epochs=years,
            speed=float(speeds[rows].max()),
            first_epoch=float(years.min()),
            last_epoch=float(years.max()),
        )

    def near(self, at: Array, dec: float, epoch: float, radius: float) -> tuple[Array, Array]:
        """Return rows and separations of the stars within a radius; all angles in radians."""
        years = max(abs(epoch - self.first_epoch), abs(epoch - self.last_epoch))
        # What moves along a straight line for so long comes no further than the line is long.
        reach = radius + self.speed * years
        low = np.sin(dec - reach) if dec - reach > -np.pi / 2 else -1.0
        high = np.sin(dec + reach) if dec + reach < np.pi / 2 else 1.0
        # Rounding must not leave out a star at the edge; what comes in beside it is measured below.
        within = slice(*np.searchsorted(self.z, (low - 1e-12, high + 1e-12)))
        moved = self.places[within] + self.motions[within] * (epoch - self.epochs[within, None])
        moved /= np.sqrt(np.einsum("ij,ij->i", moved, moved))[:, None]
        chord = moved - at
        half = 0.5 * np.sqrt(np.einsum("ij,ij->i", chord, chord))
        separations = 2.0 * np.arcsin(np.minimum(half, 1.0))
        found = np.flatnonzero(separations <= radius)
        return self.rows[within][found], separations[found]


class Crossmatch:
    """A catalogue's positions, ready to be searched.

    Stars move along great circles (ESA 1997, The Hipparcos and Tycho Catalogues, vol. 1, section 1.5.5,
    without radial velocities, which change a position by less than 1 mas in a century but for the nearest
    stars).

    Parameters
    ----------
    ra_deg, dec_deg
        ICRS, degrees, shape ``(n,)``, finite.
    pmra_mas_yr, pmdec_mas_yr
        Proper motion, mas/yr, the first with the cosine of the declination; 0 where unknown.
    epoch
        Julian year of each position.
    """

    def __init__(
        self, ra_deg: Array, dec_deg: Array, pmra_mas_yr: Array, pmdec_mas_yr: Array, epoch: Array
    ) -> None:
        places = unit_vectors(ra_deg, dec_deg)
        motions = tangential_motions(ra_deg, dec_deg, pmra_mas_yr, pmdec_mas_yr)
        epochs = np.asarray(epoch, np.float64)
        speeds = np.sqrt(np.einsum("ij,ij->i", motions, motions))
        group_of = np.digitize(speeds, np.array(_SPEEDS_ARCSEC_YR) * _ARCSEC)
        self.n_stars = len(places)
        self._groups = tuple(
            _Group.of(np.flatnonzero(group_of == group), places, motions, epochs, speeds)
            for group in np.unique(group_of)
        )

    def near(self, ra_deg: float, dec_deg: float, epoch: float, radius_arcsec: float) -> tuple[Array, Array]:
        """Return which rows lie within a radius of a position at its epoch, and how far, nearest first.

        Parameters
        ----------
        epoch
            Julian year.

        Returns
        -------
        Array, Array
            Indices of the rows, and separations in arcsec.
        """
        at, dec = unit_vectors(np.array(ra_deg), np.array(dec_deg)), float(np.radians(dec_deg))
        found = list(self._each(at, dec, epoch, radius_arcsec * _ARCSEC))
        if not found:
            return np.empty(0, np.intp), np.empty(0)
        rows = np.concatenate([rows for rows, _ in found])
        separations = np.concatenate([separations for _, separations in found])
        order = np.lexsort((rows, separations))
        return rows[order], separations[order] / _ARCSEC

    def _each(self, at: Array, dec: float, epoch: float, radius: float) -> Iterator[tuple[Array, Array]]:
        for group in self._groups:
            yield group.near(at, dec, epoch, radius)
