"""Observe a source as a survey publishes it: electrons, noise, faults, calibration."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from scipy.sparse import csr_array

from cempstream.models.emulator.grids import EMULATOR_GRID, line_spread_matrix
from cempstream.models.simulator.light import AB_ZERO_CGS, LIGHT_AA_PER_S, doppler
from cempstream.models.simulator.profile import ExposureProfile, Grating, Slitless, SurveyProfile
from cempstream.models.simulator.sky import airglow, telluric_depths
from cempstream.processors.constants import LIGHT_KMS
from cempstream.processors.grid import Array

#: h c in erg Å.
_HC_ERG_AA = 1.98645e-8

#: Widths of line-spread functions are rounded to 5 %, so that fibres share a matrix.
_POWER_STEP = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """Spectra of one grating on the survey's pixels.

    Attributes
    ----------
    flux, ivar
        float32, shape ``(n, n_pix)``, in 1e-17 erg/s/cm²/Å (or a factor from it); ivar 0 where bad.
    mask
        uint8, 1 = bad, shape ``(n, n_pix)``.
    resolving_power
        As published: a number, or float32 of shape ``(n_pix,)``, slitless ``(n, n_pix)``.
    contamination
        Slitless: published fraction of the flux from neighbouring sources, float32, shape ``(n, n_pix)``;
        else None.
    snr
        Median S/N per Å without faults, 0 where there is no source, shape ``(n,)``.
    """

    flux: Array = field(repr=False)
    ivar: Array = field(repr=False)
    mask: Array = field(repr=False)
    resolving_power: float | Array = field(repr=False)
    contamination: Array | None = field(repr=False)
    snr: Array = field(repr=False)


def observe(
    flux: Array, velocity_kms: Array, profile: SurveyProfile, grating: Grating, rng: np.random.Generator
) -> Observed:
    """Observe sources with one grating of a survey.

    Parameters
    ----------
    flux
        At rest above the air, 1e-17 erg/s/cm²/Å on ``EMULATOR_GRID``, shape ``(n, EMULATOR_GRID.n_pix)``.
    velocity_kms
        Radial velocity by which each source is shifted, shape ``(n,)``.
    """
    n = len(flux)
    wave = grating.wave
    pixel_aa = np.gradient(wave)
    faults = profile.faults
    zero_pix = rng.uniform(-faults.zero_point_pix, faults.zero_point_pix, n)
    zero_kms = zero_pix * np.median(pixel_aa / wave) * LIGHT_KMS
    apparent = velocity_kms + faults.velocity_zero_kms * rng.standard_normal(n) + zero_kms
    blur = _blur(n, profile, rng)
    seen = _smooth_and_sample(doppler(flux, apparent), grating, blur * _fibre_widths(n, grating, rng))
    source = seen
    contamination = None
    if profile.slitless is not None:
        source, contamination = _with_neighbours(seen, profile.slitless, rng)
    depth = telluric_depths(wave, rng, n) if faults.telluric else np.float32(0.0)
    electrons_per_flux = _electrons_per_flux(wave, pixel_aa, profile.exposure, grating)
    aperture = profile.exposure.aperture_fraction * np.exp(
        profile.exposure.aperture_scatter * rng.standard_normal((n, 1))
    )
    aperture = np.minimum(aperture, 1.0).astype(np.float32)
    electrons = source * electrons_per_flux * aperture
    if faults.telluric:
        electrons *= np.exp(-depth)
    sky, lines = _sky_electrons(wave, pixel_aa, electrons_per_flux, profile, grating)
    exposure = profile.exposure
    detector = exposure.n_rows * exposure.n_exposures * exposure.read_noise_e**2
    detector += exposure.n_rows * exposure.dark_e_per_s * exposure.exposure_s * exposure.n_exposures
    sigma = np.sqrt(np.maximum(electrons, 0.0) + (sky + detector).astype(np.float32))
    counts = electrons + sigma * rng.standard_normal(electrons.shape, dtype=np.float32)
    if faults.sky_residual:
        counts += lines * faults.sky_residual * _ragged(n, wave.size, 12, rng)
    ivar_factor = np.exp(faults.ivar_error * rng.standard_normal((n, 1))).astype(np.float32)
    mask = np.zeros(counts.shape, dtype=np.uint8)
    _strike(counts, sigma, mask, profile, rng)
    # The pipeline divides by its estimate of the response and by its telluric correction.
    left = np.float32(1.0 - faults.telluric)
    # Absolute fluxes are corrected for aperture loss by photometry; others keep an arbitrary factor.
    known = aperture if profile.flux_unit == "absolute" else exposure.aperture_fraction
    response = (
        electrons_per_flux * np.float32(known) * np.exp(-depth * left - _smooth_error(n, wave, profile, rng))
    )
    outside = (electrons_per_flux <= 0) | (wave < EMULATOR_GRID.wave[0]) | (wave > EMULATOR_GRID.wave[-1])
    mask[:, outside] = 1
    response[:, outside] = 1.0
    is_good = mask == 0
    snr = np.median((electrons / sigma)[:, np.flatnonzero(~outside)[::4]], axis=1)
    return Observed(
        flux=np.where(outside, np.float32(0.0), counts / response),
        ivar=is_good * ivar_factor * (response / sigma) ** 2,
        mask=mask,
        resolving_power=_published_power(grating, blur, is_slitless=profile.slitless is not None),
        contamination=contamination,
        snr=snr / np.sqrt(np.median(pixel_aa)),
    )


def _electrons_per_flux(wave: Array, pixel_aa: Array, exposure: ExposureProfile, grating: Grating) -> Array:
    """Return electrons in a pixel for 1e-17 erg/s/cm²/Å, all of it in the aperture, float32 ``(n_pix,)``."""
    seconds = exposure.exposure_s * exposure.n_exposures
    photons = 1e-17 * exposure.area_cm2 * seconds * pixel_aa * wave / _HC_ERG_AA
    return np.asarray(grating.throughput.at(wave) * photons, dtype=np.float32)


def _sky_electrons(
    wave: Array, pixel_aa: Array, electrons_per_flux: Array, profile: SurveyProfile, grating: Grating
) -> tuple[Array, Array]:
    """Return the sky's electrons in each pixel, and those of its lines alone."""
    exposure = profile.exposure
    surface = (
        1e17 * AB_ZERO_CGS * 10.0 ** (-0.4 * exposure.sky_mag_arcsec2.at(wave)) * LIGHT_AA_PER_S / wave**2
    )
    continuum = surface * exposure.aperture_arcsec2 * electrons_per_flux
    if profile.slitless is not None:  # every pixel gets the sky of the whole band
        continuum = np.full(wave.size, continuum.sum())
    lines = 1e17 * exposure.line_sky * airglow(wave, pixel_aa, grating.resolving_power.at(wave))
    lines = lines * exposure.aperture_arcsec2 * electrons_per_flux
    return continuum + lines, lines.astype(np.float32)


