"""What lies at an alert's position: known stars, watchlists and regions of the sky."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from cempstream.processors.spectrum import Spectrum

#: A catalogue of known stars, somebody's list of stars to watch, or a region of the sky.
MatchKind: TypeAlias = Literal["known", "watchlist", "region"]


@dataclass(frozen=True, slots=True)
class Match:
    """A star of a catalogue at the position, or a region that it lies in.

    Attributes
    ----------
    kind
        A `MatchKind`; ``unknown`` where a later version knows another.
    separation_arcsec
        At the epoch of the alert's position; NaN of a region.
    labels
        What the catalogue says of the star, as it writes it.
    """

    kind: str
    catalogue: str
    name: str
    separation_arcsec: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sky:
    """What was found at a position, and the names of all that it was compared with."""

    matches: tuple[Match, ...] = ()
    compared_with: tuple[str, ...] = ()


#: How far a star may be from its alert unless told otherwise: positions of spectra, and catalogues without
#: proper motions, are good to a few arcseconds; and the largest radius.
RADIUS_ARCSEC, MAX_RADIUS_ARCSEC = 5.0, 3600.0

#: Nothing was looked up.
NOT_LOOKED_UP = Sky()

#: Looks up the position of a spectrum's star.
LookUp: TypeAlias = Callable[[Spectrum], Sky]
