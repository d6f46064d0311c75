"""A banded matrix as a row of small dense ones.

Resampling weights lie near a diagonal. Cut into blocks of rows they are dense, and a batch runs through
dense blocks four times faster than through a sparse matrix, which takes one number at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import csr_array

from cempstream.processors.grid import Array

#: Output pixels of a block, where the input's are no finer than a quarter of them.
_BLOCK_ROWS = 32
_MIN_BLOCK_ROWS = 8
#: Input pixels that a block spans beside its kernel.
_BLOCK_COLUMNS = 128


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    rows: slice
    columns: slice
    weight: Array = field(repr=False)


class BandedMatrix:
    """Weights of shape ``(n_out, n_in)``, given by their places.

    Parameters
    ----------
    rows, columns, weight
        Places and values, shape ``(n_weights,)``; values on one place add up.
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
        """Memory that the weights take."""
        return sum(block.weight.nbytes for block in self._blocks)


def _cut(sparse: csr_array, rows: slice) -> _Block:
    """Return a block of rows as far as it holds anything."""
    used = sparse.indices[sparse.indptr[rows.start] : sparse.indptr[rows.stop]]
    columns = slice(int(used.min()), int(used.max()) + 1) if used.size else slice(0, 0)
    return _Block(rows, columns, np.ascontiguousarray(sparse[rows, columns].toarray().T))
