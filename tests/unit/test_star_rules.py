"""Rules of a star, each at its edge: which reduction counts, how many are kept, when an alert is due."""

import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from cempstream.processors.grid import LogGrid, vacuum_to_air
from cempstream.processors.outcome import Estimate, Rebinned
from cempstream.processors.stars.life import Sent, growth, has_moved, is_candidate_after
from cempstream.processors.stars.observation import Observation, is_followed, observe
from cempstream.processors.stars.star import Star, fold, fold_all
from tests.support.fakes import classification, make_spectrum
from tests.support.visits import NIGHT, POLICY, MeanJudge, visit

EMPTY = Star(object_id="star", tense="observed")


def with_facts(observation: Observation, **facts: Any) -> Observation:
    return replace(observation, spectrum=replace(observation.spectrum, **facts))


def names(star: Star) -> list[str]:
    return [o.spectrum.spectrum_id for o in star.observations]


FIRST = with_facts(visit(0), reduction_version="1")
LATER = with_facts(FIRST, reduced_at=FIRST.spectrum.reduced_at + timedelta(seconds=1))
FLUX = FIRST.spectrum.flux


def numbered(observation: Observation, bundle: str) -> Observation:
    return replace(observation, said=replace(observation.said, bundle=bundle))


@pytest.mark.parametrize(
    ("smaller", "greater"),
    [
        (with_facts(FIRST, reduction_version="9"), LATER),
        (numbered(FIRST, "low-2.0.0"), with_facts(FIRST, reduction_version="2")),
        (replace(FIRST, said=replace(FIRST.said, p_cemp=0.9)), numbered(FIRST, "low-1.0.1")),
        (replace(FIRST, shift_kms=5.0), replace(FIRST, said=replace(FIRST.said, p_cemp=0.2))),
        (with_facts(FIRST, flux=2 * FLUX), replace(FIRST, shift_kms=1.0)),
        (with_facts(FIRST, ivar=FLUX - FLUX), with_facts(FIRST, ivar=FLUX - FLUX + 1)),
    ],
    ids=["time", "reduction", "bundle", "p", "shift", "ivar"],
)
def test_of_two_reductions_the_later_by_time_version_bundle_and_value_counts(
    smaller: Observation, greater: Observation
) -> None:
    assert smaller.rank < greater.rank
    for order in ([smaller, greater], [greater, smaller]):
        (kept,) = fold_all(EMPTY, order, MeanJudge()).star.observations
        assert kept.rank == greater.rank


def test_sixteen_of_a_grating_are_kept_and_sixty_four_in_all_the_newest() -> None:
    judge = MeanJudge()
    of_one = fold_all(EMPTY, [visit(i) for i in range(18)], judge).star
    assert names(of_one) == [f"v{i}-GV" for i in range(2, 18)]
    many = [with_facts(visit(i), grating=f"G{i % 5}") for i in range(70)]
    assert names(fold_all(EMPTY, many, judge).star) == [f"v{i}-GV" for i in range(6, 70)]


def test_a_spectrum_without_a_time_comes_first_and_equal_times_go_by_survey_and_name() -> None:
    timeless = with_facts(visit(9), observed_at=None)
    other = with_facts(visit(1), survey="aaa", spectrum_id="z")
    arrivals = [visit(2), visit(1), other, timeless]
    star = fold_all(EMPTY, arrivals, MeanJudge()).star
    assert names(star) == ["v9-GV", "z", "v1-GV", "v2-GV"]
    assert star.observed == (NIGHT + timedelta(hours=1), NIGHT + timedelta(hours=2))


def test_a_star_of_two_surveys_is_what_the_one_that_knows_carbon_says() -> None:
    other = with_facts(visit(1, p=0.8, snr=90.0), survey="sdss")
    star = fold_all(EMPTY, [visit(0), other, visit(2)], MeanJudge()).star
    assert [said.p_cemp for said in star.spokesmen() if said is not None] == [0.1, 0.8, 0.8]
    assert names(replace(star, observations=star.speaking())) == ["v1-GV"]
    assert star.said == star.together[1]


def test_only_the_newest_sum_of_each_group_is_given_on() -> None:
    star = fold(EMPTY, visit(0), MeanJudge()).star
    other = with_facts(visit(3), survey="sdss")
    folded = fold_all(star, [visit(1), visit(2), other], MeanJudge())
    assert {group: result.spectrum.spectrum_id for group, result in folded.results.items()} == {
        ("csst", "low"): "v2-GV",
        ("sdss", "low"): "v3-GV",
    }


