"""Choose dead letters and send their packets again, once the cause is fixed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice

from cempstream.streams.kafka.dead_letters import DeadLetter, read_dead_letter
from cempstream.streams.kafka.feed import feed_publisher
from cempstream.streams.kafka.publisher import DeliveryFailed
from cempstream.streams.kafka.topic_reader import read_topic
from cempstream.streams.kafka.turn import turn_at
from cempstream.streams.settings import Settings

_CHUNK = 100


@dataclass(frozen=True, slots=True)
class Choice:
    """Which dead letters are chosen; a field that is None does not restrict."""

    reasons: frozenset[str] | None = None
    topic: str | None = None
    places: frozenset[str] | None = None

    def holds(self, letter: DeadLetter) -> bool:
        """Whether a dead letter is chosen."""
        return (
            (self.reasons is None or letter.reason in self.reasons)
            and (self.topic is None or letter.topic == self.topic)
            and (self.places is None or letter.place in self.places)
        )


@dataclass(frozen=True, slots=True)
class Rules:
    """Which packets are sent again, and where to (None: where each came from)."""

    to: str | None
    max_attempts: int
    began_at: datetime

    def objection(self, letter: DeadLetter) -> str | None:
        """Say why a packet is not sent again; None where it is."""
        if letter.died_at > self.began_at:
            return "died after this command began"  # else a packet that stays bad would be sent for ever
        if not letter.is_whole:
            return "only the head of the packet was kept"
        if letter.attempts >= self.max_attempts:
            return f"sent again {self.max_attempts} times already"
        if not (self.to or letter.topic):
            return "nothing says where it came from; give --to"
        return None


@dataclass(slots=True)
class Requeued:
    """What became of the packets.

    Attributes
    ----------
    left
        Why packets were not sent, and how many.
    places
        Every dead letter that was looked at.
    """

    n_sent: int = 0
    n_failed: int = 0
    left: Counter[str] = field(default_factory=Counter)
    places: set[str] = field(default_factory=set)


def read_letters(settings: Settings, choice: Choice, since: datetime | None) -> Iterator[DeadLetter]:
    """Yield the chosen dead letters of the topic, from a time on."""
    for message in read_topic(settings.kafka, settings.topics.dlq, since=since):
        letter = read_dead_letter(message)
        if choice.holds(letter):
            yield letter


@dataclass(frozen=True, slots=True)
class _Packet:
    """What all dead letters of one packet say: how often it was sent, and which one is sent again."""

    attempts: int
    place: str | None


def _packets(settings: Settings, choice: Choice, since: datetime | None, rules: Rules) -> dict[str, _Packet]:
    """Group the whole topic's dead letters by packet: one that stays bad leaves one each time it is sent.

    Sending all of them again would multiply it. Packets with the same bytes are the same packet; of its
    chosen dead letters the latest is sent again.
    """
    packets: dict[str, _Packet] = {}
    for message in read_topic(settings.kafka, settings.topics.dlq):
        letter = read_dead_letter(message)
        known = packets.get(letter.sha256, _Packet(0, None))
        is_meant = (
            choice.holds(letter)
            and (since is None or letter.died_at >= since)
            and letter.died_at <= rules.began_at
        )
        packets[letter.sha256] = _Packet(
            max(known.attempts, letter.attempts), letter.place if is_meant else known.place
        )
    return packets


async def requeue_letters(
    settings: Settings,
    choice: Choice,
    since: datetime | None,
    rules: Rules,
    *,
    dry_run: bool,
    on_failure: Callable[[DeliveryFailed], object],
) -> Requeued:
    """Send the chosen packets again, each once, in chunks, so that no more than one chunk is held.

    Parameters
    ----------
    since
        Only what died since then; None means all.
    dry_run
        Count what would be sent, and send nothing.
    on_failure
        Called for each chunk that the broker did not take completely.

    Raises
    ------
    StreamError
        Another requeue of this topic is running.
    """
    with nullcontext() if dry_run else turn_at(settings.kafka, settings.topics.dlq, "requeue"):
        return await _requeue(settings, choice, since, rules, dry_run, on_failure)


async def _requeue(
    settings: Settings,
    choice: Choice,
    since: datetime | None,
    rules: Rules,
    dry_run: bool,
    on_failure: Callable[[DeliveryFailed], object],
) -> Requeued:
    packets = _packets(settings, choice, since, rules)
    letters = read_letters(settings, choice, since)
    done = Requeued()
    publisher = feed_publisher(settings.kafka)
    async with publisher:
        while chunk := list(islice(letters, _CHUNK)):
            messages = []
            for letter in chunk:
                done.places.add(letter.place)
                packet = packets.get(letter.sha256, _Packet(letter.attempts, letter.place))
                counted = replace(letter, attempts=packet.attempts)
                objection = rules.objection(counted)
                if objection is None and letter.sha256 and letter.place != packet.place:
                    objection = "the same packet died again later"
                if objection is None:
                    messages.append(counted.to_requeue(rules.to))
                else:
                    done.left[objection] += 1
            done.n_sent += len(messages)
            try:
                await publisher.publish([] if dry_run else messages)
            except DeliveryFailed as error:
                done.n_sent -= error.n_failed
                done.n_failed += error.n_failed
                on_failure(error)
    return done
