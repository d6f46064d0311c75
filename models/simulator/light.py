"""The flux of a source above the atmosphere, on the emulator's grid."""

from __future__ import annotations

import numpy as np

from cempstream.models.emulator.emulator import Emulator
from cempstream.models.emulator.grids import EMULATOR_GRID
from cempstream.models.simulator.contaminants import Starlight, contaminant_flux
from cempstream.models.simulator.mix import CONTAMINANTS
from cempstream.models.simulator.sources import KIND_CODE, Sources
from cempstream.processors.constants import LIGHT_KMS
from cempstream.processors.grid import Array

_LN_STEP = EMULATOR_GRID.log10_step * np.log(10.0)

#: erg/s/cm²/Hz of AB magnitude 0, and c in Å/s.
AB_ZERO_CGS = 3.6308e-20
LIGHT_AA_PER_S = 2.99792458e18


def model_flux(sources: Sources, emulator: Emulator, rng: np.random.Generator) -> Array:
    """Return the sources' flux at rest, unreddened, per Å at any scale.

    Galaxies and quasars are redshifted already, sky is zero.

    Returns
    -------
    Array
        On ``EMULATOR_GRID``, float32, shape ``(n, EMULATOR_GRID.n_pix)``.
    """
    spectra = emulator(sources.labels)
    flux = spectra.flux
    for kind in CONTAMINANTS:
        rows = np.flatnonzero(sources.kind == KIND_CODE[kind])
        if rows.size:
            light = Starlight(spectra.norm[rows], spectra.continuum[rows])
            flux[rows] = contaminant_flux(kind, light, rng)
    return flux


def redden(flux: Array, ebv: Array) -> Array:
    """Redden by Cardelli, Clayton & Mathis (1989, ApJ 345, 245) with R_V = 3.1; ``ebv`` ``(n,)``."""
    depth = (-0.4 * np.log(10.0) * 3.1 * ebv[:, None]).astype(np.float32) * _EXTINCTION
    np.exp(depth, out=depth)
    depth *= flux
    return np.asarray(depth)


def _extinction(wave: Array) -> Array:
    """Return A_λ / A_V of CCM89 in the optical and infrared."""
    x = 1e4 / wave
    y = np.minimum(x, 3.3) - 1.82
    a = np.polyval([0.32999, -0.77530, 0.01979, 0.72085, -0.02427, -0.50447, 0.17699, 1.0], y)
    b = np.polyval([-2.09002, 5.30260, -0.62251, -5.38434, 1.07233, 2.28305, 1.41338, 0.0], y)
    is_infrared = x < 1.1
    a = np.where(is_infrared, 0.574 * x**1.61, a)
    b = np.where(is_infrared, -0.527 * x**1.61, b)
    return np.asarray(a + b / 3.1, dtype=np.float32)


_EXTINCTION = _extinction(EMULATOR_GRID.wave)


def scale_to_magnitude(flux: Array, magnitude: Array, band_aa: tuple[float, float]) -> Array:
    """Scale fluxes to AB magnitudes in a box-shaped band; zero flux stays zero.

    Returns
    -------
    Array
        1e-17 erg/s/cm²/Å, float32.
    """
    wave = EMULATOR_GRID.wave
    inside = (wave >= band_aa[0]) & (wave <= band_aa[1])
    # F_ν = F_λ λ² / c, averaged over the band.
    per_frequency = flux[:, inside].astype(np.float64) @ (wave[inside] ** 2 / LIGHT_AA_PER_S) / inside.sum()
    wanted = 1e17 * AB_ZERO_CGS * 10.0 ** (-0.4 * magnitude)
    scale = np.where(per_frequency > 0, wanted / np.where(per_frequency > 0, per_frequency, 1.0), 0.0)
    return np.asarray(flux * scale[:, None].astype(np.float32))


def doppler(flux: Array, velocity_kms: Array) -> Array:
    """Shift each row by its velocity: a whole number of pixels and a six-point interpolation.

    The grid's pixels are equally wide in velocity, so one set of weights per row is enough.
    """
    shift = np.log1p(velocity_kms / LIGHT_KMS) / _LN_STEP
    whole = np.floor(shift).astype(int)
    part = shift - whole
    points = np.arange(-2, 4)
    # Lagrange's weights of the six neighbours.
    weights = np.ones((flux.shape[0], points.size))
    for i, here in enumerate(points):
        for other in points:
            if other != here:
                weights[:, i] *= (part - other) / (here - other)
    n_pix = flux.shape[1]
    pad = int(np.max(np.abs(whole))) + 4
    padded = np.pad(flux, ((0, 0), (pad, pad)), mode="edge")
    out = np.zeros_like(flux)
    weights = weights.astype(flux.dtype)
    for row in range(flux.shape[0]):
        for i, here in enumerate(points):
            start = pad - whole[row] - here
            out[row] += weights[row, i] * padded[row, start : start + n_pix]
    return out
