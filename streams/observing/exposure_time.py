"""How long a star has to be exposed for what one wants to know of it. Pure functions on arrays.

The signal-to-noise ratio follows the CCD equation (Merline & Howell 1995, Exp. Astron. 6, 163; Howell 2006,
*Handbook of CCD Astronomy*, section 4.4), per pixel of the extracted spectrum::

    S/N = S t / sqrt(S t + B t + n_rows (D t + n_exp R²))

with electrons a second of the star S, of the sky B, and of the dark current D; read noise R; n_exp exposures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cempstream.processors.grid import Array
from cempstream.streams.observing.instrument import Instrument

#: erg/s/cm²/Å times Å² of AB magnitude 0: f_λ = this / λ² (Oke & Gunn 1983).
_AB_ZERO = 0.10885
#: Photon energy times wavelength, erg Å.
_HC = 1.98645e-8
#: Second radiation constant, Å K.
_C2 = 1.438777e8


@dataclass(frozen=True, slots=True)
class Band:
    """A band of photometry: its pivot wavelength in Å and the flux of magnitude 0 in erg/s/cm²/Å."""

    pivot_aa: float
    zero_flux: float


def _ab(pivot_aa: float) -> Band:
    return Band(pivot_aa, _AB_ZERO / pivot_aa**2)


#: Gaia EDR3 (Riello et al. 2021) and Johnson-Cousins (Bessell & Murphy 2012) by Vega, SDSS by AB.
BANDS: Mapping[str, Band] = {
    "G": Band(6218.0, 2.50e-9), "BP": Band(5110.0, 4.08e-9), "RP": Band(7769.0, 1.27e-9),
    "B": Band(4371.0, 6.13e-9), "V": Band(5488.0, 3.63e-9), "R": Band(6496.0, 2.15e-9),
    "g": _ab(4702.0), "r": _ab(6176.0), "i": _ab(7490.0), "z": _ab(8947.0),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Question:
    """What a spectrum shall tell, and the S/N that it takes.

    Attributes
    ----------
    wave_aa
        Where the feature is, air Å.
    width_aa
        Of a band, over which its strength is summed; 0 for a single line.
    ew_error_aa
        Error of the equivalent width that answers the question.
    least_power
        Below this resolving power blends hide the feature, whatever the S/N.
    """

    name: str
    text: str
    wave_aa: float
    width_aa: float
    ew_error_aa: float
    least_power: float


#: Strengths are those of the package's own computed spectra of giants and turn-off stars from [Fe/H] -3.5 to
#: -2 (`tests/unit/test_exposure_time.py` holds them together).
QUESTIONS: Mapping[str, Question] = {
    question.name: question
    for question in (
        # The G band gains about 4 Å for every dex of [C/Fe].
        Question("cfe", "[C/Fe] to 0.05 dex by the G band", 4308.0, 20.0, 0.2, 1000.0),
        # Ba II 4554 has about 20 mÅ or more at [Ba/Fe] = 0.
        Question("ba", "Ba II 4554 of 20 mÅ at 5σ", 4554.0, 0.0, 0.004, 10_000.0),
        # Eu II 4129 has 10 to 40 mÅ at [Eu/Fe] = +1 and [Fe/H] from -3.5 to -3.
        Question("eu", "Eu II 4129 of 10 mÅ at 3σ", 4129.7, 0.0, 0.0033, 20_000.0),
    )
}

#: With less in a resolution element no continuum can be placed.
_LEAST_SNR = 30.0
#: Width of stellar lines by temperature and turbulence, FWHM in km/s.
_STELLAR_KMS = 7.0
_LIGHT_KMS = 299_792.458


def needed_snr(question: Question, instrument: Instrument) -> float:
    """Return the S/N a pixel at which an instrument answers a question.

    The error of a line's equivalent width is 1.5 sqrt(FWHM δx) / (S/N) (Cayrel 1988, IAU Symp. 132, 345);
    that of a band's is sqrt(2 width δx) / (S/N), with as many pixels for its continuum as for itself.
    """
    pixel_aa = instrument.pixel_aa(question.wave_aa)
    if question.width_aa:
        snr = np.sqrt(2.0 * question.width_aa * pixel_aa) / question.ew_error_aa
    else:
        fwhm_aa = question.wave_aa * np.hypot(1.0 / instrument.resolving_power, _STELLAR_KMS / _LIGHT_KMS)
        snr = 1.5 * np.sqrt(fwhm_aa * pixel_aa) / question.ew_error_aa
    return float(max(snr, _LEAST_SNR / np.sqrt(instrument.pixels_per_element)))


def star_flux(magnitude: Array | float, band: Band, teff: Array | float, wave_aa: float) -> Array:
    """Return a star's flux above the atmosphere, erg/s/cm²/Å, shape as `magnitude`.

    From the band to the wavelength by Planck's law at the star's temperature. Against the package's computed
    spectra of metal-poor stars, from r to the continua of the questions, that is 0.1 to 0.35 mag too faint;
    in cool stars rich in carbon up to 0.6 mag too bright (`tests/unit/test_exposure_time.py`). Reddening is
    part of the magnitude, not of the colour.
    """

    def planck(at_aa: float) -> Array:
        return np.asarray(1.0 / (at_aa**5 * np.expm1(_C2 / (at_aa * np.asarray(teff)))))

    flux = band.zero_flux * 10.0 ** (-0.4 * np.asarray(magnitude))
    return np.asarray(flux * planck(wave_aa) / planck(band.pivot_aa))


def moonlight_mag(
    moon_phase_deg: Array,
    moon_altitude_deg: Array,
    altitude_deg: Array,
    moon_distance_deg: Array,
    extinction_v: float,
    dark_v: float,
) -> Array:
    """Return by how many magnitudes the Moon brightens the sky in V.

    Krisciunas & Schaefer (1991, PASP 103, 1033). Shapes are broadcast together. Positive is brighter; 0
    where the Moon has set.
    """
    alpha = np.abs(moon_phase_deg)
    moon = 10.0 ** (-0.4 * (3.84 + 0.026 * alpha + 4e-9 * alpha**4))
    rho = np.asarray(moon_distance_deg)
    scattering = 10**5.36 * (1.06 + np.cos(np.radians(rho)) ** 2) + 10 ** (6.15 - rho / 40.0)

    def path(altitude: Array) -> Array:
        return np.asarray((1.0 - 0.96 * np.cos(np.radians(np.maximum(altitude, 0.0))) ** 2) ** -0.5)

    light = scattering * moon * 10 ** (-0.4 * extinction_v * path(moon_altitude_deg))
    light = light * (1.0 - 10 ** (-0.4 * extinction_v * path(altitude_deg)))
    dark = 34.08 * np.exp(20.7233 - 0.92104 * dark_v)  # nanolambert
    return np.where(np.asarray(moon_altitude_deg) > 0.0, 2.5 * np.log10(1.0 + light / dark), 0.0)


def exposure_s(
    flux: Array, airmass: Array, sky_mag: Array, snr: float, instrument: Instrument, wave_aa: float
) -> Array:
    """Return the open-shutter time that reaches an S/N a pixel, in seconds; infinite below the horizon.

    Parameters
    ----------
    flux
        Above the atmosphere, erg/s/cm²/Å; shapes are broadcast together.
    sky_mag
        AB magnitude of an arcsec² of sky.
    """
    is_up = np.isfinite(airmass)
    star, noise = _rates(flux, np.where(is_up, airmass, 1.0), sky_mag, instrument, wave_aa)
    read = instrument.n_rows * instrument.read_noise_e**2
    with np.errstate(over="ignore", divide="ignore"):
        # With exposures of full length read noise comes at a rate, and so many are needed.
        full = snr**2 * (noise + read / instrument.max_exposure_s) / star**2
    seconds = _solve(star, noise, read * n_exposures(full, instrument), snr)
    return np.where(is_up, seconds, np.inf)


def n_exposures(seconds: Array, instrument: Instrument) -> Array:
    """Return into how many exposures a time is split."""
    return np.maximum(np.ceil(np.asarray(seconds) / instrument.max_exposure_s - 1e-9), 1.0)


def reached_snr(
    flux: Array, airmass: Array, sky_mag: Array, seconds: Array, instrument: Instrument, wave_aa: float
) -> Array:
    """Return the S/N a pixel after so many seconds: the CCD equation as it is written."""
    star, noise = _rates(flux, airmass, sky_mag, instrument, wave_aa)
    read = instrument.n_rows * instrument.read_noise_e**2 * n_exposures(seconds, instrument)
    return np.asarray(star * seconds / np.sqrt(noise * seconds + read))


def _rates(
    flux: Array, airmass: Array, sky_mag: Array, instrument: Instrument, wave_aa: float
) -> tuple[Array, Array]:
    """Return electrons a second and pixel of the star, and of star, sky and dark current together."""
    per_flux = (
        instrument.area_cm2 * instrument.efficiency.at(wave_aa) * instrument.pixel_aa(wave_aa) * wave_aa / _HC
    )
    dimmed = 10.0 ** (-0.4 * instrument.extinction_mag.at(wave_aa) * np.asarray(airmass))
    star = np.asarray(flux * dimmed * instrument.aperture_fraction * per_flux)
    sky = (
        _AB_ZERO / wave_aa**2 * 10.0 ** (-0.4 * np.asarray(sky_mag)) * instrument.aperture_arcsec2 * per_flux
    )
    return star, np.asarray(star + sky + instrument.n_rows * instrument.dark_e_per_h / 3600.0)


def _solve(star: Array, noise: Array, read: Array | float, snr: float) -> Array:
    """Return t of S/N = star t / sqrt(noise t + read)."""
    with np.errstate(over="ignore", divide="ignore"):
        half = snr**2 * noise
        return np.asarray((half + np.sqrt(half**2 + 4.0 * star**2 * snr**2 * read)) / (2.0 * star**2))
