"""A star as the set of its observations; everything said of it is a function of that set.

Observations arrive in any order, more than once, and in new reductions. What is kept is the newest reduction
of each spectrum, in the order of observation. What is said after each of them is computed along that order,
so neither the numbers nor whether the star is a candidate depend on the order of arrival. Only which alerts
were sent on the way does, and what is sent last says the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from cempstream.processors.outcome import Classification
from cempstream.processors.stars.combine import combine
from cempstream.processors.stars.life import Sent, growth, is_candidate_after
from cempstream.processors.stars.observation import GroupKey, Observation, Said, SeriesKey

#: Spectra of one grating that are kept, the newest: more would gain little and fill the topic.
MOST_OF_A_GRATING = 16
#: Spectra of one star that are kept, whatever their gratings.
MOST_OBSERVATIONS = 64

_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)


class Judge(Protocol):
    """Puts spectra of one group together and has their bundle score the result."""

    @property
    def bundles(self) -> frozenset[str]:
        """What is served, as ``name-version``; what another version said is asked for again."""

    def __call__(self, groups: Sequence[Sequence[Observation]]) -> Sequence[Classification | None]:
        """Return one result per group of observations; None where their sum cannot be scored."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Star:
    """One star.

    Attributes
    ----------
    object_id
        The survey's name of the star.
    tense
        Injections, tests and recordings are other stars than those of tonight, whatever their name.
    observations
        In the order of observation; the newest reduction of each.
    together
        Entry i: what the co-add of observation i and the earlier ones of its group said; None where it
        could not be scored.
    sent
        The last alert.
    """

    object_id: str
    tense: str
    observations: tuple[Observation, ...] = ()
    together: tuple[Said | None, ...] = ()
    sent: Sent | None = None

    @property
    def gratings(self) -> tuple[str, ...]:
        """Gratings of the observations, sorted; a spectrum without one is left out."""
        return tuple(sorted({o.spectrum.grating for o in self.observations if o.spectrum.grating}))

    @property
    def observed(self) -> tuple[datetime | None, datetime | None]:
        """Times of the first and the last observation."""
        times = [o.spectrum.observed_at for o in self.observations if o.spectrum.observed_at is not None]
        return (min(times), max(times)) if times else (None, None)

    def spokesmen(self) -> list[Said | None]:
        """Return what is said of the star after each observation: what `combine` chooses."""
        latest: dict[GroupKey, Said] = {}
        said: list[Said | None] = []
        for observation, together in zip(self.observations, self.together, strict=True):
            if together is not None:
                latest[observation.group] = together
            chosen = combine(latest)
            said.append(None if chosen is None else latest[chosen])
        return said

    @property
    def said(self) -> Said | None:
        """What is said of the star now."""
        spokesmen = self.spokesmen()
        return spokesmen[-1] if spokesmen else None

    @property
    def is_candidate(self) -> bool:
        """Whether the star is a candidate, by the history of its p in the order of observation."""
        return is_candidate_after(growth(self.spokesmen()))

    def speaking(self) -> tuple[Observation, ...]:
        """Return the observations whose co-add speaks for the star."""
        latest = {
            observation.group: together
            for observation, together in zip(self.observations, self.together, strict=True)
            if together is not None
        }
        chosen = combine(latest)
        return without_mixed_light(o for o in self.observations if o.group == chosen)


@dataclass(frozen=True, slots=True, eq=False)
class Folded:
    """A star after an observation.

    Attributes
    ----------
    has_changed
        False for a repeat, an older reduction, or a spectrum beyond those that are kept.
    results
        The newest co-adds that were scored on the way, by group.
    """

    star: Star
    has_changed: bool
    results: Mapping[GroupKey, Classification]


def fold(star: Star, observation: Observation, judge: Judge) -> Folded:
    """Add one observation to a star, as `fold_all` does."""
    return fold_all(star, (observation,), judge)


def fold_all(star: Star, observations: Iterable[Observation], judge: Judge) -> Folded:
    """Add observations to a star: the same star in any order, together or one by one.

    Only what they change is scored: co-adds from the first that is new onwards.

    Raises
    ------
    FixableError
        The judge's models fail on good spectra.
    """
    (folded,) = fold_stars([(star, observations)], judge)
    return folded


