"""SDSS and BOSS spectra: ``spec-PLATE-MJD-FIBER.fits`` with the table of pixels in the first extension.

Heliocentric, in vacuum, 1e-17 erg/s/cm²/Å. SDSS-V's ``mwmStar`` files are plain tables. The second extension
(redshift, class) is used only for what was known before observing: object and magnitudes.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np

from cempstream.processors.constants import FWHM_PER_SIGMA
from cempstream.processors.grid import Array
from cempstream.processors.outcome import Rejected
from cempstream.processors.readers.build import Origin, Pixels, build_spectrum, grid_from_cards
from cempstream.processors.readers.fits_file import Cards, FitsFile, utc_of_mjd
from cempstream.processors.readers.options import ReadOptions
from cempstream.processors.spectrum import Spectrum

_MAPPER_EXTENSIONS = tuple(f"{i}/{site}" for i in ("BOSS", "APOGEE") for site in ("APO", "LCO"))
_COLUMNS, _OWN_COLUMNS = {"FLUX", "LOGLAM", "IVAR"}, {"AND_MASK", "WDISP"}

#: Bits of SPPIXMASK that mark a pixel's flux as wrong in every exposure. The worst pixels already have ivar
#: 0. Bits about flats and traces mark whole spectra that are usable: BADFLAT (2) is set on 99.7
#: % of the pixels of some good ones. (sdss.org, algorithms/bitmasks, SPPIXMASK)
BAD_BITS = {"FULLREJECT": 18, "NOSKY": 22, "BRIGHTSKY": 23, "REDMONSTER": 28}
_BAD = np.int64(sum(1 << bit for bit in BAD_BITS.values()))

#: Dispersion in pixels where the table has none: the survey's typical R = 1850.
_TYPICAL_DISPERSION_PIX = 1.0
#: Pixels are 1e-4 dex wide.
_PIXEL_LN = 1e-4 * np.log(10.0)
_BANDS = ("u", "g", "r", "i", "z")
#: TAI ran this far ahead of UTC over the survey, to 3 s.
_TAI_AHEAD = timedelta(seconds=34)


def is_milky_way_mapper(file: FitsFile) -> bool:
    """Return whether a FITS file is an SDSS-V ``mwmStar`` file: a table per instrument and site."""
    return any(name in _MAPPER_EXTENSIONS for name in file.names)


def is_sdss(file: FitsFile) -> bool:
    """Say whether a FITS file holds an SDSS spectrum, by its columns."""
    if not (file.has(1) and file.is_table(1)):
        return False
    names = set(file.columns(1))
    return names >= _COLUMNS and bool(names & _OWN_COLUMNS)


def read_sdss(file: FitsFile, options: ReadOptions) -> Iterator[Spectrum | Rejected]:
    """Read the coadded spectrum of an SDSS file; single exposures in the same file are not read."""
    cards = file.cards()
    names = file.columns(1)
    flux, ivar = file.numbers(1, "FLUX").reshape(-1), file.numbers(1, "IVAR").reshape(-1)
    with np.errstate(over="ignore"):
        wave = 10.0 ** file.numbers(1, "LOGLAM").reshape(-1)
    dispersion = file.numbers(1, "WDISP").reshape(-1) if "WDISP" in names else np.zeros(flux.size)
    masks = file.column(1, "AND_MASK").reshape(-1) if "AND_MASK" in names else np.zeros(flux.size)
    pixels = Pixels(
        grid=grid_from_cards(wave, cards.number("COEFF0"), cards.number("COEFF1")),
        flux=flux,
        ivar=ivar,
        is_bad=(masks.astype(np.int64) & _BAD) != 0,
        resolving_power=_resolving_power(dispersion),
        flux_unit="absolute",
    )
    yield build_spectrum(_origin(file, cards), pixels, options)


def _resolving_power(dispersion_pix: Array) -> Array:
    """Convert the LSF's σ in pixels of 1e-4 dex to λ/FWHM; pixels without a value take their neighbours'."""
    known = np.isfinite(dispersion_pix) & (dispersion_pix > 0.3) & (dispersion_pix < 10)
    if not known.any():
        known, dispersion_pix = np.ones_like(known), np.full(dispersion_pix.size, _TYPICAL_DISPERSION_PIX)
    pixels = np.arange(dispersion_pix.size)
    filled = np.interp(pixels, pixels[known], dispersion_pix[known])
    return np.asarray(1.0 / (FWHM_PER_SIGMA * filled * _PIXEL_LN), dtype=np.float32)


def _origin(file: FitsFile, cards: Cards) -> Origin:
    plate, mjd, fibre = (cards.integer(key) for key in ("PLATEID", "MJD", "FIBERID"))
    known = plate is not None and mjd is not None and fibre is not None
    thing = cards.integer("THING_ID")
    return Origin(
        # The survey's file names consist of these, so a renamed file keeps its id.
        spectrum_id=f"spec-{plate:04d}-{mjd}-{fibre:04d}" if known else file.source.stem,
        survey="sdss",
        object_id=f"thing-{thing}" if thing is not None and thing > 0 else None,
        exposure_id=f"{plate}-{mjd}" if known else "",
        observed_at=_observed_at(cards),
        reduced_at=_reduced_at(cards) or file.source.modified_at,
        reduction_version=cards.text("RUN2D") or cards.text("VERS2D") or "",
        ra=cards.within("PLUG_RA", -180.0, 360.0),
        dec=cards.within("PLUG_DEC", -90.0, 90.0),
        photometry=_photometry(file),
        uri=file.source.uri,
    )


def _observed_at(cards: Cards) -> datetime | None:
    """Return the middle of the observation; BOSS gives only the first and last exposure, or the day."""
    first, last = cards.number("TAI-BEG"), cards.number("TAI-END")
    tai = cards.number("TAI") or (0.5 * (first + last) if first is not None and last is not None else None)
    middle = utc_of_mjd(tai / 86_400) if tai is not None else None
    return middle - _TAI_AHEAD if middle is not None else utc_of_mjd(cards.number("MJD"))


def _reduced_at(cards: Cards) -> datetime | None:
    """Return when the exposures were added up.

    The card holds the local time of an unnamed place; read as UTC it is wrong by some hours, which does not
    matter for spectra that are years old.
    """
    try:
        return datetime.strptime(cards.text("SPCOADD") or "", "%a %b %d %H:%M:%S %Y").replace(tzinfo=UTC)
    except ValueError:
        return None


def _photometry(file: FitsFile) -> dict[str, tuple[float, float]]:
    """Return PSF magnitudes if the file has the row of the photometric catalogue."""
    if not (file.has(2) and file.is_table(2) and {"PSFMAG", "PSFMAGERR"} <= set(file.columns(2))):
        return {}
    magnitudes, errors = (file.numbers(2, name).reshape(-1) for name in ("PSFMAG", "PSFMAGERR"))
    pairs = zip(_BANDS, magnitudes.tolist(), errors.tolist(), strict=False)
    return {band: (mag, error) for band, mag, error in pairs if 0 < mag < 30 and 0 < error < 5}
