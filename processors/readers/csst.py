"""CSST slitless spectra in the HDF5 layout of CESS, the community's emulator (github.com/RainW7/CESS).

Groups ``GU``, ``GV``, ``GI`` hold one wavelength grid (vacuum Å) and a row per source; each band of a source
is a separate spectrum and all bands share an ``object_id``. Only what an observer would have is read: the
noisy flux and its error, not ``flux_ujy``, which is the true flux.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import Any

import numpy as np

from cempstream.processors.grid import Array, WavelengthGrid, grid_of
from cempstream.processors.outcome import Rejected
from cempstream.processors.readers.build import Origin, Pixels, build_spectrum, to_float64
from cempstream.processors.readers.options import ReadOptions
from cempstream.processors.readers.source import Source
from cempstream.processors.spectrum import MAX_PIXELS, Spectrum

#: Resolution element in Å of a point source, about four pixels; constant over a band.
RESOLUTION_ELEMENT_AA = {"GU": 15.0, "GV": 21.0, "GI": 33.0}
_PIXELS_PER_ELEMENT = 4.0
#: 1σ of the zero point's error, which is uniform within three pixels.
_ZERO_ERROR_PIX = 3.0 / np.sqrt(3.0)
#: 1 µJy at 1 Å in 1e-17 erg/s/cm²/Å, to be divided by λ² in Å.
_UJY_TO_FLAM = 2.99792458e6

_MAX_ROWS_AT_ONCE, _MAX_VALUES_AT_ONCE = 256, 4_000_000
_MAX_SOURCES = 2_000_000
_MAX_COLUMNS = 64
_IDS_AT_ONCE, _LONGEST_ID = 256, 200
_BANDS = ("nuv", "u", "g", "r", "i", "z", "y")
#: What h5py raises on damaged files.
_DAMAGE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


def read_csst(source: Source, options: ReadOptions) -> Iterator[Spectrum | Rejected]:
    """Read every band of every source: source by source, GU before GV before GI."""
    file = _CessFile(source)
    try:
        for first in range(0, file.n_sources, file.rows_at_once):
            yield from file.read(slice(first, min(first + file.rows_at_once, file.n_sources)), options)
    finally:
        file.close()


class _CessFile:
    """An open CESS file."""

    def __init__(self, source: Source) -> None:
        # importing h5py takes 0.1 s, which other formats do not need
        from cempstream.processors.readers.hdf5_file import GuardedFile

        self.source = source
        with self._reading("the file"):
            self._file = GuardedFile(source)
        with self._reading("its groups"):
            self._bands = [name for name in RESOLUTION_ELEMENT_AA if self._file.member(name) is not None]
        if not self._bands:
            raise source.unreadable(
                "is an HDF5 file without the groups GU, GV or GI",
                "give a file in the layout that CESS writes",
            )
        self._grids = {name: self._grid(name) for name in self._bands}
        self.n_sources = self._count()
        longest = max(grid.n_pix for grid in self._grids.values())
        self.rows_at_once = max(1, min(_MAX_ROWS_AT_ONCE, _MAX_VALUES_AT_ONCE // longest))
        with self._reading("'ID'"):
            self._ids = self._read_ids()
        self._position = self._table("parameters_desi")
        self._magnitudes = self._table("parameters_phot")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, rows: slice, options: ReadOptions) -> Iterator[Spectrum | Rejected]:
        """Read a slice of the sources."""
        arrays = {band: self._read_band(band, rows) for band in self._bands}
        for row in range(rows.start, rows.stop):
            for band, (flux, ivar, is_bad) in arrays.items():
                i = row - rows.start
                pixels = Pixels(
                    grid=self._grids[band],
                    flux=flux[i],
                    ivar=ivar[i] if ivar is not None else None,
                    is_bad=is_bad[i],
                    resolving_power=self._grids[band].wave / RESOLUTION_ELEMENT_AA[band],
                    flux_unit="absolute",
                    wave_zero_error_aa=_ZERO_ERROR_PIX * RESOLUTION_ELEMENT_AA[band] / _PIXELS_PER_ELEMENT,
                )
                yield build_spectrum(self._origin(row, band), pixels, options)

    def _read_band(self, band: str, rows: slice) -> tuple[Array, Array | None, Array]:
        """Return flux and ivar in 1e-17 erg/s/cm²/Å and bad pixels, shape ``(n_rows, n_pix)`` each.

        Both of the emulator's masks say where a pixel is usable: ``spec_mask`` within the band, ``snr_mask``
        where its S/N reaches 1.
        """
        wave = self._grids[band].wave
        flux = self._rows(band, "flux_ujy_with_noise", rows)
        error = self._rows(band, "ferr", rows)
        if flux is None:
            raise self.source.unreadable(
                f"its group {band} has no 'flux_ujy_with_noise'", "give a file in the layout that CESS writes"
            )
        masks = [
            m for m in (self._rows(band, name, rows) for name in ("spec_mask", "snr_mask")) if m is not None
        ]
        is_bad = np.zeros(flux.shape, dtype=bool)
        for mask in masks:
            is_bad |= ~(np.nan_to_num(mask) > 0.5)
        with np.errstate(all="ignore"):
            scale = _UJY_TO_FLAM / wave**2
            ivar = (error * scale) ** -2.0 if error is not None else None
            return flux * scale, ivar, is_bad

    def _rows(self, band: str, name: str, rows: slice) -> Array | None:
        shape = (rows.stop - rows.start, self._grids[band].n_pix)
        with self._reading(f"'{band}/{name}'"):
            dataset = self._file.member(band, name)
            if dataset is None:
                return None
            if dataset.ndim != 2 or dataset.dtype.hasobject:
                raise ValueError(f"it has shape {dataset.shape} and type {dataset.dtype}")
            values = to_float64(np.asarray(dataset[rows, : shape[1]]))
        if values.ndim != 2 or values.shape[0] != shape[0]:
            raise self.source.unreadable(f"'{band}/{name}' has shape {values.shape}", f"it must be {shape}")
        if values.shape[1] < shape[1]:  # too short: missing pixels are bad
            values = np.pad(values, ((0, 0), (0, shape[1] - values.shape[1])), constant_values=np.nan)
        return values

    def _grid(self, band: str) -> WavelengthGrid:
        with self._reading(f"'{band}/wave'"):
            dataset = self._file.member(band, "wave")
            if dataset is None:
                raise ValueError("there is none")
            if dataset.ndim != 1 or not 2 <= dataset.size <= MAX_PIXELS:
                raise ValueError(f"it has shape {dataset.shape}")
            return grid_of(to_float64(np.asarray(dataset[:])))

    def _count(self) -> int:
        band = self._bands[0]
        with self._reading(f"'{band}/flux_ujy_with_noise'"):
            shape = self._file.member(band, "flux_ujy_with_noise").shape
        if len(shape) != 2 or shape[0] > _MAX_SOURCES or shape[1] > MAX_PIXELS:
            raise self.source.unreadable(
                f"'{band}/flux_ujy_with_noise' has shape {shape}", "it must be (sources, pixels)"
            )
        return int(shape[0])

    def _read_ids(self) -> list[str]:
        node = self._file.member("ID")
        if node is None:
            return [f"{self.source.stem}-{i}" for i in range(self.n_sources)]
        if node.size != self.n_sources:
            raise ValueError(f"it has {node.size} values for {self.n_sources} sources")
        # A file may state very long names: they are read a few at a time, and cut.
        parts = (
            np.ravel(node[i : i + _IDS_AT_ONCE]).tolist() for i in range(0, self.n_sources, _IDS_AT_ONCE)
        )
        return [_text(value)[:_LONGEST_ID] for part in parts for value in part]

    def _table(self, name: str) -> dict[str, Array]:
        """Return the numeric columns of a table stored as an array with names, as records or as a group."""
        with self._reading(f"'{name}'"):
            node: Any = self._file.member(name)
            columns: dict[str, Array] = {}
            if node is None:
                return {}
            if hasattr(node, "keys"):
                members = {key: self._file.member(name, key) for key in islice(node, _MAX_COLUMNS)}
                columns = {
                    key: member[:]
                    for key, member in members.items()
                    if member.size == self.n_sources and not member.dtype.hasobject
                }
            elif not node.dtype.hasobject and node.size <= _MAX_COLUMNS * self.n_sources:
                table = np.asarray(node[:])
                labels = [_text(value) for value in node.attrs.get("name", [])]
                if table.dtype.names:
                    columns = {key: table[key] for key in table.dtype.names}
                elif table.size == len(labels) * self.n_sources:
                    # The emulator has positions by (sources, columns), magnitudes by (columns, sources, 1).
                    by_row = table.shape == (self.n_sources, len(labels))
                    columns = dict(zip(labels, (table.T if by_row else table), strict=True))
            return {
                key.lower(): to_float64(column.ravel())
                for key, column in columns.items()
                if column.dtype.kind in "fiu" and column.size == self.n_sources
            }

    def _origin(self, row: int, band: str) -> Origin:
        identifier = self._ids[row]
        reduced_at: datetime = self.source.modified_at
        return Origin(
            spectrum_id=f"{identifier}-{band}",
            survey="csst",
            object_id=identifier,
            exposure_id=self.source.stem,
            exposure_size=self.n_sources * len(self._bands),
            reduced_at=reduced_at,
            ra=_within(self._position.get("ra"), row, 0.0, 360.0),
            dec=_within(self._position.get("dec"), row, -90.0, 90.0),
            grating=band,
            photometry=self._photometry(row),
            uri=self.source.uri,
        )

    def _photometry(self, row: int) -> dict[str, tuple[float, float]]:
        pairs = {
            name: (
                _within(self._magnitudes.get(f"mag_{name}"), row, 0.0, 40.0),
                _within(self._magnitudes.get(f"magerr_{name}"), row, 0.0, 10.0),
            )
            for name in _BANDS
        }
        return {
            name: (mag, error if error is not None else float("nan"))
            for name, (mag, error) in pairs.items()
            if mag is not None
        }

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        try:
            yield
        except _DAMAGE as error:
            raise self.source.unreadable(
                f"is a damaged HDF5 file or not from CESS: {what} cannot be read ({error})",
                "give a file in the layout that CESS writes",
            ) from error


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _within(column: Array | None, row: int, low: float, high: float) -> float | None:
    value = float(column[row]) if column is not None else float("nan")
    return value if low <= value <= high else None
