"""From arrivals to states and alerts: a star folded once a batch, a repeat silent, no alert forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cempstream.processors.outcome import Classification
from cempstream.processors.stars.observation import Observation
from cempstream.schemas.observation import ObservationPacket
from cempstream.schemas.star import StarPacket, decode_star, encode_star
from cempstream.streams.kafka.messages import PacketOrigin
from cempstream.streams.stars.folding import Arrival, Change, Told, fold_arrivals
from tests.support.visits import NIGHT, MeanJudge, visit

TOPIC = "cemp.observations.v1"


def arrive(observation: Observation, offset: int, *, name: str = "star", tense: str = "current") -> Arrival:
    packet = ObservationPacket(
        object_id=name,
        observation=observation,
        tense=tense,  # type: ignore[arg-type]
        ingested_at=NIGHT,
        inferred_at=NIGHT,
        published_at=NIGHT,
    )
    return Arrival(packet, PacketOrigin(TOPIC, 0, offset, 0, None, ()))


class Follower:
    """Folds as the agent does, and may be killed between the state and the alert."""

    def __init__(self, judge: MeanJudge | None = None) -> None:
        self.judge = judge or MeanJudge()
        self.states: dict[tuple[int, bytes], bytes] = {}
        self.told: list[tuple[str, str, int]] = []

    def fold(self, *arrivals: Arrival, dies_before_alert: bool = False) -> list[Change]:
        changes = fold_arrivals(arrivals, lambda *key: self.states.get(key), self.judge)
        self._tell(change.again for change in changes)
        for change in changes:
            if change.has_changed:
                offset = max(arrival.origin.offset for arrival in change.arrivals)
                packet = StarPacket(star=change.star, survey="csst", updated_at=NIGHT, offset=offset)
                self.states[change.partition, change.key] = encode_star(packet)
        if not dies_before_alert:
            self._tell(change.alert for change in changes)
        return changes

    def _tell(self, alerts: Iterable[Told | None]) -> None:
        self.told += [
            (told.sent.alert_type, told.sent.alert_id, told.sent.revision) for told in alerts if told
        ]

    @property
    def types(self) -> list[str]:
        """Types of the alerts, each id once."""
        return [kind for kind, _, _ in dict.fromkeys(self.told)]


def test_a_star_has_a_life_and_each_alert_names_the_one_before() -> None:
    follower = Follower()
    first, second = visit(0, p=0.9), visit(1, p=0.9)
    (born,) = follower.fold(arrive(first, 0))
    (grown,) = follower.fold(arrive(second, 1))
    (gone,) = follower.fold(arrive(visit(0, p=0.0, reduction=1), 2), arrive(visit(1, p=0.0, reduction=1), 3))
    sent = [change.star.sent for change in (born, grown, gone)]
    assert [s.alert_type for s in sent if s] == ["initial", "subsequent", "retraction"]
    assert [s.revision for s in sent if s] == [0, 1, 2]
    assert [s.supersedes for s in sent if s] == [None, *(s.alert_id for s in sent[:2] if s)]
    told = gone.alert
    assert told is not None
    assert not told.result.decision.is_candidate


def test_what_arrives_together_is_folded_once_and_stars_are_kept_apart() -> None:
    judge = MeanJudge()
    follower = Follower(judge)
    changes = follower.fold(
        arrive(visit(0, p=0.9), 0),
        arrive(visit(0, p=0.1), 1, name="other"),
        arrive(visit(1, p=0.9), 2),
        arrive(visit(0, p=0.9), 3, tense="injection"),
    )
    assert [len(change.arrivals) for change in changes] == [2, 1, 1]
    assert [change.alert is not None for change in changes] == [True, False, True]
    assert [change.star.tense for change in changes] == ["current", "current", "injection"]
    assert follower.types == ["initial", "initial"]


def test_a_repeat_changes_nothing_and_tells_nothing() -> None:
    follower = Follower()
    follower.fold(arrive(visit(0, p=0.9), 0))
    follower.fold(arrive(visit(1, p=0.9), 1))
    before = dict(follower.states)
    (change,) = follower.fold(arrive(visit(0, p=0.9), 2))
    assert (change.has_changed, change.again, change.alert) == (False, None, None)
    assert follower.states == before


def test_an_alert_that_was_not_sent_is_sent_when_its_observation_comes_again() -> None:
    follower = Follower()
    (lost,) = follower.fold(arrive(visit(0, p=0.9), 7), dies_before_alert=True)
    assert follower.told == []
    (again,) = follower.fold(arrive(visit(0, p=0.9), 7))
    assert not again.has_changed
    assert lost.star.sent is not None
    assert follower.told == [("initial", lost.star.sent.alert_id, 0)]


def test_an_alert_that_was_not_sent_comes_before_what_is_newer() -> None:
    follower = Follower()
    first, second = arrive(visit(0, p=0.9), 7), arrive(visit(1, p=0.9), 8)
    follower.fold(first, dies_before_alert=True)
    (change,) = follower.fold(first, second)
    assert change.again is not None
    assert change.alert is not None
    assert [change.again.sent.alert_type, change.alert.sent.alert_type] == ["initial", "subsequent"]
    assert change.alert.sent.supersedes == change.again.sent.alert_id


def test_an_observation_that_called_for_no_alert_calls_for_none_when_it_comes_again() -> None:
    follower = Follower()
    follower.fold(arrive(visit(0, p=0.9), 0))
    follower.fold(arrive(visit(0, p=0.0, reduction=1), 1))
    follower.fold(arrive(visit(1, p=0.0), 2))
    follower.fold(arrive(visit(1, p=0.0), 2))
    assert [kind for kind, _, _ in follower.told] == ["initial", "retraction"]


def test_the_gratings_of_a_star_speak_together_in_its_alert() -> None:
    follower = Follower()
    follower.fold(arrive(visit(0, p=0.9, snr=60.0), 0))
    (change,) = follower.fold(arrive(visit(1, p=0.3, snr=5.0, grating="GI"), 1))
    assert change.alert is not None
    assert change.alert.result.spectrum.grating == "GI+GV"
    assert change.alert.result.p_cemp == pytest.approx(0.6)


def test_the_sum_that_speaks_is_scored_for_the_alert_when_a_spectrum_for_another_bundle_has_come() -> None:
    follower = Follower()
    follower.fold(arrive(visit(0, p=0.9, snr=60.0), 0))
    other = visit(1, p=0.1, snr=5.0)
    other = replace(other, said=replace(other.said, bundle="mid-1.0.0"))
    (change,) = follower.fold(arrive(other, 1))
    told = change.alert
    assert told is not None
    assert told.result.spectrum.spectrum_id == "v0-GV"
    assert told.sent.alert_type == "subsequent"


class FailingJudge(MeanJudge):
    """Fails on sums of one visit's spectrum."""

    def __call__(self, groups: Sequence[Sequence[Observation]]) -> list[Classification | None]:
        if any(o.spectrum.spectrum_id == "v9-GV" for group in groups for o in group):
            raise ValueError("no such sum")
        return super().__call__(groups)


