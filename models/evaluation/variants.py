"""Ablations: small networks without one part or with fewer spectra, all trained in the same way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cempstream.models.card import Card
from cempstream.models.emulator.emulator import Emulator
from cempstream.models.statistics import (
    Measured,
    alarms,
    bootstrap_alarms,
    interval,
    share,
    statistic,
)
from cempstream.models.training.calibrate import Outputs
from cempstream.models.training.carbon_information import carbon_information
from cempstream.models.training.dataset import Dataset
from cempstream.models.training.fit import head_losses, tensors
from cempstream.models.training.make_bundle import run_networks
from cempstream.models.training.networks import MID, Networks, Shape, Trunk
from cempstream.models.training.star_labels import Truth
from cempstream.processors.chain import ProcessorChain
from cempstream.processors.grid import Array
from cempstream.processors.outcome import PARAMETERS

_PRIOR = 3e-4
_EPOCHS_OF_MID = 3
_FEH, _CFE = PARAMETERS.index("feh"), PARAMETERS.index("cfe")
_COLUMNS = (
    "purity at recall 0.6, night",
    "AUC, night",
    "[Fe/H] MAE, metal-poor",
    "[C/Fe] MAE, CEMP",
    "carbon-normal, S/N < 10, above 0.01",
    "[Fe/H] MAE, corner",
    "[C/Fe] MAE, corner",
)


@dataclass(frozen=True, slots=True)
class Arm:
    """One variant."""

    name: str
    n: int
    denoised: bool = True
    attention: bool = True
    corner: bool = True


class _Served(nn.Module):
    """A bundle's denoiser, which every variant shares."""

    def __init__(self, chain: ProcessorChain) -> None:
        super().__init__()
        self._graph = chain.denoise.graph

    def forward(self, norm: Tensor, ivar: Tensor) -> Tensor:
        """Return the denoised flux."""
        put = self._graph.put
        out = self._graph(norm=put(norm.numpy()), ivar=put(ivar.numpy()))["clean"].numpy()
        return torch.from_numpy(np.array(out))


class _Raw(nn.Module):
    """No denoiser."""

    def forward(self, norm: Tensor, ivar: Tensor) -> Tensor:
        """Return the flux as it is."""
        return norm


