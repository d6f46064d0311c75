"""Untrusted HDF5 files: nothing outside the file is opened, and the unpacked size is limited.

A dataset may be in another file (external storage, virtual datasets) and a name may point to one (external
links), so a file could make the reader return any file of this machine as its flux. And a file of a few
kilobytes can declare a dataset of gigabytes, never written or highly compressed.
"""

from __future__ import annotations

from math import prod
from typing import Any

import h5py

from cempstream.processors.readers.source import Source, unpacked_limit

#: HDF5 always unpacks a whole chunk, even to read a small part.
_MAX_CHUNK_BYTES = 64 << 20


class GuardedFile:
    """An open HDF5 file, from which only data in the file itself can be read.

    Attributes
    ----------
    limit_bytes
        Limit on the unpacked size of all datasets that are read, together.
    """

    def __init__(self, source: Source) -> None:
        self.limit_bytes = max(source.size, unpacked_limit(source.packed_size))
        self._file = h5py.File(source.path if source.unpacked is None else source.open(), "r")
        self._seen: dict[str, int] = {}

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def member(self, *names: str) -> Any:
        """Return the group or dataset of a name, or of a name in a group; None if there is none.

        Raises
        ------
        ValueError
            It lies outside the file, or unpacks to more than the limit.
        """
        node: Any = self._file
        for name in names:
            link = node.get(name, getlink=True) if isinstance(node, h5py.Group) else None
            if link is None:
                return None
            if not isinstance(link, h5py.HardLink):
                raise ValueError(f"'{name}' is a link to another place; write the data themselves")
            node = node[name]
        if isinstance(node, h5py.Dataset):
            self._check("/".join(names), node)
        return node

    def _check(self, name: str, dataset: Any) -> None:
        if dataset.is_virtual or dataset.external:
            raise ValueError(f"'{name}' lies in another file, which is not opened; write the data themselves")
        chunk_bytes = prod(dataset.chunks or ()) * dataset.dtype.itemsize
        if chunk_bytes > _MAX_CHUNK_BYTES:
            raise ValueError(
                f"'{name}' has chunks of {chunk_bytes >> 20} MiB; at most {_MAX_CHUNK_BYTES >> 20} are read"
            )
        self._seen[name] = int(dataset.nbytes)
        total = sum(self._seen.values())
        if total > self.limit_bytes:
            raise ValueError(
                f"it unpacks to {total >> 20} MiB and more; at most {self.limit_bytes >> 20} are read of a "
                "file of this size"
            )