@pytest.mark.parametrize(
    ("history", "is_one"),
    [
        ([(0.5, 0.5)], True),
        ([(0.49, 0.5)], False),
        ([(0.5, 0.5), (0.334, 0.5)], True),  # odds of one half, where those of the threshold are one
        ([(0.5, 0.5), (0.333, 0.5)], False),
        ([(0.5, 0.5), (0.333, 0.5), (0.4, 0.5)], False),
        ([(1.0, 1.0)], True),
        ([(1.0, 1.0), (0.999, 1.0)], False),  # of certainty every doubt is too much
        ([(0.9, 0.5), (math.nan, math.nan)], True),
    ],
)
def test_a_candidate_stays_one_down_to_half_the_odds(
    history: list[tuple[float, float]], is_one: bool
) -> None:
    assert is_candidate_after(history) is is_one


@pytest.mark.parametrize(
    ("value", "moved"), [(1.2, False), (0.8, False), (1.21, True), (0.79, True), (math.nan, False)]
)
def test_a_parameter_has_moved_beyond_the_ends_of_its_interval(value: float, moved: bool) -> None:
    said = visit(0).said
    before = {"cfe": Estimate(1.0, 0.8, 1.2)}
    sent = Sent(alert_id="a", alert_type="initial", revision=1, subclass=said.subclass, parameters=before)
    assert sent.stands
    assert sent.supersedes is None
    assert has_moved(replace(said, parameters={"cfe": Estimate(value, value, value)}), sent) is moved


def test_what_grew_is_p_beside_its_threshold_and_nothing_where_nothing_can_be_said() -> None:
    said = visit(0, p=0.3).said
    at = replace(said, p_cemp=said.decision.threshold, decision=replace(said.decision, is_candidate=False))
    sure = replace(at, decision=replace(said.decision, is_candidate=True))
    found = growth([said, None, at, sure])
    assert found[0] == (0.3, said.decision.threshold)
    assert all(math.isnan(number) for pair in found[1:3] for number in pair)
    assert found[3] == (said.decision.threshold, said.decision.threshold)


GRID = LogGrid(3.6, 1e-3, 40)


@pytest.mark.parametrize("medium", ["vacuum", "air"])
def test_an_observation_is_on_the_bundles_grid_in_vacuum(medium: Any) -> None:
    """A contamination that grows with wavelength tells at which wavelength it was taken."""
    spectrum = make_spectrum("s")
    theirs = spectrum.grid.wave
    spectrum = replace(
        spectrum, medium=medium, contamination=(theirs / 1e5).astype(np.float32), object_id="star"
    )
    ones = np.ones(GRID.n_pix, np.float32)
    inside = LogGrid(float(np.log10(theirs[len(theirs) // 3])), 1e-4, 40)
    kept = Rebinned(inside, ones, 2 * ones, 1234.0, -55.0, False)
    result = replace(classification(spectrum, 0.9, POLICY), rebinned=kept)
    found = observe(result)
    assert found is not None
    assert (found.spectrum.grid, found.spectrum.medium, found.spectrum.mask) == (inside, "vacuum", None)
    assert found.spectrum.resolving_power == 1234.0
    assert (found.shift_kms, found.is_shift_certain) == (-55.0, False)
    assert (found.spectrum.flux[0], found.spectrum.ivar[0]) == (1.0, 2.0)
    assert found.spectrum.contamination is not None
    at = vacuum_to_air(inside.wave) if medium == "air" else inside.wave
    np.testing.assert_allclose(found.spectrum.contamination, at / 1e5, rtol=2e-6)
    assert found.visit == (spectrum.survey, "s")


def test_only_a_result_with_its_spectrum_and_a_name_is_followed() -> None:
    bare = classification(replace(make_spectrum("s"), object_id="star"), 0.9, POLICY)
    kept = Rebinned(GRID, *(np.ones(GRID.n_pix, np.float32) for _ in range(2)), 1000.0, 0.0, True)
    assert observe(replace(bare, rebinned=None)) is None
    assert not is_followed(replace(bare, rebinned=None))
    assert is_followed(replace(bare, rebinned=kept))
    nameless = replace(bare.spectrum, object_id=None)
    assert not is_followed(replace(bare, rebinned=kept, spectrum=nameless))
