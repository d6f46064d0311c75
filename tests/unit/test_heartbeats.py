"""Who is alive, from heartbeats: by the topics that are read, with silence, stops and pauses told apart."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

import pytest
from confluent_kafka import KafkaError

from cempstream.schemas.heartbeat import Heartbeat, WorkerState
from cempstream.streams.kafka.places import StreamError
from cempstream.streams.subscriber.ending import POLL_S
from cempstream.streams.subscriber.heartbeats import (
    SILENT_S,
    HeartbeatWatch,
    Life,
    Roll,
    Sign,
    Topics,
    _Told,
)
from cempstream.streams.worker.create import _HEARTBEAT_INTERVAL_S

SPECTRA, OBSERVATIONS = ("spectra.v1",), ("observations.v1",)
_NOW = datetime(2026, 11, 20, tzinfo=UTC)


def beat(who: str, state: WorkerState = "running", topics: Topics = SPECTRA) -> Heartbeat:
    return Heartbeat(
        worker_id=who,
        sent_at=_NOW,
        started_at=_NOW,
        state=state,
        code_version="1",
        provider="cpu",
        topics=topics,
    )


def lives(roll: Roll, now_s: float) -> dict[Topics, Life]:
    return {topics: sign.life for topics, sign in roll.judge(now_s).items()}


def test_a_dead_stream_is_told_within_five_seconds() -> None:
    """From the death to the line: the last heartbeat was at most as old as a heart's pause."""
    assert SILENT_S + POLL_S < 5
    assert SILENT_S > 3 * _HEARTBEAT_INTERVAL_S, "a heart that is late is not dead"


def test_one_that_lives_is_enough_and_none_is_silence() -> None:
    roll = Roll()
    roll.hear(beat("a"), 0.0)
    roll.hear(beat("b"), 3.0)
    assert roll.judge(SILENT_S + 1) == {SPECTRA: Sign(Life.ALIVE, SILENT_S - 2)}
    assert roll.judge(SILENT_S + 3) == {SPECTRA: Sign(Life.ALIVE, SILENT_S)}
    assert roll.judge(SILENT_S + 4) == {SPECTRA: Sign(Life.SILENT, SILENT_S + 1)}
    roll.hear(beat("b"), 9.0)
    assert lives(roll, 9.0) == {SPECTRA: Life.ALIVE}


@pytest.mark.parametrize("state", get_args(WorkerState))
def test_what_a_state_means(state: WorkerState) -> None:
    roll = Roll()
    roll.hear(beat("a", state), 0.0)
    wanted = {"paused": Life.PAUSED, "stopping": Life.STOPPED}.get(state, Life.ALIVE)
    assert lives(roll, 1.0) == {SPECTRA: wanted}
    assert lives(roll, SILENT_S + 1) == {SPECTRA: Life.STOPPED if state == "stopping" else Life.SILENT}


def test_one_that_stops_leaves_the_others_running() -> None:
    roll = Roll()
    roll.hear(beat("a"), 0.0)
    roll.hear(beat("b", "stopping"), 0.5)
    assert lives(roll, 1.0) == {SPECTRA: Life.ALIVE}
    roll.hear(beat("a", "paused"), 2.0)
    assert lives(roll, 2.0) == {SPECTRA: Life.PAUSED}


def test_who_reads_other_topics_does_not_stand_for_the_worker() -> None:
    roll = Roll()
    roll.hear(beat("a"), 0.0)
    roll.hear(beat("stars", topics=OBSERVATIONS), 10.0)
    assert lives(roll, 10.0) == {SPECTRA: Life.SILENT, OBSERVATIONS: Life.ALIVE}
    assert roll.age_s(10.0) == 10.0


def test_the_age_is_the_oldest_of_those_that_run() -> None:
    roll = Roll()
    assert roll.age_s(1.0) is None
    roll.hear(beat("a", "stopping"), 0.0)
    assert roll.age_s(1.0) == 1.0, "all have stopped: since then"
    roll.hear(beat("stars", topics=OBSERVATIONS), 2.0)
    assert roll.age_s(3.0) == 1.0, "those that have stopped count no more"


def test_an_older_heartbeat_changes_nothing_and_an_hour_later_it_is_forgotten() -> None:
    roll = Roll()
    roll.hear(beat("a"), 5.0)
    roll.hear(beat("a", "stopping"), 4.0)
    assert lives(roll, 5.0) == {SPECTRA: Life.ALIVE}
    roll.hear(beat("new", topics=("renamed.v1",)), 5.0 + 3600)
    assert lives(roll, 3605.0) == {SPECTRA: Life.SILENT, ("renamed.v1",): Life.ALIVE}
    roll.hear(beat("new", topics=("renamed.v1",)), 5.1 + 3600)
    assert lives(roll, 3605.1) == {("renamed.v1",): Life.ALIVE}


def test_each_change_is_told_once() -> None:
    said: list[str] = []
    told = _Told("heartbeats.v1", said.append, 0.0)
    for second, life in enumerate(
        [Life.ALIVE, Life.SILENT, Life.SILENT, Life.ALIVE, Life.PAUSED, Life.STOPPED]
    ):
        told.tell({SPECTRA: Sign(life, 3.6)}, second, None)
    assert said == [
        "the worker of spectra.v1 has not been heard for 3.6 s: no alerts come until it runs again",
        "the worker of spectra.v1 is alive",
        "the worker of spectra.v1 is paused: too many of its packets cannot be scored",
        "the worker of spectra.v1 has stopped: no alerts come until it runs again",
    ]


def test_who_was_never_heard_is_missed_once_and_welcomed() -> None:
    said: list[str] = []
    told = _Told("heartbeats.v1", said.append, 10.0)
    for now_s in (10.0, 13.5, 13.6, 20.0):
        told.tell({}, now_s, None)
    assert said == ["no worker was ever heard on heartbeats.v1: alerts may never come"]
    told.tell({SPECTRA: Sign(Life.ALIVE, 0.1)}, 21.0, None)
    assert said[1:] == ["the worker of spectra.v1 is alive"]


def test_the_line_names_the_brokers_trouble_and_shows_no_control_characters() -> None:
    said: list[str] = []
    told = _Told("heartbeats.v1", said.append, 0.0)
    told.tell({("bad\x1b[2Jtopic",): Sign(Life.SILENT, 4.0)}, 1.0, KafkaError(KafkaError._ALL_BROKERS_DOWN))
    (line,) = said
    assert line.isprintable()
    assert "(Local: All broker connections are down)" in line


def test_a_broker_that_is_not_there_is_no_heartbeat_and_no_death() -> None:
    said: list[str] = []
    watch = HeartbeatWatch({"bootstrap.servers": "127.0.0.1:1", "log_level": 0}, "heartbeats.v1", said.append)
    watch.start()
    with pytest.raises(StreamError, match=r"no broker answers at 127\.0\.0\.1:1"):
        watch.age_s()
    watch.close()
    (line,) = said
    assert line.startswith("whether a worker is alive is not known: no broker answers")
