"""Fuse: what is known of a star from photometry and parallax, together with what its spectrum says.

A star without photometry never comes here, so it is served as if this file did not exist. A star whose
spectrum and photometry contradict each other does not either: nothing says which of the two is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np

from cempstream.processors.classify import ClassScores, Scorer
from cempstream.processors.features import Features
from cempstream.processors.graph import Graph
from cempstream.processors.grid import Array
from cempstream.processors.outcome import PhotometricEstimate
from cempstream.processors.regress import ParameterEstimates, Regressor

_Columns = TypeVar("_Columns", ClassScores, ParameterEstimates)


@dataclass(frozen=True, slots=True, eq=False)
class Fuser:
    """Scores stars by their spectrum and their photometry.

    Attributes
    ----------
    graph
        Inputs ``tokens``, ``known`` (see ``known_of``), and ``mean`` and ``log_sigma`` as the regressor gives
        them for the tokens alone; output ``fused``, tokens for the classifier and the regressor.
    classify, regress
        As for spectra alone, calibrated on stars with photometry.
    """

    graph: Graph
    classify: Scorer
    regress: Regressor

    def __call__(
        self,
        features: Features,
        scores: ClassScores,
        parameters: ParameterEstimates,
        known: Array,
        prior: float,
    ) -> tuple[ClassScores, ParameterEstimates]:
        """Return scores and parameters in which the rows with photometry are replaced.

        Parameters
        ----------
        known
            Shape ``(n_spec, 4)``, as ``known_of`` gives it; a row of zeros stays as it is.
        """
        rows = np.flatnonzero(known.any(axis=1))
        if not rows.size:
            return scores, parameters
        alone = self.graph.put(features.tokens.numpy()[rows])
        said = self.regress.graph(tokens=alone)
        fused = self.graph(
            tokens=alone,
            known=self.graph.put(known[rows]),
            mean=said["mean"],
            log_sigma=said["log_sigma"],
        )["fused"]
        seen = replace(features, tokens=fused, snr=features.snr[rows])
        return (
            _with_rows(scores, rows, self.classify(seen, prior)),
            _with_rows(parameters, rows, self.regress(seen)),
        )


def known_of(estimates: Sequence[PhotometricEstimate | None]) -> Array:
    """Return Teff in K, its 1σ error, log g and its error as the fusing network takes them.

    Returns
    -------
    Array
        float32, shape ``(n, 4)``; value and error are 0 where a star has none.
    """
    known = np.zeros((len(estimates), 4), dtype=np.float32)
    for row, one in enumerate(estimates):
        if one is not None:
            known[row] = (one.teff, one.teff_error, one.logg, one.logg_error)
    for pair in (slice(0, 2), slice(2, 4)):
        known[~np.isfinite(known[:, pair]).all(axis=1), pair] = 0.0
    return known


def _with_rows(columns: _Columns, rows: Array, new: _Columns) -> _Columns:
    """Return columns with some rows replaced; what has no row per spectrum stays."""
    changed = {}
    for column in fields(columns):
        if column.name != "is_measured":
            changed[column.name] = getattr(columns, column.name).copy()
            changed[column.name][rows] = getattr(new, column.name)
    return replace(columns, **changed)
