"""Many spectra in one ``.npz``: concatenated ``wave, flux, ivar``, and ``offsets`` where each starts.

Optional: ``ids``, one per spectrum, a mask and ``contamination`` like flux, and the scalars ``medium``,
``frame``, ``resolving_power`` (or one per spectrum or pixel), ``survey``; ``object_id``, ``grating``, a time
and a place, one per spectrum. Names are read as in all tables.
Equal spectra (flux of shape ``(n_spec, n_pix)``) and a single one need no offsets; ``wave`` may be one grid
for all. A ``.npy`` holds one spectrum: rows or columns in the order wavelength, flux and error, or records
with names.
"""

from __future__ import annotations

import struct
import tokenize
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from math import prod
from typing import IO
from zipfile import BadZipFile, ZipFile

import numpy as np

from cempstream.processors.grid import Array
from cempstream.processors.outcome import Rejected
from cempstream.processors.readers.build import to_float64
from cempstream.processors.readers.columns import (
    WANTED,
    BadTable,
    check_linear,
    first_of,
    is_per_frequency,
    split_unit,
    wavelengths,
)
from cempstream.processors.readers.conventions import TableRow, build_row, conventions_of
from cempstream.processors.readers.generic import (
    Entry,
    GenericTable,
    origin_of,
    per_wavelength,
    read_table,
    refuse_doubtful_masks,
    row_of,
    tell_of_puzzles,
)
from cempstream.processors.readers.options import ReadOptions
from cempstream.processors.readers.source import Source, unpacked_limit
from cempstream.processors.readers.statements import (
    Said,
    flux_unit_stated,
    frame_of,
    known_keys,
    medium_of,
    of_all_sources,
    text_of,
    wave_unit_stated,
)
from cempstream.processors.readers.vocabulary import ID_NAMES, Layout, layout_of
from cempstream.processors.spectrum import Flag, Reason, Spectrum

_NOTHING = np.zeros(0)
_POWER, _OFFSETS, _CONTAMINATION = "resolving_power", "offsets", "contamination"
_GRATING = "grating"
_BY_ORDER = ("wavelength", "flux", "error")
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


class _PickledObjects(ValueError):
    """An array that could only be read by unpickling."""


def read_npz(source: Source, options: ReadOptions) -> Iterator[Spectrum | Rejected]:
    """Read the spectra of an archive, in order."""
    arrays = _read_arrays(source)
    said = {
        name: _scalar(array) for name, array in arrays.items() if name in known_keys() and array.size == 1
    }
    try:
        bounds = _bounds(arrays, _flux(arrays))
        layout = _layout(arrays, len(bounds))
        medium = options.medium or medium_of(said) or layout.medium
        frame = options.frame or frame_of(said) or layout.frame
        rows = refuse_doubtful_masks(_rows(source, arrays, layout, bounds, said, options), layout)
    except ValueError as error:
        raise source.unreadable(str(error), getattr(error, "remedy", WANTED)) from error
    if layout.puzzles:
        tell_of_puzzles(source, layout)
    conventions = conventions_of(rows, options, medium=medium, frame=frame)
    for row in rows:
        yield build_row(row, conventions, options)


def read_npy(source: Source, options: ReadOptions) -> Iterator[Spectrum | Rejected]:
    """Read the one spectrum of an array: few long rows or few long columns, or records with names."""
    with _reading(source), source.open() as stream:
        array = _read_array(stream, source.size)
    try:
        yield from read_table(source, _table(array, options), options)
    except ValueError as error:
        raise source.unreadable(str(error), getattr(error, "remedy", WANTED)) from error


def _table(array: Array, options: ReadOptions) -> GenericTable:
    """Return an array as named columns."""
    if array.dtype.names is not None:
        labels, columns = list(array.dtype.names), [array[name].ravel() for name in array.dtype.names]
        is_by_order = False
    else:
        if array.ndim != 2 or min(array.shape) < 2 or array.dtype.kind not in "fiu":
            raise BadTable(
                f"holds an array of shape {array.shape}", "it must be a table of wavelength and flux"
            )
        columns = list(array if array.shape[0] <= array.shape[1] else array.T)
        is_by_order = options.columns is None
        labels = list(options.columns or _BY_ORDER[: len(columns)])
    if len(labels) > len(columns):
        raise BadTable(f"has {len(columns)} columns", f"--columns names {len(labels)}")
    named = [split_unit(label) for label in labels]
    layout = layout_of(name for name, _ in named)
    if layout is None:
        raise BadTable(f"has the columns {', '.join(labels)[:80]}")
    by_name = dict(zip((name for name, _ in reversed(named)), reversed(columns[: len(named)]), strict=True))
    return GenericTable(
        layout=layout,
        entries=[Entry({name: to_float64(by_name[name]) for name in layout.names})],
        wave_unit=dict(reversed(named))[layout.wave],
        flux_unit=dict(reversed(named))[layout.flux],
        flags=(Flag.COLUMNS_BY_ORDER,) if is_by_order else (),
    )


