"""Sections on ablations: without parts of the networks, training spectra, a label corner, a survey."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cempstream.models.card import Card
from cempstream.models.evaluation.baselines import tree_features
from cempstream.models.evaluation.report import NoInput, Section, Table, Value
from cempstream.models.evaluation.report_detection import PRIOR, RECALLS
from cempstream.models.evaluation.scored import Scored
from cempstream.models.statistics import Measured, alarms, bootstrap_alarms, interval
from cempstream.processors.chain import ProcessorChain
from cempstream.processors.grid import Array

_REPLICAS = 60


def variants(work: Path | None, chain: ProcessorChain, card: Card, kept: Path) -> Section:
    """Report the effect of each part of the networks, by small ones trained with and without it."""
    if not kept.is_file():
        if work is None:
            raise NoInput("the data of a training run, with --work")
        try:
            import torch  # noqa: F401
        except ModuleNotFoundError as error:
            raise NoInput("torch, which the extra 'train' brings") from error
        from cempstream.models.evaluation.variants import train_variants

        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(train_variants(work, chain, card), indent=1), encoding="utf-8")
    record = json.loads(kept.read_text(encoding="utf-8"))
    columns = ("variant", *record["columns"])
    rows: list[list[Value]] = [
        [name, *(Measured(**value) for value in values)] for name, values in record["arms"].items()
    ]
    lead = (
        f"Small trainings, all alike but for what their name says: {record['n_spectra']:,} spectra of the "
        f"training set seen {record['epochs']} times, smaller sets as many steps; the same seed and order. "
        f"All read the denoiser of {record['denoiser']}. They are far from converged: only their differences "
        "mean something, not their level. 'No denoiser' was trained with the raw spectrum in place of the "
        "denoised one, 'no self-attention' without the "
        "transformer blocks (its pooling over wavelength stays), 'no corner' without any star of "
        "[Fe/H] < -3 and [C/Fe] > 1, on which the last columns are measured. The calibration night and "
        "held-out library stars of the training run try them."
    )
    return Section("variants", "Ablations and learning curve", lead, [Table("Variants", columns, rows)])


def transfer(night: Scored) -> Section:
    """Report the loss on a survey that is not in the training set, with trees."""
    surveys: list[str] = np.unique(night.survey).tolist()
    if len(surveys) < 2:
        raise NoInput("a night of at least two surveys")
    try:
        import xgboost  # noqa: F401
    except ModuleNotFoundError as error:
        raise NoInput("the package xgboost, to fit trees without a survey") from error
    names = [str(name) for name in night.line_names]
    x = tree_features(night.lines, names, night.snr, (*names, "log_snr"))
    rng = np.random.default_rng(3)
    is_test = rng.random(len(night)) < 0.35
    rows: list[list[Value]] = []
    for survey in surveys:
        here = night.survey == survey
        train_all, train_others = ~is_test, ~is_test & ~here
        # The same number of spectra for both, so that only their survey differs.
        pool = np.flatnonzero(train_all)
        same = np.zeros(len(night), dtype=bool)
        same[rng.choice(pool, int(train_others.sum()), replace=False)] = True
        test = is_test & here
        truth, weight = night.truth["is_cemp"][test], night.truth["weight"][test]
        row: list[Value] = [survey, int(test.sum()), int(truth.sum())]
        for chosen in (same, train_others):
            score = _trees(x, night.truth, chosen, test)
            curve = alarms(score, truth, weight, PRIOR)
            replicas = bootstrap_alarms(score, truth, weight, PRIOR, replicas=_REPLICAS)
            low, high = interval(np.array([r.purity_at(RECALLS[0]) for r in replicas]))
            row.append(Measured(curve.purity_at(RECALLS[0]), low, high, int(truth.sum())))
        rows.append(row)
    columns = ("survey left out", "spectra", "CEMP", "trained on all", "trained on the others")
    lead = (
        "Trees on line indices, trained on a night of all surveys or of all but one, with as many spectra, "
        f"and tried on that one: purity at recall {RECALLS[0]:g} and the natural prior. The networks are not "
        "trained on any survey's profile; their transfer is 'Survey by survey' above."
    )
    return Section("transfer", "Leave one survey out", lead, [Table("Transfer of the trees", columns, rows)])


def _trees(x: Array, truth: Array, chosen: Array, test: Array) -> Array:
    import xgboost

    model = xgboost.XGBClassifier(
        n_estimators=200, max_depth=5, learning_rate=0.08, subsample=0.7, colsample_bytree=0.5,
        tree_method="hist", n_jobs=1, random_state=1,
    )  # fmt: skip
    weight: Mapping[str, Array] = {"sample_weight": truth["weight"][chosen] ** 0.25}
    model.fit(x[chosen], truth["is_cemp"][chosen].astype(int), **weight)
    return np.asarray(model.predict_proba(x[test])[:, 1].astype(np.float64))
