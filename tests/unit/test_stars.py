"""A star is a function of the set of its observations, and its alerts have a life without gaps."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cempstream.processors.outcome import Classification, Estimate
from cempstream.processors.stars.combine import combine
from cempstream.processors.stars.life import (
    KEPT_ODDS,
    AlertType,
    Sent,
    growth,
    has_moved,
    is_candidate_after,
    next_alert,
)
from cempstream.processors.stars.observation import GroupKey, Observation, Said
from cempstream.processors.stars.star import MOST_OF_A_GRATING, Star, fold, fold_all, fold_stars
from tests.support.visits import MeanJudge, visit

EMPTY = Star(object_id="star", tense="observed")
JUDGE = MeanJudge()


def state(star: Star) -> object:
    """Return all that a star says, without what was sent."""
    return (
        [(o.visit, o.rank) for o in star.observations],
        star.together,
        star.said,
        star.is_candidate,
        star.gratings,
        star.observed,
    )


visits = st.builds(
    visit,
    st.integers(0, 4),
    reduction=st.integers(0, 2),
    p=st.sampled_from([0.01, 0.3, 0.4, 0.6, 0.9]),
    snr=st.sampled_from([5.0, 20.0, 60.0]),
    grating=st.sampled_from(["GV", "GI"]),
    is_mixed=st.booleans(),
)


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[list[Observation], list[Observation]]:
    """Draw observations in two orders, with different repeats."""
    chosen = draw(st.lists(visits, min_size=1, max_size=6))
    orders = [
        draw(st.permutations([*chosen, *draw(st.lists(st.sampled_from(chosen), max_size=4))]))
        for _ in range(2)
    ]
    return orders[0], orders[1]


class CountingJudge(MeanJudge):
    """Refuses sums of ``refused`` spectra, and counts how often it is asked."""

    n_calls = 0
    refused = 0

    def __call__(self, groups: Sequence[Sequence[Observation]]) -> list[Classification | None]:
        self.n_calls += 1
        results = super().__call__(groups)
        return [
            None if len(group) == self.refused else result
            for group, result in zip(groups, results, strict=True)
        ]


def live(order: list[Observation]) -> tuple[Star, list[AlertType]]:
    """Fold one by one and send what is to be sent, as a stream does."""
    star, told = EMPTY, []
    for observation in order:
        folded = fold(star, observation, JUDGE)
        star = folded.star
        if not folded.has_changed:
            continue
        said = star.said
        assert said is not None
        alert = next_alert(star.is_candidate, said, star.sent)
        if alert is not None:
            told.append(alert)
            sent = Sent(
                alert_id=str(len(told)),
                alert_type=alert,
                revision=len(told),
                subclass=said.subclass,
                parameters=said.parameters,
            )
            star = replace(star, sent=sent)
    return star, told


@settings(deadline=None, max_examples=60)
@given(arrivals())
def test_no_order_and_no_repeat_changes_a_star_or_its_last_alert(
    orders: tuple[list[Observation], list[Observation]],
) -> None:
    (one, told_one), (other, told_other) = (live(order) for order in orders)
    assert state(one) == state(other)
    together = fold_all(EMPTY, orders[1], JUDGE)
    assert state(together.star) == state(one)
    for star, told in ((one, told_one), (other, told_other)):
        assert (star.sent is not None and star.sent.stands) == star.is_candidate
        assert told == [] or (told[-1] == "retraction") != star.is_candidate
    if one.is_candidate:
        assert one.sent is not None
        assert other.sent is not None
        assert one.said is not None
        assert one.sent.parameters == other.sent.parameters == one.said.parameters


@settings(deadline=None, max_examples=60)
@given(arrivals())
def test_a_life_starts_with_an_initial_and_ends_with_a_retraction(
    orders: tuple[list[Observation], list[Observation]],
) -> None:
    _, told = live(orders[0])
    stands = False
    for alert in told:
        assert (alert == "initial") != stands
        stands = alert != "retraction"


def test_a_new_reduction_replaces_the_old_one_whenever_it_comes() -> None:
    old, new = visit(1, p=0.9), visit(1, reduction=1, p=0.1)
    for order in ((old, new), (new, old)):
        star = fold_all(EMPTY, [visit(0), *order], JUDGE).star
        assert [o.said.p_cemp for o in star.observations] == [0.1, 0.1]
    assert fold(star, old, JUDGE).has_changed is False


def test_a_repeat_changes_nothing_and_scores_nothing() -> None:
    judge = MeanJudge()
    star = fold_all(EMPTY, [visit(0), visit(1)], judge).star
    n_scored = judge.n_scored
    again = fold(star, visit(0), judge)
    assert again.star is star
    assert not again.has_changed
    assert judge.n_scored == n_scored == 2


def test_only_what_an_observation_changes_is_scored() -> None:
    judge = MeanJudge()
    star = fold_all(EMPTY, [visit(i) for i in range(5)], judge).star
    fold(star, visit(5), judge)
    assert judge.n_scored == 6
    fold(star, visit(3, reduction=1), judge)
    assert judge.n_scored == 8


def test_what_another_bundle_said_is_asked_for_again() -> None:
    judge = MeanJudge()
    star = fold_all(EMPTY, [visit(i) for i in range(3)], judge).star
    judge.bundles = frozenset({"low-2.0.0"})
    fold(star, visit(3), judge)
    assert judge.n_scored == 7


def test_versions_of_a_bundle_are_added_up_and_the_newer_one_speaks_of_a_spectrum() -> None:
    old = visit(0)
    new = replace(old, said=replace(old.said, bundle="low-1.10.0"))
    older = replace(old, said=replace(old.said, bundle="low-1.9.0"))
    assert new.group == older.group == ("csst", "low")
    for order in ((new, older), (older, new)):
        star = fold_all(EMPTY, order, JUDGE).star
        assert [o.said.bundle for o in star.observations] == ["low-1.10.0"]


def test_several_stars_are_scored_at_once_and_each_as_if_alone() -> None:
    judge = CountingJudge()
    arrivals = [(EMPTY, [visit(i, p=p) for i in range(n)]) for n, p in ((2, 0.9), (0, 0.1), (3, 0.1))]
    folded = fold_stars(arrivals, judge)
    assert judge.n_calls == 1
    assert [one.has_changed for one in folded] == [True, False, True]
    for one, (star, observations) in zip(folded, arrivals, strict=True):
        alone = fold_all(star, observations, JUDGE)
        assert state(one.star) == state(alone.star)
        assert set(one.results) == set(alone.results)


def test_a_sum_that_cannot_be_scored_says_nothing_and_is_asked_for_again() -> None:
    judge = CountingJudge()
    judge.refused = 2
    star = fold_all(EMPTY, [visit(0, p=0.9), visit(1, p=0.9)], judge).star
    assert [said is None for said in star.together] == [False, True]
    assert star.said == star.together[0]
    assert star.is_candidate
    judge.refused = 0
    star = fold(star, visit(2, p=0.9), judge).star
    assert None not in star.together


def test_a_series_is_of_one_grating_and_a_group_of_all() -> None:
    blue, red = visit(0), visit(0, grating="GI")
    bare = replace(blue, spectrum=replace(blue.spectrum, grating=None))
    assert [o.series for o in (blue, red, bare)] == [("csst", g, "low") for g in ("GV", "GI", "")]
    assert blue.group == red.group == bare.group == ("csst", "low")


def test_the_newest_spectra_of_a_grating_are_kept() -> None:
    many = [visit(i) for i in range(MOST_OF_A_GRATING + 3)]
    star = fold_all(EMPTY, many, JUDGE).star
    assert [o.visit for o in star.observations] == [o.visit for o in many[3:]]
    backwards = fold_all(EMPTY, reversed(many), JUDGE).star
    assert state(star) == state(backwards)
    assert not fold(star, many[0], JUDGE).has_changed


def test_the_gratings_of_a_survey_speak_together() -> None:
    star = fold_all(EMPTY, [visit(0, p=0.9, snr=60.0), visit(1, p=0.1, snr=10.0, grating="GI")], JUDGE).star
    assert star.said is not None
    assert star.said.p_cemp == 0.5
    assert star.gratings == ("GI", "GV")
    assert [o.visit for o in star.speaking()] == [("csst", "v0-GV"), ("csst", "v1-GI")]


@pytest.mark.parametrize("grating", ["GV", "GI"], ids=["another visit", "another grating"])
def test_mixed_light_does_not_spoil_what_is_clean(grating: str) -> None:
    """In whatever order they come, and whichever was observed first."""
    for clean, mixed in ((0, 1), (1, 0)):
        seen = [visit(clean, p=0.9), visit(mixed, p=0.1, grating=grating, is_mixed=True)]
        for order in itertools.permutations(seen):
            star, _ = live(list(order))
            assert star.said is not None
            assert star.said.p_cemp == 0.9
            assert [o.visit for o in star.speaking()] == [seen[0].visit]
            assert star.is_candidate


def test_of_two_packets_of_one_reduction_that_differ_in_their_light_the_same_one_is_kept() -> None:
    other = visit(1, p=0.1)
    ends = set()
    for order in itertools.permutations([visit(0, p=0.9), visit(0, p=0.9, is_mixed=True), other]):
        star, _ = live(list(order))
        ends.add((tuple(o.is_mixed for o in star.observations), star.is_candidate))
    assert len(ends) == 1, "whatever the order of arrival"


def test_where_all_light_is_mixed_all_is_put_together() -> None:
    seen = [visit(0, p=0.9, is_mixed=True), visit(1, p=0.1, is_mixed=True)]
    star = fold_all(EMPTY, seen, JUDGE).star
    assert star.said is not None
    assert star.said.p_cemp == 0.5
    assert len(star.speaking()) == 2


def said_of(survey: str, width: float, snr: float = 20.0) -> tuple[GroupKey, Said]:
    said = visit(0).said
    cfe = Estimate(1.0, 1.0 - width / 2, 1.0 + width / 2)
    return (survey, "low"), replace(said, snr=snr, parameters={**said.parameters, "cfe": cfe})


@pytest.mark.parametrize(
    ("saids", "chosen"),
    [
        ([("sdss", 0.4, 20.0), ("csst", 0.3, 10.0)], "csst"),
        ([("sdss", 0.4, 20.0), ("csst", math.nan, 90.0)], "sdss"),
        ([("sdss", math.nan, 20.0), ("csst", math.nan, 30.0)], "csst"),
        ([("sdss", 0.4, 20.0), ("csst", 0.4, 20.0)], "csst"),  # as good as the other: by name, not by arrival
    ],
)
def test_of_surveys_the_one_that_knows_carbon_best_speaks(
    saids: list[tuple[str, float, float]], chosen: str
) -> None:
    for order in itertools.permutations(saids):
        speaker = combine(dict(said_of(*one) for one in order))
        assert speaker == (chosen, "low")


def test_of_nothing_none_speaks() -> None:
    assert combine({}) is None


def test_a_spectrum_that_may_be_another_sources_neither_makes_a_candidate_nor_retracts_one() -> None:
    def confused(observation: Observation) -> Said:
        said = observation.said
        return replace(said, decision=replace(said.decision, is_candidate=False))

    sure, doubtful, low = visit(0, p=0.9).said, confused(visit(1, p=0.9)), visit(2, p=0.01).said
    for history, expected in (
        ([doubtful], False),
        ([sure, doubtful], True),
        ([sure, low, doubtful], False),
        ([doubtful, sure], True),
    ):
        assert is_candidate_after(growth(history)) is expected


def test_a_star_without_observations_says_nothing() -> None:
    assert EMPTY.said is None
    assert not EMPTY.is_candidate
    assert EMPTY.observed == (None, None)


def said_with(p: float) -> Said:
    return replace(visit(0, p=p).said, p_cemp=p)


@given(st.lists(st.floats(0.0, 1.0), max_size=30), st.floats(0.01, 0.99))
def test_p_within_the_margin_never_flaps(ps: list[float], threshold: float) -> None:
    lowest = KEPT_ODDS * threshold / (1 - threshold + KEPT_ODDS * threshold)
    within = [max(p, lowest + 1e-9) for p in ps]
    told, sent = [], None
    for n in range(1, len(within) + 1):
        is_one = is_candidate_after((p, threshold) for p in within[:n])
        said = said_with(within[n - 1])
        alert = next_alert(is_one, said, sent)
        if alert is not None:
            told.append(alert)
            sent = Sent(
                alert_id="a", alert_type=alert, revision=n, subclass=said.subclass, parameters=said.parameters
            )
    assert "retraction" not in told
    assert told.count("initial") <= 1


@given(st.lists(st.sampled_from([0.0, 0.3, 0.4, 0.6, 1.0, math.nan]), max_size=12))
def test_a_star_changes_its_side_only_across_the_whole_margin(ps: list[float]) -> None:
    sides = [is_candidate_after((p, 0.5) for p in ps[:n]) for n in range(len(ps) + 1)]
    for (before, after), p in zip(itertools.pairwise(sides), ps, strict=True):
        if after and not before:
            assert p >= 0.5
        if before and not after:
            assert p < 1 / 3  # half of the odds of 0.5


@pytest.mark.parametrize(
    ("is_candidate", "before", "expected"),
    [
        (True, None, "initial"),
        (False, None, None),
        (True, "initial", "subsequent"),
        (False, "update", "retraction"),
        (False, "retraction", None),
        (True, "retraction", "initial"),
    ],
)
def test_the_next_alert(is_candidate: bool, before: AlertType | None, expected: AlertType | None) -> None:
    said = visit(0).said
    sent = before and Sent(
        alert_id="a", alert_type=before, revision=1, subclass=said.subclass, parameters=said.parameters
    )
    assert next_alert(is_candidate, said, sent or None) == expected


def test_numbers_beyond_their_intervals_and_a_new_subclass_are_updates() -> None:
    said = visit(0).said
    sent = Sent(
        alert_id="a", alert_type="initial", revision=1, subclass=said.subclass, parameters=said.parameters
    )
    assert not has_moved(said, sent)
    far = {**said.parameters, "cfe": Estimate(2.0, 1.9, 2.1)}
    assert has_moved(replace(said, parameters=far), sent)
    assert next_alert(True, replace(said, parameters=far), sent) == "update"
    lost = {**said.parameters, "cfe": Estimate(math.nan, math.nan, math.nan)}
    assert not has_moved(replace(said, parameters=lost), sent)
    assert has_moved(replace(said, subclass_p={"cemp_no": 0.9, "cemp_s": 0.1}), sent)