def _read_arrays(source: Source) -> dict[str, Array]:
    """Return the arrays that are needed, each read once; names in lower case."""
    stream: IO[bytes] = BytesIO(source.unpacked) if source.unpacked is not None else source.open()
    with stream, _reading(source), ZipFile(stream) as archive:
        named = {info.filename.removesuffix(".npy").lower(): info for info in archive.infolist()}
        layout = layout_of(named)
        if layout is None:
            raise ValueError(f"holds the arrays {', '.join(sorted(named))[:80] or '(none)'}")
        wanted = {*layout.names, *known_keys(), *ID_NAMES, _OFFSETS, _CONTAMINATION, _GRATING}
        members = {name: info for name, info in named.items() if name in wanted}
        total = sum(info.file_size for info in members.values())
        limit = unpacked_limit(source.packed_size)
        if total > limit:
            raise ValueError(f"it unpacks to {total / 1e6:.0f} MB; at most {limit / 1e6:.0f} MB are read")
        arrays = dict.fromkeys(layout.puzzles, _NOTHING)
        for name, info in members.items():
            with archive.open(info) as member:
                try:
                    arrays[name] = _read_array(member, info.file_size)
                except _PickledObjects:
                    if name in (*layout.names, *ID_NAMES):
                        raise
        return arrays


def _flux(arrays: dict[str, Array]) -> Array:
    layout = layout_of(arrays)
    assert layout is not None  # checked by _read_arrays
    return _numbers(arrays, layout.flux)


def _layout(arrays: dict[str, Array], n_spec: int) -> Layout:
    """Return the meaning of each array; one value for a whole spectrum is neither its noise nor its mask."""
    layout = layout_of(arrays)
    assert layout is not None
    n_flux = arrays[layout.flux].size
    of_spectra = {
        name for name, array in arrays.items() if array.size in (1, n_spec) and array.size != n_flux
    }
    return replace(
        layout,
        noises=tuple(one for one in layout.noises if one[0] not in of_spectra),
        masks=tuple(one for one in layout.masks if one[0] not in of_spectra),
    )


def _read_array(stream: IO[bytes], size: int) -> Array:
    """Read one ``.npy``; one with pickled objects or shorter than its header states is refused."""
    version = np.lib.format.read_magic(stream)
    read_header = (
        np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    )
    shape, is_fortran, dtype = read_header(stream)
    if dtype.hasobject:
        raise _PickledObjects("it holds pickled Python objects, which are never loaded")
    if any(n < 0 for n in shape) or prod(shape) * dtype.itemsize > size:
        raise ValueError(f"an array claims the shape {shape}, the file is shorter")
    values = np.frombuffer(stream.read(prod(shape) * dtype.itemsize), dtype=dtype, count=prod(shape))
    return values.astype(dtype.newbyteorder("="), copy=False).reshape(shape, order="F" if is_fortran else "C")


def _scalar(array: Array) -> object:
    value = array.ravel()[0].item()
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _numbers(arrays: dict[str, Array], name: str) -> Array:
    """Return an array of numbers without a copy: a night of 10,000 spectra is large."""
    if arrays[name].dtype.kind not in "fiub":
        raise ValueError(f"'{name}' holds no numbers")
    return arrays[name]


