"""The account of exposures: every spectrum once, whatever is repeated, late or lost."""

from __future__ import annotations

import random
import sys
from datetime import UTC, datetime, timedelta

import pytest

from cempstream.schemas.codec import encode_spectrum
from cempstream.schemas.exposure import Exposure, peek_exposure
from cempstream.schemas.packets import HEADER_BYTES
from cempstream.schemas.samples import sample_spectrum
from cempstream.schemas.stamp import exposure_event_id
from cempstream.streams.operations.exposure_book import (
    LARGEST_EXPOSURE,
    ExposureBook,
    ExposureKey,
    Seen,
    Step,
)
from cempstream.streams.operations.exposure_watch import ExposureMetrics

NOW = datetime(2026, 11, 20, 3, tzinfo=UTC)
KEY = ExposureKey("desi", "e1", "1")
TIMEOUT_S = 60.0


def seen(
    i: int,
    size: int = 10,
    *,
    key: ExposureKey = KEY,
    scored: bool = True,
    alert: bool = False,
    after_s: float = 0.0,
) -> Seen:
    at = NOW + timedelta(seconds=after_s)
    reduced_at = at - timedelta(seconds=2) if scored else None
    step = Step.SCORED if scored else Step.DEAD
    return Seen(key, size, f"{key.exposure_id}-{i}", step, at, alert, reduced_at)


def sent(i: int, size: int = 10, *, after_s: float = 0.0) -> Seen:
    return Seen(KEY, size, f"{KEY.exposure_id}-{i}", Step.SENT, NOW + timedelta(seconds=after_s))


def feed(book: ExposureBook, outcomes: list[Seen]) -> list[Exposure]:
    return [event for outcome in outcomes for event in book.take(outcome, NOW)]


def test_an_exposure_is_complete_with_its_last_spectrum() -> None:
    book = ExposureBook(TIMEOUT_S)
    outcomes = [seen(i, scored=i % 5 > 0, alert=i == 7, after_s=i) for i in range(10)]
    assert feed(book, outcomes[:9]) == []
    (event,) = feed(book, outcomes[9:])
    assert (event.status, event.n_expected, event.n_in) == ("complete", 10, 10)
    assert (event.n_scored, event.n_dead_letters, event.n_alerts, event.n_missing) == (8, 2, 1, 0)
    assert event.latency_seconds == pytest.approx(9 - 1 + 2)
    assert event.event_id == exposure_event_id("desi", "e1", "1", "complete")
    assert (book.n_open, book.n_spectra) == (0, 0)


def test_repeats_and_any_order_give_the_same_account() -> None:
    outcomes = [
        seen(i, 50, key=ExposureKey("desi", f"e{e}", "1"), scored=i % 7 > 0)
        for e in range(4)
        for i in range(50)
    ]
    twice = outcomes + random.Random(1).choices(outcomes, k=100)
    random.Random(2).shuffle(twice)
    events = feed(ExposureBook(TIMEOUT_S), twice)
    assert sorted(event.exposure_id for event in events) == ["e0", "e1", "e2", "e3"]
    assert {(event.n_scored, event.n_dead_letters) for event in events} == {(42, 8)}


def test_a_repeat_after_the_end_opens_nothing() -> None:
    book = ExposureBook(TIMEOUT_S)
    assert len(feed(book, [seen(i) for i in range(10)])) == 1
    assert feed(book, [seen(i) for i in range(10)]) == []
    assert book.n_open == 0


def test_a_dead_letter_that_is_scored_later_is_scored() -> None:
    book = ExposureBook(TIMEOUT_S)
    feed(book, [seen(i, scored=False) for i in range(9)])
    feed(book, [seen(i) for i in range(3)])
    feed(book, [seen(0, scored=False)])
    (event,) = feed(book, [seen(9)])
    assert (event.n_scored, event.n_dead_letters) == (4, 6)


def test_what_stays_incomplete_is_reported_once_and_its_completion_too() -> None:
    book = ExposureBook(TIMEOUT_S)
    feed(book, [seen(i, alert=i == 0) for i in range(8)])
    assert list(book.overdue(NOW + timedelta(seconds=TIMEOUT_S - 1))) == []
    late = NOW + timedelta(seconds=TIMEOUT_S + 1)
    assert book.oldest_s(late) == pytest.approx(TIMEOUT_S + 1)
    (event,) = book.overdue(late)
    assert (event.status, event.n_in, event.n_missing, event.n_alerts) == ("incomplete", 8, 2, 1)
    assert list(book.overdue(late)) == []
    assert book.n_open == 1
    (event,) = feed(book, [seen(8), seen(9)])
    assert (event.status, event.n_in) == ("complete", 10)


def test_an_exposure_without_any_outcome_is_reported_and_may_yet_be_complete() -> None:
    book = ExposureBook(TIMEOUT_S)
    assert feed(book, [sent(i, after_s=i) for i in (0, 1, 2, 2, 1)]) == []
    assert list(book.overdue(NOW + timedelta(seconds=TIMEOUT_S + 1))) == [], "the last came after two seconds"
    (event,) = book.overdue(NOW + timedelta(seconds=TIMEOUT_S + 3))
    assert (event.status, event.n_expected, event.n_in, event.n_missing) == ("incomplete", 10, 0, 10)
    assert (event.n_received, event.latency_seconds) == (3, None)
    assert event.last_published_at == NOW + timedelta(seconds=2)
    (event,) = feed(book, [seen(i) for i in range(10)])
    assert (event.status, event.n_in, event.n_received, event.n_alerts) == ("complete", 10, 3, 0)
    assert feed(book, [sent(i) for i in range(10)]) == []
    assert (book.n_open, book.n_spectra) == (0, 0)


