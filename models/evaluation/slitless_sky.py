"""Degrade a real spectrum to CSST's GV band: low resolution, wrong zero point, one band."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cempstream.processors.constants import FWHM_PER_SIGMA
from cempstream.processors.grid import Array, LinearGrid, air_to_vacuum
from cempstream.processors.spectrum import Spectrum

#: GV's pixels in vacuum Å.
_START_AA, _STEP_AA, _N_PIX = 3810.0, 5.25, 530


def as_csst_gv(
    spectrum: Spectrum,
    rng: np.random.Generator,
    *,
    resolving_power: float = 230.0,
    snr: float = 30.0,
    zero_point_pix: float = 3.0,
) -> Spectrum:
    """Degrade a spectrum at rest, of far higher resolution and S/N, to GV.

    Parameters
    ----------
    snr
        Per pixel of 5.25 Å, the same in all pixels.
    zero_point_pix
        The wavelength zero point is wrong by up to this many pixels; 0 for a wavelength scale at rest.
    """
    wave = spectrum.grid.wave
    wave = air_to_vacuum(wave) if spectrum.medium == "air" else wave
    good = (spectrum.ivar > 0) & (spectrum.mask == 0 if spectrum.mask is not None else True)
    good &= np.isfinite(spectrum.flux)
    wave, flux = wave[good], spectrum.flux[good].astype(np.float64)
    pixel = _START_AA + _STEP_AA * np.arange(_N_PIX)
    pixel = pixel[(pixel > wave[0] * 1.002) & (pixel < wave[-1] * 0.998)]
    true = pixel + _STEP_AA * rng.uniform(-zero_point_pix, zero_point_pix)
    seen = _blur(wave, flux, true, resolving_power)
    sigma = np.median(seen) / snr * np.sqrt(np.maximum(seen, 0.02 * np.median(seen)) / np.median(seen))
    noisy = seen + sigma * rng.standard_normal(pixel.size)
    return replace(
        spectrum,
        survey="csst",
        grid=LinearGrid(float(pixel[0]), _STEP_AA, pixel.size),
        flux=noisy.astype(np.float32),
        ivar=(1.0 / sigma**2).astype(np.float32),
        mask=None,
        contamination=None,
        medium="vacuum",
        frame="observed" if zero_point_pix else "rest",
        resolving_power=resolving_power,
        grating="GV",
        rv_kms=None,
        flags=(),
    )


def _blur(wave: Array, flux: Array, at: Array, resolving_power: float) -> Array:
    """Return the flux smoothed to this λ/FWHM and averaged over the pixel, at these wavelengths."""
    sigma = np.sqrt((at / resolving_power / FWHM_PER_SIGMA) ** 2 + _STEP_AA**2 / 12.0)
    near = np.exp(-0.5 * ((wave - at[:, None]) / sigma[:, None]) ** 2) * np.gradient(wave)
    return np.asarray((near @ flux) / near.sum(axis=1))
