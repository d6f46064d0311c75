"""A file's bytes, unpacked within limits, before they are interpreted."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import BinaryIO
from zipfile import BadZipFile, ZipFile

from cempstream.processors.readers.options import UnreadableFile

#: Suffixes of packed files, to remove from names; packing itself is recognised by content.
PACKED_SUFFIXES = (".gz", ".bz2", ".xz", ".zip", ".z")

#: What astropy raises on damaged files; not documented, found by fuzzing with random and cut bytes.
ASTROPY_DAMAGE = (
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

_GZIP_MAGIC, _BZIP2_MAGIC, _XZ_MAGIC = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0"
_ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
_FOREIGN = (
    (b"\x1f\x9d", "packed by compress", "unpack it first: gzip -d"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd", "unpack it first: zstd -d"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it first"),
    (b"Rar!", "a rar archive", "unpack it first"),
    (b"%PDF", "a PDF", "give a file of spectra"),
)
#: A zip of a .fits.gz is unpacked twice; no real file is packed more often.
_MOST_LAYERS = 2
#: Memory that the highest setting of xz needs.
_XZ_MEMORY_BYTES = 128 << 20
#: What the unpackers raise on damaged files.
_DAMAGE = (OSError, RuntimeError, ValueError, zlib.error, lzma.LZMAError, BadZipFile, NotImplementedError)

#: More than any survey's file of spectra unpacks to.
MAX_UNPACKED_BYTES = 1 << 30
#: Real spectra compress 2 to 10 times; a large file compressed 200 times is not spectra.
_MAX_RATIO = 200
_FREE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """One file, unpacked where it was packed.

    Attributes
    ----------
    unpacked
        The content of a packed file; None if the file itself is read.
    size
        Bytes of the (unpacked) content.
    packed_size
        Bytes of the file itself, which limit the unpacked size.
    head
        The content's first bytes, by which its format is recognised.
    """

    path: Path
    unpacked: bytes | None = field(repr=False)
    size: int
    packed_size: int
    head: bytes = field(repr=False)
    modified_at: datetime

    @property
    def stem(self) -> str:
        """File name without ``.gz`` or the like and the suffix before it."""
        name = self._name
        bare = Path(name).stem if name.lower().endswith(PACKED_SUFFIXES) else name
        return Path(bare).stem or name

    @property
    def uri(self) -> str:
        """The file's name in alerts, without the folders of the machine that read it."""
        return f"file:{self._name}"

    @property
    def _name(self) -> str:
        # A name may hold bytes that are not valid text, which a packet requires.
        return self.path.name.encode("utf-8", "replace").decode()

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
    """Open a file and unpack it if it is packed.

    Raises
    ------
    UnreadableFile
        There is no such file, or it is empty, not readable, damaged, or unpacks to more than the limit.
    """
    try:
        status = path.stat()
        if path.is_dir():
            raise UnreadableFile(path, "is a folder without files of spectra", "name files or another folder")
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
    _refuse_foreign(path, head)
    unpacked: bytes | None = None
    for _ in range(_MOST_LAYERS):
        layer = _unpack(path, unpacked, head, status.st_size)
        if layer is None:
            break
        unpacked, head = layer, layer[:4096]
        if not unpacked:
            raise UnreadableFile(path, "is empty once unpacked", "fetch it again")
        _refuse_foreign(path, head)
    size = status.st_size if unpacked is None else len(unpacked)
    return Source(path, unpacked, size, status.st_size, head, modified_at)


def unpacked_limit(packed_bytes: int) -> int:
    """Return how many bytes may be unpacked from a file of this size, whatever packs them."""
    return min(MAX_UNPACKED_BYTES, max(_FREE_BYTES, _MAX_RATIO * packed_bytes))


def _refuse_foreign(path: Path, head: bytes) -> None:
    """Refuse a file of a known format that is not read, naming the format."""
    if head[257:262] == b"ustar":
        raise UnreadableFile(path, "is a tar archive, which is not read", "unpack it first: tar -xf")
    for magic, name, remedy in _FOREIGN:
        if head.startswith(magic):
            raise UnreadableFile(path, f"is {name}, which is not read", remedy)


def _unpack(path: Path, content: bytes | None, head: bytes, packed_bytes: int) -> bytes | None:
    """Remove one layer of packing; None if there is none."""
    if not head.startswith((_GZIP_MAGIC, _BZIP2_MAGIC, _XZ_MAGIC, *_ZIP_MAGICS)):
        return None
    limit = unpacked_limit(packed_bytes)
    try:
        with path.open("rb") if content is None else BytesIO(content) as stream:
            if head.startswith(_GZIP_MAGIC):
                unpacked = gzip.GzipFile(fileobj=stream).read(limit + 1)
            elif head.startswith(_BZIP2_MAGIC):
                unpacked = bz2.BZ2File(stream).read(limit + 1)
            elif head.startswith(_XZ_MAGIC):
                unpacked = _unpack_xz(stream.read(), limit)
            else:
                single = _single_member(path, stream, limit)
                if single is None:
                    return None
                unpacked = single
    except EOFError as error:
        raise UnreadableFile(path, "is cut off: its end is missing", "fetch it again") from error
    except _DAMAGE as error:
        raise UnreadableFile(
            path, f"is damaged: it cannot be unpacked ({error})", "fetch it again"
        ) from error
    if len(unpacked) <= limit:
        return unpacked
    raise UnreadableFile(
        path,
        f"unpacks {packed_bytes} bytes to more than {limit / 1e6:.0f} MB",
        "give a packed file of spectra, or unpack it first",
    )


def _unpack_xz(packed: bytes, limit: int) -> bytes:
    unpacking = lzma.LZMADecompressor(memlimit=_XZ_MEMORY_BYTES)
    unpacked = unpacking.decompress(packed, limit + 1)
    if not unpacking.eof and len(unpacked) <= limit:
        raise EOFError
    return unpacked


def _single_member(path: Path, stream: BinaryIO, limit: int) -> bytes | None:
    """Return the only file of a zip; None if it is an npz, which is a zip of arrays.

    At most one byte more than the limit is returned.
    """
    try:
        archive = ZipFile(stream)
    except BadZipFile as error:  # a zip lists its files at its end
        raise UnreadableFile(path, "is a zip or npz file that is cut off", "fetch it again") from error
    with archive:
        files = [info for info in archive.infolist() if not info.filename.endswith("/")]
        if not files or any(info.filename.endswith(".npy") for info in files):
            return None
        if len(files) > 1:
            raise UnreadableFile(path, f"is a zip of {len(files)} files", "unpack it and name them")
        with archive.open(files[0]) as member:
            return member.read(limit + 1)
