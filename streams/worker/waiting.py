"""How long the oldest packet that waits has waited: lag in seconds, from the packets' own times."""

from __future__ import annotations

from collections.abc import Hashable


class WaitingTime:
    """Follow each partition's packets.

    The next waiting packet is about as old as the last delivered one. If the partition was empty since, it
    is no older than that moment. So a burst after hours of silence does not look old, and a packet whose
    delivery hangs does not look new.
    Times are Unix times in seconds, of the broker's or the producer's clock.
    """

    def __init__(self) -> None:
        self._delivered_s: dict[Hashable, float] = {}
        self._empty_s: dict[Hashable, float] = {}
        self._seen_s: dict[Hashable, float] = {}

    def deliver(self, partition: Hashable, sent_s: float) -> None:
        """Note when a packet whose outcome is delivered was sent; a time that is not set is ignored."""
        if sent_s > 0:
            self._delivered_s[partition] = max(sent_s, self._delivered_s.get(partition, 0.0))

    def last_delivered_s(self, partition: Hashable) -> float | None:
        """Return when the newest packet whose outcome is delivered was sent; None where there is none yet."""
        return self._delivered_s.get(partition)

    def measure(self, partition: Hashable, n_waiting: int, now_s: float) -> float:
        """Return the seconds that a partition's oldest packet has waited; 0 where none waits."""
        self._seen_s.setdefault(partition, now_s)
        if n_waiting == 0:
            self._empty_s[partition] = now_s
            return 0.0
        known = [times[partition] for times in (self._delivered_s, self._empty_s) if partition in times] or [
            self._seen_s[partition]
        ]
        return max(0.0, now_s - max(known))

    def forget(self) -> None:
        """Forget everything: the partitions may have been with another worker meanwhile."""
        self._delivered_s.clear()
        self._empty_s.clear()
        self._seen_s.clear()
