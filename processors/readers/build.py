"""Build a Spectrum from a file's data on one source, or a Rejected in its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np

from cempstream.processors.estimate import estimate_ivar
from cempstream.processors.grid import Array, ExplicitGrid, LogGrid, WavelengthGrid, grid_of
from cempstream.processors.identity import content_version
from cempstream.processors.outcome import Rejected
from cempstream.processors.readers.options import ReadOptions
from cempstream.processors.spectrum import (
    MAX_PIXELS,
    BadSpectrum,
    Flag,
    FluxUnit,
    Frame,
    Medium,
    Reason,
    Spectrum,
)

#: This many zeros in a row are fill values, not fluxes.
_SHORTEST_FILL = 3

#: Codes for "no value"; they count as such only far above all other pixels.
_FILL_VALUES = (-99.0, -999.0, -9999.0, -99999.0, -999999.0, 9999.0, 99999.0, 999999.0)
_CODE_RATIO = 3.0
#: A flux so many times the median is no measurement: 1e20, 9.97e36 and the like.
_LARGEST_RATIO = 1e8

#: The square of a scale outside this range is close to the limits of float32.
_SCALES = (1e-8, 1e8)
_LARGEST_IVAR = 1e30
_GRID_TOLERANCE_PIX = 0.02
#: Less is not a wavelength; 1 Å is 10 to the power of a missing logarithm, 0.
_LEAST_WAVE_AA = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a spectrum comes from, as ``Spectrum`` has it."""

    spectrum_id: str
    survey: str
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
    photometry: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    star_facts: Mapping[str, Any] = field(default_factory=dict)
    uri: str | None = None
    grating: str | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Pixels:
    """The arrays of one spectrum as the file holds them.

    Attributes
    ----------
    grid
        Wavelengths in Å.
    flux
        Any float type, shape ``(n_pix,)``; NaN where there is none.
    ivar
        Inverse variance; anything that is not a positive number is a bad pixel. None where the file has none.
    is_bad
        Pixels that the survey's mask marks as bad.
    contamination
        Fraction of each pixel's flux that comes from neighbouring sources.
    flags
        What the reader had to estimate.
    """

    grid: WavelengthGrid
    flux: Array
    ivar: Array | None
    is_bad: Array | None = None
    contamination: Array | None = None
    resolving_power: float | Array
    medium: Medium = "vacuum"
    frame: Frame = "observed"
    flux_unit: FluxUnit = "relative"
    wave_zero_error_aa: float | None = None
    flags: tuple[Flag, ...] = ()


def build_spectrum(origin: Origin, pixels: Pixels, options: ReadOptions) -> Spectrum | Rejected:
    """Check and clean one spectrum; a fault in it gives a ``Rejected``, never an exception."""
    survey = options.survey or origin.survey
    try:
        # Fluxes may have any size; an overflow gives a value that is not finite and counts as bad.
        with np.errstate(invalid="ignore", over="ignore", under="ignore"):
            return _build(origin, pixels, options, survey)
    except BadSpectrum as error:
        return Rejected(b"", error.reason, error.detail, origin.spectrum_id, survey)


