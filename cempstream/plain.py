"""Text from outside, made safe for a person's terminal, log or picture.

Ids, names, headers and messages of files and packets may hold anything: a sequence that clears the screen or
sets the window's title, a line break that forges a line of a log, letters that turn the direction of reading.
Every layer may import this module, so it imports nothing of ours.
"""

from __future__ import annotations

import re
from typing import TypeVar

#: A spreadsheet takes a cell that begins with one of these for a formula, unless it is a number.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?\d{1,40}(\.\d{0,40})?", re.ASCII)

_Cell = TypeVar("_Cell")


def shown(text: object, *, longest: int | None = None) -> str:
    r"""Return text in one line with every character that does not print escaped, as ``\x1b``.

    Parameters
    ----------
    longest
        Characters that are kept; what is cut is said by an ellipsis.
    """
    plain = str(text)
    if not plain.isprintable():
        plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in plain)
    return plain if longest is None or len(plain) <= longest else plain[: longest - 1] + "…"


def csv_cell(value: _Cell) -> _Cell | str:
    """Return a value for a CSV file, as text that no spreadsheet runs and no terminal obeys.

    Text that begins like a formula is given an apostrophe, as OWASP advises; numbers stay as they are.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return value
    is_formula = value.startswith(_FORMULA_STARTS) and not _NUMBER.fullmatch(value)
    return f"'{shown(value)}" if is_formula else shown(value)
