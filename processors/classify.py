"""Classify: calibrated probabilities at the survey's prior, and the wavelengths they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from cempstream.processors.bands import NAMED_WINDOWS
from cempstream.processors.features import Features
from cempstream.processors.graph import Graph
from cempstream.processors.grid import Array, air_to_vacuum
from cempstream.processors.outcome import NamedBand


@dataclass(frozen=True, slots=True)
class Calibration:
    """Turns a network's logit into a probability at any prior.

    Attributes
    ----------
    scale, offset
        logit → scale · logit + offset, fitted on held-out stars (Platt 1999).
    prior
        Fraction of the positive class for which the calibrated logit holds.
    """

    scale: float
    offset: float
    prior: float

    def __call__(self, logit: Array, prior: float) -> Array:
        """Return the probability at another prior: odds' = odds · π(1-π₀)/(π₀(1-π)) (Saerens et al. 2002)."""
        shift = np.log(prior * (1 - self.prior) / (self.prior * (1 - prior)))
        return np.asarray(_sigmoid(self.scale * logit.astype(np.float64) + self.offset + shift))


@dataclass(frozen=True, slots=True, eq=False)
class ClassScores:
    """Scores of a batch.

    Attributes
    ----------
    p_cemp, p_cemp_corrected, ood
        Shape ``(n_spec,)``, at the requested prior; ``ood`` does not depend on it.
    subclass_p
        Shape ``(n_spec, n_subclasses)``, rows sum to 1.
    attribution
        Weight per wavelength bin, shape ``(n_spec, n_bins)``, rows sum to 1.
    """

    p_cemp: Array
    p_cemp_corrected: Array
    subclass_p: Array
    ood: Array
    attribution: Array = field(repr=False)


class Scorer:
    """Computes class scores from the trunk's tokens.

    Parameters
    ----------
    graph
        Input ``tokens``; outputs ``logit_cemp``, ``logit_cemp_corrected``, ``logit_subclass``, ``logit_ood``
        and ``attribution``.
    """

    def __init__(self, graph: Graph, cemp: Calibration, corrected: Calibration) -> None:
        self.graph = graph
        self.cemp = cemp
        self.corrected = corrected

    def __call__(self, features: Features, prior: float) -> ClassScores:
        """Score a batch at a prior fraction of CEMP stars."""
        out = {name: tensor.numpy() for name, tensor in self.graph(tokens=features.tokens).items()}
        logit = out["logit_subclass"].astype(np.float64)
        weight = np.exp(logit - logit.max(axis=1, keepdims=True))
        return ClassScores(
            p_cemp=self.cemp(out["logit_cemp"], prior),
            p_cemp_corrected=self.corrected(out["logit_cemp_corrected"], prior),
            subclass_p=weight / weight.sum(axis=1, keepdims=True),
            ood=np.asarray(_sigmoid(out["logit_ood"].astype(np.float64))),
            attribution=out["attribution"],
        )


class BandNamer:
    """Sums attribution over named spectral windows.

    Parameters
    ----------
    edges_aa
        Edges of the attribution's bins, vacuum Å, shape ``(n_bins + 1,)``.
    """

    def __init__(self, edges_aa: Array) -> None:
        edges = np.asarray(edges_aa, dtype=np.float64)
        windows = np.array([air_to_vacuum(np.array(window)) for _, window in NAMED_WINDOWS])
        low = np.maximum(edges[:-1], windows[:, :1])
        high = np.minimum(edges[1:], windows[:, 1:])
        #: Share of each bin that lies in each window, shape (n_windows, n_bins).
        self.share = np.clip(high - low, 0.0, None) / np.diff(edges)
        self.names = [name for name, _ in NAMED_WINDOWS]
        #: Share of each window if attribution were uniform.
        self.chance = dict(zip(self.names, self.share.mean(axis=1).tolist(), strict=True))

    def __call__(self, attribution: Array, n_named: int = 4) -> list[tuple[NamedBand, ...]]:
        """Name each row's heaviest bands, heaviest first; windows without weight are left out."""
        weights = (attribution @ self.share.T).astype(np.float64)
        order = np.argsort(-weights, axis=1)[:, :n_named]
        rows: Sequence[Sequence[int]] = order.tolist()
        return [
            tuple(NamedBand(self.names[i], round(float(row[i]), 4)) for i in best if row[i] > 0)
            for best, row in zip(rows, weights, strict=True)
        ]


def _sigmoid(x: Array) -> Array:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -500, 500))))
