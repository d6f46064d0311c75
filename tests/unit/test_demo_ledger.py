"""The night's ledger: every lost spectrum is seen, and no repeat counts twice."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cempstream.schemas.alert import encode_alert
from cempstream.schemas.samples import sample_classification, sample_spectrum, sample_stamp
from cempstream.schemas.score import encode_score
from cempstream.streams.rehearsal.arrivals import Arrival
from cempstream.streams.rehearsal.demo import verdict
from cempstream.streams.rehearsal.ledger import Ledger
from cempstream.streams.rehearsal.live_table import Moment, alert_cells, status_line
from cempstream.streams.rehearsal.night_spectra import NightSpectrum
from cempstream.streams.rehearsal.patience import Patience
from cempstream.streams.settings import TopicSettings

TOPICS = TopicSettings()


def night_spectrum(name: str, *, is_cemp: bool | None = False) -> NightSpectrum:
    return NightSpectrum(replace(sample_spectrum(), spectrum_id=name), "test", is_cemp, "giant")


def arrival(topic: str, value: bytes, **headers: str) -> Arrival:
    named = {name.replace("_", "."): text for name, text in headers.items()}
    return Arrival(topic, value, named, datetime.now(UTC))


def score(name: str) -> Arrival:
    result = replace(sample_classification(), spectrum=replace(sample_spectrum(), spectrum_id=name))
    return arrival(TOPICS.scores, encode_score(result, sample_stamp()))


def alert(name: str) -> Arrival:
    result = replace(sample_classification(), spectrum=replace(sample_spectrum(), spectrum_id=name))
    return arrival(TOPICS.alerts, encode_alert(result, sample_stamp()))


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger(TOPICS)
    for i, is_cemp in enumerate([True, True, False, None]):
        ledger.enter(night_spectrum(f"s{i}", is_cemp=is_cemp), f"sha{i}")
    return ledger


def test_what_did_not_come_out_is_named(ledger: Ledger) -> None:
    ledger.book([score("s0"), score("s2"), arrival(TOPICS.dlq, b"", orig_sha256="sha3", error_reason="bad")])
    assert ledger.unaccounted() == ["s1"]
    assert (ledger.n_sent, ledger.n_scored, ledger.n_dead, ledger.n_out) == (4, 2, 1, 3)
    assert ledger.dead_reasons == {"bad": 1}


def test_a_repeat_does_not_stand_for_another_spectrum(ledger: Ledger) -> None:
    ledger.book([score("s0")] * 4)
    assert ledger.n_scored == ledger.n_out == 1
    assert ledger.unaccounted() == ["s1", "s2", "s3"]


def test_a_spectrum_sent_twice_must_come_out_twice(ledger: Ledger) -> None:
    ledger.enter(night_spectrum("s0"), "sha0-again")
    ledger.book([score(name) for name in ("s0", "s1", "s2", "s3")])
    assert ledger.unaccounted() == ["s0"]
    ledger.book([score("s0")])
    assert ledger.unaccounted() == []


def test_a_score_of_nobody_accounts_for_nobody(ledger: Ledger) -> None:
    ledger.book([score("stranger"), arrival(TOPICS.dlq, b"", orig_sha256="?", error_reason="not_avro")])
    assert ledger.n_out == 0
    assert len(ledger.unaccounted()) == 4


def test_recall_and_purity_count_stars_whose_truth_is_known(ledger: Ledger) -> None:
    new = ledger.book([alert("s0"), alert("s0"), alert("s2"), alert("s3")])
    assert [seen.is_cemp for seen in new] == [True, False, None]
    quality = ledger.quality()
    assert (quality.n_cemp, quality.n_found, quality.n_alerts) == (2, 1, 2)
    assert quality.recall == 0.5
    assert quality.purity == 0.5
    assert Ledger(TOPICS).quality().recall != Ledger(TOPICS).quality().recall  # NaN: nothing is known


def test_latency_is_from_reduction_to_publication(ledger: Ledger) -> None:
    assert ledger.latency_s(50) != ledger.latency_s(50)
    ledger.book([score("s0")])
    assert ledger.latency_s(50) == pytest.approx(0.115, abs=1e-6)


def test_the_watcher_is_told_the_books(ledger: Ledger) -> None:
    (seen,) = ledger.book([alert("s0"), score("s0")])
    line = status_line(ledger, Moment("the night goes on", 9, 1))
    for wanted in ("4 of 9 in", "1 scored", "0 dead letters", "p50 0.12 s", "1 alerts", "1 pictures"):
        assert wanted in line
    cells = alert_cells(seen)
    assert cells[1:5] == ("0.970", "-2.41", "+1.52", "CEMP-s")
    assert cells[-1] == "CEMP"
    assert "C2 5165 40 %" in cells[-2]


def test_the_accounts_balance_when_every_candidate_has_its_alert(ledger: Ledger) -> None:
    ledger.book([score(name) for name in ("s0", "s1", "s2", "s3")])  # all of them candidates
    ledger.book([alert(name) for name in ("s0", "s1", "s2")])
    assert not ledger.is_balanced()
    assert ledger.without_alert() == ["s3"]
    ledger.book([alert("s3")])
    assert ledger.is_balanced()


def test_a_late_picture_is_a_remark_and_a_lost_spectrum_a_failure(ledger: Ledger) -> None:
    ledger.book([score(name) for name in ("s0", "s1", "s2", "s3")])
    ledger.book([alert(name) for name in ("s0", "s1", "s2", "s3")])
    assert verdict(ledger, n_late=0) == ((), ())
    assert verdict(ledger, n_late=3) == (("3 pictures were not drawn; the alerts are all there",), ())
    ledger.enter(night_spectrum("s4"), "sha4")
    assert verdict(ledger, n_late=0) == ((), ("1 spectra are unaccounted for: s4",))


@pytest.mark.parametrize(("n_cemp", "n_failures"), [(9, 0), (10, 1)])
def test_of_a_few_cemp_stars_all_may_be_missed(n_cemp: int, n_failures: int) -> None:
    ledger = Ledger(TOPICS)
    for i in range(n_cemp):
        ledger.enter(night_spectrum(f"s{i}", is_cemp=True), f"sha{i}")
    ledger.book([arrival(TOPICS.dlq, b"", orig_sha256=f"sha{i}", error_reason="bad") for i in range(n_cemp)])
    _, failures = verdict(ledger, n_late=0)
    assert len(failures) == n_failures


def test_patience_lasts_as_long_as_something_moves() -> None:
    patience = Patience(limit_s=0.05)
    moves = itertools.count()
    began_s = time.monotonic()
    while time.monotonic() - began_s < 0.2:
        assert not patience.is_over(next(moves), "still")
    while not patience.is_over("still"):
        time.sleep(0.01)


def test_a_machine_that_slept_is_not_late(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    patience = Patience(limit_s=10.0)
    assert not patience.is_over("still")
    now_s = 3600.0
    assert not patience.is_over("still")
