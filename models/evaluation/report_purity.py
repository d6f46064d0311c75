"""Purity within bins of S/N: measured on a night that keeps the dangerous stars, and written on the card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import chi2

from cempstream.models.card import PurityBinCard, PurityCard, PurityPointCard
from cempstream.models.evaluation.report import Section, Table, Value
from cempstream.models.evaluation.scored import Scored
from cempstream.models.statistics import CONFIDENCE, Measured, effective_negatives, share
from cempstream.processors.grid import Array

#: Edges of the bins, S/N per Å.
BINS = {"mid": (0.0, 10.0, 20.0, 50.0), "low": (0.0, 2.5, 5.0, 10.0, 20.0, 50.0)}
#: Effective negatives below which a bin's figure is called a rough one.
ENOUGH = 3_500_000
#: Purities for which a threshold is looked for besides the card's.
_WANTED = (0.5, 0.8, 0.9)
#: Fewest CEMP stars of a bin, and fewest of them found at a threshold that is looked for.
_FEWEST = 10


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Sources of a bin: ``p_cemp``, 0 for those of which there is no alert whatever it is."""

    p: Array = field(repr=False)
    is_cemp: Array = field(repr=False)
    weight: Array = field(repr=False)

    def point(self, threshold: float, prior: float) -> PurityPointCard | None:
        """Measure a threshold; None where there is no other source to tell the rate of false alarms."""
        said = self.p >= threshold
        of_cemp = self.weight[self.is_cemp]
        other = self.weight[~self.is_cemp]
        alarm = said[~self.is_cemp]
        if not of_cemp.size or not other.size:
            return None
        recall = float(self.weight[self.is_cemp & said].sum() / of_cemp.sum())
        rate = float(other[alarm].sum() / other.sum())
        low, high = rate_interval(other, alarm)
        return PurityPointCard(
            threshold=threshold,
            purity=round(_purity(prior, recall, rate), 4),
            low=round(_purity(prior, recall, high), 4),
            high=round(_purity(prior, recall, low), 4),
            recall=round(recall, 4),
            false_rate=float(f"{rate:.4g}"),
            effective_negatives=int(effective_negatives(other, alarm)),
        )


def rate_interval(weight: Array, is_alarm: Array) -> tuple[float, float]:
    """Return the 95 % interval of the rate of false alarms among weighted negatives.

    The gamma interval of Fay & Feuer (1997) for a weighted sum of Poisson counts. One more false alarm
    would have the mean weight of those that there are, or of all negatives where there is none.

    Parameters
    ----------
    weight
        Of all negatives, shape ``(n,)``.
    is_alarm
        Which of them are false alarms.
    """
    chosen = weight[is_alarm]
    total, square = float(chosen.sum()), float((chosen**2).sum())
    one = float(chosen.mean() if chosen.size else weight.mean())
    tail = 0.5 * (1 - CONFIDENCE)
    low = square / (2 * total) * chi2.ppf(tail, 2 * total**2 / square) if chosen.size else 0.0
    more, more_square = total + one, square + one**2
    high = more_square / (2 * more) * chi2.ppf(1 - tail, 2 * more**2 / more_square)
    return float(low / weight.sum()), float(min(high / weight.sum(), 1.0))


def measure_purity(
    parts: Sequence[Scored], name: str, threshold: float, prior: float, most_contamination: float
) -> PurityCard:
    """Measure the card's threshold within each bin, and thresholds of larger purity.

    The latter are chosen on the even rows and measured on the odd ones, so that no luck of the choice is in
    their figures.

    Parameters
    ----------
    most_contamination
        Largest share of a neighbour's light with which a source may be a candidate.
    """
    night = Scored.joined(parts)
    snr_per_aa = float(np.median(night.snr[night.is_star] / night.truth["snr"][night.is_star]))
    snr = np.nan_to_num(night.snr / snr_per_aa, nan=0.0)
    p = _sendable(night, most_contamination)
    edges = BINS[name]
    bins = []
    for low, high in zip(edges, (*edges[1:], np.inf), strict=True):
        inside = np.flatnonzero((snr >= low) & (snr < high))
        rows = _rows(night, p, inside)
        if np.count_nonzero(rows.is_cemp) < _FEWEST:
            continue
        first = rows.point(threshold, prior)
        if first is None:
            continue
        points = [first]
        choice, measured = _rows(night, p, inside[::2]), _rows(night, p, inside[1::2])
        for wanted in _WANTED:
            found = _threshold_for(choice, wanted, prior)
            if found is None or found <= points[-1].threshold:
                continue
            point = measured.point(found, prior)
            if point is not None and point.recall < points[-1].recall:
                points.append(point)
        bins.append(PurityBinCard(snr_from=low, points=tuple(points)))
    natural = float(night.truth["weight"].sum())
    return PurityCard(
        prior=prior,
        snr_per_aa=round(snr_per_aa, 3),
        sample=f"{len(night):,} simulated spectra that stand for {natural:,.0f} sources of "
        f"{', '.join(np.unique(night.survey).tolist())}, single spectra, natural mix",
        bins=tuple(bins),
    )


