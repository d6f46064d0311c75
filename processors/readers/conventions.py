"""Estimate, once per file, what its spectra share and the file does not state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cempstream.processors.constants import LIGHT_KMS
from cempstream.processors.estimate import (
    contradicts_scatter,
    estimate_fwhm_pix,
    estimate_medium_and_frame,
    measure_line_velocity,
    resolving_power_of,
    scatter_over_noise,
)
from cempstream.processors.grid import Array, grid_of
from cempstream.processors.outcome import Rejected
from cempstream.processors.readers.build import Origin, Pixels, build_spectrum, to_float64
from cempstream.processors.readers.options import ReadOptions
from cempstream.processors.spectrum import MAX_PIXELS, Flag, FluxUnit, Frame, Medium, Reason, Spectrum

#: Spectra used, evenly spread over the file; more would add little (see ``estimate``).
_SAMPLE = 24
#: A noise this many times smaller or larger than the scatter is flagged as doubtful; if it was only found by
#: the order of the columns, it is not used.
_DOUBTFUL_RATIO, _LARGEST_RATIO_BY_ORDER = 10.0, 5.0
#: Coarser pixels than this (km/s) cannot tell air from vacuum.
_COARSEST_PIXEL_KMS = 300.0


@dataclass(frozen=True, slots=True, eq=False)
class TableRow:
    """One spectrum of a table.

    Attributes
    ----------
    wave
        Å, as the file has it.
    ivar
        None where the file has neither ivar nor error.
    resolving_power
        None where the file says nothing of this spectrum.
    fault
        Why it cannot be read; the arrays are then empty.
    flags
        What the reader had to assume about it.
    """

    origin: Origin
    wave: Array
    flux: Array
    ivar: Array | None
    is_bad: Array | None = None
    contamination: Array | None = None
    resolving_power: float | Array | None = None
    flux_unit: FluxUnit = "relative"
    fault: tuple[Reason, str] | None = None
    flags: tuple[Flag, ...] = ()


@dataclass(frozen=True, slots=True)
class Conventions:
    """Properties shared by all spectra of a file.

    Attributes
    ----------
    fwhm_pix
        Width of the line-spread function, used where a row states no resolving power.
    has_noise
        Whether the file's ivar is an inverse variance; otherwise it is only a good/bad mask.
    flags
        Which of these were estimated.
    """

    medium: Medium
    frame: Frame
    fwhm_pix: float | None
    has_noise: bool
    flags: tuple[Flag, ...]


def conventions_of(
    rows: Sequence[TableRow],
    options: ReadOptions,
    *,
    medium: Medium | None = None,
    frame: Frame | None = None,
    is_by_order: bool = False,
) -> Conventions:
    """Determine what the file does not state.

    Parameters
    ----------
    rows
        All spectra of the file.
    medium, frame
        What the file states; ``options`` override it.
    is_by_order
        Whether the noise was only identified by its column's position.
    """
    # Rows may hold anything; one that overflows is not a star and is ignored.
    with np.errstate(all="ignore"):
        return _settle(rows, options, options.medium or medium, options.frame or frame, is_by_order)


def _settle(
    rows: Sequence[TableRow],
    options: ReadOptions,
    medium: Medium | None,
    frame: Frame | None,
    is_by_order: bool,
) -> Conventions:
    sample = [_usable(row) for row in rows[:: max(1, len(rows) // _SAMPLE)]]
    usable = [(wave, flux, good) for wave, flux, good in sample if wave.size]
    flags: list[Flag] = []
    if medium is None:
        flags.append(Flag.MEDIUM_ESTIMATED)
    if frame is None:
        flags.append(Flag.FRAME_ESTIMATED)
    if medium is None or frame is None:
        velocities = [
            measure_line_velocity(*one) for one in usable if _pixel_kms(one[0]) < _COARSEST_PIXEL_KMS
        ]
        medium, frame = estimate_medium_and_frame(velocities, medium=medium, frame=frame)
    fwhm_pix = None
    if options.resolving_power is None and any(row.resolving_power is None for row in rows):
        fwhm_pix = estimate_fwhm_pix(usable)
    has_noise, misfit = _noise_of(rows)
    if has_noise and is_by_order and misfit > _LARGEST_RATIO_BY_ORDER:
        has_noise = False
        flags.append(Flag.NOISE_NOT_UNDERSTOOD)
    if has_noise and misfit > _DOUBTFUL_RATIO:
        flags.append(Flag.NOISE_DOUBTFUL)
    return Conventions(medium, frame, fwhm_pix, has_noise, tuple(flags))


def _noise_of(rows: Sequence[TableRow]) -> tuple[bool, float]:
    """Return whether this file's ivar is an inverse variance, and by what factor it misses the scatter."""
    verdicts, misfits = [], []
    for row in rows[:: max(1, len(rows) // _SAMPLE)]:
        if row.ivar is not None and row.flux.shape == row.ivar.shape and row.flux.size <= MAX_PIXELS:
            flux, ivar = to_float64(row.flux), to_float64(row.ivar)
            good = np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0)
            if row.is_bad is not None and row.is_bad.shape == good.shape:
                good &= ~row.is_bad
            verdicts.append(bool(good.any()) and contradicts_scatter(flux, ivar, good))
            ratio = scatter_over_noise(flux, ivar, good)
            if ratio is not None:
                misfits.append(max(ratio, 1.0 / ratio) if ratio > 0 else 1.0)
    return sum(verdicts) * 2 <= len(verdicts), float(np.median(misfits)) if misfits else 1.0


def _usable(row: TableRow) -> tuple[Array, Array, Array]:
    """Return wave, flux and good pixels of a row if it can be used for estimates, else empty arrays."""
    empty = np.zeros(0)
    wave, flux, ivar = row.wave.astype(np.float64), to_float64(row.flux), row.ivar
    if row.fault is not None or wave.shape != flux.shape or (ivar is not None and ivar.shape != flux.shape):
        return empty, empty, empty
    if not 3 <= wave.size <= MAX_PIXELS or not (np.all(np.diff(wave) > 0) and wave[0] > 0):
        return empty, empty, empty
    good = np.isfinite(flux)
    if ivar is not None:
        good &= np.isfinite(ivar) & (ivar > 0)
    if row.is_bad is not None and row.is_bad.shape == flux.shape:
        good &= ~row.is_bad
    if not good.any():
        return empty, empty, empty
    scale = float(np.median(np.abs(flux[good]))) or 1.0
    return wave, np.where(good, flux, 0.0) / scale, good


def _pixel_kms(wave: Array) -> float:
    return float(np.median(np.diff(wave) / wave[:-1])) * LIGHT_KMS


def build_row(row: TableRow, conventions: Conventions, options: ReadOptions) -> Spectrum | Rejected:
    """Build a spectrum from a row."""
    if row.fault is not None:
        survey = options.survey or row.origin.survey
        return Rejected(b"", row.fault[0], row.fault[1], row.origin.spectrum_id, survey)
    flags = [*conventions.flags, *row.flags]
    power = row.resolving_power
    if power is None and options.resolving_power is not None:
        power = options.resolving_power
    if power is None:
        flags.append(Flag.RESOLVING_POWER_ESTIMATED)
        increases = row.wave.size >= 2 and np.all(np.diff(row.wave) > 0)
        power = resolving_power_of(row.wave, conventions.fwhm_pix or 1.0) if increases else 1000.0
    ivar, is_bad = row.ivar, row.is_bad
    if ivar is not None and not conventions.has_noise:
        masked = ~(ivar > 0)
        is_bad = masked if is_bad is None else is_bad | masked
        ivar = None
    pixels = Pixels(
        grid=grid_of(row.wave),
        flux=row.flux,
        ivar=ivar,
        is_bad=is_bad,
        contamination=row.contamination,
        resolving_power=power,
        medium=conventions.medium,
        frame=conventions.frame,
        flux_unit=row.flux_unit,
        flags=tuple(flags),
    )
    return build_spectrum(row.origin, pixels, options)
