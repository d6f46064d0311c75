"""Several spectra of one star as one: at a common velocity, clipped and weighted by inverse variance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cempstream.processors.batch import NormalisedBatch
from cempstream.processors.constants import LIGHT_KMS
from cempstream.processors.continuum import Normaliser
from cempstream.processors.grid import Array, LogGrid
from cempstream.processors.rebin import Rebinner
from cempstream.processors.spectrum import Frame, Spectrum
from cempstream.processors.stars.join import join
from cempstream.processors.stars.observation import Observation
from cempstream.processors.velocity import VelocityFinder, shift_to_rest

#: A pixel that deviates from the median of the visits by more than this is left out.
_CLIP_SIGMA = 6.0
#: Continua and line-spread functions of two visits agree to about this share of the continuum.
_CALIBRATION_ERROR = 0.03
#: Variance of a median over that of a mean, for Gaussian noise.
_MEDIAN_VARIANCE = np.pi / 2


def put_together(
    observations: Sequence[Observation],
    rebin: Rebinner,
    normalise: Normaliser,
    find_velocity: VelocityFinder,
) -> Spectrum:
    """Add up the spectra of each grating and join the sums.

    Parameters
    ----------
    observations
        Of one star, survey and bundle, at least one, in the order of observation.
    rebin, normalise, find_velocity
        Of the bundle that is to score the result.

    Returns
    -------
    Spectrum
        As `coadd` returns it where there is one grating. Of several, the flux is relative to the continuum
        of each, and the grating is named ``GV+GI``, the bluest first.
    """
    by_grating: dict[str, list[Observation]] = {}
    for observation in observations:
        by_grating.setdefault(observation.spectrum.grating or "", []).append(observation)
    sums = [coadd(same, rebin, normalise) for same in by_grating.values()]
    if len(sums) == 1:
        return sums[0]
    sums.sort(key=lambda s: (_middle(s), s.grating or ""))
    newest = observations[-1].spectrum
    batch = normalise(rebin(sums))
    shifts = np.array([0.0 if s.frame == "rest" else np.nan if s.rv_kms is None else s.rv_kms for s in sums])
    shifts = np.where(np.isfinite(shifts), shifts, find_velocity(batch).rv_kms)
    # The velocity of a star is the same in all gratings and is measured again, better, on all of it. A
    # wavelength zero point is each grating's own, and is taken out here.
    frame: Frame = "rest"
    common_kms = 0.0
    if observations[0].measures_velocity and all(s.frame == "observed" for s in sums):
        frame = "observed"
        light = np.sqrt(batch.ivar).sum(axis=1) + 1e-6
        common_kms = float(np.average(shifts, weights=light))
    moved = shift_to_rest(batch, LIGHT_KMS * ((1 + shifts / LIGHT_KMS) / (1 + common_kms / LIGHT_KMS) - 1))
    joined = join([_row(moved, i) for i in range(len(sums))], normalise)
    given = all(s.rv_kms is not None for s in sums)
    return replace(
        newest,
        grid=joined.grid,
        flux=np.where(joined.ivar[0] > 0, joined.norm[0], np.float32(0.0)),
        ivar=joined.ivar[0],
        medium="vacuum",
        frame=frame,
        rv_kms=common_kms if given and frame == "observed" else newest.rv_kms,
        resolving_power=min(s.typical_resolving_power for s in sums),
        mask=None,
        grating="+".join(s.grating or "" for s in sums),
        contamination=_joined_contamination(sums),
        flags=tuple(dict.fromkeys(flag for s in sums for flag in s.flags)),
    )


def _middle(spectrum: Spectrum) -> float:
    """Return the mean wavelength of the good pixels in Å."""
    good = spectrum.ivar > 0
    return float(spectrum.grid.wave[good].mean()) if good.any() else 0.0


def _row(batch: NormalisedBatch, i: int) -> NormalisedBatch:
    rows = slice(i, i + 1)
    return NormalisedBatch(batch.grid, batch.norm[rows], batch.ivar[rows], batch.continuum[rows])


def _joined_contamination(sums: Sequence[Spectrum]) -> Array | None:
    """Return the contamination of each pixel by the gratings that see it; 0 where none knows any."""
    if all(s.contamination is None for s in sums):
        return None
    seen = np.array([s.ivar > 0 for s in sums])
    share = np.array([np.zeros_like(s.ivar) if s.contamination is None else s.contamination for s in sums])
    mean = (share * seen).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    return np.asarray(mean, dtype=np.float32)


def coadd(observations: Sequence[Observation], rebin: Rebinner, normalise: Normaliser) -> Spectrum:
    """Add up spectra of one star, grating and bundle.

    Each is divided by its continuum, so that losses and slopes that differ between visits do not matter, and
    moved to the velocity of the others. The sum has their mean continuum and is not brought to rest where
    its bundle is to measure the velocity: the sum measures it better than any visit did.

    Parameters
    ----------
    observations
        At least one, in the order of observation; the last gives the sum its names and its star's facts.
    rebin, normalise
        Of the bundle that is to score the sum.

    Returns
    -------
    Spectrum
        On the bundle's grid, flux and ivar float32 of shape ``(n_pix,)``; ivar is 0 where no visit has a
        good pixel, or where the visits contradict each other.
    """
    spectra = [o.spectrum for o in observations]
    batch = rebin(spectra)
    parts = normalise(batch)
    weights = np.array([max(o.said.snr, 1e-3) ** 2 for o in observations])
    shifts, common_kms, frame = _velocities(observations, weights)
    relative = LIGHT_KMS * ((1.0 + shifts / LIGHT_KMS) / (1.0 + common_kms / LIGHT_KMS) - 1.0)
    moved = shift_to_rest(parts, relative)
    norm, ivar = clipped_mean(moved.norm, moved.ivar)
    continuum = np.average(moved.continuum, axis=0, weights=_lit(moved.continuum, weights))
    is_good = (ivar > 0) & (continuum != 0)
    safe = np.where(is_good, continuum, 1.0)
    given = [s.rv_kms is not None for s in spectra]
    return replace(
        spectra[-1],
        grid=batch.grid,
        flux=np.where(is_good, norm * safe, 0.0).astype(np.float32),
        ivar=np.where(is_good, ivar / safe**2, 0.0).astype(np.float32),
        medium="vacuum",
        frame=frame,
        rv_kms=common_kms if any(given) and frame == "observed" else spectra[-1].rv_kms,
        resolving_power=min(s.typical_resolving_power for s in spectra),
        mask=None,
        contamination=_mean_contamination(spectra, batch.grid),
        flags=tuple(dict.fromkeys(flag for s in spectra for flag in s.flags)),
    )


def visits_at_rest(
    observations: Sequence[Observation], rebin: Rebinner, normalise: Normaliser
) -> NormalisedBatch:
    """Return spectra of one star, grating and bundle as they are added up, each moved to rest.

    A row per observation; one too faint to tell its velocity is moved by that of the others.
    """
    weights = np.array([max(o.said.snr, 1e-3) ** 2 for o in observations])
    shifts, _, _ = _velocities(observations, weights)
    return shift_to_rest(normalise(rebin([o.spectrum for o in observations])), shifts)


def clipped_mean(values: Array, ivar: Array) -> tuple[Array, Array]:
    """Return the mean by inverse variance without outliers, and its inverse variance.

    Of three or more, one that deviates from the median of all is left out. Where two contradict each other,
    nothing says which is right, and neither is used.

    Parameters
    ----------
    values, ivar
        Shape ``(n_visits, n_pix)``; ivar is 0 where a pixel is bad.

    Returns
    -------
    mean, ivar
        float64, shape ``(n_pix,)``; both are 0 where nothing is left.
    """
    wide, weight = values.astype(np.float64), ivar.astype(np.float64)
    good = weight > 0
    n_good = good.sum(axis=0)
    variance = np.where(good, 1.0 / np.where(good, weight, 1.0), 0.0)
    if len(wide) > 1:
        middle = _median(wide, good)
        spread = _MEDIAN_VARIANCE * _median(variance, good) / np.maximum(n_good, 1)
        # Of two values, the median is the mean: each is half their difference away from it.
        expected = np.where(n_good == 2, variance.sum(axis=0) / 4.0, variance + spread)
        limit = _CLIP_SIGMA * np.sqrt(expected + _CALIBRATION_ERROR**2)
        good &= (np.abs(wide - middle) <= limit) | (n_good == 1)
    weight = np.where(good, weight, 0.0)
    total = weight.sum(axis=0)
    mean = (weight * wide).sum(axis=0) / np.where(total > 0, total, 1.0)
    return mean, total


def _median(values: Array, good: Array) -> Array:
    """Return the median of the good values of each pixel; 0 where there is none."""
    ordered = np.sort(np.where(good, values, np.inf), axis=0)
    n_good = good.sum(axis=0)
    last = len(values) - 1
    low = np.take_along_axis(ordered, np.clip((n_good - 1) // 2, 0, last)[None], axis=0)[0]
    high = np.take_along_axis(ordered, np.clip(n_good // 2, 0, last)[None], axis=0)[0]
    with np.errstate(invalid="ignore"):
        return np.where(n_good > 0, 0.5 * (low + high), 0.0)


def _velocities(observations: Sequence[Observation], weights: Array) -> tuple[Array, float, Frame]:
    """Return each visit's velocity, that of the sum, and the frame of the sum.

    A visit too faint to tell the star's velocity has that of the others. At low resolution every spectrum has
    a zero point, and what was measured is the best that is known of it.
    """
    shifts = np.array([o.shift_kms for o in observations])
    certain = np.array([o.is_shift_certain for o in observations])
    known = np.array([o.is_shift_certain or not o.measures_velocity for o in observations])
    if any(o.spectrum.frame == "rest" for o in observations):
        frame: Frame = "rest"
        common = 0.0
        observed = certain & np.array([o.spectrum.frame == "observed" for o in observations])
        mean = float(np.average(shifts[observed], weights=weights[observed])) if observed.any() else 0.0
        return np.where(known, shifts, mean), common, frame
    if not known.any():  # the sum is searched for the velocity that no visit tells
        return np.zeros(len(observations)), 0.0, "observed"
    common = float(np.average(shifts[known], weights=weights[known]))
    return np.where(known, shifts, common), common, "observed"


def _lit(continuum: Array, weights: Array) -> Array:
    """Return the weight of each visit per pixel, where it has a continuum; equal where none has."""
    lit = np.where(continuum != 0, weights[:, None], 0.0)
    return np.where(lit.sum(axis=0) > 0, lit, 1.0)


def _mean_contamination(spectra: Sequence[Spectrum], grid: LogGrid) -> Array | None:
    """Return the mean of those that are known, on the grid of the sum."""
    known = [
        s.contamination if s.grid == grid else np.interp(grid.wave, s.grid.wave, s.contamination)
        for s in spectra
        if s.contamination is not None
    ]
    return np.mean(known, axis=0).astype(np.float32) if known else None
