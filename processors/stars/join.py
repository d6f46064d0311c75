"""Spectra of one star through different gratings as one spectrum, which the networks are trained to read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cempstream.processors.batch import NormalisedBatch, SpectrumBatch
from cempstream.processors.continuum import Normaliser


def join(parts: Sequence[NormalisedBatch], normalise: Normaliser) -> NormalisedBatch:
    """Join what several gratings saw of the same stars.

    Each grating has been divided by its own continuum, so that their flux scales do not matter. Where they
    overlap, the mean by inverse variance counts.

    Parameters
    ----------
    parts
        One batch per grating, row by row of the same stars, on one grid and at one velocity.
    normalise
        Of the bundle; a new continuum has no step where one grating ends.

    Returns
    -------
    NormalisedBatch
        Its continuum is that of the joined, already normalised spectra.
    """
    ivar = np.add.reduce([part.ivar for part in parts])
    weighted = np.add.reduce([part.norm * part.ivar for part in parts])
    flux = np.divide(weighted, ivar, out=np.zeros_like(ivar), where=ivar > 0)
    return normalise(SpectrumBatch(parts[0].grid, flux, ivar))
