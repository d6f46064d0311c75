"""HDF5 files from strangers: nothing outside of the file is opened, and a small file unpacks to little.

A dataset may lie in another file (external storage, virtual datasets) and a name may lead to one (external
links), so that a file could have any other file of this machine read as its flux. And a few kilobytes can
state a dataset of gigabytes that was never written, or is packed by thousands.
"""

from __future__ import annotations

from math import prod
from typing import Any

import h5py

from cempstream.processors.readers.source import Source, unpacked_limit

#: HDF5 unpacks a chunk whole, however little of it is asked for.
_MAX_CHUNK_BYTES = 64 << 20


class GuardedFile:
    """An open HDF5 file of which only what the file itself holds can be read.

    Attributes
    ----------
    limit_bytes
        What all datasets that are looked at may unpack to, together.
    """

    def __init__(self, source: Source) -> None:
        self.limit_bytes = max(source.size, unpacked_limit(source.packed_size))
        self._file = h5py.File(source.path if source.unpacked is None else source.open(), "r")
        self._seen: dict[str, int] = {}

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def member(self, *names: str) -> Any:
        """Return the group or dataset of a name, or of a name in a group; None where there is none.

        Raises
        ------
        ValueError
            Where it lies outside of the file, or unpacks to more than the file can mean.
        """
        node: Any = self._file
        for name in names:
            link = node.get(name, getlink=True) if isinstance(node, h5py.Group) else None
            if link is None:
                return None
            if not isinstance(link, h5py.HardLink):
                raise ValueError(f"'{name}' is a link to elsewhere; write the data themselves")
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
