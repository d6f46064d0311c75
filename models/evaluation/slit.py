"""Degrade a real spectrum to a poor slit spectrum: blue only, low resolution, counts, unknown velocity."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cempstream.processors.constants import FWHM_PER_SIGMA, LIGHT_KMS
from cempstream.processors.estimate import estimate_ivar
from cempstream.processors.grid import Array, LinearGrid
from cempstream.processors.spectrum import Flag, Spectrum


def as_blue_slit(
    spectrum: Spectrum,
    rng: np.random.Generator,
    *,
    range_aa: tuple[float, float] = (3300.0, 5100.0),
    resolving_power: float = 900.0,
    snr: float = 30.0,
    knows_noise: bool = True,
) -> Spectrum:
    """Degrade a spectrum of high resolution and S/N.

    Blurred, moved by a halo star's velocity, sampled at 2.5 pixels per resolution element, multiplied by a
    response that falls to the blue, with noise of this S/N per pixel.

    Parameters
    ----------
    range_aa
        Inside the spectrum's range; the rest is cut.
    knows_noise
        False for a table without errors, as many are published: the noise is then estimated from the flux.
    """
    wave = spectrum.grid.wave
    rv_kms = 150.0 * rng.standard_normal()
    fwhm = 4300.0 / resolving_power
    step = fwhm / 2.5
    low, high = max(range_aa[0], float(wave[0]) * 1.004), min(range_aa[1], float(wave[-1]) * 0.996)
    centre = np.arange(low, high, step)
    good = (spectrum.ivar > 0) & (spectrum.mask == 0 if spectrum.mask is not None else True)
    filled = np.interp(wave, wave[good], spectrum.flux[good].astype(np.float64))
    own = _own_fwhm(spectrum)
    sigma = np.sqrt(np.maximum(fwhm**2 - own**2, 0.2 * step**2)) / FWHM_PER_SIGMA
    at_rest = centre / (1 + rv_kms / LIGHT_KMS)
    near = np.exp(-0.5 * ((wave - at_rest[:, None]) / sigma) ** 2) * np.gradient(wave)
    flux = (near @ filled) / near.sum(axis=1)
    x = (centre - centre[0]) / (centre[-1] - centre[0])
    response = np.exp(-0.5 * ((x - rng.uniform(0.6, 1.1)) / rng.uniform(0.3, 0.6)) ** 2)
    counts = flux * response
    counts *= snr**2 / np.median(counts)
    noisy = counts + np.sqrt(np.maximum(counts, 1.0)) * rng.standard_normal(counts.size)
    flags = [Flag.RESOLVING_POWER_ESTIMATED.value]
    ivar = 1.0 / np.maximum(noisy, 1.0)
    if not knows_noise:
        ivar = estimate_ivar(noisy, np.ones(noisy.size, dtype=bool))
        flags.append(Flag.IVAR_ESTIMATED.value)
    return replace(
        spectrum,
        grid=LinearGrid(float(centre[0]), step, centre.size),
        flux=noisy.astype(np.float32),
        ivar=ivar.astype(np.float32),
        mask=None,
        contamination=None,
        frame="observed",
        resolving_power=resolving_power,
        rv_kms=None,
        flags=tuple(flags),
    )


def _own_fwhm(spectrum: Spectrum) -> float:
    power = spectrum.resolving_power
    typical = float(np.nanmedian(power)) if isinstance(power, np.ndarray) else power
    middle: Array = np.median(spectrum.grid.wave)
    return float(middle) / typical
