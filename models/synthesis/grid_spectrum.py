"""Convert Synspec's output to a row of the library: continuum-normalised, R = 5000, on the library's grid."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import gaussian_filter1d

from cempstream.models.synthesis.synspec import RawSpectrum
from cempstream.processors.grid import Array

#: λ/FWHM of the library.
LIBRARY_RESOLVING_POWER = 5000.0
PIXELS_PER_FWHM = 2.5
_FWHM_PER_SIGMA = 2.35482

#: Grids of the library, air Å: natural-log steps for the flux, even ones for the continuum.
LIBRARY_WAVE = 3640.0 * np.exp(np.arange(12570) / (LIBRARY_RESOLVING_POWER * PIXELS_PER_FWHM))
LIBRARY_CONTINUUM_WAVE = np.linspace(3640.0, 9950.0, 128)

#: Step in ln λ in which the smoothing is done; at 1e-5 narrow lines fall between the points (0.2 % rms).
_FINE_STEP = 2e-6
_KERNEL_REACH_SIGMA = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class LibrarySpectrum:
    """One row of the library.

    Attributes
    ----------
    norm
        Flux over the true continuum at R = 5000 on ``LIBRARY_WAVE``, float16.
    continuum
        H_λ of the continuum on ``LIBRARY_CONTINUUM_WAVE``, erg/s/cm²/Å, float32.
    """

    norm: Array = field(repr=False)
    continuum: Array = field(repr=False)


def library_spectrum(raw: RawSpectrum) -> LibrarySpectrum:
    """Divide by the continuum, smooth to R = 5000 and sample."""
    continuum = np.interp(raw.wave, raw.continuum_wave, raw.continuum)
    return LibrarySpectrum(
        smooth_to_library(raw.wave, raw.flux / continuum, LIBRARY_WAVE).astype(np.float16),
        np.interp(LIBRARY_CONTINUUM_WAVE, raw.continuum_wave, raw.continuum).astype(np.float32),
    )


def smooth_to_library(wave: Array, norm: Array, pixels: Array) -> Array:
    """Smooth a finely sampled flux to R = 5000 and return it at these wavelengths, float64."""
    log_wave = np.arange(np.log(wave[0]), np.log(wave[-1]), _FINE_STEP)
    fine = np.interp(np.exp(log_wave), wave, norm)
    sigma = 1.0 / (LIBRARY_RESOLVING_POWER * _FWHM_PER_SIGMA * _FINE_STEP)
    smooth = gaussian_filter1d(fine, sigma, truncate=_KERNEL_REACH_SIGMA)
    return np.asarray(np.interp(np.log(pixels), log_wave, smooth))
