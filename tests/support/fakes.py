"""Small honest stand-ins, for unit tests alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from cempstream.processors.chain import StageTimer, untimed
from cempstream.processors.decide import Policy
from cempstream.processors.graph import ModelError
from cempstream.processors.grid import LogGrid
from cempstream.processors.outcome import (
    PARAMETERS,
    SUBCLASSES,
    Classification,
    Decision,
    Estimate,
    TemplateMatch,
)
from cempstream.processors.spectrum import BadSpectrum, Spectrum

REDUCED_AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
GRID = LogGrid(3.57, 1e-4, 3840)


def make_spectrum(spectrum_id: str = "s1", *, level: float = 1.0, survey: str = "lamost") -> Spectrum:
    """Return a flat spectrum of the given level with S/N 20."""
    flux = np.full(GRID.n_pix, level, dtype=np.float32)
    return Spectrum(
        spectrum_id=spectrum_id,
        survey=survey,
        grid=GRID,
        flux=flux,
        ivar=np.full(GRID.n_pix, 400.0 / level**2, dtype=np.float32),
        resolving_power=1800.0,
        reduced_at=REDUCED_AT,
        ra=150.0,
        dec=2.0,
    )


class ThresholdChain:
    """Calls a spectrum CEMP when its mean flux is below one half; breaks on NaN as a network would."""

    name = "threshold 1.0"

    def __init__(self, poison: frozenset[str] = frozenset()) -> None:
        self.poison = poison
        self.batches: list[list[str]] = []

    def process_spectra(
        self, spectra: Sequence[Spectrum], policy: Policy, timer: StageTimer = untimed
    ) -> list[Classification | BadSpectrum]:
        """Label each spectrum, or fail as a whole when one is poison."""
        self.batches.append([s.spectrum_id for s in spectra])
        if any(s.spectrum_id in self.poison for s in spectra):
            raise ModelError("a poison row")
        return [classification(s, 0.9 if float(s.flux.mean()) < 0.5 else 0.001, policy) for s in spectra]


def classification(spectrum: Spectrum, p_cemp: float, policy: Policy) -> Classification:
    """Return a complete classification with the given probability."""
    return Classification(
        spectrum=spectrum,
        bundle="threshold 1.0",
        snr=20.0,
        flags=spectrum.flags,
        rv_kms=12.5,
        rv_error_kms=3.0,
        template=TemplateMatch(5000.0, 2.0, -2.0, 1.0, 1.1),
        lines={"kp": (3.2, 0.2), "gpe": (12.0, 0.5)},
        parameters={name: Estimate(1.0, 0.5, 1.5) for name in PARAMETERS},
        cfe_corrected=1.1,
        p_cemp=p_cemp,
        p_cemp_corrected=p_cemp,
        subclass_p=dict(zip(SUBCLASSES, (0.2, 0.6, 0.1, 0.1), strict=True)),
        ood_score=0.01,
        attribution=np.full(4, 0.25, dtype=np.float32),
        attribution_wave_aa=np.linspace(4000.0, 5000.0, 5),
        bands=(),
        decision=Decision(p_cemp >= policy.threshold, policy.threshold, policy.prior, policy.version, 0.5),
        provenance=(),
    )