def arms(n: int) -> tuple[Arm, ...]:
    """Return the variants; the first is complete."""
    return (
        Arm("complete", n),
        Arm("no denoiser", n, denoised=False),
        Arm("no self-attention", n, attention=False),
        Arm("no corner", n, corner=False),
        Arm("half of the spectra", n // 2),
        Arm("a quarter of the spectra", n // 4),
    )


def train_variants(
    work: Path,
    chain: ProcessorChain,
    card: Card,
    *,
    n: int = 4000,
    epochs: int | None = None,
    batch: int = 128,
) -> dict[str, Any]:
    """Train and try all variants.

    Parameters
    ----------
    work
        Folder of a training run with ``train``, ``night`` and ``test``.
    chain, card
        The bundle whose denoiser the variants read, and whose shape they have.
    epochs
        How often each sees its spectra; more often on a shorter grid, at the same cost.
    """
    torch.set_num_threads(1)
    data = _first(Dataset.load(work / "train"), n)
    stride = card.training.config.get("stride")
    if not isinstance(stride, int):
        raise ValueError(f"the card of {chain.name} has 'stride' {stride!r}; it must be a number of pixels")
    shape = Shape(card.grid.n_pix, len(card.attribution_edges_aa) - 1, stride)
    epochs = epochs or round(_EPOCHS_OF_MID * MID.n_pix / shape.n_pix)
    where = carbon_information(
        data, Emulator.load(), card.grid.grid, card.resolving_power, card.sigma_pix, shape.n_tokens
    )
    night, test = Dataset.load(work / "night"), Dataset.load(work / "test")
    served = _Served(chain)
    clean = _run(served, data)
    results = {}
    for arm in arms(len(data)):
        network = _train(arm, shape, data, clean, where, served, epochs * len(data), batch)
        results[arm.name] = [
            {"value": m.value, "low": m.low, "high": m.high, "n": m.n, "unit": m.unit}
            for m in _try(run_networks(network, night), night, run_networks(network, test), test)
        ]
    return {
        "columns": _COLUMNS,
        "denoiser": chain.name,
        "n_spectra": len(data),
        "epochs": epochs,
        "arms": results,
    }


def _first(data: Dataset, n: int) -> Dataset:
    rows = slice(0, n)
    names = Truth.__dataclass_fields__
    return Dataset(
        norm=np.asarray(data.norm[rows]),
        ivar=np.asarray(data.ivar[rows]),
        clean=np.asarray(data.clean[rows]),
        truth=Truth(**{name: getattr(data.truth, name)[rows] for name in names}),
        snr=data.snr[rows],
        star=data.star[rows],
        weight=data.weight[rows],
    )


def _run(denoiser: nn.Module, data: Dataset) -> Array:
    made = np.empty(data.norm.shape, dtype=np.float16)
    for first in range(0, len(data), 256):
        rows = slice(first, first + 256)
        norm, ivar = (torch.from_numpy(np.asarray(x[rows], np.float32)) for x in (data.norm, data.ivar))
        made[rows] = denoiser(norm, ivar).numpy()
    return made


def _train(
    arm: Arm,
    shape: Shape,
    data: Dataset,
    clean: Array,
    where: Array,
    served: nn.Module,
    n_seen: int,
    batch: int,
) -> Networks:
    torch.manual_seed(1)
    network = Networks(shape)
    if not arm.attention:
        network.features = Trunk(shape, depth=0)
    network.denoise = served if arm.denoised else _Raw()  # type: ignore[assignment]
    seen = replace(data, clean=clean if arm.denoised else data.norm)
    allowed = np.flatnonzero(_is_allowed(arm, data.truth))[: arm.n]
    parts: Sequence[nn.Module] = (network.features, network.classify, network.regress)
    optimiser = torch.optim.AdamW(
        [p for part in parts for p in part.parameters()], lr=2.5e-3, weight_decay=0.02
    )
    rng, holes = np.random.default_rng(1), torch.Generator().manual_seed(1)
    total = math.ceil(n_seen / batch)
    order = np.concatenate([rng.permutation(allowed) for _ in range(math.ceil(n_seen / allowed.size))])
    network.train()
    for step in range(total):
        rows = np.sort(order[step * batch : (step + 1) * batch])
        given = tensors(seen, where, rows)
        for group in optimiser.param_groups:
            done = step / total
            group["lr"] = 2.5e-3 * min(1.0, (step + 1) / 40) * (0.02 + 0.49 * (1 + math.cos(math.pi * done)))
        loss = torch.stack(list(head_losses(network, given, given["target"], holes, 5).values())).sum()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(optimiser.param_groups[0]["params"], 2.0)
        optimiser.step()
    return network.eval()


def _is_allowed(arm: Arm, truth: Truth) -> Array:
    return np.ones(len(truth.is_cemp), dtype=bool) if arm.corner else ~_in_corner(truth)


def _in_corner(truth: Truth) -> Array:
    return np.asarray((truth.parameters[:, _FEH] < -3.0) & (truth.parameters[:, _CFE] > 1.0))


def _try(tonight: Outputs, night: Dataset, said: Outputs, test: Dataset) -> list[Measured]:
    truth, weight = night.truth.is_cemp, night.weight.astype(np.float64)
    curve = alarms(tonight.cemp, truth, weight, _PRIOR)
    replicas = bootstrap_alarms(tonight.cemp, truth, weight, _PRIOR, replicas=60)
    parameters = test.truth.parameters
    error = np.abs(said.mean - parameters)
    poor, corner = parameters[:, _FEH] < -1, _in_corner(test.truth)
    dim = (night.truth.parameters[:, _FEH] < -1) & (night.truth.parameters[:, _CFE] < 0.35) & (night.snr < 10)
    logit = _calibrated(tonight.cemp, truth, weight)
    return [
        _with(curve.purity_at(0.6), [r.purity_at(0.6) for r in replicas], int(truth.sum())),
        _with(_auc(curve), [_auc(r) for r in replicas], len(truth)),
        _mean(error[poor, _FEH], test.star[poor]),
        _mean(error[test.truth.is_cemp, _CFE], test.star[test.truth.is_cemp]),
        share(logit[dim] > math.log(0.01 / 0.99)),
        _mean(error[corner, _FEH], test.star[corner]),
        _mean(error[corner, _CFE], test.star[corner]),
    ]


def _calibrated(logit: Array, truth: Array, weight: Array) -> Array:
    from cempstream.models.training.calibrate import fit_platt

    card = fit_platt(logit, truth, weight)
    p = np.clip(card.calibration(logit, _PRIOR), 1e-12, 1 - 1e-12)
    return np.asarray(np.log(p / (1 - p)))


def _mean(error: Array, star: Array) -> Measured:
    return statistic(lambda e: float(np.mean(e)), error, star=star, unit="dex")


def _with(value: float, replicas: Sequence[float], n: int) -> Measured:
    low, high = interval(np.array(replicas))
    return Measured(float(value), low, high, n)


def _auc(curve: Any) -> float:
    return float(np.trapezoid(np.append(0.0, curve.recall), np.append(0.0, curve.false_rate)))
