"""Many spectra in one ``.npz``: ``wave, flux, ivar`` one after another, and ``offsets`` to where each starts.

Optional: ``ids``, one per spectrum, ``mask`` and ``contamination`` like flux, and the scalars ``medium``,
``frame``, ``resolving_power`` (or one per spectrum or pixel), ``survey``. ``error`` may stand for ``ivar``,
``wavelength`` or ``loglam`` for ``wave``. A table of equal spectra (flux of shape ``(n_spec, n_pix)``) and a
single spectrum need no offsets; ``wave`` may be one grid for all.
"""

from __future__ import annotations

import struct
import tokenize
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from math import prod
from typing import IO
from zipfile import BadZipFile, ZipFile

import numpy as np

from cempstream.processors.grid import Array
from cempstream.processors.outcome import Rejected
from cempstream.processors.readers.build import Origin, to_float64
from cempstream.processors.readers.columns import (
    ERROR_NAMES,
    ID_NAMES,
    IVAR_NAMES,
    MASK_NAMES,
    POWER_NAMES,
    WANTED,
    WAVE_NAMES,
    ascending,
    first_of,
    frame_of,
    ivar_of_error,
    medium_of,
    wavelengths,
)
from cempstream.processors.readers.conventions import TableRow, build_row, conventions_of
from cempstream.processors.readers.options import ReadOptions
from cempstream.processors.readers.source import MAX_UNPACKED_BYTES, Source
from cempstream.processors.spectrum import Reason, Spectrum

_NOTHING = np.zeros(0)
_SCALARS = ("medium", "frame", "survey")
#: What zipfile and numpy raise on damaged archives.
_DAMAGE = (
    BadZipFile,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    OverflowError,
    RuntimeError,  # and NotImplementedError: a compression that zipfile does not know
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    tokenize.TokenError,
    zlib.error,
)


def read_npz(source: Source, options: ReadOptions) -> Iterator[Spectrum | Rejected]:
    """Read the spectra of an archive in their order."""
    arrays = _read_arrays(source)
    said = {name: _word(arrays[name]) for name in _SCALARS if name in arrays}
    try:
        medium, frame = medium_of(said), frame_of(said)
        rows = _rows(source, arrays, said.get("survey") or "generic")
    except ValueError as error:
        raise source.unreadable(str(error), WANTED) from error
    conventions = conventions_of(rows, options, medium=medium, frame=frame)
    for row in rows:
        yield build_row(row, conventions, options)


def _read_arrays(source: Source) -> dict[str, Array]:
    """Return the arrays that matter, each read once; names in lower case."""
    wanted = {
        *WAVE_NAMES,
        "flux",
        *IVAR_NAMES,
        *ERROR_NAMES,
        *MASK_NAMES,
        *POWER_NAMES,
        *ID_NAMES,
        *_SCALARS,
        "offsets",
        "contamination",
    }
    stream: IO[bytes] = BytesIO(source.unpacked) if source.unpacked is not None else source.open()
    with stream, _reading(source), ZipFile(stream) as archive:
        members = {}
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy").lower()
            if name in wanted:
                members[name] = info
        total = sum(info.file_size for info in members.values())
        if total > MAX_UNPACKED_BYTES:
            raise ValueError(
                f"it unpacks to {total / 1e6:.0f} MB; at most {MAX_UNPACKED_BYTES / 1e6:.0f} MB are read"
            )
        arrays = {}
        for name, info in members.items():
            with archive.open(info) as member:
                arrays[name] = _read_array(member, info.file_size)
        return arrays


def _read_array(stream: IO[bytes], size: int) -> Array:
    """Read one ``.npy`` whose header does not claim more than there is; pickled objects are refused."""
    version = np.lib.format.read_magic(stream)
    read_header = (
        np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    )
    shape, is_fortran, dtype = read_header(stream)
    if dtype.hasobject:
        raise ValueError("it holds pickled Python objects, which are never loaded")
    if any(n < 0 for n in shape) or prod(shape) * dtype.itemsize > size:
        raise ValueError(f"an array claims the shape {shape}, the file is shorter")
    values = np.frombuffer(stream.read(prod(shape) * dtype.itemsize), dtype=dtype, count=prod(shape))
    return values.astype(dtype.newbyteorder("="), copy=False).reshape(shape, order="F" if is_fortran else "C")


def _word(scalar: Array) -> str:
    value = scalar.ravel()[0] if scalar.size == 1 else ""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _numbers(arrays: dict[str, Array], name: str) -> Array:
    """Return an array as it is: a night of 10,000 spectra is not copied to another type at once."""
    if arrays[name].dtype.kind not in "fiub":
        raise ValueError(f"'{name}' holds no numbers")
    return arrays[name]


