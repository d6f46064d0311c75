"""Turn a star at rest into training input: physics errors, an instrument, observation, and our processors.

The last steps are the same functions as in the service (``Rebinner``, ``Normaliser``, ``VelocityFinder``,
``shift_to_rest``), so that training and service inputs agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np
from scipy.ndimage import gaussian_filter1d

from cempstream.models.training.balmer import BALMER_AIR, BalmerCores, deepen_cores
from cempstream.models.training.instruments import Instrument, projection
from cempstream.models.training.slitless import with_neighbours
from cempstream.models.training.star_labels import COLUMN
from cempstream.models.training.stars import Stars, carbon_rich_cool
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


def perturb_physics(
    stars: Stars, wave_air: Array, wild: float, rng: np.random.Generator, balmer: BalmerCores = "any"
) -> Array:
    """Change line strengths, singly and by region, add a haze in the violet, and add unknown lines.

    The library is LTE and plane-parallel, its line lists are not perfect: a network must not trust a line
    to better than ten per cent or so, and a Balmer core not at all, or as far as it was measured.
    """
    depth = np.log(np.maximum(stars.norm, 1e-3)) * _strength(len(stars.norm), wave_air, wild, rng)
    depth *= 1 - _overdone_swan(stars.labels, wave_air, rng)
    norm = _veiled(np.exp(depth), stars.labels, wave_air, wild, rng)
    if balmer == "measured":
        deepen_cores(norm, stars.labels, wave_air, wild, rng)
    else:
        _any_cores(norm, wave_air, wild, rng)
    _interstellar(norm, wave_air, rng)
    _unknown_lines(norm, wave_air, wild, rng)
    return np.asarray(norm, dtype=np.float32)


def _strength(n: int, wave_air: Array, wild: float, rng: np.random.Generator) -> Array:
    """Factors of line strength, correlated over about 50 Å and line by line; ``(n, n_wave)``.

    Line by line the gf-values of most lines are known to 0.1 or 0.2 dex: without that scatter a network
    leans on a few lines of metal-rich stars, and inherits their errors as a bias in [Fe/H].
    """
    n_wave = wave_air.size
    together = rng.standard_normal((n, n_wave // 120 + 2)).astype(np.float32)
    amplitude = wild * rng.uniform(0.03, 0.16, (n, 1)).astype(np.float32)
    log_factor = amplitude * _stretch(gaussian_filter1d(together, 0.7, axis=1), n_wave)
    # Half of all lines are in the violet, and half of those are unknown: errors are twice as large there.
    log_factor *= (1.0 + _violet(wave_air)).astype(np.float32)
    alone = rng.standard_normal((n, n_wave // 6 + 2)).astype(np.float32)
    log_factor += wild * rng.uniform(0.05, 0.5, (n, 1)).astype(np.float32) * _stretch(alone, n_wave)
    return np.asarray(np.exp(np.clip(log_factor, -1.5, 0.8)))


def _violet(wave_air: Array) -> Array:
    """Return 1 below 3900 Å, falling to 0 above 4600 Å."""
    return np.asarray(np.clip((4600.0 - wave_air) / 700.0, 0.0, 1.0))


def _overdone_swan(labels: Array, wave_air: Array, rng: np.random.Generator) -> Array:
    """Share of C2 to take away: carbon-normal atmospheres overdo it in cool stars with C/O > 1."""
    weaker = np.where(carbon_rich_cool(labels), rng.uniform(0.35, 1.0, len(labels)), 1.0)
    c2 = np.zeros(wave_air.size, dtype=np.float32)
    for low, high in ((4600, 4745), (5000, 5170), (5350, 5640), (5850, 6200)):
        c2[(wave_air > low) & (wave_air < high)] = 1.0
    return np.asarray(((1 - weaker[:, None]) * c2).astype(np.float32))


def _veiled(norm: Array, labels: Array, wave_air: Array, wild: float, rng: np.random.Generator) -> Array:
    """Add a haze of missing weak lines, which takes most where least is absorbed.

    It is thick in cool stars rich in metals, in the violet above all, where no line list is complete.
    """
    teff, feh = labels[:, COLUMN["teff"]], labels[:, COLUMN["feh"]]
    metals = np.clip((feh + 2.2) / 2.0, 0.05, 1.0)
    cool = 1.0 + np.clip((5500.0 - teff) / 1000.0, -0.5, 1.5)
    thickness = wild * np.abs(rng.standard_normal(len(norm))) * (0.05 + 0.75 * metals * cool)
    haze = thickness[:, None].astype(np.float32) * (0.4 + 0.6 * _violet(wave_air)).astype(np.float32)
    return np.asarray(norm / (1.0 + haze * norm) * (1.0 + haze))


def _any_cores(norm: Array, wave_air: Array, wild: float, rng: np.random.Generator) -> None:
    """Make the cores of hydrogen lines any depth, rather deeper than in LTE, in place."""
    n = len(norm)
    for centre in BALMER_AIR.values():
        window = np.flatnonzero(np.abs(wave_air - centre) < 30)
        offset = wave_air[window] - centre
        width = rng.uniform(1.0, 6.0, (n, 1))
        core = 1 + wild * rng.normal(0.15, 0.3, (n, 1)) * np.exp(-0.5 * (offset / width) ** 2)
        norm[:, window] = np.maximum(1 - (1 - norm[:, window]) * np.maximum(core, 0.0), 0.02)


def _interstellar(norm: Array, wave_air: Array, rng: np.random.Generator) -> None:
    """Add the H, K and D lines of interstellar gas, in place."""
    n = len(norm)
    for centre in (3933.7, 3968.5, 5889.95, 5895.92):
        has = np.asarray(rng.random((n, 1)) < 0.4)
        place = centre * (1 + rng.normal(0, 60, (n, 1)) / LIGHT_KMS)
        window = np.flatnonzero(np.abs(wave_air - centre) < 8)
        dip = has * rng.uniform(0, 0.6, (n, 1)) * np.exp(-0.5 * ((wave_air[window] - place) / 0.5) ** 2)
        norm[:, window] *= 1 - dip


def _unknown_lines(norm: Array, wave_air: Array, wild: float, rng: np.random.Generator) -> None:
    """Add features that the library lacks, or take some away that no star has, in place."""
    for row, n_lines in enumerate(rng.poisson(10 * wild, len(norm))):
        centre = rng.uniform(wave_air[0], wave_air[-1], n_lines)
        width = np.exp(rng.uniform(np.log(1.5), np.log(20.0), n_lines))
        height = np.exp(rng.uniform(np.log(5e-3), np.log(8e-2), n_lines)) * rng.choice([-1, 1], n_lines)
        for c, w, h in zip(centre, width, height, strict=True):
            first, last = np.searchsorted(wave_air, (c - 3 * w, c + 3 * w))
            norm[row, first:last] *= 1 + h * np.exp(-0.5 * ((wave_air[first:last] - c) / w) ** 2)


def _stretch(knots: Array, n_wave: int) -> Array:
    """Draw straight lines between evenly spaced knots, row by row."""
    x = np.linspace(0, knots.shape[1] - 1, n_wave)
    left = np.minimum(x.astype(np.int64), knots.shape[1] - 2)
    part = (x - left).astype(np.float32)
    return np.asarray(knots[:, left] * (1 - part) + knots[:, left + 1] * part)


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
