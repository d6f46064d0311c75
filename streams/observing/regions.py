"""Regions of the sky from MOC files (IVOA's multi-order coverage), read by mocpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mocpy import MOC

from cempstream.plain import shown
from cempstream.processors.grid import Array
from cempstream.streams.observing.catalogue import CatalogueError


def read_ranges(path: Path) -> Array:
    """Return a region as sorted ranges of HEALPix pixels of order 29, nested: ``(n, 2)``, ends excluded.

    FITS, JSON and text are told apart by the first byte.

    Raises
    ------
    CatalogueError
        It is no MOC, or an empty one.
    OSError
        The file cannot be read.
    """
    head = path.read_bytes()[:64]
    form = "fits" if head.startswith(b"SIMPLE") else "json" if head.lstrip().startswith(b"{") else "ascii"
    try:
        moc = MOC.load(path, format=form)
    except (ValueError, TypeError, OSError, AttributeError, UnicodeDecodeError) as error:
        raise CatalogueError(
            f"{path}: it is no MOC, in FITS, JSON or text: {shown(error, longest=200)}"
        ) from error
    ranges = np.asarray(moc.to_depth29_ranges, dtype=np.int64)
    if not len(ranges):
        raise CatalogueError(f"{path}: the region is empty; a MOC has at least one cell")
    return ranges
