"""Wavelength grids as small values, and the conversion between air and vacuum.

A survey sends thousands of spectra on a handful of grids. A grid is therefore a hashable value, so that
what is computed for it (its wavelengths, a rebinning matrix) can be cached.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

#: Range of optical and near-infrared wavelengths, in Å; a wavelength outside it is an error.
WAVE_LIMITS_AA = (1000.0, 30000.0)


@dataclass(frozen=True, slots=True)
class LogGrid:
    """Pixels equally spaced in log10 of the wavelength: pixel i lies at 10 ** (start + i * step) Å."""

    log10_start: float
    log10_step: float
    n_pix: int

    @property
    def wave(self) -> Array:
        """Pixel centres in Å, shape ``(n_pix,)``, float64."""
        return np.asarray(10.0 ** (self.log10_start + self.log10_step * np.arange(self.n_pix)))

    def within(self, low_aa: float, high_aa: float) -> LogGrid:
        """Return the pixels whose centres lie between two wavelengths, as a grid."""
        inside = np.flatnonzero((self.wave >= low_aa) & (self.wave <= high_aa))
        if not inside.size:
            wave = self.wave
            raise ValueError(
                f"no pixel lies between {low_aa:g} and {high_aa:g} Å; "
                f"the grid runs from {wave[0]:.1f} to {wave[-1]:.1f} Å"
            )
        return LogGrid(self.log10_start + self.log10_step * float(inside[0]), self.log10_step, inside.size)


@dataclass(frozen=True, slots=True)
class LinearGrid:
    """Pixels equally spaced in wavelength: pixel i lies at start + i * step Å."""

    start_aa: float
    step_aa: float
    n_pix: int

    @property
    def wave(self) -> Array:
        """Pixel centres in Å, shape ``(n_pix,)``, float64."""
        return self.start_aa + self.step_aa * np.arange(self.n_pix)


@dataclass(frozen=True, slots=True)
class ExplicitGrid:
    """Pixels at any wavelengths; two grids are equal when their wavelengths are, bit by bit."""

    wave: Array = field(compare=False, repr=False)
    digest: bytes = field(init=False)

    def __post_init__(self) -> None:
        wave = np.ascontiguousarray(self.wave, dtype=np.float64)
        object.__setattr__(self, "wave", wave)
        object.__setattr__(self, "digest", blake2b(wave.data, digest_size=16).digest())

    @property
    def n_pix(self) -> int:
        """Number of pixels."""
        return int(self.wave.size)


WavelengthGrid: TypeAlias = LogGrid | LinearGrid | ExplicitGrid


def grid_of(wave: Array, *, tolerance_pix: float = 0.02) -> WavelengthGrid:
    """Return the simplest grid that matches these wavelengths to a fraction of a pixel.

    Parameters
    ----------
    wave
        Pixel centres in Å, increasing, shape ``(n_pix,)``.
    tolerance_pix
        Largest deviation from an even spacing, in pixels.
    """
    wave = np.asarray(wave, dtype=np.float64)
    if wave.size >= 3 and np.all(np.isfinite(wave)) and wave[0] > 0 and np.all(np.diff(wave) > 0):
        pixels = np.arange(wave.size)
        log_wave = np.log10(wave)
        # Published grids have round starts and steps; rounding makes equal grids compare equal.
        step = round(float(log_wave[-1] - log_wave[0]) / (wave.size - 1), 10)
        start = round(float(log_wave[0]), 8)
        if step > 0 and np.max(np.abs(log_wave - start - step * pixels)) < tolerance_pix * step:
            return LogGrid(start, step, wave.size)
        step = round(float(wave[-1] - wave[0]) / (wave.size - 1), 7)
        start = round(float(wave[0]), 4)
        if step > 0 and np.max(np.abs(wave - start - step * pixels)) < tolerance_pix * step:
            return LinearGrid(start, step, wave.size)
    return ExplicitGrid(wave)


def air_to_vacuum(wave_aa: Array) -> Array:
    """Convert air wavelengths in Å to vacuum (Piskunov's inverse of Morton 2000, as VALD gives it)."""
    s2 = (1e4 / np.asarray(wave_aa, dtype=np.float64)) ** 2
    n = (
        1.0
        + 8.336624212083e-5
        + 2.408926869968e-2 / (130.1065924522 - s2)
        + 1.599740894897e-4 / (38.92568793293 - s2)
    )
    return np.asarray(wave_aa * n)


def vacuum_to_air(wave_aa: Array) -> Array:
    """Convert vacuum wavelengths in Å to air (Morton 2000, ApJS 130, 403, eq. 8)."""
    s2 = (1e4 / np.asarray(wave_aa, dtype=np.float64)) ** 2
    n = 1.0 + 8.34254e-5 + 2.406147e-2 / (130.0 - s2) + 1.5998e-4 / (38.9 - s2)
    return np.asarray(wave_aa / n)
