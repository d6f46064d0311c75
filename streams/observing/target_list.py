"""Tonight's targets: from the newest alerts to stars with a time each, and a reason for every other star."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np

from cempstream.errors import FixableError
from cempstream.processors.grid import Array
from cempstream.schemas.alert import Alert
from cempstream.streams.observing.candidates import Candidate, LeftOut, Why, candidates_of
from cempstream.streams.observing.exposure_time import Question, n_exposures, reached_snr
from cempstream.streams.observing.instrument import Instrument
from cempstream.streams.observing.night import Night
from cempstream.streams.observing.night_costs import Costs, candidate_flux, night_costs, sky_mag
from cempstream.streams.observing.plan import Plan, Visit, best_plan
from cempstream.streams.observing.star_value import Weights, Worth, worth


class Unanswerable(FixableError, ValueError):
    """The instrument cannot answer the question; the message says what it lacks."""


@dataclass(frozen=True, slots=True)
class Target:
    """A star with its time.

    Attributes
    ----------
    begin, end
        From pointing to the last readout, UTC.
    exposure_s, n_exposures
        Length of one exposure, and how many there are.
    snr
        A pixel, that is reached.
    airmass, moon_distance_deg
        In the middle of the visit.
    """

    star: Candidate
    worth: Worth
    begin: datetime
    end: datetime
    exposure_s: float
    n_exposures: int
    snr: float
    airmass: float
    moon_distance_deg: float


@dataclass(frozen=True, slots=True, eq=False)
class TargetList:
    """The plan of a night.

    Attributes
    ----------
    targets
        In the order of time.
    altitude_deg
        Of each target in the middle of every slot, shape ``(n_target, n_slot)``.
    gap
        By which share of its value a better plan may exceed this one; None where the solver found nothing in
        its time, and stars were taken by value for their time.
    """

    night: Night
    instrument: Instrument
    question: Question
    snr: float
    targets: tuple[Target, ...]
    left_out: tuple[LeftOut, ...]
    altitude_deg: Array = field(repr=False)
    moon_altitude_deg: Array = field(repr=False)
    moon_illumination: float
    gap: float | None

    @property
    def expected_cemp(self) -> float:
        """Return how many CEMP stars the plan is expected to hold."""
        return sum(target.worth.chance for target in self.targets)

    @property
    def expected_emp(self) -> float:
        """Return how many of them are expected to have [Fe/H] < -3."""
        return sum(target.worth.chance * target.worth.p_emp for target in self.targets)

    @property
    def used_hours(self) -> float:
        """Return the hours from pointing to readout, summed over all targets."""
        return sum((target.end - target.begin).total_seconds() for target in self.targets) / 3600.0

    @property
    def reasons(self) -> Counter[Why]:
        """Return how many stars were left out for each reason."""
        return Counter(one.why for one in self.left_out)


def check_question(question: Question, instrument: Instrument) -> None:
    """Refuse an instrument that cannot answer a question.

    Raises
    ------
    Unanswerable
        It does not see the feature, or its resolving power is too low.
    """
    first, *_, last = instrument.efficiency.wave_aa
    if not instrument.sees(question.wave_aa):
        raise Unanswerable(
            f"{instrument.name} sees {first:g} to {last:g} Å; {question.text} needs {question.wave_aa:g} Å"
        )
    if instrument.resolving_power < question.least_power:
        raise Unanswerable(
            f"{instrument.name} has a resolving power of {instrument.resolving_power:g}; "
            f"{question.text} needs {question.least_power:g} or more"
        )


def make_target_list(
    alerts: Iterable[Alert],
    night: Night,
    instrument: Instrument,
    question: Question,
    weights: Weights,
    *,
    snr: float | None = None,
) -> TargetList:
    """Plan a night.

    Parameters
    ----------
    snr
        A pixel; None: what the question needs.

    Raises
    ------
    Unanswerable
        The instrument cannot answer the question.
    """
    check_question(question, instrument)
    stars, left = candidates_of(alerts, question)
    costs = night_costs(stars, night, instrument, question, snr=snr)
    worths = [worth(star, question.name, weights) for star in stars]
    plan = best_plan(costs.slots, np.array([one.value for one in worths]), costs.total_s)
    targets = [_target(visit, stars, worths, costs, night, instrument, question) for visit in plan.visits]
    left += _not_planned(stars, costs, plan)
    rows = [visit.star for visit in plan.visits]
    view = costs.view
    return TargetList(
        night=night,
        instrument=instrument,
        question=question,
        snr=costs.snr,
        targets=tuple(targets),
        left_out=tuple(left),
        altitude_deg=view.altitude_deg[rows],
        moon_altitude_deg=view.moon_altitude_deg,
        moon_illumination=view.moon_illumination,
        gap=plan.gap,
    )


def _target(
    visit: Visit,
    stars: Sequence[Candidate],
    worths: Sequence[Worth],
    costs: Costs,
    night: Night,
    instrument: Instrument,
    question: Question,
) -> Target:
    star, slots = stars[visit.star], slice(visit.slot, visit.slot + visit.n_slot)
    total_s = float(costs.total_s[visit.star, visit.slot])
    open_s, n = split(total_s - instrument.acquisition_s, instrument)
    begin = night.begin + timedelta(seconds=visit.slot * night.slot_s)
    airmass = float(costs.view.airmass[visit.star, slots].mean())
    sky = float(sky_mag(costs.view, instrument, question.wave_aa)[visit.star, slots].mean())
    flux = candidate_flux([star], question)
    reached = reached_snr(
        flux, np.array(airmass), np.array(sky), np.array(open_s), instrument, question.wave_aa
    )
    return Target(
        star=star,
        worth=worths[visit.star],
        begin=begin,
        end=begin + timedelta(seconds=total_s),
        exposure_s=float(np.ceil(open_s / n)),
        n_exposures=n,
        snr=float(reached[0]),
        airmass=airmass,
        moon_distance_deg=float(costs.view.moon_distance_deg[visit.star, slots].mean()),
    )


def split(seconds: float, instrument: Instrument) -> tuple[float, int]:
    """Return the open-shutter time and the number of exposures in a time that also holds their readouts."""
    n = 1
    while seconds - n * instrument.readout_s > n * instrument.max_exposure_s + 1e-6:
        n += 1
    open_s = max(seconds - n * instrument.readout_s, 0.0)
    return open_s, max(n, int(n_exposures(np.array(open_s), instrument)))


def _not_planned(stars: Sequence[Candidate], costs: Costs, plan: Plan) -> list[LeftOut]:
    planned = {visit.star for visit in plan.visits}
    return [
        LeftOut(star.name, star.alert_id, why or Why.OTHERS_FIRST, _detail(why, i, star, costs))
        for i, (star, why) in enumerate(zip(stars, costs.why_not, strict=True))
        if i not in planned
    ]


def _detail(why: Why | None, i: int, star: Candidate, costs: Costs) -> str:
    """Return the number that a reason hangs on."""
    match why:
        case Why.TOO_FAINT | Why.TOO_BRIGHT:
            return f"{star.band} {star.magnitude:.2f}"
        case Why.NEVER_UP:
            return f"altitude at most {costs.view.altitude_deg[i].max():.0f}°"
        case Why.NEAR_MOON:
            return f"{costs.view.moon_distance_deg[i].min():.0f}° from the Moon"
        case None:
            return f"would take {np.min(costs.total_s[i]) / 60.0:.0f} min"
        case _:
            return ""
