"""A batch in pieces that stay in a core's cache.

An array of 64 spectra takes 1 MB. Ten passes over it, each with a new temporary, run at the speed of the
memory and of its page faults; over 16 rows at a time they run twice as fast, at the speed of the cache.
"""

from __future__ import annotations

from collections.abc import Iterator

#: Rows of about 4,000 pixels of which half a dozen arrays fit in 2 MB.
CHUNK_ROWS = 16


def row_chunks(n_spec: int) -> Iterator[slice]:
    """Yield slices that cover the rows of a batch in order."""
    for first in range(0, n_spec, CHUNK_ROWS):
        yield slice(first, min(first + CHUNK_ROWS, n_spec))
