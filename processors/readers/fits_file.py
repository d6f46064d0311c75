"""FITS files, read by astropy; every failure on damaged files becomes one kind of error."""

from __future__ import annotations

import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from math import prod
from typing import Any

import numpy as np

from cempstream.processors.grid import Array
from cempstream.processors.readers.build import to_float64
from cempstream.processors.readers.fits_columns import (
    ARRAY_TFORM,
    TFORM,
    TYPES,
    cell_type,
    padded,
    physical_values,
)
from cempstream.processors.readers.options import UnreadableFile
from cempstream.processors.readers.source import ASTROPY_DAMAGE, Source, unpacked_limit

#: Size of a FITS block; data are padded to the end of their block.
_BLOCK_BYTES = 2880
#: Image compressions that are read; the decoders of the others are not tested enough on hostile input.
_COMPRESSIONS = ("RICE_1", "GZIP_1", "GZIP_2", "NOCOMPRESS")
#: More than any survey's file has.
_MAX_EXTENSIONS = 10_000
#: Values of a column of vectors of different lengths, once its rows are as long as the longest.
_MAX_PADDED_VALUES = 1 << 26

_MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)
_ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?)?(Z|[+-]\d\d:?\d\d)?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,20}", re.ASCII)


class Cards:
    """Header cards by type; None where a card is absent, blank or of another type."""

    def __init__(self, header: Any) -> None:
        self._header = header

    def _value(self, key: str) -> Any:
        from astropy.io.fits.verify import VerifyError

        try:
            return self._header.get(key)
        except (VerifyError, ValueError, TypeError, LookupError):
            return None  # a card that cannot be parsed counts as absent

    def text(self, key: str) -> str | None:
        """Return a string that is not blank."""
        value = self._value(key)
        return value.strip() or None if isinstance(value, str) else None

    def text_as_written(self, key: str) -> str | None:
        """Return a string with its leading blanks, which matter in some texts."""
        value = self._value(key)
        return value if isinstance(value, str) else None

    def number(self, key: str) -> float | None:
        """Return a finite number, also where it was written as a string."""
        value = self._value(key)
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            return None
        try:
            number = float(value)
        except (ValueError, OverflowError):
            return None
        return number if np.isfinite(number) else None

    def value(self, key: str) -> str | bool | int | float | None:
        """Return the value of a card of any type; text without surrounding blanks."""
        value = self._value(key)
        if isinstance(value, str):
            return value.strip() or None
        return value if isinstance(value, bool | int | float) else None

    def integer(self, key: str) -> int | None:
        """Return a whole number; long identifiers keep all their digits."""
        value = self._value(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
            return int(value.strip())
        number = self.number(key)
        return int(number) if number is not None and number == int(number) else None

    def logical(self, key: str) -> bool | None:
        """Return a FITS logical."""
        value = self._value(key)
        return value if isinstance(value, bool) else None

    def utc(self, key: str) -> datetime | None:
        """Return an ISO time, assumed to be UTC."""
        return parse_utc(self.text(key))

    def within(self, key: str, low: float, high: float) -> float | None:
        """Return a number in [low, high]: surveys write -9999 for an unknown position."""
        number = self.number(key)
        return number if number is not None and low <= number <= high else None


def parse_utc(text: str | None) -> datetime | None:
    """Return the UTC time that an ISO string states, with or without a zone; None if it is not a time."""
    if text is None or not _ISO.fullmatch(text):
        return None
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):  # the 31st of February, the last hour of year 9999
        return None


def utc_of_mjd(mjd: float | None) -> datetime | None:
    """Return the UTC time of a modified Julian date; None where it is absent or absurd."""
    return _MJD_EPOCH + timedelta(days=mjd) if mjd is not None and 10_000 < mjd < 100_000 else None


