"""LAMOST spectra: the image of five rows (to DR7) and the one-row table ``COADD`` (since DR8) of low
resolution, and the coadded tables of both arms of medium resolution.

All are heliocentric, in vacuum, with relative flux. Rows of the image: flux, inverse variance, wavelength
(the continuum-subtracted flux in DR1), AND-mask, OR-mask. The header's class, redshift and signal-to-noise
are the survey's own results and are not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from cempstream.processors.grid import WAVE_LIMITS_AA, Array, grid_of
from cempstream.processors.outcome import Rejected
from cempstream.processors.readers.build import Origin, Pixels, build_spectrum, grid_from_cards, to_float64
from cempstream.processors.readers.fits_file import Cards, FitsFile
from cempstream.processors.readers.options import ReadOptions
from cempstream.processors.spectrum import Flag, Spectrum

#: λ/FWHM with the slit masked to two thirds, as in the whole survey (Luo et al. 2015, RAA 15, 1095).
RESOLVING_POWER = 1800.0

#: λ/FWHM of the medium-resolution survey (Liu et al. 2020, arXiv:2005.07210).
MEDIUM_RESOLVING_POWER = 7500.0
#: Tables in its files: the coadds of both arms, and single exposures by number.
_ARM_TABLE = re.compile(r"COADD_[BR]|[BR]-\d{1,12}")

_IMAGE_ROWS = 5
_LOG10_START, _LOG10_STEP = 3.5682, 1e-4
_TABLE_COLUMNS = {"FLUX", "IVAR", "WAVELENGTH"}
#: A C2 band of a carbon star is 90 pixels long, the telluric A band begins at 7590 Å.
_LONGEST_FILLED_PIX, _FLANK_PIX, _REDDEST_FILLED_AA = 100, 15, 6800.0
#: Bands of the magnitudes in ``MAGTYPE``, one letter each, some after a prefix.
_BANDS = re.compile(r"(?:MOD|PSF|AUTO)?([a-zA-Z]{1,7})")
_BRIGHTEST_MAG, _FAINTEST_MAG = 0.0, 30.0


def is_lamost(file: FitsFile) -> bool:
    """Say whether a FITS file is one of LAMOST's low-resolution spectra, by its content."""
    cards = file.cards()
    said = " ".join(filter(None, (cards.text(key) for key in ("TELESCOP", "ORIGIN", "DATA_V"))))
    if said and "LAMOST" not in said:  # old SDSS spectra are images of five rows, too
        return False
    if said and _arm_tables(file):
        return True
    shape = file.shape(0)
    if len(shape) == 2 and shape[0] == _IMAGE_ROWS:
        return bool(said) or cards.number("COEFF0") is not None
    table = _table_index(file)
    return table is not None and (bool(said) or "ANDMASK" in file.columns(table))


def read_lamost(file: FitsFile, options: ReadOptions) -> Iterator[Spectrum | Rejected]:
    """Read the spectrum of a LAMOST low-resolution file, or the arms of a medium-resolution one."""
    cards = file.cards()
    arms = _arm_tables(file)
    if arms:
        yield from _read_arms(file, cards, arms, options)
        return
    table, is_filled = _table_index(file), False
    if table is None:
        flux, ivar, third, and_mask, _ = to_float64(file.image(0))
        wave = _wavelengths(cards, third)
        if wave is not third:
            ivar, is_filled = fill_clipped(wave, flux, ivar, and_mask)
    else:
        flux, ivar, wave = (_row(file.numbers(table, name)) for name in ("FLUX", "IVAR", "WAVELENGTH"))
        has_mask = "ANDMASK" in file.columns(table)
        and_mask = _row(file.numbers(table, "ANDMASK")) if has_mask else np.zeros(flux.size)
    pixels = Pixels(
        grid=grid_from_cards(wave, *_stated_grid(cards)),
        flux=flux,
        ivar=ivar,
        is_bad=bad_pixels(and_mask, ivar),
        resolving_power=RESOLVING_POWER,
        flags=(Flag.IVAR_ESTIMATED,) if is_filled else (),
    )
    yield build_spectrum(_origin(file, cards), pixels, options)


