"""One spectrum as an observation of its star: rebinned to its bundle's grid, with what the models said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Self, TypeAlias

import numpy as np

from cempstream.processors.grid import Array, air_to_vacuum
from cempstream.processors.outcome import Classification, Decision, Estimate
from cempstream.processors.spectrum import Flag, Spectrum


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a bundle said of a spectrum or of a co-add, without the arrays.

    Attributes are those of ``Classification``.
    """

    bundle: str
    snr: float
    flags: tuple[str, ...]
    rv_kms: float | None
    rv_error_kms: float | None
    p_cemp: float
    p_cemp_corrected: float
    subclass_p: Mapping[str, float]
    parameters: Mapping[str, Estimate]
    cfe_corrected: float
    ood_score: float
    decision: Decision

    @classmethod
    def of(cls, result: Classification) -> Self:
        """Return what a classification says."""
        return cls(
            bundle=result.bundle,
            snr=result.snr,
            flags=result.flags,
            rv_kms=result.rv_kms,
            rv_error_kms=result.rv_error_kms,
            p_cemp=result.p_cemp,
            p_cemp_corrected=result.p_cemp_corrected,
            subclass_p=result.subclass_p,
            parameters=result.parameters,
            cfe_corrected=result.cfe_corrected,
            ood_score=result.ood_score,
            decision=result.decision,
        )

    @property
    def subclass(self) -> str:
        """Name of the most probable subclass."""
        return max(self.subclass_p, key=lambda name: self.subclass_p[name])


#: What identifies a spectrum through all its reductions: survey and spectrum id.
VisitKey: TypeAlias = tuple[str, str]

#: What is put together to one spectrum: survey and name of the bundle.
GroupKey: TypeAlias = tuple[str, str]

#: What is added up: survey, grating and name of the bundle.
SeriesKey: TypeAlias = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Observation:
    """One spectrum of a star.

    Attributes
    ----------
    spectrum
        On the bundle's grid, in vacuum, not shifted.
    said
        What the models said of it alone.
    shift_kms
        Velocity that was removed before the models saw it. At low resolution it is the wavelength zero
        point, which differs from spectrum to spectrum.
    is_shift_certain
        Whether one velocity clearly won.
    """

    spectrum: Spectrum
    said: Said = field(repr=False)
    shift_kms: float
    is_shift_certain: bool

    @property
    def visit(self) -> VisitKey:
        """The spectrum, whatever its reduction."""
        return self.spectrum.survey, self.spectrum.spectrum_id

    @property
    def group(self) -> GroupKey:
        """With what it can be put together, whatever the grating."""
        return self.spectrum.survey, bundle_family(self.said.bundle)

    @property
    def series(self) -> SeriesKey:
        """With what it can be added up pixel by pixel."""
        return self.spectrum.survey, self.spectrum.grating or "", bundle_family(self.said.bundle)

    @property
    def measures_velocity(self) -> bool:
        """Whether ``shift_kms`` is the star's velocity, the same in all its spectra."""
        return self.said.rv_error_kms is not None

    @property
    def is_mixed(self) -> bool:
        """Whether its light is in part a neighbour's."""
        return Flag.CONTAMINATED in self.said.flags

    @property
    def rank(self) -> tuple[datetime, str, tuple[int, ...], float, float, bool, bytes, bytes]:
        """The order of two reductions of one spectrum; the greater one is kept.

        Scored twice, a spectrum can differ in the last digit, by the batch that it was scored in: the
        last members make the order total, so that it does not matter which came first.
        """
        spectrum, said = self.spectrum, self.said
        return (
            spectrum.reduced_at,
            spectrum.reduction_version,
            _numbers(said.bundle),
            said.p_cemp,
            self.shift_kms,
            self.is_mixed,
            spectrum.flux.tobytes(),
            spectrum.ivar.tobytes(),
        )


def bundle_family(bundle: str) -> str:
    """Return ``mid`` of ``mid-1.4.0``: versions of one bundle say of one star what can be compared."""
    return bundle.rpartition("-")[0]


def _numbers(bundle: str) -> tuple[int, ...]:
    """Return the version of ``mid-1.4.0`` as numbers, so that 1.10 comes after 1.9."""
    parts = bundle.rpartition("-")[2].split(".")
    return tuple(int(part) for part in parts if part.isdecimal())


def is_followed(result: Classification) -> bool:
    """Return whether a result is an observation of a star that has a name: then its star is alerted of."""
    return result.rebinned is not None and bool(result.spectrum.object_id)


def observe(result: Classification) -> Observation | None:
    """Return a result as an observation of its star; None where its rebinned spectrum was not kept.

    The survey's contamination is interpolated to the bundle's grid; its mask is already in the inverse
    variance.
    """
    kept = result.rebinned
    if kept is None:
        return None
    spectrum = result.spectrum
    return Observation(
        spectrum=replace(
            spectrum,
            grid=kept.grid,
            flux=kept.flux,
            ivar=kept.ivar,
            medium="vacuum",
            resolving_power=kept.resolving_power,
            mask=None,
            contamination=_contamination(spectrum, kept.grid.wave),
        ),
        said=Said.of(result),
        shift_kms=kept.shift_kms,
        is_shift_certain=kept.is_shift_certain,
    )


def _contamination(spectrum: Spectrum, wave: Array) -> Array | None:
    """Return the contamination at other wavelengths; outside the spectrum it is that of its end."""
    if spectrum.contamination is None:
        return None
    theirs = spectrum.grid.wave
    theirs = air_to_vacuum(theirs) if spectrum.medium == "air" else theirs
    return np.interp(wave, theirs, spectrum.contamination).astype(np.float32)
