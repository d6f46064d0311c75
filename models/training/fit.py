"""Train the networks: first the denoiser against its critic, then trunk and heads together.

Every epoch ends with a checkpoint from which a stopped run continues with the same result: the order of the
spectra depends only on the seed and the epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cempstream.models.training.dataset import Dataset
from cempstream.models.training.known_stars import draw_photometry
from cempstream.models.training.late_errors import deeper_hydrogen, noisier
from cempstream.models.training.networks import MID, Critic, Networks, Shape
from cempstream.models.training.networks import N_TOKENS as N_TOKENS
from cempstream.processors.grid import Array

#: Name of a phase, epoch, share of the epoch done, and the running mean of its losses.
TellEpoch = Callable[[str, int, float, dict[str, float]], None]


#: Share of the tokens that is deleted where carbon shows most, as the deletion test of the evaluation does.
_TOP_SHARE = 0.1
PHASES = ("denoise", "classify", "fuse")
_POINTS_AN_EPOCH = 20


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to train.

    Attributes
    ----------
    adversarial
        Weight of the critic's judgement in the generator's loss.
    punched
        One spectrum in so many is seen a second time in each step, with pieces missing.
    threads
        Torch threads; more than one per free core spends its time waiting.
    hydrogen_pix
        Pixels of Balmer lines at rest, see ``hydrogen_pixels``; their cores are made too deep.
    """

    denoise_epochs: int = 2
    epochs: int = 6
    fuse_epochs: int = 2
    batch: int = 192
    learning_rate: float = 2.5e-3
    weight_decay: float = 0.02
    adversarial: float = 0.01
    punched: int = 5
    seed: int = 1
    threads: int = 1
    hydrogen_pix: tuple[int, ...] = ()


_Step = Callable[[dict[str, Tensor], list[torch.optim.Optimizer]], dict[str, float]]


@dataclass(eq=False)
class _State:
    """What a checkpoint holds."""

    networks: Networks
    critic: Critic
    epoch: int = 0
    phase: str = "denoise"
    history: list[dict[str, float]] = field(default_factory=list)


def train_networks(
    data: Dataset,
    where: Array,
    schedule: Schedule,
    folder: Path,
    report: TellEpoch,
    shape: Shape = MID,
    base: Networks | None = None,
) -> tuple[Networks, list[dict[str, float]]]:
    """Train on a dataset, or go on from the checkpoint in ``folder``.

    Parameters
    ----------
    where
        What the attention is to look at, shape ``(n, n_tokens)``; see ``carbon_information``.
    base
        Networks that are trained already, all but the one that takes photometry.

    Returns
    -------
    networks, history
        The trained networks in evaluation mode, and the points of the curves: phase (index into ``PHASES``),
        epochs done in it, and the mean of each loss since the point before.
    """
    torch.set_num_threads(schedule.threads)
    torch.manual_seed(schedule.seed)
    torch.use_deterministic_algorithms(True)
    folder.mkdir(parents=True, exist_ok=True)
    state = _State(base or Networks(shape), Critic())
    if base is None:
        _phase(data, where, state, schedule, schedule.denoise_epochs, _denoise_step, folder, report)
        state.phase, state.epoch = "classify", 0
        _phase(data, where, state, schedule, schedule.epochs, _heads_step, folder, report)
    state.phase, state.epoch = "fuse", 0
    _phase(data, where, state, schedule, schedule.fuse_epochs, _fuse_step, folder, report)
    return state.networks.requires_grad_(True).eval(), state.history


def _phase(
    data: Dataset,
    where: Array,
    state: _State,
    schedule: Schedule,
    epochs: int,
    step_of: Callable[[_State, Schedule], _Step],
    folder: Path,
    report: TellEpoch,
) -> None:
    optimisers = _optimisers(state, schedule)
    path = folder / f"{state.phase}.pt"
    _load(path, state, optimisers)
    step = step_of(state, schedule)
    while state.epoch < epochs:
        _epoch(data, where, state, schedule, epochs, optimisers, step, report)
        _save(path, state, optimisers)


