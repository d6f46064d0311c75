"""The breaker opens on a flood of dead letters, holds, probes, and closes on good packets."""

from cempstream.streams.worker.breaker import Breaker


def test_stays_closed_at_its_share() -> None:
    breaker = Breaker(share=0.2, window=1000, probe_after_s=30)
    for step in range(50):
        breaker.record(64, 12, float(step))
    assert not breaker.is_open


def test_opens_above_its_share_and_holds_until_the_probe() -> None:
    breaker = Breaker(share=0.2, window=1000, probe_after_s=30)
    breaker.record(100, 21, 10.0)
    assert breaker.is_open
    assert breaker.wait_s(15.0) == 25.0
    assert breaker.wait_s(40.0) == 0.0


def test_does_not_judge_a_handful() -> None:
    breaker = Breaker(share=0.2, window=1000, probe_after_s=30)
    breaker.record(3, 3, 0.0)
    assert not breaker.is_open


def test_a_bad_probe_keeps_it_open_and_a_good_one_closes_it() -> None:
    breaker = Breaker(share=0.2, window=1000, probe_after_s=30)
    breaker.record(200, 200, 0.0)
    breaker.record(64, 64, 31.0)
    assert breaker.wait_s(32.0) == 29.0
    breaker.probe_now()
    assert breaker.wait_s(32.0) == 0.0
    breaker.record(64, 0, 33.0)
    assert not breaker.is_open


def test_old_dead_letters_are_forgotten() -> None:
    breaker = Breaker(share=0.2, window=100, probe_after_s=30)
    breaker.record(15, 2, 0.0)
    for step in range(20):
        breaker.record(64, 6, float(step))
    breaker.record(100, 0, 50.0)
    breaker.record(20, 15, 51.0)
    assert not breaker.is_open
