"""Match a spectrum to a coarse grid of computed ones: a first opinion that no network has a part in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cempstream.processors.batch import NormalisedBatch
from cempstream.processors.grid import Array

_BIN_PIX = 4
#: Templates stand far apart in label space: 2 % of model error per bin keeps chi² of bright stars meaningful.
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
    """Compare rest-frame spectra with templates by chi².

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
        self._depth = np.ascontiguousarray(depth.T)
        self._squared = self._depth**2
        self.labels = np.asarray(labels, dtype=np.float32)

    def __call__(self, batch: NormalisedBatch) -> TemplateMatches:
        """Find the nearest template of each row."""
        weight = batch.ivar / (1.0 + np.float32(_MODEL_ERROR**2) * batch.ivar)
        depth = batch.norm - 1.0
        product = weight * depth
        total = np.einsum("np,np->n", product, depth)
        shape = (batch.n_spec, -1)
        ones = np.ones(_BIN_PIX, dtype=np.float32)
        chi2 = (weight.reshape(-1, _BIN_PIX) @ ones).reshape(shape) @ self._squared
        chi2 -= 2.0 * ((product.reshape(-1, _BIN_PIX) @ ones).reshape(shape) @ self._depth)
        best = chi2.argmin(axis=1)
        n_good = np.count_nonzero(batch.ivar, axis=1)
        reduced = (total + chi2[np.arange(batch.n_spec), best]) / np.maximum(n_good, 1)
        return TemplateMatches(self.labels[best], np.where(n_good > 0, reduced, np.nan))