def purity(parts: Sequence[Scored], measured: PurityCard, most_contamination: float) -> Section:
    """Report the purity within bins of S/N, as it stands on the card."""
    night = Scored.joined(parts)
    snr = night.snr / measured.snr_per_aa
    p = _sendable(night, most_contamination)
    ends = [one.snr_from for one in measured.bins[1:]]
    rows: list[list[Value]] = []
    for one, end in zip(measured.bins, [*ends, np.inf], strict=True):
        inside = (snr >= one.snr_from) & (snr < end) & night.truth["is_cemp"]
        for point in one.points:
            found = share(p[inside] >= point.threshold)
            rows.append(
                [
                    f"{one.snr_from:g} to {end:g}" if np.isfinite(end) else f"{one.snr_from:g} and more",
                    point.threshold,
                    Measured(point.purity, point.low, point.high, point.effective_negatives),
                    Measured(point.recall, found.low, found.high, found.n),
                    point.false_rate,
                    point.effective_negatives,
                    point.effective_negatives >= ENOUGH,
                ]
            )
    rough = sum(not row[-1] for row in rows)
    lead = (
        f"{measured.sample}. Sources with more of a neighbour's light than the policy allows are no alerts, "
        f"as in the stream. S/N per Å is the result's S/N over {measured.snr_per_aa:g}. The first threshold "
        "of a bin is the card's; the others were chosen on half of the spectra and measured on the other. "
        f"{rough} of {len(rows)} figures rest on fewer than {ENOUGH:,} effective negatives. Intervals by Fay "
        "& Feuer (1997); n of a purity is its effective negatives."
    )
    columns = (
        "S/N per Å", "p ≥", "purity", "recall", "rate of false alarms", "effective negatives",
        f"at least {ENOUGH:,}",
    )  # fmt: skip
    return Section("purity", "Purity within bins of S/N", lead, [Table("Natural prior", columns, rows)])


def _sendable(night: Scored, most_contamination: float) -> Array:
    """Return ``p_cemp``, 0 where mixed light forbids an alert."""
    return np.where(night.neighbours_light <= most_contamination, night.p_cemp, 0.0)


def _rows(night: Scored, p: Array, rows: Array) -> _Rows:
    return _Rows(p[rows], night.truth["is_cemp"][rows], night.truth["weight"][rows])


def _purity(prior: float, recall: float, rate: float) -> float:
    right, wrong = prior * recall, (1 - prior) * rate
    return right / (right + wrong) if right + wrong > 0 else 0.0


def _threshold_for(rows: _Rows, wanted: float, prior: float) -> float | None:
    """Return the smallest threshold of a purity, one false alarm of mean weight added; None without one."""
    order = np.argsort(-rows.p, kind="stable")
    is_cemp, weight = rows.is_cemp[order], rows.weight[order]
    found, wrong = np.cumsum(weight * is_cemp), np.cumsum(weight * ~is_cemp)
    n_found, n_wrong = np.cumsum(is_cemp), np.cumsum(~is_cemp)
    recall = found / weight[is_cemp].sum()
    rate = (wrong + wrong / np.maximum(n_wrong, 1)) / weight[~is_cemp].sum()
    pure = prior * recall / np.maximum(prior * recall + (1 - prior) * rate, 1e-300)
    enough = np.flatnonzero((pure >= wanted) & (n_found >= _FEWEST) & is_cemp)
    return float(rows.p[order][enough[-1]]) if enough.size else None
