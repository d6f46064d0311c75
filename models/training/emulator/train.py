r"""Make the emulator from the synthetic library (extra ``train_emulator``).

    python -m cempstream.models.training.emulator.train \
        --library library.npz --library library/ --out models/emulator/data --version 2

The same library and seed give the same network. The shipped files are made from the stars that are not held
out, so that the scores on their card are the scores of these very files; ``--score-only`` takes them again
when the library has grown.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor, nn

from cempstream.models.emulator.emulator import BASIS_NAME, CARD_NAME, NETWORK_NAME, Emulator
from cempstream.models.emulator.grids import EMULATOR_GRID, EMULATOR_RESOLVING_POWER
from cempstream.models.emulator.labels import DEPENDENT_LIMITS, LABELS
from cempstream.models.training.emulator.evaluate import EmulatorError, as_table, check_bars, score_held_out
from cempstream.models.training.emulator.network import EmulatorNetwork, EmulatorTrunk, LabelFeatures
from cempstream.models.training.emulator.stellar_library import Library, read_library, stellar_files

log = logging.getLogger(__name__)

IMPOSSIBLE_LINES = (
    "CH lines that cannot exist: below 5500 K, and the stronger the more carbon, narrow features up to 8 % "
    "deep between 4600 and 6900 Å that no star has"
)

#: The impossible lines depend on carbon, temperature and gravity: fewer stars do not pin that down.
MIN_CLEANED = 120


@dataclass(frozen=True, slots=True)
class Config:
    """What the training depends on beside the library."""

    n_components: int = 150
    n_continuum: int = 16
    n_hidden: int = 256
    n_blocks: int = 2
    n_members: int = 3
    n_steps: int = 3000
    batch: int = 172
    rate: float = 3e-3
    weight_decay: float = 0.1
    seed: int = 1
    version: int = 1


def train_emulator(library: Library, config: Config) -> tuple[EmulatorNetwork, dict[str, np.ndarray]]:
    """Fit the emulator to the stars that are not held out.

    Returns
    -------
    tuple
        The network and the basis (arrays ``mean``, ``components``, ``continuum_wave``) of its coefficients.
    """
    torch.manual_seed(config.seed)
    seen = ~library.is_held_out
    norm, labels = library.norm[seen], torch.tensor(library.labels[seen], dtype=torch.float32)
    mean, components, scale, coefficients = _principal(norm, config.n_components)
    log_continuum = library.log_continuum[seen].astype(np.float32)
    c_mean, c_components, c_scale, c_coefficients = _principal(log_continuum, config.n_continuum)
    is_cleaned = torch.tensor(np.where(library.is_cleaned[seen], 1.0, -1.0), dtype=torch.float32)
    features = LabelFeatures()(labels, is_cleaned)
    lines = []
    for member in range(config.n_members):
        trunk = EmulatorTrunk(config.n_hidden, config.n_blocks, len(scale))
        _fit(trunk, features, coefficients, scale, config, seed=config.seed + member)
        lines.append(trunk)
    continuum = EmulatorTrunk(96, 1, len(c_scale))
    _fit(continuum, features, c_coefficients, c_scale, config, seed=config.seed)
    network = EmulatorNetwork(
        lines,
        continuum,
        torch.tensor(c_components * c_scale[:, None]),
        torch.tensor(c_mean),
        cleaned=serves_cleaned(library),
    )
    basis = {
        "mean": mean,
        "components": (components * scale[:, None]).astype(np.float16),
        "continuum_wave": library.continuum_wave,
    }
    return network.eval(), basis


def serves_cleaned(library: Library) -> bool:
    """Say whether enough stars have cleaned lines to tell the network what these change."""
    return int((library.is_cleaned & ~library.is_held_out).sum()) >= MIN_CLEANED


def _principal(rows: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, Tensor]:
    """Return mean, components (orthonormal), their scale, and the rows' coefficients of unit scale."""
    mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    n = min(n, len(rows) - 1)
    # The small covariance between stars has the same components as the large one between pixels.
    centred = rows - mean
    values, vectors = np.linalg.eigh(centred @ centred.T)
    strongest = np.argsort(values)[::-1][:n]
    components = vectors[:, strongest].T @ centred
    components /= np.linalg.norm(components, axis=1, keepdims=True)
    coefficients = centred @ components.T
    scale = coefficients.std(axis=0)
    return mean, components, scale, torch.tensor(coefficients / scale)


