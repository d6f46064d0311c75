"""Whether a spectrum is that of one star: a neighbour's light in it, or a source that imaging finds extended.

At low resolution neither shows in the spectrum itself: a neighbour's trace looks like a band, a galaxy like a
metal-poor star. What the survey knows of both decides whether a star may be a candidate.
"""

from __future__ import annotations

import numpy as np

from cempstream.processors.bands import NAMED_WINDOWS
from cempstream.processors.grid import air_to_vacuum
from cempstream.processors.spectrum import Spectrum

_AIR = np.array([window for name, window in NAMED_WINDOWS if name.split()[0] in ("CH", "C2", "CN")])
#: First and last wavelength of the bands of carbon molecules, Å, shape ``(n_bands, 2)``.
_CARBON_BANDS = {"air": _AIR, "vacuum": air_to_vacuum(_AIR)}


def neighbours_light(spectrum: Spectrum) -> float:
    """Return the share of a neighbour's light in the carbon band where it is largest.

    Returns
    -------
    float
        The largest mean over a band that the spectrum covers, over all pixels where it covers none; 0 where
        the survey states no contamination, 1 where it states what is no number.
    """
    if spectrum.contamination is None:
        return 0.0
    pixels = np.searchsorted(spectrum.grid.wave, _CARBON_BANDS[spectrum.medium])
    shares = [
        float(np.mean(spectrum.contamination[first:last], dtype=np.float64))
        for first, last in pixels.tolist()
        if last > first
    ] or [float(np.mean(spectrum.contamination, dtype=np.float64))]
    largest = float(np.max(shares))  # NaN where one is
    return largest if np.isfinite(largest) else 1.0


def is_extended(spectrum: Spectrum, least_stellarity: float) -> bool:
    """Return whether the survey's imaging finds a source less star-like; False where it says nothing."""
    return spectrum.stellarity is not None and not spectrum.stellarity >= least_stellarity
