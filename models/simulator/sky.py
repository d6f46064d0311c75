"""Emission lines of the night sky and telluric absorption bands, to simulate their residuals in spectra."""

from __future__ import annotations

import numpy as np

from cempstream.processors.constants import FWHM_PER_SIGMA
from cempstream.processors.grid import Array, air_to_vacuum

#: Airglow: air Å and brightness relative to a strong OH line (R1 of 8-3), roughly as at a dark site.
_AIRGLOW = np.array(
    [(4358.3, 0.25), (5461.0, 0.3), (5577.3, 3.0), (5889.9, 0.8), (5895.9, 0.5), (5915.3, 0.1), (5932.9, 0.1),
     (5953.4, 0.1), (6257.9, 0.1), (6300.3, 2.0), (6363.8, 0.7), (6498.7, 0.2), (6533.0, 0.25), (6553.6, 0.2),
     (6577.2, 0.15), (6596.6, 0.1), (6829.5, 0.15), (6863.9, 0.45), (6871.1, 0.15), (6889.3, 0.15),
     (6923.2, 0.4), (6949.0, 0.2), (6978.4, 0.2), (7240.0, 0.3), (7244.9, 0.4), (7276.4, 0.7), (7284.4, 0.4),
     (7303.7, 0.4), (7316.3, 0.7), (7329.1, 0.4), (7340.9, 0.6), (7358.7, 0.3), (7369.3, 0.35), (7401.9, 0.3),
     (7523.0, 0.2), (7571.7, 0.2), (7712.0, 0.3), (7725.0, 0.3), (7750.6, 0.9), (7759.9, 0.3), (7780.0, 0.4),
     (7794.1, 0.9), (7808.5, 0.5), (7821.5, 0.9), (7841.3, 0.6), (7853.2, 0.6), (7870.0, 0.3), (7891.0, 0.3),
     (7913.7, 1.0), (7921.0, 0.4), (7949.2, 0.5), (7964.6, 0.9), (7993.3, 1.0), (8014.1, 0.3), (8025.8, 0.7),
     (8052.0, 0.4), (8062.0, 0.4), (8103.0, 0.2), (8288.6, 0.5), (8298.0, 0.5), (8344.6, 1.3), (8352.8, 0.7),
     (8382.4, 0.8), (8399.2, 1.6), (8415.2, 0.9), (8430.2, 1.5), (8452.3, 1.0), (8465.4, 1.3), (8493.4, 0.9),
     (8504.8, 0.8), (8548.9, 0.3), (8761.0, 0.5), (8767.9, 0.8), (8778.3, 1.0), (8791.0, 0.8), (8827.1, 1.9),
     (8836.2, 0.7), (8850.0, 0.7), (8867.6, 1.1), (8885.9, 2.0), (8903.1, 1.3), (8919.6, 2.0), (8943.4, 1.2),
     (8957.9, 1.5), (8988.3, 0.9), (9001.6, 0.7), (9037.9, 0.5), (9049.6, 0.5), (9313.0, 0.8), (9337.9, 0.8),
     (9375.9, 1.2), (9419.7, 0.9), (9439.6, 1.3), (9476.8, 1.3), (9502.8, 1.1), (9552.5, 0.6), (9567.1, 0.5),
     (9719.8, 0.6), (9790.0, 0.8), (9872.1, 0.9)]
)  # fmt: skip
_AIRGLOW_WAVE = air_to_vacuum(_AIRGLOW[:, 0])

#: AB-like flux of a line of unit brightness, erg/s/cm²/arcsec².
_UNIT_LINE_CGS = 8e-17

#: O2 and water: first and last wavelength (vacuum Å), depth at one air mass in dry and usual air.
_BANDS = np.array(
    [(5880, 5970, 0.04), (6278, 6320, 0.08), (6868, 6945, 0.30), (7165, 7325, 0.12), (7595, 7700, 0.65),
     (8130, 8350, 0.13), (8940, 9230, 0.22), (9280, 9800, 0.45)]
)  # fmt: skip


def airglow(wave: Array, pixel_aa: Array, resolving_power: Array) -> Array:
    """Return the airglow's flux in erg/s/cm²/Å/arcsec² at pixels, shape ``(n_pix,)``."""
    sigma = np.hypot(wave / resolving_power / FWHM_PER_SIGMA, pixel_aa / np.sqrt(12.0))
    flux = np.zeros(wave.size)
    for centre, strength in zip(_AIRGLOW_WAVE, _AIRGLOW[:, 1], strict=True):
        flux += strength / (sigma * np.sqrt(2 * np.pi)) * np.exp(-0.5 * ((wave - centre) / sigma) ** 2)
    return np.asarray(_UNIT_LINE_CGS * flux)


def telluric_depths(wave: Array, rng: np.random.Generator, n: int) -> Array:
    """Draw the absorption of the air as optical depths, shape ``(n, n_pix)``."""
    airmass = rng.uniform(1.0, 1.8, (n, 1))
    water = np.exp(0.5 * rng.standard_normal((n, 1)))
    tau = np.zeros((n, wave.size), dtype=np.float32)
    for first, last, depth in _BANDS:
        inside = (wave >= first) & (wave <= last)
        if not inside.any():
            continue
        x = (wave[inside] - first) / (last - first)
        # Sharp at the blue head, irregular redwards of it; the same shape every night.
        shape = np.minimum(x / 0.08, 1.0) * (1 - x) ** 0.6 * (1 + 0.35 * np.sin(61 * x) * np.cos(23 * x))
        is_oxygen = first in (6278, 6868, 7595)
        tau[:, inside] += -np.log(1 - depth) * shape * airmass**0.6 * (1.0 if is_oxygen else water)
    return tau
