"""Calibration on stars not used in training: probabilities, thresholds, intervals, out-of-distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from crepes import ConformalRegressor
from scipy.optimize import minimize

from cempstream.models.card import CalibrationCard, IntervalCard, OodCard, ThresholdCard
from cempstream.processors.grid import Array
from cempstream.processors.outcome import PARAMETERS

#: Priors for which a threshold is given, DESIGN.md section 7.
PRIORS = (1e-4, 3e-4, 1e-3, 1e-2)

_SNR_EDGES = (6.0, 12.0, 25.0, 60.0)
_FEH_EDGES = (-2.8, -2.0, -1.2, -0.4)
_COVERAGE = 0.68
_FEWEST = 40
_LEAST_RECALL = 0.2
#: The loose threshold keeps this share of the CEMP stars of this S/N and more.
_KEPT, _FAIR_SNR = 0.99, 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """Outputs of the graphs for a dataset; one row per spectrum.

    Attributes
    ----------
    subclass
        Logits, shape ``(n, 4)``.
    mean, sigma
        Shape ``(n, 6)``.
    snr
        Mean S/N per good pixel as the pipeline computes it.
    """

    cemp: Array = field(repr=False)
    corrected: Array = field(repr=False)
    subclass: Array = field(repr=False)
    ood: Array = field(repr=False)
    attribution: Array = field(repr=False)
    mean: Array = field(repr=False)
    sigma: Array = field(repr=False)
    snr: Array = field(repr=False)


def fit_platt(logit: Array, truth: Array, weight: Array | None = None) -> CalibrationCard:
    """Fit scale and offset of the logit by maximum likelihood (Platt 1999).

    Parameters
    ----------
    weight
        Natural sources that each row stands for: the fit then holds at the natural share of CEMP stars, among
        what a survey really observes. Without, every row counts alike.
    """
    x, y = logit.astype(np.float64), truth.astype(np.float64)
    w = np.ones(x.size) if weight is None else weight.astype(np.float64)
    w = w / w.sum()
    prior = float(np.sum(w * y))

    def loss(p: Array) -> float:
        z = np.exp(p[0]) * x + p[1]
        return float(np.sum(w * (np.logaddexp(0.0, z) - y * z))) / prior

    best = minimize(loss, np.array([0.0, np.log(prior)]), method="Nelder-Mead").x
    return CalibrationCard(scale=float(np.exp(best[0])), offset=float(best[1]), prior=prior)


def choose_thresholds(
    calibration: CalibrationCard, logit: Array, truth: Array, weight: Array, snr: Array, *, purity: float
) -> tuple[ThresholdCard, ...]:
    """Choose, for each prior, the lowest threshold at which this share of the alerts is right.

    Rows are weighted so that CEMP stars are as rare as the prior says and everything else is as a survey
    observes it. Where no threshold is as pure, the purest that finds a fifth of the CEMP stars. The loose
    threshold, from which a spectrum may add to its star, keeps 99 % of the CEMP stars of S/N 10 and more.
    """
    kept, dropped = _loose(logit, truth, weight, snr)
    cards = []
    for prior in PRIORS:
        card = _threshold(calibration, prior, logit, truth, weight, purity)
        if np.isfinite(kept):
            loose = float(np.clip(calibration.calibration(np.array([kept]), prior)[0], 1e-9, 1 - 1e-9))
            card = card.model_copy(update={"observed_from": loose, "observed_dropped": round(dropped, 4)})
        cards.append(card)
    return tuple(cards)


def _loose(logit: Array, truth: Array, weight: Array, snr: Array) -> tuple[float, float]:
    """Return the logit that nearly all CEMP stars of fair S/N reach, and the share of others below it."""
    fair = snr >= _FAIR_SNR
    cemp, others = fair & truth.astype(bool), fair & ~truth.astype(bool)
    if not cemp.any() or not others.any():
        return float("nan"), float("nan")
    order = np.argsort(logit[cemp])
    below = np.cumsum(weight[cemp][order]) / weight[cemp].sum()
    kept = float(logit[cemp][order][np.searchsorted(below, 1.0 - _KEPT)])
    dropped = weight[others][logit[others] < kept].sum() / weight[others].sum()
    return kept, float(dropped)


def _threshold(
    calibration: CalibrationCard, prior: float, logit: Array, truth: Array, weight: Array, purity: float
) -> ThresholdCard:
    order = np.argsort(-logit)
    true, p = truth[order], calibration.calibration(logit[order], prior)
    w = weight[order].astype(np.float64)
    w = np.where(true, prior * w / np.sum(w * true), (1 - prior) * w / np.sum(w * ~true))
    recall = np.cumsum(w * true) / prior
    # The alerts' own calibrated probabilities say how many are right: counting the few false alarms of some
    # thousand spectra, each standing for hundreds of natural ones, would be a lottery.
    pure = np.cumsum(w * p) / np.cumsum(w)
    enough = np.flatnonzero((pure >= purity) & (recall >= _LEAST_RECALL))
    best = int(enough[-1]) if enough.size else int(np.where(recall >= _LEAST_RECALL, pure, -1.0).argmax())
    return ThresholdCard(
        prior=prior,
        threshold=float(np.clip(p[best], 1e-9, 1 - 1e-9)),
        recall=round(float(recall[best]), 4),
        purity=round(float(pure[best]), 4),
    )


def fit_intervals(samples: Sequence[tuple[Outputs, Array]]) -> IntervalCard:
    """Scale each sigma to cover 68 % in its bin: split conformal prediction, normalised and Mondrian.

    The bins are those of S/N and of the estimated [Fe/H], which is what there is when the interval is given.
    Intervals hold for spectra like those that they were fitted on (Boström 2022, the library ``crepes``).

    Parameters
    ----------
    samples
        Outputs and true parameters, shape ``(n, 6)``: first of spectra like those that will be served, then
        of ever wider sets. A bin takes its factor from the first that has stars enough in it; without any,
        the factor of all stars of the last.
    """
    n_columns = len(_FEH_EDGES) + 1
    n_bins = (len(_SNR_EDGES) + 1) * n_columns
    scale = np.full((n_bins, len(PARAMETERS)), np.nan)
    for outputs, parameters in samples:
        row = np.searchsorted(_SNR_EDGES, outputs.snr)
        column = np.searchsorted(_FEH_EDGES, outputs.mean[:, PARAMETERS.index("feh")])
        for k in range(len(PARAMETERS)):
            known = np.isfinite(parameters[:, k])
            residual = parameters[known, k] - outputs.mean[known, k]
            fitted = _conformal_scale(
                residual, outputs.sigma[known, k], (row * n_columns + column)[known], n_bins
            )
            scale[:, k] = np.where(np.isfinite(scale[:, k]), scale[:, k], fitted)
    outputs, parameters = samples[-1]
    for k in range(len(PARAMETERS)):
        rest = np.isnan(scale[:, k])
        scale[rest, k] = _overall_scale(parameters[:, k] - outputs.mean[:, k], outputs.sigma[:, k])
    rounded = np.round(scale, 4).reshape(-1, n_columns, len(PARAMETERS)).tolist()
    return IntervalCard(
        snr_edges=_SNR_EDGES,
        feh_edges=_FEH_EDGES,
        scale=tuple(tuple(tuple(cell) for cell in line) for line in rounded),
    )


def _conformal_scale(residual: Array, sigma: Array, in_bin: Array, n_bins: int) -> Array:
    """Return the factor of each bin, shape ``(n_bins,)``; NaN where there are few stars."""
    scale = np.full(n_bins, np.nan)
    full = np.flatnonzero(np.bincount(in_bin, minlength=n_bins) >= _FEWEST)
    inside = np.isin(in_bin, full)
    if full.size:
        by_bin = ConformalRegressor().fit(residual[inside], sigma[inside], in_bin[inside])
        zero, one = np.zeros(full.size), np.ones(full.size)
        scale[full] = by_bin.predict_int(zero, one, full, confidence=_COVERAGE)[:, 1]
    return scale


def _overall_scale(residual: Array, sigma: Array) -> float:
    """Return the factor of all stars; 1 where the parameter is nowhere defined."""
    known = np.isfinite(residual)
    if not known.any():
        return 1.0
    everywhere = ConformalRegressor().fit(residual[known], sigma[known])
    return float(everywhere.predict_int(np.zeros(1), np.ones(1), confidence=_COVERAGE)[0, 1])


def choose_ood_threshold(ood_logit: Array, is_ood: Array, is_cemp: Array, *, lost: float = 0.01) -> OodCard:
    """Choose the score that at most 1 % of the CEMP stars, and of all stars, exceed."""
    score = 1.0 / (1.0 + np.exp(-np.clip(ood_logit.astype(np.float64), -30, 30)))
    star = is_ood == 0
    limit = max(
        float(np.quantile(score[star & is_cemp], 1 - lost)), float(np.quantile(score[star], 1 - lost))
    )
    limit = float(np.clip(limit, 0.5, 1 - 1e-6))
    return OodCard(
        threshold=limit,
        cemp_lost=round(float((score[star & is_cemp] > limit).mean()), 4),
        stars_lost=round(float((score[star] > limit).mean()), 4),
        contaminants_found=round(float((score[is_ood == 1] > limit).mean()), 4),
    )


def roc_auc(score: Array, truth: Array) -> float:
    """Return the area under the ROC curve: the chance that a positive outranks a negative (ties half)."""
    from scipy.stats import rankdata

    positive = truth.astype(bool)
    n, m = int(positive.sum()), int((~positive).sum())
    if n == 0 or m == 0:
        return float("nan")
    return float((rankdata(score)[positive].sum() - n * (n + 1) / 2) / (n * m))


def bootstrap(values: Sequence[Array], statistic: object, star: Array, seed: int = 0) -> tuple[float, float]:
    """Return the central 68 % of a statistic over resampled stars, with all spectra of a star together."""
    if not callable(statistic):
        raise TypeError("the statistic must be callable")
    rng = np.random.default_rng(seed)
    stars, inverse = np.unique(star, return_inverse=True)
    members = np.split(np.argsort(inverse, kind="stable"), np.cumsum(np.bincount(inverse))[:-1])
    results = []
    for _ in range(200):
        rows = np.concatenate([members[i] for i in rng.integers(0, stars.size, stars.size)])
        results.append(statistic(*(value[rows] for value in values)))
    low, high = np.nanquantile(results, [0.16, 0.84])
    return float(low), float(high)
