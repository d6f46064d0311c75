"""The breaker: when most packets are bad, stop and say so instead of filling the dead-letter topic."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence


class Breaker:
    """Watch the share of dead letters among the last packets of a topic.

    While it is open the worker stays up and takes nothing from that topic, until a probe (one batch after
    ``probe_after_s``, or by command) is mostly good.

    Parameters
    ----------
    share
        Share of dead letters that opens it.
    window
        How many recent packets count; it does not open before a tenth of them was seen.
    probe_after_s
        How long it stays open before one batch is let through.
    """

    def __init__(self, share: float, window: int, probe_after_s: float) -> None:
        self.share = share
        self.probe_after_s = probe_after_s
        self._recent: deque[bool] = deque(maxlen=window)
        self._n_bad = 0
        self._opened_at_s: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether consumption is held."""
        return self._opened_at_s is not None

    def record(self, n_packets: int, n_dead: int, now_s: float) -> None:
        """Take one batch into account; ``now_s`` is a monotonic clock's."""
        if self.is_open:
            if n_dead <= self.share * n_packets:
                self.reset()
            else:
                self._opened_at_s = now_s
            return
        for is_dead in [True] * n_dead + [False] * (n_packets - n_dead):
            if len(self._recent) == self._recent.maxlen:
                self._n_bad -= self._recent[0]
            self._recent.append(is_dead)
            self._n_bad += is_dead
        enough = (self._recent.maxlen or 0) // 10
        if len(self._recent) >= enough and self._n_bad > self.share * len(self._recent):
            self._opened_at_s = now_s

    def wait_s(self, now_s: float) -> float:
        """Return how long to wait before the next batch, in seconds; 0 while closed or due for a probe."""
        if self._opened_at_s is None:
            return 0.0
        return max(0.0, self._opened_at_s + self.probe_after_s - now_s)

    def probe_now(self) -> None:
        """Let the next batch through at once, by command."""
        if self._opened_at_s is not None:
            self._opened_at_s -= self.probe_after_s

    def reset(self) -> None:
        """Close it and forget the packets seen."""
        self._recent.clear()
        self._n_bad = 0
        self._opened_at_s = None


class Breakers:
    """The breaker of each topic that a worker reads: one survey's rubbish does not stop another's spectra.

    Parameters
    ----------
    topics
        What the worker reads.
    share, window, probe_after_s
        Of each, see `Breaker`.
    """

    def __init__(self, topics: Sequence[str], share: float, window: int, probe_after_s: float) -> None:
        self._of_topic = {topic: Breaker(share, window, probe_after_s) for topic in topics}

    def __getitem__(self, topic: str) -> Breaker:
        return self._of_topic[topic]

    @property
    def topics(self) -> tuple[str, ...]:
        """What the worker reads."""
        return tuple(self._of_topic)

    def probe_now(self, topic: str | None = None) -> None:
        """Let the next batch of a topic through at once, or of every topic that is held.

        Raises
        ------
        KeyError
            The worker does not read this topic.
        """
        for breaker in self._of_topic.values() if topic is None else [self._of_topic[topic]]:
            breaker.probe_now()
