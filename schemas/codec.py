"""The only place where a spectrum packet's bytes become a `Spectrum`; bad bytes of any kind raise only
`BadSpectrum`.

A packet of LAMOST (31 KB) takes about 40 µs, a quarter of it the `Spectrum`'s own checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from cempstream.processors.grid import Array, ExplicitGrid, LinearGrid, LogGrid, WavelengthGrid
from cempstream.processors.spectrum import STAR_FACTS, BadSpectrum, Reason, Spectrum
from cempstream.schemas.avro_reader import AvroError, ReadLimits, compile_reader
from cempstream.schemas.exposure import peek_exposure
from cempstream.schemas.packets import (
    HEADER_BYTES,
    LIMITS,
    MAX_PACKET_BYTES,
    PacketError,
    Resolver,
    pack,
    unpack,
)
from cempstream.schemas.registry import Kind, kind_and_version

Record: TypeAlias = dict[str, Any]

_F4 = np.dtype("<f4")
_F8 = np.dtype("<f8")
_U1 = np.dtype("u1")


def decode_spectrum(
    packet: bytes, *, max_packet_bytes: int = MAX_PACKET_BYTES, resolver: Resolver | None = None
) -> Spectrum:
    """Read a spectrum packet.

    Parameters
    ----------
    packet
        The framed packet, as in the topic.
    max_packet_bytes
        A larger packet is refused unread.
    resolver
        For a survey with its own schema ids: `cempstream.schemas.packets.survey_resolver`.

    Returns
    -------
    Spectrum
        Its arrays are read-only views of the packet's fields.

    Raises
    ------
    BadSpectrum
        Anything is wrong with the bytes or their values.
    """
    try:
        record = unpack(Kind.SPECTRUM, packet, max_packet_bytes=max_packet_bytes, resolver=resolver)
    except PacketError as error:
        bad = BadSpectrum(error.reason, error.detail)
        if (head := peek_exposure(packet)) is not None:  # damaged, but its ids may be readable
            bad.identify(head.spectrum_id, head.survey, head.exposure_id)
        raise bad from error
    try:
        return spectrum_from_record(record)
    except BadSpectrum as bad:
        bad.identify(record["spectrum_id"], record["survey"], record["exposure_id"])
        raise


def spectrum_from_record(record: Record) -> Spectrum:
    """Make a `Spectrum` of a decoded record; the dict is changed.

    Raises
    ------
    BadSpectrum
        A field breaks a rule.
    """
    record["grid"] = _read_grid(record["grid"])
    record["flux"] = _read_array("flux", record["flux"], _F4)
    record["ivar"] = _read_array("ivar", record["ivar"], _F4)
    if record.get("mask") is not None:
        record["mask"] = _read_array("mask", record["mask"], _U1)
    if record.get("contamination") is not None:
        record["contamination"] = _read_array("contamination", record["contamination"], _F4)
    if record.get("photometry"):
        record["photometry"] = {b: (m["mag"], m["error"]) for b, m in record["photometry"].items()}
    if "flags" in record:
        record["flags"] = tuple(record["flags"])
    power = record["resolving_power"]
    if type(power) is float and type(record["grid"]) is not ExplicitGrid:
        return Spectrum(**record)
    if isinstance(power, bytes):
        record["resolving_power"] = _read_array("resolving_power", power, _F4)
    # Hostile values overflow in the checks of whole arrays, which then refuse the result.
    with np.errstate(over="ignore", invalid="ignore"):
        return Spectrum(**record)


def _read_array(name: str, data: bytes, dtype: np.dtype[Any]) -> Array:
    if len(data) % dtype.itemsize:
        raise BadSpectrum(
            Reason.LENGTH_MISMATCH,
            f"'{name}' has {len(data)} bytes; {dtype.name} values take {dtype.itemsize} bytes each",
        )
    return np.frombuffer(data, dtype)


def _read_grid(grid: Record) -> WavelengthGrid:
    """Read a grid; each kind is known by a field that only it has."""
    if "log10_start" in grid:
        return LogGrid(grid["log10_start"], grid["log10_step"], grid["n_pix"])
    if "start_aa" in grid:
        return LinearGrid(grid["start_aa"], grid["step_aa"], grid["n_pix"])
    return ExplicitGrid(_read_array("wave", grid["wave"], _F8))


def encode_spectrum(spectrum: Spectrum) -> bytes:
    """Return a spectrum as a packet of the latest version."""
    return pack(Kind.SPECTRUM, spectrum_record(spectrum))


def spectrum_record(spectrum: Spectrum) -> Record:
    """Return a spectrum as the record that its packet holds; an alert holds the same."""
    power = spectrum.resolving_power
    return {
        "spectrum_id": spectrum.spectrum_id,
        "survey": spectrum.survey,
        "object_id": spectrum.object_id,
        "exposure_id": spectrum.exposure_id,
        "exposure_size": spectrum.exposure_size,
        "observed_at": spectrum.observed_at,
        "reduced_at": spectrum.reduced_at,
        "reduction_version": spectrum.reduction_version,
        "ra": spectrum.ra,
        "dec": spectrum.dec,
        "epoch": spectrum.epoch,
        "gaia_source_id": spectrum.gaia_source_id,
        "grid": _grid_record(spectrum.grid),
        "medium": spectrum.medium,
        "frame": spectrum.frame,
        "wave_zero_error_aa": spectrum.wave_zero_error_aa,
        "flux": _array_bytes(spectrum.flux, _F4),
        "ivar": _array_bytes(spectrum.ivar, _F4),
        "mask": None if spectrum.mask is None else _array_bytes(spectrum.mask, _U1),
        "contamination": (
            None if spectrum.contamination is None else _array_bytes(spectrum.contamination, _F4)
        ),
        "flux_unit": spectrum.flux_unit,
        "resolving_power": _array_bytes(power, _F4) if isinstance(power, np.ndarray) else float(power),
        "grating": spectrum.grating,
        "rv_kms": spectrum.rv_kms,
        "photometry": photometry_record(spectrum.photometry),
        **{name: getattr(spectrum, name) for name in STAR_FACTS},
        "uri": spectrum.uri,
        "flags": [str(flag) for flag in spectrum.flags],
    }


def photometry_record(photometry: Mapping[str, tuple[float, float]]) -> Record:
    """Return magnitudes as the record's map."""
    return {band: {"mag": mag, "error": error} for band, (mag, error) in photometry.items()}