def to_float64(values: Array) -> Array:
    """Return numbers as float64, shape kept; damaged files hold signalling NaNs, which become plain ones."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(values.astype(np.float64) + 0.0)


def grid_from_cards(wave: Array, log10_start: float | None, log10_step: float | None) -> WavelengthGrid:
    """Return the log grid that a header states where the wavelengths agree with it, else their own grid.

    Stated starts and steps are round numbers, so that spectra of one survey share one grid; wavelengths
    in float32 are not. A whole number of pixels may be cut off: SDSS spectra lose up to 18 at the blue end
    and keep the header of the plate.
    """
    if log10_start is not None and log10_step is not None and wave.size and 1e-6 < log10_step < 1e-2:
        with np.errstate(invalid="ignore", divide="ignore"):
            pixels = (np.log10(wave) - log10_start) / log10_step - np.arange(wave.size)
        if np.isfinite(pixels[0]) and np.all(np.abs(pixels - np.round(pixels[0])) < _GRID_TOLERANCE_PIX):
            start = log10_start + float(np.round(pixels[0])) * log10_step
            return LogGrid(round(start, 8), round(log10_step, 10), int(wave.size))
    return grid_of(wave)


def _build(origin: Origin, pixels: Pixels, options: ReadOptions, survey: str) -> Spectrum:
    flags = set(pixels.flags)
    pixels = _without_gaps(pixels)
    flux, ivar = _clean(pixels)
    ra, dec = _place(origin)
    if pixels.ivar is None:
        flags.add(Flag.IVAR_ESTIMATED)
    resolving_power = pixels.resolving_power
    if options.resolving_power is not None:
        resolving_power = options.resolving_power
        flags.discard(Flag.RESOLVING_POWER_ESTIMATED)
    elif isinstance(resolving_power, np.ndarray):
        resolving_power = resolving_power.astype(np.float32)
    return Spectrum(
        spectrum_id=_encodable(origin.spectrum_id),
        survey=_encodable(survey),
        grid=pixels.grid,
        flux=flux,
        ivar=ivar,
        medium=options.medium or pixels.medium,
        frame=options.frame or pixels.frame,
        resolving_power=resolving_power,
        reduced_at=origin.reduced_at,
        exposure_id=_encodable(origin.exposure_id),
        reduction_version=origin.reduction_version
        or content_version(pixels.grid.wave, flux, None if pixels.ivar is None else ivar),
        observed_at=origin.observed_at,
        object_id=None if origin.object_id is None else _encodable(origin.object_id),
        exposure_size=origin.exposure_size,
        ra=ra,
        dec=dec,
        epoch=origin.epoch,
        gaia_source_id=origin.gaia_source_id,
        contamination=None if pixels.contamination is None else pixels.contamination.astype(np.float32),
        wave_zero_error_aa=pixels.wave_zero_error_aa,
        flux_unit=pixels.flux_unit,
        grating=origin.grating,
        photometry=origin.photometry,
        **origin.star_facts,
        uri=origin.uri,
        flags=tuple(flag.value for flag in Flag if flag in flags),
    )


def _place(origin: Origin) -> tuple[float | None, float | None]:
    """Return right ascension and declination, both or neither; some longitudes run from -180."""
    if origin.ra is None or origin.dec is None:
        return None, None
    return origin.ra % 360.0 if -180.0 <= origin.ra < 0.0 else origin.ra, origin.dec


def fill_gaps(wave: Array) -> tuple[Array, Array]:
    """Interpolate the wavelengths of pixels within a spectrum that have none.

    Some pipelines write 0 or NaN, or the power of 0, where a pixel was masked.

    Returns
    -------
    tuple
        The wavelengths, and which were filled in: such pixels are always bad.
    """
    with np.errstate(invalid="ignore"):
        is_gap = ~(wave > _LEAST_WAVE_AA) | ~np.isfinite(wave)
    known = np.flatnonzero(~is_gap)
    if known.size < 2 or known.size == wave.size:
        return wave, np.zeros(wave.shape, dtype=bool)
    filled = np.interp(np.arange(wave.size), known, wave[known], left=np.nan, right=np.nan)
    return np.where(is_gap, filled, wave), is_gap


def _without_gaps(pixels: Pixels) -> Pixels:
    """Fill gaps within the wavelengths, and remove pixels without a wavelength at both ends."""
    if not isinstance(pixels.grid, ExplicitGrid) or pixels.flux.shape != pixels.grid.wave.shape:
        return pixels
    wave, is_gap = fill_gaps(pixels.grid.wave)
    if not is_gap.any():
        return pixels
    known = np.flatnonzero(np.isfinite(wave))
    whole = slice(int(known[0]), int(known[-1]) + 1)

    def cut(array: Array | None) -> Array | None:
        return array[whole] if array is not None and array.shape == wave.shape else array

    power, is_bad = pixels.resolving_power, cut(pixels.is_bad)
    return replace(
        pixels,
        grid=grid_of(wave[whole]),
        flux=pixels.flux[whole],
        ivar=cut(pixels.ivar),
        is_bad=is_gap[whole] if is_bad is None else is_bad | is_gap[whole],
        contamination=cut(pixels.contamination),
        resolving_power=power[whole]
        if isinstance(power, np.ndarray) and power.shape == wave.shape
        else power,
    )


def _encodable(text: str) -> str:
    """Return text that UTF-8 can encode; arrays of text may hold half of a surrogate pair."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _clean(pixels: Pixels) -> tuple[Array, Array]:
    """Return flux and ivar as float32, finite everywhere, ivar 0 where a pixel is bad."""
    n_pix = pixels.grid.n_pix
    if n_pix == 0:
        raise BadSpectrum(Reason.NO_PIXELS, "the spectrum has no pixels")
    if n_pix > MAX_PIXELS:
        raise BadSpectrum(Reason.TOO_LARGE, f"the spectrum has {n_pix} pixels; at most {MAX_PIXELS} are read")
    _check_sizes(pixels, n_pix)
    flux = to_float64(pixels.flux)
    good = np.isfinite(flux) & ~_is_filled(flux)
    flux[~good] = 0.0
    if pixels.is_bad is not None:
        good &= ~pixels.is_bad
    if pixels.ivar is None:
        ivar = estimate_ivar(flux, good)
    else:
        ivar = to_float64(pixels.ivar)
        good &= np.isfinite(ivar) & (ivar > 0) & ~_is_huge(ivar, ivar[ivar > 0])
        ivar[~good] = 0.0
    if pixels.flux_unit == "relative" and good.any():
        typical = float(np.median(np.abs(flux[good])))
        if typical > 0 and not _SCALES[0] < typical < _SCALES[1]:
            scale = 10.0 ** np.round(np.log10(typical))
            flux, ivar = flux / scale, ivar * scale * scale
    too_large = ~(np.abs(flux) <= np.finfo(np.float32).max)
    flux[too_large] = 0.0
    ivar[too_large] = 0.0
    # An inverse variance this large is not a measurement, and its square would overflow.
    return flux.astype(np.float32), np.minimum(ivar, _LARGEST_IVAR).astype(np.float32)


