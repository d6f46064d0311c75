"""Packets for measurements: a bundle's own templates on a survey's pixels, with velocities and noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import numpy as np

from cempstream.models.bundle import Bundle
from cempstream.processors.constants import LIGHT_KMS
from cempstream.processors.grid import Array, LinearGrid, LogGrid, WavelengthGrid
from cempstream.processors.spectrum import Spectrum

_SNR = 30.0
_RV_SCATTER_KMS = 100.0
_BAD_SHARE = 0.005

#: Share of spectra of carbon-rich templates; alerts are rare, but one costs fifty times what a score does.
_CARBON_SHARE = 0.01
_CARBON_RICH = 0.5


class PixelLayout(StrEnum):
    """Whose pixels the packets have."""

    LAMOST = "lamost"
    DESI = "desi"


@dataclass(frozen=True, slots=True)
class _Pixels:
    grid: WavelengthGrid
    resolving_power: Callable[[Array], float | Array]


_PIXELS = {
    PixelLayout.LAMOST: _Pixels(LogGrid(3.5682, 1e-4, 3909), lambda wave: 1800.0),
    # DESI gives a resolution per pixel, rising from 2000 in the blue to 5000 in the red.
    PixelLayout.DESI: _Pixels(
        LinearGrid(3600.0, 0.8, 7781), lambda wave: (2000.0 + 0.484 * (wave - 3600.0)).astype(np.float32)
    ),
}


def load_spectra(bundle: Bundle, n_spec: int, layout: PixelLayout, *, seed: int = 1) -> list[Spectrum]:
    """Return spectra of the templates' stars: enough to run a model, but not to judge one.

    Parameters
    ----------
    seed
        The same seed gives the same spectra.
    """
    rng = np.random.default_rng(seed)
    pixels = _PIXELS[layout]
    wave = pixels.grid.wave
    log_wave, log_template = np.log(wave), np.log(bundle.card.grid.grid.wave)
    # Hot stars and M dwarfs have no labels; a survey of metal-poor stars has few of them.
    bank, cfe = bundle.templates.norm, bundle.templates.labels[:, 3]
    rich, others = np.flatnonzero(cfe > _CARBON_RICH), np.flatnonzero(cfe <= _CARBON_RICH)
    now = datetime.now(UTC)
    spectra = []
    for i in range(n_spec):
        rv_kms = rng.normal(0.0, _RV_SCATTER_KMS)
        template = bank[rng.choice(rich if rng.random() < _CARBON_SHARE else others)]
        norm = np.interp(log_wave - np.log1p(rv_kms / LIGHT_KMS), log_template, template)
        level = 1000.0 * (wave / 5000.0) ** rng.uniform(-2, 2)
        sigma = level / _SNR
        ivar = np.where(rng.random(wave.size) < _BAD_SHARE, 0.0, sigma**-2.0)
        spectra.append(
            Spectrum(
                spectrum_id=f"bench-{seed}-{i:06d}",
                survey=layout.value,
                grid=pixels.grid,
                flux=(norm * level + sigma * rng.standard_normal(wave.size)).astype(np.float32),
                ivar=ivar.astype(np.float32),
                resolving_power=pixels.resolving_power(wave),
                reduced_at=now,
                exposure_id=f"bench-{seed}",
                reduction_version="bench",
                ra=float(rng.uniform(0, 360)),
                dec=float(rng.uniform(-10, 60)),
            )
        )
    return spectra
