"""DESI spectra: coadds and single-exposure ``spectra`` files of three arms, ``cframe`` files of one camera.

Wavelengths are barycentric, in vacuum; flux is in 1e-17 erg/s/cm²/Å. The arms lie on one 0.8 Å grid and are
joined on it, weighted by inverse variance where they overlap, so that a target is one spectrum. All pixels of
fibres that FIBERSTATUS excludes are bad.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from cempstream.processors.constants import FWHM_PER_SIGMA
from cempstream.processors.grid import Array, grid_of
from cempstream.processors.outcome import Rejected
from cempstream.processors.readers.build import Origin, Pixels, build_spectrum
from cempstream.processors.readers.fits_file import FitsFile, utc_of_mjd
from cempstream.processors.readers.options import ReadOptions
from cempstream.processors.spectrum import Flag, Spectrum

#: How far a pixel may lie from the common grid, in pixels.
_GRID_TOLERANCE_PIX = 0.02
#: The instrument's λ/FWHM at 3600 and 9800 Å (DESI Collaboration 2022, AJ 164, 207), if a fibre gives none.
_NOMINAL_WAVE_AA, _NOMINAL_POWER = (3600.0, 9800.0), (2000.0, 5500.0)
_SIGMA_LIMITS_PIX = (0.3, 5.0)
#: Bits of FIBERSTATUS that exclude a fibre, as in the survey's own pipeline: broken (2), position
#: missing or wrong (8, 9), bad fibre, trace, flat or arc (16 to 19), many bad columns or rejected pixels (20,
#: 21). Stuck or restricted positioners and poor positions (1, 3, 10) are usable. (desispec, fiberbitmasking)
_BAD_FIBRE = sum(1 << bit for bit in (2, 8, 9, 16, 17, 18, 19, 20, 21))
#: Bits that exclude one camera: its amplifiers.
_BAD_AMPLIFIER = {"b": 1 << 22, "r": 1 << 23, "z": 1 << 24}
_COUNT_UNITS = ("electron", "count", "photon", "adu")
_BANDS = {"G": "g", "R": "r", "Z": "z", "W1": "W1", "W2": "W2"}
_GAIA_BANDS = {"G": "G", "BP": "BP", "RP": "RP"}
#: A nanomaggy is 22.5 mag.
_NANOMAGGY_MAG = 22.5


@dataclass(frozen=True, slots=True, eq=False)
class _Arm:
    """One arm of all targets: ``wave`` of shape ``(n_pix,)``, the others ``(n_targets, n_pix)``."""

    name: str
    wave: Array
    flux: Array
    ivar: Array
    resolving_power: Array


def is_desi(file: FitsFile) -> bool:
    """Say whether a FITS file holds DESI spectra, by its extensions."""
    names = set(file.names)
    return "FIBERMAP" in names and bool(_arm_prefixes(names))


def read_desi(file: FitsFile, options: ReadOptions) -> Iterator[Spectrum | Rejected]:
    """Read the targets of a DESI file, in the order of its fibre map."""
    names = file.names
    table = names.index("FIBERMAP")
    status = _fibre_status(file, table)
    n_targets = status.size
    arms = [_read_arm(file, prefix, status) for prefix in _arm_prefixes(set(names))]
    fibres = _Fibres(file, table, n_targets)
    joined = _join(arms)
    # Arms without a common grid stay separate spectra with one object_id.
    for row in range(n_targets):
        for arm in [joined] if joined is not None else arms:
            power, flags = _power_of_row(arm, row)
            pixels = Pixels(
                grid=grid_of(arm.wave),
                flux=arm.flux[row],
                ivar=arm.ivar[row],
                resolving_power=power,
                flux_unit="absolute",
                flags=flags,
            )
            origin = fibres.origin(row)
            if joined is None or len(arms) == 1:
                suffix = f"-{arm.name}" if joined is None else ""
                origin = replace(origin, spectrum_id=origin.spectrum_id + suffix, grating=arm.name)
            yield build_spectrum(origin, pixels, options)


def _arm_prefixes(names: set[str]) -> list[str]:
    """Return the prefixes of ``WAVELENGTH``: ``B_``, ``R_``, ``Z_``, or nothing in a cframe."""
    prefixes = [name.removesuffix("WAVELENGTH") for name in names if name.endswith("WAVELENGTH")]
    return sorted(p for p in prefixes if {f"{p}FLUX", f"{p}IVAR"} <= names)


def _fibre_status(file: FitsFile, table: int) -> Array:
    """Return the fibres' status bits, shape ``(n_targets,)``; a coadd has those of all its exposures."""
    n_targets = file.column(table, "TARGETID").size
    for name in ("COADD_FIBERSTATUS", "FIBERSTATUS"):
        if name in file.columns(table):
            status = file.column(table, name)
            if status.shape == (n_targets,) and status.dtype.kind in "iu":
                return status.astype(np.int64)
    return np.zeros(n_targets, dtype=np.int64)


