"""The breaker opens on a flood of dead letters, holds, probes, and closes on good packets."""

import pytest

from cempstream.streams.worker.breaker import Breaker, Breakers


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


def test_its_share_exactly_is_not_too_much() -> None:
    breaker = Breaker(share=0.25, window=1000, probe_after_s=30)
    breaker.record(100, 25, 0.0)
    assert not breaker.is_open
    breaker.record(4, 2, 1.0)
    assert breaker.is_open
    breaker.record(8, 2, 40.0)
    assert not breaker.is_open, "a probe of exactly the share is good"


def test_a_tenth_of_the_window_is_enough_to_judge() -> None:
    breaker = Breaker(share=0.2, window=105, probe_after_s=30)
    breaker.record(9, 9, 0.0)
    assert not breaker.is_open
    breaker.record(1, 0, 1.0)
    assert breaker.is_open


def test_while_closed_nothing_waits() -> None:
    breaker = Breaker(share=0.2, window=10, probe_after_s=30)
    breaker.probe_now()
    assert breaker.wait_s(1e6) == 0.0
    assert not breaker.is_open


def test_once_closed_it_counts_anew() -> None:
    """After a good probe nothing of the flood is left: no packet, and no bad one."""
    breaker = Breaker(share=0.2, window=20, probe_after_s=30)
    breaker.record(20, 20, 0.0)
    breaker.record(5, 0, 31.0)
    breaker.record(10, 2, 32.0)
    assert not breaker.is_open
    breaker.record(1, 1, 33.0)
    assert breaker.is_open


def test_a_bad_packet_is_forgotten_when_it_leaves_the_window() -> None:
    breaker = Breaker(share=0.2, window=10, probe_after_s=30)
    breaker.record(10, 2, 0.0)  # the bad ones first
    breaker.record(2, 2, 1.0)  # the two leave as two others come
    assert not breaker.is_open
    breaker.record(7, 0, 2.0)
    breaker.record(2, 2, 3.0)  # one of the second two has left
    assert breaker.is_open


@pytest.fixture
def breakers() -> Breakers:
    """Return the breakers of three topics, of which two are open until 30 s."""
    breakers = Breakers(["a", "b", "c"], share=0.2, window=10, probe_after_s=30.0)
    for topic in "ab":
        breakers[topic].record(10, 10, 0.0)
    return breakers


def test_each_topic_has_its_breaker(breakers: Breakers) -> None:
    assert breakers.topics == ("a", "b", "c")
    assert [breakers[topic].is_open for topic in breakers.topics] == [True, True, False]
    assert [breakers[topic].wait_s(10.0) for topic in breakers.topics] == [20.0, 20.0, 0.0]


def test_a_probe_is_of_one_topic_or_of_all(breakers: Breakers) -> None:
    breakers.probe_now("a")
    assert [breakers[topic].wait_s(10.0) for topic in "ab"] == [0.0, 20.0]
    breakers.probe_now()
    assert [breakers[topic].wait_s(10.0) for topic in "ab"] == [0.0, 0.0]
    assert not breakers["c"].is_open


def test_a_topic_that_is_not_read_has_none(breakers: Breakers) -> None:
    with pytest.raises(KeyError):
        breakers.probe_now("d")
