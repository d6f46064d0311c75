"""FITS files by way of astropy, with every way that rubbish can fail turned into one error."""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from cempstream.processors.grid import Array
from cempstream.processors.readers.build import to_float64
from cempstream.processors.readers.options import UnreadableFile
from cempstream.processors.readers.source import Source

#: What astropy raises on damaged files: not a documented set, these were met with random and cut bytes.
_DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)

#: numpy's name for each of the standard's column types (FITS 4.0, table 18).
_TYPES = {
    "L": "S1", "X": "u1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8", "A": "S1",
    "C": ">c8", "M": ">c16",
}  # fmt: skip
_TFORM = re.compile(r"(\d*)([LXBIJKEDACMPQ])")

_MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)
_ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?)?")


class Cards:
    """Header cards by type; None where a card is absent, blank or not what it should be."""

    def __init__(self, header: Any) -> None:
        self._header = header

    def _value(self, key: str) -> Any:
        from astropy.io.fits.verify import VerifyError

        try:
            return self._header.get(key)
        except (VerifyError, ValueError, TypeError, LookupError):
            return None  # a card that cannot be parsed says nothing

    def text(self, key: str) -> str | None:
        """Return a string that is not blank."""
        value = self._value(key)
        return value.strip() or None if isinstance(value, str) else None

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

    def integer(self, key: str) -> int | None:
        """Return a whole number; long identifiers keep all their digits."""
        value = self._value(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        number = self.number(key)
        return int(number) if number is not None and number == int(number) else None

    def logical(self, key: str) -> bool | None:
        """Return a FITS logical."""
        value = self._value(key)
        return value if isinstance(value, bool) else None

    def utc(self, key: str) -> datetime | None:
        """Return an ISO time, taken as UTC."""
        return parse_utc(self.text(key))

    def within(self, key: str, low: float, high: float) -> float | None:
        """Return a number in [low, high]: surveys write -9999 where there is no position."""
        number = self.number(key)
        return number if number is not None and low <= number <= high else None


def parse_utc(text: str | None) -> datetime | None:
    """Return the UTC time that an ISO string states; None where it is none."""
    if text is None or not _ISO.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:  # the 31st of February
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
                # Tile-compressed images stay tables: no survey's spectra are packed so, and bombs could be.
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
                self._names = [hdu.name.upper() for hdu in self._hdus]
        return self._names

    def has(self, index: int) -> bool:
        """Say whether there is an extension of this index, reading no further than it."""
        with self._reading(f"extension {index}"):
            try:
                return self._hdus[index] is not None
            except IndexError:
                return False

    def cards(self, index: int = 0) -> Cards:
        """Return the header of an extension."""
        with self._reading(f"the header of extension {index}"):
            return Cards(self._hdus[index].header)

    def shape(self, index: int) -> tuple[int, ...]:
        """Return the shape of an image, slowest axis first; empty where there is none."""
        cards = self.cards(index)
        n_axes = cards.integer("NAXIS") or 0
        if self.is_table(index) or not 0 < n_axes < 10:
            return ()
        return tuple(cards.integer(f"NAXIS{axis}") or 0 for axis in range(n_axes, 0, -1))

    def image(self, index: int) -> Array:
        """Return the image of an extension, in native byte order."""
        with self._reading(f"the data of extension {index}"):
            hdu = self._hdus[index]
            self._check_size(hdu)
            data = np.asarray(hdu.data)
            return data.astype(data.dtype.newbyteorder("="), copy=False)

    def is_table(self, index: int) -> bool:
        """Say whether an extension is a binary table."""
        return self.cards(index).text("XTENSION") == "BINTABLE"

    def columns(self, index: int) -> dict[str, int]:
        """Return the columns of a table: name in upper case to its number in the header."""
        if index not in self._columns:
            cards = self.cards(index)
            numbers = range(min(cards.integer("TFIELDS") or 0, 999), 0, -1)
            # Backwards, so that of two columns of one name the first is kept.
            self._columns[index] = {(cards.text(f"TTYPE{i}") or f"COLUMN{i}").upper(): i for i in numbers}
        return self._columns[index]

    def unit(self, index: int, name: str) -> str | None:
        """Return the unit of a column as written; None where there is none."""
        number = self.columns(index).get(name.upper())
        return self.cards(index).text(f"TUNIT{number}") if number is not None else None

    def column(self, index: int, name: str) -> Array:
        """Return a column by its name in any case: shape ``(n_rows, …)``, native byte order.

        astropy builds an object per column first, 0.1 s for the 237 of an SDSS file, so the records are read
        here as the standard lays them out.
        """
        with self._reading(f"column '{name}' of extension {index}"):
            if index not in self._records:
                self._records[index] = self._read_records(index)
            data = self._records[index][name.upper()]
            cards = self.cards(index)
            number = self.columns(index)[name.upper()]
            if (cards.text(f"TFORM{number}") or "").lstrip("01")[:1] in ("P", "Q"):
                raise ValueError("its rows differ in length")
            zero, scale = cards.number(f"TZERO{number}"), cards.number(f"TSCAL{number}")
            if (zero or 0.0) != 0.0 or (scale or 1.0) != 1.0:
                return np.asarray(data * (scale or 1.0) + (zero or 0.0))
            return data.astype(data.dtype.newbyteorder("="))

    def _read_records(self, index: int) -> Array:
        hdu = self._hdus[index]
        self._check_size(hdu)
        cards = self.cards(index)
        columns = self.columns(index)
        cells = [_cell(cards.text(f"TFORM{i + 1}") or "") for i in range(max(columns.values(), default=0))]
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
        """Return a column as float64."""
        data = self.column(index, name)
        with self._reading(f"column '{name}' of extension {index}"):
            return to_float64(data)

    def _check_size(self, hdu: Any) -> None:
        # A header may claim anything; astropy would try to allocate it.
        if not 0 <= hdu.size <= self.source.size:
            raise ValueError(f"it claims {hdu.size} bytes, the file has {self.source.size}")

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        from astropy.io.fits.verify import VerifyError, VerifyWarning
        from astropy.utils.exceptions import AstropyWarning

        try:
            with warnings.catch_warnings():
                # "File may have been truncated" is an error; a header card out of the standard is not.
                warnings.simplefilter("error", AstropyWarning)
                warnings.simplefilter("ignore", VerifyWarning)
                yield
        except (*_DAMAGE, VerifyError, AstropyWarning) as error:
            raise self.source.unreadable(
                f"is a damaged FITS file: {what} cannot be read ({error})", "fetch it again"
            ) from error


def _cell(form: str) -> np.dtype[Any]:
    """Return the dtype of one table cell from its ``TFORM``."""
    match = _TFORM.match(form)
    if match is None:
        raise ValueError(f"there is no column format {form!r}")
    repeat, letter = int(match[1] or 1), match[2]
    if letter == "A":
        return np.dtype(f"S{repeat}")
    if letter in "PQ":  # where in the heap the cell's array is: its length and its offset
        return np.dtype((">i4" if letter == "P" else ">i8", (2 * repeat,)))
    if letter == "X":
        repeat = (repeat + 7) // 8
    return np.dtype(_TYPES[letter]) if repeat == 1 else np.dtype((_TYPES[letter], (repeat,)))
