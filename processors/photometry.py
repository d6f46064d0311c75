"""Effective temperature and surface gravity from magnitudes, reddening and parallax, with their errors.

Teff from Gaia EDR3 and 2MASS colours by Mucciarelli, Bellazzini & Massari (2021, A&A 653, A90); extinction in
Gaia's bands by Gaia Collaboration, Babusiaux et al. (2018, A&A 616, A10), in Ks by Yuan, Liu & Xiang (2013,
MNRAS 430, 2188); bolometric correction of G by Andrae et al. (2018, A&A 616, A8). Pure functions on arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Literal, TypeAlias

import numpy as np

from cempstream.processors.grid import Array

Kind: TypeAlias = Literal["dwarf", "giant"]

#: θ = 5040 K / Teff = b0 + b1 C + b2 C² + b3 [Fe/H] + b4 [Fe/H]² + b5 [Fe/H] C, and its scatter in K.
_RELATIONS: Mapping[tuple[str, Kind], tuple[tuple[float, ...], float]] = {
    ("BP-RP", "dwarf"): ((0.4929, 0.5092, -0.0353, 0.0192, -0.0020, -0.0395), 61.0),
    ("BP-G", "dwarf"): ((0.5316, 1.2452, -0.4677, 0.0068, -0.0031, -0.0752), 58.0),
    ("G-RP", "dwarf"): ((0.5050, 0.6532, 0.2284, 0.0260, -0.0011, -0.0726), 62.0),
    ("BP-Ks", "dwarf"): ((0.5342, 0.2044, -0.0021, 0.0276, 0.0005, -0.0158), 44.0),
    ("RP-Ks", "dwarf"): ((0.5526, 0.3712, -0.0121, 0.0330, 0.0029, -0.0220), 53.0),
    ("G-Ks", "dwarf"): ((0.5351, 0.2440, 0.0016, 0.0289, 0.0015, -0.0163), 48.0),
    ("BP-RP", "giant"): ((0.5323, 0.4775, -0.0344, -0.0110, -0.0020, -0.0009), 83.0),
    ("BP-G", "giant"): ((0.5701, 1.1188, -0.3710, -0.0236, -0.0039, 0.0070), 83.0),
    ("G-RP", "giant"): ((0.5472, 0.5914, 0.2347, -0.0019, -0.0012, 0.0060), 71.0),
    ("BP-Ks", "giant"): ((0.5668, 0.1890, -0.0017, 0.0065, -0.0008, -0.0045), 49.0),
    ("RP-Ks", "giant"): ((0.5774, 0.3637, -0.0226, 0.0346, 0.0007, -0.0221), 61.0),
    ("G-Ks", "giant"): ((0.5569, 0.2436, -0.0035, 0.0211, 0.0007, -0.0089), 46.0),
}
#: (BP-RP)0 of the stars that the relations were made with; every colour is used within it alone.
BP_RP_RANGE: Mapping[Kind, tuple[float, float]] = {"dwarf": (0.39, 1.50), "giant": (0.33, 1.81)}
_FEH_RANGE = (-4.0, 0.5)

#: A_X / A_0 = c1 + c2 C + c3 C² + c4 C³ + c5 A_0 + c6 A_0² + c7 C A_0, where C = (BP-RP)0, A_0 = 3.1 E(B-V).
_EXTINCTION = {
    "G": (0.9761, -0.1704, 0.0086, 0.0011, -0.0438, 0.0013, 0.0099),
    "BP": (1.1517, -0.0871, -0.0333, 0.0173, -0.0230, 0.0006, 0.0043),
    "RP": (0.6104, -0.0170, -0.0026, -0.0017, -0.0078, 0.00005, 0.0006),
}
_KS_PER_EBV, _R0 = 0.306, 3.1

#: Polynomials in Teff - 5772 K above and below 4000 K, and where they hold.
_BC_G = (
    (0.06, 6.731e-5, -6.647e-8, 2.859e-11, -7.197e-15),
    (1.749, 1.977e-3, 3.737e-7, -8.966e-11, -4.183e-14),
)
_BC_BORDER, _BC_RANGE = 4000.0, (3300.0, 8000.0)
_BC_ERROR = 0.05
_SUN_TEFF, _SUN_LOGG, _SUN_MBOL = 5772.0, 4.438, 4.74

#: Mass of a star in M_sun where none is given, and its 1σ error: old giants and dwarfs of F to K.
MASS, MASS_ERROR = 0.9, 0.2
#: [Fe/H] of a star where none is given, and its 1σ error, which goes into the error of Teff.
FEH, FEH_ERROR = -1.0, 1.0
#: log g at which the relations of dwarfs and giants change places, and over how much they mix.
_BORDER_LOGG, _BORDER_WIDTH = 3.25, 0.3
#: A parallax of fewer σ gives no distance.
LEAST_PARALLAX_SNR = 5.0
_LEAST_MAG_ERROR, _UNKNOWN_MAG_ERROR = 0.003, 0.01
_ITERATIONS = 6


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class StarPhotometry:
    """What is known of stars: float64 arrays of shape ``(n,)``, NaN where it is not known.

    Attributes
    ----------
    g, bp, rp, ks
        Gaia (E)DR3 and 2MASS magnitudes; their errors are 0.01 where they are not known, at least 0.003.
    ebv
        E(B-V), mag; without it there is no result. Its error is 0.01 + 10 % where it is not known.
    parallax_mas
        As Gaia gives it; without it there is no log g, and Teff allows for a dwarf and a giant.
    feh, mass
        [Fe/H], dex, and mass, M_sun, with errors: ``FEH`` and ``MASS`` where they are not known.
    """

    g: Array = field(repr=False)
    bp: Array = field(repr=False)
    rp: Array = field(repr=False)
    ks: Array = field(repr=False)
    ebv: Array = field(repr=False)
    parallax_mas: Array = field(repr=False)
    feh: Array = field(repr=False)
    mass: Array = field(repr=False)
    g_error: Array = field(repr=False)
    bp_error: Array = field(repr=False)
    rp_error: Array = field(repr=False)
    ks_error: Array = field(repr=False)
    ebv_error: Array = field(repr=False)
    parallax_mas_error: Array = field(repr=False)
    feh_error: Array = field(repr=False)
    mass_error: Array = field(repr=False)

    @classmethod
    def of(cls, n: int, **known: Array) -> StarPhotometry:
        """Return ``n`` stars of which only some things are known."""
        names = [one.name for one in fields(cls)]
        if unknown := known.keys() - set(names):
            raise TypeError(f"{', '.join(sorted(unknown))}: not known here; there are {', '.join(names)}")
        return cls(**{name: np.broadcast_to(known.get(name, np.nan), (n,)).astype(float) for name in names})


@dataclass(frozen=True, slots=True, eq=False)
class PhotometricParameters:
    """Teff in K and log g in dex with 1σ errors, shape ``(n,)`` each; NaN with a reason where there is none.

    Attributes
    ----------
    no_teff, no_logg
        Empty, or ``no_colour``, ``no_reddening``, ``outside_range``; for log g also ``no_parallax``.
    """

    teff: Array = field(repr=False)
    teff_error: Array = field(repr=False)
    logg: Array = field(repr=False)
    logg_error: Array = field(repr=False)
    no_teff: tuple[str, ...]
    no_logg: tuple[str, ...]


def colour_teff(name: str, colour: Array, feh: Array, kind: Kind) -> Array:
    """Return Teff in K from a dereddened colour, whatever the range.

    Parameters
    ----------
    name
        ``BP-RP``, ``BP-G``, ``G-RP``, ``BP-Ks``, ``RP-Ks`` or ``G-Ks``.
    """
    b0, b1, b2, b3, b4, b5 = _RELATIONS[name, kind][0]
    theta = b0 + b1 * colour + b2 * colour**2 + b3 * feh + b4 * feh**2 + b5 * feh * colour
    return np.asarray(5040.0 / theta)


def bolometric_correction_g(teff: Array) -> Array:
    """Return the bolometric correction of Gaia's G in mag; NaN outside 3300 to 8000 K."""
    hot, cool = (np.polyval(c[::-1], teff - _SUN_TEFF) for c in _BC_G)
    inside = (teff >= _BC_RANGE[0]) & (teff <= _BC_RANGE[1])
    return np.where(inside, np.where(teff >= _BC_BORDER, hot, cool), np.nan)


