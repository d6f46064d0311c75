"""Match a spectrum to a coarse grid of synthetic ones: a simple estimate without a network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cempstream.processors.batch import NormalisedBatch
from cempstream.processors.grid import Array
from cempstream.processors.row_chunks import row_chunks

_BIN_PIX = 4
#: Templates are far apart in label space: a model error of 2 % per bin keeps chi² of bright stars meaningful.
_MODEL_ERROR = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class TemplateMatches:
    """Nearest template of each row.

    Attributes
    ----------
    labels
        Teff (K), log g, [Fe/H], [C/Fe] of the template, shape ``(n_spec, 4)``.
    chi2
        Reduced chi² of the match, shape ``(n_spec,)``; NaN without good pixels.
    """

    labels: Array
    chi2: Array


class TemplateMatcher:
    """Compares rest-frame spectra with templates by chi².

    Parameters
    ----------
    templates
        Normalised rest-frame spectra, shape ``(n_templates, n_pix)``.
    labels
        Teff, log g, [Fe/H], [C/Fe], shape ``(n_templates, 4)``.
    """

    def __init__(self, templates: Array, labels: Array) -> None:
        if len(templates) != len(labels):
            raise ValueError(f"{len(templates)} templates have {len(labels)} labels; one row each is needed")
        depth = templates.astype(np.float32).reshape(len(templates), -1, _BIN_PIX).mean(axis=2) - 1.0
        # chi² = Σ w x² + Σ w t² - 2 Σ w x t: the last two as one matrix product.
        self._terms = np.ascontiguousarray(np.concatenate([depth**2, -2.0 * depth], axis=1).T)
        self.labels = np.asarray(labels, dtype=np.float32)

    def __call__(self, batch: NormalisedBatch) -> TemplateMatches:
        """Find the nearest template of each row."""
        n_spec, n_bins = batch.n_spec, batch.grid.n_pix // _BIN_PIX
        bins = np.ones(_BIN_PIX, dtype=np.float32)
        pixels = np.ones(batch.grid.n_pix, dtype=np.float32)
        sums = np.empty((n_spec, 2 * n_bins), dtype=np.float32)
        total, n_good = (np.empty(n_spec, dtype=np.float32) for _ in range(2))
        for rows in row_chunks(n_spec):
            ivar = batch.ivar[rows]
            weight = ivar * np.float32(_MODEL_ERROR**2)
            weight += 1.0
            np.divide(ivar, weight, out=weight)
            depth = batch.norm[rows] - 1.0
            sums[rows, :n_bins] = (weight.reshape(-1, _BIN_PIX) @ bins).reshape(-1, n_bins)
            weight *= depth
            sums[rows, n_bins:] = (weight.reshape(-1, _BIN_PIX) @ bins).reshape(-1, n_bins)
            weight *= depth
            total[rows] = weight @ pixels
            n_good[rows] = (ivar > 0).astype(np.float32) @ pixels
        chi2 = sums @ self._terms
        best = chi2.argmin(axis=1)
        reduced = (total + chi2[np.arange(n_spec), best]) / np.maximum(n_good, 1)
        return TemplateMatches(self.labels[best], np.where(n_good > 0, reduced, np.nan))
