"""Random instruments with any resolution, range, sampling and response that a survey might have."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import csr_array

from cempstream.processors.constants import FWHM_PER_SIGMA
from cempstream.processors.grid import Array, WavelengthGrid, air_to_vacuum, grid_of
from cempstream.processors.spectrum import Medium

LIBRARY_POWER = 5000.0


@dataclass(frozen=True, slots=True, eq=False)
class Instrument:
    """The effects of one spectrograph on a spectrum.

    Attributes
    ----------
    grid, medium
        Its pixels as its packets state them.
    wave
        Where its pixels truly lie, vacuum Å, shape ``(n_pix,)``.
    power
        True λ/FWHM per pixel, shape ``(n_pix,)``.
    declared_power
        What its packets say: one number, or one per pixel.
    response
        Counts per flux, mean about 1, shape ``(n_pix,)``.
    is_calibrated
        Whether it divides by the response.
    zero_point_kms
        Slitless: the wavelength zero point of each spectrum is wrong by up to this, evenly.
    neighbours
        Slitless: share of the spectra on which another source's trace falls.
    """

    grid: WavelengthGrid
    medium: Medium
    wave: Array = field(repr=False)
    power: Array = field(repr=False)
    declared_power: float | Array = field(repr=False)
    response: Array = field(repr=False)
    is_calibrated: bool
    zero_point_kms: float = 0.0
    neighbours: float = 0.0

    @property
    def n_pix(self) -> int:
        """Number of pixels."""
        return int(self.wave.size)


def lamost_like() -> Instrument:
    """Return LAMOST's low-resolution spectrograph: 3690–9100 Å, R = 1800, vacuum, 1e-4 dex."""
    wave = 10 ** (3.5682 + 1e-4 * np.arange(3908))
    blue = np.exp(-(((wave - 4900) / 1100) ** 2))
    red = np.exp(-(((wave - 7400) / 1400) ** 2))
    response = np.maximum(blue + red, 0.08)
    return make_instrument(wave, "vacuum", np.full(wave.size, 1800.0), 1800.0, response, calibrated=True)


def draw_instrument(rng: np.random.Generator) -> Instrument:
    """Draw an instrument: half of them resemble a survey, half are slits and arms of any kind."""
    kind = rng.choice(
        ["lamost", "sdss", "desi", "blue_slit", "library", "any", "blue_arm", "red_arm"],
        p=[0.20, 0.08, 0.07, 0.30, 0.13, 0.12, 0.06, 0.04],
    )
    if kind == "lamost":
        lamost = lamost_like()
        power = rng.uniform(1500, 2000)
        return make_instrument(
            10 ** (3.5682 + 1e-4 * np.arange(3908)),
            "vacuum",
            np.full(3908, power),
            1800.0,
            lamost.response * ripple(lamost.wave, rng, 0.1),
            calibrated=bool(rng.random() < 0.9),
        )
    low, high = {
        "sdss": (3650, 9500),
        "desi": (3600, 9820),
        "blue_slit": (rng.uniform(3300, 3800), rng.uniform(4950, 5350)),
        "library": (rng.uniform(3500, 3700), rng.uniform(6800, 7600)),
        "any": _any_range(rng),
        "blue_arm": (rng.uniform(3600, 3950), rng.uniform(4900, 6200)),
        "red_arm": (rng.uniform(4700, 6000), rng.uniform(7000, 9900)),
    }[kind]
    power = float(np.exp(rng.uniform(np.log(600), np.log(5000))))
    if kind == "blue_slit":
        power = float(np.exp(rng.uniform(np.log(650), np.log(2200))))
    elif kind == "library":
        power = rng.uniform(1700, 2300)
    elif kind in ("sdss", "desi"):
        power = rng.uniform(1700, 2100) if kind == "sdss" else rng.uniform(2000, 4500)
    return _slit(low, high, power, calibrated=rng.random() < (0.25 if kind == "blue_slit" else 0.75), rng=rng)


def _any_range(rng: np.random.Generator) -> tuple[float, float]:
    low = rng.uniform(3400, 7000)
    return low, min(10000.0, low + rng.uniform(900, 4500))


