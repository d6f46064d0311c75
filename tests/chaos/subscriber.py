"""A subscriber as a process: it writes down every alert that it has processed, then acknowledges it.

python -m tests.chaos.subscriber BOOTSTRAP TOPIC GROUP DIARY
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import random
import signal
import sys
import time
from pathlib import Path

from cempstream.schemas.alert import Alert
from cempstream.streams.subscriber.client import AlertStream

#: Alerts in hand before any is acknowledged: those are what a rebalance or a kill must not lose.
_IN_HAND = 20

#: The shortest session that a broker allows by default.
QUICK_GROUP = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 1000}


def main(bootstrap: str, topic: str, group: str, diary: Path) -> None:
    """Read until killed or interrupted, slowly enough that alerts are in hand at every moment."""
    faulthandler.register(signal.SIGUSR1)  # shows where it hangs
    shuffle = random.Random(diary.name).shuffle
    hand: list[Alert] = []
    with (
        diary.open("a", encoding="utf-8") as lines,
        contextlib.suppress(KeyboardInterrupt),
        AlertStream(bootstrap, topic, start="earliest", group=group, config=QUICK_GROUP) as alerts,
    ):
        for alert in alerts:
            hand.append(alert)
            if len(hand) < _IN_HAND:
                continue
            shuffle(hand)
            while len(hand) > _IN_HAND // 2:
                done = hand.pop()
                lines.write(f"{done.spectrum_id}\n")
                lines.flush()
                os.fsync(lines.fileno())
                done.ack()
            time.sleep(0.02)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]))
