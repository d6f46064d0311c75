"""Rates and errors of weighted samples, always with their intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta, chi2, genpareto

from cempstream.processors.grid import Array

#: Confidence level of every interval in a report.
CONFIDENCE = 0.95
_REPLICAS = 200


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure with its interval and the number of spectra it is based on."""

    value: float
    low: float
    high: float
    n: int
    unit: str = ""

    @property
    def text(self) -> str:
        """The figure for a person."""
        unit = f" {self.unit}" if self.unit else ""
        if not np.isfinite(self.value):
            return f"– (n = {self.n})"
        return f"{_short(self.value)}{unit} ({_short(self.low)} to {_short(self.high)}; n = {self.n:,})"

    @property
    def record(self) -> dict[str, float | int | str | None]:
        """The figure for a machine; null where it is not defined."""
        numbers = {name: _or_none(getattr(self, name)) for name in ("value", "low", "high")}
        return {**numbers, "n": self.n, "unit": self.unit}


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _short(value: float) -> str:
    if value != 0 and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.2g}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"


def share(claims: Array) -> Measured:
    """Return a share with the interval of Clopper and Pearson (1934)."""
    n, k = int(claims.size), int(np.count_nonzero(claims))
    if n == 0:
        return Measured(float("nan"), float("nan"), float("nan"), 0)
    tail = 0.5 * (1 - CONFIDENCE)
    low = float(beta.ppf(tail, k, n - k + 1)) if k else 0.0
    high = float(beta.ppf(1 - tail, k + 1, n - k)) if k < n else 1.0
    return Measured(k / n, low, high, n)


def statistic(
    function: Callable[..., float], *columns: Array, seed: int = 0, unit: str = "", star: Array | None = None
) -> Measured:
    """Return a statistic of columns with its bootstrap interval, all spectra of a star together."""
    n = len(columns[0])
    if n < 2:
        return Measured(float("nan"), float("nan"), float("nan"), n, unit)
    rng = np.random.default_rng(seed)
    _, group = np.unique(np.arange(n) if star is None else star, return_inverse=True)
    counts: Array = np.bincount(group)
    order = np.argsort(group, kind="stable")
    members: list[Array] = np.split(order, np.cumsum(counts)[:-1]) if counts.max() > 1 else []
    replicas = np.empty(_REPLICAS)
    for i in range(_REPLICAS):
        chosen = rng.integers(0, counts.size, counts.size)
        rows = np.concatenate([members[k] for k in chosen]) if members else chosen
        replicas[i] = function(*(column[rows] for column in columns))
    tail = 0.5 * (1 - CONFIDENCE)
    low, high = np.nanquantile(replicas, [tail, 1 - tail])
    return Measured(float(function(*columns)), float(low), float(high), n, unit)


@dataclass(frozen=True, slots=True, eq=False)
class Alarms:
    """Recall and purity at every threshold, for a given prior of CEMP stars.

    Attributes
    ----------
    score
        Thresholds, decreasing; shape ``(n,)``.
    recall, false_rate
        Share of the CEMP stars, and of everything else, at or above each threshold.
    """

    score: Array
    recall: Array
    false_rate: Array
    prior: float

    @property
    def purity(self) -> Array:
        """Share of the alarms that are CEMP stars, shape ``(n,)``."""
        right, wrong = self.prior * self.recall, (1 - self.prior) * self.false_rate
        return np.asarray(right / np.maximum(right + wrong, 1e-300))

    def threshold_at(self, recall: float) -> float:
        """Return the highest threshold that reaches a recall."""
        return float(self.score[self._place(recall)])

    def purity_at(self, recall: float) -> float:
        """Return the purity at the highest threshold that reaches a recall."""
        return float(self.purity[self._place(recall)])

    def _place(self, recall: float) -> int:
        return min(int(np.searchsorted(self.recall, recall)), self.score.size - 1)

    def recall_at_purity(self, purity: float) -> float:
        """Return the largest recall at which this purity is reached; 0 if it never is."""
        enough = np.flatnonzero(self.purity >= purity)
        return float(self.recall[enough[-1]]) if enough.size else 0.0


def alarms(score: Array, is_cemp: Array, weight: Array, prior: float) -> Alarms:
    """Sort a weighted sample by score; ties share a threshold."""
    from sklearn.metrics import roc_curve

    false_rate, recall, threshold = roc_curve(is_cemp, score, sample_weight=weight, drop_intermediate=False)
    return Alarms(threshold[1:], recall[1:], false_rate[1:], prior)


def bootstrap_alarms(
    score: Array, is_cemp: Array, weight: Array, prior: float, *, seed: int = 0, replicas: int = _REPLICAS
) -> list[Alarms]:
    """Return the curves of resampled nights, in which every source is counted a Poisson number of times.

    Nights without a CEMP star, or without anything else, are left out.
    """
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(replicas):
        times = rng.poisson(1.0, score.size)
        kept = times > 0
        if not is_cemp[kept].any() or is_cemp[kept].all():
            continue
        found.append(alarms(score[kept], is_cemp[kept], (weight * times)[kept], prior))
    return found


def interval(values: Array) -> tuple[float, float]:
    """Return the central interval of replicas."""
    tail = 0.5 * (1 - CONFIDENCE)
    if not np.isfinite(values).any():
        return float("nan"), float("nan")
    low, high = np.nanquantile(values, [tail, 1 - tail])
    return float(low), float(high)


def effective_negatives(weight: Array, is_alarm: Array) -> float:
    """Return how many unweighted negatives would give the rate of false alarms with the same precision.

    Of N natural negatives the rate f has the variance f / N (Poisson); of the weighted ones
    Σw² / W² over the false alarms. Equal variances at N = W Σw / Σw²: W over the mean weight of a false
    alarm. Without any false alarm the mean weight of all is taken, which is a lower limit.

    Parameters
    ----------
    weight
        Of all negatives, shape ``(n,)``; W is their sum.
    is_alarm
        Which of them are false alarms.
    """
    chosen = weight[is_alarm] if is_alarm.any() else weight
    return float(weight.sum() * chosen.sum() / (chosen**2).sum())


def poisson_upper(k: int) -> float:
    """Return the 95 % upper limit of a Poisson mean of which k were counted."""
    return float(0.5 * chi2.ppf(CONFIDENCE, 2 * (k + 1)))


def tail_share(logit: Array, threshold: float, *, share_in_tail: float = 0.05, fewest: int = 40) -> float:
    """Extrapolate the share of a sample beyond a threshold from a generalised Pareto tail.

    An order of magnitude for kinds without any false alarm, where counting says only "less than 3 in n"
    (Pickands 1975). NaN where the tail is too thin to fit; the counted share where the threshold lies inside
    the sample's own tail.
    """
    n = logit.size
    start = float(np.quantile(logit, 1 - share_in_tail)) if n else float("nan")
    excess = logit[logit > start] - start
    if threshold <= start:
        return float((logit >= threshold).mean())
    if excess.size < fewest:
        return float("nan")
    shape, _, scale = genpareto.fit(excess, floc=0.0)
    return float(excess.size / n * genpareto.sf(threshold - start, shape, scale=scale))
