"""Take out of emulated spectra the lines of CH that no star has.

The published library was computed with CH lines from levels that do not exist (``is_impossible_ch`` of
``models/synthesis/linelists.py``): combs of lines up to 8 % deep from 4450 Å to the near infrared in every
star with some carbon, the Sun included. A network that has learned them finds real stars poor in carbon and
in metals. Their absorption is measured with the emulator itself: it is what grows in proportion to carbon
where neither C2 nor CN nor the real CH absorbs, and under the Swan bands of C2, which grow with the square
of carbon, it is the part that is linear.
"""

from __future__ import annotations

import numpy as np

from cempstream.models.emulator.emulator import EmulatedSpectra, Emulator
from cempstream.models.emulator.grids import EMULATOR_GRID
from cempstream.models.emulator.labels import LABEL_NAMES, move_into_range
from cempstream.processors.grid import Array

#: Where carbon really absorbs, vacuum Å: CH and CN of the blue, C2 (Swan), CN (red system).
REAL_BANDS_AA = (
    (3600.0, 4470.0),
    (4600.0, 4752.0),
    (4975.0, 5175.0),
    (5340.0, 5642.0),
    (5880.0, 6195.0),
    (6900.0, 7090.0),
    (7850.0, 8150.0),
    (9080.0, 10000.0),
)
_EDGE_AA = 10.0
#: Those of them that are C2 alone (Swan).
_SWAN_BANDS_AA = ((4600.0, 4752.0), (4975.0, 5175.0), (5340.0, 5642.0), (5880.0, 6195.0))
_LOW_CARBON, _MIDDLE_CARBON, _SOLAR_CARBON, _LOW_NITROGEN = -0.6, -0.3, 0.0, -0.4
_DEEPEST = -0.5
#: Smaller growth than this, in log flux per solar carbon, is the emulator's own error.
_THRESHOLD = np.float32(4e-4)


def real_share(wave: Array) -> Array:
    """Return 1 where carbon really absorbs, 0 elsewhere, with soft edges; vacuum Å, shape of ``wave``."""
    return _share_of(wave, REAL_BANDS_AA)


def _share_of(wave: Array, bands: tuple[tuple[float, float], ...]) -> Array:
    share = np.zeros(wave.shape)
    for low, high in bands:
        inside = np.minimum(wave - low, high - wave) / _EDGE_AA
        share = np.maximum(share, np.clip(inside + 0.5, 0.0, 1.0))
    return share


#: In stars with strong C2 its bands reach down to here and hide any false line.
_SWAN_TAILS_AA = ((4540.0, 4600.0), (4752.0, 4975.0))
_SWAN_AA, _SWAN_DEPTH = (5080.0, 5160.0), 0.04

_FALSE_SHARE = (1.0 - real_share(EMULATOR_GRID.wave)).astype(np.float32)
_SWAN_SHARE = _share_of(EMULATOR_GRID.wave, _SWAN_BANDS_AA).astype(np.float32)
_LONE = _FALSE_SHARE > 0.5
_SWAN = (EMULATOR_GRID.wave > _SWAN_AA[0]) & (EMULATOR_GRID.wave < _SWAN_AA[1])
_SWAN_TAILS = np.any(
    [(EMULATOR_GRID.wave > low) & (EMULATOR_GRID.wave < high) for low, high in _SWAN_TAILS_AA], axis=0
)


def false_absorption(emulator: Emulator, labels: Array) -> Array:
    """Return the logarithm of what false lines leave of the flux, at most 0.

    With little nitrogen, so that CN does not count, the linear growth at low carbon is scaled to the star's
    own, but never beyond what the star's own carbon takes away altogether. Zero where the emulator's card
    says that its library was computed with cleaned lines.

    Returns
    -------
    Array
        On ``EMULATOR_GRID``, float32, shape ``(n, EMULATOR_GRID.n_pix)``.
    """
    if emulator.card["library"].get("lines") == "cleaned":
        return np.zeros((len(labels), EMULATOR_GRID.n_pix), dtype=np.float32)
    carbon, nitrogen = LABEL_NAMES.index("cfe"), LABEL_NAMES.index("nfe")
    base = np.array(labels, dtype=np.float64)
    base[:, nitrogen] = _LOW_NITROGEN
    own, low, middle, solar = (base.copy() for _ in range(4))
    low[:, carbon], middle[:, carbon], solar[:, carbon] = _LOW_CARBON, _MIDDLE_CARBON, _SOLAR_CARBON
    log_own, log_low, log_middle, log_solar = (
        np.log(np.maximum(Emulator.__call__(emulator, move_into_range(some)).norm, 1e-3))
        for some in (own, low, middle, solar)
    )
    solar_over_low = 10.0**_SOLAR_CARBON - 10.0**_LOW_CARBON
    per_carbon = np.minimum((log_solar - log_low) / np.float32(solar_over_low) + _THRESHOLD, 0.0)
    ratio = 10.0 ** own[:, carbon : carbon + 1]
    linear = per_carbon * ratio.astype(np.float32)
    total = log_own - log_low + np.float32(10.0**_LOW_CARBON) * per_carbon
    # C2 grows with the square of carbon and is not in the linear part; saturated lines are not in the total.
    absorbed = np.clip(np.maximum(linear, total), _DEEPEST, 0.0) * _FALSE_SHARE
    swan = (log_low - log_own)[:, _SWAN].mean(axis=1)
    absorbed[:, _SWAN_TAILS] *= np.exp(-np.maximum(swan, 0.0) / _SWAN_DEPTH)[:, None]
    under_swan = np.minimum(_linear_part(log_low, log_middle, log_solar) + _THRESHOLD, 0.0)
    under_swan *= ratio.astype(np.float32) * _saturation(linear[:, _LONE], absorbed[:, _LONE])[:, None]
    return np.asarray(absorbed + np.clip(under_swan, _DEEPEST, 0.0) * _SWAN_SHARE)


def _linear_part(low: Array, middle: Array, solar: Array) -> Array:
    """Return the linear term of a parabola in the carbon abundance through three log fluxes."""
    a, b, c = (np.float32(10.0**x) for x in (_LOW_CARBON, _MIDDLE_CARBON, _SOLAR_CARBON))
    first, second = (middle - low) / (b - a), (solar - low) / (c - a)
    return np.asarray((first * (c + a) - second * (b + a)) / (c - b))


def _saturation(linear: Array, absorbed: Array) -> Array:
    """Return what saturation leaves of a linear growth, measured where false lines stand alone; ``(n,)``."""
    weight = np.sum(linear * linear, axis=1)
    return np.asarray(np.clip(np.sum(linear * absorbed, axis=1) / np.maximum(weight, 1e-9), 0.0, 1.0))


class CleanedEmulator(Emulator):
    """The emulator without false lines, on its own grid; what ``at`` returns still has them."""

    def __call__(self, labels: Array) -> EmulatedSpectra:
        """Compute spectra; row i belongs to row i of the labels."""
        spectra = super().__call__(labels)
        return EmulatedSpectra(spectra.norm / np.exp(false_absorption(self, labels)), spectra.continuum)