def _optimisers(state: _State, schedule: Schedule) -> list[torch.optim.Optimizer]:
    net = state.networks
    if state.phase == "denoise":
        return [
            torch.optim.AdamW(net.denoise.parameters(), lr=schedule.learning_rate, weight_decay=1e-4),
            torch.optim.AdamW(state.critic.parameters(), lr=5e-4, betas=(0.5, 0.99)),
        ]
    if state.phase == "fuse":
        return [torch.optim.AdamW(net.fuse.parameters(), lr=schedule.learning_rate, weight_decay=1e-3)]
    heads = [p for part in (net.features, net.classify, net.regress) for p in part.parameters()]
    return [torch.optim.AdamW(heads, lr=schedule.learning_rate, weight_decay=schedule.weight_decay)]


def _epoch(
    data: Dataset,
    where: Array,
    state: _State,
    schedule: Schedule,
    epochs: int,
    optimisers: list[torch.optim.Optimizer],
    step: _Step,
    report: TellEpoch,
) -> None:
    n_batches = math.ceil(len(data) / schedule.batch)
    total = epochs * n_batches
    sums: dict[str, float] = {}
    lately: list[dict[str, float]] = []
    n_lately = math.ceil(n_batches / _POINTS_AN_EPOCH)
    base = [group["initial_lr"] for o in optimisers for group in o.param_groups if "initial_lr" in group]
    if not base:
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["initial_lr"] = group["lr"]
    state.networks.train()
    for i, batch in enumerate(_batches(data, where, schedule, state.phase, state.epoch)):
        done = (state.epoch * n_batches + i) / total
        factor = min(1.0, (done * total + 1) / 60) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = factor * group["initial_lr"]
        lately.append(step(batch, optimisers))
        for name, value in lately[-1].items():
            sums[name] = sums.get(name, 0.0) + value
        if len(lately) == n_lately or i + 1 == n_batches:
            state.history.append(
                {
                    "phase": float(PHASES.index(state.phase)),
                    "epoch": state.epoch + (i + 1) / n_batches,
                    **_means(lately),
                }
            )
            lately.clear()
        report(state.phase, state.epoch, (i + 1) / n_batches, {k: v / (i + 1) for k, v in sums.items()})
    state.epoch += 1


def _means(losses: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each loss over the steps that have it: a small batch may lack one."""
    names = dict.fromkeys(name for one in losses for name in one)
    return {name: fmean(one[name] for one in losses if name in one) for name in names}


def _batches(
    data: Dataset, where: Array, schedule: Schedule, phase: str, epoch: int
) -> Iterator[dict[str, Tensor]]:
    """Yield shuffled batches; within a batch the rows are in the file's order, which reads faster."""
    rng = np.random.default_rng([schedule.seed, epoch, PHASES.index(phase)])
    order = rng.permutation(len(data))
    for first in range(0, len(order), schedule.batch):
        rows = np.sort(order[first : first + schedule.batch])
        batch = _rippled(tensors(data, where, rows), rng)
        batch = deeper_hydrogen(batch, schedule.hydrogen_pix, rng)
        if phase != "denoise":
            batch = noisier(batch, rng)
        if phase == "fuse":
            known = draw_photometry(batch["parameters"].numpy(), rng)
            batch["known"] = torch.from_numpy(known)
        yield batch


def _rippled(batch: dict[str, Tensor], rng: np.random.Generator) -> dict[str, Tensor]:
    """Multiply smooth ripples in, 5 pixels to a fifteenth of the grid wide and 0.1 to 3 per cent strong.

    Flat fields, echelle orders, wrong response curves: no survey's continuum is better than that, and a
    bright star's spectrum would otherwise be believed to a part in a thousand.
    """
    n, n_pix = batch["norm"].shape
    n_knots = int(np.exp(rng.uniform(np.log(15), np.log(n_pix / 5.12))))
    amplitude = np.exp(rng.uniform(np.log(1e-3), np.log(3e-2), (n, 1)))
    knots = torch.from_numpy((amplitude * rng.standard_normal((n, n_knots))).astype(np.float32))
    ripple = F.interpolate(knots[:, None], size=n_pix, mode="linear", align_corners=True)[:, 0]
    ripple = 1.0 + ripple * (batch["ivar"] > 0)
    # The denoised spectrum of a bright star has the ripples as well.
    return batch | {name: batch[name] * ripple for name in ("norm", "target")}


def tensors(data: Dataset, where: Array, rows: Array) -> dict[str, Tensor]:
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
        "where": where[rows],
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
    holes, seeded = torch.Generator(), -1

    def step(batch: dict[str, Tensor], optimisers: list[torch.optim.Optimizer]) -> dict[str, float]:
        nonlocal seeded
        if seeded != state.epoch:  # each epoch its own seed: a run that goes on draws what it would have
            seeded = state.epoch
            holes.manual_seed(schedule.seed + 7919 * (seeded + 1))
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            clean = net.denoise(batch["norm"], batch["ivar"]).float()
        losses = head_losses(net, batch, clean, holes, schedule.punched)
        loss = torch.stack(list(losses.values())).sum()
        optimisers[0].zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([p for g in optimisers[0].param_groups for p in g["params"]], 2.0)
        optimisers[0].step()
        return {name: value.item() for name, value in losses.items()}

    return step


def _fuse_step(state: _State, schedule: Schedule) -> _Step:
    """Teach what photometry adds; a star without it is served by networks that never saw any."""
    net = state.networks
    for part in (net.denoise, net.features, net.classify, net.regress):
        part.requires_grad_(False)

    def step(batch: dict[str, Tensor], optimisers: list[torch.optim.Optimizer]) -> dict[str, float]:
        with torch.no_grad():
            clean = net.denoise(batch["norm"], batch["ivar"])
            tokens = net.features(batch["norm"], batch["ivar"], clean)
            said = net.regress(tokens)
        losses = _losses_of(net, net.fuse(tokens, batch["known"], *said), batch)
        loss = torch.stack(list(losses.values())).sum()
        optimisers[0].zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.fuse.parameters(), 2.0)
        optimisers[0].step()
        return {name: value.item() for name, value in losses.items()}

    return step


