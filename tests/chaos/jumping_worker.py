"""A worker whose wall clock goes back by a day on a signal: its own, Faust's and aiokafka's."""

from __future__ import annotations

import signal
import time
from datetime import datetime, timedelta, tzinfo

#: More than the tests take: packets that they make at their beginning must seem to come from the future.
JUMP_S = -86_400.0

#: Faust has no use for this one.
SIGNAL = signal.SIGRTMIN


class Clock:
    """The wall clock, and how far it is off."""

    def __init__(self) -> None:
        self.offset_s = 0.0
        self._time = time.time

    def time(self) -> float:
        """As ``time.time``."""
        return self._time() + self.offset_s

    def jump(self, *_: object) -> None:
        """Go wrong; a signal handler."""
        self.offset_s = JUMP_S


def main() -> None:
    """Run the worker on such a clock."""
    clock = Clock()
    signal.signal(SIGNAL, clock.jump)
    time.time = clock.time  # before the libraries import it under another name

    from cempstream.streams.kafka import outputs
    from cempstream.streams.settings import Settings
    from cempstream.streams.telemetry.logs import LogFormat, LogLevel, configure_logging
    from cempstream.streams.worker import agent, heart
    from cempstream.streams.worker.create import create_app
    from cempstream.streams.worker.faust_app import run_worker

    class JumpingDatetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(seconds=clock.offset_s)

    for module in (heart, outputs, agent):
        vars(module)["datetime"] = JumpingDatetime
    configure_logging(LogLevel.INFO, LogFormat.TEXT)
    run_worker(create_app(Settings()))


if __name__ == "__main__":
    main()
