"""Make a bundle from trained networks: export, calibration, scores, the card and the manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from cempstream.models.bundle import CARD_FILE, write_manifest
from cempstream.models.card import (
    CalibrationCard,
    Card,
    FusedCard,
    GraphCard,
    GridCard,
    ParameterCard,
    ScoreCard,
    TemplatesCard,
    TrainingCard,
)
from cempstream.models.training.calibrate import (
    Outputs,
    bootstrap,
    choose_ood_threshold,
    choose_thresholds,
    fit_intervals,
    fit_platt,
    roc_auc,
)
from cempstream.models.training.choose_templates import Templates
from cempstream.models.training.dataset import Dataset
from cempstream.models.training.export import Exported
from cempstream.models.training.networks import MID, Networks
from cempstream.processors.grid import Array, LogGrid
from cempstream.processors.outcome import PARAMETERS, SUBCLASSES

#: Unit and trained range of each parameter.
_PARAMETER_CARDS = (
    ParameterCard(name="teff", unit="K", low=3900, high=7000),
    ParameterCard(name="logg", unit="dex", low=0.0, high=5.0),
    ParameterCard(name="feh", unit="dex", low=-4.0, high=0.5),
    ParameterCard(name="cfe", unit="dex", low=-0.6, high=3.5),
    ParameterCard(name="ac", unit="dex", low=3.8, high=9.1),
    ParameterCard(name="bafe", unit="dex", low=-1.2, high=2.5),
)

WEAKNESSES = (
    "Carbon-normal atmospheres: C2 is computed too strong in cool stars with C/O > 1; less certain there.",
    "No TiO in the library: nothing below 4000 K at high metallicity is measured, only told apart.",
    "LTE and one dimension: cores of the Balmer lines are not used; abundances are on the 1D LTE scale.",
    "CH is invisible in turn-off stars above 6200 K with [C/Fe] below about 1.5: recall is low there.",
    "[Ba/Fe] and the subclass need S/N 20 and resolution above about 1000; below it they fall back on A(C).",
)


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """Facts about a bundle that are not measured.

    Attributes
    ----------
    unmeasured
        Parameters that cannot be measured at the bundle's resolution.
    low_coverage
        Good fraction of the grid below which a result is flagged.
    """

    name: str
    version: str
    grid: LogGrid
    resolving_power: float
    served: tuple[float, float]
    sigma_pix: float
    purity: float
    training: TrainingCard = field(repr=False)
    n_tokens: int = MID.n_tokens
    unmeasured: tuple[str, ...] = ()
    low_coverage: float = 0.7
    weaknesses: tuple[str, ...] = field(default=WEAKNESSES, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """Spectra not used in training, with the networks' outputs, without and with photometry of their stars.

    Attributes
    ----------
    wide
        Any instrument and label, like the training set: for the out-of-distribution score, and for intervals
        where the night has few stars.
    night
        Stars in their natural shares, by strata with weights: for probabilities, thresholds and intervals.
    """

    wide: Dataset = field(repr=False)
    wide_outputs: Outputs = field(repr=False)
    wide_fused: Outputs = field(repr=False)
    night: Dataset = field(repr=False)
    night_outputs: Outputs = field(repr=False)
    night_fused: Outputs = field(repr=False)


def run_networks(
    networks: Networks, data: Dataset, batch: int = 256, *, known: Array | None = None
) -> Outputs:
    """Run all networks over a dataset.

    Parameters
    ----------
    known
        Photometric Teff and log g with errors, shape ``(n, 4)``; None: by the spectra alone.
    """
    parts: list[list[Array]] = []
    with torch.no_grad():
        for first in range(0, len(data), batch):
            norm = torch.from_numpy(np.asarray(data.norm[first : first + batch], dtype=np.float32))
            ivar = torch.from_numpy(np.asarray(data.ivar[first : first + batch], dtype=np.float32))
            tokens = networks.features(norm, ivar, networks.denoise(norm, ivar))
            if known is not None:
                rows_known = torch.from_numpy(known[first : first + batch])
                tokens = networks.fuse(tokens, rows_known, *networks.regress(tokens))
            rows = [*networks.classify(tokens), *networks.regress(tokens)]
            n_good = np.maximum((ivar > 0).sum(dim=1).numpy(), 1)
            parts.append([*(r.numpy() for r in rows), torch.sqrt(ivar).sum(dim=1).numpy() / n_good])
    cemp, corrected, subclass, ood, attribution, mean, log_sigma, snr = map(
        np.concatenate, zip(*parts, strict=True)
    )
    return Outputs(cemp, corrected, subclass, ood, attribution, mean, np.exp(log_sigma), snr)


def write_bundle(
    folder: Path,
    recipe: Recipe,
    exported: Mapping[str, Exported],
    templates: Templates,
    calibration: Calibrated,
    scores: Sequence[ScoreCard],
) -> Card:
    """Calibrate, write all files, the card and the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    graphs = {}
    for name, graph in exported.items():
        (folder / f"{name}.onnx").write_bytes(graph.model)
        graphs[name] = GraphCard(
            file=f"{name}.onnx",
            sha256=sha256(graph.model).hexdigest(),
            inputs=graph.inputs,
            outputs=graph.outputs,
            mflop=graph.mflop,
        )
    np.savez_compressed(
        folder / "templates.npz", norm=templates.norm, labels=templates.labels, velocity=templates.velocity
    )
    wide, night = calibration.wide, calibration.night
    said, tonight = calibration.wide_outputs, calibration.night_outputs
    truth = wide.truth
    cemp, corrected = _probabilities(tonight, night)
    cemp_fused, corrected_fused = _probabilities(calibration.night_fused, night)
    edges = recipe.grid.log10_start + recipe.grid.log10_step * (
        np.linspace(0, recipe.grid.n_pix, recipe.n_tokens + 1) - 0.5
    )
    card = Card(
        name=recipe.name,
        version=recipe.version,
        code_version=version("cempstream"),
        training=recipe.training,
        grid=GridCard(
            log10_start=recipe.grid.log10_start,
            log10_step=recipe.grid.log10_step,
            n_pix=recipe.grid.n_pix,
        ),
        resolving_power=recipe.resolving_power,
        served=recipe.served,
        sigma_pix=recipe.sigma_pix,
        graphs=graphs,
        templates=TemplatesCard(
            file="templates.npz",
            sha256=sha256((folder / "templates.npz").read_bytes()).hexdigest(),
            n_templates=len(templates.norm),
            n_velocity=len(templates.velocity),
        ),
        subclasses=SUBCLASSES,
        parameters=tuple(p for p in _PARAMETER_CARDS if p.name not in recipe.unmeasured),
        cemp=cemp,
        cemp_corrected=corrected,
        thresholds=choose_thresholds(
            cemp, tonight.cemp, night.truth.is_cemp, night.weight, night.snr, purity=recipe.purity
        ),
        intervals=fit_intervals([(tonight, night.truth.parameters), (said, truth.parameters)]),
        fused=FusedCard(
            cemp=cemp_fused,
            cemp_corrected=corrected_fused,
            intervals=fit_intervals(
                [
                    (calibration.night_fused, night.truth.parameters),
                    (calibration.wide_fused, truth.parameters),
                ]
            ),
        ),
        ood=choose_ood_threshold(said.ood, truth.is_ood, truth.is_cemp),
        attribution_edges_aa=tuple(np.round(10.0**edges, 4).tolist()),
        low_coverage=recipe.low_coverage,
        weaknesses=recipe.weaknesses,
        scores=tuple(scores),
    )
    (folder / CARD_FILE).write_text(
        json.dumps(card.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    write_manifest(folder)
    return card


def _probabilities(outputs: Outputs, night: Dataset) -> tuple[CalibrationCard, CalibrationCard]:
    truth = night.truth
    return (
        fit_platt(outputs.cemp, truth.is_cemp, night.weight),
        fit_platt(outputs.corrected, truth.is_cemp_corrected, night.weight),
    )


def score(data: Dataset, outputs: Outputs, sample: str, unmeasured: Sequence[str] = ()) -> list[ScoreCard]:
    """Measure a held-out dataset: errors and AUC, each with a bootstrap interval over stars.

    Parameters
    ----------
    unmeasured
        Parameters that are left out.
    """
    truth, cards = data.truth, []
    is_star = truth.is_ood == 0

    def add(name: str, unit: str, rows: Array, columns: Sequence[Array], statistic: object) -> None:
        values = [column[rows] for column in columns]
        if not callable(statistic) or len(values[0]) < 20:
            return
        low, high = bootstrap(values, statistic, data.star[rows])
        cards.append(
            ScoreCard(
                name=name,
                value=round(float(statistic(*values)), 4),
                low=round(low, 4),
                high=round(high, 4),
                n=len(values[0]),
                unit=unit,
                sample=sample,
            )
        )

    for k, parameter in enumerate(_PARAMETER_CARDS):
        if parameter.name in unmeasured:
            continue
        error = [np.abs(outputs.mean[:, k] - truth.parameters[:, k])]
        add(f"mae_{parameter.name}", parameter.unit, is_star, error, np.mean)
    feh, cfe = truth.parameters[:, PARAMETERS.index("feh")], PARAMETERS.index("cfe")
    error = np.abs(outputs.mean - truth.parameters)
    metal_poor = is_star & (feh < -1)
    add("mae_feh_metal_poor", "dex", metal_poor, [error[:, PARAMETERS.index("feh")]], np.mean)
    add("mae_cfe_cemp", "dex", truth.is_cemp, [error[:, cfe]], np.mean)
    add("auc_cemp", "", np.ones(len(data), dtype=bool), [outputs.cemp, truth.is_cemp], roc_auc)
    add("auc_cemp_stars_only", "", is_star, [outputs.cemp, truth.is_cemp], roc_auc)
    no_or_s = truth.is_cemp & (truth.subclass >= 0) & (truth.subclass < 2)
    s_over_no = outputs.subclass[:, 1] - outputs.subclass[:, 0]
    add("balanced_accuracy_no_s", "", no_or_s, [s_over_no > 0, truth.subclass == 1], _balanced_accuracy)
    return cards


def _balanced_accuracy(said: Array, true: Array) -> float:
    return 0.5 * (float(np.mean(said[true])) + float(np.mean(~said[~true])))
