"""Sections on parameters: sizes of errors, coverage of the intervals, and dependence on data quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure

from cempstream.models.evaluation.report import ReportPicture, Section, Table, Value, draw
from cempstream.models.evaluation.scored import Scored
from cempstream.models.statistics import Measured, share, statistic
from cempstream.processors.grid import Array
from cempstream.processors.outcome import PARAMETERS, SUBCLASSES

_UNITS = ("K", "dex", "dex", "dex", "dex", "dex")
_TITLES = ("Teff", "log g", "[Fe/H]", "[C/Fe]", "A(C)", "[Ba/Fe]")
_FEH, _CFE = PARAMETERS.index("feh"), PARAMETERS.index("cfe")
_SNR_BINS = (5.0, 10.0, 20.0, 40.0, 1000.0)
_FEH_BINS = (-4.01, -3.0, -2.0, -1.0, 0.51)
_FEWEST = 30
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00")


def errors(scored: Scored) -> Section:
    """Report the errors of each parameter on a night's stars with S/N ≥ 5, by S/N and [Fe/H]."""
    truth, found = scored.parameters, scored.value.astype(np.float64)
    used = scored.is_star & scored.is_scored & (scored.truth["snr"] >= _SNR_BINS[0])
    tables, rows = [], []
    for k, title in enumerate(_TITLES):
        rows.append([title, *_summary(found[used, k] - truth[used, k], _UNITS[k])])
    columns = ("parameter", "MAE", "RMSE", "bias (mean)", "scatter (robust 1σ)")
    tables.append(Table("All stars of the night as drawn (rich in metal-poor ones), S/N ≥ 5", columns, rows))
    for k, title in enumerate(_TITLES):
        rows = []
        for name, inside in _cells(scored, used):
            defined = inside & np.isfinite(found[:, k]) & np.isfinite(truth[:, k])
            if defined.sum() < _FEWEST:
                continue
            error = found[defined, k] - truth[defined, k]
            rows.append([name, *_summary(error, _UNITS[k])])
        if rows:
            tables.append(Table(f"{title} by S/N per Å and true [Fe/H]", ("bin", *columns[1:]), rows))
    lead = (
        "Stars of the simulated night after all of the service's processors: velocity measured, faults of "
        "the surveys in. Rows are not weighted: within a bin the kinds that resemble CEMP stars are more "
        "numerous than in the sky. The spectra come from the emulator; its error is not included in these "
        "figures, but in those of the library's stars."
    )
    return Section("parameters", "Parameters", lead, tables, [_draw_pairs(truth, found, used)])


def coverage(scored: Scored) -> Section:
    """Report whether 68 % intervals contain 68 % of the stars, bin by bin."""
    truth = scored.parameters
    inside_it = (truth >= scored.lo) & (truth <= scored.hi)
    used = scored.is_star & scored.is_scored & (scored.truth["snr"] >= _SNR_BINS[0])
    rows: list[list[Value]] = []
    picture_rows: list[tuple[str, list[float]]] = []
    for name, inside in [("all", used), *_cells(scored, used)]:
        if inside.sum() < _FEWEST:
            continue
        values = [
            share(inside_it[inside & np.isfinite(truth[:, k]) & np.isfinite(scored.value[:, k]), k])
            for k in range(len(_TITLES))
        ]
        rows.append([name, *values])
        picture_rows.append((name, [v.value for v in values]))
    lead = (
        "Share of stars whose true value lies in the 68 % interval; bar: 68 ± 4 %. Intervals are those of "
        "Clopper and Pearson, 95 %."
    )
    table = Table("Coverage by S/N per Å and true [Fe/H]", ("bin", *_TITLES), rows)
    return Section("coverage", "Interval coverage", lead, [table], [_draw_coverage(picture_rows)])


def samples(named: Mapping[str, Scored], key: str, title: str, lead: str) -> Section:
    """Report errors and recall for samples of the same stars observed differently."""
    rows: list[list[Value]] = []
    for name, scored in named.items():
        rows.append([name, *sample_figures(scored).values()])
    columns = ("sample", *next(iter(map(sample_figures, named.values()))))
    return Section(key, title, lead, [Table(title, columns, rows)], [_draw_trend(named)])


def sample_figures(scored: Scored) -> dict[str, Value]:
    """Return the headline figures of a sample, each over the stars for which it is defined."""
    truth, found = scored.parameters, scored.value.astype(np.float64)
    good = scored.is_scored
    poor, cemp = good & (truth[:, _FEH] < -1.0), good & scored.truth["is_cemp"]
    star = scored.truth["object_id"]
    covered = (truth[:, _FEH] >= scored.lo[:, _FEH]) & (truth[:, _FEH] <= scored.hi[:, _FEH])
    return {
        "Teff MAE": _mae(found[good, 0] - truth[good, 0], "K", star[good]),
        "log g MAE": _mae(found[good, 1] - truth[good, 1], "dex", star[good]),
        "[Fe/H] MAE, metal-poor": _mae(found[poor, _FEH] - truth[poor, _FEH], "dex", star[poor]),
        "[C/Fe] MAE, CEMP": _mae(found[cemp, _CFE] - truth[cemp, _CFE], "dex", star[cemp]),
        "[Fe/H] in its interval": share(covered[good]),
        "no against s, balanced accuracy": balanced_accuracy(scored),
        "AUC": statistic(_auc, scored.p_cemp, scored.truth["is_cemp"], star=star),
        "[Fe/H] bias, metal-poor": _bias(found[poor, _FEH] - truth[poor, _FEH], "dex", star[poor]),
    }


