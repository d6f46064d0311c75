"""Regress: stellar parameters with calibrated intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from cempstream.processors.features import Features
from cempstream.processors.graph import Graph
from cempstream.processors.grid import Array
from cempstream.processors.outcome import PARAMETERS

#: Evolution-corrected [C/Fe] from log g, [Fe/H] and [C/Fe] (Placco et al. 2014), element by element.
EvolutionCorrection = Callable[[Array, Array, Array], Array]


@dataclass(frozen=True, slots=True, eq=False)
class SkyError:
    """The model's own error on real stars, which no simulated star shows.

    Attributes
    ----------
    logg_edge, feh_edge
        Below the first a star is a giant, below the second metal-poor.
    sigma
        Shape ``(2, 2, n_parameters)``: giants and dwarfs, metal-poor stars and others.
    """

    logg_edge: float
    feh_edge: float
    sigma: Array

    def __post_init__(self) -> None:
        if self.sigma.shape != (2, 2, len(PARAMETERS)):
            raise ValueError(
                f"shape {self.sigma.shape} of model errors; it must be (2, 2, {len(PARAMETERS)})"
            )

    def __call__(self, logg: Array, feh: Array) -> Array:
        """Return 1σ, shape ``(n_spec, n_parameters)``."""
        is_dwarf, is_rich = logg >= self.logg_edge, feh >= self.feh_edge
        return np.asarray(self.sigma[is_dwarf.astype(int), is_rich.astype(int)])


@dataclass(frozen=True, slots=True, eq=False)
class IntervalTable:
    """Factors that turn the network's 1σ into a 68 % interval, per S/N and [Fe/H] (Mondrian conformal).

    Attributes
    ----------
    snr_edges, feh_edges
        Inner edges of the bins, increasing.
    scale
        Shape ``(n_snr_edges + 1, n_feh_edges + 1, n_parameters)``.
    sky_error
        Added in quadrature; None where it was not fitted.
    """

    snr_edges: Array
    feh_edges: Array
    scale: Array
    sky_error: SkyError | None = None

    def __post_init__(self) -> None:
        expected = (len(self.snr_edges) + 1, len(self.feh_edges) + 1, len(PARAMETERS))
        if self.scale.shape != expected:
            raise ValueError(f"interval scales have shape {self.scale.shape}; the edges need {expected}")

    def __call__(self, snr: Array, mean: Array, sigma: Array) -> Array:
        """Return half of the 68 % interval, shape ``(n_spec, n_parameters)``.

        Parameters
        ----------
        mean, sigma
            What the network says, in the order of ``PARAMETERS``.
        """
        logg, feh = (mean[:, PARAMETERS.index(name)] for name in ("logg", "feh"))
        row, column = np.searchsorted(self.snr_edges, snr), np.searchsorted(self.feh_edges, feh)
        half = np.asarray(sigma * self.scale[row, column])
        return half if self.sky_error is None else np.hypot(half, self.sky_error(logg, feh))


@dataclass(frozen=True, slots=True, eq=False)
class ParameterEstimates:
    """Parameters of a batch in the order of ``PARAMETERS``.

    Attributes
    ----------
    value, lo, hi
        Shape ``(n_spec, n_parameters)``; ``lo`` and ``hi`` bound the 68 % interval.
    cfe_corrected
        Shape ``(n_spec,)``.
    is_measured
        Which parameters the bundle measures, shape ``(n_parameters,)``; the others are NaN.
    """

    value: Array
    lo: Array
    hi: Array
    cfe_corrected: Array
    is_measured: Array = field(default_factory=lambda: np.ones(len(PARAMETERS), dtype=bool))


class Regressor:
    """Computes parameters from the trunk's tokens.

    Parameters
    ----------
    graph
        Input ``tokens``; outputs ``mean`` and ``log_sigma`` in the units of ``PARAMETERS``.
    unmeasured
        Parameters that cannot be measured at the bundle's resolution: NaN.
    """

    def __init__(
        self,
        graph: Graph,
        intervals: IntervalTable,
        correction: EvolutionCorrection,
        unmeasured: Sequence[str] = (),
    ) -> None:
        self._is_unmeasured = np.array([name in unmeasured for name in PARAMETERS])
        self.graph = graph
        self.intervals = intervals
        self.correction = correction

    def __call__(self, features: Features) -> ParameterEstimates:
        """Estimate the parameters of a batch."""
        out = self.graph(tokens=features.tokens)
        mean = out["mean"].numpy().astype(np.float64)
        sigma = np.exp(out["log_sigma"].numpy().astype(np.float64))
        logg, feh, cfe = (mean[:, PARAMETERS.index(name)] for name in ("logg", "feh", "cfe"))
        half = self.intervals(features.snr, mean, sigma)
        corrected = self.correction(logg, feh, cfe)
        mean[:, self._is_unmeasured] = np.nan
        return ParameterEstimates(mean, mean - half, mean + half, corrected, ~self._is_unmeasured)
