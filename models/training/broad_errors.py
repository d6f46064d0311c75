"""Errors of the computed spectra over tens to hundreds of Å, which low resolution does not average away.

Measured against real stars, the library has Ca II H and K 6 to 15 % too strong, CN 3883 too weak above
[Fe/H] = -1.5, and its line lists err together over whole regions. A network of R = 200 that believed the
blue end would be wrong by that much; here each star gets different errors there.
"""

from __future__ import annotations

import numpy as np

from cempstream.models.training.stars import Stars, StarSource
from cempstream.processors.grid import Array, vacuum_to_air

#: Region (air Å) and range of factors on ln(flux / continuum), one factor per star: Ca II K, H, CN 3883 and
#: 4216 with what lies between, and the Balmer jump's foot.
_REGIONS = (
    (3915.0, 3952.0, 0.75, 1.08),
    (3952.0, 3990.0, 0.75, 1.08),
    (3700.0, 3840.0, 0.75, 1.4),
    (3840.0, 3890.0, 0.8, 1.7),
    (4120.0, 4216.0, 0.85, 1.35),
)
_BLUE_END_AA, _TAPER_AA = 4210.0, 30.0
#: Knots over the source's range, ln λ: one in 10 nm at 4000 Å in the blue, one in 25 nm everywhere.
_BLUE_STEP, _WIDE_STEP = 0.012, 0.06


class BroadErrors:
    """A source of stars with errors of line strength region by region.

    Parameters
    ----------
    source
        Where the stars come from.
    """

    def __init__(self, source: StarSource) -> None:
        self._source = source
        self.wave = source.wave
        self.continuum_wave = source.continuum_wave
        log_wave = np.log(self.wave)
        span = float(log_wave[-1] - log_wave[0])
        self._wide = _lines(log_wave, round(span / _WIDE_STEP))
        air = vacuum_to_air(self.wave)
        blue = np.clip((_BLUE_END_AA - air) / _TAPER_AA + 1.0, 0.0, 1.0)
        self._n_blue = int(np.flatnonzero(blue)[-1]) + 1
        blue, air = blue[: self._n_blue], air[: self._n_blue]
        self._blue = blue * _lines(
            log_wave[: self._n_blue], round((log_wave[self._n_blue] - log_wave[0]) / _BLUE_STEP)
        )
        self._regions = np.stack(
            [np.clip(np.minimum(air - low, high - air) / 5.0, 0.0, 1.0) for low, high, _, _ in _REGIONS]
        ).astype(np.float32)

    def draw(self, n: int, rng: np.random.Generator) -> Stars:
        """Draw stars and perturb them."""
        stars = self._source.draw(n, rng)
        amplitude = rng.uniform(0.02, 0.12, (n, 1))
        log_factor = _normal(rng, amplitude, len(self._wide)) @ self._wide
        amplitude = rng.uniform(0.03, 0.25, (n, 1))
        blue = _normal(rng, amplitude, len(self._blue)) @ self._blue
        ends = np.log(np.array([(low, high) for _, _, low, high in _REGIONS]))
        blue += rng.uniform(ends[:, 0], ends[:, 1], (n, len(ends))).astype(np.float32) @ self._regions
        log_factor[:, : self._n_blue] += blue
        norm = np.exp(np.log(np.maximum(stars.norm, 1e-3)) * np.exp(log_factor))
        return Stars(stars.labels, norm.astype(np.float32), stars.continuum)


def _lines(x: Array, n_knots: int) -> Array:
    """Return straight lines between evenly spaced knots as a matrix ``(n_knots, x.size)``, float32."""
    place = (x - x[0]) / (x[-1] - x[0]) * (n_knots - 1)
    return np.maximum(1.0 - np.abs(place - np.arange(n_knots)[:, None]), 0.0).astype(np.float32)


def _normal(rng: np.random.Generator, amplitude: Array, n_knots: int) -> Array:
    return np.asarray(amplitude * rng.standard_normal((len(amplitude), n_knots)), dtype=np.float32)
