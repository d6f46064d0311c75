"""Sources outside the library of cool stars, from simple physical and empirical shapes.

They have the right features in the right places with a wide spread of strengths: enough to test whether a
classifier mistakes them for carbon stars, not enough to measure anything on them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter1d

from cempstream.models.emulator.grids import EMULATOR_GRID
from cempstream.processors.constants import LIGHT_KMS
from cempstream.processors.grid import Array, air_to_vacuum

#: Single precision gives a hundredth of a pixel at half the cost.
_WAVE = EMULATOR_GRID.wave.astype(np.float32)
_PIX_KMS = LIGHT_KMS * EMULATOR_GRID.log10_step * np.log(10.0)

#: Rydberg series in vacuum Å; the highest members merge.
_RYDBERG = 911.7633
_BALMER = _RYDBERG * 4 / (1 - 4 / np.arange(3, 26) ** 2.0)
_PASCHEN = _RYDBERG * 9 / (1 - 9 / np.arange(9, 26) ** 2.0)
_HE_I = air_to_vacuum(
    np.array([3819.6, 3888.6, 4009.3, 4026.2, 4143.8, 4387.9, 4471.5, 4713.1, 4921.9, 5015.7, 5047.7, 5875.6,
              6678.2, 7065.2, 7281.3])
)  # fmt: skip
_HE_I_STRENGTH = np.array([0.5, 0.8, 0.5, 1.0, 0.5, 0.6, 1.0, 0.4, 0.7, 0.5, 0.2, 1.0, 0.8, 0.6, 0.3])
_HE_II = air_to_vacuum(np.array([4199.8, 4541.6, 4685.7, 5411.5]))

#: TiO: band head (air Å), relative strength, e-folding to the red in Å; systems α, β, γ, γ', δ, ε.
_TIO = np.array(
    [(4422, 0.15, 50), (4584, 0.2, 60), (4626, 0.2, 60), (4761, 0.5, 75), (4804, 0.3, 60), (4848, 0.25, 60),
     (4954, 0.7, 85), (5167, 0.9, 100), (5241, 0.3, 60), (5308, 0.25, 50), (5448, 0.6, 90), (5497, 0.35, 70),
     (5591, 0.3, 60), (5661, 0.25, 60), (5759, 0.45, 80), (5847, 0.7, 110), (6148, 1.1, 160),
     (6322, 0.4, 90), (6358, 0.3, 90), (6512, 0.25, 60), (6569, 0.25, 60), (6651, 0.9, 140), (6815, 0.4, 80),
     (7053, 1.3, 170), (7125, 0.8, 140), (7589, 1.0, 150), (7666, 0.7, 140), (8206, 0.5, 100),
     (8432, 0.9, 150), (8859, 0.9, 150), (9209, 0.5, 150)]
)  # fmt: skip
_CAH = np.array([(6346, 0.25, 40), (6385, 0.3, 25), (6750, 0.3, 60), (6908, 0.5, 40), (6946, 0.4, 30)])

#: Nebular lines (vacuum Å) and their usual strength relative to Hβ in star-forming galaxies.
_NEBULAR = np.array(
    [(3728.5, 2.5), (3869.9, 0.3), (3968.6, 0.2), (4102.9, 0.26), (4341.7, 0.47), (4862.7, 1.0),
     (4960.3, 0.6), (5008.2, 1.8), (5877.2, 0.12), (6302.0, 0.1),
     (6549.9, 0.3), (6564.6, 3.0), (6585.3, 0.9), (6718.3, 0.5), (6732.7, 0.4)]
)  # fmt: skip
#: Quasar lines (vacuum Å) with their equivalent width in Å (Vanden Berk et al. 2001, rounded) and FWHM, km/s.
_QUASAR = np.array(
    [(1216, 90, 6000), (1240, 20, 6000), (1400, 10, 5500), (1549, 25, 5000), (1640, 5, 9000),
     (1909, 22, 7500), (2250, 12, 20000), (2480, 18, 24000), (2799, 32, 4500), (3427, 1, 1000),
     (3728, 2, 900), (4102, 6, 4000), (4341, 13, 4000), (4570, 20, 20000), (4862, 46, 4000),
     (4960, 4, 700), (5008, 13, 700), (5250, 20, 22000), (6564, 190, 4000)]
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Starlight:
    """Emulated stars from which contaminants may be made, on the emulator's grid, ``(n, n_pix)``."""

    norm: Array = field(repr=False)
    continuum: Array = field(repr=False)