def _fit(
    trunk: EmulatorTrunk,
    features: Tensor,
    coefficients: Tensor,
    scale: np.ndarray,
    config: Config,
    *,
    seed: int,
) -> None:
    """Fit by the distance in flux, robustly: components are orthonormal, so distance in them is in flux."""
    weight = torch.tensor(scale**2 / np.mean(scale**2))
    optimiser = torch.optim.AdamW(trunk.parameters(), lr=config.rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.rate, config.n_steps, pct_start=0.1)
    draw = torch.Generator().manual_seed(seed)
    for step in range(config.n_steps):
        rows = torch.randint(0, len(features), (config.batch,), generator=draw)
        distance = (weight * (trunk(features[rows]) - coefficients[rows]) ** 2).sum(dim=1)
        loss = torch.sqrt(distance + 1e-4).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        nn.utils.clip_grad_norm_(trunk.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 500 == 499:
            log.info("step %d: loss %.4f", step + 1, loss.item())


def export(
    network: EmulatorNetwork, basis: dict[str, np.ndarray], library: Library, config: Config, out: Path
) -> list[EmulatorError]:
    """Write the ONNX graph, the basis and the card, and score the held-out stars with what was written."""
    out.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        network,
        (torch.tensor(library.labels[:2], dtype=torch.float32),),
        str(out / NETWORK_NAME),
        input_names=["labels"],
        output_names=["coefficients", "log_continuum"],
        dynamic_axes={name: {0: "n_spec"} for name in ("labels", "coefficients", "log_continuum")},
        dynamo=False,  # the other exporter wants onnxscript, a dependency for nothing
    )
    np.savez(out / BASIS_NAME, **basis)  # type: ignore[arg-type]  # stub: keyword arrays
    write_card(out, _card(library, config, out))
    return score_again(library, out)


def score_again(library: Library, out: Path) -> list[EmulatorError]:
    """Score the held-out stars of a library with the emulator in a folder, and put the scores on its card.

    Stars that came to the library later count too: which are held out hangs on their labels alone.
    """
    emulator = Emulator.load(out)
    scores = score_held_out(emulator, library)
    write_card(out, {**emulator.card, "held_out": as_table(scores), "bars": check_bars(scores)})
    return scores


def write_card(out: Path, card: dict[str, object]) -> None:
    """Write the card beside the files that it describes."""
    (out / CARD_NAME).write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n")


def _card(library: Library, config: Config, out: Path) -> dict[str, object]:
    files = (NETWORK_NAME, BASIS_NAME)
    return {
        "name": "emulator",
        "version": config.version,
        "files": {name: sha256((out / name).read_bytes()).hexdigest() for name in files},
        "labels": [asdict(label) for label in LABELS],
        "label_limits": DEPENDENT_LIMITS,
        "label_system": "1D_LTE",
        "abundances": "Asplund2009",
        "grid": {"medium": "vacuum", **asdict(EMULATOR_GRID)},
        "resolving_power": EMULATOR_RESOLVING_POWER,
        "library": {
            "code": "Synspec 54, ATLAS9 ODFNEW, linemake",
            "lines": "cleaned" if serves_cleaned(library) else "published",
            "n_cleaned": int((library.is_cleaned & ~library.is_estimated).sum()),
            "n_estimated": int(library.is_estimated.sum()),
            "n_in_strata": int(library.is_stratum.sum()),
            "n_trained": int((~library.is_held_out).sum()),
            "n_held_out": int(library.is_held_out.sum()),
        },
        "training": {name: value for name, value in asdict(config).items() if name != "version"},
        "known_weaknesses": [
            *([] if serves_cleaned(library) else [IMPOSSIBLE_LINES]),
            "below 4500 K with carbon above oxygen the spectrum changes faster than the library is dense",
            "atmospheres know no extra carbon: C2 is too strong there",
            "no TiO: metal-rich stars below 4000 K are not real",
            "LTE: cores of Balmer lines of cool giants too shallow",
        ],
        "held_out_measure": "|Δ norm| at R = 1800, 1e-4 dex pixels, stars not seen in training; all pixels "
        "and bands on those that fill label space evenly, corners on those of the strata too",
        "held_out": [],
    }


def main(
    library: Annotated[list[Path], typer.Option(help="library.npz and folders of chunks; may be repeated")],
    out: Annotated[Path, typer.Option(help="where the emulator is written")],
    n_steps: Annotated[int, typer.Option(help="steps of each member")] = 3000,
    seed: Annotated[int, typer.Option(help="the same seed gives the same network")] = 1,
    version: Annotated[int, typer.Option(help="the emulator's number, which reports repeat")] = 1,
    threads: Annotated[int, typer.Option(help="CPU threads")] = 1,
    score_only: Annotated[
        bool, typer.Option("--score-only", help="only score the emulator in OUT again, for a larger library")
    ] = False,
) -> None:
    """Train, export and score the emulator."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    spectra = read_library(stellar_files(library))
    log.info("%d spectra, %d held out", len(spectra.labels), spectra.is_held_out.sum())
    config = Config(n_steps=n_steps, seed=seed, version=version)
    scores = (
        score_again(spectra, out)
        if score_only
        else export(*train_emulator(spectra, config), spectra, config, out)
    )
    for score in scores:
        log.info("%-28s %4d  median %.4f  p95 %.4f", score.where, score.n_spec, score.median, score.p95)


if __name__ == "__main__":
    typer.run(main)
