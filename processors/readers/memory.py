"""Spectra in memory: arrays with astropy units, and specutils spectra.

Units are removed here. specutils is not imported: any object with its attributes is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from astropy import units as u
from astropy.units.function import FunctionUnitBase

from cempstream.processors.constants import LIGHT_KMS
from cempstream.processors.grid import Array
from cempstream.processors.outcome import Rejected
from cempstream.processors.readers.build import Origin, to_float64
from cempstream.processors.readers.columns import BadTable, ascending, ivar_of_error, wavelengths
from cempstream.processors.readers.conventions import TableRow, build_row, conventions_of
from cempstream.processors.readers.fits_file import parse_utc
from cempstream.processors.readers.options import ReadOptions
from cempstream.processors.readers.statements import (
    Said,
    frame_of,
    gaia_source_of,
    medium_of,
    object_of,
    observed_at_of,
    position_of,
    power_of,
    text_of,
)
from cempstream.processors.spectrum import STAR_FACTS, FluxUnit, Frame, Medium, Spectrum

#: The unit of absolute fluxes inside the package.
FLUX_UNIT = u.Unit("1e-17 erg / (s cm2 Angstrom)")

#: Power of the flux in each kind of uncertainty of astropy's NDData.
_UNCERTAINTY_POWER = {"std": 1, "var": 2, "ivar": -2}


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """One spectrum without units, the properties of its wavelengths, and fields that tables lack."""

    row: TableRow
    medium: Medium | None = None
    frame: Frame | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


def given_arrays(
    wave: Any,
    flux: Any,
    *,
    error: Any = None,
    ivar: Any = None,
    mask: Any = None,
    ids: Sequence[str] | str | None = None,
) -> list[Given]:
    """Remove the units of arrays.

    Parameters
    ----------
    wave
        Pixel centres, shape ``(n_pix,)``, or one row per spectrum: a Quantity of length, frequency or energy;
        plain numbers are Å.
    flux
        Shape ``(n_pix,)`` or ``(n_spec, n_pix)``. A flux density (per Å, nm, Hz…) is absolute; counts, other
        units and plain numbers are relative.
    error, ivar
        1σ error or inverse variance, like `flux`; plain numbers are in the unit of the flux. Without either
        the noise is estimated from the scatter.
    mask
        True or non-zero where a pixel is bad.
    ids
        Name of each spectrum; else ``array-0`` and so on.

    Raises
    ------
    ValueError
        A unit or a shape is wrong.
    """
    if error is not None and ivar is not None:
        raise ValueError("both 'error' and 'ivar' are given; one of them is enough")
    flux = flux if isinstance(flux, u.Quantity) else np.asarray(flux)
    if flux.ndim not in (1, 2):
        raise ValueError(f"'flux' has the shape {flux.shape}; it must be (n_pix,) or (n_spec, n_pix)")
    n_spec = flux.shape[0] if flux.ndim == 2 else 1
    flux = flux.reshape(n_spec, -1)
    names = [ids] if isinstance(ids, str) else _numbered("array", n_spec) if ids is None else list(ids)
    if len(names) != n_spec:
        raise ValueError(f"'ids' has {len(names)} names for {n_spec} spectra")
    noise, power = (ivar, -2) if error is None else (error, 1)
    waves = _per_spectrum("wave", wave, n_spec)
    noises = _per_spectrum("ivar" if error is None else "error", noise, n_spec)
    masks = _per_spectrum("mask", mask, n_spec)
    return [
        Given(_row(_origin(str(names[i]), {}), waves[i], flux[i], noises[i], power, masks[i]))
        for i in range(n_spec)
    ]


def is_specutils(value: object) -> bool:
    """Return whether an object is a spectrum or a collection of spectra of specutils."""
    return all(hasattr(value, name) for name in ("spectral_axis", "flux", "uncertainty", "meta"))


def given_specutils(spectrum: Any, spectrum_id: str) -> Iterator[Given]:
    """Remove the units of a ``specutils.Spectrum`` or ``Spectrum1D``, or of each in a stack of them.

    ``meta``, and the FITS header that it may hold, can give ``spectrum_id``, ``survey``, ``object_id``,
    ``ra``, ``dec``, ``observed_at``, ``medium``, ``frame`` and ``resolving_power``, by these names or those
    usual in headers; the ``meta`` that `to_specutils` writes restores the whole spectrum.

    Parameters
    ----------
    spectrum_id
        Its name if ``meta`` has none.

    Raises
    ------
    ValueError
        A unit is wrong.
    """
    axis = getattr(spectrum, "spectral_axis_index", None)
    if spectrum.flux.ndim > 1:
        if spectrum.spectral_axis.ndim == 1 and axis not in (None, -1, spectrum.flux.ndim - 1):
            raise ValueError(
                f"{spectrum_id}: its spectral axis is axis {axis} of the flux; it must be the last"
            )
        for i in range(spectrum.flux.shape[0]):
            yield from given_specutils(spectrum[i], f"{spectrum_id}-{i}")
        return
    said = _said(spectrum.meta)
    name = text_of(said.get("spectrum_id")) or spectrum_id
    noise, power = _uncertainty(spectrum, name)
    try:
        row = _row(
            _origin(name, said),
            spectrum.spectral_axis,
            spectrum.flux,
            noise,
            power,
            spectrum.mask,
            _resolving_power(said),
            said.get("contamination"),
        )
        medium, frame = medium_of(said), frame_of(said)
    except BadTable as error:
        raise ValueError(f"{name}: {error}; {error.remedy}") from error
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    yield Given(row, medium, frame, _more(said))


def build_given(given: Sequence[Given], options: ReadOptions) -> list[Spectrum | Rejected]:
    """Make spectra of what was given, in order.

    What is not given is estimated, as for a file, from all spectra with the same properties of wavelengths.
    """
    groups: dict[tuple[Medium | None, Frame | None], list[int]] = {}
    for i, one in enumerate(given):
        groups.setdefault((one.medium, one.frame), []).append(i)
    built: dict[int, Spectrum | Rejected] = {}
    for (medium, frame), places in groups.items():
        rows = [given[i].row for i in places]
        conventions = conventions_of(rows, options, medium=medium, frame=frame)
        for i in places:
            spectrum = build_row(given[i].row, conventions, options)
            if isinstance(spectrum, Spectrum):
                spectrum = replace(spectrum, **given[i].more)
            built[i] = spectrum
    return [built[i] for i in range(len(given))]


def _row(
    origin: Origin,
    wave: Any,
    flux: Any,
    noise: Any,
    power: int,
    mask: Any,
    resolving_power: float | Array | None = None,
    contamination: Any = None,
) -> TableRow:
    """Remove the units of one spectrum; `noise` has the unit of the flux to a `power`."""
    wave_aa = _in_angstrom(wave)
    for name, array in (("flux", flux), ("noise", noise), ("mask", mask)):
        if array is not None and np.shape(array) != wave_aa.shape:
            raise ValueError(f"the {name} has {np.size(array)} values; the wavelengths have {wave_aa.size}")
    flux_unit, factor = _flux_scale(flux, wave_aa)
    values = _plain(flux) * factor
    ivar = None
    if noise is not None:
        # An error is converted like the flux: from f_ν to f_λ the factor depends on the wavelength.
        ivar = ivar_of_error(_error_of(_noise_like(noise, flux, power), power) * factor)
        if power > 0 and not ivar.any():
            ivar = None  # an error that is NaN or zero everywhere is not a noise
    if not isinstance(wave, u.Quantity):
        try:
            wave_aa = wavelengths(wave_aa, "wave", None)  # refuses what looks like nm or a logarithm
        except BadTable as error:
            raise ValueError(f"{error}; give them their unit, as in wave * u.nm") from None
    is_bad = None if mask is None else np.asarray(mask) != 0
    per_pixel = resolving_power if isinstance(resolving_power, np.ndarray) else None
    spoilt = None if contamination is None else _plain(contamination)
    wave_aa, (flux_aa, ivar, is_bad, per_pixel, spoilt) = ascending(
        wave_aa, values, ivar, is_bad, per_pixel, spoilt
    )
    assert flux_aa is not None
    return TableRow(
        origin,
        wave_aa,
        flux_aa,
        ivar,
        is_bad=is_bad,
        contamination=spoilt,
        resolving_power=resolving_power if per_pixel is None else per_pixel,
        flux_unit=flux_unit,
    )


def _in_angstrom(wave: Any) -> Array:
    if not isinstance(wave, u.Quantity):
        return _plain(wave)
    if not wave.unit.is_equivalent(u.AA, u.spectral()):
        raise ValueError(
            f"the wavelengths are in '{wave.unit}'; it must be a unit of length, such as Angstrom"
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        # A plain quantity: specutils' axes do not convert a frequency to a length without a rest value.
        return to_float64(u.Quantity(wave.value, wave.unit).to_value(u.AA, equivalencies=u.spectral()))


def _flux_scale(flux: Any, wave_aa: Array) -> tuple[FluxUnit, Array | float]:
    """Return absolute or relative, and the factor to our units, per pixel if it depends on wavelength."""
    if not isinstance(flux, u.Quantity):
        return "relative", 1.0
    if isinstance(flux.unit, FunctionUnitBase) or flux.unit.is_equivalent(u.mag):
        raise ValueError(f"the flux is in '{flux.unit}'; it must be linear, such as erg / (s cm2 Angstrom)")
    try:
        with np.errstate(divide="ignore", invalid="ignore"):
            factor = flux.unit.to(FLUX_UNIT, 1.0, equivalencies=u.spectral_density(wave_aa * u.AA))
    except u.UnitConversionError:
        return "relative", 1.0
    return "absolute", np.asarray(factor)


def _noise_like(noise: Any, flux: Any, power: int) -> Array:
    """Return a noise as plain numbers in the flux's unit to a power."""
    if not isinstance(noise, u.Quantity):
        return _plain(noise)
    unit = getattr(flux, "unit", u.dimensionless_unscaled)
    try:
        return to_float64(noise.to_value(unit**power))
    except u.UnitConversionError:
        raise ValueError(
            f"the noise is in '{noise.unit}'; with a flux in '{unit}' it must be in '{unit**power}'"
        ) from None


