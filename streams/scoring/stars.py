"""Stars from the results of their spectra: ``processors.stars`` on files, without a broker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from cempstream.processors.decide import Policy
from cempstream.processors.outcome import Classification
from cempstream.processors.stars.observation import Observation, observe
from cempstream.processors.stars.star import Folded, Star, fold_stars
from cempstream.streams.scoring.pipeline import Pipeline, Route
from cempstream.streams.scoring.result import Result
from cempstream.streams.scoring.star_judge import StarJudge
from cempstream.streams.scoring.star_result import StarResult

#: Stars whose sums are scored together: about as many sums as spectra in a worker's batch.
_STARS_AT_ONCE = 32
_TENSE = "archival"


@dataclass(slots=True)
class _Gathered:
    """What the files hold of one star."""

    name: str
    observations: list[Observation] = field(default_factory=list)
    rejected: list[Result] = field(default_factory=list)


def observing(pipeline: Pipeline) -> Pipeline:
    """Return a pipeline whose results keep their rebinned spectra, so that they can be added up."""
    return replace(pipeline, routes=[_observing(route) for route in pipeline.routes])


def _observing(route: Route) -> Route:
    def policy(survey: str) -> Policy:
        return replace(route.policy(survey), observed_from=0.0)

    return replace(route, policy=policy)


def results_of_stars(results: Iterable[Result], pipeline: Pipeline) -> Iterator[StarResult]:
    """Yield one result per star, in the order of their first spectra.

    Spectra of one survey and ``object_id`` are one star. One without ``object_id`` is a star by itself, named
    as its spectrum. All spectra are held in memory on their bundle's grid, 8 bytes per pixel, until the last
    is read.

    Parameters
    ----------
    results
        By a pipeline that `observing` returned, in any order; they are read to their end before the first
        star is given. What could not be read at all belongs to no star.

    Raises
    ------
    ModelBroken
        The models fail on good spectra.
    """
    gathered: dict[tuple[str, str, bool], _Gathered] = {}
    for result in results:
        spectrum = result.spectrum
        if spectrum is None:
            continue
        name = spectrum.object_id or spectrum.spectrum_id
        key = spectrum.survey, name, spectrum.object_id is None
        star = gathered.setdefault(key, _Gathered(name))
        seen = observe(result.outcome) if isinstance(result.outcome, Classification) else None
        if seen is None:
            star.rejected.append(result)
        else:
            star.observations.append(seen)
    judge = StarJudge(pipeline)
    waiting = list(gathered.values())
    for first in range(0, len(waiting), _STARS_AT_ONCE):
        yield from _fold(waiting[first : first + _STARS_AT_ONCE], judge)


def _fold(gathered: Sequence[_Gathered], judge: StarJudge) -> Iterator[StarResult]:
    arrivals = [(Star(object_id=one.name, tense=_TENSE), one.observations) for one in gathered]
    for one, folded in zip(gathered, fold_stars(arrivals, judge), strict=True):
        n_replaced = len(one.observations) - len(folded.star.observations)
        yield StarResult(folded.star, _speaks(folded), one.rejected, n_replaced)


def _speaks(folded: Folded) -> Classification | None:
    """Return the result that speaks for a star of which nothing was known before."""
    speaking = folded.star.speaking()
    return folded.results[speaking[0].group] if speaking else None