def _rows(source: Source, arrays: dict[str, Array], survey: str) -> list[TableRow]:
    wave_name = first_of(WAVE_NAMES, arrays)
    if wave_name is None or "flux" not in arrays:
        raise ValueError(f"holds the arrays {', '.join(sorted(arrays)) or '(none that is known)'}")
    flux = _numbers(arrays, "flux")
    wave = wavelengths(_numbers(arrays, wave_name), wave_name, "")
    ivar_name, error_name = first_of(IVAR_NAMES, arrays), first_of(ERROR_NAMES, arrays)
    ivar = _numbers(arrays, ivar_name) if ivar_name else None
    if ivar is None and error_name:
        ivar = ivar_of_error(to_float64(_numbers(arrays, error_name)))
    mask = _numbers(arrays, "mask") if "mask" in arrays else None
    contamination = _numbers(arrays, "contamination") if "contamination" in arrays else None
    power = _numbers(arrays, "resolving_power") if "resolving_power" in arrays else None
    bounds = _bounds(arrays, flux)
    ids = _ids(source, arrays, len(bounds))
    rows = []
    for i, (start, stop) in enumerate(bounds):
        origin = Origin(
            spectrum_id=ids[i],
            survey=survey,
            exposure_id=source.stem,
            exposure_size=len(bounds),
            reduced_at=source.modified_at,
            uri=f"{source.uri}#{i}",
        )
        if not 0 <= start <= stop <= flux.size:
            fault = (
                Reason.LENGTH_MISMATCH,
                f"offsets {start} to {stop} do not lie in {flux.size} values of flux",
            )
            rows.append(TableRow(origin, _NOTHING, _NOTHING, None, fault=fault))
            continue
        # One value per spectrum, or else one for all, one grid for all, or a value per pixel.
        own_power = power if power is None or power.size != len(bounds) else power.ravel()[i : i + 1]
        wave_cut, *others = (
            _cut(array, start, stop, flux.size)
            for array in (wave, flux, ivar, mask, contamination, own_power)
        )
        one_wave, (one_flux, one_ivar, one_mask, one_contamination, one_power) = ascending(
            _present(wave_cut), *others
        )
        is_number = one_power is not None and one_power.size == 1
        rows.append(
            TableRow(
                origin,
                one_wave,
                _present(one_flux),
                one_ivar,
                is_bad=one_mask != 0 if one_mask is not None else None,
                contamination=one_contamination,
                resolving_power=float(_present(one_power)[0]) if is_number else one_power,
            )
        )
    return rows


def _bounds(arrays: dict[str, Array], flux: Array) -> list[tuple[int, int]]:
    """Return where each spectrum starts and stops in the flattened flux.

    ``offsets`` holds the starts, and the end of the last spectrum where it is one longer.
    """
    if "offsets" not in arrays:
        n_spec = flux.shape[0] if flux.ndim == 2 else 1
        edges = np.linspace(0, flux.size, n_spec + 1).astype(np.int64)
    else:
        if arrays["offsets"].dtype.kind not in "iu":
            raise ValueError("'offsets' are no whole numbers")
        edges = arrays["offsets"].ravel().astype(np.int64)
        n_ids = next((arrays[name].size for name in ID_NAMES if name in arrays), None)
        ends_open = edges.size == 0 or edges[-1] < flux.size or n_ids == edges.size
        if ends_open and n_ids != edges.size - 1:
            edges = np.append(edges, flux.size)
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


def _ids(source: Source, arrays: dict[str, Array], n_spec: int) -> list[str]:
    name = first_of(ID_NAMES, arrays)
    if name is None:
        width = len(str(max(n_spec - 1, 0)))
        return [f"{source.stem}-{i:0{width}d}" for i in range(n_spec)] if n_spec > 1 else [source.stem]
    ids = [
        v.decode(errors="replace") if isinstance(v, bytes) else str(v) for v in arrays[name].ravel().tolist()
    ]
    if len(ids) != n_spec:
        raise ValueError(f"'{name}' has {len(ids)} values for {n_spec} spectra")
    return ids


def _cut(array: Array | None, start: int, stop: int, n_flux: int) -> Array | None:
    """Return one spectrum's part of an array; one grid for all serves each."""
    if array is None:
        return None
    array = array.ravel()
    if array.size == 1:
        return array
    return array if array.size == stop - start and array.size != n_flux else array[start:stop]


def _present(array: Array | None) -> Array:
    return _NOTHING if array is None else array


@contextmanager
def _reading(source: Source) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise source.unreadable(
            f"is a damaged or foreign npz file ({error})", f"write it by numpy.savez; {WANTED}"
        ) from error
