"""Slitless and other low-resolution spectrographs, for training the bundle ``low``.

CSST sends GV or GI of a source, each alone, and the service joins them where both are known: a resolution
element constant in Å that grows with the source, a wavelength zero point wrong by up to three pixels, and
other sources' traces over its own (figures of CESS, as in the profile ``csst`` of the simulator). The other
half resembles no survey: any range, sampling and response at R = 100 to 500.
"""

from __future__ import annotations

import numpy as np

from cempstream.models.simulator.profile import Grating, load_profile
from cempstream.models.training.instruments import Instrument, make_instrument, random_response, ripple
from cempstream.processors.constants import LIGHT_KMS
from cempstream.processors.grid import Array, air_to_vacuum
from cempstream.processors.spectrum import Medium

#: Resolution element of a point source in Å, four pixels, as the CSST reader states it.
_ELEMENT_AA = {"GV": 21.0, "GI": 33.0}
#: The zero point is wrong by up to this many pixels, evenly.
_ZERO_POINT_PIX = 3.0
_GRATINGS = {grating.name: grating for grating in load_profile("csst").grating}
#: The library ends here, and so do all instruments.
_REDDEST_AA = 9940.0

_KINDS = {
    "gv": 0.30,
    "gi": 0.10,
    "gv_gi": 0.14,
    "gv_of_slit": 0.18,
    "optical": 0.12,
    "both": 0.06,
    "any": 0.10,
}


def csst_gv() -> Instrument:
    """Return CSST's GV for a point source, flux-calibrated, its zero point as uncertain as it is."""
    grating = _GRATINGS["GV"]
    wave = grating.wave
    power = wave / _ELEMENT_AA["GV"]
    response = np.maximum(grating.throughput.at(wave), 1e-3)
    return make_instrument(
        wave, "vacuum", power, power, response, calibrated=True, zero_point_kms=_zero_point_kms(grating)
    )


def low_resolution() -> Instrument:
    """Return a spectrograph of the whole range, for templates."""
    wave = np.arange(3650.0, _REDDEST_AA, 2.0)
    return make_instrument(
        wave, "vacuum", np.full(wave.size, 1000.0), 1000.0, np.ones(wave.size), calibrated=True
    )


def draw_slitless(rng: np.random.Generator) -> Instrument | tuple[Instrument, ...]:
    """Draw an instrument: half of them are CSST's, half any spectrograph of R = 100 to 500.

    Two stand for spectra through both gratings of a source, joined.
    """
    kind = str(rng.choice(list(_KINDS), p=list(_KINDS.values())))
    if kind == "gv_gi":
        return _grating(_GRATINGS["GV"], rng), _grating(_GRATINGS["GI"], rng)
    if kind in ("gv", "gi"):
        return _grating(_GRATINGS[kind.upper()], rng)
    low, high = {
        # Slit spectra end near 5100 Å, whatever they are degraded to.
        "gv_of_slit": (rng.choice([3810.0, rng.uniform(3500, 3900)]), rng.uniform(4950, 5350)),
        "optical": (rng.uniform(3540, 3820), rng.uniform(6400, 7600)),
        "both": (3810.0, _REDDEST_AA),
        "any": _any_range(rng),
    }[kind]
    power = float(np.exp(rng.uniform(np.log(100), np.log(500))))
    if kind != "any":
        power = rng.uniform(180, 320)
    return _spectrograph(low, high, power, calibrated=bool(rng.random() < 0.6), rng=rng)


def with_neighbours(signal: Array, share: float, rng: np.random.Generator) -> Array:
    """Add spectra of other rows, moved along the dispersion, to a share of the rows.

    Returns
    -------
    Array
        Shape of ``signal``; the neighbour has 1 to 100 % of the row's own light.
    """
    n, n_pix = signal.shape
    out = signal.copy()
    rows = np.flatnonzero(rng.random(n) < share)
    others = rng.permutation(n)[: rows.size]
    strength = 10 ** rng.uniform(-2.0, 0.0, rows.size)
    mean = np.maximum(np.abs(signal).mean(axis=1), 1e-30)
    for row, other, part, offset in zip(
        rows, others, strength, rng.integers(-n_pix // 2, n_pix // 2, rows.size), strict=True
    ):
        first, last = max(offset, 0), min(n_pix + offset, n_pix)
        trace = signal[other, first - offset : last - offset]
        out[row, first:last] += np.float32(part * mean[row] / mean[other]) * trace
    return out


def _grating(grating: Grating, rng: np.random.Generator) -> Instrument:
    """Return a grating of CSST for sources of one size."""
    wave = grating.wave
    wave = wave[wave < _REDDEST_AA]
    element = _ELEMENT_AA[grating.name]
    blur = rng.uniform(1.0, 2.5) if rng.random() < 0.2 else rng.uniform(0.95, 1.1)
    power = wave / (element * blur)
    # Packets state the point source's resolution pixel by pixel; tables give one number.
    nominal = wave / element
    declared = nominal if rng.random() < 0.6 else float(np.median(nominal)) * rng.uniform(0.9, 1.1)
    response = np.maximum(grating.throughput.at(wave), 1e-3) * ripple(wave, rng, 0.05)
    return make_instrument(
        wave,
        "vacuum",
        power,
        declared,
        response,
        calibrated=bool(rng.random() < 0.85),
        zero_point_kms=_zero_point_kms(grating),
        neighbours=0.25,
    )


def _zero_point_kms(grating: Grating) -> float:
    wave = grating.wave
    return float(_ZERO_POINT_PIX * LIGHT_KMS * np.median(np.gradient(wave) / wave))


def _any_range(rng: np.random.Generator) -> tuple[float, float]:
    low = rng.uniform(3500, 6500)
    return low, min(_REDDEST_AA, low + rng.uniform(1200, 5500))


def _spectrograph(
    low: float, high: float, power: float, *, calibrated: bool, rng: np.random.Generator
) -> Instrument:
    """Return a spectrograph with a line-spread function constant in Å or in velocity, often oversampled."""
    middle = 0.5 * (low + high)
    fwhm = middle / power
    pixels_per_fwhm = float(np.exp(rng.uniform(np.log(2.0), np.log(20.0))))
    wave = np.arange(low, high, max(fwhm / pixels_per_fwhm, 0.8))
    if rng.random() < 0.3:
        wave = np.exp(np.linspace(np.log(low), np.log(high), wave.size))
    local = wave / fwhm if rng.random() < 0.4 else np.full(wave.size, power)
    declared = power * float(np.exp(0.1 * rng.standard_normal()))
    medium: Medium = "air" if rng.random() < 0.5 else "vacuum"
    if medium == "air":
        high_end = air_to_vacuum(wave) < _REDDEST_AA
        wave, local = wave[high_end], local[high_end]
    x = np.linspace(-1, 1, wave.size)
    distortion = 0.06 / power * np.polynomial.chebyshev.chebval(x, rng.standard_normal(4))
    return make_instrument(
        wave,
        medium,
        local,
        declared,
        random_response(wave, rng),
        calibrated=calibrated,
        distortion=distortion,
        zero_point_kms=float(rng.choice([0.0, 300.0])),
    )
