"""Train the networks: first the denoiser against its critic, then trunk and heads together.

Every epoch ends with a checkpoint from which the run goes on as if it had never stopped: the order of the
spectra follows from the seed and the epoch alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cempstream.models.training.dataset import Dataset
from cempstream.models.training.networks import Critic, Networks
from cempstream.processors.grid import Array

#: Name of a phase, epoch, share of the epoch done, and the running mean of its losses.
Report = Callable[[str, int, float, dict[str, float]], None]


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to train.

    Attributes
    ----------
    adversarial
        Weight of the critic's judgement in the generator's loss.
    threads
        Torch threads; more than one per free core spends its time waiting.
    """

    denoise_epochs: int = 2
    epochs: int = 6
    batch: int = 192
    learning_rate: float = 2.5e-3
    weight_decay: float = 0.02
    adversarial: float = 0.01
    seed: int = 1
    threads: int = 1


@dataclass(eq=False)
class _State:
    """What a checkpoint holds."""

    networks: Networks
    critic: Critic
    epoch: int = 0
    phase: str = "denoise"
    history: list[dict[str, float]] = field(default_factory=list)


def train(
    data: Dataset, schedule: Schedule, folder: Path, report: Report
) -> tuple[Networks, list[dict[str, float]]]:
    """Train on a dataset, or go on from the checkpoint in ``folder``.

    Returns
    -------
    networks, history
        The trained networks in evaluation mode, and the mean losses of each epoch.
    """
    torch.set_num_threads(schedule.threads)
    torch.manual_seed(schedule.seed)
    torch.use_deterministic_algorithms(True)
    folder.mkdir(parents=True, exist_ok=True)
    state = _State(Networks(), Critic())
    for phase, epochs, step_of in (
        ("denoise", schedule.denoise_epochs, _denoise_step),
        ("classify", schedule.epochs, _heads_step),
    ):
        optimisers = _optimisers(state, phase, schedule)
        _load(folder / f"{phase}.pt", state, optimisers)
        if state.phase != phase:
            state.phase, state.epoch = phase, 0
        step = step_of(state, schedule)
        while state.epoch < epochs:
            _epoch(data, state, schedule, epochs, optimisers, step, report)
            _save(folder / f"{phase}.pt", state, optimisers)
    return state.networks.eval(), state.history


def _optimisers(state: _State, phase: str, schedule: Schedule) -> list[torch.optim.Optimizer]:
    net = state.networks
    if phase == "denoise":
        return [
            torch.optim.AdamW(net.denoise.parameters(), lr=schedule.learning_rate, weight_decay=1e-4),
            torch.optim.AdamW(state.critic.parameters(), lr=5e-4, betas=(0.5, 0.99)),
        ]
    heads = [p for part in (net.features, net.classify, net.regress) for p in part.parameters()]
    return [torch.optim.AdamW(heads, lr=schedule.learning_rate, weight_decay=schedule.weight_decay)]


_Step = Callable[[dict[str, Tensor], list[torch.optim.Optimizer]], dict[str, float]]


def _epoch(
    data: Dataset,
    state: _State,
    schedule: Schedule,
    epochs: int,
    optimisers: list[torch.optim.Optimizer],
    step: _Step,
    report: Report,
) -> None:
    n_batches = math.ceil(len(data) / schedule.batch)
    total = epochs * n_batches
    sums: dict[str, float] = {}
    base = [group["initial_lr"] for o in optimisers for group in o.param_groups if "initial_lr" in group]
    if not base:
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["initial_lr"] = group["lr"]
    state.networks.train()
    for i, batch in enumerate(_batches(data, schedule, state.phase, state.epoch)):
        done = (state.epoch * n_batches + i) / total
        factor = min(1.0, (done * total + 1) / 60) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = factor * group["initial_lr"]
        for name, value in step(batch, optimisers).items():
            sums[name] = sums.get(name, 0.0) + value
        report(state.phase, state.epoch, (i + 1) / n_batches, {k: v / (i + 1) for k, v in sums.items()})
    means = {name: value / n_batches for name, value in sums.items()}
    state.history.append({"phase": float(state.phase == "classify"), "epoch": float(state.epoch), **means})
    state.epoch += 1


def _batches(data: Dataset, schedule: Schedule, phase: str, epoch: int) -> Iterator[dict[str, Tensor]]:
    """Yield shuffled batches; within a batch the rows are in the file's order, which reads faster."""
    rng = np.random.default_rng([schedule.seed, epoch, int(phase == "classify")])
    order = rng.permutation(len(data))
    for first in range(0, len(order), schedule.batch):
        rows = np.sort(order[first : first + schedule.batch])
        yield tensors(data, rows)


def tensors(data: Dataset, rows: Array) -> dict[str, Tensor]:
    """Return rows of a dataset as float32 tensors."""
    arrays = {
        "norm": data.norm[rows],
        "ivar": data.ivar[rows],
        "target": data.clean[rows],
        "parameters": data.truth.parameters[rows],
        "cemp": data.truth.is_cemp[rows],
        "corrected": data.truth.is_cemp_corrected[rows],
        "ood": data.truth.is_ood[rows],
        "subclass": data.truth.subclass[rows],
    }
    return {name: torch.from_numpy(np.asarray(array, dtype=np.float32)) for name, array in arrays.items()}


