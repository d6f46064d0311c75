"""A smooth pseudo-continuum that does not depend on the survey's flux calibration."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from cempstream.processors.batch import NormalisedBatch, SpectrumBatch
from cempstream.processors.grid import Array
from cempstream.processors.row_chunks import row_chunks

#: Pixels averaged into one node of the continuum.
BLOCK_PIX = 16

#: Weights of a pixel's own node and its two neighbours, shape (3, BLOCK_PIX).
_PLACE = (np.arange(BLOCK_PIX) + 0.5) / BLOCK_PIX - 0.5
_LINES = np.stack([np.maximum(-_PLACE, 0), 1 - np.abs(_PLACE), np.maximum(_PLACE, 0)]).astype(np.float32)


class Normaliser:
    """Divide spectra by their running Gaussian mean.

    A running mean (not an upper envelope) is linear in the flux: noise does not bias it, so one network
    serves S/N 3 and S/N 100. It follows throughput, reddening and raw counts alike, and removes part of
    the broad carbon bands; the networks are trained on its output and learn from what is left.

    Parameters
    ----------
    sigma_pix
        Standard deviation of the Gaussian in pixels of the grid.
    spike_sigma
        A pixel this many sigma and 50 % above the mean is treated as a cosmic ray or a sky line.
    """

    def __init__(self, sigma_pix: float, *, spike_sigma: float = 6.0) -> None:
        self.sigma_pix = sigma_pix
        self.spike_sigma = spike_sigma

    def __call__(self, batch: SpectrumBatch) -> NormalisedBatch:
        """Normalise a batch whose ``n_pix`` is a multiple of ``BLOCK_PIX``."""
        n_nodes, rest = divmod(batch.grid.n_pix, BLOCK_PIX)
        if rest:
            raise ValueError(f"the grid has {batch.grid.n_pix} pixels; a multiple of {BLOCK_PIX} is needed")
        kernel = _kernel(n_nodes, self.sigma_pix / BLOCK_PIX)
        norm, ivar, continuum = (np.empty_like(batch.flux) for _ in range(3))
        for rows in row_chunks(batch.n_spec):
            self._fill(batch.flux[rows], batch.ivar[rows], kernel, norm[rows], ivar[rows], continuum[rows])
        return NormalisedBatch(batch.grid, norm, ivar, continuum)

    def _fill(
        self, flux: Array, ivar: Array, kernel: Array, norm: Array, norm_ivar: Array, continuum: Array
    ) -> None:
        """Normalise a few rows and write them into the last three arrays, which the caller just made."""
        # Multiplying by a mask of zeros and ones is twenty times faster here than numpy's `where=`.
        bad = (ivar <= 0).astype(np.float32)
        continuum[:] = _running_mean(flux, bad, kernel)
        np.divide(flux, continuum, out=norm)
        np.multiply(continuum, continuum, out=norm_ivar)
        norm_ivar *= ivar
        # Spikes are found against the first mean, then the mean is taken again without them.
        row, pixel = np.divmod(np.flatnonzero(norm > 1.5), norm.shape[1])
        is_spike = (norm[row, pixel] - 1.0) ** 2 * norm_ivar[row, pixel] > self.spike_sigma**2
        if is_spike.any():
            spike = np.zeros_like(bad)
            spike[row[is_spike], pixel[is_spike]] = 1.0
            hit = np.flatnonzero(np.bincount(row[is_spike]))
            bad += spike
            clean = flux[hit] * (1.0 - spike[hit])
            continuum[hit] = _running_mean(clean, bad[hit], kernel)
            norm[hit] = clean / continuum[hit]
            norm_ivar[hit] = continuum[hit] ** 2 * ivar[hit] * (1.0 - spike[hit])
        norm += bad  # a bad pixel's flux is 0
        np.clip(norm, -1.0, 3.0, out=norm)


@lru_cache(maxsize=8)
def _kernel(n_nodes: int, sigma_nodes: float) -> Array:
    nodes = np.arange(n_nodes, dtype=np.float32)
    kernel: Array = np.exp(-0.5 * ((nodes[:, None] - nodes) / sigma_nodes) ** 2)
    kernel[kernel < 1e-9] = 0.0  # denormal numbers make a matrix product twenty times slower
    return kernel.astype(np.float32)


def _running_mean(flux: Array, bad: Array, kernel: Array) -> Array:
    """Gaussian mean of the good pixels at block nodes, linear between them; always positive."""
    n_spec, n_pix = flux.shape
    n_nodes = n_pix // BLOCK_PIX
    ones = np.ones(BLOCK_PIX, dtype=np.float32)
    # numpy is slow at sums over a short last axis; a matrix-vector product is fast.
    total = (flux.reshape(-1, BLOCK_PIX) @ ones).reshape(n_spec, n_nodes) @ kernel
    weight = (BLOCK_PIX - (bad.reshape(-1, BLOCK_PIX) @ ones)).reshape(n_spec, n_nodes) @ kernel
    nodes = total / (weight + np.float32(1e-3))
    # A mean at or below zero is sky or noise: a floor keeps the division finite and the row obviously odd.
    floor = 0.02 * np.abs(nodes).mean(axis=1, keepdims=True) + np.float32(1e-30)
    nodes = np.maximum(nodes, floor)
    # Linear interpolation between the centres of neighbouring nodes, as one small matrix product.
    trio = np.empty((n_spec, n_nodes, 3), dtype=np.float32)
    trio[:, :, 1] = nodes
    trio[:, 1:, 0], trio[:, 0, 0] = nodes[:, :-1], nodes[:, 0]
    trio[:, :-1, 2], trio[:, -1, 2] = nodes[:, 1:], nodes[:, -1]
    return (trio.reshape(-1, 3) @ _LINES).reshape(n_spec, n_pix)