def _is_filled(flux: Array) -> Array:
    """Return which pixels hold a value that files without a mask write where nothing was measured.

    These are runs of zeros, 1e20 and its like (CF conventions, netCDF), and codes such as -9999 that lie far
    from all other pixels.
    """
    size = np.abs(flux, where=np.isfinite(flux), out=np.full(flux.shape, np.nan))
    is_code = np.isin(flux, _FILL_VALUES)
    others = size[~is_code & (size > 0)]
    if others.size == 0:
        return _is_run_of_zeros(flux)
    is_fill = _is_huge(size, others)
    if is_code.any():
        is_fill |= is_code & (size > _CODE_RATIO * float(np.quantile(others, 0.99)))
    return is_fill | _is_run_of_zeros(flux)


def _is_huge(values: Array, measured: Array) -> Array:
    """Return which values are so far above the median of those measured that they are codes for none."""
    if measured.size == 0:
        return np.zeros(values.shape, dtype=bool)
    return np.asarray(values > _LARGEST_RATIO * float(np.median(measured)))


def _is_run_of_zeros(flux: Array) -> Array:
    is_zero = np.concatenate([[False], flux == 0.0, [False]])
    edges = np.flatnonzero(is_zero[1:] != is_zero[:-1])
    first, last = edges[::2], edges[1::2]
    steps = np.zeros(flux.size + 1, dtype=np.int8)
    is_run = last - first >= _SHORTEST_FILL
    steps[first[is_run]] = 1
    steps[last[is_run]] = -1
    return np.cumsum(steps[:-1], dtype=np.int8) > 0


def _check_sizes(pixels: Pixels, n_pix: int) -> None:
    for name, array in (
        ("flux", pixels.flux),
        ("ivar", pixels.ivar),
        ("mask", pixels.is_bad),
        ("contamination", pixels.contamination),
    ):
        if array is not None and array.shape != (n_pix,):
            raise BadSpectrum(
                Reason.LENGTH_MISMATCH,
                f"'{name}' has {array.size} values; the wavelengths have {n_pix}",
            )
    if isinstance(pixels.grid, ExplicitGrid) and not np.all(np.diff(pixels.grid.wave) > 0):
        raise BadSpectrum(
            Reason.BAD_WAVELENGTH, "wavelengths must be numbers and increase from pixel to pixel"
        )
