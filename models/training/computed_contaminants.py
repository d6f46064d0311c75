"""Survey sources other than cool stars: hot stars, M dwarfs, white dwarfs, galaxies, quasars, bad spectra.

The library does not contain them. They have the right kinds of features with random strengths, so that the
networks learn what is not a CEMP star; they are not suitable for measurements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.ndimage import gaussian_filter1d

from cempstream.models.simulator.contaminants import Starlight, contaminant_flux
from cempstream.models.training.star_labels import COLUMN
from cempstream.models.training.stars import Stars
from cempstream.processors.grid import Array

#: Hydrogen lines in air Å: Balmer to H20, and the Paschen lines within reach.
_BALMER = 3646.0 / (1 - 4 / np.arange(3, 21) ** 2)
_PASCHEN = 8203.6 / (1 - 9 / np.arange(8, 21) ** 2)
_HELIUM = np.array(
    [3819.6, 3888.6, 4026.2, 4120.8, 4143.8, 4387.9, 4471.5, 4713.1, 4921.9, 5015.7, 5875.6, 6678.2, 7065.2]
)
_HELIUM_II = np.array([4199.8, 4541.6, 4685.7, 5411.5])
#: Heads of TiO (degrading to the red) and the width over which each recovers, in Å.
_TIO = np.array(
    [
        (4422, 60), (4584, 70), (4626, 80), (4761, 90), (4804, 70), (4847, 60), (4954, 110), (5003, 60),
        (5167, 120), (5241, 90), (5308, 70), (5357, 90), (5448, 110), (5497, 70), (5591, 60), (5661, 50),
        (5759, 110), (5847, 150), (6148, 200), (6322, 100), (6569, 80), (6651, 130), (6681, 150), (7053, 220),
        (7088, 120), (7126, 150), (7589, 180), (7666, 250), (8206, 100), (8432, 200), (8859, 200),
    ],
    dtype=np.float64,
)  # fmt: skip
_CAH = np.array([(6382, 8, 20), (6750, 15, 60), (6830, 40, 90), (6950, 20, 60)], dtype=np.float64)
_EMISSION = np.array(
    [3727.4, 3868.8, 4340.5, 4861.3, 4958.9, 5006.8, 5875.6, 6300.3, 6548.1, 6562.8, 6583.4, 6716.4, 6730.8]
)
_BROAD = np.array([1215.7, 1549.0, 1908.7, 2798.0, 4340.5, 4861.3, 6562.8])


#: The survey simulator's kinds: share, and whether it is odd (-1: it borders on the library, not taught).
_SIMULATED = {
    "hot_star": (0.40, -1),
    "m_dwarf": (0.16, -1),
    "m_giant": (0.10, -1),
    "white_dwarf": (0.08, 1),
    "galaxy": (0.13, 1),
    "quasar": (0.08, 1),
    "broken_fibre": (0.05, 1),
}


def draw_simulated(
    stars: Stars, wave: Array, continuum_wave: Array, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Turn stars into the survey simulator's contaminants, whose shapes are another author's.

    Parameters
    ----------
    wave
        The emulator's grid; ``continuum_wave`` lies on it.

    Returns
    -------
    norm, continuum, is_ood
        As ``draw_contaminants`` returns them.
    """
    names = list(_SIMULATED)
    kinds = rng.choice(len(names), size=len(stars.norm), p=[share for share, _ in _SIMULATED.values()])
    nodes = np.searchsorted(wave, continuum_wave - 1e-6)
    flux = np.empty_like(stars.norm)
    for i, name in enumerate(names):
        rows = np.flatnonzero(kinds == i)
        if rows.size:
            smooth = np.stack([np.interp(wave, continuum_wave, row) for row in stars.continuum[rows]])
            flux[rows] = contaminant_flux(name, Starlight(stars.norm[rows], smooth.astype(np.float32)), rng)
    level = gaussian_filter1d(flux, 120.0, axis=1, mode="nearest", truncate=2.0)[
        :, np.minimum(nodes, wave.size - 1)
    ]
    level = np.maximum(level, 0.01 * np.abs(level).mean(axis=1, keepdims=True) + 1e-30)
    norm = flux / np.stack([np.interp(wave, continuum_wave, row) for row in level])
    is_ood = np.array([ood for _, ood in _SIMULATED.values()], dtype=np.int8)[kinds]
    return norm.astype(np.float32), level.astype(np.float32), is_ood