def _slit(low: float, high: float, power: float, *, calibrated: bool, rng: np.random.Generator) -> Instrument:
    """Return a spectrograph with a line-spread function constant in Å or in velocity."""
    middle = 0.5 * (low + high)
    fwhm = middle / power
    pixels_per_fwhm = rng.uniform(1.6, 5.0)
    if rng.random() < 0.35:
        step = max(fwhm / pixels_per_fwhm / middle, 5e-5)
        wave = np.exp(np.arange(np.log(low), np.log(high), step))
    else:
        wave = np.arange(low, high, max(fwhm / pixels_per_fwhm, 0.25))
    constant_in_aa = rng.random() < 0.6
    local = wave / fwhm if constant_in_aa else np.full(wave.size, power)
    local = local * (1 + 0.08 * rng.standard_normal() * (wave - middle) / (high - low))
    declared = power * float(np.exp(0.12 * rng.standard_normal()))
    medium: Medium = "air" if rng.random() < 0.6 else "vacuum"
    # A dispersion solution is wrong by a tenth of a resolution element, differently along the spectrum.
    x = np.linspace(-1, 1, wave.size)
    distortion = 0.06 / power * np.polynomial.chebyshev.chebval(x, rng.standard_normal(4))
    response = random_response(wave, rng)
    return make_instrument(
        wave, medium, local, declared, response, calibrated=calibrated, distortion=distortion
    )


def make_instrument(
    wave: Array,
    medium: Medium,
    power: Array,
    declared: float | Array,
    response: Array,
    *,
    calibrated: bool,
    distortion: Array | float = 0.0,
    zero_point_kms: float = 0.0,
    neighbours: float = 0.0,
) -> Instrument:
    """Return an instrument with pixels at ``wave`` (Å in ``medium``), truly off by a relative distortion."""
    true_wave = wave if medium == "vacuum" else air_to_vacuum(wave)
    return Instrument(
        grid_of(wave),
        medium,
        true_wave * (1 + distortion),
        np.minimum(power, LIBRARY_POWER),
        declared,
        (response / response.mean()).astype(np.float32),
        calibrated,
        zero_point_kms,
        neighbours,
    )


def random_response(wave: Array, rng: np.random.Generator) -> Array:
    """Draw a response: a bell of any place and width, sometimes two arms, with ripples of a few per cent."""
    x = (wave - wave[0]) / (wave[-1] - wave[0])
    bell = np.exp(-0.5 * ((x - rng.uniform(0.3, 1.0)) / rng.uniform(0.25, 0.9)) ** 2)
    edge = 1 / (1 + np.exp(-(x - rng.uniform(-0.3, 0.02)) / rng.uniform(0.01, 0.15)))
    response = bell * edge
    if rng.random() < 0.15:  # a dichroic, or two arms that do not meet
        response *= 1 + rng.uniform(-0.4, 0.6) / (1 + np.exp(-(x - rng.uniform(0.2, 0.8)) / 0.003))
    return np.asarray(np.maximum(response * ripple(wave, rng, 0.05), 0.01))


def ripple(wave: Array, rng: np.random.Generator, largest: float) -> Array:
    """Draw a wave along the spectrum, of at most this amplitude, around 1."""
    period = rng.uniform(80, 900)
    return 1 + rng.uniform(0, largest) * np.sin(2 * np.pi * (wave / period + rng.random()))


def projection(instrument: Instrument, wave: Array) -> csr_array:
    """Return the matrix from library pixels to the instrument's: smoothing and sampling in one.

    Parameters
    ----------
    wave
        The library's wavelengths in vacuum Å, evenly spaced in ln λ.

    Returns
    -------
    csr_array
        Shape ``(instrument.n_pix, wave.size)``; rows beyond the library's ends are empty.
    """
    log_wave = np.log(wave)
    step = float(log_wave[1] - log_wave[0])
    centre = (np.log(instrument.wave) - log_wave[0]) / step
    pixel = np.gradient(np.log(instrument.wave)) / step
    extra = np.maximum(instrument.power**-2.0 - LIBRARY_POWER**-2.0, 0.0) / (FWHM_PER_SIGMA * step) ** 2
    sigma = np.sqrt(extra + pixel**2 / 12.0 + 0.1)
    half = int(np.ceil(3.5 * sigma.max()))
    columns = np.round(centre).astype(np.int64)[:, None] + np.arange(-half, half + 1)
    weights = np.exp(-0.5 * ((columns - centre[:, None]) / sigma[:, None]) ** 2)
    weights /= weights.sum(axis=1, keepdims=True)
    inside = (centre > 0) & (centre < wave.size - 1)
    rows = np.broadcast_to(np.arange(instrument.n_pix)[:, None], columns.shape)
    keep = (weights > 1e-5) & inside[:, None]
    columns = np.clip(columns, 0, wave.size - 1)
    matrix = csr_array(
        (weights[keep].astype(np.float32), (rows[keep], columns[keep])),
        shape=(instrument.n_pix, wave.size),
    )
    return matrix