def _array_bytes(array: Array, dtype: np.dtype[Any]) -> bytes:
    return array.astype(dtype, copy=False).tobytes()


def _grid_record(grid: WavelengthGrid) -> Record:
    if isinstance(grid, LogGrid):
        return {"log10_start": grid.log10_start, "log10_step": grid.log10_step, "n_pix": grid.n_pix}
    if isinstance(grid, LinearGrid):
        return {"start_aa": grid.start_aa, "step_aa": grid.step_aa, "n_pix": grid.n_pix}
    return {"wave": _array_bytes(grid.wave, _F8)}


_read_text = compile_reader("string", ReadLimits(max_text_bytes=LIMITS[Kind.SPECTRUM].max_text_bytes))


def peek_ids(packet: bytes) -> tuple[str | None, str | None]:
    """Return ``spectrum_id`` and ``survey`` as far as they can be read, for the dead letter of a bad packet.

    They are the first two fields of a spectrum packet, in every version.
    """
    meant = kind_and_version(int.from_bytes(packet[1:HEADER_BYTES], "big"))
    if packet[:1] != b"\0" or meant is None or meant[0] is not Kind.SPECTRUM:
        return None, None
    try:
        spectrum_id, pos = _read_text(packet, HEADER_BYTES)
    except AvroError:
        return None, None
    try:
        survey, _ = _read_text(packet, pos)
    except AvroError:
        return spectrum_id or None, None
    return spectrum_id or None, survey or None
