"""Turn a star at rest into training input: physics errors, an instrument, observation, and our processors.

The last steps are the same functions as in the service (``Rebinner``, ``Normaliser``, ``VelocityFinder``,
``shift_to_rest``), so that training and service inputs agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np

from cempstream.models.training.balmer import BalmerCores
from cempstream.models.training.instruments import Instrument, projection
from cempstream.models.training.physics_errors import perturb_physics
from cempstream.models.training.slitless import with_neighbours
from cempstream.models.training.stars import Stars
from cempstream.processors.batch import NormalisedBatch
from cempstream.processors.constants import LIGHT_KMS
from cempstream.processors.continuum import Normaliser
from cempstream.processors.grid import Array, air_to_vacuum, vacuum_to_air
from cempstream.processors.rebin import Rebinner
from cempstream.processors.spectrum import Spectrum
from cempstream.processors.stars.join import join
from cempstream.processors.velocity import VelocityFinder, shift_to_rest

#: A packet needs a time; nothing here depends on it.
_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)

#: Scatter of ln S/N between two gratings of one star.
_ARM_SNR_SPREAD = 0.35

_SKY_LINES = (5577.3, 5889.9, 6300.3, 6363.8, 6863.9, 7276.4, 7316.3, 7340.9, 7750.6, 7794.1, 7821.5, 7913.7,
              7993.3, 8344.6, 8399.2, 8430.2, 8465.4, 8827.1, 8885.9, 8919.6, 8958.1)  # fmt: skip
#: O2 and water: first and last wavelength in Å, typical depth.
_TELLURIC = ((6867, 6950, 0.35), (7165, 7330, 0.2), (7594, 7700, 0.7), (8130, 8350, 0.25), (8940, 9250, 0.4))


@dataclass(frozen=True, slots=True, eq=False)
class Degraded:
    """A batch as the networks get it, with the same batch without noise.

    Attributes
    ----------
    clean
        Noise-free ``norm`` of the same pixels; 1 where the instrument saw nothing. Shape ``(n, n_pix)``.
    snr
        S/N per Å of the observation, shape ``(n,)``.
    """

    batch: NormalisedBatch
    clean: Array = field(repr=False)
    snr: Array = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """Stars on their way to an instrument: at the library's resolution, each with its velocity."""

    norm: Array
    continuum: Array
    wave: Array
    continuum_wave: Array
    rv_kms: Array


@dataclass(frozen=True, slots=True)
class Conditions:
    """The strength of the augmentation.

    Attributes
    ----------
    snr_range
        S/N per Å, drawn log-uniformly.
    wild
        Scale of all that is not noise: physics errors, calibration errors, artefacts, wrong velocities;
        0 is a well-behaved survey, 1 the sky.
    balmer
        Depth of Balmer cores: ``any``, whatever the star, or as ``measured`` on real stars.
    """

    snr_range: tuple[float, float] = (3.0, 150.0)
    wild: float = 1.0
    balmer: BalmerCores = "any"