def contaminant_flux(kind: str, light: Starlight, rng: np.random.Generator) -> Array:
    """Return the flux of contaminants of one kind, one for each star of ``light``, at any scale.

    Returns
    -------
    Array
        Per Å on the emulator's grid, redshifted where the source is extragalactic; float32, shape
        ``(n, EMULATOR_GRID.n_pix)``.
    """
    return np.asarray(_SHAPES[kind](light, rng), dtype=np.float32)


def _column(rng: np.random.Generator, n: int, low: Any, high: Any) -> Array:
    return rng.uniform(low, high, (n, 1)).astype(np.float32)


def _planck(teff: Array) -> Array:
    """B_λ of temperatures ``(n, 1)`` in K, 1 at 5500 Å."""
    x = 1.43878e8 / teff
    return np.asarray((5500.0 / _WAVE) ** 5 * np.expm1(x / 5500.0) / np.expm1(x / _WAVE))


def _hydrogen(strength: Array, width_aa: Array, wing: Array) -> Array:
    """Return exp(-τ) of the Balmer and Paschen series.

    Wings fall as a power of the distance, as for Stark broadening; columns ``(n, 1)`` are the optical depth
    at Hβ, the half width there and the power.
    """
    tau = np.zeros((len(strength), _WAVE.size))
    for i, centre in enumerate(_BALMER):
        level = i + 3
        depth = strength * np.exp(-max(level - 7, 0) / 6.0)
        tau += depth / (1 + np.abs((_WAVE - centre) / (width_aa * centre / 4862.7)) ** wing)
    for i, centre in enumerate(_PASCHEN):
        tau += 0.3 * strength * np.exp(-i / 7.0) / (1 + np.abs((_WAVE - centre) / (1.2 * width_aa)) ** wing)
    return np.asarray(np.exp(-tau))


def _lines(centres: Array, strengths: Array, width_aa: Array) -> Array:
    """Return exp(-τ) of lines; ``strengths`` ``(n, n_lines)``, ``width_aa`` ``(n, 1)`` half widths."""
    tau = np.zeros((len(strengths), _WAVE.size))
    for i, centre in enumerate(centres):
        near = np.abs(_WAVE - centre) < 40.0 * float(np.max(width_aa))
        tau[:, near] += strengths[:, i : i + 1] / (1 + ((_WAVE[near] - centre) / width_aa) ** 2)
    return np.asarray(np.exp(-tau))


def _blur(spectra: Array, sigma_kms: Array) -> Array:
    """Gaussian blur with one width per row."""
    return np.stack(
        [
            gaussian_filter1d(row, sigma, mode="nearest")
            for row, sigma in zip(spectra, np.ravel(sigma_kms) / _PIX_KMS, strict=True)
        ]
    )


def _hot_star(light: Starlight, rng: np.random.Generator) -> Array:
    """F to O dwarfs, giants and horizontal-branch stars above 7000 K, hotter than the emulator's range."""
    n = len(light.norm)
    teff = np.exp(rng.uniform(np.log(7000), np.log(30000), (n, 1)) - rng.exponential(0.25, (n, 1)))
    teff = np.maximum(teff, 7000 + 400 * rng.random((n, 1)))
    metals = light.norm ** (np.clip((11500 - teff) / 4500, 0, 1) ** 1.5 * _column(rng, n, 0.1, 1.2))
    # Balmer lines peak near 9500 K; those of the edge stars are in `metals`.
    peak = np.exp(-0.5 * (np.log(teff / 9500) / 0.38) ** 2)
    edge = np.clip((teff - 7000) / 1500, 0, 1)
    gravity = _column(rng, n, 0.4, 1.0)
    balmer = _hydrogen(
        edge * peak * _column(rng, n, 0.7, 1.7), 3.0 + 9.0 * gravity * peak, _column(rng, n, 1.5, 2.2)
    )
    warm = np.exp(-0.5 * (np.log(teff / 20000) / 0.3) ** 2)
    helium = _lines(
        _HE_I, 0.45 * warm * _HE_I_STRENGTH * rng.uniform(0.6, 1.4, (n, _HE_I.size)), _column(rng, n, 1.0, 3)
    )
    ionised = 0.3 * np.clip((teff - 27000) / 8000, 0, 1) * rng.uniform(0.5, 1.3, (n, _HE_II.size))
    magnesium = 0.3 * np.clip((teff - 7500) / 3000, 0, 1) * rng.uniform(0.3, 1.3, (n, 1))
    calcium = np.clip((13000 - teff) / 4000, 0, 1) * rng.uniform(0.1, 1.0, (n, 1))
    out = metals * balmer * helium * _lines(_HE_II, ionised, _column(rng, n, 1.5, 4))
    out *= _lines(np.array([4482.4]), magnesium, np.full((n, 1), 1.2))
    out *= _lines(np.array([3934.8]), calcium, _column(rng, n, 0.6, 2.0))
    is_be = rng.random((n, 1)) < 0.04
    for i, centre in enumerate(_BALMER[:3]):
        out += is_be * 0.4**i * _column(rng, n, 0.2, 4) * np.exp(-0.5 * ((_WAVE - centre) / 4.0) ** 2)
    return _blur(out, _column(rng, n, 5, 130)) * _planck(teff)