def balanced_accuracy(scored: Scored) -> Measured:
    """Return the mean of the shares of CEMP-no and of CEMP-s stars that are classified correctly."""
    true = scored.truth["subclass"]
    rows = scored.is_scored & np.isin(true, SUBCLASSES[:2])
    is_s = true[rows] == SUBCLASSES[1]
    says_s = scored.subclass_p[rows, 1] > scored.subclass_p[rows, 0]
    if is_s.sum() < 5 or (~is_s).sum() < 5:
        return Measured(float("nan"), float("nan"), float("nan"), int(is_s.size))
    return statistic(_balanced, says_s, is_s, star=scored.truth["object_id"][rows])


def _balanced(says: Array, true: Array) -> float:
    if not true.any() or true.all():
        return float("nan")
    return 0.5 * (float(np.mean(says[true])) + float(np.mean(~says[~true])))


def _auc(score: Array, truth: Array) -> float:
    from sklearn.metrics import roc_auc_score

    if truth.all() or not truth.any():
        return float("nan")
    return float(roc_auc_score(truth, score))


def _mae(error: Array, unit: str, star: Array | None = None) -> Measured:
    good = np.isfinite(error)
    named = None if star is None else star[good]
    return statistic(lambda e: float(np.mean(np.abs(e))), error[good], unit=unit, star=named)


def _bias(error: Array, unit: str, star: Array) -> Measured:
    good = np.isfinite(error)
    return statistic(lambda e: float(np.mean(e)), error[good], unit=unit, star=star[good])


def _summary(error: Array, unit: str) -> list[Value]:
    error = error[np.isfinite(error)]
    return [
        _mae(error, unit),
        statistic(lambda e: float(np.sqrt(np.mean(e**2))), error, unit=unit),
        statistic(lambda e: float(np.mean(e)), error, unit=unit),
        statistic(_robust_sigma, error, unit=unit),
    ]


def _robust_sigma(error: Array) -> float:
    low, high = np.quantile(error, [0.16, 0.84])
    return float(0.5 * (high - low))


def _cells(scored: Scored, used: Array) -> list[tuple[str, Array]]:
    feh, snr = scored.truth["feh"], scored.truth["snr"]
    cells = []
    for low, high in pairwise(_SNR_BINS):
        for poor, rich in pairwise(_FEH_BINS):
            inside = used & (snr >= low) & (snr < high) & (feh >= poor) & (feh < rich)
            upper = "" if high >= 1000 else f"–{high:g}"
            at_least = "≥ " if high >= 1000 else ""
            cells.append((f"S/N {at_least}{low:g}{upper}, [Fe/H] {poor:.0f} to {rich:.1f}", inside))
    return cells


def _draw_pairs(truth: Array, found: Array, used: Array) -> ReportPicture:
    figure = Figure(figsize=(12, 7.4), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    rng = np.random.default_rng(0)
    rows = np.flatnonzero(used)
    rows = rng.choice(rows, min(rows.size, 3000), replace=False)
    for k, axis in enumerate(axes):
        axis.plot(truth[rows, k], found[rows, k], ".", markersize=1.6, color=_COLOURS[0], alpha=0.4)
        finite = truth[rows, k][np.isfinite(truth[rows, k])]
        ends = [finite.min(), finite.max()]
        axis.plot(ends, ends, color="#D55E00", linewidth=0.9)
        axis.set(xlabel=f"true {_TITLES[k]}", ylabel=f"measured {_TITLES[k]}")
    return draw(figure, "Measured against true parameters, stars of the night with S/N ≥ 5 per Å.")


def _draw_coverage(rows: Sequence[tuple[str, list[float]]]) -> ReportPicture:
    figure = Figure(figsize=(8.4, 0.34 * len(rows) + 1.4), layout="constrained")
    axis = figure.subplots()
    y = np.arange(len(rows))[::-1]
    axis.axvspan(0.64, 0.72, color="#e8f1f8")
    for k, marker in enumerate("osD^vx"):
        axis.plot([row[1][k] for row in rows], y, marker, label=_TITLES[k], markersize=5)
    axis.set_yticks(y, [row[0] for row in rows], fontsize=8)
    axis.set(xlabel="share in the 68 % interval", xlim=(0.3, 1.0))
    axis.legend(fontsize=8, loc="lower left")
    return draw(figure, "Coverage by bin; shaded: the bar of 68 ± 4 %.")


def _draw_trend(named: Mapping[str, Scored]) -> ReportPicture:
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    axes = figure.subplots(1, 2)
    x = np.arange(len(named))
    figures = [sample_figures(scored) for scored in named.values()]
    for axis, names in zip(axes, (("[Fe/H] MAE, metal-poor", "[C/Fe] MAE, CEMP"), ("AUC",)), strict=True):
        for name, colour in zip(names, _COLOURS, strict=False):
            values = [f[name] for f in figures]
            measured = [v for v in values if isinstance(v, Measured)]
            middle = np.array([m.value for m in measured])
            spread = np.clip([[m.value - m.low, m.high - m.value] for m in measured], 0, None).T
            axis.errorbar(x, middle, yerr=spread, fmt="o-", color=colour, label=name)
        axis.set_xticks(x, list(named), rotation=25, fontsize=8)
        axis.legend(fontsize=8)
    axes[0].set(ylabel="dex", ylim=(0, None))
    return draw(figure, "Errors and AUC, 95 % intervals.")