def _punched(batch: dict[str, Tensor], every: int, holes: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return some rows with pieces of the spectrum deleted: anywhere, or where carbon shows most."""
    norm, ivar, where = (batch[name][::every] for name in ("norm", "ivar", "where"))
    n, n_tokens = where.shape
    width = torch.randint(1, 9, (n, 2), generator=holes)
    start = (torch.rand((n, 2), generator=holes) * (n_tokens - width)).long()
    token = torch.arange(n_tokens)
    anywhere = ((token >= start[..., None]) & (token < (start + width)[..., None])).any(dim=1)
    most = torch.zeros(n, n_tokens, dtype=torch.bool)
    most.scatter_(1, where.topk(int(_TOP_SHARE * n_tokens), dim=1).indices, True)
    hole = torch.where(torch.rand((n, 1), generator=holes) < 0.5, most, anywhere)
    keep = (~hole).repeat_interleave(norm.shape[1] // n_tokens, dim=1).float()
    return 1.0 + (norm - 1.0) * keep, ivar * keep


def head_losses(
    net: Networks, batch: dict[str, Tensor], clean: Tensor, holes: torch.Generator, punched: int
) -> dict[str, Tensor]:
    """Return the weighted losses of all heads."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        tokens = net.features(batch["norm"], batch["ivar"], clean)
        norm, ivar = _punched(batch, punched, holes)
        with torch.no_grad():
            punched_clean = net.denoise(norm, ivar)
        punched_tokens = net.features(norm, ivar, punched_clean)
    tokens = tokens.float()
    without, _, _ = net.classify.cemp(punched_tokens.float())
    _, _, attention = net.classify.cemp(tokens)
    pointed = batch["where"].sum(dim=1) > 0.5
    divergence = -(batch["where"] * torch.log(attention + 1e-6)).sum(dim=1)
    losses = _losses_of(net, tokens, batch)
    losses["punched"] = 0.25 * F.binary_cross_entropy_with_logits(without, batch["cemp"][::punched])
    losses["attention"] = 0.1 * (divergence * pointed).sum() / pointed.sum().clamp(min=1)
    return losses


def _losses_of(net: Networks, tokens: Tensor, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weighted losses of what is said of tokens, alone or fused."""
    mean, log_sigma = net.regress(tokens)
    cemp, corrected, subclass, ood, _ = net.classify(tokens)
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
