"""Many spectra on one grid, the form in which every processor works."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from cempstream.processors.grid import Array, LogGrid


@dataclass(frozen=True, slots=True, eq=False)
class SpectrumBatch:
    """Spectra rebinned to one logarithmic vacuum grid.

    Attributes
    ----------
    grid
        The common grid, ``n_pix`` pixels.
    flux, ivar
        float32, shape ``(n_spec, n_pix)``; flux is 0 and ivar 0 where a pixel is bad.
    """

    grid: LogGrid
    flux: Array = field(repr=False)
    ivar: Array = field(repr=False)

    def __post_init__(self) -> None:
        _check_shapes(self.grid, flux=self.flux, ivar=self.ivar)

    @property
    def n_spec(self) -> int:
        """Number of spectra."""
        return int(self.flux.shape[0])


@dataclass(frozen=True, slots=True, eq=False)
class NormalisedBatch:
    """Spectra divided by a smooth pseudo-continuum.

    Attributes
    ----------
    norm, ivar
        Flux over continuum and its inverse variance, float32, shape ``(n_spec, n_pix)``;
        norm is 1 and ivar 0 where a pixel is bad.
    continuum
        In the units of the flux, float32, shape ``(n_spec, n_pix)``.
    """

    grid: LogGrid
    norm: Array = field(repr=False)
    ivar: Array = field(repr=False)
    continuum: Array = field(repr=False)

    def __post_init__(self) -> None:
        _check_shapes(self.grid, norm=self.norm, ivar=self.ivar, continuum=self.continuum)

    @property
    def n_spec(self) -> int:
        """Number of spectra."""
        return int(self.norm.shape[0])


def _check_shapes(grid: LogGrid, **arrays: Array) -> None:
    n_spec = next(iter(arrays.values())).shape[0]
    for name, array in arrays.items():
        if array.shape != (n_spec, grid.n_pix) or array.dtype != np.float32:
            raise ValueError(
                f"'{name}' is {array.dtype} {array.shape}; it must be float32 {(n_spec, grid.n_pix)}"
            )
