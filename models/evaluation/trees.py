"""Fit the baseline of gradient-boosted trees on simulated line indices and export it to ONNX."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from cempstream.models.evaluation.baselines import (
    Trees,
    TreesCard,
    fit_cut,
    tree_features,
    tree_logit,
)
from cempstream.models.evaluation.scored import Scored
from cempstream.models.training.calibrate import fit_platt
from cempstream.processors.grid import Array

_N_TREES, _DEPTH, _RATE = 250, 5, 0.08
_PARITY = 1e-3
_NOTE = (
    "XGBoost on the line indices and the S/N that the service measures, on stars of the simulator's survey "
    "profiles (emulated spectra without false CH lines); one star in four kept for the calibration."
)


class TreesDiffer(RuntimeError):
    """The exported trees do not reproduce the fitted ones."""


def fit_trees(data: Scored, bundle: str, seed: int, *, n_trees: int = _N_TREES) -> Trees:
    """Fit trees and the index cut to simulated stars.

    Sources count with the fourth root of their weight, so that both rare and common kinds are learned.
    """
    import onnxmltools
    import xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    names = [str(name) for name in data.line_names]
    features = (*names, "log_snr")
    x = tree_features(data.lines, names, data.snr, features)
    y = data.truth["is_cemp"].astype(np.int64)
    weight = data.truth["weight"] ** 0.25
    held = np.random.default_rng(seed).random(len(y)) < 0.25
    fit = data.is_scored & ~held
    model = xgboost.XGBClassifier(
        n_estimators=n_trees,
        max_depth=_DEPTH,
        learning_rate=_RATE,
        subsample=0.7,
        colsample_bytree=0.5,
        min_child_weight=2.0,
        reg_lambda=2.0,
        tree_method="hist",
        n_jobs=1,
        random_state=seed,
    )
    model.fit(x[fit], y[fit], sample_weight=weight[fit])
    exported = onnxmltools.convert_xgboost(
        model, initial_types=[("features", FloatTensorType([None, len(features)]))], target_opset=15
    ).SerializeToString()
    logit = tree_logit(exported, x)
    theirs = model.predict_proba(x)[:, 1].astype(np.float64)
    difference = float(np.abs(theirs - 1 / (1 + np.exp(-logit))).max())
    if difference > _PARITY:
        raise TreesDiffer(f"the exported trees differ from the fitted ones by {difference:.1e}")
    kept = data.is_scored & held
    card = TreesCard(
        bundle=bundle,
        file=f"trees-{bundle}.onnx",
        sha256=sha256(exported).hexdigest(),
        features=features,
        n_trees=n_trees,
        depth=_DEPTH,
        calibration=fit_platt(logit[kept], y[kept].astype(bool), data.truth["weight"][kept]),
        cut=fit_cut(data.lines, names, data.template, _is_normal(data)),
        surveys=_surveys(data.survey),
        n_spectra=int(fit.sum()),
        n_cemp=int(y[fit].sum()),
        seed=seed,
        note=_NOTE,
    )
    return Trees(card, exported)


def save_trees(trees: Trees, folder: Path) -> None:
    """Write the trees and their card."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / trees.card.file).write_bytes(trees.model)
    text = json.dumps(trees.card.model_dump(mode="json"), indent=1, ensure_ascii=False)
    (folder / f"trees-{trees.card.bundle}.json").write_text(text + "\n", encoding="utf-8")


def _is_normal(data: Scored) -> Array:
    return np.asarray(data.is_scored & data.is_star & (data.truth["cfe"] < 0.3))


def _surveys(survey: Array) -> tuple[str, ...]:
    names: Sequence[str] = np.unique(survey).tolist()
    return tuple(names)