def _error_of(noise: Array, power: int) -> Array:
    """Return the 1σ error; a value that is not a positive number marks a bad pixel, and still does."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return noise if power == 1 else np.where(noise > 0, noise, np.nan) ** (1.0 / power)


def _uncertainty(spectrum: Any, name: str) -> tuple[Any, int]:
    """Return the noise of a specutils spectrum and its power of the flux."""
    uncertainty = spectrum.uncertainty
    if uncertainty is None:
        return None, 1
    kind = getattr(uncertainty, "uncertainty_type", "?")
    if kind not in _UNCERTAINTY_POWER:
        raise ValueError(
            f"{name}: its uncertainty is of the type '{kind}'; it must be {', '.join(_UNCERTAINTY_POWER)}"
        )
    return uncertainty.quantity, _UNCERTAINTY_POWER[kind]


def _plain(values: Any) -> Array:
    numbers = np.asarray(getattr(values, "value", values))
    if numbers.dtype.kind not in "fiub":
        raise ValueError(f"an array holds {numbers.dtype}; it must hold numbers")
    return to_float64(numbers)


def _per_spectrum(name: str, values: Any, n_spec: int) -> list[Any]:
    """Return one row per spectrum; a one-dimensional array is used for all."""
    if values is None:
        return [None] * n_spec
    values = values if isinstance(values, u.Quantity) else np.asarray(values)
    if values.ndim == 1:
        return [values] * n_spec
    if values.ndim != 2 or values.shape[0] != n_spec:
        raise ValueError(f"'{name}' has the shape {values.shape}; there are {n_spec} spectra in 'flux'")
    return list(values)


def _said(meta: Mapping[str, Any]) -> Said:
    """Return the items of ``meta``, then those of its FITS header; names in lower case."""
    header = meta.get("header")
    parts = [meta, *([header] if hasattr(header, "keys") else [])]
    said = {str(key).lower(): part[key] for part in reversed(parts) for key in part if key}
    degrees = {
        key: value.to_value(u.deg)
        for key, value in said.items()
        if isinstance(value, u.Quantity) and value.unit.is_equivalent(u.deg)
    }
    return said | degrees


def _origin(spectrum_id: str, said: Said) -> Origin:
    place = position_of(said)
    return Origin(
        spectrum_id=spectrum_id,
        survey=text_of(said.get("survey")).lower() or "generic",
        object_id=object_of(said),
        exposure_id=text_of(said.get("exposure_id")),
        reduction_version=text_of(said.get("reduction_version")),
        ra=place[0] if place else None,
        dec=place[1] if place else None,
        gaia_source_id=gaia_source_of(said),
        observed_at=observed_at_of(said),
        grating=text_of(said.get("grating")) or None,
        reduced_at=parse_utc(text_of(said.get("reduced_at", said.get("date")))) or datetime.now(UTC),
    )


def _more(said: Said) -> dict[str, Any]:
    """Return what `to_specutils` writes to ``meta`` and no header has."""
    more: dict[str, Any] = {}
    rv_kms, zero_error = said.get("rv_kms"), said.get("wave_zero_error_aa")
    if isinstance(rv_kms, float) and abs(rv_kms) < LIGHT_KMS:
        more["rv_kms"] = rv_kms
    if isinstance(zero_error, float) and zero_error >= 0:
        more["wave_zero_error_aa"] = zero_error
    if isinstance(said.get("photometry"), Mapping):
        more["photometry"] = said["photometry"]
    more |= {name: said[name] for name in STAR_FACTS if isinstance(said.get(name), float)}
    return more


def _resolving_power(said: Said) -> float | Array | None:
    """Return λ/FWHM, per pixel if ``meta`` has it so."""
    value = said.get("resolving_power")
    return _plain(value) if np.ndim(value) else power_of(said)  # type: ignore[arg-type]


def _numbered(stem: str, n_spec: int) -> list[str]:
    return [f"{stem}-{i}" for i in range(n_spec)]
