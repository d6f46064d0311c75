"""Marks of messages that were read, which show whether a topic's log is still the one that was read.

Kafka knows a place in a log by its number alone. Where a log was cut below a group's place, and has grown
past it again, the group would read on there and never see what was written between. So each commit carries
marks of messages that were read, and they are held against what the log has.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from confluent_kafka import Consumer

from cempstream.streams.kafka.places import NoAnswer, Place, name_places, place_of
from cempstream.streams.kafka.topic_reader import ask_first, open_consumer
from cempstream.streams.settings import KafkaSettings

#: So much of a message's value tells it from others: an id stands at a packet's beginning.
_HEAD_BYTES = 1024

_FORMAT = "cemp1"

#: A broker takes 4,096 bytes with a commit, unless told otherwise (``offset.metadata.max.bytes``).
_MAX_TEXT = 2000

#: confluent-kafka reads such a text up to a zero byte, and librdkafka adds none: it would read on after it.
_END = "\0"

_TIMEOUT_S = 10.0


class Mark(NamedTuple):
    """A message's offset, and a hash of what it says; its time is left out, because it may have none."""

    offset: int
    digest: int


def mark_of(offset: int, key: bytes | None, value: bytes | None) -> Mark:
    """Return a message's mark."""
    key, value = key or b"", value or b""
    return Mark(offset, zlib.crc32(b"%d %d %b %b" % (len(key), len(value), key, value[:_HEAD_BYTES])))


@dataclass(frozen=True, slots=True)
class Trail:
    """Marks of a partition, the newest first; further back they are further apart.

    Of two neighbours the older is at most twice as far from the newest, or they were neighbours when they
    were made. So a log that was cut n messages below the newest is read again from fewer than n before the
    cut, or from one commit before it.
    """

    marks: tuple[Mark, ...] = ()

    def extend(self, mark: Mark) -> Trail:
        """Return the trail with a new message at its head; what is not older than that is forgotten."""
        kept, older = [mark], self.until(mark.offset).marks
        for i, candidate in enumerate(older):
            reach = 2 * (mark.offset - kept[-1].offset)
            is_needless = i + 1 < len(older) and mark.offset - older[i + 1].offset <= reach
            if not is_needless:
                kept.append(candidate)
        return Trail(tuple(kept))

    def until(self, end: int) -> Trail:
        """Return the marks of messages before an offset."""
        return Trail(tuple(mark for mark in self.marks if mark.offset < end))

    def text_at(self, offset: int) -> str:
        """Write the trail for a commit of an offset; nothing unless the message before it is marked.

        Offsets may be changed by others than us, who keep the text or copy it to another cluster. The trail
        is believed only where both belong together.
        """
        if not self.marks or self.marks[0].offset != offset - 1:
            return ""
        text = _FORMAT
        for mark in self.marks:
            word = f" {mark.offset:x}:{mark.digest:x}"
            if len(text) + len(word) > _MAX_TEXT:
                break
            text += word
        return text + _END

    @classmethod
    def at(cls, offset: int, text: str | None) -> Trail:
        """Read the trail of a commit; empty where its text is not ours, or belongs to another offset."""
        words = (text or "").rstrip(_END).split()
        if words[:1] != [_FORMAT]:
            return cls()
        try:
            pairs = [word.split(":") for word in words[1:]]
            trail = cls(tuple(Mark(int(place, 16), int(digest, 16)) for place, digest in pairs))
        except ValueError:
            return cls()
        return trail if trail.text_at(offset) else cls()


def find_cuts(kafka: KafkaSettings, trails: Mapping[Place, Trail]) -> dict[Place, int]:
    """Return the partitions whose log is not the one that was read, each with where to read it again.

    That is after the newest marked message that the log still has, 0 if it has none. A message that was
    deleted since, by its age or because its key came again, says nothing against a log.

    Raises
    ------
    NoAnswer
        A partition says nothing.
    """
    newest = {place: trail.marks[0] for place, trail in trails.items() if trail.marks}
    if not newest:
        return {}
    with open_consumer(kafka) as consumer:
        cut = [place for place, differs in _differ(consumer, newest).items() if differs]
        return {place: _end_in_common(consumer, place, trails[place].marks[1:]) for place in cut}


def _end_in_common(consumer: Consumer, place: Place, marks: tuple[Mark, ...]) -> int:
    """Search for the newest mark that the log bears: from the cut on it bears none."""
    i = bisect_left(marks, True, key=lambda mark: not _differ(consumer, {place: mark})[place])
    return marks[i].offset + 1 if i < len(marks) else 0


def _differ(consumer: Consumer, marks: Mapping[Place, Mark]) -> dict[Place, bool]:
    """Say of each partition whether it has another message at its mark's offset, or ends before it."""
    found = ask_first(consumer, {place: mark.offset for place, mark in marks.items()}, _TIMEOUT_S)
    if silent := marks.keys() - found.keys():
        raise NoAnswer(f"the messages that were read last of {name_places(silent)}")
    differ = {}
    for place, message in found.items():
        _, offset = place_of(message)
        mark = marks[place]
        if offset != mark.offset:  # it begins after the mark, or it ends before it and was begun anew
            differ[place] = offset < mark.offset
        else:
            is_end = message.error() is not None
            differ[place] = is_end or mark_of(offset, message.key(), message.value()) != mark
    return differ
