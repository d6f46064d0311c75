"""Export trained networks to ONNX files: one per processor, dynamic batch, checked against torch."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cempstream.models.card import ArrayCard
from cempstream.models.training.known_stars import draw_photometry
from cempstream.models.training.networks import PARAMETER_CENTRE, Networks
from cempstream.processors.grid import Array

_OPSET = 17
#: Largest difference between torch and ONNX Runtime, in units of the output's spread.
PARITY = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class Exported:
    """One graph.

    Attributes
    ----------
    parity
        Largest |torch - ONNX Runtime| over all outputs, in units of the output's spread.
    """

    model: bytes = field(repr=False)
    inputs: tuple[ArrayCard, ...]
    outputs: tuple[ArrayCard, ...]
    mflop: float
    parity: float


class ParityError(RuntimeError):
    """An exported graph does not compute what was trained."""


def export_networks(
    networks: Networks, norm: Array, ivar: Array, folder: Path, kept: Mapping[str, bytes] | None = None
) -> dict[str, Exported]:
    """Export all graphs and compare each with torch on real inputs.

    Parameters
    ----------
    norm, ivar
        Spectra on which to compare, shape ``(n, n_pix)``.
    folder
        Where the files are written while they are made.
    kept
        Graphs of an older bundle that stay as they are, byte by byte.

    Raises
    ------
    ParityError
        Where a graph differs by more than ``PARITY``.
    """
    networks = networks.eval()
    given = (torch.from_numpy(norm.astype(np.float32)), torch.from_numpy(ivar.astype(np.float32)))
    if given[0].shape[1] != networks.shape.n_pix:
        raise ValueError(f"spectra have {given[0].shape[1]} pixels; the networks take {networks.shape.n_pix}")
    with torch.no_grad():
        clean = networks.denoise(*given)
        tokens = networks.features(*given, clean)
        mean, log_sigma = networks.regress(tokens)
    classes = ("logit_cemp", "logit_cemp_corrected", "logit_subclass", "logit_ood", "attribution")
    parts: dict[str, tuple[nn.Module, dict[str, Tensor], Sequence[str]]] = {
        "denoise": (networks.denoise, {"norm": given[0], "ivar": given[1]}, ("clean",)),
        "features": (
            networks.features,
            {"norm": given[0], "ivar": given[1], "clean": clean},
            ("tokens",),
        ),
        "classify": (networks.classify, {"tokens": tokens}, classes),
        "regress": (networks.regress, {"tokens": tokens}, ("mean", "log_sigma")),
        "fuse": (
            networks.fuse,
            {"tokens": tokens, "known": _known(len(tokens)), "mean": mean, "log_sigma": log_sigma},
            ("fused",),
        ),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        path = folder / f"{name}.onnx"
        if kept and name in kept:
            path.write_bytes(kept[name])
        else:
            _write(path, *part)
    return {name: _compared(folder / f"{name}.onnx", *part) for name, part in parts.items()}


def _known(n: int) -> Tensor:
    """Return photometry of stars of all sorts, some without."""
    parameters = np.tile(np.array(PARAMETER_CENTRE), (n, 1))
    return torch.from_numpy(draw_photometry(parameters, np.random.default_rng(1)))


def _write(path: Path, module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str]) -> None:
    names = [*inputs, *outputs]
    with warnings.catch_warnings():
        # torch announces its next exporter on every call; this one is pinned by a parity test.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: {0: "n"} for name in names},
            opset_version=_OPSET,
            dynamo=False,
        )


def _compared(
    path: Path, module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str]
) -> Exported:
    with torch.no_grad():
        result = module(*inputs.values())
    expected = [result] if isinstance(result, Tensor) else list(result)
    model = path.read_bytes()
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    parity = 0.0
    # Another batch size than that of the export: the batch axis must really be dynamic.
    for n in (len(expected[0]), 1):
        found = session.run(list(outputs), {name: array[:n].numpy() for name, array in inputs.items()})
        for theirs, ours in zip(found, expected, strict=True):
            reference = ours[:n].numpy()
            spread = max(1.0, float(np.abs(ours.numpy()).max()))
            parity = max(parity, float(np.abs(theirs - reference).max()) / spread)
    if parity > PARITY:
        raise ParityError(f"{path.name} differs from torch by {parity:.1e}; at most {PARITY:.0e} is right")
    return Exported(
        model=model,
        inputs=tuple(_card(name, array.shape) for name, array in inputs.items()),
        outputs=tuple(_card(name, array.shape) for name, array in zip(outputs, expected, strict=True)),
        mflop=_mflop(module, [array[:1] for array in inputs.values()]),
        parity=parity,
    )


def _card(name: str, shape: Sequence[int]) -> ArrayCard:
    return ArrayCard(name=name, shape=("n", *(int(size) for size in shape[1:])))


def _mflop(module: nn.Module, inputs: Sequence[Tensor]) -> float:
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        module(*inputs)
    return round(counter.get_total_flops() / 1e6, 3)
