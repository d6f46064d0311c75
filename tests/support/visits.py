"""Observations of a star for tests, and a judge whose verdict is a known function of their sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from cempstream.processors.constants import LIGHT_KMS
from cempstream.processors.continuum import Normaliser
from cempstream.processors.decide import Policy
from cempstream.processors.grid import Array, LogGrid
from cempstream.processors.outcome import PARAMETERS, Classification, Estimate
from cempstream.processors.rebin import Rebinner
from cempstream.processors.spectrum import Flag, Spectrum
from cempstream.processors.stars.coadd import put_together
from cempstream.processors.stars.observation import Observation, Said
from cempstream.processors.velocity import VelocityFinder
from tests.support.fakes import classification

NIGHT = datetime(2026, 3, 1, 12, tzinfo=UTC)
VISIT_GRID = LogGrid(3.6, 1e-3, 320)
POLICY = Policy("1", prior=3e-4, threshold=0.5)
REBIN = Rebinner(VISIT_GRID, 300.0, min_pixels=10)
NORMALISE = Normaliser(sigma_pix=40.0)


def line_flux(velocity_kms: float = 0.0, grid: LogGrid = VISIT_GRID) -> Array:
    """Return a continuum of 1 with absorption lines, Doppler-shifted, shape ``(n_pix,)``."""
    log_rest = np.log10(grid.wave / (1.0 + velocity_kms / LIGHT_KMS))
    lines = [3.65 + 0.03 * i for i in range(9)]
    return np.asarray(1.0 - sum(0.4 * np.exp(-0.5 * ((log_rest - at) / 0.003) ** 2) for at in lines))


FIND = VelocityFinder(VISIT_GRID, line_flux()[None].astype(np.float32))


def visit(
    number: int,
    *,
    reduction: int = 0,
    flux: Array | None = None,
    snr: float = 20.0,
    p: float = 0.1,
    grating: str = "GV",
    shift_kms: float = 0.0,
    is_certain: bool = True,
    is_mixed: bool = False,
) -> Observation:
    """Return the spectrum of visit ``number``, an hour after the one before it."""
    flux = line_flux(shift_kms) if flux is None else flux
    spectrum = Spectrum(
        spectrum_id=f"v{number}-{grating}",
        survey="csst",
        object_id="star",
        grid=VISIT_GRID,
        flux=flux.astype(np.float32),
        ivar=np.full(VISIT_GRID.n_pix, snr**2, dtype=np.float32),
        resolving_power=250.0,
        observed_at=NIGHT + timedelta(hours=number),
        reduced_at=NIGHT + timedelta(days=reduction),
        grating=grating,
    )
    flags = (Flag.CONTAMINATED,) if is_mixed else ()
    said = Said.of(replace(classification(spectrum, p, POLICY), bundle="low-1.0.0", snr=snr, flags=flags))
    return Observation(spectrum=spectrum, said=said, shift_kms=shift_kms, is_shift_certain=is_certain)


class MeanJudge:
    """Says of a real co-add the mean p of its visits, and [C/Fe] by the sum's first pixel."""

    bundles = frozenset({"low-1.0.0"})

    def __init__(self) -> None:
        self.n_scored = 0

    def __call__(self, groups: Sequence[Sequence[Observation]]) -> list[Classification | None]:
        """Score each group."""
        self.n_scored += len(groups)
        return [self._one(group) for group in groups]

    def _one(self, group: Sequence[Observation]) -> Classification:
        total = put_together(group, REBIN, NORMALISE, FIND)
        p = float(np.mean([o.said.p_cemp for o in group]))
        cfe = float(total.flux[100])
        width = 1.0 / float(total.ivar[100]) ** 0.5
        numbers = {name: Estimate(cfe, cfe - width, cfe + width) for name in PARAMETERS}
        return replace(classification(total, p, POLICY), bundle="low-1.0.0", parameters=numbers)
