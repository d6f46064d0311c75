"""The ledger of followed stars: a lost observation, a missing alert and an impossible life are seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cempstream.processors.spectrum import Spectrum
from cempstream.processors.stars.observation import Observation
from cempstream.schemas.alert import encode_alert
from cempstream.schemas.observation import decode_observation, encode_observation
from cempstream.schemas.score import encode_score
from cempstream.schemas.stamp import Stamp
from cempstream.schemas.star import StarPacket, encode_star
from cempstream.streams.kafka.messages import PacketOrigin
from cempstream.streams.rehearsal.arrivals import Arrival
from cempstream.streams.rehearsal.demo import verdict
from cempstream.streams.rehearsal.night_spectra import NightSpectrum
from cempstream.streams.rehearsal.star_ledger import StarLedger
from cempstream.streams.settings import TopicSettings
from cempstream.streams.stars.folding import Arrival as Seen
from cempstream.streams.stars.folding import fold_arrivals
from tests.support.fakes import classification
from tests.support.visits import NIGHT, POLICY, MeanJudge, visit

TOPICS = TopicSettings()
STAMP = Stamp("test", NIGHT, NIGHT, NIGHT)
#: A star that rises with its second spectrum, falls with the fourth, and rises again.
P = (0.3, 0.9, 0.0001, 0.0001, 0.99, 0.99)


def arrival(topic: str, value: bytes) -> Arrival:
    return Arrival(topic, value, {}, datetime.now(UTC))


class Night:
    """A star and all that the stream says of it, folded as `stars run` does."""

    def __init__(self, ps: Sequence[float] = P) -> None:
        self.spectra: list[Spectrum] = []
        self.scores: list[Arrival] = []
        self.observations: list[Arrival] = []
        self.states: list[Arrival] = []
        self.alerts: list[Arrival] = []
        held: bytes | None = None
        for i, p in enumerate(ps):
            seen: Observation = visit(i, p=p)
            self.spectra.append(seen.spectrum)
            result = classification(seen.spectrum, p, POLICY)
            self.scores.append(arrival(TOPICS.scores, encode_score(result, STAMP)))
            packet = encode_observation(seen, STAMP)
            self.observations.append(arrival(TOPICS.observations, packet))
            origin = PacketOrigin(TOPICS.observations, 0, i, 0, None, ())
            seen_there = [Seen(decode_observation(packet), origin)]
            (change,) = fold_arrivals(seen_there, lambda *_, known=held: known, MeanJudge())
            held = encode_star(StarPacket(star=change.star, survey="csst", updated_at=NIGHT, offset=i))
            self.states.append(arrival(TOPICS.stars, held))
            if change.alert is not None:
                sent = change.alert.sent
                stamp = replace(
                    STAMP, alert_type=sent.alert_type, revision=sent.revision, supersedes=sent.supersedes
                )
                alert = encode_alert(change.alert.result, stamp, change.alert.star)
                self.alerts.append(arrival(TOPICS.alerts, alert))

    def ledger(self, *, is_cemp: bool = True) -> StarLedger:
        ledger = StarLedger(TOPICS)
        for i, spectrum in enumerate(self.spectra):
            ledger.enter(NightSpectrum(spectrum, "test", is_cemp, "giant", i), f"sha{i}")
        return ledger


@pytest.fixture(scope="module")
def night() -> Night:
    return Night()


def types(ledger: StarLedger) -> list[str]:
    (life,) = ledger.lives()
    return [seen.alert.alert_type for seen in life.alerts]


def test_a_life_that_was_told_in_full_balances_in_whatever_order_it_is_read(night: Night) -> None:
    ledger = night.ledger()
    ledger.book([*reversed(night.alerts), *night.alerts, *night.scores, *night.observations, *night.states])
    assert types(ledger) == ["initial", "subsequent", "retraction", "initial"]
    assert ledger.alert_types() == {"initial": 2, "subsequent": 1, "retraction": 1}
    assert ledger.is_balanced()
    assert verdict(ledger, 0) == ((), ())


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        (0, "star: subsequent alert 1 follows none"),
        (1, "star: retraction alert 2 does not name the one before"),
        (2, "star: initial alert 3 follows subsequent"),
        (3, "star: its last alert has not come"),
    ],
)
def test_a_gap_is_a_failure_whichever_alert_is_lost(night: Night, lost: int, said: str) -> None:
    ledger = night.ledger()
    told = [alert for i, alert in enumerate(night.alerts) if i != lost]
    ledger.book([*night.scores, *night.observations, *night.states, *told])
    assert not ledger.is_balanced()
    assert said in verdict(ledger, 0)[1]


def test_a_candidate_of_which_no_one_is_told_is_a_failure(night: Night) -> None:
    ledger = night.ledger()
    ledger.book([*night.scores, *night.observations, *night.states])
    _, failures = verdict(ledger, 0)
    assert failures == (
        "star: its last alert has not come",
        "star: it is a candidate, and no alert says so",
    )


def test_a_lost_observation_and_a_lost_state_are_seen(night: Night) -> None:
    ledger = night.ledger()
    ledger.book([*night.scores, *night.observations, *night.states[:-1], *night.alerts])
    assert ledger.unfolded() == ["v5-GV"]
    assert not ledger.is_balanced()
    bare = night.ledger()
    bare.book([*night.scores, *night.observations, *night.alerts])
    assert bare.broken_lives() == ["star: it has alerts and no state"]


def test_a_candidate_that_is_no_observation_needs_an_alert(night: Night) -> None:
    ledger = night.ledger()
    ledger.book(night.scores)
    assert ledger.without_alert() == ["v1-GV", "v4-GV", "v5-GV"]
    ledger.book(night.observations)
    assert ledger.without_alert() == []


@pytest.mark.parametrize(
    ("ps", "is_cemp", "counts"),
    [(P, True, (1, 1, 1)), (P[:4], True, (1, 0, 0)), (P, False, (0, 0, 1)), ((0.1,), True, (1, 0, 0))],
)
def test_recall_and_purity_count_stars_whose_alert_stands(
    ps: tuple[float, ...], is_cemp: bool, counts: tuple[int, int, int]
) -> None:
    night = Night(ps)
    ledger = night.ledger(is_cemp=is_cemp)
    ledger.book([*night.scores, *night.observations, *night.states, *night.alerts])
    quality = ledger.quality()
    assert (quality.n_cemp, quality.n_found, quality.n_alerts) == counts
