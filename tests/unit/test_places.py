"""A group's place is asked for in steps, because a signal is heard only between two of them."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from cempstream.streams.kafka import places
from cempstream.streams.kafka.places import NoAnswer, ask_places

PLACE = TopicPartition("alerts", 0, 7)


class SlowConsumer:
    """Takes so long for an answer, by a clock that only it and the sleeper move."""

    def __init__(self, takes_s: float) -> None:
        self.now_s = 0.0
        self.waited_s: list[float] = []
        self._takes_s = takes_s

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        self.waited_s.append(timeout)
        self.now_s += min(timeout, self._takes_s)
        if timeout < self._takes_s:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return partitions


@pytest.mark.parametrize("takes_s", [0.1, 1.0, 4.0])
def test_a_slow_answer_comes_though_a_signal_is_heard_soon(
    takes_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer = SlowConsumer(takes_s)
    monkeypatch.setattr(places, "time", consumer)
    assert ask_places(consumer, [PLACE], 15.0) == [PLACE]  # type: ignore[arg-type] # has what is called
    assert consumer.waited_s[0] == 0.5
    assert consumer.waited_s[-1] < max(0.5, 2 * takes_s) + 1e-9


def test_no_answer_is_waited_for_as_long_as_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = SlowConsumer(1e9)
    monkeypatch.setattr(places, "time", consumer)
    with pytest.raises(NoAnswer, match="the place of the group"):
        ask_places(consumer, [PLACE], 15.0)  # type: ignore[arg-type] # has what is called
    assert consumer.waited_s[:4] == [0.5, 1.0, 2.0, 4.0]
    assert 15.0 <= consumer.now_s < 17.0
