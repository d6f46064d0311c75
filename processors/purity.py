"""How many of the alerts at a S/N are right, as the card measured it, and the threshold that follows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from cempstream.processors.grid import Array

#: Logits nearer than this are the same threshold: cards and settings write them in decimals.
_SAME_LOGIT = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class PurityTable:
    """Operating points measured within bins of S/N.

    Attributes
    ----------
    prior
        At which the thresholds are given.
    snr_edges
        S/N per pixel of the models' grid between the bins, increasing, shape ``(n_bins - 1,)``; the first
        and the last bin have no other end.
    threshold, recall, false_rate
        Of each point: ``p_cemp`` from which there are alerts, and the share of the CEMP stars and of all
        other sources that reach it; thresholds increase, NaN after the last, shape ``(n_bins, n_points)``.

    Raises
    ------
    ValueError
        The shapes do not fit.
    """

    prior: float
    snr_edges: Array
    threshold: Array = field(repr=False)
    recall: Array = field(repr=False)
    false_rate: Array = field(repr=False)

    def __post_init__(self) -> None:
        shape = (len(self.snr_edges) + 1, self.threshold.shape[-1])
        for name in ("threshold", "recall", "false_rate"):
            if getattr(self, name).shape != shape:
                raise ValueError(
                    f"purity '{name}' has the shape {getattr(self, name).shape}; it must be {shape}"
                )
        if np.any(np.diff(self.snr_edges) <= 0):
            raise ValueError(f"purity 'snr_edges' are {self.snr_edges.tolist()}; they must increase")

    def rules(self, prior: float, threshold: float, least_purity: float) -> PurityRules:
        """Return the rule of each bin for a prior, the policy's threshold and the least purity it accepts.

        A threshold is a cut in the logit, which another prior moves; with recall and rate of false alarms
        the purity follows at any prior. The bin's threshold is the policy's where alerts above it are pure
        enough, else that of the first point which is.
        """
        moved = _logit(self.threshold) + _logit(prior) - _logit(self.prior)
        right, wrong = prior * self.recall, (1 - prior) * self.false_rate
        with np.errstate(invalid="ignore", divide="ignore"):
            purity = right / (right + wrong)
        limit = float(_logit(threshold))
        n_bins = len(purity)
        told = np.full(n_bins, np.nan)
        at = np.full(n_bins, threshold)
        is_trusted = np.ones(n_bins, dtype=bool)
        for row in range(n_bins):
            below = np.flatnonzero(moved[row] <= limit + _SAME_LOGIT)
            if below.size:
                told[row] = purity[row, below[-1]]
            if least_purity > 0 and not told[row] >= least_purity:
                enough = np.flatnonzero((moved[row] > limit) & (purity[row] >= least_purity))
                is_trusted[row] = enough.size > 0
                if enough.size:
                    told[row] = purity[row, enough[0]]
                    at[row] = 1.0 / (1.0 + np.exp(-moved[row, enough[0]]))
        return PurityRules(self.snr_edges, at, told, is_trusted)


@dataclass(frozen=True, slots=True, eq=False)
class PurityRules:
    """What follows for each bin of S/N.

    Attributes
    ----------
    snr_edges
        As in `PurityTable`.
    threshold
        Smallest ``p_cemp`` of a candidate, shape ``(n_bins,)``.
    purity
        Expected share of CEMP stars among candidates; NaN where it was not measured, shape ``(n_bins,)``.
    is_trusted
        False where no threshold gives the purity that was asked for, shape ``(n_bins,)``.
    """

    snr_edges: Array
    threshold: Array
    purity: Array
    is_trusted: Array

    def __call__(self, snr: Array) -> tuple[Array, Array, Array]:
        """Return threshold, purity and whether p is trusted for each spectrum, shape ``(n_spec,)`` each."""
        row = np.searchsorted(self.snr_edges, snr, side="right")
        return self.threshold[row], self.purity[row], self.is_trusted[row]


def _logit(p: Array | float) -> Array:
    return np.asarray(np.log(p) - np.log1p(-np.asarray(p)))
