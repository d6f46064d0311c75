"""Known stars, watchlists and regions at the positions of alerts.

    known = KnownStars(known=["jinabase.csv"], watchlists=["mine.csv"], regions=["footprint.fits"])
    known.mark(alert).matches

A star is looked for where it is at the epoch of the alert's position; a position without one has that of its
observation.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from math import inf, isnan
from pathlib import Path
from typing import TypeAlias

import numpy as np

from cempstream.errors import install_hint
from cempstream.processors.grid import Array
from cempstream.processors.spectrum import Spectrum
from cempstream.schemas.alert import Alert
from cempstream.schemas.healpix import healpix_nested
from cempstream.schemas.sky import MAX_RADIUS_ARCSEC, NOT_LOOKED_UP, RADIUS_ARCSEC, Match, MatchKind, Sky
from cempstream.streams.observing.catalogue import Catalogue, CatalogueError
from cempstream.streams.observing.catalogue_files import catalogue_name, read_catalogue
from cempstream.streams.observing.crossmatch import Crossmatch

#: A packet holds at most so many matches with one catalogue: the nearest.
MOST_MATCHES = 8

_J2000 = datetime(2000, 1, 1, 12, tzinfo=UTC)
_YEAR_S = 365.25 * 86_400

Files: TypeAlias = Iterable[Path | str] | Path | str

#: Catalogues of stars: files, or what was read from them.
Catalogues: TypeAlias = Iterable[Path | str | Catalogue] | Path | str | Catalogue


class _Stars:
    """A catalogue and its search."""

    def __init__(self, kind: MatchKind, catalogue: Catalogue) -> None:
        self.kind = kind
        self.catalogue = catalogue
        self.name = catalogue.name
        self._search = Crossmatch(
            *(catalogue.ra_deg, catalogue.dec_deg, catalogue.pmra_mas_yr, catalogue.pmdec_mas_yr),
            catalogue.epoch,
        )

    def at(self, ra: float, dec: float, epoch: float, radius_arcsec: float) -> Iterator[Match]:
        rows, separations = self._search.near(ra, dec, epoch, radius_arcsec)
        for row, separation in zip(rows[:MOST_MATCHES].tolist(), separations.tolist(), strict=False):
            labels = self.catalogue.labels_of(row)
            yield Match(self.kind, self.name, str(self.catalogue.names[row]), separation, labels)


class _Region:
    """A region as ranges of HEALPix pixels of order 29."""

    def __init__(self, name: str, ranges: Array) -> None:
        self.name = name
        self._starts, self._ends = ranges[:, 0].copy(), ranges[:, 1].copy()

    def at(self, pixel: int) -> Iterator[Match]:
        i = int(np.searchsorted(self._starts, pixel, side="right")) - 1
        if i >= 0 and pixel < self._ends[i]:
            yield Match("region", self.name, "", float("nan"))


class KnownStars:
    """What alerts are compared with.

    Parameters
    ----------
    known, watchlists
        Catalogues of stars: CSV, or ECSV, VOTable and FITS with the extra ``observing``. Columns are found by
        their names; all but position and name go into alerts as labels.
    regions
        MOC files, with the extra ``observing``.
    radius_arcsec
        How far a star may be from its alert.

    Raises
    ------
    CatalogueError
        A file cannot be used, two have the same name, or the radius is impossible.
    OSError
        A file cannot be read.
    """

    def __init__(
        self,
        known: Catalogues = (),
        watchlists: Catalogues = (),
        regions: Files = (),
        *,
        radius_arcsec: float = RADIUS_ARCSEC,
    ) -> None:
        if not 0 < radius_arcsec <= MAX_RADIUS_ARCSEC:
            raise CatalogueError(
                f"the radius is {radius_arcsec:g} arcsec; it is above 0 and at most {MAX_RADIUS_ARCSEC:g}"
            )
        self.radius_arcsec = radius_arcsec
        self._stars = [
            *(_Stars("known", catalogue) for catalogue in _catalogues(known)),
            *(_Stars("watchlist", catalogue) for catalogue in _catalogues(watchlists)),
        ]
        paths = [regions] if isinstance(regions, str | os.PathLike) else regions
        self._regions = [_Region(catalogue_name(Path(path)), _ranges(Path(path))) for path in paths]
        self.names = (*(one.name for one in self._stars), *(one.name for one in self._regions))
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise CatalogueError(f"two files are called {', '.join(twice)}; alerts tell them apart by name")

    def __bool__(self) -> bool:
        return bool(self.names)

    def describe(self) -> list[str]:
        """Return one line for a person on each catalogue."""
        return [stars.catalogue.describe() for stars in self._stars]

    def at(self, ra_deg: float | None, dec_deg: float | None, epoch: float) -> Sky:
        """Return what lies at a position, ICRS in degrees at a Julian year; stars first, nearest first."""
        if ra_deg is None or dec_deg is None:
            return NOT_LOOKED_UP
        stars = [match for one in self._stars for match in one.at(ra_deg, dec_deg, epoch, self.radius_arcsec)]
        stars.sort(key=lambda match: match.separation_arcsec)
        pixel = healpix_nested(ra_deg, dec_deg) if self._regions else 0
        within = (match for one in self._regions for match in one.at(pixel))
        return Sky((*stars, *within), self.names)

    def of_spectrum(self, spectrum: Spectrum) -> Sky:
        """Return what lies at the position of a spectrum's star."""
        epoch = epoch_of(spectrum.epoch, spectrum.observed_at, spectrum.reduced_at)
        return self.at(spectrum.ra, spectrum.dec, epoch)

    def mark(self, alert: Alert) -> Alert:
        """Return the alert with what lies at its position, beside the matches that it came with.

        What it was compared with before under the same name is replaced.
        """
        sky = self.at(alert.ra, alert.dec, epoch_of(alert.epoch, alert.observed_at, alert.reduced_at))
        if not sky.compared_with:
            return alert
        kept = [match for match in alert.matches if match.catalogue not in self.names]
        others = [name for name in alert.compared_with if name not in self.names]
        found = sorted((*kept, *sky.matches), key=_distance)
        return alert.model_copy(
            update={"matches": tuple(found), "compared_with": (*others, *sky.compared_with)}
        )


def _distance(match: Match) -> float:
    """Return what matches are sorted by; a region has no separation and comes last."""
    return inf if isnan(match.separation_arcsec) else match.separation_arcsec


def _catalogues(given: Catalogues) -> list[Catalogue]:
    each = [given] if isinstance(given, str | os.PathLike | Catalogue) else given
    return [one if isinstance(one, Catalogue) else read_catalogue(one) for one in each]


def _ranges(path: Path) -> Array:
    try:
        from cempstream.streams.observing.regions import read_ranges
    except ModuleNotFoundError as error:
        raise CatalogueError(
            f"{path}: regions are read by {error.name}: {install_hint('observing')}"
        ) from error
    return read_ranges(path)


def epoch_of(epoch: float | None, *times: datetime | None) -> float:
    """Return a position's epoch, else the first of the times, as a Julian year."""
    if epoch is not None:
        return epoch
    time = next(time for time in times if time is not None)
    return 2000.0 + (time - _J2000).total_seconds() / _YEAR_S