def _titanium_oxide(strength: Array, rng: np.random.Generator) -> Array:
    """Return exp(-τ) of TiO; bands rise at their head and fade to the red."""
    tau = np.zeros((len(strength), _WAVE.size))
    for head, relative, fade_aa in _TIO:
        distance = _WAVE - float(air_to_vacuum(np.array(head)))
        profile = np.where(distance > 0, np.exp(-distance / fade_aa), np.exp(-0.5 * (distance / 3.0) ** 2))
        tau += strength * relative * rng.uniform(0.75, 1.25, (len(strength), 1)) * profile
    return np.asarray(np.exp(-tau))


def _m_star(light: Starlight, rng: np.random.Generator, *, is_dwarf: bool) -> Array:
    """Late K to late M: stars at the emulator's cool edge with TiO and a redder continuum."""
    n = len(light.norm)
    cool = rng.random((n, 1))
    out = light.norm ** _column(rng, n, 0.8, 1.3) * _titanium_oxide(0.04 + 2.2 * cool**1.5, rng)
    if is_dwarf:
        for centre, relative, width in _CAH:
            distance = _WAVE - float(air_to_vacuum(np.array(centre)))
            out *= np.exp(-(0.2 + 1.6 * cool) * relative * np.exp(-0.5 * (distance / width) ** 2))
        alkali = np.array([4227.9, 5891.6, 5897.6, 7667.0, 7701.1, 8185.5, 8197.1])
        out *= _lines(alkali, cool * rng.uniform(0.2, 1.2, (n, alkali.size)), _column(rng, n, 1.5, 7))
        is_active = rng.random((n, 1)) < 0.2 + 0.4 * cool
        for i, centre in enumerate(_BALMER[:5]):
            out += (
                is_active * 0.75**i * _column(rng, n, 0, 2.0) * np.exp(-0.5 * ((_WAVE - centre) / 1.5) ** 2)
            )
    return (
        out
        * light.continuum
        / light.continuum[:, 5000:5001]
        * _planck(3900 - 1200 * cool)
        / _planck(np.full((n, 1), 3900.0))
    )


def _m_dwarf(light: Starlight, rng: np.random.Generator) -> Array:
    return _m_star(light, rng, is_dwarf=True)


def _m_giant(light: Starlight, rng: np.random.Generator) -> Array:
    return _m_star(light, rng, is_dwarf=False)


def _white_dwarf(light: Starlight, rng: np.random.Generator) -> Array:
    """DA (three quarters), DB, DC and DZ."""
    n = len(light.norm)
    teff = np.exp(rng.uniform(np.log(6500), np.log(40000), (n, 1)))
    kind = rng.random((n, 1))
    peak = np.exp(-0.5 * (np.log(teff / 12500) / 0.5) ** 2)
    is_da, is_db, is_dz = kind < 0.75, (kind >= 0.75) & (kind < 0.85), kind > 0.93
    out = _hydrogen(
        is_da * peak * _column(rng, n, 0.7, 1.5), _column(rng, n, 18, 45), _column(rng, n, 1.8, 2.6)
    )
    out *= _lines(
        _HE_I, is_db * _HE_I_STRENGTH * rng.uniform(0.2, 0.8, (n, _HE_I.size)), _column(rng, n, 8, 22)
    )
    polluted = np.array([3934.8, 3969.6, 4227.9, 5175.0])
    out *= _lines(
        polluted, is_dz * np.array([1.5, 1.2, 0.4, 0.5]) * rng.random((n, 1)), _column(rng, n, 4, 25)
    )
    return out * _planck(teff)