@dataclass(frozen=True, slots=True, eq=False)
class _Star:
    """The input of a contaminant: a star's lines and continuum, and another star's lines."""

    norm: Array
    continuum: Array
    partner: Array


#: Lines, continuum, and the out-of-distribution label.
_Drawn: TypeAlias = tuple[Array, Array, int]

#: Hydrogen lines and TiO bands are wide: every fourth pixel holds them.
_COARSE = 4

CONTAMINANT_KINDS = ("hot", "m_star", "white_dwarf", "galaxy", "quasar", "wreck", "blend")


def draw_contaminants(stars: Stars, wave_air: Array, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Turn stars of the library into contaminants, one each.

    Returns
    -------
    norm, continuum
        Like those of ``stars``; ``norm`` may exceed 1.
    is_ood
        1 where it must be called out of distribution, -1 where either answer will do.
    """
    n = len(stars.labels)
    kinds = rng.choice(len(CONTAMINANT_KINDS), size=n, p=[0.36, 0.20, 0.08, 0.13, 0.10, 0.09, 0.04])
    norm = np.empty_like(stars.norm)
    continuum = np.empty_like(stars.continuum)
    is_ood = np.ones(n, dtype=np.int8)
    teff, feh = stars.labels[:, COLUMN["teff"]], stars.labels[:, COLUMN["feh"]]
    by_heat = np.argsort(teff)
    by_cold = np.argsort(teff + 2000 * np.maximum(0, -0.8 - feh))
    for row, kind in enumerate(kinds):
        draw = (_hot, _m_star, _white_dwarf, _galaxy, _quasar, _wreck, _blend)[kind]
        # A hot star has the lines of the hottest library stars, an M star those of cool metal-rich ones.
        few = int(rng.integers(max(1, n // 5)))
        base = {_hot: int(by_heat[-1 - few]), _m_star: int(by_cold[few])}.get(draw, row)
        star = _Star(stars.norm[base], stars.continuum[base], stars.norm[rng.integers(n)])
        norm[row], continuum[row], is_ood[row] = draw(star, wave_air, rng)
    return norm, continuum, is_ood


def _tilt(n: int, rng: np.random.Generator, steepest: float) -> Array:
    """A power law from red (negative) to blue, mean 1."""
    x = np.linspace(0.37, 1.0, n) / 0.65
    curve = x ** rng.uniform(-steepest, steepest)
    return np.asarray(curve / curve.mean())


def _line(wave: Array, centre: float, width: float, power: float) -> Array:
    return np.asarray(1 / (1 + np.abs((wave - centre) / width) ** power))


def add_hydrogen(norm: Array, wave: Array, depth: float, width: float, rng: np.random.Generator) -> Array:
    """Multiply Balmer and Paschen lines of one depth and width (Å at Hβ) in; higher members are shallower."""
    power = rng.uniform(1.5, 2.5)
    fine, wave = wave, wave[::_COARSE]
    total = np.zeros_like(wave)
    for i, centre in enumerate(_BALMER):
        strength = depth * (1.0 if i < 5 else np.exp(-(i - 4) / rng.uniform(2.5, 9)))
        local = width * (0.8 if i == 0 else 1.0) * centre / 4861.0
        total += np.log1p(-min(strength, 0.95) * _line(wave, centre, local, power))
    for i, centre in enumerate(_PASCHEN):
        total += np.log1p(-0.35 * depth * np.exp(-i / 10) * _line(wave, centre, 1.3 * width, power))
    return np.asarray(norm * np.exp(np.interp(fine, wave, np.maximum(total, -3.0))))


def _hot(star: _Star, wave: Array, rng: np.random.Generator) -> _Drawn:
    """F to O stars, BHB and Be stars: hydrogen, helium when hot, metals as weak as one likes."""
    heat = rng.random()
    metals = star.norm ** (rng.uniform(0, 1.0) * (1 - heat) ** 1.5)
    out = add_hydrogen(metals, wave, rng.uniform(0.25, 0.85) * (1 - 0.5 * heat), rng.uniform(2.5, 16), rng)
    if heat > 0.4:
        for centre in _HELIUM:
            out = out * (1 - rng.uniform(0, 0.35) * _line(wave, centre, rng.uniform(1.5, 5), 2))
        out = out * (1 - rng.uniform(0, 0.3) * _line(wave, 4481.2, 2.0, 2))
    if heat > 0.8:
        for centre in _HELIUM_II:
            out = out * (1 - rng.uniform(0, 0.3) * _line(wave, centre, rng.uniform(2, 6), 2))
    if rng.random() < 0.12:
        for i, centre in enumerate(_BALMER[:3]):
            out = out + rng.uniform(0, 2.0) * 0.4**i * _line(wave, centre, rng.uniform(2, 8), 2.5)
    slope = (np.linspace(0.36, 1.0, star.continuum.size) / 0.6) ** rng.uniform(-3.5, 0.5)
    # A late-A or F star is nearly a library star: neither answer is wrong.
    return out, slope, (1 if heat > 0.35 else -1)


def add_tio(norm: Array, wave: Array, strength: float, rng: np.random.Generator) -> Array:
    """Multiply TiO and CaH bands in."""
    fine, wave = wave, wave[::_COARSE]
    total = np.zeros_like(wave)
    for head, reach in _TIO:
        d = wave - head
        scale = strength * rng.uniform(0.5, 1.4)
        total -= scale * np.where(d > 0, np.exp(-np.maximum(d, 0) / reach), np.exp(-0.5 * (d / 2.5) ** 2))
    for centre, core, reach in _CAH:
        d = wave - centre
        total -= strength * rng.uniform(0, 1) * np.exp(-0.5 * (d / np.where(d < 0, core, reach)) ** 2)
    return np.asarray(norm * np.exp(np.interp(fine, wave, np.maximum(total, -4.0))))


def _m_star(star: _Star, wave: Array, rng: np.random.Generator) -> _Drawn:
    """Late K to M dwarfs and giants: TiO, CaH, strong Na and Ca, sometimes hydrogen in emission."""
    strength = float(np.exp(rng.uniform(np.log(0.03), np.log(0.9))))
    out = add_tio(star.norm ** rng.uniform(0.7, 1.6), wave, strength, rng)
    for centre, deep, width in ((4226.7, 0.8, 6), (5892.9, 0.8, 7), (8188.0, 0.4, 5), (7667.0, 0.4, 5)):
        out = out * (1 - rng.uniform(0, deep) * _line(wave, centre, width * rng.uniform(0.3, 1.5), 1.8))
    if rng.random() < 0.3:
        for i, centre in enumerate(_BALMER[:5]):
            out = out + rng.uniform(0, 1.5) * 0.8**i * _line(wave, centre, 2.5, 3)
    slope = (np.linspace(0.36, 1.0, star.continuum.size) / 0.6) ** rng.uniform(0.5, 5)
    return out, slope, (1 if strength > 0.2 else -1)


def _white_dwarf(star: _Star, wave: Array, rng: np.random.Generator) -> _Drawn:
    """DA, DB, DC and DZ."""
    kind = rng.random()
    out = np.ones_like(wave)
    if kind < 0.65:
        out = add_hydrogen(out, wave, rng.uniform(0.2, 0.75), rng.uniform(15, 70), rng)
    elif kind < 0.8:
        for centre in _HELIUM:
            out = out * (1 - rng.uniform(0.05, 0.4) * _line(wave, centre, rng.uniform(8, 30), 2))
    elif kind < 0.92:
        for centre, width in ((3933.7, 1.0), (3968.5, 0.9), (4226.7, 0.4), (5175.0, 0.7), (5892.0, 0.4)):
            out = out * (1 - rng.uniform(0, 0.8) * _line(wave, centre, width * rng.uniform(10, 60), 2))
    return out, (np.linspace(0.36, 1.0, star.continuum.size) / 0.6) ** rng.uniform(-3.5, 0.5), 1


def _galaxy(star: _Star, wave: Array, rng: np.random.Generator) -> _Drawn:
    """Two stars blurred by the velocity dispersion, moved by any redshift, with nebular lines."""
    step_kms = 299792.458 * float(np.log(wave[1] / wave[0]))
    mix = rng.random()
    out = _blur(mix * star.norm + (1 - mix) * star.partner, rng.uniform(80, 380) / step_kms)
    low, high = ((0, 1), (0, 400), (400, 4500))[rng.choice(3, p=[0.15, 0.25, 0.6])]
    z_pix = int(rng.integers(low, high))
    out = np.roll(out, z_pix)
    if z_pix:
        out[:z_pix] = 1 - rng.uniform(0, 0.6) * (1 - _blur(star.partner, 8.0)[:z_pix])
    if rng.random() < 0.6:
        shift = np.exp(z_pix * np.log(wave[1] / wave[0]))
        for centre in _EMISSION * shift:
            strength = np.exp(rng.uniform(-4, 1.0))
            out = out + strength * np.exp(-0.5 * ((wave - centre) / rng.uniform(1.5, 6)) ** 2)
    return out, star.continuum * _tilt(star.continuum.size, rng, 3), 1


def _quasar(star: _Star, wave: Array, rng: np.random.Generator) -> _Drawn:
    """Broad lines on a power law, with iron bumps and absorbers."""
    z = rng.uniform(0.02, 4.5)
    out = np.ones_like(wave)
    for centre in _BROAD * (1 + z):
        sigma = centre * rng.uniform(1500, 6500) / 299792.0
        out = out + rng.uniform(0.05, 2.0) * np.exp(-0.5 * ((wave - centre) / sigma) ** 2)
    for _ in range(rng.integers(0, 12)):
        out = out * (
            1
            + rng.uniform(-0.35, 0.3)
            * np.exp(-0.5 * ((wave - rng.uniform(3700, 9500)) / rng.uniform(2, 120)) ** 2)
        )
    if rng.random() < 0.2 and z > 2:  # the Lyα forest
        forest = wave < 1215.7 * (1 + z)
        out[forest] *= _blur(rng.random(wave.size), 3.0)[forest]
    return out, _tilt(star.continuum.size, rng, 3), 1


def _wreck(star: _Star, wave: Array, rng: np.random.Generator) -> _Drawn:
    """Broken fibres and sky: random features of every width, steps, fringes, dips with random edges."""
    out = np.ones_like(wave)
    for _ in range(rng.integers(1, 4)):
        width = float(np.exp(rng.uniform(np.log(2), np.log(500))))
        wave_noise = _blur(rng.standard_normal(wave.size), width) * np.sqrt(2 * np.sqrt(np.pi) * width)
        out = out + np.exp(rng.uniform(np.log(0.02), np.log(0.6))) * wave_noise
    if rng.random() < 0.3:
        for _ in range(rng.integers(1, 6)):
            d = wave - rng.uniform(3700, 9000)
            out = out * np.exp(
                -rng.uniform(0, 1.5)
                * np.where(d * rng.choice([-1, 1]) > 0, np.exp(-np.abs(d) / rng.uniform(20, 200)), 0)
            )
    if rng.random() < 0.3:
        out = out * (1 + rng.uniform(0, 0.5) * np.sin(wave / rng.uniform(2, 60)))
    if rng.random() < 0.2:
        out = out + 0.3 * (star.norm - 1)
    return np.maximum(out, -0.5), star.continuum * _tilt(star.continuum.size, rng, 4), 1


def _blend(star: _Star, wave: Array, rng: np.random.Generator) -> _Drawn:
    """Two sources in one fibre at different velocities; one of them may be hot."""
    other = np.roll(star.partner, rng.integers(-25, 26))
    if rng.random() < 0.4:
        other = add_hydrogen(np.ones_like(other), wave, rng.uniform(0.3, 0.8), rng.uniform(5, 40), rng)
    share = rng.uniform(0.3, 0.7)
    return share * star.norm + (1 - share) * other, star.continuum, -1


def _blur(values: Array, sigma_pix: float) -> Array:
    step = max(1, int(sigma_pix / 8))  # a wide Gaussian on every pixel is ten times slower and no better
    if step == 1:
        return np.asarray(gaussian_filter1d(values, sigma_pix, mode="nearest", truncate=3.0))
    usable = values[: values.size // step * step].reshape(-1, step).mean(axis=1)
    smooth = gaussian_filter1d(usable, sigma_pix / step, mode="nearest", truncate=3.0)
    return np.asarray(np.interp(np.arange(values.size), (np.arange(usable.size) + 0.5) * step - 0.5, smooth))