def _arm_tables(file: FitsFile) -> dict[str, int]:
    """Return the tables of a medium-resolution file by arm: the coadds, or else the exposures.

    A coadd holds all exposures of its arm; those in the same file are then not read.
    """
    tables = {
        name: index
        for index, name in enumerate(file.names)
        if _ARM_TABLE.fullmatch(name)
        and file.is_table(index)
        and set(file.columns(index)) >= {"FLUX", "IVAR"}
    }
    coadds = {
        name.removeprefix("COADD_").lower(): i for name, i in tables.items() if name.startswith("COADD")
    }
    return coadds or {name.lower(): i for name, i in tables.items()}


def _read_arms(
    file: FitsFile, cards: Cards, arms: dict[str, int], options: ReadOptions
) -> Iterator[Spectrum | Rejected]:
    """Read coadded arms as one spectrum with a gap between them, single exposures one by one."""
    read = {arm: _read_arm(file, index) for arm, index in arms.items()}
    if set(read) <= {"b", "r"}:
        parts = sorted(read.values(), key=lambda arm: float(arm[0][0]) if arm[0].size else 0.0)
        read = {"".join(read): tuple(np.concatenate(part) for part in zip(*parts, strict=True))}
    for name, (wave, flux, ivar, is_bad) in read.items():
        if wave.size and not np.all(np.diff(wave) > 0):
            raise file.source.unreadable(
                "its arms overlap or run backwards", "give the file as the survey has it"
            )
        origin = replace(_origin(file, cards, prefix="med"), grating=name)
        if len(read) > 1:
            origin = replace(origin, spectrum_id=f"{origin.spectrum_id}-{name}")
        pixels = Pixels(
            grid=grid_of(wave), flux=flux, ivar=ivar, is_bad=is_bad, resolving_power=MEDIUM_RESOLVING_POWER
        )
        yield build_spectrum(origin, pixels, options)


def _read_arm(file: FitsFile, index: int) -> tuple[Array, ...]:
    """Return wavelengths, flux, ivar and bad pixels of one arm, without pixels that have no wavelength."""
    names = file.columns(index)
    column = "WAVELENGTH" if "WAVELENGTH" in names else "LOGLAM"
    wave = _row(file.numbers(index, column))
    with np.errstate(over="ignore", invalid="ignore"):
        wave = wave if column == "WAVELENGTH" else 10.0**wave
        known = np.isfinite(wave) & (wave > WAVE_LIMITS_AA[0])
    flux, ivar = (_row(file.numbers(index, name)) for name in ("FLUX", "IVAR"))
    mask = next((name for name in ("ANDMASK", "PIXMASK") if name in names), None)
    masked = _row(file.numbers(index, mask)) if mask else np.zeros(flux.size)
    if not flux.shape == ivar.shape == masked.shape == wave.shape:
        raise file.source.unreadable(
            f"'{file.names[index]}' has {wave.size} wavelengths, {flux.size} fluxes, {ivar.size} ivar and "
            f"{masked.size} masks",
            "they must be one per pixel",
        )
    return wave[known], flux[known], ivar[known], bad_pixels(masked, ivar)[known]


def bad_pixels(and_mask: Array, ivar: Array) -> Array:
    """Return which pixels the AND-mask marks as bad, with any bit: they were bad in every exposure.

    The OR-mask (bad in one exposure at least) is not used: the other exposures are good. A mask over more
    than half of the pixels that have a variance is about the fibre, not about its pixels.
    """
    masked = np.asarray(np.nan_to_num(and_mask) != 0)
    if masked.shape != ivar.shape:
        return masked  # building the spectrum refuses it and names the sizes
    measured = ivar > 0
    if np.count_nonzero(masked & measured) > 0.5 * np.count_nonzero(measured):
        return np.zeros_like(masked)
    return masked


