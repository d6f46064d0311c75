"""A compressed batch is unpacked up to a limit: 16 KB of zstd can stand for half a gigabyte.

aiokafka unpacks whatever it is given, and a worker that runs out of memory would do so again at the same
offset. Here each packet of a batch beyond the limit is replaced by a line that says so. It becomes a dead
letter that names its place in the topic, and the stream continues.
"""

from __future__ import annotations

import logging
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cramjam
import numpy as np
from aiokafka.consumer import fetcher  # type: ignore[import-untyped] # published without types
from aiokafka.record.memory_records import MemoryRecords  # type: ignore[import-untyped]

try:
    from aiokafka.record._crecords import default_records  # type: ignore[import-untyped]
except ImportError:  # aiokafka without its compiled part
    from aiokafka.record import default_records  # type: ignore[import-untyped]

logger = logging.getLogger(__name__)

#: As much as the largest packet that reaches us. Normal batches are about 1 MB, and floats hardly compress.
MAX_BATCH_BYTES = 64 * 1024 * 1024

_GZIP_OR_ZLIB = 47
#: How the line begins that stands for a packet.
_REFUSED = b"its batch, offsets "
#: Head of the frame that the Java client writes around snappy blocks.
_XERIAL_MAGIC = b"\x82SNAPPY\0"


class BatchTooLarge(ValueError):
    """A batch unpacks to more than the limit."""


def guard_batches(max_bytes: int = MAX_BATCH_BYTES) -> None:
    """Keep aiokafka in this process from unpacking a batch beyond a limit; calling it again is harmless."""
    bounded: dict[str, Callable[[bytes, int], bytes]] = {
        "gzip_decode": _unpack_gzip,
        "zstd_decode": _UnpackInto(cramjam.zstd.decompress_into),
        "lz4_decode": _UnpackInto(cramjam.lz4.decompress_into),
        "snappy_decode": _unpack_snappy,
    }
    for name, unpack in bounded.items():
        setattr(default_records, name, _limited(unpack, max_bytes))
    fetcher.MemoryRecords = _GuardedRecords


def is_refusal(value: bytes | None) -> bool:
    """Say whether a message's value is our line in place of a packet that was not unpacked."""
    return value is not None and value.startswith(_REFUSED)


def _limited(unpack: Callable[[bytes, int], bytes], max_bytes: int) -> Callable[[bytes], bytes]:
    return lambda packed: unpack(bytes(packed), max_bytes)


def _unpack_gzip(packed: bytes, max_bytes: int) -> bytes:
    unpacker = zlib.decompressobj(_GZIP_OR_ZLIB)
    unpacked = unpacker.decompress(packed, max_bytes + 1)
    if len(unpacked) > max_bytes:
        raise BatchTooLarge(max_bytes)
    return unpacked


class _UnpackInto:
    """Unpack into a buffer that is kept: fresh pages from the system cost more than the unpacking."""

    def __init__(self, into: Callable[[Any, Any], int]) -> None:
        self._into = into
        self._lock = threading.Lock()
        self._room = np.empty(0, np.uint8)

    def __call__(self, packed: bytes, max_bytes: int) -> bytes:
        with self._lock:
            if self._room.size != max_bytes + 1:
                # Not zeroed, so the system provides only those pages that are written to.
                self._room = np.empty(max_bytes + 1, np.uint8)
            try:
                n_bytes = self._into(packed, self._room)
                if n_bytes <= max_bytes:
                    return self._room[:n_bytes].tobytes()
            except cramjam.DecompressionError as error:
                if "whole buffer" not in str(error):
                    raise
            self._room = np.empty(0, np.uint8)  # drop the buffer that a bomb filled
        raise BatchTooLarge(max_bytes)


def _unpack_snappy(packed: bytes, max_bytes: int) -> bytes:
    """Unpack raw snappy, which states its size first, or a row of such blocks."""
    blocks, start = [memoryview(packed)], 16
    if packed.startswith(_XERIAL_MAGIC):
        whole = blocks.pop()
        while start < len(packed):
            end = start + 4 + int.from_bytes(packed[start : start + 4], "big")
            blocks.append(whole[start + 4 : end])
            start = end
    if sum(cramjam.snappy.decompress_raw_len(block) for block in blocks) > max_bytes:
        raise BatchTooLarge(max_bytes)
    return b"".join(bytes(cramjam.snappy.decompress_raw(block)) for block in blocks)


@dataclass(frozen=True, slots=True)
class _Refused:
    """Stands for a record of a batch that was not unpacked."""

    offset: int
    timestamp: int
    timestamp_type: int
    value: bytes
    key: None = None
    checksum: None = None
    headers: tuple[tuple[str, bytes], ...] = ()


class _GuardedBatch:
    """An aiokafka batch that yields refused records where unpacking would exceed the limit."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[Any]:
        try:
            return iter(self._batch)
        except BatchTooLarge as error:
            return self._refusals(error.args[0])

    def _refusals(self, max_bytes: int) -> Iterator[_Refused]:
        first, end = self._batch.base_offset, self._batch.next_offset
        said = (
            f"{_REFUSED.decode()}{first} to {end - 1}, unpacks to more than {max_bytes} bytes: not unpacked"
        )
        logger.error("%d packets are refused: %s", end - first, said)
        for offset in range(first, end):
            yield _Refused(offset, self._batch.max_timestamp, self._batch.timestamp_type, said.encode())


class _GuardedRecords:
    """aiokafka's reader of a fetch response, with guarded batches."""

    def __init__(self, data: bytes) -> None:
        self._records = MemoryRecords(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._records, name)

    def next_batch(self) -> Any:
        """Return the next batch; None at the end."""
        batch = self._records.next_batch()
        return None if batch is None else _GuardedBatch(batch)