def _rows(
    source: Source,
    arrays: dict[str, Array],
    layout: Layout,
    bounds: list[tuple[int, int]],
    said: Said,
    options: ReadOptions,
) -> list[TableRow]:
    flux = _numbers(arrays, layout.flux)
    values = {name: _numbers(arrays, name) for name in layout.names}
    values[layout.wave] = wavelengths(
        values[layout.wave],
        layout.wave,
        layout.wave_unit or wave_unit_stated(said),
        log=layout.log,
        chosen=options.wave_unit,
    )
    flux_unit = flux_unit_stated(said)
    check_linear(flux_unit)
    contamination = _numbers(arrays, _CONTAMINATION) if _CONTAMINATION in arrays else None
    power = _numbers(arrays, _POWER) if _POWER in arrays else None
    n_spec = len(bounds)
    mismatch = _mismatch(values, layout, contamination)
    ids = _ids(source, arrays, n_spec)
    gratings = arrays[_GRATING].ravel().tolist() if _has(arrays, _GRATING, n_spec) else None
    common = said if n_spec == 1 else of_all_sources(said)
    columns = {name: arrays[name].ravel().tolist() for name in known_keys() if _has(arrays, name, n_spec)}
    rows = []
    for i, (start, stop) in enumerate(bounds):
        own = {**common, **{name: column[i] for name, column in columns.items()}}
        origin = origin_of(source, own, ids[i], exposure_size=n_spec, row=i)
        if gratings is not None:
            origin = replace(origin, grating=text_of(gratings[i]) or None)
        off = f"offsets {start} to {stop} do not lie in {flux.size} values of flux"
        fault = mismatch if 0 <= start <= stop <= flux.size else off
        if fault is not None:
            nothing = TableRow(origin, _NOTHING, _NOTHING, None, fault=(Reason.LENGTH_MISMATCH, fault))
            rows.append(nothing)
            continue
        # One value per spectrum, one for all, or one per pixel.
        one_power = power if power is None or power.size != n_spec else power.ravel()[i : i + 1]
        one_power = _cut(one_power, start, stop, flux.size) if one_power is not None else None
        pixels = {name: _cut(array, start, stop, flux.size) for name, array in values.items()}
        rows.append(
            row_of(
                origin,
                layout,
                per_wavelength(pixels, layout) if is_per_frequency(flux_unit) else pixels,
                contamination=_cut(contamination, start, stop, flux.size)
                if contamination is not None
                else None,
                resolving_power=float(one_power[0])
                if one_power is not None and one_power.size == 1
                else one_power,
            )
        )
    return rows


def _has(arrays: dict[str, Array], name: str, n_spec: int) -> bool:
    """Whether there is a value of this name for each spectrum."""
    return name in arrays and arrays[name].size == n_spec


def _bounds(arrays: dict[str, Array], flux: Array) -> list[tuple[int, int]]:
    """Return where each spectrum starts and stops in the flattened flux.

    ``offsets`` holds the starts, and the end of the last spectrum where it is one longer.
    """
    if "offsets" not in arrays:
        n_spec = flux.shape[0] if flux.ndim == 2 else 1
        edges = np.linspace(0, flux.size, n_spec + 1).astype(np.int64)
    else:
        if arrays["offsets"].dtype.kind not in "iu":
            raise ValueError("'offsets' are not whole numbers")
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
    ids = [text_of(value) for value in arrays[name].ravel().tolist()]
    if len(ids) != n_spec:
        raise ValueError(f"'{name}' has {len(ids)} values for {n_spec} spectra")
    return ids


def _mismatch(values: dict[str, Array], layout: Layout, contamination: Array | None) -> str | None:
    """Return why arrays cannot be cut into spectra; only the wavelengths may be one grid for all."""
    flux = values[layout.flux]
    for name, array in (*values.items(), (_CONTAMINATION, contamination)):
        if array is None:
            continue
        if array.size != flux.size and name != layout.wave:
            sizes = f"'{name}' has {array.size} values, '{layout.flux}' has {flux.size}"
            return f"{sizes}; they must be one per pixel"
        if array.ndim == flux.ndim == 2 and array.shape != flux.shape:
            return (
                f"'{name}' has the shape {array.shape}, '{layout.flux}' has {flux.shape}; they must be equal"
            )
    return None


def _cut(array: Array, start: int, stop: int, n_flux: int) -> Array:
    """Return one spectrum's part of an array; one grid for all stays as it is."""
    array = array.ravel()
    return array[start:stop] if array.size == n_flux else array


@contextmanager
def _reading(source: Source) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise source.unreadable(
            f"is a damaged or unsupported npz file ({error})", f"write it by numpy.savez; {WANTED}"
        ) from error
