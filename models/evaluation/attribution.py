"""Test whether the attribution points at known features, and whether the classifier uses them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cempstream.processors.bands import NAMED_WINDOWS
from cempstream.processors.grid import Array, air_to_vacuum

#: Normalised flux and ivar, each ``(n, n_pix)``, to logit ``(n,)`` and attribution ``(n, n_bins)``.
Explain = Callable[[Array, Array], tuple[Array, Array]]


@dataclass(frozen=True, slots=True)
class AttributionScore:
    """How good explanations are, over ``n`` spectra.

    Attributes
    ----------
    inside, chance
        Share of the attribution inside the named windows, and the same for a uniform attribution over the
        bins in which the spectra have data.
    lost_top, lost_random
        Mean loss of logit when the tenth of the bins with the highest attribution is deleted, and when as
        many random bins with data are deleted.
    """

    n: int
    inside: float
    chance: float
    lost_top: float
    lost_random: float

    @property
    def deletion_ratio(self) -> float:
        """Loss by the top bins over the loss by random ones."""
        return self.lost_top / max(self.lost_random, 1e-6)


def score_attribution(
    explain: Explain,
    norm: Array,
    ivar: Array,
    edges_aa: Array,
    *,
    seed: int = 0,
    deleted: float = 0.1,
    n_random: int = 5,
) -> AttributionScore:
    """Measure explanations of spectra that were classified as CEMP.

    Parameters
    ----------
    norm, ivar
        Rest-frame spectra, float32, shape ``(n, n_pix)``.
    edges_aa
        Edges of the attribution's bins, shape ``(n_bins + 1,)``, of as many pixels each.
    deleted
        Share of the bins to delete.
    """
    rng = np.random.default_rng(seed)
    n, n_pix = norm.shape
    n_bins = len(edges_aa) - 1
    width = n_pix // n_bins
    n_deleted = round(deleted * n_bins)
    logit, attribution = explain(norm, ivar)
    share = window_share(edges_aa)
    has_data = (ivar.reshape(n, n_bins, width) > 0).mean(axis=2) > 0.5
    top = np.argsort(-attribution, axis=1)[:, :n_deleted]
    random_loss = np.zeros(n)
    for _ in range(n_random):
        chosen = np.argsort(rng.random((n, n_bins)) - has_data, axis=1)[:, :n_deleted]
        random_loss += (logit - explain(*delete_bins(norm, ivar, chosen, width))[0]) / n_random
    return AttributionScore(
        n=n,
        inside=float((attribution @ share).mean()),
        chance=float(((has_data @ share) / np.maximum(has_data.sum(axis=1), 1)).mean()),
        lost_top=float((logit - explain(*delete_bins(norm, ivar, top, width))[0]).mean()),
        lost_random=float(random_loss.mean()),
    )


def window_share(edges_aa: Array) -> Array:
    """Return the share of each bin that lies in any named window, shape ``(n_bins,)``."""
    edges = np.asarray(edges_aa, dtype=np.float64)
    total = np.zeros(edges.size - 1)
    for _, window in NAMED_WINDOWS:
        low, high = air_to_vacuum(np.array(window))
        total += np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0.0, None)
    return np.minimum(total / np.diff(edges), 1.0)


def delete_bins(norm: Array, ivar: Array, bins: Array, width: int) -> tuple[Array, Array]:
    """Return spectra whose pixels in some bins are bad; ``bins`` ``(n, n_deleted)``."""
    n, n_pix = norm.shape
    keep = np.ones((n, n_pix // width), dtype=np.float32)
    np.put_along_axis(keep, bins, 0.0, axis=1)
    pixels = np.repeat(keep, width, axis=1)
    return 1.0 + (norm - 1.0) * pixels, ivar * pixels
