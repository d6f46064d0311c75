"""Text from outside, made safe for a person's terminal, log or picture.

Ids, names, headers and messages of files and packets may hold anything: a sequence that clears the screen or
sets the window's title, a line break that forges a line of a log, letters that turn the direction of reading.
Every layer may import this module, so it imports nothing of ours.
"""

from __future__ import annotations


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