def _fibre_widths(n: int, grating: Grating, rng: np.random.Generator) -> Array:
    return np.exp(grating.power_scatter * rng.standard_normal(n))


def _blur(n: int, profile: SurveyProfile, rng: np.random.Generator) -> Array:
    """Return the width of the line-spread functions over that of a point source."""
    if profile.slitless is None:
        return np.ones(n)
    is_extended = rng.random(n) < profile.slitless.extended
    return np.where(is_extended, rng.uniform(1.0, profile.slitless.largest_blur, n), 1.0)


def _published_power(grating: Grating, blur: Array, *, is_slitless: bool) -> float | Array:
    if grating.declared_power > 0:
        return grating.declared_power
    power = grating.resolving_power.at(grating.wave)
    return (power / blur[:, None] if is_slitless else power).astype(np.float32)


@lru_cache(maxsize=128)
def _matrix(grating: Grating, key: int) -> csr_array:
    power = grating.resolving_power.at(grating.wave) / np.exp(_POWER_STEP * key)
    return line_spread_matrix(grating.pixels.grid, power, medium=grating.medium)


def _smooth_and_sample(flux: Array, grating: Grating, width: Array) -> Array:
    """Smooth by the line-spread function of each row and sample at the pixels."""
    keys = np.rint(np.log(width) / _POWER_STEP).astype(int)
    out = np.empty((len(flux), grating.pixels.n_pix), dtype=np.float32)
    for key in np.unique(keys):
        rows = np.flatnonzero(keys == key)
        out[rows] = (_matrix(grating, int(key)) @ flux[rows].T).T
    return out


