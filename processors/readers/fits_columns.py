"""The layout of a FITS table's cells (FITS 4.0, section 7.3), and the physical values of stored ones."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from cempstream.processors.grid import Array

#: numpy's name for each of the standard's column types (FITS 4.0, table 18).
TYPES = {
    "L": "u1", "X": "u1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8", "A": "S1",
    "C": ">c8", "M": ">c16",
}  # fmt: skip
#: Types that TZERO and TSCAL apply to.
NUMBERS = "BIJKEDCM"
TFORM = re.compile(r"(\d*)([LXBIJKEDACMPQ])")
ARRAY_TFORM = re.compile(r"[01]?([PQ])([LXBIJKEDACM])(\(\d*\))?")


def cell_type(form: str) -> np.dtype[Any]:
    """Return the dtype of one table cell from its ``TFORM``."""
    match = TFORM.match(form)
    if match is None:
        raise ValueError(f"there is no column format {form!r}")
    repeat, letter = int(match[1] or 1), match[2]
    if letter == "A":
        return np.dtype(f"S{repeat}")
    if letter in "PQ":  # where in the heap the cell's array is: its length and its offset
        return np.dtype((">i4" if letter == "P" else ">i8", (2 * repeat,)))
    if letter == "X":
        repeat = (repeat + 7) // 8
    return np.dtype(TYPES[letter]) if repeat == 1 else np.dtype((TYPES[letter], (repeat,)))


def physical_values(data: Array, letter: str, zero: float, scale: float) -> Array:
    """Convert stored values to physical ones, in native byte order.

    Parameters
    ----------
    data
        As stored.
    letter
        The standard's letter for the type.
    zero, scale
        The column's TZERO and TSCAL.
    """
    if letter == "L":  # T, F, or 0 where the value is not known
        is_true, is_false = data == ord("T"), data == ord("F")
        return is_true if np.all(is_true | is_false) else np.where(is_true | is_false, is_true, np.nan)
    unsigned = {"I": (np.uint16, 1 << 15), "J": (np.uint32, 1 << 31), "K": (np.uint64, 1 << 63)}
    if letter in unsigned and scale == 1.0 and zero == unsigned[letter][1]:
        # A float cannot hold a 64-bit identifier: the sign bit is flipped instead.
        kind, middle = unsigned[letter]
        return np.asarray(data.astype(data.dtype.newbyteorder("=")).view(kind) ^ kind(middle))
    if letter == "B" and scale == 1.0 and zero == -128:
        return (data ^ np.uint8(128)).view(np.int8)
    if letter in NUMBERS and (zero != 0.0 or scale != 1.0):
        return np.asarray(data * scale + zero)
    return data.astype(data.dtype.newbyteorder("="))


def padded(rows: list[Array]) -> Array:
    """Return rows of different lengths as one array, padded at their ends."""
    longest = max((row.size for row in rows), default=0)
    if all(row.size == longest for row in rows):
        return np.stack(rows) if rows else np.zeros((0, 0))
    is_text = rows[0].dtype.kind == "S"
    fill, dtype = (b"", rows[0].dtype) if is_text else (np.nan, np.float64)
    whole = np.full((len(rows), longest), fill, dtype)
    for i, row in enumerate(rows):
        whole[i, : row.size] = row
    return whole
