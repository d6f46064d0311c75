"""The stream as the page reads it: alerts into candidates, and how it stands with the stream itself."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from cempstream.errors import fixable_errors, in_one_line
from cempstream.plain import shown
from cempstream.schemas.alert import Alert
from cempstream.streams.kafka.places import StreamError
from cempstream.streams.page.candidates import Candidates
from cempstream.streams.page.tonight import Tonight
from cempstream.streams.subscriber.heartbeats import HeartbeatWatch, Life, describe_sign

_LONGEST_TEXT = 300


@dataclass(frozen=True, slots=True)
class Health:
    """Whether alerts can come.

    Attributes
    ----------
    is_well
        Nothing keeps alerts from coming, or no more are expected.
    text
        How it stands, in words.
    age_s
        Seconds since a worker was last heard; None where none was, or none is listened to.
    n_unreadable
        Messages that were no alerts.
    """

    is_well: bool
    text: str
    age_s: float | None
    n_unreadable: int


class Night:
    """What the server shows: candidates, and the stream's health.

    Parameters
    ----------
    watch
        Heartbeats, once started; None where no worker is listened to.
    source
        What is read, for a person: a file's name, or topics.
    tonight
        How stars stand at a site; None where no site was named.
    """

    def __init__(
        self,
        candidates: Candidates,
        watch: HeartbeatWatch | None,
        source: str,
        tonight: Tonight | None = None,
    ) -> None:
        self.candidates = candidates
        self.tonight = tonight
        self.source = shown(source, longest=_LONGEST_TEXT)
        self.n_unreadable = 0
        self._watch = watch
        self._ended: str | None = None
        self._problem: str | None = None
        self._is_over = threading.Event()

    @property
    def is_over(self) -> bool:
        """Whether the server ends: then no browser waits any longer."""
        return self._is_over.is_set()

    def end(self) -> None:
        """Let those who wait for changes end."""
        self._is_over.set()

    def read(self, alerts: Iterable[Alert]) -> None:
        """Take alerts until they end; an error that a person can fix is shown on the page, which stays."""
        try:
            for alert in alerts:
                self.candidates.take(alert)
                alert.ack()
            self._ended = f"all of {self.source} is read: no more alerts come"
        except fixable_errors() as error:
            self._problem = f"the stream has ended: {in_one_line(error)}; start the page again"

    def health(self) -> Health:
        """Return how it stands now."""
        if self._problem is not None:
            return self._say(False, self._problem)
        if self._ended is not None:
            return self._say(True, self._ended)
        if self._watch is None:
            return self._say(
                True, f"alerts of {self.source} are read; whether a worker is alive is not asked"
            )
        try:
            signs = self._watch.signs()
        except StreamError as error:
            return self._say(False, f"whether a worker is alive is not known: {error}")
        if signs is None:
            return self._say(True, "listening for a worker")
        if not signs:
            return self._say(False, "no worker was ever heard: alerts may never come")
        bad = [topics for topics, sign in signs.items() if sign.life is not Life.ALIVE]
        problem = self._watch.problem
        lines = [describe_sign(topics, signs[topics], problem, with_age=False) for topics in bad or signs]
        running = [sign.age_s for sign in signs.values() if sign.life is not Life.STOPPED]
        age_s = max(running, default=min(sign.age_s for sign in signs.values()))
        return self._say(not bad, "; ".join(lines), age_s)

    def _say(self, is_well: bool, text: str, age_s: float | None = None) -> Health:
        return Health(is_well, shown(text, longest=_LONGEST_TEXT), age_s, self.n_unreadable)
