"""Sections on a simulated night: detection of CEMP stars at their natural rarity, and calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure

from cempstream.models.evaluation.evaluation_night import NIGHT_STRATA, stratum_of_truth
from cempstream.models.evaluation.report import ReportPicture, Section, Table, Value, draw
from cempstream.models.evaluation.scored import Scored
from cempstream.models.statistics import (
    Alarms,
    Measured,
    alarms,
    bootstrap_alarms,
    effective_negatives,
    interval,
    poisson_upper,
    share,
    tail_share,
)
from cempstream.processors.grid import Array
from cempstream.processors.outcome import SUBCLASSES

#: Fraction of CEMP stars among survey spectra, SCIENCE: 1e-4 to 1e-3.
PRIOR = 3e-4
#: Recalls at which purity is stated, DESIGN.md section 7.
RECALLS = (0.6, 0.75)
_BAR_PURITY = 0.88
_REPLICAS = 100
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_BINS: Mapping[str, tuple[str, Sequence[float]]] = {
    "snr": ("S/N per Å", (0, 5, 10, 20, 40, 80, 1000)),
    "feh": ("[Fe/H]", (-4.01, -3.0, -2.5, -2.0, -1.5, -1.0)),
    "teff": ("Teff / K", (3800, 4500, 5000, 5500, 6000, 6500, 7100)),
    "cfe": ("[C/Fe]", (0.7, 1.0, 1.5, 2.0, 3.6)),
}


@dataclass(frozen=True, slots=True, eq=False)
class ScoredNight:
    """A scored night and other classifiers' scores of the same spectra.

    Attributes
    ----------
    threshold
        Of the bundle's card at ``PRIOR``.
    rivals
        Score per spectrum by name; higher is more CEMP.
    """

    scored: Scored = field(repr=False)
    threshold: float
    rivals: Mapping[str, Array] = field(repr=False)

    @property
    def is_cemp(self) -> Array:
        """Which sources are CEMP stars."""
        return np.asarray(self.scored.truth["is_cemp"])

    @property
    def weight(self) -> Array:
        """Natural sources per row."""
        return np.asarray(self.scored.truth["weight"])


def detection(night: ScoredNight) -> Section:
    """Report how many CEMP stars are found, and how many of the alerts are right."""
    scored, truth, weight = night.scored, night.is_cemp, night.weight
    curve = alarms(scored.p_cemp, truth, weight, PRIOR)
    replicas = bootstrap_alarms(scored.p_cemp, truth, weight, PRIOR, replicas=_REPLICAS)
    at_card = night.scored.p_cemp >= night.threshold
    negatives = weight[~truth]
    rows: list[list[Value]] = []
    for name, threshold in (
        ("threshold of the card", night.threshold),
        *((f"recall {recall:g}", curve.threshold_at(recall)) for recall in RECALLS),
    ):
        found = _operating(scored.p_cemp, truth, weight, threshold)
        spread = [_at(r, threshold) for r in replicas]
        alarm = (scored.p_cemp >= threshold)[~truth]
        rows.append(
            [
                name,
                float(threshold),
                _measured(found[0], [s[0] for s in spread], int(truth.sum())),
                _measured(found[1], [s[1] for s in spread], int(alarm.sum() + truth.sum())),
                _measured(found[2], [s[2] for s in spread], int(alarm.sum())),
                int(effective_negatives(negatives, alarm)),
            ]
        )
    at_bar = [r.recall_at_purity(_BAR_PURITY) for r in replicas]
    rows.append(
        [
            f"purity {_BAR_PURITY:g}",
            None,
            _measured(curve.recall_at_purity(_BAR_PURITY), at_bar, int(truth.sum())),
            _BAR_PURITY,
            None,
            None,
        ]
    )
    auc = _measured(_auc(curve), [_auc(r) for r in replicas], len(scored))
    odd = at_card & ~truth & scored.is_odd
    lead = (
        f"{len(scored):,} spectra stand for {weight.sum():,.0f} natural sources "
        f"({negatives.sum():,.0f} of them not CEMP): sources are drawn in their natural shares, the kinds "
        "that could be mistaken are kept whole, and of the others a known share, each weighted by its "
        f"inverse. CEMP stars are weighted to {PRIOR:g} of all. The effective number of negatives is "
        "that of natural, unweighted ones that would fix the rate of false alarms at a threshold as well: "
        "W Σw / Σw² over the false alarms, W the weight of all negatives. Intervals are 95 %, by a Poisson "
        f"bootstrap over sources. The area under the natural-weight ROC curve is {auc.text}. "
        f"{int(scored.is_scored.size - scored.is_scored.sum())} spectra were refused and count as not found. "
        f"Of {int((at_card & ~truth).sum())} false alarms at the card's threshold {int(odd.sum())} carry the "
        "flag 'out of distribution'."
    )
    columns = ("at", "p ≥", "recall", "purity", "rate of false alarms", "effective negatives")
    tables = [Table("Operating points at the natural prior", columns, rows), _strata_table(night)]
    pictures = [_draw_roc(curve, replicas), _draw_precision(curve, replicas, night.threshold)]
    return Section("detection", "CEMP stars at the natural prior", lead, tables, pictures)


def bins(night: ScoredNight) -> Section:
    """Report recall and purity by kind of star."""
    scored, truth, weight = night.scored, night.is_cemp, night.weight
    is_alert = scored.p_cemp >= night.threshold
    natural = PRIOR / (1 - PRIOR) * weight[~truth].sum() / weight[truth].sum()
    tables, pictures = [], []
    for name, (label, edges) in _BINS.items():
        values = scored.truth[name].astype(np.float64)
        seen = values if name == "snr" else scored.value[:, {"teff": 0, "feh": 2, "cfe": 3}[name]]
        rows: list[list[Value]] = []
        for low, high in pairwise(edges):
            member = truth & (values >= low) & (values < high)
            said = is_alert & (seen >= low) & (seen < high)
            right = natural * weight[said & truth].sum()
            total = right + weight[said & ~truth].sum()
            rows.append(
                [
                    f"{low:g} to {high:g}",
                    share(is_alert[member]),
                    float(right / total) if total > 0 else float("nan"),
                    int(said.sum()),
                    int((said & ~truth).sum()),
                ]
            )
        columns = (label, "recall", "purity of alerts said to be there", "alerts", "of them false")
        tables.append(Table(f"By {label} at the card's threshold, natural prior", columns, rows))
        pictures.append(_draw_bins(label, rows))
    rows = []
    for name in SUBCLASSES:
        member = truth & (scored.truth["subclass"] == name)
        said = np.array([SUBCLASSES[i] for i in np.nan_to_num(scored.subclass_p, nan=0.0).argmax(axis=1)])
        enough = member & is_alert & (scored.truth["snr"] >= 20)
        rows.append([name, share(is_alert[member]), share(said[enough] == name)])
    tables.append(
        Table("By subclass", ("subclass", "recall", "named right, of alerts with S/N ≥ 20 per Å"), rows)
    )
    lead = (
        "Recall by true label; purity by what the alert itself says (S/N: measured). A purity from few false "
        "alarms is a rough one: their number stands beside it."
    )
    return Section("bins", "For which stars", lead, tables, pictures)


def calibration(night: ScoredNight) -> Section:
    """Report whether the probabilities are correct."""
    scored, truth, weight = night.scored, night.is_cemp, night.weight
    p = np.clip(scored.p_cemp, 1e-9, 1 - 1e-9)
    w = np.where(truth, PRIOR * weight / weight[truth].sum(), (1 - PRIOR) * weight / weight[~truth].sum())
    edges = np.array([0.0, 1e-4, 1e-3, 0.01, 0.03, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0 + 1e-9])
    place = np.searchsorted(edges, p, side="right") - 1
    rng = np.random.default_rng(5)
    rows: list[list[Value]] = []
    gap = 0.0
    for k in range(edges.size - 1):
        inside = np.flatnonzero(place == k)
        if inside.size == 0:
            continue
        said = float(np.average(p[inside], weights=w[inside]))
        true = float(np.average(truth[inside], weights=w[inside]))
        draws = [
            _ratio((w * truth)[inside] * times, w[inside] * times)
            for times in (rng.poisson(1.0, inside.size) for _ in range(_REPLICAS))
        ]
        gap += abs(said - true) * float(w[inside].sum()) * (edges[k] >= 0.01)
        rows.append([f"{edges[k]:g} to {min(edges[k + 1], 1):g}", said, _measured(true, draws, inside.size)])
    constant = PRIOR * (1 - PRIOR)
    skill = 1 - float(np.sum(w * (p - truth) ** 2)) / constant
    top = p > 0.5
    above = float(w[p >= 0.01].sum())
    lead = (
        f"Brier skill over a constant {PRIOR:g}: {skill:.3f}. Above p = 0.01 the probabilities are wrong by "
        f"{gap / above if above else float('nan'):.3f} on average (weighted by natural numbers). Of natural "
        f"sources with p > 0.5, {_ratio((w * truth)[top], w[top]):.3f} are CEMP stars; said was "
        f"{float(np.average(p[top], weights=w[top])) if top.any() else float('nan'):.3f}."
    )
    columns = ("p said", "mean p said", "share of CEMP stars")
    table = Table("Reliability at the natural prior", columns, rows)
    return Section("calibration", "Are the probabilities right?", lead, [table], [_draw_reliability(rows)])


def rivals(night: ScoredNight) -> Section:
    """Compare the networks with trees on line indices and an index cut."""
    truth, weight = night.is_cemp, night.weight
    scores = {"networks": night.scored.p_cemp, **night.rivals}
    rows: list[list[Value]] = []
    curves = {}
    for name, score in scores.items():
        curve = curves[name] = alarms(score, truth, weight, PRIOR)
        replicas = bootstrap_alarms(score, truth, weight, PRIOR, replicas=_REPLICAS)
        n = int(truth.sum())
        rows.append(
            [
                name,
                _measured(_auc(curve), [_auc(r) for r in replicas], len(truth)),
                *(_measured(curve.purity_at(r), [x.purity_at(r) for x in replicas], n) for r in RECALLS),
                _measured(
                    curve.recall_at_purity(_BAR_PURITY),
                    [x.recall_at_purity(_BAR_PURITY) for x in replicas],
                    n,
                ),
            ]
        )
    names = (
        "classifier",
        "AUC",
        *(f"purity at recall {r:g}" for r in RECALLS),
        f"recall at purity {_BAR_PURITY}",
    )
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axis = figure.subplots()
    for (name, curve), colour in zip(curves.items(), _COLOURS, strict=False):
        axis.plot(curve.recall, curve.purity, color=colour, label=name)
    axis.set(xlabel="recall", ylabel="purity at the natural prior", xlim=(0, 1), ylim=(0, 1.02))
    axis.legend()
    picture = draw(figure, "Networks, trees and index cut on the same spectra of the same night.")
    lead = (
        "The same spectra, after the same processors. The trees were fitted on nights of the same simulator, "
        "the networks on instruments and stars drawn at random: this comparison favours the trees."
    )
    return Section("rivals", "Trees and index cut", lead, [Table("Baselines", names, rows)], [picture])


def surveys(night: ScoredNight) -> Section:
    """Report the results survey by survey."""
    rows: list[list[Value]] = []
    for name in np.unique(night.scored.survey):
        inside = night.scored.survey == name
        score, truth, weight = night.scored.p_cemp[inside], night.is_cemp[inside], night.weight[inside]
        curve = alarms(score, truth, weight, PRIOR)
        replicas = bootstrap_alarms(score, truth, weight, PRIOR, replicas=_REPLICAS)
        found = _operating(score, truth, weight, night.threshold)
        n = int(truth.sum())
        rows.append(
            [
                str(name),
                _measured(found[0], [_at(r, night.threshold)[0] for r in replicas], n),
                _measured(found[1], [_at(r, night.threshold)[1] for r in replicas], n),
                _measured(curve.purity_at(RECALLS[0]), [r.purity_at(RECALLS[0]) for r in replicas], n),
                float(np.median(night.scored.truth["snr"][inside & night.is_cemp])),
            ]
        )
    columns = (
        "survey",
        "recall",
        "purity",
        f"purity at recall {RECALLS[0]}",
        "median S/N per Å of CEMP stars",
    )
    lead = (
        "Each survey's night by itself, at the one threshold of the card. The networks were not trained on "
        "any survey's profile but on instruments drawn at random, some of which resemble these; calibration "
        "and thresholds are from another night of these profiles."
    )
    return Section("surveys", "Survey by survey", lead, [Table("By survey, natural prior", columns, rows)])


def _operating(score: Array, truth: Array, weight: Array, threshold: float) -> tuple[float, float, float]:
    """Return recall, purity at the prior and the rate of false alarms."""
    said = score >= threshold
    recall, rate = _ratio(weight[said & truth], weight[truth]), _ratio(weight[said & ~truth], weight[~truth])
    right, wrong = PRIOR * recall, (1 - PRIOR) * rate
    return recall, right / (right + wrong) if right + wrong > 0 else float("nan"), rate


def _at(curve: Alarms, threshold: float) -> tuple[float, float, float]:
    k = int(np.searchsorted(-curve.score, -threshold, side="right")) - 1
    if k < 0:
        return 0.0, float("nan"), 0.0
    return float(curve.recall[k]), float(curve.purity[k]), float(curve.false_rate[k])


def _measured(value: float, replicas: Sequence[float], n: int) -> Measured:
    low, high = interval(np.array(replicas, dtype=np.float64))
    return Measured(float(value), low, high, n)


def _ratio(part: Array, whole: Array) -> float:
    return float(part.sum() / whole.sum()) if whole.sum() > 0 else float("nan")


def _auc(curve: Alarms) -> float:
    return float(np.trapezoid(np.append(0.0, curve.recall), np.append(0.0, curve.false_rate)))


def _strata_table(night: ScoredNight) -> Table:
    stratum = stratum_of_truth(night.scored.truth)
    logit = np.log(np.clip(night.scored.p_cemp, 1e-12, 1 - 1e-12))
    logit -= np.log1p(-np.clip(night.scored.p_cemp, 1e-12, 1 - 1e-12))
    level = float(np.log(night.threshold / (1 - night.threshold)))
    total = night.weight.sum()
    rows: list[list[Value]] = []
    for code, kind in enumerate(NIGHT_STRATA):
        inside = (stratum == code) & ~night.is_cemp
        n = int(inside.sum())
        if n == 0:
            continue
        natural = float(night.weight[inside].sum())
        false = int((inside & (night.scored.p_cemp >= night.threshold)).sum())
        rows.append(
            [
                kind.name,
                natural / total,
                kind.share,
                n,
                false,
                poisson_upper(false) / n * natural / total,
                tail_share(logit[inside], level) * natural / total,
                float(night.scored.p_cemp[inside].max()),
            ]
        )
    columns = (
        "not CEMP, but", "share of the sky", "kept", "spectra", "false alarms",
        "95 % limit of their rate by counting", "rate by extrapolation", "largest p",
    )  # fmt: skip
    caption = (
        "Where false alarms come from, at the card's threshold. Counting alone cannot exclude them among "
        "kinds of which few are kept; there a generalised Pareto tail of the logit says what to expect"
    )
    return Table(caption, columns, rows)


def _draw_roc(curve: Alarms, replicas: Sequence[Alarms]) -> ReportPicture:
    figure = Figure(figsize=(6.0, 4.4), layout="constrained")
    axis = figure.subplots()
    for one in replicas[:40]:
        axis.plot(np.maximum(one.false_rate, 1e-7), one.recall, color="#9ecae1", linewidth=0.5)
    axis.plot(np.maximum(curve.false_rate, 1e-7), curve.recall, color=_COLOURS[0])
    axis.set(xscale="log", xlim=(1e-7, 1), ylim=(0, 1), xlabel="rate of false alarms", ylabel="recall")
    return draw(figure, "ROC curve with natural weights; thin: resampled nights.")


def _draw_precision(curve: Alarms, replicas: Sequence[Alarms], threshold: float) -> ReportPicture:
    figure = Figure(figsize=(6.0, 4.4), layout="constrained")
    axis = figure.subplots()
    for one in replicas[:40]:
        axis.plot(one.recall, one.purity, color="#9ecae1", linewidth=0.5)
    axis.plot(curve.recall, curve.purity, color=_COLOURS[0])
    recall, purity, _ = _at(curve, threshold)
    axis.plot([recall], [purity], "o", color=_COLOURS[1], label="card's threshold")
    axis.plot([0.6, 0.75], [0.88, 0.88], "k+", markersize=12, label="bar and aim")
    axis.set(xlabel="recall", ylabel=f"purity at the prior {PRIOR:g}", xlim=(0, 1), ylim=(0, 1.02))
    axis.legend(loc="lower left")
    return draw(figure, "Purity against recall at the natural prior; thin: resampled nights.")


def _draw_bins(label: str, rows: Sequence[Sequence[Value]]) -> ReportPicture:
    figure = Figure(figsize=(5.0, 3.2), layout="constrained")
    axis = figure.subplots()
    x = np.arange(len(rows))
    recall = [row[1] for row in rows if isinstance(row[1], Measured)]
    value = np.array([r.value for r in recall])
    spread = np.array([[r.value - r.low, r.high - r.value] for r in recall]).T
    axis.errorbar(x - 0.06, value, yerr=spread, fmt="o", color=_COLOURS[0], label="recall")
    purity = [row[2] if isinstance(row[2], float) else np.nan for row in rows]
    axis.plot(x + 0.06, purity, "s", color=_COLOURS[1], label="purity")
    axis.set_xticks(x, [str(row[0]) for row in rows], rotation=25, fontsize=8)
    axis.set(xlabel=label, ylim=(-0.02, 1.05))
    axis.legend()
    return draw(figure, f"Recall and purity by {label}, 95 % intervals of the recall.")


def _draw_reliability(rows: Sequence[Sequence[Value]]) -> ReportPicture:
    figure = Figure(figsize=(5.2, 4.4), layout="constrained")
    axis = figure.subplots()
    said = np.array([row[1] for row in rows if isinstance(row[1], float)])
    true = [row[2] for row in rows if isinstance(row[2], Measured)]
    value = np.array([m.value for m in true])
    spread = np.clip(np.array([[m.value - m.low, m.high - m.value] for m in true]).T, 0.0, None)
    axis.errorbar(np.maximum(said, 1e-8), np.maximum(value, 1e-8), yerr=spread, fmt="o", color=_COLOURS[0])
    axis.plot([1e-8, 1], [1e-8, 1], color="#999999", linewidth=0.8)
    axis.set(xscale="log", yscale="log", xlim=(1e-8, 1.5), ylim=(1e-8, 1.5), xlabel="probability said")
    axis.set_ylabel("share of CEMP stars")
    return draw(figure, "Reliability at the natural prior, 95 % intervals.")
