"""What several surveys or bundles say together.

The gratings of one survey are joined to one spectrum, which the networks are trained to read. Spectra of
several surveys are not: the star is what the one says that constrains the carbon abundance best. The logits
are not added, since all see the same star and are not independent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from cempstream.processors.stars.observation import GroupKey, Said


def combine(saids: Mapping[GroupKey, Said]) -> GroupKey | None:
    """Return the group that speaks for the star; None where none has anything to say.

    Parameters
    ----------
    saids
        What was said of each group's spectra together, in any order.
    """
    if not saids:
        return None
    return min(saids, key=lambda group: (_carbon_interval(saids[group]), -saids[group].snr, group))


def _carbon_interval(said: Said) -> float:
    """Return the width of the 68 % interval of [C/Fe] in dex; infinite where it is not measured."""
    cfe = said.parameters["cfe"]
    width = cfe.hi - cfe.lo
    return width if math.isfinite(width) else math.inf