def fold_stars(arrivals: Sequence[tuple[Star, Iterable[Observation]]], judge: Judge) -> list[Folded]:
    """Add observations to several stars, as `fold_all` does to each; the judge is asked once for all.

    Raises
    ------
    FixableError
        The judge's models fail on good spectra.
    """
    plans = [_plan(star, observations, judge.bundles) for star, observations in arrivals]
    answers = iter(judge([group for plan in plans for group in plan.groups]))
    return [plan.folded([next(answers) for _ in plan.groups]) for plan in plans]


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """What is to be scored before a star can be said to have changed.

    Attributes
    ----------
    n_known
        Observations up to which all that was said before still holds.
    groups
        One per later observation: itself and the earlier ones that are added to it.
    """

    star: Star
    united: tuple[Observation, ...]
    n_known: int
    groups: list[tuple[Observation, ...]]

    def folded(self, results: Sequence[Classification | None]) -> Folded:
        """Return the star, given the result of each group."""
        if _are_same(self.united, self.star.observations):
            return Folded(self.star, has_changed=False, results={})
        together = tuple(None if result is None else Said.of(result) for result in results)
        newest = {
            group[0].group: result
            for group, result in zip(self.groups, results, strict=True)
            if result is not None
        }
        star = replace(
            self.star, observations=self.united, together=self.star.together[: self.n_known] + together
        )
        return Folded(star, has_changed=True, results=newest)


def _plan(star: Star, observations: Iterable[Observation], bundles: frozenset[str]) -> _Plan:
    united = star.observations
    for observation in observations:
        united = _union(united, observation)
    if _are_same(united, star.observations):
        return _Plan(star, united, len(united), [])
    n_known = _n_known(star, united, bundles)
    groups = [
        without_mixed_light(o for o in united[: i + 1] if o.group == united[i].group)
        for i in range(n_known, len(united))
    ]
    return _Plan(star, united, n_known, groups)


def without_mixed_light(group: Iterable[Observation]) -> tuple[Observation, ...]:
    """Return the observations without a neighbour's light; all of them where there is no such.

    One of mixed light would spoil the sum of all: in slitless spectra the neighbours that fall on a star
    differ from visit to visit and from grating to grating.
    """
    every = tuple(group)
    return tuple(o for o in every if not o.is_mixed) or every


def _union(known: Sequence[Observation], new: Observation) -> tuple[Observation, ...]:
    """Return the observations with a new one: one reduction of each, in order, the oldest left out.

    A spectrum's time, grating and bundle are the same in all its reductions: where a survey changes them,
    which of more than ``MOST_OF_A_GRATING`` spectra are left out can depend on the order of arrival.
    """
    newest = {o.visit: o for o in known}
    held = newest.get(new.visit)
    if held is None or new.rank > held.rank:
        newest[new.visit] = new
    count: Counter[SeriesKey] = Counter()
    kept: list[Observation] = []
    for observation in sorted(newest.values(), key=_place, reverse=True):
        count[observation.series] += 1
        if count[observation.series] <= MOST_OF_A_GRATING and len(kept) < MOST_OBSERVATIONS:
            kept.append(observation)
    return tuple(reversed(kept))


def _place(observation: Observation) -> tuple[datetime, str, str]:
    spectrum = observation.spectrum
    return spectrum.observed_at or _LONG_AGO, spectrum.survey, spectrum.spectrum_id


def _is_same(one: Observation, other: Observation) -> bool:
    return one is other or (one.visit == other.visit and one.rank == other.rank)


def _are_same(some: Sequence[Observation], others: Sequence[Observation]) -> bool:
    return len(some) == len(others) and all(map(_is_same, some, others))


def _n_known(star: Star, observations: Sequence[Observation], bundles: frozenset[str]) -> int:
    """Return up to which observation all that was said before still holds."""
    n_known = 0
    for new, old, together in zip(observations, star.observations, star.together, strict=False):
        if not _is_same(new, old) or together is None or together.bundle not in bundles:
            break
        n_known += 1
    return n_known