def fill_clipped(wave: Array, flux: Array, ivar: Array, and_mask: Array) -> tuple[Array, bool]:
    """Restore the inverse variance of deep line cores, which early reductions set to 0.

    Files whose third row is not the wavelength (to DR2 at least) have ivar 0, with a clean AND-mask and valid
    flux, wherever the flux is far from the continuum: in 136 of 176 spectra on a fifth or more of Ca II K, in
    24 on the CH G band. Short runs of such pixels, below their surroundings and with good pixels on both
    sides, get the lower ivar of the two sides. Pixels redward of 6800 Å are not changed: the telluric bands
    are meant to be excluded.

    Returns
    -------
    tuple
        The new ivar, and whether it differs.
    """
    filled = ivar.copy()
    good = np.flatnonzero((ivar > 0) & np.isfinite(flux))
    lost = (ivar == 0) & (and_mask == 0) & (flux != 0) & (wave < _REDDEST_FILLED_AA)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], (ivar == 0).astype(int), [0]))))
    for start, stop in edges.reshape(-1, 2).tolist():
        split = int(np.searchsorted(good, start))
        left, right = good[max(0, split - _FLANK_PIX) : split], good[split : split + _FLANK_PIX]
        if stop - start > _LONGEST_FILLED_PIX or min(left.size, right.size) < _FLANK_PIX:
            continue
        level = np.median(flux[np.concatenate((left, right))])
        value = min(np.median(ivar[left]), np.median(ivar[right]))
        inside = flux[start:stop]
        core = lost[start:stop] & (inside < level) & (inside > -3.0 * value**-0.5)
        filled[start:stop][core] = value
    return filled, bool(np.any(filled != ivar))


def _table_index(file: FitsFile) -> int | None:
    """Return the extension that holds the spectrum as a table; None if an image holds it."""
    index = 1
    if file.has(index) and file.is_table(index) and set(file.columns(index)) >= _TABLE_COLUMNS:
        return index
    return None


def _row(column: Array) -> Array:
    """Return the vector of a table that has one row of vectors, or one row per pixel."""
    return column[0] if column.ndim == 2 and len(column) else column.reshape(-1)


def _stated_grid(cards: Cards) -> tuple[float, float]:
    """Return log10 of the first pixel and step from the header, else the values of all releases."""
    start, step = cards.number("COEFF0"), cards.number("COEFF1")
    if start is None or step is None or not (3.0 < start < 4.5 and 0 < step < 1e-2):
        return _LOG10_START, _LOG10_STEP
    return start, step


def _wavelengths(cards: Cards, third_row: Array) -> Array:
    """Return the third row if it holds wavelengths, else those of the header."""
    if third_row.size and third_row[0] > WAVE_LIMITS_AA[0] and np.all(np.diff(third_row) > 0):
        return third_row
    start, step = _stated_grid(cards)
    return np.asarray(10.0 ** (start + step * np.arange(third_row.size)))


def _origin(file: FitsFile, cards: Cards, *, prefix: str = "spec") -> Origin:
    day, plan = cards.integer("LMJD"), cards.text("PLANID")
    spectrograph, fibre = cards.integer("SPID"), cards.integer("FIBERID")
    # The survey's file names consist of these, so a renamed file keeps its id.
    known = day is not None and plan is not None and spectrograph is not None and fibre is not None
    name = f"{prefix}-{day}-{plan}_sp{spectrograph:02d}-{fibre:03d}" if known else file.source.stem
    release = [cards.text("DATA_V"), cards.text("VERSPIPE")]
    return Origin(
        spectrum_id=name,
        survey="lamost",
        object_id=cards.text("DESIG"),
        exposure_id=f"{day}-{plan}" if known else "",
        observed_at=cards.utc("DATE-OBS"),
        reduced_at=cards.utc("DATE") or file.source.modified_at,
        reduction_version=" ".join(part for part in release if part),
        ra=cards.within("RA", -180.0, 360.0),
        dec=cards.within("DEC", -90.0, 90.0),
        photometry=_photometry(cards),
        uri=file.source.uri,
    )


def _photometry(cards: Cards) -> dict[str, tuple[float, float]]:
    """Return the input catalogue's magnitudes; their errors are not given."""
    bands = _BANDS.fullmatch(cards.text("MAGTYPE") or "")
    if bands is None:
        return {}
    magnitudes = {
        band: cards.within(f"MAG{i}", _BRIGHTEST_MAG, _FAINTEST_MAG)
        for i, band in enumerate(bands[1], start=1)
    }
    return {band: (mag, float("nan")) for band, mag in magnitudes.items() if mag is not None}
