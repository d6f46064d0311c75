"""A banded matrix stored as a list of small dense blocks.

Resampling weights lie near a diagonal, so blocks of rows are dense. Multiplying a batch by dense blocks is
four times faster than by a sparse matrix, which takes one number at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import csr_array

from cempstream.processors.grid import Array

#: Output pixels per block, where an input pixel is at least a quarter of an output pixel.
_BLOCK_ROWS = 32
_MIN_BLOCK_ROWS = 8
#: Input pixels that a block spans in addition to its kernel.
_BLOCK_COLUMNS = 128


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    rows: slice
    columns: slice
    weight: Array = field(repr=False)


class BandedMatrix:
    """Weights of shape ``(n_out, n_in)``, given by their positions.

    Parameters
    ----------
    rows, columns, weight
        Positions and values, shape ``(n_weights,)``; values at the same position add up.
    """

    def __init__(self, rows: Array, columns: Array, weight: Array, shape: tuple[int, int]) -> None:
        self.shape = shape
        sparse = csr_array((weight.astype(np.float32), (rows, columns)), shape=shape)
        sparse.sum_duplicates()
        n_fine = max(1, round(shape[1] / shape[0]))
        step = int(np.clip(_BLOCK_COLUMNS // n_fine, _MIN_BLOCK_ROWS, _BLOCK_ROWS))
        self._blocks = [
            _cut(sparse, slice(first, min(first + step, shape[0]))) for first in range(0, shape[0], step)
        ]

    def __call__(self, values: Array) -> Array:
        """Multiply each row of ``values``, shape ``(n, n_in)``; the result has shape ``(n, n_out)``."""
        out = np.empty((len(values), self.shape[0]), dtype=np.float32)
        for block in self._blocks:
            np.matmul(values[:, block.columns], block.weight, out=out[:, block.rows])
        return out

    def squared(self) -> BandedMatrix:
        """Return the matrix of the squared weights, which carries variances."""
        matrix = object.__new__(BandedMatrix)
        matrix.shape = self.shape
        matrix._blocks = [_Block(block.rows, block.columns, block.weight**2) for block in self._blocks]
        return matrix

    @property
    def nbytes(self) -> int:
        """Memory that the weights take, in bytes."""
        return sum(block.weight.nbytes for block in self._blocks)


def _cut(sparse: csr_array, rows: slice) -> _Block:
    """Return a block of rows, cut to the columns that hold weights."""
    used = sparse.indices[sparse.indptr[rows.start] : sparse.indptr[rows.stop]]
    columns = slice(int(used.min()), int(used.max()) + 1) if used.size else slice(0, 0)
    return _Block(rows, columns, np.ascontiguousarray(sparse[rows, columns].toarray().T))