class Degrader:
    """Observe stars with one instrument at a time and process them as the service does.

    Parameters
    ----------
    finder
        None before templates are chosen; velocities are then the true ones with errors.
    """

    def __init__(self, rebin: Rebinner, normalise: Normaliser, finder: VelocityFinder | None) -> None:
        self.rebin = rebin
        self.normalise = normalise
        self.finder = finder

    def __call__(
        self,
        stars: Stars,
        wave: Array,
        continuum_wave: Array,
        instrument: Instrument | Sequence[Instrument],
        conditions: Conditions,
        rng: np.random.Generator,
        left: Array | None = None,
    ) -> Degraded:
        """Observe stars.

        Parameters
        ----------
        instrument
            Of several, each sees the same stars; what they saw is joined to one spectrum.
        left
            S/N per Å of what an empty fibre sees, of either sign; NaN or None where there is a source.
        """
        n = len(stars.norm)
        norm = (
            perturb_physics(stars, vacuum_to_air(wave), conditions.wild, rng, conditions.balmer)
            if conditions.wild
            else stars.norm
        )
        rv_kms = 120.0 * rng.standard_normal(n) if conditions.wild else 60.0 * rng.standard_normal(n)
        low, high = np.log(conditions.snr_range)
        seen = _Seen(norm, stars.continuum, wave, continuum_wave, rv_kms)
        if isinstance(instrument, Instrument):
            return self._observe(
                seen, instrument, lambda: np.exp(rng.uniform(low, high, n)), conditions, rng, left
            )
        # What all gratings have in common is how bright the star is.
        bright = rng.uniform(low, high, n)

        def arm_snr() -> Array:
            return np.exp(np.clip(bright + _ARM_SNR_SPREAD * rng.standard_normal(n), low, high))

        return self._joined([self._observe(seen, one, arm_snr, conditions, rng, left) for one in instrument])

    def _joined(self, arms: Sequence[Degraded]) -> Degraded:
        """Join what several gratings saw, as the service does."""
        batch = join([arm.batch for arm in arms], self.normalise)
        clean = join([replace(arm.batch, norm=arm.clean) for arm in arms], self.normalise)
        snr = np.max([arm.snr for arm in arms], axis=0)
        return Degraded(batch, np.where(batch.ivar > 0, clean.norm, 1.0), snr)

    def _observe(
        self,
        seen: _Seen,
        instrument: Instrument,
        draw_snr: Callable[[], Array],
        conditions: Conditions,
        rng: np.random.Generator,
        left: Array | None,
    ) -> Degraded:
        n = len(seen.norm)
        wave, rv_kms = seen.wave, seen.rv_kms
        if instrument.zero_point_kms:
            rv_kms = rv_kms + rng.uniform(-instrument.zero_point_kms, instrument.zero_point_kms, n)
        lines = (projection(instrument, wave) @ _doppler(seen.norm, wave, rv_kms).T).T
        shape = _continuum(seen.continuum, seen.continuum_wave, instrument.wave)
        shape = shape * _calibration_error(instrument, n, conditions.wild, rng)
        counts = shape * instrument.response
        counts /= counts.mean(axis=1, keepdims=True)
        if conditions.wild:
            lines = _atmosphere(lines, instrument, conditions.wild, rng)
        signal = lines * counts
        if instrument.neighbours and conditions.wild:
            signal = with_neighbours(signal, instrument.neighbours, rng)
        snr = draw_snr()
        sigma = _sigma(signal, instrument, snr, rng)
        clean_counts = signal.copy()
        noisy = signal + sigma * rng.standard_normal(signal.shape)
        if left is not None:
            is_empty = np.isfinite(left)
            noisy[is_empty] -= (1.0 - (left / snr)[is_empty, None]) * signal[is_empty]
        ivar = 1.0 / sigma**2
        if conditions.wild:
            noisy, ivar = _artefacts(noisy, ivar, sigma, instrument, conditions.wild, rng)
            ivar = _wrong_ivar(ivar, conditions.wild, rng)
        # Detectors count; a survey that calibrates divides by its response, some by their continuum as well.
        scale = instrument.response[None, :] if instrument.is_calibrated else np.ones((1, instrument.n_pix))
        scale = np.where((rng.random(n) < 0.07 * (conditions.wild > 0))[:, None], counts, scale)
        empty = np.asarray(abs(lines).sum(axis=0) == 0)
        ivar[:, empty] = 0.0
        batch = self._process(noisy / scale, ivar * scale**2, instrument)
        clean = self._process(clean_counts / scale, np.where(empty, 0.0, scale**2 / sigma**2), instrument)
        applied = self._velocity(batch, rv_kms, snr, conditions.wild, rng)
        if left is not None:
            snr = np.where(np.isfinite(left), np.abs(left), snr)
        return Degraded(shift_to_rest(batch, applied), shift_to_rest(clean, applied).norm, snr)

    def noise_free(self, stars: Stars, wave: Array, continuum_wave: Array, instrument: Instrument) -> Array:
        """Return normalised spectra of stars at rest as the instrument would see them without noise."""
        lines = (projection(instrument, wave) @ stars.norm.T).T
        flux = lines * _continuum(stars.continuum, continuum_wave, instrument.wave)
        ivar = np.where(np.asarray(abs(lines).sum(axis=0) == 0), 0.0, np.full_like(flux, 1e4))
        return self._process(flux, ivar, instrument).norm

    def _process(self, flux: Array, ivar: Array, instrument: Instrument) -> NormalisedBatch:
        flux32, ivar32 = flux.astype(np.float32), ivar.astype(np.float32)
        declared = instrument.declared_power
        declared = declared.astype(np.float32) if isinstance(declared, np.ndarray) else declared
        spectra = [
            Spectrum(
                spectrum_id="t",
                survey="train",
                grid=instrument.grid,
                flux=flux32[i],
                ivar=ivar32[i],
                medium=instrument.medium,
                resolving_power=declared,
                reduced_at=_ANY_TIME,
            )
            for i in range(len(flux32))
        ]
        return self.normalise(self.rebin(spectra))

    def _velocity(
        self, batch: NormalisedBatch, rv_kms: Array, snr: Array, wild: float, rng: np.random.Generator
    ) -> Array:
        """Return the velocity that is removed: measured, known with an error, or wrong."""
        n = rv_kms.size
        known = rv_kms + (8 + 60 / snr) * rng.standard_normal(n)
        if self.finder is not None:
            measured = self.finder(batch).rv_kms
            known = np.where(rng.random(n) < 0.7, measured, known)
        if not wild:
            return np.asarray(known)
        wrong = rng.random(n) < 0.06 * wild
        return np.where(wrong, rv_kms + rng.uniform(-600, 600, n), known + 15 * wild * rng.standard_normal(n))


