"""The outcome of a packet: a classification or a rejection, one per packet, in the packets' order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from cempstream.processors.grid import Array, LogGrid
from cempstream.processors.spectrum import Reason, Spectrum

#: Subclasses in the order of the classifier's output; their probabilities sum to 1.
SUBCLASSES = ("cemp_no", "cemp_s", "cemp_r", "undetermined")

#: Parameters in the order of the regressor's output.
PARAMETERS = ("teff", "logg", "feh", "cfe", "ac", "bafe")


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its calibrated 68 % interval; NaN where the spectrum does not constrain it."""

    value: float
    lo: float
    hi: float


@dataclass(frozen=True, slots=True)
class PhotometricEstimate:
    """Teff in K and log g in dex by photometry and parallax, with 1σ errors; NaN where there is none.

    Attributes
    ----------
    is_used
        Whether the models judged the star by its photometry as well as by its spectrum.
    """

    teff: float
    teff_error: float
    logg: float
    logg_error: float
    is_used: bool = False


@dataclass(frozen=True, slots=True)
class NamedBand:
    """A named band and its share of the attribution, for a person to read."""

    name: str
    weight: float


@dataclass(frozen=True, slots=True)
class Provenance:
    """Which model computed a number: enough to reproduce it."""

    name: str
    version: str
    sha256: str
    provider: str
    precision: str = "fp32"


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to follow up a star, and by which rule."""

    is_candidate: bool
    threshold: float
    prior: float
    policy_version: str
    priority: float


@dataclass(frozen=True, slots=True, eq=False)
class TemplateMatch:
    """The nearest computed spectrum of a coarse grid, with its reduced chi²."""

    teff: float
    logg: float
    feh: float
    cfe: float
    chi2: float


@dataclass(frozen=True, slots=True, eq=False)
class Rebinned:
    """A spectrum as the first processor of its bundle left it, and the shift that was then removed.

    Attributes
    ----------
    flux, ivar
        On the bundle's grid, not shifted, float32, shape ``(n_pix,)``.
    resolving_power
        The smaller of the survey's and the bundle's.
    shift_kms
        Velocity that the next processors removed; at low resolution the wavelength zero point.
    is_shift_certain
        Whether one velocity clearly won.
    """

    grid: LogGrid
    flux: Array = field(repr=False)
    ivar: Array = field(repr=False)
    resolving_power: float
    shift_kms: float
    is_shift_certain: bool


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Classification:
    """All results of the pipeline for one spectrum.

    Attributes
    ----------
    p_cemp, p_cemp_corrected
        Probability at the survey's prior that [Fe/H] < -1 and [C/Fe] >= +0.7, with the abundance as it is
        and corrected for evolution (Placco et al. 2014).
    subclass_p
        Probability per name of ``SUBCLASSES``, sum 1.
    parameters
        Estimate per name of ``PARAMETERS``, 1D LTE, Asplund et al. 2009.
    lines
        Index name to (value, 1σ error), Å or mag as its definition says; NaN where not measured.
    attribution
        Weight per bin of the bundle's attribution grid, sum 1, shape ``(n_bins,)``.
    attribution_wave_aa
        Edges of those bins in Å (vacuum, rest frame), shape ``(n_bins + 1,)``.
    rv_kms
        Radial velocity; None where it is not measured.
    photometric
        Teff and log g by photometry; None where the spectrum brings no photometry that tells them.
    rebinned
        The spectrum on the bundle's grid, kept where the policy asks for observations; else None.
    expected_purity
        Share of CEMP stars among all candidates of its S/N, as the bundle's card measured it; else None.
    """

    spectrum: Spectrum
    bundle: str
    snr: float
    flags: tuple[str, ...]
    rv_kms: float | None
    rv_error_kms: float | None
    template: TemplateMatch
    lines: Mapping[str, tuple[float, float]] = field(repr=False)
    parameters: Mapping[str, Estimate]
    cfe_corrected: float
    p_cemp: float
    p_cemp_corrected: float
    subclass_p: Mapping[str, float]
    ood_score: float
    attribution: Array = field(repr=False)
    attribution_wave_aa: Array = field(repr=False)
    bands: tuple[NamedBand, ...]
    decision: Decision
    provenance: tuple[Provenance, ...]
    photometric: PhotometricEstimate | None = None
    rebinned: Rebinned | None = field(default=None, repr=False)
    expected_purity: float | None = None

    @property
    def subclass(self) -> str:
        """Name of the most probable subclass."""
        return max(self.subclass_p, key=lambda name: self.subclass_p[name])


@dataclass(frozen=True, slots=True, eq=False)
class Rejected:
    """A packet that could not be scored, with the reason and its original bytes."""

    packet: bytes = field(repr=False)
    reason: Reason
    detail: str
    spectrum_id: str | None = None
    survey: str | None = None
    exposure_id: str | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rejected) and (self.packet, self.reason) == (other.packet, other.reason)

    def __hash__(self) -> int:
        return hash((self.packet, self.reason))


Outcome: TypeAlias = Classification | Rejected
