"""Text in the encodings that tables come in: UTF-8, UTF-16 and Latin-1."""

from __future__ import annotations

import re

from cempstream.processors.readers.source import Source

_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_LOOKED_AT_BYTES = 1 << 16
#: Text in Latin-1 is mostly ASCII with an occasional Å or µ; binary data are not.
_LARGEST_ODD_SHARE = 0.1
#: All control characters but tab, line feed, vertical tab, form feed, carriage return and DOS end of file.
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x19\x1b-\x1f\x7f]")


def decode_text(source: Source, limit: int) -> str:
    """Return the content of a text file.

    Parameters
    ----------
    limit
        Largest number of bytes that are read.

    Raises
    ------
    UnreadableFile
        It is not text.
    """
    content = source.read(limit)
    try:
        return _decode(content)
    except UnicodeDecodeError as error:
        raise source.unreadable(
            "is neither FITS, HDF5, npz nor text",
            "give a file of spectra; text must be UTF-8, UTF-16 or Latin-1",
        ) from error


def _decode(content: bytes) -> str:
    head = content[:_LOOKED_AT_BYTES]
    encoding = next((name for bom, name in _BOMS if head.startswith(bom)), None)
    if encoding is None and b"\0" in head:
        # ASCII in UTF-16 has a zero in every other byte.
        odd, even = any(head[1:64:2]), any(head[:64:2])
        encoding = "utf-16-le" if even and not odd else "utf-16-be" if odd and not even else None
    if encoding is not None:
        text = content.decode(encoding)
    else:
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            if sum(byte > 127 for byte in head) > _LARGEST_ODD_SHARE * len(head):
                raise
            text = content.decode("cp1252", errors="replace")
    if _CONTROL.search(text, 0, _LOOKED_AT_BYTES) or "\0" in text:
        raise UnicodeDecodeError("text", content[:1], 0, 1, "it holds control characters")
    return text