def _denoise_step(state: _State, schedule: Schedule) -> _Step:
    """Reconstruction weighted by inverse variance, and a critic that dislikes the implausible."""
    generator, critic = state.networks.denoise, state.critic

    def step(batch: dict[str, Tensor], optimisers: list[torch.optim.Optimizer]) -> dict[str, float]:
        for_generator, for_critic = optimisers
        made = generator(batch["norm"], batch["ivar"])
        # 2 % is as well as any model knows a star; missing pixels inside the range still count a little.
        weight = batch["ivar"] / (1.0 + batch["ivar"] * 0.02**2)
        weight = weight / (weight.mean(dim=1, keepdim=True) + 1e-6) + 0.05
        error = made - batch["target"]
        # The root makes a spectrum count by how wrong it is, not by how wrong squared: bands are not drowned.
        reconstruction = torch.sqrt((weight * error * error).mean(dim=1) + 1e-8).mean()
        # Batch members of one sort: the critic compares like with like.
        adversarial = ((critic(made) - 1.0) ** 2).mean()
        loss = reconstruction + schedule.adversarial * adversarial
        for_generator.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(generator.parameters(), 1.0)
        for_generator.step()
        judged = ((critic(batch["target"]) - 1.0) ** 2).mean() + (critic(made.detach()) ** 2).mean()
        for_critic.zero_grad(set_to_none=True)
        judged.backward()
        for_critic.step()
        return {"reconstruction": reconstruction.item(), "critic": judged.item()}

    return step


def _heads_step(state: _State, schedule: Schedule) -> _Step:
    net = state.networks
    net.denoise.requires_grad_(False)

    def step(batch: dict[str, Tensor], optimisers: list[torch.optim.Optimizer]) -> dict[str, float]:
        with torch.no_grad():
            clean = net.denoise(batch["norm"], batch["ivar"])
        losses = head_losses(net, batch, clean)
        loss = torch.stack(list(losses.values())).sum()
        optimisers[0].zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([p for g in optimisers[0].param_groups for p in g["params"]], 2.0)
        optimisers[0].step()
        return {name: value.item() for name, value in losses.items()}

    return step


def head_losses(net: Networks, batch: dict[str, Tensor], clean: Tensor) -> dict[str, Tensor]:
    """Return the weighted losses of all heads."""
    tokens = net.features(batch["norm"], batch["ivar"], clean)
    cemp, corrected, subclass, ood, _ = net.classify(tokens)
    mean, log_sigma = net.regress(tokens)
    known = batch["ood"] >= 0
    has_class = batch["subclass"] >= 0
    # Non-CEMP stars say little about subclasses: they count a fifth.
    weight = torch.where(batch["cemp"] > 0, 1.0, 0.2) * has_class
    per_star = F.cross_entropy(subclass, batch["subclass"].clamp(min=0).long(), reduction="none")
    defined = torch.isfinite(batch["parameters"])
    scale = net.regress.scale
    error = torch.where(defined, (mean - batch["parameters"]) / scale, torch.zeros_like(mean))
    log_sigma = log_sigma - torch.log(scale)
    # Half the weight of Seitzer et al. 2022 (beta = 0.5): a likelihood that does not give up on hard stars.
    likelihood = (0.5 * error**2 * torch.exp(-2 * log_sigma) + log_sigma) * torch.exp(log_sigma).detach()
    return {
        "cemp": F.binary_cross_entropy_with_logits(cemp, batch["cemp"]),
        "corrected": 0.3 * F.binary_cross_entropy_with_logits(corrected, batch["corrected"]),
        "subclass": 0.3 * (per_star * weight).sum() / weight.sum().clamp(min=1.0),
        "ood": 0.3 * F.binary_cross_entropy_with_logits(ood[known], batch["ood"][known]),
        "parameters": (likelihood * defined).sum() / defined.sum().clamp(min=1),
    }


def _save(path: Path, state: _State, optimisers: list[torch.optim.Optimizer]) -> None:
    partial = path.with_suffix(".tmp")
    torch.save(
        {
            "networks": state.networks.state_dict(),
            "critic": state.critic.state_dict(),
            "optimisers": [o.state_dict() for o in optimisers],
            "epoch": state.epoch,
            "phase": state.phase,
            "history": state.history,
        },
        partial,
    )
    partial.replace(path)


def _load(path: Path, state: _State, optimisers: list[torch.optim.Optimizer]) -> None:
    if not path.is_file():
        return
    saved = torch.load(path, weights_only=True)
    state.networks.load_state_dict(saved["networks"])
    state.critic.load_state_dict(saved["critic"])
    for optimiser, values in zip(optimisers, saved["optimisers"], strict=True):
        optimiser.load_state_dict(values)
    state.epoch, state.phase, state.history = saved["epoch"], saved["phase"], saved["history"]
