"""A lock through the broker, for commands that must not run twice at the same time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from cempstream.streams.began import BEGAN_AT_S
from cempstream.streams.kafka.groups import list_groups
from cempstream.streams.kafka.places import NoAnswer, StreamError, ask_places, is_silence
from cempstream.streams.settings import KafkaSettings

#: A broker may wait for others to join a group, and a killed command's membership lasts for its session.
_PATIENCE_S = 15.0
_TIMEOUT_S = 10.0
_SLACK_S = 4.0
_LOOK_AGAIN_S = 0.5
_SESSION_MS = 6000
_LONGEST_TURN_MS = 24 * 3600 * 1000

#: When this process last had each turn: it may take it again.
_own_ends_s: dict[str, float] = {}


@contextmanager
def turn_at(kafka: KafkaSettings, topic: str, command: str) -> Iterator[None]:
    """Hold a topic's turn, from any machine, while the block runs.

    The turn is the membership of a consumer group of this topic. A second command does not wait for the end
    of the first, which has just done its work; it waits only as long as a killed command's membership can
    last. The same holds where the second came to its turn after the first had ended, but asked for before.

    Raises
    ------
    StreamError
        Another holds it.
    NoAnswer
        The broker does not say whether another holds it.
    """
    group = f"{kafka.group}-{command}-{topic}"
    taken = StreamError(f"another '{command}' of {topic} is running; wait until it has ended, then try again")
    asked_at_s = max(BEGAN_AT_S, _own_ends_s.get(group, 0.0))
    client = {**kafka.client_config(), "bootstrap.servers": kafka.bootstrap, "log_level": 0}
    assigned: list[set[int]] = []

    def note(consumer: Any, partitions: list[Any]) -> None:
        assigned.append({part.partition for part in partitions})

    consumer = Consumer(
        {
            **client,
            "group.id": group,
            "session.timeout.ms": _SESSION_MS,
            "heartbeat.interval.ms": _SESSION_MS // 4,
            "max.poll.interval.ms": _LONGEST_TURN_MS,
            "enable.auto.commit": False,
            "auto.offset.reset": "latest",
        }
    )
    try:
        if not _gets_free(client, group):
            raise taken
        consumer.subscribe([topic], on_assign=note)
        deadline_s = time.monotonic() + _PATIENCE_S
        while not assigned and time.monotonic() < deadline_s:
            consumer.poll(0.2)
        # Of several that join at once, one is given the first partition; from then on it does not answer
        # when another asks to join.
        place = TopicPartition(topic, 0)
        ended_at_s = _last_end_s(consumer, place)  # asked in any case: silence is not a turn that is taken
        if not assigned or 0 not in assigned[0] or ended_at_s > asked_at_s:
            raise taken
        yield
        ended_at_ms = round(time.time() * 1000)
        consumer.commit(offsets=[TopicPartition(topic, 0, ended_at_ms)], asynchronous=False)
        _own_ends_s[group] = ended_at_ms / 1000
    except NoAnswer as error:
        raise error.at(kafka.bootstrap) from error
    finally:
        consumer.close()


def _last_end_s(consumer: Consumer, place: TopicPartition) -> float:
    """Return when the last turn ended: its holder, which reads nothing, committed that as its offset."""
    (committed,) = ask_places(consumer, [place], _TIMEOUT_S)
    return committed.offset / 1000 if committed.offset > 0 else 0.0


def _gets_free(client: dict[str, Any], group: str) -> bool:
    """Say whether the group has no members, or loses them in the time that a killed command's can last."""
    admin = AdminClient(client)  # kept: an answer never comes once its client is gone
    deadline_s = time.monotonic() + _SESSION_MS / 1000 + _SLACK_S
    while True:
        silence: str | None = None
        try:
            if group not in list_groups(admin, _TIMEOUT_S):
                return True
            described = admin.describe_consumer_groups([group], request_timeout=_TIMEOUT_S)[group]
            if not described.result(2 * _TIMEOUT_S).members:
                return True
        except TimeoutError:
            silence = ""
        except NoAnswer as error:
            silence = error.reason
        except KafkaException as error:
            if not is_silence(error.args[0]):
                return True  # it has gone in between
            silence = error.args[0].str()
        if time.monotonic() > deadline_s:
            if silence is None:
                return False
            raise NoAnswer(f"the members of group {group}", reason=silence)
        time.sleep(_LOOK_AGAIN_S)
