"""Errors of computed spectra, added to stars at rest: line strengths, a haze, Balmer cores, unknown lines."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from cempstream.models.training.balmer import BALMER_AIR, BalmerCores, deepen_cores
from cempstream.models.training.star_labels import COLUMN
from cempstream.models.training.stars import Stars, carbon_rich_cool
from cempstream.processors.constants import LIGHT_KMS
from cempstream.processors.grid import Array


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