def test_a_star_that_cannot_be_folded_does_not_stop_the_others() -> None:
    follower = Follower(FailingJudge())
    changes = follower.fold(
        arrive(visit(0, p=0.9), 0), arrive(visit(9), 1, name="bad"), arrive(visit(0), 2, name="c")
    )
    assert [change.problem for change in changes] == [None, "ValueError: no such sum", None]
    assert [change.has_changed for change in changes] == [True, False, True]
    assert len(follower.states) == 2


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_kills_change_neither_the_end_nor_the_life(data: st.DataObject) -> None:
    """Batches are cut anywhere; a process dies after its states, and its successor goes back to a commit."""
    ps = data.draw(st.lists(st.sampled_from([0.0, 0.3, 0.6, 0.95]), min_size=1, max_size=7))
    log = [arrive(visit(i % 4, p=p, reduction=i // 4), i) for i, p in enumerate(ps)]
    follower, calm = Follower(), Follower()
    for arrival in log:
        calm.fold(arrival)
    committed = 0
    for _ in range(3):
        end = data.draw(st.integers(committed + 1, len(log)), label="read to")
        follower.fold(*log[committed:end], dies_before_alert=True)
        committed = data.draw(st.integers(committed, end - 1), label="committed")
    while committed < len(log):
        end = data.draw(st.integers(committed + 1, len(log)), label="batch")
        follower.fold(*log[committed:end])
        committed = end
    (one,), (other,) = follower.states.values(), calm.states.values()
    mine, theirs = decode_star(one).star, decode_star(other).star
    assert [(o.visit, o.rank) for o in mine.observations] == [(o.visit, o.rank) for o in theirs.observations]
    assert mine.together == theirs.together
    stands = False
    for kind in follower.types:
        assert (kind == "initial") != stands, follower.types
        stands = kind != "retraction"
    assert stands == mine.is_candidate == theirs.is_candidate
