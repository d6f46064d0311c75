"""Purity within bins of S/N: measured on a night that keeps the dangerous stars, and written on the card."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.stats import chi2

from cempstream.models.bundle import CARD_FILE, write_manifest
from cempstream.models.card import Card, PurityBinCard, PurityCard, PurityPointCard
from cempstream.models.evaluation.report import NoInput, Section, Table, Value
from cempstream.models.evaluation.scored import Scored
from cempstream.models.statistics import CONFIDENCE, Measured, effective_negatives, share
from cempstream.processors.grid import Array

#: Edges of the bins, S/N per Å.
BINS = {"mid": (0.0, 10.0, 20.0, 50.0), "low": (0.0, 2.5, 5.0, 10.0, 20.0, 50.0)}
#: Effective negatives below which a bin's figure is called a rough one.
ENOUGH = 3_500_000
#: Thresholds that are measured besides the card's; fixed, so that no luck of a choice is in their figures.
_THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
#: Purity that is as good as none.
_MEANS_NOTHING = 0.1
_LIMITS = "Purity within bins of S/N"
#: Share of the threshold from which a p came near it.
_NEAR = 0.25
#: Fewest CEMP stars of a bin.
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
        low, high = rate_interval(other, self.p[~self.is_cemp], threshold)
        return PurityPointCard(
            threshold=threshold,
            purity=round(_purity(prior, recall, rate), 4),
            low=round(_purity(prior, recall, high), 4),
            high=round(_purity(prior, recall, low), 4),
            recall=round(recall, 4),
            false_rate=float(f"{rate:.4g}"),
            effective_negatives=int(effective_negatives(other, alarm)),
        )


def rate_interval(weight: Array, p: Array, threshold: float) -> tuple[float, float]:
    """Return the 95 % interval of the rate of false alarms among weighted negatives.

    The gamma interval of Fay & Feuer (1997) for a weighted sum of Poisson counts. One more false alarm
    would weigh as much as the heaviest that came near the threshold, or as all do on average where none did.

    Parameters
    ----------
    weight, p
        Of all negatives, shape ``(n,)``.
    """
    chosen = weight[p >= threshold]
    total, square = float(chosen.sum()), float((chosen**2).sum())
    near = weight[p >= _NEAR * threshold]
    one = float(near.max() if near.size else weight.mean())
    tail = 0.5 * (1 - CONFIDENCE)
    low = square / (2 * total) * chi2.ppf(tail, 2 * total**2 / square) if chosen.size else 0.0
    more, more_square = total + one, square + one**2
    high = more_square / (2 * more) * chi2.ppf(1 - tail, 2 * more**2 / more_square)
    return float(low / weight.sum()), float(min(high / weight.sum(), 1.0))


def measure_purity(
    parts: Sequence[Scored], name: str, threshold: float, prior: float, most_contamination: float
) -> PurityCard:
    """Measure the card's threshold within each bin, and larger ones that are surely purer.

    Of the larger ones those are kept that had a false alarm, so that their purity is known from above too,
    and whose whole interval lies above the purity of the one before.

    Parameters
    ----------
    most_contamination
        Largest share of a neighbour's light with which a source may be a candidate.

    Raises
    ------
    NoInput
        The night is too small for any bin.
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
        for larger in _THRESHOLDS:
            point = rows.point(larger, prior) if larger > threshold else None
            if point is not None and point.false_rate > 0 and point.low > points[-1].purity:
                points.append(point)
        bins.append(PurityBinCard(snr_from=low, points=tuple(points)))
    if not bins:
        raise NoInput(f"a larger night: no bin of S/N holds {_FEWEST} CEMP stars")
    natural = float(night.truth["weight"].sum())
    return PurityCard(
        prior=prior,
        snr_per_aa=round(snr_per_aa, 3),
        sample=f"{len(night):,} simulated spectra that stand for {natural:,.0f} sources of "
        f"{', '.join(np.unique(night.survey).tolist())}, single spectra, natural mix",
        bins=tuple(bins),
    )


def add_purity(folder: Path, measured: PurityCard) -> Card:
    """Write the purity into a bundle's card, with its limits in words, and into the manifest.

    Parameters
    ----------
    folder
        Of a bundle; a version that is served is never changed, so take a copy under a new version.
    """
    path = folder / CARD_FILE
    card = Card.model_validate_json(path.read_text(encoding="utf-8"))
    kept = tuple(line for line in card.weaknesses if not line.startswith(_LIMITS))
    card = card.model_copy(update={"purity": measured, "weaknesses": (*kept, _limits(measured))})
    text = json.dumps(card.model_dump(mode="json"), indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    write_manifest(folder)
    return card


def _limits(measured: PurityCard) -> str:
    """Say in words which bins rest on few negatives, and where p means nothing for an alert."""
    first = {one.snr_from: one.points[0] for one in measured.bins}
    few = [f"{low:g}" for low, point in first.items() if point.effective_negatives < ENOUGH]
    void = [f"{low:g}" for low, point in first.items() if point.low < _MEANS_NOTHING]
    bins = ", ".join(few)
    said = f"{_LIMITS} rests on fewer than {ENOUGH:,} effective negatives in the bins from {bins} per Å"
    if void:
        said += f"; from {', '.join(void)} it may be below {_MEANS_NOTHING:.0%}: p means nothing there"
    return f"{said}."


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
        "of a bin is the card's; larger ones are kept where they are surely purer than the one before. "
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