def _refuse_counts(file: FitsFile, name: str) -> None:
    """Refuse a ``frame`` or ``sframe``: it holds electrons, some of them from the sky, not a star's flux."""
    unit = file.cards(file.names.index(name)).text("BUNIT") or ""
    if any(word in unit.lower() for word in _COUNT_UNITS):
        raise file.source.unreadable(
            f"is a DESI frame: '{name}' is in '{unit}', not calibrated and perhaps not sky-subtracted",
            "give the cframe, spectra or coadd file of the same exposure",
        )


def _read_arm(file: FitsFile, prefix: str, status: Array) -> _Arm:
    names = file.names
    _refuse_counts(file, f"{prefix}FLUX")

    def image(name: str) -> Array | None:
        full = prefix + name
        return file.image(names.index(full)) if full in names else None

    wave, flux, ivar = image("WAVELENGTH"), image("FLUX"), image("IVAR")
    mask, resolution = image("MASK"), image("RESOLUTION")
    if wave is None or flux is None or ivar is None:
        raise file.source.unreadable(f"its arm '{prefix}' is not whole", "fetch it again")
    shape = (status.size, wave.size)
    for name, array in (("FLUX", flux), ("IVAR", ivar), ("MASK", mask)):
        if array is not None and array.shape != shape:
            raise file.source.unreadable(
                f"'{prefix}{name}' has shape {array.shape}", f"it must be (targets, pixels), {shape}"
            )
    if mask is not None:
        ivar = np.where(mask == 0, ivar, 0.0)
    own, primary = file.cards(names.index(f"{prefix}FLUX")), file.cards()
    arm = (prefix.rstrip("_") or (primary.text("CAMERA") or own.text("CAMERA") or "")[:1]).lower()
    is_bad_fibre = (status & (_BAD_FIBRE | _BAD_AMPLIFIER.get(arm, 0))) != 0
    with np.errstate(invalid="ignore"):
        good = np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0) & ~is_bad_fibre[:, None]
    return _Arm(
        name=arm,
        wave=wave.astype(np.float64),
        flux=np.where(np.isfinite(flux), flux, 0.0),
        ivar=np.where(good, ivar, 0.0),
        resolving_power=_resolving_power(wave, resolution, shape),
    )


def _resolving_power(wave: Array, resolution: Array | None, shape: tuple[int, int]) -> Array:
    """Return λ/FWHM from the resolution matrices; NaN where there are none.

    A matrix is stored by its diagonals, of shape ``(n_targets, n_diagonals, n_pix)``: column j holds how the
    light of pixel j spreads over its neighbours, whose second moment is the σ of the LSF.
    """
    if resolution is None or resolution.ndim != 3 or (resolution.shape[0], resolution.shape[2]) != shape:
        return np.full(shape, np.nan, dtype=np.float32)
    offset = np.arange(resolution.shape[1], dtype=np.float64) - resolution.shape[1] // 2
    with np.errstate(all="ignore"):
        total, first, second = (np.tensordot(offset**k, resolution, axes=(0, 1)) for k in (0, 1, 2))
        sigma_pix = np.sqrt(second / total - (first / total) ** 2)
        power = wave / (FWHM_PER_SIGMA * sigma_pix * np.gradient(wave))
        low, high = _SIGMA_LIMITS_PIX
        return np.where((sigma_pix > low) & (sigma_pix < high), power, np.nan).astype(np.float32)


def _join(arms: list[_Arm]) -> _Arm | None:
    """Put the arms on their common grid; None if there is none."""
    if len(arms) == 1:
        return arms[0]
    if any(arm.wave.size < 2 for arm in arms):
        return None
    start = min(float(arm.wave[0]) for arm in arms)
    step = float(arms[0].wave[1] - arms[0].wave[0])
    firsts = [round((float(arm.wave[0]) - start) / step) for arm in arms]
    for arm, first in zip(arms, firsts, strict=True):
        pixels = (arm.wave - start) / step - np.arange(first, first + arm.wave.size)
        if not np.all(np.abs(pixels) < _GRID_TOLERANCE_PIX):
            return None
    n_pix = max(first + arm.wave.size for arm, first in zip(arms, firsts, strict=True))
    shape = (arms[0].flux.shape[0], n_pix)
    ivar, weighted, plain, count, power = (np.zeros(shape, dtype=np.float32) for _ in range(5))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for arm, first in zip(arms, firsts, strict=True):
            here = np.s_[:, first : first + arm.wave.size]
            ivar[here] += arm.ivar
            weighted[here] += arm.ivar * arm.flux
            plain[here] += arm.flux
            has_power = np.isfinite(arm.resolving_power)
            count[here] += has_power
            power[here] += np.where(has_power, arm.resolving_power, 0.0)
        return _Arm(
            name="".join(arm.name for arm in arms),
            wave=start + step * np.arange(n_pix),
            flux=np.where(ivar > 0, weighted / ivar, plain),
            ivar=ivar,
            resolving_power=np.where(count > 0, power / count, np.nan),
        )


def _power_of_row(arm: _Arm, row: int) -> tuple[Array, tuple[Flag, ...]]:
    """Return λ/FWHM of one target; pixels without a value take their neighbours', fibres the instrument's."""
    power = arm.resolving_power[row]
    known = np.isfinite(power)
    if not known.any():
        return np.interp(arm.wave, _NOMINAL_WAVE_AA, _NOMINAL_POWER), (Flag.RESOLVING_POWER_ESTIMATED,)
    return np.interp(arm.wave, arm.wave[known], power[known]), ()


