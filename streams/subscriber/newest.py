"""The newest messages of several partitions together, in the order of their times."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from confluent_kafka import Message

from cempstream.streams.kafka.places import Place, place_of
from cempstream.streams.subscriber.start import StartingPoints


class Newest:
    """Collect messages until each partition was read to where it ended when that was asked.

    Parameters
    ----------
    points
        Where each partition is read from, and where it ended.
    n_last
        How many messages are kept; those that were sent since are kept besides.
    """

    def __init__(self, points: StartingPoints, n_last: int) -> None:
        self._ends, self._n_last = points.ends, n_last
        self._unfinished = {place for place, offset in points.offsets.items() if offset < points.ends[place]}
        self._newest: list[tuple[int, Place, int, Message]] = []
        self._since: list[Message] = []

    @property
    def is_complete(self) -> bool:
        """Whether every partition was read to its end."""
        return not self._unfinished

    def take(self, message: Message) -> None:
        """Add a message; of those before the ends the oldest is left out where there are too many."""
        place, offset = place_of(message)
        if offset >= self._ends[place]:
            self._since.append(message)
        else:
            heapq.heappush(self._newest, (message.timestamp()[1], place, offset, message))
            if len(self._newest) > self._n_last:
                heapq.heappop(self._newest)
        if offset >= self._ends[place] - 1:
            self._unfinished.discard(place)

    def __iter__(self) -> Iterator[Message]:
        """Yield the newest in the order of their times, then those sent since."""
        yield from (message for *_, message in sorted(self._newest))
        yield from self._since
