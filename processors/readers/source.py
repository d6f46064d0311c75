"""A file's bytes, unpacked within limits, before anyone asks what they mean."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from cempstream.processors.readers.options import UnreadableFile

_GZIP_MAGIC = b"\x1f\x8b"

#: More than any survey's file of spectra unpacks to.
MAX_UNPACKED_BYTES = 1 << 30
#: Real spectra pack 2 to 10 times; what packs 200 times and is large is not spectra.
_MAX_RATIO = 200
_FREE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """One file, unpacked where it was packed.

    Attributes
    ----------
    unpacked
        The content of a ``.gz`` file; None where the file itself is to be read.
    size
        Bytes of the (unpacked) content.
    head
        Its first bytes, by which its format is known.
    """

    path: Path
    unpacked: bytes | None = field(repr=False)
    size: int
    head: bytes = field(repr=False)
    modified_at: datetime

    @property
    def stem(self) -> str:
        """File name without ``.gz`` and the suffix before it."""
        name = self.path.name
        return Path(name[:-3] if name.lower().endswith(".gz") else name).stem or name

    @property
    def uri(self) -> str:
        """How alerts name the file: without the folders of the machine that read it."""
        return f"file:{self.path.name}"

    def open(self) -> BinaryIO:
        """Open the unpacked content."""
        return self.path.open("rb") if self.unpacked is None else BytesIO(self.unpacked)

    def read(self, limit: int) -> bytes:
        """Return all of the unpacked content, of at most ``limit`` bytes."""
        if self.size > limit:
            raise self.unreadable(
                f"its {self.size / 1e6:.0f} MB are more than are read of this format",
                f"split it into files of up to {limit / 1e6:.0f} MB",
            )
        if self.unpacked is not None:
            return self.unpacked
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise self.unreadable(f"cannot be read ({error.strerror})", "check the disk") from error

    def unreadable(self, why: str, remedy: str) -> UnreadableFile:
        """Return the error for this file."""
        return UnreadableFile(self.path, why, remedy)


def open_source(path: Path) -> Source:
    """Look at a file and unpack it where it is packed.

    Raises
    ------
    UnreadableFile
        Where there is no such file, it is empty, may not be read, is damaged or unpacks beyond all measure.
    """
    try:
        status = path.stat()
        if path.is_dir():
            raise UnreadableFile(path, "is a folder", "name the files in it")
        if not path.is_file():
            raise UnreadableFile(path, "is not a regular file", "name a file of spectra")
        with path.open("rb") as stream:
            head = stream.read(4096)
    except FileNotFoundError as error:
        raise UnreadableFile(path, "does not exist", "check the path") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UnreadableFile(path, f"cannot be opened ({why})", "check path and permissions") from error
    modified_at = datetime.fromtimestamp(status.st_mtime, UTC)
    if not head:
        raise UnreadableFile(path, "is empty", "fetch it again")
    if not head.startswith(_GZIP_MAGIC):
        return Source(path, None, status.st_size, head, modified_at)
    unpacked = _unpack(path, status.st_size)
    if not unpacked:
        raise UnreadableFile(path, "is empty once unpacked", "fetch it again")
    return Source(path, unpacked, len(unpacked), unpacked[:4096], modified_at)


def _unpack(path: Path, packed_bytes: int) -> bytes:
    limit = min(MAX_UNPACKED_BYTES, max(_FREE_BYTES, _MAX_RATIO * packed_bytes))
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, packed_bytes - 4))
            stated = int.from_bytes(stream.read(4), "little")
        if stated <= limit or packed_bytes < 18:
            with gzip.open(path) as packed:
                unpacked = packed.read(limit + 1)
            if len(unpacked) <= limit:
                return unpacked
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableFile(path, f"is a damaged gzip file ({error})", "fetch it again") from error
    raise UnreadableFile(
        path,
        f"unpacks {packed_bytes} bytes to more than {limit / 1e6:.0f} MB",
        "give a gzip file of spectra, or unpack it first",
    )
