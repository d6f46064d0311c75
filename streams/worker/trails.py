"""Which messages a worker has read and acknowledged, so that a log that was cut is noticed."""

from __future__ import annotations

from typing import Any

from faust.types import TP

from cempstream.streams.kafka.trail import Mark, Trail, mark_of
from cempstream.streams.worker.batch_guard import is_refusal


class Trails:
    """Follow the partitions that the worker has; a partition is known from `begin` on."""

    def __init__(self) -> None:
        self._committed: dict[TP, Trail] = {}
        self._acknowledged: dict[TP, dict[int, Mark]] = {}
        self._read: dict[TP, Mark] = {}

    def __contains__(self, tp: TP) -> bool:
        return tp in self._committed

    def begin(self, tp: TP, trail: Trail) -> None:
        """Go on from a trail, as it was committed."""
        self._committed[tp] = trail
        self._acknowledged[tp] = {}
        self._read.pop(tp, None)

    def forget(self) -> None:
        """Know no partition: they move."""
        self._committed.clear()
        self._acknowledged.clear()
        self._read.clear()

    def read(self, tp: TP, record: Any) -> None:
        """Note the last message that was fetched."""
        if not is_refusal(record.value):
            self._read[tp] = mark_of(record.offset, record.key, record.value)

    def acknowledge(self, message: Any) -> None:
        """Note a message whose outcome is delivered."""
        marks = self._acknowledged.get(message.tp)
        if marks is not None and not is_refusal(message.value):
            marks[message.offset] = mark_of(message.offset, message.key, message.value)

    def commit(self, tp: TP, offset: int) -> str:
        """Return what goes with the commit of an offset."""
        marks = self._acknowledged.get(tp, {})
        if (mark := marks.get(offset - 1)) is not None:
            self._committed[tp] = self._committed[tp].extend(mark)
        for older in [place for place in marks if place < offset]:
            del marks[older]
        return self._committed.get(tp, Trail()).text_at(offset)

    def go_back(self, tp: TP, offset: int) -> None:
        """Forget what was read from an offset on."""
        if tp in self._committed:
            self.begin(tp, self._committed[tp].until(offset))

    def until_now(self, tp: TP) -> Trail:
        """Return the marks of all that was read, be it acknowledged or not."""
        trail = self._committed[tp]
        return trail.extend(self._read[tp]) if tp in self._read else trail