def test_what_was_sent_and_what_became_of_it_is_one_spectrum_in_any_order() -> None:
    steps = [step for i in range(9) for step in (sent(i), seen(i, scored=i < 6))]
    for seed in range(20):
        random.Random(seed).shuffle(steps)
        book = ExposureBook(TIMEOUT_S)
        assert feed(book, steps) == []
        assert book.n_spectra == 9
        (event,) = feed(book, [seen(9)])
        assert (event.n_received, event.n_scored, event.n_dead_letters) == (9, 7, 3)


def test_a_book_that_is_not_told_what_was_sent_does_not_say() -> None:
    book = ExposureBook(TIMEOUT_S, knows_sent=False)
    (event,) = feed(book, [seen(i) for i in range(10)])
    assert event.n_received is None


def test_a_restart_reports_nothing_twice() -> None:
    first = ExposureBook(TIMEOUT_S)
    other = ExposureKey("desi", "e2", "1")
    outcomes = [seen(i) for i in range(10)] + [seen(i, key=other) for i in range(6)]
    late = NOW + timedelta(seconds=TIMEOUT_S + 1)
    events = feed(first, outcomes) + list(first.overdue(late))
    assert [event.status for event in events] == ["complete", "incomplete"]
    second = ExposureBook(TIMEOUT_S)
    for event in events:
        second.remember(event)
    assert feed(second, outcomes) + list(second.overdue(late)) == []
    assert [event.status for event in feed(second, [seen(i, key=other) for i in range(6, 10)])] == [
        "complete"
    ]


def test_another_reduction_is_another_exposure() -> None:
    book = ExposureBook(TIMEOUT_S)
    again = ExposureKey("desi", "e1", "2")
    assert len(feed(book, [seen(i) for i in range(10)] + [seen(i, key=again) for i in range(10)])) == 2


def test_memory_is_bounded_and_what_is_given_up_is_said() -> None:
    book = ExposureBook(TIMEOUT_S, max_spectra=1000, max_closed=5)
    events: list[Exposure] = []
    for e in range(100):
        key = ExposureKey("desi", f"e{e}", "1")
        events += feed(book, [seen(i, 101, key=key) for i in range(100)])
        assert book.n_spectra <= 1000
    assert len(events) == 90
    assert {(event.status, event.n_missing) for event in events} == {("incomplete", 1)}
    assert len(book._closed) == 5


def test_a_size_that_no_exposure_has_is_not_believed() -> None:
    book = ExposureBook(TIMEOUT_S)
    assert feed(book, [seen(0, size) for size in (0, -1, LARGEST_EXPOSURE + 1, 2**31 - 1)]) == []
    assert book.n_open == 0


def test_metrics_start_at_zero_and_count_what_is_reported() -> None:
    metrics = ExposureMetrics()

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(name, labels)

    assert value("cemp_exposures_total", survey="desi", status="incomplete") == 0
    assert value("cemp_exposure_missing_spectra_total", survey="desi") == 0
    book = ExposureBook(TIMEOUT_S)
    (complete,) = feed(book, [seen(i) for i in range(10)])
    feed(book, [seen(i, key=ExposureKey("desi", "e2", "1")) for i in range(7)])
    (incomplete,) = book.overdue(NOW + timedelta(seconds=TIMEOUT_S + 1))
    metrics.count(complete)
    metrics.count(incomplete)
    assert value("cemp_exposures_total", survey="desi", status="complete") == 1
    assert value("cemp_exposures_total", survey="desi", status="incomplete") == 1
    assert value("cemp_exposure_missing_spectra_total", survey="desi") == 3
    assert value("cemp_exposure_latency_seconds_sum", survey="desi") == pytest.approx(2.0)


def test_a_spectrum_takes_about_a_hundred_bytes() -> None:
    book = ExposureBook(TIMEOUT_S)
    feed(book, [seen(i, 20_000) for i in range(10_000)])
    (exposure,) = book._open.values()
    n_bytes = sys.getsizeof(exposure.steps) + sum(map(sys.getsizeof, exposure.steps))
    assert n_bytes / 10_000 < 120


def test_the_exposure_of_a_bad_packet_is_known_as_far_as_its_first_bytes_go() -> None:
    spectrum = sample_spectrum()
    packet = encode_spectrum(spectrum)
    for bad in (packet[:200], packet[:-1], packet + b"more"):
        peeked = peek_exposure(bad)
        assert peeked is not None
        assert (peeked.survey, peeked.exposure_id, peeked.exposure_size, peeked.reduction_version) == (
            spectrum.survey,
            spectrum.exposure_id,
            spectrum.exposure_size,
            spectrum.reduction_version,
        )
    for unknown in (b"", b"\0", b"\x99" + packet[1:], packet[:HEADER_BYTES], packet[:40], b"\0\0\0\0\7abc"):
        assert peek_exposure(unknown) is None


def test_nothing_is_missing_where_more_came_than_was_announced() -> None:
    book = ExposureBook(TIMEOUT_S)
    (event,) = feed(book, [seen(i) for i in range(10)])
    assert event.model_copy(update={"n_in": 12}).n_missing == 0