def _with_neighbours(seen: Array, slitless: Slitless, rng: np.random.Generator) -> tuple[Array, Array]:
    """Add traces of other sources to some spectra; return them and the contamination as published."""
    n, n_pix = seen.shape
    other = seen[rng.permutation(n)]
    share = np.where(rng.random(n) < slitless.contaminated, 10 ** rng.uniform(-2.0, 0.3, n), 0.0)
    level = np.abs(seen).mean(axis=1) / np.maximum(np.abs(other).mean(axis=1), 1e-30)
    neighbour = np.zeros_like(seen)
    for row, offset in enumerate(rng.integers(-n_pix // 2, n_pix // 2, n)):
        first, last = max(offset, 0), min(n_pix + offset, n_pix)
        neighbour[row, first:last] = other[row, first - offset : last - offset]
    neighbour *= (share * np.minimum(level, 1e3))[:, None].astype(np.float32)
    total = seen + neighbour
    truth = neighbour / np.maximum(total, np.float32(1e-30))
    said = truth * np.exp(slitless.contamination_error * rng.standard_normal((n, 1)))
    return total, np.clip(said, 0.0, 1.0).astype(np.float32)


def _ragged(n: int, n_pix: int, length_pix: int, rng: np.random.Generator) -> Array:
    """Return unit noise correlated over about ``length_pix``, plus as much common to the whole spectrum."""
    steps = rng.standard_normal((n, n_pix // length_pix + 1), dtype=np.float32)
    whole = rng.standard_normal((n, 1), dtype=np.float32)
    return np.asarray((np.repeat(steps, length_pix, axis=1)[:, :n_pix] + whole) / np.float32(2**0.5))


def _strike(
    counts: Array, sigma: Array, mask: Array, profile: SurveyProfile, rng: np.random.Generator
) -> None:
    """Add cosmic rays and bad columns, in place."""
    n, n_pix = counts.shape
    for row, n_rays in enumerate(rng.poisson(profile.faults.cosmic_rays, size=(n,)).tolist()):
        for start in rng.integers(0, n_pix, n_rays):
            pixels = slice(start, start + rng.integers(1, 4))
            counts[row, pixels] += sigma[row, pixels] * np.exp(rng.normal(3.0, 0.9))
            if rng.random() < profile.faults.cosmic_rays_flagged:
                mask[row, pixels] = 1
    for row, n_runs in enumerate(rng.poisson(profile.faults.bad_columns, size=(n,)).tolist()):
        for start in rng.integers(0, n_pix, n_runs):
            pixels = slice(start, start + rng.integers(1, 13))
            counts[row, pixels] = 0.0
            mask[row, pixels] = 1


def _smooth_error(n: int, wave: Array, profile: SurveyProfile, rng: np.random.Generator) -> Array:
    """Return ln of the error of the flux calibration: a few waves, not shorter than the given scale."""
    faults = profile.faults
    n_waves = 4
    period_aa = faults.calibration_scale_aa * np.exp(rng.uniform(np.log(2.0), np.log(12.0), (n, n_waves, 1)))
    phase = rng.uniform(0, 2 * np.pi, (n, n_waves, 1))
    height = faults.calibration_error * rng.standard_normal((n, n_waves, 1)) * np.sqrt(2.0 / n_waves)
    # Computed at a hundred nodes, as the error is smooth.
    nodes = np.linspace(wave[0], wave[-1], 100)
    error = (height * np.sin(2 * np.pi * nodes / period_aa + phase)).sum(axis=1)
    return np.asarray(error.astype(np.float32) @ _between(nodes, wave))


def _between(nodes: Array, wave: Array) -> Array:
    """Return the linear interpolation from even nodes to wavelengths as a matrix, float32."""
    distance = np.abs(wave - nodes[:, None]) / (nodes[1] - nodes[0])
    return np.asarray(np.maximum(1.0 - distance, 0.0), dtype=np.float32)