def _galaxy(light: Starlight, rng: np.random.Generator) -> Array:
    """A few of the stars together, blurred by their motions, redshifted, some with nebular lines."""
    n = len(light.norm)
    flux = light.norm * light.continuum
    flux /= flux[:, 5000:5001]
    mixed = flux.copy()
    for _ in range(3):
        mixed += _column(rng, n, 0, 1) * flux[rng.permutation(n)]
    mixed = _blur(mixed, _column(rng, n, 60, 320))
    level = mixed[:, 5000:5001]
    forming = rng.random((n, 1)) < 0.55
    strength = forming * np.exp(_column(rng, n, np.log(1), np.log(60)))  # equivalent width of Hβ, Å
    for centre, relative in _NEBULAR:
        sigma = 1.0 + centre * 90 / LIGHT_KMS
        height = strength * relative * rng.uniform(0.5, 1.6, (n, 1)) * level / (2.5 * sigma)
        near = np.abs(_WAVE - centre) < 8 * sigma
        mixed[:, near] += height * np.exp(-0.5 * ((_WAVE[near] - centre) / sigma) ** 2)
    redshift = np.minimum(np.exp(rng.normal(np.log(0.12), 0.8, n)), 0.75)
    # Bluewards of the library the galaxy is its own mirror image, fainter by the 4000 Å break.
    rest = np.concatenate([2 * _WAVE[0] - _WAVE[2600:0:-1], _WAVE])
    extended = np.concatenate([0.8 * mixed[:, 2600:0:-1], mixed], axis=1)
    return np.stack(
        [
            np.interp(_WAVE / (1 + z), rest, row, left=row[0])
            for z, row in zip(redshift, extended, strict=True)
        ]
    )


def _quasar(light: Starlight, rng: np.random.Generator) -> Array:
    """Broad lines and iron on a power law; with Lyman-α forest and broad absorption in some."""
    n = len(light.norm)
    redshift = rng.uniform(0.05, 4.0, (n, 1))
    rest = _WAVE / (1 + redshift)
    flux = (rest / 3000.0) ** rng.normal(-1.5, 0.4, (n, 1))
    lines = np.zeros((n, _WAVE.size))
    width = np.exp(rng.normal(0, 0.3, (n, 1)))
    for centre, equivalent, fwhm_kms in _QUASAR:
        sigma = centre * fwhm_kms * width / LIGHT_KMS / 2.355
        height = equivalent * np.exp(rng.normal(0, 0.4, (n, 1))) / (2.507 * sigma)
        lines += height * np.exp(-0.5 * ((rest - centre) / sigma) ** 2)
    flux *= 1 + lines
    forest = 1 - 0.002 * (1 + redshift) ** 3.2 * rng.gamma(0.4, 2.5, (n, _WAVE.size))
    forest = gaussian_filter1d(np.maximum(forest, 0.0), 3.0, axis=1)
    flux *= np.where(rest < 1215.7, np.clip(forest, 0.02, 1), 1.0)
    is_broad_absorbing = (rng.random((n, 1)) < 0.1) & (rest < 1549) & (rest > 1549 - _column(rng, n, 20, 110))
    return np.asarray(flux * np.where(is_broad_absorbing, _column(rng, n, 0.05, 0.7), 1.0))


def _sky(light: Starlight, rng: np.random.Generator) -> Array:
    """Zero flux: only noise and sky residuals are left."""
    return np.zeros_like(light.norm)


def _broken_fibre(light: Starlight, rng: np.random.Generator) -> Array:
    """Fringes, steps, dips and scattered light instead of a star."""
    n = len(light.norm)
    x = np.linspace(0, 1, _WAVE.size)
    flux = 1 + sum(
        _column(rng, n, -0.6, 0.6) * np.cos(np.pi * k * (x + _column(rng, n, 0, 1))) for k in (1, 2, 3)
    )
    period_aa = np.exp(rng.uniform(np.log(15), np.log(300), (n, 1)))
    flux *= 1 + _column(rng, n, 0, 0.5) * np.sin(2 * np.pi * _WAVE / period_aa)
    flux *= np.where(x > _column(rng, n, 0, 2), _column(rng, n, 0.2, 2), 1.0)
    for _ in range(3):
        centre, width = _column(rng, n, 3700, 9000), np.exp(rng.uniform(np.log(8), np.log(300), (n, 1)))
        flux *= 1 - _column(rng, n, 0, 0.7) * np.exp(-0.5 * ((_WAVE - centre) / width) ** 2)
    return np.asarray(np.maximum(flux, -0.2) + _column(rng, n, 0, 0.3) * (light.norm - 1))


_SHAPES = {
    "hot_star": _hot_star,
    "m_dwarf": _m_dwarf,
    "m_giant": _m_giant,
    "white_dwarf": _white_dwarf,
    "galaxy": _galaxy,
    "quasar": _quasar,
    "sky": _sky,
    "broken_fibre": _broken_fibre,
}