def _doppler(norm: Array, wave: Array, rv_kms: Array) -> Array:
    """Shift each row; the pixels are even in ln λ."""
    step = float(np.log(wave[1] / wave[0]))
    shift = np.log1p(rv_kms / LIGHT_KMS) / step
    pixel = np.arange(norm.shape[1])
    out = np.empty_like(norm)
    for row, moved in enumerate(shift):
        whole = int(np.floor(moved))
        part = np.float32(moved - whole)
        left = np.clip(pixel - whole - 1, 0, norm.shape[1] - 1)
        right = np.clip(pixel - whole, 0, norm.shape[1] - 1)
        out[row] = part * norm[row, left] + (1 - part) * norm[row, right]
    return out


def _continuum(continuum: Array, continuum_wave: Array, wave: Array) -> Array:
    """Interpolate the continuum on the instrument's pixels; mean 1 per row."""
    x = np.interp(np.log(wave), np.log(continuum_wave), np.arange(continuum_wave.size))
    left = np.clip(x.astype(np.int64), 0, continuum_wave.size - 2)
    part = (x - left).astype(np.float32)
    log_cont = np.log(np.maximum(continuum, 1e-30))
    shape = np.exp(log_cont[:, left] * (1 - part) + log_cont[:, left + 1] * part)
    return np.asarray(shape / shape.mean(axis=1, keepdims=True))


def _calibration_error(instrument: Instrument, n: int, wild: float, rng: np.random.Generator) -> Array:
    """Reddening and a smooth error of the response, per row; mean free."""
    wave = instrument.wave
    x = np.linspace(-1, 1, wave.size)
    order = 7
    basis = np.polynomial.chebyshev.chebvander(x, order)[:, 1:].T
    spread = (0.03 + 0.25 * wild * rng.random((n, 1))) / np.arange(1, order + 1) ** 0.8
    log_error = (spread * rng.standard_normal((n, order))) @ basis
    # Cardelli et al. 1989 in the optical is near a line in 1/λ: A(λ)/A(V) ≈ 1 + 0.6 (1/λ - 1.82) per µm.
    a_v = np.where(rng.random(n) < 0.5, rng.exponential(0.5, n), 0.0)[:, None]
    reddening = -0.4 * np.log(10) * a_v * (1 + 0.6 * (1e4 / wave - 1.82))
    total = log_error + np.maximum(reddening, -6.0)
    return np.asarray(np.exp(total - total.mean(axis=1, keepdims=True)))


