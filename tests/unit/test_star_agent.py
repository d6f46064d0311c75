"""The agent that follows stars: states before alerts, nothing of a partition that has moved, silence ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from cempstream.processors.stars.observation import Observation
from cempstream.schemas.observation import encode_observation
from cempstream.schemas.samples import sample_stamp
from cempstream.schemas.star import decode_star, star_key
from cempstream.streams.kafka.messages import OutMessage
from cempstream.streams.settings import BatchSettings, LimitSettings, StarSettings, TopicSettings
from cempstream.streams.stars.accounts import StarAccounts
from cempstream.streams.stars.agent import StarAgent
from cempstream.streams.stars.store import StarStore
from cempstream.streams.stars.table import StarTable
from cempstream.streams.telemetry.metrics import Metrics
from cempstream.streams.telemetry.star_metrics import StarMetrics
from cempstream.streams.worker.breaker import Breakers
from cempstream.streams.worker.progress import Progress
from tests.support.visits import MeanJudge, visit

TOPICS = TopicSettings()
KEY = star_key("star", "csst", "test")
READ = (TOPICS.observations,)


class Recorder:
    """Takes messages as a publisher does, and keeps them."""

    def __init__(self) -> None:
        self.batches: list[list[OutMessage]] = []

    async def publish(
        self, messages: Sequence[OutMessage], on_delivery: Callable[[], object] | None = None
    ) -> None:
        """Keep the messages."""
        if messages:
            self.batches.append([*messages])

    @property
    def topics(self) -> list[list[str]]:
        """The topics of each batch."""
        return [sorted({message.topic for message in batch}) for batch in self.batches]


class EmptyChangelog:
    """A changelog that holds nothing yet."""

    topic = TOPICS.stars
    headers = (("changelog", b"id"),)

    def read(self, partition: int, start: int | None) -> Iterator[tuple[int, bytes, bytes | None]]:
        """Yield nothing."""
        return iter(())


class Night:
    """An agent with partition 0, and events for it."""

    def __init__(self, **stars: Any) -> None:
        self.published = Recorder()
        self.app = SimpleNamespace(consumer_generation_id=1)
        metrics = Metrics()
        self.metrics = StarMetrics(metrics.registry)
        breakers = Breakers(READ, 0.5, 100, 30.0)
        self.table = StarTable(EmptyChangelog(), StarStore(), self.metrics)  # type: ignore[arg-type]
        unused: Any = None
        self.agent = StarAgent(
            settings=BatchSettings(),
            publisher=self.published,  # type: ignore[arg-type]
            accounts=StarAccounts(metrics, breakers, TOPICS, self.metrics),
            progress=Progress(unused, unused, breakers, metrics),
            heart=unused,
            watchdog=unused,
            credentials=unused,
            bundles=(),
            judge=MeanJudge(),
            table=self.table,
            topics=TOPICS,
            limits=LimitSettings(),
            stars=StarSettings(**stars),
        )

    async def take(self, *values: bytes, first: int = 0, generation: int = 1) -> None:
        """Hand over a batch of messages of partition 0."""
        if not self.table.restored:
            self.table.assign([0])
        events = [
            SimpleNamespace(
                value=value,
                app=self.app,
                message=SimpleNamespace(
                    topic=TOPICS.observations,
                    partition=0,
                    offset=first + i,
                    timestamp=1.0,
                    key=KEY,
                    headers=[],
                    generation_id=generation,
                ),
            )
            for i, value in enumerate(values)
        ]
        batch = SimpleNamespace(
            events=tuple(events), reason=SimpleNamespace(value="size"), queue_wait_s=(0.0,) * len(events)
        )
        await self.agent.handle(batch)  # type: ignore[arg-type]


def packet(observation: Observation) -> bytes:
    return encode_observation(observation, sample_stamp())


def test_the_state_is_published_before_the_alert_and_to_the_partition_of_the_observation() -> None:
    night = Night()
    asyncio.run(night.take(packet(visit(0, p=0.9)), packet(visit(1, p=0.9))))
    assert night.published.topics == [[TOPICS.stars], sorted([TOPICS.alerts, TOPICS.alerts_json])]
    ((state,), alerts) = night.published.batches
    assert (state.key, state.partition, state.headers) == (KEY, 0, EmptyChangelog.headers)
    held = decode_star(state.value or b"")
    assert (held.offset, len(held.star.observations)) == (1, 2)
    assert dict(alerts[0].headers)["type"] == b"initial"
    assert night.table.store.get(0, KEY) == state.value


def test_an_alert_that_may_not_have_been_sent_goes_before_the_new_state() -> None:
    night = Night()

    async def run() -> None:
        await night.take(packet(visit(0, p=0.9)), first=4)
        night.published.batches.clear()
        await night.take(packet(visit(0, p=0.9)), packet(visit(1, p=0.9)), first=4)

    asyncio.run(run())
    alerts = sorted([TOPICS.alerts, TOPICS.alerts_json])
    assert night.published.topics == [alerts, [TOPICS.stars], alerts]
    types = [dict(batch[0].headers).get("type") for batch in night.published.batches]
    assert types == [b"initial", None, b"subsequent"]


def test_what_is_from_before_a_rebalance_is_left_to_whoever_reads_it_next() -> None:
    night = Night()
    asyncio.run(night.take(packet(visit(0, p=0.9)), generation=0))
    assert night.published.batches == []
    assert night.table.store.count() == 0


def test_what_is_no_observation_is_a_dead_letter_and_the_others_are_folded() -> None:
    night = Night()
    asyncio.run(night.take(b"junk", packet(visit(0, p=0.1)), b""))
    assert night.published.topics == [[TOPICS.stars], [TOPICS.dlq]]
    letters = night.published.batches[1]
    assert [dict(letter.headers)["error.reason"] for letter in letters] == [b"not_avro", b"not_avro"]
    value = night.metrics.registry.get_sample_value
    assert value("cemp_star_folds_total", {"outcome": "changed"}) == 1
    assert value("cemp_star_folds_total", {"outcome": "rejected"}) == 2
    assert (night.agent.accounts.tally.n_scored, night.agent.accounts.tally.n_dead_letters) == (1, 2)


@pytest.mark.parametrize(("survey", "stays"), [("csst", False), ("desi", True)])
def test_a_star_leaves_after_the_silence_of_its_survey(survey: str, stays: bool) -> None:
    night = Night(silence_days=3.0, survey_silence_days={"desi": 5.0} if survey == "csst" else {"csst": 5.0})

    async def run() -> None:
        await night.take(packet(visit(0, p=0.1)))
        night.published.batches.clear()
        await night.agent.forget_silent(datetime.now(UTC) + timedelta(days=2))
        assert night.published.batches == []
        await night.agent.forget_silent(datetime.now(UTC) + timedelta(days=4))

    asyncio.run(run())
    assert night.table.store.count() == stays
    if not stays:
        (gone,) = night.published.batches[0]
        assert (gone.topic, gone.key, gone.value, gone.partition) == (TOPICS.stars, KEY, None, 0)
