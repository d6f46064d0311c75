"""Grad-CAM, which needs gradients, as a check of the attribution, which the forward pass gives at no cost.

Selvaraju et al. (2017) weigh each channel of the last convolution by the mean gradient of the logit. In the
rest frame every wavelength has separate weights, so a mean over wavelength has no meaning here: gradient and
activation are multiplied where they are (HiResCAM, Draelos & Carin 2020).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from cempstream.models.card import ScoreCard
from cempstream.models.training.calibrate import Outputs, bootstrap
from cempstream.models.training.dataset import Dataset
from cempstream.models.training.networks import Networks
from cempstream.processors.grid import Array

#: Spectra that are compared; gradients cost three times what the forward pass does.
_MOST = 500


def grad_cam(networks: Networks, norm: Array, ivar: Array) -> Array:
    """Return the evidence for a CEMP star in each token's part of the spectrum, shape ``(n, n_tokens)``.

    Parameters
    ----------
    norm, ivar
        Rest-frame spectra, shape ``(n, n_pix)``.
    """
    maps: list[Tensor] = []

    def keep(module: nn.Module, inputs: Sequence[Tensor], output: Tensor) -> None:
        maps.append(output)

    hook = networks.features.stem.register_forward_hook(keep)
    flux, weight = (torch.from_numpy(np.asarray(x, dtype=np.float32)) for x in (norm, ivar))
    try:
        with torch.no_grad():
            clean = networks.denoise(flux, weight)
        with torch.enable_grad():
            logit, _, _ = networks.classify.cemp(networks.features(flux, weight, clean))
            (gradient,) = torch.autograd.grad(logit.sum(), maps[0])
    finally:
        hook.remove()
    per_step = (gradient * torch.relu(maps[0].detach())).sum(dim=1)
    speaks_for = torch.relu(per_step.view(len(flux), networks.shape.n_tokens, -1).sum(dim=2))
    return np.asarray(speaks_for.numpy())


def compare_attribution(networks: Networks, data: Dataset, outputs: Outputs, sample: str) -> list[ScoreCard]:
    """Measure how the attribution of recognised CEMP stars agrees with Grad-CAM.

    Returns
    -------
    list of ScoreCard
        The mean rank correlation over the tokens with data, and the share of the attribution that lies in the
        fifth of the tokens that Grad-CAM ranks highest (a fifth by chance). Empty with fewer than 20 stars.
    """
    rows = np.flatnonzero(data.truth.is_cemp & (outputs.cemp > 0))[:_MOST]
    if rows.size < 20:
        return []
    cam = grad_cam(networks, data.norm[rows], data.ivar[rows])
    attribution = outputs.attribution[rows]
    n_tokens = cam.shape[1]
    has_data = (np.asarray(data.ivar[rows]).reshape(rows.size, n_tokens, -1) > 0).mean(axis=2) > 0.5
    rank, top = np.empty(rows.size), np.empty(rows.size)
    for i, good in enumerate(has_data):
        rank[i] = spearmanr(cam[i, good], attribution[i, good]).statistic
        highest = np.argsort(-cam[i])[: n_tokens // 5]
        top[i] = attribution[i, highest].sum()
    figures = {"attribution_grad_cam_rank": rank, "attribution_in_grad_cam_fifth": top}
    return [_card(name, values, data.star[rows], sample) for name, values in figures.items()]


def _card(name: str, values: Array, star: Array, sample: str) -> ScoreCard:
    low, high = bootstrap([values], np.nanmean, star)
    return ScoreCard(
        name=name,
        value=round(float(np.nanmean(values)), 4),
        low=round(low, 4),
        high=round(high, 4),
        n=values.size,
        unit="",
        sample=sample,
    )
