"""``stars run`` that dies between two steps: ``python -m tests.chaos.dying_follower STEP FILE [arguments]``.

STEP is ``state``, once states are confirmed and their alerts not sent, or ``alert``, once alerts are
confirmed and nothing is acknowledged. It dies each time that it has an alert to send, until FILE has three
lines.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from cempstream.streams.cli import main
from cempstream.streams.kafka.messages import OutMessage
from cempstream.streams.kafka.publisher import Publisher

_N_DEATHS = 3


def die_at(step: str, deaths: Path) -> None:
    """Have this process die at a step, as by kill -9."""
    real = Publisher.publish

    async def publish(
        self: Publisher, messages: Sequence[OutMessage], on_delivery: Callable[[], object] | None = None
    ) -> None:
        has_alerts = any(dict(message.headers).get("type") for message in messages)
        n_deaths = len(deaths.read_text().splitlines()) if deaths.exists() else 0
        is_due = has_alerts and n_deaths < _N_DEATHS
        if is_due:
            with deaths.open("a") as file:
                file.write(f"{step}\n")
        if is_due and step == "state":
            os.kill(os.getpid(), signal.SIGKILL)
        await real(self, messages, on_delivery)
        if is_due and step == "alert":
            os.kill(os.getpid(), signal.SIGKILL)

    Publisher.publish = publish  # type: ignore[method-assign]


if __name__ == "__main__":
    die_at(sys.argv[1], Path(sys.argv[2]))
    sys.argv[1:] = sys.argv[3:]
    main()
