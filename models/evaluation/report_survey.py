"""Sections on stars seen again: what visits and gratings bring at the natural prior."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cempstream.models.evaluation.report import Section, Table, Value
from cempstream.models.evaluation.report_detection import PRIOR
from cempstream.models.evaluation.report_purity import rate_interval
from cempstream.models.evaluation.scored import Scored
from cempstream.models.evaluation.survey_night import SurveyNight
from cempstream.models.statistics import (
    Measured,
    alarms,
    bootstrap_alarms,
    effective_negatives,
    interval,
    share,
)
from cempstream.processors.grid import Array
from cempstream.processors.purity import PurityTable

_RECALL, _PURITY = 0.6, 0.88
_FEWEST = 10
_REPLICAS = 100
_SNR = ((0.0, 10.0), (10.0, 20.0), (20.0, 50.0), (50.0, np.inf), (20.0, np.inf))
_WAYS = ("first grating", "all gratings")


def survey(night: SurveyNight, n_gratings: int, most_contamination: float) -> Table:
    """Return purity and recall of clean stars by S/N of the sum and number of visits."""
    is_star = np.isfinite(night.truth["teff"])
    rows: list[list[Value]] = []
    for low, high in _SNR:
        for k, visits in enumerate(night.visits.tolist()):
            for bands in range(min(n_gratings, 2)):
                inside = is_star & (night.snr_aa[:, k] >= low) & (night.snr_aa[:, k] < high)
                inside &= night.light[:, k, bands] <= most_contamination
                if not inside.any():
                    continue
                name = f"{low:g} to {high:g}" if np.isfinite(high) else f"{low:g} and more"
                found = _curve(night.p_cemp[inside, k, bands], night.truth[inside])
                rows.append([name, visits, _WAYS[bands], *found])
    columns = ("S/N per Å of the sum", "visits", "spectra", "purity at recall 0.6",
               "effective negatives", "recall at purity 0.88")  # fmt: skip
    return Table("Clean stars, natural prior", columns, rows)


def one_visit(night: Scored, most_contamination: float) -> Table:
    """Return the same of single spectra of a larger night: purity and recall of clean stars by S/N."""
    clean = night.is_star & (night.neighbours_light <= most_contamination)
    rows: list[list[Value]] = []
    for low, high in _SNR:
        inside = clean & (night.truth["snr"] >= low) & (night.truth["snr"] < high)
        name = f"{low:g} to {high:g}" if np.isfinite(high) else f"{low:g} and more"
        rows.append([name, *_curve(night.p_cemp[inside], night.truth[inside])])
    columns = ("S/N per Å", "purity at recall 0.6", "effective negatives", "recall at purity 0.88")
    return Table("Clean stars, single spectra of the night for purity, natural prior", columns, rows)


def _curve(p: Array, truth: Array) -> list[Value]:
    is_cemp, weight = truth["is_cemp"], truth["weight"]
    n = int(is_cemp.sum())
    if n < _FEWEST or n == len(p):
        return [None, None, None]
    curve = alarms(p, is_cemp, weight, PRIOR)
    replicas = bootstrap_alarms(p, is_cemp, weight, PRIOR, replicas=_REPLICAS)
    threshold = curve.threshold_at(_RECALL)
    _, worst = rate_interval(weight[~is_cemp], p[~is_cemp], threshold)
    low, high = interval(np.array([r.purity_at(_RECALL) for r in replicas]))
    low = min(low, PRIOR * _RECALL / (PRIOR * _RECALL + (1 - PRIOR) * worst))
    at_recall = Measured(curve.purity_at(_RECALL), low, high, n)
    ends = interval(np.array([r.recall_at_purity(_PURITY) for r in replicas]))
    at_purity = Measured(curve.recall_at_purity(_PURITY), *ends, n)
    return [
        at_recall,
        int(effective_negatives(weight[~is_cemp], (p >= threshold)[~is_cemp])),
        at_purity,
    ]


def published(
    night: SurveyNight, threshold: float, table: PurityTable | None, asked: Sequence[float], bands: int
) -> Table:
    """Return purity and recall of the alerts of the whole night, all sources and S/N.

    Parameters
    ----------
    asked
        Least purities of the policy.
    bands
        0: the first grating alone, 1: all of them.
    """
    rows: list[list[Value]] = []
    is_cemp, weight = night.truth["is_cemp"], night.truth["weight"]
    for least in asked:
        for k, visits in enumerate(night.visits.tolist()):
            p = night.p_cemp[:, k, bands]
            p = np.where((p >= threshold) & ~night.is_candidate[:, k, bands], 0.0, p)  # mixed light
            limit = np.full(len(p), threshold)
            if table is not None:
                rules = table.rules(PRIOR, threshold, least)
                limit, _, is_trusted = rules(night.snr[:, k, bands])
                p = np.where(is_trusted, p, 0.0)
            # Over its own threshold every source stands on the same scale.
            margin = p / limit
            recall = share((margin >= 1)[is_cemp])
            low, high = rate_interval(weight[~is_cemp], margin[~is_cemp], 1.0)
            rate = float(weight[~is_cemp & (margin >= 1)].sum() / weight[~is_cemp].sum())
            right = PRIOR * recall.value
            pure, worst, best = (
                right / (right + (1 - PRIOR) * r) if right + r > 0 else 0.0 for r in (rate, high, low)
            )
            n_wrong = int(np.count_nonzero(~is_cemp & (margin >= 1)))
            rows.append([least, visits, Measured(pure, worst, best, n_wrong), recall])
    columns = ("least purity asked for", "visits", "purity; n: false alarms simulated", "recall")
    return Table(f"Alerts of the whole night, all sources, all S/N, {_WAYS[bands]}", columns, rows)


def survey_section(night: SurveyNight, tables: Sequence[Table], sample: str) -> Section:
    """Return the section of a survey's tables."""
    truth = night.truth
    lead = (
        f"{len(truth):,} sources, {int(truth['is_cemp'].sum())} of them CEMP stars, that stand for "
        f"{truth['weight'].sum():,.0f} in the natural mix, {sample}, each observed again and again; every "
        "spectrum was scored and folded by the functions of the stream (`processors.stars`), without Kafka. "
        "No spectrum of a clean star has more of a neighbour's light than the policy allows. "
        "Intervals are 95 %; the lower end of a purity counts one more false alarm."
    )
    return Section("survey", "Stars seen again", lead, tables)
