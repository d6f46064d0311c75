"""What a plan is good for: stars confirmed per hour, against other ways to use the same hours.

Measured on stars whose truth is known. Each simulated night has alerts of its own, drawn without replacement,
so that nights are independent; a date of its own within a year; and the same hours, exposure times and limits
for every way.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from cempstream.errors import FixableError
from cempstream.plain import shown
from cempstream.processors.grid import Array
from cempstream.schemas.alert import Alert
from cempstream.streams.observing.candidates import Candidate, candidates_of
from cempstream.streams.observing.exposure_time import Question
from cempstream.streams.observing.instrument import Instrument
from cempstream.streams.observing.night import SLOT_S, TWILIGHT_DEG, Night, NoNight, plan_night
from cempstream.streams.observing.night_costs import Costs, night_costs
from cempstream.streams.observing.plan import Plan, best_plan, walk
from cempstream.streams.observing.sites import Site
from cempstream.streams.observing.star_value import EXTREME_FEH, Weights, worth
from cempstream.streams.observing.target_list import check_question

#: Ways to use the hours, with what they are called in a report.
WAYS = {
    "plan": "the plan",
    "count": "the plan, all CEMP stars alike",
    "by_rate": "down the list by value per minute",
    "by_p": "down the list by p_cemp",
    "random": "at random",
}

#: What is counted, with what it is called.
COUNTS = {
    "cemp": "CEMP stars per hour",
    "emp": "of them with [Fe/H] < −3",
    "stars": "stars per hour, right or wrong",
}

_N_RESAMPLES = 4000
_YEAR_DAYS = 365
#: Dates that are drawn before the site is said to have no such nights.
_TRIES = 40


class TruthError(FixableError, ValueError):
    """The truth cannot be read, or does not know the alerts; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What a simulated star is."""

    is_cemp: bool
    feh: float


@dataclass(frozen=True, slots=True)
class Rate:
    """A mean with its 95 % interval, from nights drawn again with replacement."""

    mean: float
    lo: float
    hi: float


@dataclass(frozen=True, slots=True, eq=False)
class YieldReport:
    """What each way brought, per hour of the hours given, night by night.

    Attributes
    ----------
    n_alert
        Waiting each night.
    per_hour
        By way and count, shape ``(n_night,)``.
    """

    n_night: int
    n_alert: int
    hours: float
    n_unknown: int
    per_hour: Mapping[tuple[str, str], Array] = field(repr=False)

    def rate(self, way: str, count: str) -> Rate:
        """Return the mean over nights."""
        return _rate(lambda rows: self.per_hour[way, count][rows].mean(axis=-1), self.n_night)

    def ratio(self, way: str, count: str, *, than: str) -> Rate:
        """Return how many times as much one way brings as another, on the same nights."""
        ours, others = self.per_hour[way, count], self.per_hour[than, count]

        def ratio(rows: Array) -> Array:
            with np.errstate(divide="ignore", invalid="ignore"):
                return np.asarray(ours[rows].mean(axis=-1) / others[rows].mean(axis=-1))

        return _rate(ratio, self.n_night)


def _rate(statistic: Callable[[Array], Array], n_night: int) -> Rate:
    rows = np.random.default_rng(0).integers(0, n_night, (_N_RESAMPLES, n_night))
    lo, hi = np.nanpercentile(statistic(rows), [2.5, 97.5])
    return Rate(float(statistic(np.arange(n_night))), float(lo), float(hi))


def read_truth(path: Path) -> dict[str, Truth]:
    """Read the truth of a simulated night, a CSV file as ``cempstream simulate`` writes it.

    Raises
    ------
    TruthError
        A column is missing, or a value is not what it should be.
    """
    truth: dict[str, Truth] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            missing = {"object_id", "is_cemp", "feh"} - set(rows.fieldnames or ())
            if missing:
                raise TruthError(
                    f"{shown(path)} has no column {', '.join(sorted(missing))}; "
                    "the truth is a CSV file as `cempstream simulate` writes it"
                )
            for row in rows:
                feh = float(row["feh"] or "nan")  # a galaxy has none
                truth[row["object_id"]] = Truth(row["is_cemp"].lower() in ("true", "1"), feh)
    except (UnicodeDecodeError, csv.Error, ValueError, AttributeError, TypeError) as error:
        if isinstance(error, TruthError):
            raise
        raise TruthError(f"{shown(path)} is not a truth of `cempstream simulate`: {shown(error)}") from None
    return truth


def compare(
    alerts: Iterable[Alert],
    truth: Mapping[str, Truth],
    site: Site,
    first_day: date,
    hours: float,
    instrument: Instrument,
    question: Question,
    weights: Weights,
    *,
    n_night: int,
    n_alert: int,
    seed: int,
    snr: float | None = None,
    twilight_deg: float = TWILIGHT_DEG,
    slot_s: float = SLOT_S,
    on_night: Callable[[], None] = lambda: None,
) -> YieldReport:
    """Use simulated nights in every way, and count what is confirmed.

    A star is confirmed when it is observed to the S/N that the question needs and the truth says CEMP.

    Parameters
    ----------
    n_night, n_alert
        At most so many nights, each with so many alerts.
    on_night
        Called after every night.

    Raises
    ------
    TruthError
        The alerts whose stars the truth knows do not fill two nights.
    """
    check_question(question, instrument)
    stars, _ = candidates_of(alerts, question)
    known = [star for star in stars if star.name in truth]
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(known))
    n_night = min(n_night, len(known) // n_alert)
    if n_night < 2:
        raise TruthError(
            f"{len(known)} of {len(stars)} alerts are of stars that the truth knows; two nights of "
            f"{n_alert} need {2 * n_alert}"
        )
    ways: dict[tuple[str, str], list[float]] = {(way, count): [] for way in WAYS for count in COUNTS}
    for i in range(n_night):
        tonight = [known[k] for k in order[i * n_alert : (i + 1) * n_alert]]
        night = _some_night(site, first_day, hours, twilight_deg, slot_s, rng)
        costs = night_costs(tonight, night, instrument, question, snr=snr)
        for way, plan in _plans(tonight, costs, question, weights, rng).items():
            for count, n in _counts(plan, tonight, truth).items():
                ways[way, count].append(n / night.hours)
        on_night()
    per_hour = {key: np.array(values) for key, values in ways.items()}
    return YieldReport(n_night, n_alert, hours, len(stars) - len(known), per_hour)


def _some_night(
    site: Site, first_day: date, hours: float, twilight_deg: float, slot_s: float, rng: np.random.Generator
) -> Night:
    """Return a night within a year on which it is dark for as long as asked for."""
    for _ in range(_TRIES):
        day = first_day + timedelta(days=int(rng.integers(_YEAR_DAYS)))
        try:
            night = plan_night(site, day, hours, twilight_deg=twilight_deg, slot_s=slot_s)
        except NoNight:
            continue
        if night.hours > hours - 2 * slot_s / 3600.0:
            return night
    raise NoNight(
        f"no night of {hours:g} dark hours was found at {site.name} in {_TRIES} dates of a year; give fewer"
    )


def _plans(
    stars: Sequence[Candidate], costs: Costs, question: Question, weights: Weights, rng: np.random.Generator
) -> dict[str, Plan]:
    """Return the plan of each way."""
    value = np.array([worth(star, question.name, weights).value for star in stars])
    chance = np.array([worth(star, question.name, weights).chance for star in stars])
    cheapest = np.where(costs.slots > 0, costs.slots, np.iinfo(np.int64).max).min(axis=1)
    return {
        "plan": best_plan(costs.slots, value),
        "count": best_plan(costs.slots, chance),
        "by_rate": walk(costs.slots, np.argsort(-value / cheapest, kind="stable")),
        "by_p": walk(costs.slots, np.argsort([-star.p_cemp for star in stars], kind="stable")),
        "random": walk(costs.slots, rng.permutation(len(stars))),
    }


def _counts(plan: Plan, stars: Sequence[Candidate], truth: Mapping[str, Truth]) -> dict[str, int]:
    seen = [truth[stars[visit.star].name] for visit in plan.visits]
    return {
        "cemp": sum(star.is_cemp for star in seen),
        "emp": sum(star.is_cemp and star.feh < EXTREME_FEH for star in seen),
        "stars": len(seen),
    }