def surface_gravity(teff: Array, g0: Array, parallax_mas: Array, mass: Array) -> Array:
    """Return log g from the dereddened G, the parallax and the mass in M_sun."""
    absolute = g0 + 5.0 * np.log10(parallax_mas) - 10.0
    return np.asarray(_SUN_LOGG + np.log10(mass) + 0.4 * (absolute - _SUN_MBOL) + _gravity_by_teff(teff))


def _gravity_by_teff(teff: Array) -> Array:
    """Return what Teff alone adds to log g: a hotter star of the same light is smaller."""
    return np.asarray(4.0 * np.log10(teff / _SUN_TEFF) + 0.4 * bolometric_correction_g(teff))


def photometric_parameters(stars: StarPhotometry) -> PhotometricParameters:
    """Return Teff and log g of stars, with errors propagated from all that is uncertain.

    Whether a star is a dwarf or a giant follows from its parallax; without one, half of the difference of the
    two relations is in the error.
    """
    with np.errstate(all="ignore"):
        return _estimate(_completed(stars))


def _completed(stars: StarPhotometry) -> StarPhotometry:
    """Fill in what is assumed where it is not known."""

    def filled(values: Array, assumed: Array | float) -> Array:
        return np.where(np.isfinite(values), values, assumed)

    errors = {
        f"{band}_error": np.maximum(
            filled(getattr(stars, f"{band}_error"), _UNKNOWN_MAG_ERROR), _LEAST_MAG_ERROR
        )
        for band in ("g", "bp", "rp", "ks")
    }
    return replace(
        stars,
        **errors,
        ebv_error=filled(stars.ebv_error, 0.01 + 0.1 * np.abs(stars.ebv)),
        feh=np.clip(filled(stars.feh, FEH), *_FEH_RANGE),
        feh_error=np.where(np.isfinite(stars.feh), filled(stars.feh_error, 0.3), FEH_ERROR),
        mass=filled(stars.mass, MASS),
        mass_error=np.where(np.isfinite(stars.mass), filled(stars.mass_error, 0.1), MASS_ERROR),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Point:
    """Best values, and the part of Teff's variance that no input explains."""

    teff: Array
    logg: Array
    own_variance: Array
    bp_rp0: Array
    dwarf: Array


def _estimate(stars: StarPhotometry) -> PhotometricParameters:
    snr = stars.parallax_mas / stars.parallax_mas_error
    far = ~(snr >= LEAST_PARALLAX_SNR)
    best = _point(stars, far)
    teff_variance = best.own_variance.copy()
    moved = _gravity_by_teff(best.teff + np.sqrt(best.own_variance)) - _gravity_by_teff(best.teff)
    logg_variance = moved**2 + (0.4 * _BC_ERROR) ** 2
    for name in ("g", "bp", "rp", "ks", "ebv", "parallax_mas", "feh", "mass"):
        error = getattr(stars, f"{name}_error")
        value = getattr(stars, name)
        if name in ("parallax_mas", "mass"):  # positive: a step of one σ would be too long
            error = np.minimum(error, 0.3 * value)
        up, down = (_point(replace(stars, **{name: value + sign * error}), far) for sign in (0.5, -0.5))
        teff_variance += np.nan_to_num((up.teff - down.teff) ** 2)
        logg_variance += np.nan_to_num((up.logg - down.logg) ** 2)
    teff_reason = _why_no_teff(stars, best)
    logg_reason = np.where((teff_reason == "") & far, "no_parallax", teff_reason)
    logg_reason = np.where((logg_reason == "") & ~np.isfinite(best.logg), "outside_range", logg_reason)
    has_teff, has_logg = teff_reason == "", logg_reason == ""
    return PhotometricParameters(
        np.where(has_teff, best.teff, np.nan),
        np.where(has_teff, np.sqrt(teff_variance), np.nan),
        np.where(has_logg, best.logg, np.nan),
        np.where(has_logg, np.sqrt(logg_variance), np.nan),
        tuple(teff_reason.tolist()),
        tuple(logg_reason.tolist()),
    )


def _point(stars: StarPhotometry, far: Array) -> _Point:
    """Return best values; a parallax that is no distance may still say that a star is no dwarf."""
    a0 = _R0 * stars.ebv
    bp_rp = stars.bp - stars.rp
    bp_rp0 = bp_rp
    for _ in range(_ITERATIONS):
        bp_rp0 = bp_rp - _extinction("BP", bp_rp0, a0) + _extinction("RP", bp_rp0, a0)
    g0 = stars.g - _extinction("G", bp_rp0, a0)
    bp_ks0 = stars.bp - stars.ks - _extinction("BP", bp_rp0, a0) + _KS_PER_EBV * stars.ebv
    (dwarf_teff, dwarf_sd), (giant_teff, giant_sd) = (
        _mean_teff(bp_rp0, bp_ks0, stars.feh, kind) for kind in ("dwarf", "giant")
    )
    from scipy.special import ndtr  # SciPy takes a third of a second to import; few runs need this

    dwarf = np.full(bp_rp.shape, 0.5)
    nearest = np.maximum(stars.parallax_mas, 0.0) + 2.0 * stars.parallax_mas_error
    parallax = np.where(far, nearest, stars.parallax_mas)
    for _ in range(_ITERATIONS):
        teff = dwarf * dwarf_teff + (1.0 - dwarf) * giant_teff
        logg = surface_gravity(teff, g0, parallax, stars.mass)
        share = ndtr((logg - _BORDER_LOGG) / _BORDER_WIDTH)
        share = np.where(far, np.minimum(share, 0.5), share)
        dwarf = np.where(np.isfinite(share), share, 0.5)
    apart = dwarf * (1.0 - dwarf) * (dwarf_teff - giant_teff) ** 2
    own = dwarf * dwarf_sd**2 + (1.0 - dwarf) * giant_sd**2 + apart
    teff = dwarf * dwarf_teff + (1.0 - dwarf) * giant_teff
    return _Point(teff, np.where(far, np.nan, logg), own, bp_rp0, dwarf)


def _mean_teff(bp_rp0: Array, bp_ks0: Array, feh: Array, kind: Kind) -> tuple[Array, Array]:
    """Return the mean over the colours that there are; their scatters are taken to be the same star's."""
    wide, narrow = (_RELATIONS[name, kind][1] for name in ("BP-RP", "BP-Ks"))
    share = np.where(np.isfinite(bp_ks0), wide**2 / (wide**2 + narrow**2), 0.0)
    by_ks = np.where(np.isfinite(bp_ks0), colour_teff("BP-Ks", bp_ks0, feh, kind), 0.0)
    teff = share * by_ks + (1.0 - share) * colour_teff("BP-RP", bp_rp0, feh, kind)
    return teff, share * narrow + (1.0 - share) * wide


def _extinction(band: str, bp_rp0: Array, a0: Array) -> Array:
    c1, c2, c3, c4, c5, c6, c7 = _EXTINCTION[band]
    ratio = c1 + c2 * bp_rp0 + c3 * bp_rp0**2 + c4 * bp_rp0**3 + c5 * a0 + c6 * a0**2 + c7 * bp_rp0 * a0
    return np.asarray(ratio * a0)


def _why_no_teff(stars: StarPhotometry, best: _Point) -> Array:
    dwarf, giant = (BP_RP_RANGE[kind] for kind in ("dwarf", "giant"))
    low = np.where(best.dwarf >= 0.5, dwarf[0], giant[0])
    high = np.where(best.dwarf >= 0.5, dwarf[1], giant[1])
    inside = (best.bp_rp0 >= low) & (best.bp_rp0 <= high) & np.isfinite(best.teff)
    has_colour = np.isfinite(stars.bp) & np.isfinite(stars.rp)
    has_reddening = np.isfinite(stars.ebv) & (stars.ebv > -0.1)
    return np.where(
        ~has_colour,
        "no_colour",
        np.where(~has_reddening, "no_reddening", np.where(inside, "", "outside_range")),
    )