class FitsFile:
    """An open FITS file; whatever cannot be read raises ``UnreadableFile``.

    Attributes
    ----------
    source
        The file's bytes.
    """

    def __init__(self, source: Source) -> None:
        from astropy.io import fits

        self.source = source
        self._stream = source.open()
        try:
            with self._reading("the header"):
                # Tile-compressed images stay tables until they are read: they may unpack to far too much.
                self._hdus = fits.open(self._stream, memmap=False, disable_image_compression=True)
                self._hdus[0].header  # noqa: B018 — astropy reads lazily
        except UnreadableFile:
            self._stream.close()
            raise
        self._names: list[str] | None = None
        self._columns: dict[int, dict[str, int]] = {}
        self._records: dict[int, Array] = {}

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def names(self) -> list[str]:
        """Names of all extensions in upper case, the primary one first."""
        if self._names is None:
            with self._reading("the list of extensions"):
                self._names = self._list_names()
        return self._names

    def _list_names(self) -> list[str]:
        """Return the names of the extensions; other bytes after the last one are ignored."""
        names: list[str] = []
        end = 0
        while True:
            try:
                hdu = self._hdus[len(names)]
            except (IndexError, OSError, KeyError, ValueError):
                break
            info = hdu.fileinfo()
            end = int(info["datLoc"]) + -(-hdu.size // _BLOCK_BYTES) * _BLOCK_BYTES
            names.append(hdu.name.upper())
            if len(names) > _MAX_EXTENSIONS:
                raise ValueError(f"it has more than {_MAX_EXTENSIONS} extensions")
        with self.source.open() as stream:
            stream.seek(min(end, self.source.size))
            rest = stream.read(_BLOCK_BYTES)
        if rest.startswith(b"XTENSION"):
            raise self.source.unreadable(
                f"is cut off or damaged: extension {len(names)} has no complete header", "fetch it again"
            )
        return names

    def has(self, index: int) -> bool:
        """Return whether there is an extension with this index, reading no further than it."""
        with self._reading(f"extension {index}"):
            try:
                return self._hdus[index] is not None
            except ASTROPY_DAMAGE:
                return index < len(self.names)

    def cards(self, index: int = 0) -> Cards:
        """Return the header of an extension."""
        with self._reading(f"the header of extension {index}"):
            return Cards(self._hdus[index].header)

    def shape(self, index: int) -> tuple[int, ...]:
        """Return the shape of an image, slowest axis first; empty if there is none."""
        cards = self.cards(index)
        # A compressed image is stored in a table; the image's own axes have other keywords.
        prefix = "Z" if self._is_packed(index) else ""
        n_axes = cards.integer(f"{prefix}NAXIS") or 0
        if self.is_table(index) or not 0 < n_axes < 10:
            return ()
        return tuple(cards.integer(f"{prefix}NAXIS{axis}") or 0 for axis in range(n_axes, 0, -1))

    def image(self, index: int) -> Array:
        """Return the image of an extension, unpacked if it is tile-compressed, in native byte order."""
        with self._reading(f"the data of extension {index}"):
            hdu = self._hdus[index]
            self._check_size(hdu)
            if self._is_packed(index):
                hdu = self._unpacked(hdu, index)
            try:
                data = np.asarray(hdu.data)
            except Exception as error:
                if not self._is_packed(index):
                    raise
                raise ValueError(str(error)) from error  # the class of its decompressor's errors is private
            if data.shape != self.shape(index):  # of a card that stands twice, astropy takes the other one
                raise ValueError(f"they have shape {data.shape}, and the header says {self.shape(index)}")
            return data.astype(data.dtype.newbyteorder("="), copy=False)

    def is_table(self, index: int) -> bool:
        """Return whether an extension is a binary table, and not a compressed image."""
        return self.cards(index).text("XTENSION") == "BINTABLE" and not self._is_packed(index)

    def _is_packed(self, index: int) -> bool:
        return self.cards(index).logical("ZIMAGE") is True

    def _unpacked(self, hdu: Any, index: int) -> Any:
        """Return a tile-compressed image unpacked, if its size is in proportion to the file."""
        from astropy.io import fits

        method = self.cards(index).text("ZCMPTYPE") or ""
        if method not in _COMPRESSIONS:
            raise ValueError(f"it is compressed by {method}; read are {', '.join(_COMPRESSIONS)}")
        bytes_per_value = abs(self.cards(index).integer("ZBITPIX") or 64) // 8
        size = prod(self.shape(index)) * bytes_per_value
        limit = unpacked_limit(self.source.packed_size)
        if not 0 < size <= limit:
            raise ValueError(f"it unpacks to {size} bytes; at most {limit} are read")
        tile = [self.cards(index).integer(f"ZTILE{axis + 1}") or 1 for axis in range(len(self.shape(index)))]
        if any(length < 1 for length in tile) or prod(tile) * bytes_per_value > size:
            raise ValueError(f"its tiles of {tile} pixels are larger than the image")
        if method.startswith("GZIP"):
            self._check_tiles(index, prod(tile) * bytes_per_value)
        return fits.CompImageHDU(bintable=hdu)

    def _check_tiles(self, index: int, longest: int) -> None:
        """Refuse a tile that unpacks to more than its pixels take: astropy unpacks without a limit."""
        for name in ("COMPRESSED_DATA", "GZIP_COMPRESSED_DATA"):
            number = self.columns(index).get(name)
            arrays = ARRAY_TFORM.match(self.cards(index).text(f"TFORM{number}") or "") if number else None
            if arrays is None:
                continue
            if index not in self._records:
                self._records[index] = self._read_records(index)
            for packed in self._read_arrays(index, self._records[index][name], arrays[2]):
                unpacking = zlib.decompressobj(wbits=31)
                # Floats are stored as floats or as integers of 4 bytes.
                if len(unpacking.decompress(packed.tobytes(), max(longest, 1) * 4 + 1)) > longest * 4:
                    raise ValueError(f"a tile unpacks to more than {longest * 4} bytes")

    def columns(self, index: int) -> dict[str, int]:
        """Return the columns of a table: name in upper case to its number in the header."""
        if index not in self._columns:
            # Backwards, so that the first of two columns with the same name is kept.
            numbered = reversed([*enumerate(self.column_names(index), 1)])
            self._columns[index] = {name: number for number, name in numbered}
        return self._columns[index]

    def column_names(self, index: int) -> list[str]:
        """Return the names of a table's columns in upper case, in order; some may be equal."""
        cards = self.cards(index)
        numbers = range(1, min(cards.integer("TFIELDS") or 0, 999) + 1)
        return [(cards.text(f"TTYPE{i}") or f"COLUMN{i}").upper() for i in numbers]

    def unit(self, index: int, name: str) -> str | None:
        """Return the unit of a column as written; None where there is none."""
        number = self.columns(index).get(name.upper())
        return self.cards(index).text(f"TUNIT{number}") if number is not None else None

    def column(self, index: int, name: str) -> Array:
        """Return a column by its name in any case: shape ``(n_rows, …)``, native byte order.

        Logical columns are bool where every value is stated, else float with NaN. Integers are
        unchanged, including unsigned ones, 64-bit identifiers and TNULL values (see ``numbers``). Rows of
        different lengths are padded with NaN to the longest, as float.

        astropy first builds an object per column, 0.1 s for the 237 of an SDSS file, so the records are read
        here directly, as the FITS standard defines them.
        """
        with self._reading(f"column '{name}' of extension {index}"):
            if index not in self._records:
                self._records[index] = self._read_records(index)
            data = self._records[index][name.upper()]
            cards = self.cards(index)
            number = self.columns(index)[name.upper()]
            form = (cards.text(f"TFORM{number}") or "").strip()
            arrays = ARRAY_TFORM.match(form)
            if arrays:
                lists = self._read_arrays(index, data, arrays[2])
                whole = [physical_values(row, arrays[2], *self._scaling(index, number)) for row in lists]
                return padded(whole)
            match = TFORM.match(form)
            return physical_values(data, match[2] if match else "", *self._scaling(index, number))

    def _scaling(self, index: int, number: int) -> tuple[float, float]:
        """Return TZERO and TSCAL of a column."""
        cards = self.cards(index)
        return cards.number(f"TZERO{number}") or 0.0, cards.number(f"TSCAL{number}") or 1.0

    def _read_arrays(self, index: int, places: Array, letter: str) -> list[Array]:
        """Return the arrays of a column of variable length, as stored, from the heap after the table."""
        hdu, cards = self._hdus[index], self.cards(index)
        n_table = (cards.integer("NAXIS1") or 0) * (cards.integer("NAXIS2") or 0)
        heap_start = cards.integer("THEAP")
        heap_start = n_table if heap_start is None else heap_start
        with self.source.open() as stream:
            stream.seek(hdu.fileinfo()["datLoc"])
            content = stream.read(hdu.size)
        if letter == "X":
            raise ValueError("arrays of bits are not read")
        dtype = np.dtype(TYPES[letter])
        pairs = places.reshape(len(places), -1).astype(np.int64).tolist()
        if len(pairs) * max((n for n, _ in pairs), default=0) > _MAX_PADDED_VALUES:
            raise ValueError("its rows differ too much in length")
        arrays = []
        for n_values, offset in pairs:
            start = heap_start + offset
            if n_values < 0 or offset < 0 or start + n_values * dtype.itemsize > len(content):
                raise ValueError(f"an array of {n_values} values at {offset} lies outside of the heap")
            arrays.append(np.frombuffer(content, dtype=dtype, count=n_values, offset=start))
        return arrays

    def _read_records(self, index: int) -> Array:
        hdu = self._hdus[index]
        self._check_size(hdu)
        cards = self.cards(index)
        columns = self.columns(index)
        cells = [
            cell_type(cards.text(f"TFORM{i + 1}") or "") for i in range(max(columns.values(), default=0))
        ]
        starts = np.cumsum([0, *(cell.itemsize for cell in cells)])
        record = np.dtype(
            {
                "names": list(columns),
                "formats": [cells[i - 1] for i in columns.values()],
                "offsets": [int(starts[i - 1]) for i in columns.values()],
                "itemsize": cards.integer("NAXIS1") or 0,
            }
        )
        n_rows = cards.integer("NAXIS2") or 0
        with self.source.open() as stream:
            stream.seek(hdu.fileinfo()["datLoc"])
            return np.frombuffer(stream.read(n_rows * record.itemsize), dtype=record, count=n_rows)

    def numbers(self, index: int, name: str) -> Array:
        """Return a column as float64: NaN where it holds its ``TNULL``, 1 and 0 for true and false."""
        data = self.column(index, name)
        with self._reading(f"column '{name}' of extension {index}"):
            numbers = to_float64(data)
            number = self.columns(index)[name.upper()]
            stored_null = self.cards(index).integer(f"TNULL{number}")
            if stored_null is None or data.dtype.kind not in "iuf":
                return numbers
            zero, scale = self._scaling(index, number)
            return np.where(numbers == stored_null * scale + zero, np.nan, numbers)

    def _check_size(self, hdu: Any) -> None:
        # A header may claim any size; astropy would try to allocate it. Only the padding may be missing.
        start = int(hdu.fileinfo()["datLoc"])
        if hdu.size < 0:
            raise ValueError(f"it claims {hdu.size} bytes")
        if start + hdu.size > self.source.size:
            raise self.source.unreadable(
                f"is cut off: '{hdu.name or 'its table'}' has {max(self.source.size - start, 0)} of the "
                f"{hdu.size} bytes that its header states",
                "fetch it again",
            )

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        from astropy.io.fits.verify import VerifyError
        from astropy.utils.exceptions import AstropyWarning

        try:
            with warnings.catch_warnings():
                # Valid files have such faults: a non-ASCII letter in a card, bytes after the last extension,
                # missing padding. Missing data are found by ``_check_size``.
                warnings.simplefilter("ignore", AstropyWarning)
                yield
        except (*ASTROPY_DAMAGE, VerifyError) as error:
            raise self.source.unreadable(
                f"is a damaged FITS file: {what} cannot be read ({error})", "fetch it again"
            ) from error
