"""A spectrum as a value: what a survey sends for one source, checked once.

Units inside: Å, 1e-17 erg/s/cm²/Å where the flux is absolute, km/s. ``ivar`` is 0 where a pixel is bad.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, TypeAlias

import numpy as np

from cempstream.errors import FixableError
from cempstream.processors.grid import WAVE_LIMITS_AA, Array, ExplicitGrid, LinearGrid, WavelengthGrid

Medium: TypeAlias = Literal["air", "vacuum"]
Frame: TypeAlias = Literal["observed", "rest"]
FluxUnit: TypeAlias = Literal["absolute", "relative"]

#: More pixels than any survey's packet holds; a longer array is refused.
MAX_PIXELS = 262_144

#: What is known of a star besides its spectrum and magnitudes: optional fields of a packet, all numbers.
STAR_FACTS = (
    "parallax_mas", "parallax_error_mas", "ebv", "ebv_error", "teff_phot", "teff_phot_error", "logg_phot",
    "logg_phot_error", "stellarity",
)  # fmt: skip

_F4, _U1 = np.dtype(np.float32), np.dtype(np.uint8)


class Reason(StrEnum):
    """Why a packet became a dead letter: a closed set, also the metric label."""

    NOT_AVRO = "not_avro"
    UNSUPPORTED_VERSION = "unsupported_version"
    TRUNCATED = "truncated"
    TOO_LARGE = "too_large"
    BAD_FIELD = "bad_field"
    LENGTH_MISMATCH = "length_mismatch"
    NO_PIXELS = "no_pixels"
    NO_GOOD_PIXELS = "no_good_pixels"
    BAD_WAVELENGTH = "bad_wavelength"
    UNSUPPORTED_RESOLUTION = "unsupported_resolution"
    LOW_COVERAGE = "low_coverage"
    PROCESSING_ERROR = "processing_error"
    UNDELIVERABLE = "undeliverable"
    UNKNOWN_TENSE = "unknown_tense"


class Flag(StrEnum):
    """What a reader or a processor assumed or noticed; given in every result."""

    MEDIUM_ESTIMATED = "medium_estimated"
    FRAME_ESTIMATED = "frame_estimated"
    RESOLVING_POWER_ESTIMATED = "resolving_power_estimated"
    IVAR_ESTIMATED = "ivar_estimated"
    NOISE_DOUBTFUL = "noise_doubtful"
    NOISE_NOT_UNDERSTOOD = "noise_not_understood"
    COLUMNS_BY_ORDER = "columns_by_order"
    RESOLUTION_DEGRADED = "resolution_degraded"
    RV_UNCERTAIN = "rv_uncertain"
    LOW_SNR = "low_snr"
    PARTIAL_COVERAGE = "partial_coverage"
    OUT_OF_DISTRIBUTION = "out_of_distribution"
    OUT_OF_RANGE = "out_of_range"
    CONTAMINATED = "contaminated"
    PHOTOMETRY_DISAGREES = "photometry_disagrees"
    EXTENDED = "extended"
    IMPURE_AT_SNR = "impure_at_snr"
    BELOW_TRAINED_SNR = "below_trained_snr"


class BadSpectrum(FixableError, ValueError):
    """One packet is wrong; processing continues.

    Attributes
    ----------
    reason
        One of the closed set, for metrics and the dead-letter header.
    detail
        What was wrong and what would be right, for a person.
    spectrum_id, survey, exposure_id
        None where they could not be read.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.spectrum_id: str | None = None
        self.survey: str | None = None
        self.exposure_id: str | None = None

    def identify(self, spectrum_id: str, survey: str, exposure_id: str) -> None:
        """Add the spectrum's identity, by the first caller that knows it."""
        self.spectrum_id, self.survey, self.exposure_id = spectrum_id, survey, exposure_id or None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Spectrum:
    """The spectrum of one source as its survey published it, on the survey's pixels.

    Attributes
    ----------
    spectrum_id, survey, exposure_id, reduction_version
        The survey's names; with ``survey`` and ``reduction_version`` the id is unique.
    grid
        Wavelengths of the ``n_pix`` pixels, in ``medium`` and ``frame``.
    flux, ivar
        float32, shape ``(n_pix,)``; read-only views where they come from a packet.
    resolving_power
        λ/FWHM, a number or float32 of shape ``(n_pix,)``.
    observed_at, reduced_at
        UTC; latency counts from ``reduced_at``.
    ra, dec
        ICRS degrees, or None where the file does not say.
    mask
        uint8, non-zero = bad, shape ``(n_pix,)``; a pixel is good where ``ivar > 0`` and the mask is 0.
    contamination
        Slitless spectra: the fraction of each pixel's flux from neighbouring sources, float32 ``(n_pix,)``.
    wave_zero_error_aa
        1σ error of the wavelength zero point in Å, of slitless spectra.
    photometry
        Band name to (magnitude, error); Gaia's are ``G``, ``BP``, ``RP``, 2MASS's ``J``, ``H``, ``Ks``.
    parallax_mas, parallax_error_mas
        Parallax as its catalogue gives it and its 1σ error; None where it is not known.
    ebv, ebv_error
        Colour excess E(B-V) and its 1σ error, mag.
    teff_phot, teff_phot_error, logg_phot, logg_phot_error
        The survey's own estimates from photometry, K and dex; they stand in place of those that
        ``processors.photometry`` computes.
    stellarity
        How star-like the survey's imaging finds the source, 0 to 1.
    flags
        What the reader had to estimate.

    Raises
    ------
    BadSpectrum
        A field breaks a rule; the detail names it, its value and what would be right.
    """

    spectrum_id: str
    survey: str
    grid: WavelengthGrid
    flux: Array = field(repr=False)
    ivar: Array = field(repr=False)
    medium: Medium = "vacuum"
    frame: Frame = "observed"
    resolving_power: float | Array = field(repr=False)
    reduced_at: datetime
    exposure_id: str = ""
    reduction_version: str = ""
    observed_at: datetime | None = None
    object_id: str | None = None
    exposure_size: int | None = None
    ra: float | None = None
    dec: float | None = None
    epoch: float | None = None
    gaia_source_id: int | None = None
    wave_zero_error_aa: float | None = None
    mask: Array | None = field(default=None, repr=False)
    contamination: Array | None = field(default=None, repr=False)
    flux_unit: FluxUnit = "relative"
    grating: str | None = None
    rv_kms: float | None = None
    photometry: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    parallax_mas: float | None = None
    parallax_error_mas: float | None = None
    ebv: float | None = None
    ebv_error: float | None = None
    teff_phot: float | None = None
    teff_phot_error: float | None = None
    logg_phot: float | None = None
    logg_phot_error: float | None = None
    stellarity: float | None = None
    uri: str | None = None
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_identity(self)
        _check_grid(self.grid)
        _check_arrays(self)
        _check_resolution(self)

    @property
    def key(self) -> str:
        """Key of the Kafka message: bands and epochs of one star share a partition."""
        return self.object_id or self.spectrum_id

    @property
    def n_pix(self) -> int:
        """Number of pixels."""
        return int(self.flux.size)

    @property
    def typical_resolving_power(self) -> float:
        """One λ/FWHM for the whole spectrum; for an array, the median of every 32nd good pixel."""
        if not isinstance(self.resolving_power, np.ndarray):
            return float(self.resolving_power)
        good = self.resolving_power[np.isfinite(self.resolving_power) & (self.resolving_power > 0)]
        return float(np.median(good[good.size % 32 // 2 :: 32])) if good.size else float("nan")


def _check_identity(spectrum: Spectrum) -> None:
    if not spectrum.spectrum_id:
        raise BadSpectrum(Reason.BAD_FIELD, "'spectrum_id' is empty; it must name the spectrum")
    if not spectrum.survey:
        raise BadSpectrum(Reason.BAD_FIELD, "'survey' is empty; it must name the survey")
    if spectrum.ra is not None and not 0.0 <= spectrum.ra <= 360.0:
        raise BadSpectrum(Reason.BAD_FIELD, f"'ra' is {spectrum.ra}; it must lie in [0, 360] deg")
    if spectrum.dec is not None and not -90.0 <= spectrum.dec <= 90.0:
        raise BadSpectrum(Reason.BAD_FIELD, f"'dec' is {spectrum.dec}; it must lie in [-90, 90] deg")
    if spectrum.medium not in ("air", "vacuum"):
        raise BadSpectrum(Reason.BAD_FIELD, f"'medium' is {spectrum.medium!r}; it must be air or vacuum")
    if spectrum.frame not in ("observed", "rest"):
        raise BadSpectrum(Reason.BAD_FIELD, f"'frame' is {spectrum.frame!r}; it must be observed or rest")
    if spectrum.rv_kms is not None and not abs(spectrum.rv_kms) < 3e5:
        raise BadSpectrum(Reason.BAD_FIELD, f"'rv_kms' is {spectrum.rv_kms}; it must be a velocity below c")
    if spectrum.reduced_at.tzinfo is None:
        raise BadSpectrum(Reason.BAD_FIELD, "'reduced_at' has no time zone; it must be UTC")
    if spectrum.observed_at is not None and spectrum.observed_at.tzinfo is None:
        raise BadSpectrum(Reason.BAD_FIELD, "'observed_at' has no time zone; it must be UTC")


def _check_grid(grid: WavelengthGrid) -> None:
    if grid.n_pix == 0:
        raise BadSpectrum(Reason.NO_PIXELS, "the wavelength grid has no pixels")
    if grid.n_pix > MAX_PIXELS:
        raise BadSpectrum(
            Reason.TOO_LARGE, f"the grid has {grid.n_pix} pixels; at most {MAX_PIXELS} are read"
        )
    first, last = _ends(grid)
    low, high = WAVE_LIMITS_AA
    if not (low <= first <= high and low <= last <= high and (last > first or grid.n_pix == 1)):
        raise BadSpectrum(
            Reason.BAD_WAVELENGTH,
            f"the grid runs from {first:.6g} to {last:.6g} Å; it must increase within {low:g}–{high:g} Å",
        )


def _ends(grid: WavelengthGrid) -> tuple[float, float]:
    """Return the first and last wavelength in Å; only an explicit grid must be checked pixel by pixel."""
    if isinstance(grid, ExplicitGrid):
        if not (np.all(np.isfinite(grid.wave)) and np.all(np.diff(grid.wave) > 0)):
            raise BadSpectrum(Reason.BAD_WAVELENGTH, "'wave' must be finite and increase from pixel to pixel")
        return float(grid.wave[0]), float(grid.wave[-1])
    if isinstance(grid, LinearGrid):
        return grid.start_aa, grid.start_aa + grid.step_aa * (grid.n_pix - 1)
    last = grid.log10_start + grid.log10_step * (grid.n_pix - 1)
    # 10 ** 400 overflows: such an exponent is returned as it is and then found out of range.
    first, last = (10.0**x if abs(x) < 10 else x for x in (grid.log10_start, last))
    return first, last


def _check_arrays(spectrum: Spectrum) -> None:
    n_pix = spectrum.grid.n_pix
    _check_array("flux", spectrum.flux, _F4, n_pix)
    _check_array("ivar", spectrum.ivar, _F4, n_pix)
    if spectrum.mask is not None:
        _check_array("mask", spectrum.mask, _U1, n_pix)
    if spectrum.contamination is not None:
        _check_array("contamination", spectrum.contamination, _F4, n_pix)


def _check_array(name: str, array: Array, dtype: np.dtype[Any], n_pix: int) -> None:
    if array.dtype != dtype:
        raise TypeError(f"'{name}' is {array.dtype}; a Spectrum holds {dtype}")
    if array.shape != (n_pix,):
        raise BadSpectrum(
            Reason.LENGTH_MISMATCH,
            f"'{name}' has {array.size} values; the wavelength grid has {n_pix} pixels",
        )


def _check_resolution(spectrum: Spectrum) -> None:
    power = spectrum.resolving_power
    if isinstance(power, np.ndarray) and power.shape != (spectrum.grid.n_pix,):
        raise BadSpectrum(
            Reason.LENGTH_MISMATCH,
            f"'resolving_power' has {power.size} values; the grid has {spectrum.grid.n_pix} pixels",
        )
    typical = spectrum.typical_resolving_power
    if not 1.0 < typical < 1e6:
        raise BadSpectrum(
            Reason.BAD_FIELD, f"'resolving_power' is {typical}; it must be λ/FWHM, between 1 and 1e6"
        )