class _Fibres:
    """The fibre map, row by row."""

    def __init__(self, file: FitsFile, table: int, n_rows: int) -> None:
        self._file, self._n_rows = file, n_rows
        names = file.columns(table)
        self._columns: dict[str, Array] = {
            name: file.column(table, name) for name in _FIBRE_COLUMNS if name in names
        }
        self._target = file.column(table, "TARGETID")
        self._observed_mjd = self._read_mjd(table)
        cards = file.cards()
        self._prefix = file.source.stem
        self._version = next((v for v in (cards.text(f"DEPVER{i:02d}") for i in self._production()) if v), "")
        self._reduced_at = cards.utc("DATE") or file.source.modified_at

    def _production(self) -> list[int]:
        """Return where the header names the production (fuji, iron …), else the version of the code."""
        cards = self._file.cards()
        found = {cards.text(f"DEPNAM{i:02d}"): i for i in range(40)}
        return [found[name] for name in ("SPECPROD", "desispec") if name in found]

    def _read_mjd(self, table: int) -> dict[int, float]:
        """Return the mean time of each target's exposures."""
        names = self._file.names
        exposures = names.index("EXP_FIBERMAP") if "EXP_FIBERMAP" in names else table
        columns = self._file.columns(exposures)
        if not {"TARGETID", "MJD"} <= set(columns):
            return {}
        target, mjd = self._file.column(exposures, "TARGETID"), self._file.numbers(exposures, "MJD")
        unique, inverse = np.unique(target, return_inverse=True)
        means = np.bincount(inverse, mjd) / np.bincount(inverse)
        return dict(zip(unique.tolist(), means.tolist(), strict=True))

    def _number(self, name: str, row: int) -> float | None:
        column = self._columns.get(name)
        value = float(column[row]) if column is not None and column.ndim == 1 else None
        return value if value is not None and np.isfinite(value) else None

    def _within(self, name: str, row: int, low: float, high: float) -> float | None:
        value = self._number(name, row)
        return value if value is not None and low <= value <= high else None

    def _observed_at(self, row: int) -> datetime | None:
        own = self._number("MJD", row)
        return utc_of_mjd(own if own is not None else self._observed_mjd.get(int(self._target[row])))

    def origin(self, row: int) -> Origin:
        """Return where one target's spectrum comes from."""
        target = int(self._target[row])
        # A target has a row for each exposure in some files.
        exposure = self._columns.get("EXPID")
        suffix = f"-{int(exposure[row])}" if exposure is not None else ""
        return Origin(
            spectrum_id=f"{self._prefix}-{target}{suffix}",
            survey="desi",
            object_id=str(target),
            exposure_id=self._prefix,
            exposure_size=self._n_rows,
            observed_at=self._observed_at(row),
            reduced_at=self._reduced_at,
            reduction_version=self._version,
            ra=self._within("TARGET_RA", row, -180.0, 360.0),
            dec=self._within("TARGET_DEC", row, -90.0, 90.0),
            epoch=self._within("REF_EPOCH", row, 1900.0, 2100.0),
            gaia_source_id=self._gaia(row),
            photometry=self._photometry(row),
            uri=self._file.source.uri,
        )

    def _gaia(self, row: int) -> int | None:
        catalogue, identifier = self._columns.get("REF_CAT"), self._columns.get("REF_ID")
        if catalogue is None or identifier is None or not bytes(catalogue[row]).strip().startswith(b"G"):
            return None
        return int(identifier[row]) if int(identifier[row]) > 0 else None

    def _photometry(self, row: int) -> dict[str, tuple[float, float]]:
        """Return the Legacy Surveys' and Gaia's magnitudes of the target; Gaia's errors are not given."""
        magnitudes: dict[str, tuple[float, float]] = {}
        for name, band in _GAIA_BANDS.items():
            mag = self._within(f"GAIA_PHOT_{name}_MEAN_MAG", row, 1.0, 30.0)
            if mag is not None:
                magnitudes[band] = (mag, float("nan"))
        for name, band in _BANDS.items():
            flux, ivar = self._number(f"FLUX_{name}", row), self._number(f"FLUX_IVAR_{name}", row)
            if flux is not None and ivar is not None and flux > 0 and ivar > 0:
                error = 2.5 / np.log(10.0) / (flux * ivar**0.5)
                magnitudes[band] = (float(_NANOMAGGY_MAG - 2.5 * np.log10(flux)), float(error))
        return magnitudes


_FIBRE_COLUMNS = (
    "TARGET_RA",
    "TARGET_DEC",
    "REF_EPOCH",
    "REF_CAT",
    "REF_ID",
    "EXPID",
    "MJD",
    *(f"FLUX_{name}" for name in _BANDS),
    *(f"FLUX_IVAR_{name}" for name in _BANDS),
    *(f"GAIA_PHOT_{name}_MEAN_MAG" for name in _GAIA_BANDS),
)
