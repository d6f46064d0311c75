"""A smooth pseudo-continuum that asks nothing of the survey's flux calibration."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from cempstream.processors.batch import NormalisedBatch, SpectrumBatch
from cempstream.processors.grid import Array

#: Pixels averaged into one node of the continuum.
BLOCK_PIX = 16


class Normaliser:
    """Divide spectra by their running Gaussian mean.

    A running mean (not an upper envelope) is linear in the flux: noise does not bias it, so one network
    serves S/N 3 and S/N 100. It follows throughput, reddening and raw counts alike, and eats part of the
    broad carbon bands; the networks are trained behind the same processor and learn what is left.

    Parameters
    ----------
    sigma_pix
        Standard deviation of the Gaussian in pixels of the grid.
    spike_sigma
        A pixel that stands this many sigma and 50 % above the mean is taken for a cosmic ray or a sky line.
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
        good = (batch.ivar > 0).astype(np.float32)
        continuum = _running_mean(batch.flux, good, kernel)
        # Spikes are found against the first mean, then the mean is taken again without them.
        excess = batch.flux - continuum
        spike = (excess > 0.5 * continuum) & (excess * excess * batch.ivar > self.spike_sigma**2)
        if spike.any():
            good *= ~spike
            continuum = _running_mean(batch.flux * good, good, kernel)
        # Multiplying by the mask is ten times faster here than numpy's `where=`.
        norm = batch.flux / continuum
        norm -= 1.0
        norm *= good
        norm += 1.0
        np.clip(norm, -1.0, 3.0, out=norm)
        ivar = continuum * continuum
        ivar *= batch.ivar
        ivar *= good
        return NormalisedBatch(batch.grid, norm, ivar, continuum)


@lru_cache(maxsize=8)
def _kernel(n_nodes: int, sigma_nodes: float) -> Array:
    nodes = np.arange(n_nodes, dtype=np.float32)
    kernel: Array = np.exp(-0.5 * ((nodes[:, None] - nodes) / sigma_nodes) ** 2)
    kernel[kernel < 1e-9] = 0.0  # denormal numbers make a matrix product twenty times slower
    return kernel.astype(np.float32)


def _running_mean(flux: Array, good: Array, kernel: Array) -> Array:
    """Gaussian mean of the good pixels at block nodes, drawn linearly between them; always positive."""
    n_spec, n_pix = flux.shape
    n_nodes = n_pix // BLOCK_PIX
    ones = np.ones(BLOCK_PIX, dtype=np.float32)
    total = (flux.reshape(-1, BLOCK_PIX) @ ones).reshape(n_spec, n_nodes) @ kernel
    weight = (good.reshape(-1, BLOCK_PIX) @ ones).reshape(n_spec, n_nodes) @ kernel
    nodes = total / (weight + np.float32(1e-3))
    # A mean at or below zero is sky or noise: a floor keeps the division finite and the row obviously odd.
    floor = 0.02 * np.abs(nodes).mean(axis=1, keepdims=True) + np.float32(1e-30)
    nodes = np.maximum(nodes, floor)
    # Line pieces between the centres of neighbouring nodes, as one small matrix product.
    ends = np.empty((n_spec, n_nodes + 1, 2), dtype=np.float32)
    ends[:, 0, 0], ends[:, 1:, 0] = nodes[:, 0], nodes
    ends[:, :-1, 1], ends[:, -1, 1] = nodes, nodes[:, -1]
    part = (np.arange(BLOCK_PIX, dtype=np.float32) + np.float32(0.5)) / BLOCK_PIX
    line = (ends.reshape(-1, 2) @ np.stack([1 - part, part])).reshape(n_spec, n_pix + BLOCK_PIX)
    half = BLOCK_PIX // 2
    return np.ascontiguousarray(line[:, half : half + n_pix])