def _atmosphere(lines: Array, instrument: Instrument, wild: float, rng: np.random.Generator) -> Array:
    """Telluric bands left in (observed frame), and a wrong zero level of the sky subtraction."""
    n = len(lines)
    wave = instrument.wave
    out = np.array(lines, dtype=np.float32)
    uncorrected = rng.random(n) < 0.6 * wild
    for low, high, depth in _TELLURIC:
        window = np.flatnonzero((wave > low) & (wave < high))
        if window.size:
            x = (wave[window] - low) / (high - low)
            profile = np.exp(-2 * x) * (0.75 + 0.25 * np.sin(60 * x))
            out[:, window] *= 1 - (uncorrected * depth * rng.uniform(0, 1.2, n))[:, None] * np.clip(
                profile, 0, 1
            )
    level = np.where(rng.random(n) < 0.3 * wild, rng.uniform(-0.08, 0.15, n), 0.0)[:, None]
    return np.asarray((out + level) / (1 + level))


def _sigma(signal: Array, instrument: Instrument, snr: Array, rng: np.random.Generator) -> Array:
    """Photon noise of star and sky plus read noise, scaled to the S/N per Å asked for."""
    n = len(signal)
    flat = rng.uniform(0.05, 0.8, (n, 1))  # share of the variance that is not from the star
    variance = (1 - flat) * np.maximum(signal, 0.0) + flat
    pixel_aa = np.gradient(instrument.wave)
    level = np.maximum(signal, 1e-3) / np.sqrt(variance) / np.sqrt(pixel_aa)
    typical = np.median(level, axis=1, keepdims=True)
    return np.asarray(np.sqrt(variance) * typical / snr[:, None])


def _artefacts(
    flux: Array, ivar: Array, sigma: Array, instrument: Instrument, wild: float, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Cosmic rays, sky-line residuals, bad columns and gaps, flagged or not."""
    n, n_pix = flux.shape
    flux, ivar = flux.copy(), ivar.copy()
    hits = rng.poisson(1.5 * wild * n_pix / 3000, n)
    rows = np.repeat(np.arange(n), hits)
    place = rng.integers(0, n_pix - 2, rows.size)
    size = sigma[rows, place] * np.exp(rng.uniform(np.log(3), np.log(80), rows.size))
    flux[rows, place] += size
    flux[rows, place + 1] += 0.4 * size
    flagged = rng.random(rows.size) < 0.5
    ivar[rows[flagged], place[flagged]] = 0.0
    for line in air_to_vacuum(np.array(_SKY_LINES)):
        pixels = np.flatnonzero(np.abs(instrument.wave - line) < line / instrument.declared_power)
        if pixels.size:
            bad = np.asarray(rng.random((n, 1)) < 0.35 * wild) * rng.normal(0, 4, (n, 1))
            flux[:, pixels] += bad * sigma[:, pixels]
    for row in np.flatnonzero(rng.random(n) < 0.35 * wild):
        for _ in range(rng.integers(1, 4)):
            width = int(np.exp(rng.uniform(0, np.log(n_pix / 6))))
            start = int(rng.integers(0, n_pix - width))
            ivar[row, start : start + width] = 0.0
            if width < 30 and rng.random() < 0.3:  # a bad column that is not flagged
                ivar[row, start : start + width] = 1 / sigma[row, start : start + width] ** 2
                flux[row, start : start + width] *= rng.uniform(0.5, 1.3)
    return flux, ivar


def _wrong_ivar(ivar: Array, wild: float, rng: np.random.Generator) -> Array:
    """Pipelines over- and underestimate their noise; some publish only good and bad."""
    n = len(ivar)
    scaled = ivar * np.exp(wild * rng.normal(0, 0.35, (n, 1)))
    level = np.median(ivar, axis=1, keepdims=True) * np.exp(wild * rng.normal(0, 0.5, (n, 1)))
    flat = (rng.random(n) < 0.12 * wild)[:, None]
    return np.where(flat, level * (ivar > 0), scaled)
