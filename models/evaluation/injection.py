"""Carbon added to real carbon-normal stars: CEMP stars with real metals, continuum and artefacts.

No library of real spectra has more than a handful of CEMP stars. A real metal-poor star of known labels,
multiplied by the emulator's change for more carbon, has the lines, the line-spread function and the
calibration of a real spectrum; only the carbon is computed. It cannot test whether computed carbon bands are
correct, but it tests whether networks find them among a real star's metals.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cempstream.models.emulator.emulator import Emulator
from cempstream.models.emulator.grids import line_spread_matrix
from cempstream.models.emulator.labels import LABEL_NAMES, move_into_range
from cempstream.processors.grid import Array
from cempstream.processors.spectrum import Spectrum

#: Typical values of CEMP stars, and of the carbon-normal stars that they are made from.
_RICH = {"nfe": 1.0, "ofe": 0.6, "r1213": 20.0}
_NORMAL = {"nfe": 0.1, "ofe": 0.4, "r1213": 20.0}
_LEAST_FLUX = np.float32(1e-3)


@dataclass(frozen=True, slots=True)
class StellarLabels:
    """Literature values of a real star: K and dex."""

    teff: float
    logg: float
    feh: float
    cfe: float = 0.0


def with_carbon(spectrum: Spectrum, star: StellarLabels, cfe: float, emulator: Emulator) -> Spectrum:
    """Raise a real star's carbon to ``cfe``.

    Parameters
    ----------
    spectrum
        At rest, of a resolving power of at most the emulator's.
    emulator
        At its full resolution and on its own grid, preferably without false lines.
    """
    labels = np.stack([_labels(star, cfe, _RICH), _labels(star, star.cfe, _NORMAL)])
    norm = np.maximum(emulator(move_into_range(labels)).norm, _LEAST_FLUX)
    sampled = line_spread_matrix(spectrum.grid, _power(spectrum), medium=spectrum.medium) @ norm.T
    inside = sampled[:, 1] > 0
    ratio = np.where(inside, sampled[:, 0] / np.where(inside, sampled[:, 1], 1.0), 1.0)
    return replace(
        spectrum,
        flux=(spectrum.flux * ratio).astype(np.float32),
        ivar=(spectrum.ivar / np.maximum(ratio, 0.05) ** 2).astype(np.float32),
    )


def _labels(star: StellarLabels, cfe: float, others: dict[str, float]) -> Array:
    values = {"teff": star.teff, "logg": star.logg, "feh": star.feh, "cfe": cfe, "afe": 0.35, "vmic": 1.7}
    values |= others
    return np.array([values.get(name, 0.0) for name in LABEL_NAMES])


def _power(spectrum: Spectrum) -> float:
    power = spectrum.resolving_power
    return float(np.nanmedian(power)) if isinstance(power, np.ndarray) else power
