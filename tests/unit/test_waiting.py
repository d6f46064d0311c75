"""Lag in seconds, from the packets' own times."""

from cempstream.streams.worker.waiting import WaitingTime

PLACE, OTHER, SEEN = (("lamost.spectra.v1", partition) for partition in range(3))


def test_nothing_waits_where_nothing_waits() -> None:
    waiting = WaitingTime()
    waiting.deliver(PLACE, 1000.0)
    assert waiting.measure(PLACE, 0, 5000.0) == 0.0


def test_a_backlog_is_as_old_as_what_was_delivered_last() -> None:
    waiting = WaitingTime()
    assert waiting.measure(PLACE, 5000, 1600.0) == 0.0, "nothing is known yet"
    waiting.deliver(PLACE, 1000.0)
    assert waiting.measure(PLACE, 4900, 1601.0) == 601.0
    waiting.deliver(PLACE, 1300.0)
    assert waiting.measure(PLACE, 2000, 1610.0) == 310.0, "it shrinks as the backlog is read"


def test_a_burst_after_hours_of_silence_has_not_waited_for_hours() -> None:
    waiting = WaitingTime()
    waiting.deliver(PLACE, 1000.0)
    waiting.measure(PLACE, 0, 9000.0)
    assert waiting.measure(PLACE, 5000, 9001.0) == 1.0
    assert waiting.measure(PLACE, 5000, 9091.0) == 91.0, "and none of it is delivered"


def test_a_stream_that_never_starts_is_seen() -> None:
    waiting = WaitingTime()
    waiting.measure(PLACE, 7, 100.0)
    assert waiting.measure(PLACE, 7, 190.0) == 90.0


def test_overlapping_batches_and_missing_times_do_no_harm() -> None:
    waiting = WaitingTime()
    waiting.deliver(PLACE, 1000.0)
    waiting.deliver(PLACE, 990.0)
    waiting.deliver(PLACE, 0.0)
    assert waiting.measure(PLACE, 1, 1001.0) == 1.0
    assert waiting.measure(("other", 1), 0, 1001.0) == 0.0


def test_what_was_known_of_another_workers_partitions_is_forgotten() -> None:
    waiting = WaitingTime()
    waiting.deliver(PLACE, 1000.0)
    waiting.measure(OTHER, 0, 1000.0)
    waiting.measure(SEEN, 1, 1000.0)
    waiting.forget()
    for place in (PLACE, OTHER, SEEN):
        assert waiting.measure(place, 1, 2000.0) == 0.0
    assert waiting.last_delivered_s(PLACE) is None


def test_a_time_is_any_after_the_epoch() -> None:
    waiting = WaitingTime()
    waiting.deliver(PLACE, 0.5)
    waiting.deliver(OTHER, 0.0)
    waiting.deliver(SEEN, -1.0)
    assert [waiting.last_delivered_s(place) for place in (PLACE, OTHER, SEEN)] == [0.5, None, None]
    assert waiting.measure(PLACE, 1, 1.0) == 0.5


def test_clocks_that_run_ahead_make_no_negative_lag() -> None:
    waiting = WaitingTime()
    waiting.deliver(PLACE, 2000.0)
    assert waiting.measure(PLACE, 1, 1990.0) == 0.0
