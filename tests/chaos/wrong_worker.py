"""Workers that are wrong in one place each, named by ``CEMP_TEST_WRONG``: the ledger must catch them all."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime

from faust.types import EventT

from cempstream.streams.kafka.messages import OutMessage
from cempstream.streams.kafka.publisher import DeliveryFailed
from cempstream.streams.settings import Settings
from cempstream.streams.telemetry.logs import LogFormat, LogLevel, configure_logging
from cempstream.streams.worker.agent import Classifier, Processed
from cempstream.streams.worker.batches import EventBatch
from cempstream.streams.worker.create import create_app
from cempstream.streams.worker.faust_app import run_worker

#: Longer than any test: what was acknowledged too early is not delivered before its worker ends.
_LATE_S = 3600.0

_Change = Callable[[Classifier, list[OutMessage]], list[OutMessage]]


def _change_messages(change: _Change) -> None:
    """Let every batch's messages be changed before they are published."""
    real = Classifier._process

    def process(self: Classifier, events: Sequence[EventT[bytes]], ingested_at: datetime) -> Processed:
        processed = real(self, events, ingested_at)
        return replace(processed, messages=change(self, processed.messages))

    Classifier._process = process  # type: ignore[method-assign]


def _without_last_score(agent: Classifier, messages: list[OutMessage]) -> list[OutMessage]:
    last = max(i for i, message in enumerate(messages) if message.topic == agent.writer.topics.scores)
    return messages[:last] + messages[last + 1 :]


def _without_dead_letters(agent: Classifier, messages: list[OutMessage]) -> list[OutMessage]:
    return [message for message in messages if message.topic != agent.writer.topics.dlq]


def _without_alerts(agent: Classifier, messages: list[OutMessage]) -> list[OutMessage]:
    return [message for message in messages if message.topic != agent.writer.topics.alerts]


def _without_json(agent: Classifier, messages: list[OutMessage]) -> list[OutMessage]:
    return [message for message in messages if message.topic != agent.writer.topics.alerts_json]


def _twice(agent: Classifier, messages: list[OutMessage]) -> list[OutMessage]:
    return messages * 2


def _first_score_for_all(agent: Classifier, messages: list[OutMessage]) -> list[OutMessage]:
    """Every score of a batch is its first one, as after a slip in the rows."""
    scores = agent.writer.topics.scores
    first = next(message for message in messages if message.topic == scores)
    return [first if message.topic == scores else message for message in messages]


def _acknowledge_first() -> None:
    """Acknowledge every batch as it comes, and deliver it later."""

    def ack_at_once(self: EventBatch, delivery: Awaitable[None]) -> None:
        self.ack()

    async def deliver_late(self: Classifier, processed: Processed) -> None:
        await asyncio.sleep(_LATE_S)

    EventBatch.ack_when = ack_at_once  # type: ignore[method-assign]
    Classifier._deliver = deliver_late  # type: ignore[method-assign]


def _swallow_failures() -> None:
    """Take a delivery that failed for one that succeeded."""
    real = Classifier._deliver

    async def deliver(self: Classifier, processed: Processed) -> None:
        try:
            await real(self, processed)
        except DeliveryFailed:
            self.progress.deliver(processed.origins)

    Classifier._deliver = deliver  # type: ignore[method-assign]


def _read_past_one() -> None:
    """Acknowledge the first event of every batch and do not look at it."""
    real = Classifier._process

    def process(self: Classifier, events: Sequence[EventT[bytes]], ingested_at: datetime) -> Processed:
        return real(self, events[1:], ingested_at)

    Classifier._process = process  # type: ignore[method-assign]


WRONG: dict[str, Callable[[], None]] = {
    "drops-the-last": lambda: _change_messages(_without_last_score),
    "drops-dead-letters": lambda: _change_messages(_without_dead_letters),
    "drops-alerts": lambda: _change_messages(_without_alerts),
    "drops-json": lambda: _change_messages(_without_json),
    "sends-twice": lambda: _change_messages(_twice),
    "mixes-rows": lambda: _change_messages(_first_score_for_all),
    "reads-past-one": _read_past_one,
    "swallows-failures": _swallow_failures,
    "acknowledges-first": _acknowledge_first,
}


def main() -> None:
    """Run the worker with its fault."""
    configure_logging(LogLevel.INFO, LogFormat.TEXT)
    WRONG[os.environ["CEMP_TEST_WRONG"]]()
    run_worker(create_app(Settings()))


if __name__ == "__main__":
    main()
