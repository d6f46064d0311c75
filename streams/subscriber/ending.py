"""How a subscriber ends though its broker says nothing, and though librdkafka calls it back."""

from __future__ import annotations

import threading
from collections.abc import Callable

from confluent_kafka import Consumer, Message

#: How long `Callbacks.poll` waits.
POLL_S = 0.25


class Callbacks:
    """Keep what callbacks raise, Ctrl-C too: confluent-kafka may lose it on its way through ``poll``."""

    def __init__(self) -> None:
        self._raised: BaseException | None = None

    def keep(self, callback: Callable[..., None]) -> Callable[..., None]:
        """Return a callback for librdkafka that does the same and raises nothing."""

        def call(*arguments: object) -> None:
            try:
                callback(*arguments)
            except BaseException as error:  # noqa: BLE001 - `poll` raises it
                self._raised = error

        return call

    def poll(self, consumer: Consumer) -> Message | None:
        """Wait a moment for a message and return it, or raise what a callback has raised meanwhile."""
        message = consumer.poll(POLL_S)
        if self._raised is not None:
            raise self._raised
        return message


def close_within(consumer: Consumer, patience_s: float) -> bool:
    """Close a consumer, which commits what it has stored; say whether the broker has answered in time.

    It takes a thread, because no signal ends the call, and librdkafka has no bound for it alone.
    """
    closing = threading.Thread(target=consumer.close, name="closes a consumer", daemon=True)
    closing.start()
    closing.join(patience_s)
    return not closing.is_alive()
