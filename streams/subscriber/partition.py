"""How far a subscriber has read and acknowledged one partition."""

from __future__ import annotations

from collections import OrderedDict

from confluent_kafka import OFFSET_BEGINNING


class Partition:
    """How far one partition has been read and acknowledged.

    Attributes
    ----------
    not_before_ms
        Messages of an earlier time are skipped.
    start
        The first offset to read; negative for the first that there is.
    is_at_end
        There was nothing after the last message.
    is_over
        `until` has been reached.
    unacknowledged
        Offsets of alerts handed out and not acknowledged, in order.
    """

    def __init__(self, not_before_ms: int = 0, start: int = OFFSET_BEGINNING) -> None:
        self.not_before_ms = not_before_ms
        self.start = start
        self.is_at_end = False
        self.is_over = False
        self.next_offset: int | None = None
        # Linked, so that the first is found at once, however many before it were removed.
        self.unacknowledged: OrderedDict[int, None] = OrderedDict()

    @property
    def read_to(self) -> int:
        """Offset of the next message to read; negative for the first that there is."""
        return self.start if self.next_offset is None else self.next_offset

    @property
    def resume_at(self) -> int | None:
        """Offset from which another member of the group would have to read; None before the first message."""
        return next(iter(self.unacknowledged), self.next_offset)
