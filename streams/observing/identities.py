"""Ids for spectra whose survey gives none: those of a catalogue's stars, by position.

A star's observations come together by its ``object_id``, and a position is no id: it differs from visit to
visit, and no key is the same for all positions near each other. The survey's input catalogue has both.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from cempstream.plain import shown
from cempstream.processors.spectrum import Spectrum
from cempstream.streams.observing.catalogue import Catalogue, CatalogueError
from cempstream.streams.observing.crossmatch import Crossmatch
from cempstream.streams.observing.known_stars import epoch_of


class Identities:
    """A catalogue as the names of its stars.

    Parameters
    ----------
    catalogue
        Stars without a name give none, but are seen: beside one of them a position is ambiguous.
    radius_arcsec
        How far a star may be from the spectrum's position, at its epoch.

    Raises
    ------
    CatalogueError
        No star of the catalogue has a name, or two have the same.
    """

    def __init__(self, catalogue: Catalogue, radius_arcsec: float) -> None:
        named = Counter(str(name) for name in catalogue.names if name)
        if not named:
            raise CatalogueError(f"{catalogue.name} names no star; ids are its column name, id or source_id")
        name, n_stars = named.most_common(1)[0]
        if n_stars > 1:
            raise CatalogueError(
                f"{catalogue.name} gives '{shown(name)}' to {n_stars} stars; an id is that of one"
            )
        self._names = catalogue.names
        self._radius_arcsec = radius_arcsec
        self._search = Crossmatch(
            *(catalogue.ra_deg, catalogue.dec_deg, catalogue.pmra_mas_yr, catalogue.pmdec_mas_yr),
            catalogue.epoch,
        )

    def identify(self, spectrum: Spectrum) -> Spectrum:
        """Return the spectrum with the name of the one star at its position as ``object_id``.

        One that has an id keeps it. Where there is no position, no star or more than one, there is no id: two
        stars taken for one would be worse than a star that is not followed.
        """
        if spectrum.object_id is not None or spectrum.ra is None or spectrum.dec is None:
            return spectrum
        epoch = epoch_of(spectrum.epoch, spectrum.observed_at, spectrum.reduced_at)
        rows, _ = self._search.near(spectrum.ra, spectrum.dec, epoch, self._radius_arcsec)
        name = str(self._names[rows[0]]) if len(rows) == 1 else ""
        return replace(spectrum, object_id=name) if name else spectrum
