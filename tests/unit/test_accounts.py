"""The worker's accounts: every packet is booked once, where it belongs."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cempstream.processors.decide import Policy
from cempstream.processors.outcome import Outcome, Rebinned, Rejected
from cempstream.processors.spectrum import Reason
from cempstream.streams.kafka.messages import PacketOrigin
from cempstream.streams.settings import TopicSettings
from cempstream.streams.telemetry.metrics import Metrics
from cempstream.streams.worker.accounts import Accounts
from cempstream.streams.worker.breaker import Breakers
from tests.support.fakes import GRID, classification, make_spectrum

TOPICS = TopicSettings()
NOW = datetime(2026, 3, 1, 12, 1, tzinfo=UTC)
POLICY = Policy("1", 3e-4, 0.5)
JUNK = Rejected(b"", Reason.TRUNCATED, "it ends early")


LAMOST, DESI = "lamost.spectra.v1", "desi.spectra.v1"


def origin(tense: str = "current", topic: str = LAMOST) -> PacketOrigin:
    return PacketOrigin(topic, 0, 7, 0, None, (("tense", tense.encode()),))


def star(p_cemp: float) -> Outcome:
    return classification(make_spectrum(), p_cemp, POLICY)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def breakers() -> Breakers:
    return Breakers([LAMOST, DESI], share=0.5, window=10, probe_after_s=30.0)


@pytest.fixture
def accounts(metrics: Metrics, breakers: Breakers) -> Accounts:
    return Accounts(metrics, breakers, TOPICS)


def test_the_tally_counts_each_packet_once(accounts: Accounts) -> None:
    accounts.book([star(0.9), star(0.001), JUNK], [origin()] * 3, NOW)
    accounts.book([star(0.9)], [origin()], NOW)
    tally = accounts.tally
    assert (tally.n_scored, tally.n_dead_letters, tally.n_alerts) == (3, 1, 2)
    assert tally.last_spectrum_at == NOW


def test_alerts_of_an_archival_night_count_under_their_own_topic(
    accounts: Accounts, metrics: Metrics
) -> None:
    accounts.book([star(0.9), star(0.9), star(0.9)], [origin(), origin("archival"), origin("archival")], NOW)

    def count(topic: str) -> float | None:
        return metrics.registry.get_sample_value("cemp_alerts_published_total", {"topic": topic})

    assert count(TOPICS.alerts) == count(TOPICS.alerts_json) == 1
    assert count(TOPICS.alerts_archival) == 2


def test_the_breaker_opens_and_closes_with_one_line_each(
    accounts: Accounts, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    def opened() -> float | None:
        return metrics.registry.get_sample_value("cemp_breaker_open", {"topic": LAMOST})

    assert opened() == 0
    with caplog.at_level(logging.WARNING):
        accounts.book([JUNK] * 10, [origin()] * 10, NOW)
        assert opened() == 1
        accounts.book([star(0.001)] * 10, [origin()] * 10, NOW)
        assert opened() == 0
    events = [getattr(record, "event", "") for record in caplog.records]
    assert [event for event in events if event.startswith("breaker")] == ["breaker_opened", "breaker_closed"]
    (opening,) = (record for record in caplog.records if getattr(record, "event", "") == "breaker_opened")
    assert "50 %" in opening.getMessage()
    assert "30 s" in opening.getMessage()


def test_a_dead_letter_is_said_with_its_place(accounts: Accounts, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        accounts.book([star(0.001), JUNK], [origin(), origin(topic=DESI)], NOW)
    (said,) = (vars(record) for record in caplog.records if getattr(record, "event", "") == "dead_letter")
    assert (said["topic"], said["partition"], said["offset"]) == (DESI, 0, 7)


def test_each_topics_packets_are_judged_by_themselves(
    accounts: Accounts, metrics: Metrics, breakers: Breakers, caplog: pytest.LogCaptureFixture
) -> None:
    origins = [origin(), origin(topic=DESI)] * 10
    with caplog.at_level(logging.WARNING):
        accounts.book([JUNK, star(0.001)] * 10, origins, NOW)
    assert breakers[LAMOST].is_open
    assert not breakers[DESI].is_open
    opened = [record for record in caplog.records if getattr(record, "event", "") == "breaker_opened"]
    assert [getattr(record, "topic", None) for record in opened] == [LAMOST]
    value = metrics.registry.get_sample_value
    assert [value("cemp_breaker_open", {"topic": topic}) for topic in (LAMOST, DESI)] == [1, 0]
    assert (accounts.tally.n_scored, accounts.tally.n_dead_letters) == (10, 10)


def test_what_goes_to_its_star_is_no_alert_of_the_workers(accounts: Accounts, metrics: Metrics) -> None:
    spectrum = replace(make_spectrum(), object_id="star 1")
    kept = Rebinned(GRID, spectrum.flux, spectrum.ivar, 1800.0, 0.0, True)
    followed = replace(classification(spectrum, 0.9, POLICY), rebinned=kept)
    nameless = replace(followed, spectrum=make_spectrum())
    accounts.book([followed, nameless], [origin(), origin()], NOW)
    assert (accounts.tally.n_scored, accounts.tally.n_alerts) == (2, 1)
    count = metrics.registry.get_sample_value("cemp_alerts_published_total", {"topic": TOPICS.alerts})
    assert count == 1
