"""The changelog of stars on both brokers: read on, let go, and known again after it was made anew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from cempstream.schemas.samples import sample_star
from cempstream.schemas.star import encode_star
from cempstream.streams.kafka.changelog import Changelog, UnfitTopics, require_changelog
from cempstream.streams.kafka.messages import OutMessage
from cempstream.streams.kafka.publisher import Publisher
from cempstream.streams.kafka.topics import TopicAdmin
from cempstream.streams.settings import KafkaSettings
from cempstream.streams.stars.store import StarStore
from cempstream.streams.stars.table import StarTable
from cempstream.streams.telemetry.star_metrics import StarMetrics

pytestmark = pytest.mark.timeout(120)

STAR = encode_star(sample_star())


def publish(bootstrap: str, messages: Sequence[OutMessage]) -> None:
    async def run() -> None:
        async with Publisher(bootstrap) as publisher:
            await publisher.publish(messages)

    asyncio.run(run())


def changelog_of(bootstrap: str, topic: str) -> Changelog:
    changelog = Changelog(KafkaSettings(bootstrap=bootstrap), topic)
    changelog.identify()
    return changelog


def state(changelog: Changelog, key: bytes, partition: int, packet: bytes | None = STAR) -> OutMessage:
    return OutMessage(changelog.topic, key, packet, changelog.headers, partition)


def test_an_empty_partition_and_one_of_another_topic_are_lost(
    bootstrap: str, new_topic: Callable[..., str]
) -> None:
    changelog = changelog_of(bootstrap, new_topic(2, **{"cleanup.policy": "compact"}))
    assert [changelog.is_lost(partition) for partition in (0, 1)] == [True, True]
    publish(bootstrap, [state(changelog, b"a", 1)])
    assert [changelog.is_lost(partition) for partition in (0, 1)] == [True, False]
    foreign = OutMessage(changelog.topic, b"a", STAR, (("changelog", b"another"),), 1)
    publish(bootstrap, [foreign])
    assert changelog.is_lost(1)
    publish(bootstrap, [state(changelog, b"b", 1)])
    assert not changelog.is_lost(1)


def test_a_table_reads_its_partitions_and_reads_on_what_others_wrote(
    bootstrap: str, new_topic: Callable[..., str]
) -> None:
    changelog = changelog_of(bootstrap, new_topic(2, **{"cleanup.policy": "compact"}))
    publish(bootstrap, [state(changelog, b"a", 0), state(changelog, b"b", 0), state(changelog, b"c", 1)])
    metrics = StarMetrics()
    table = StarTable(changelog, StarStore(), metrics)

    def restored() -> float | None:
        return metrics.registry.get_sample_value("cemp_stars_restored_total")

    async def run() -> None:
        table.assign([0])
        await table.wait_restored(0)
        assert (table.store.get(0, b"a"), table.store.get(1, b"c")) == (STAR, None)
        assert restored() == 2
        await asyncio.to_thread(publish, bootstrap, [state(changelog, b"a", 0, None)])
        table.assign([0, 1])
        await table.wait_restored(0)
        await table.wait_restored(1)
        assert table.store.get(0, b"a") is None
        assert table.store.get(0, b"b") == table.store.get(1, b"c") == STAR
        assert restored() == 4  # what was read is not read again
        assert sorted(table.restored) == [0, 1]
        table.assign([1])
        await table.wait_restored(1)
        assert table.store.get(0, b"b") is None
        assert metrics.registry.get_sample_value("cemp_stars_held") == 1
        assert await table.find_lost([0, 1]) == []

    asyncio.run(run())


def test_topics_that_do_not_belong_together_are_refused_by_name(
    bootstrap: str, new_topic: Callable[..., str]
) -> None:
    kafka = KafkaSettings(bootstrap=bootstrap)
    source, good = new_topic(2), new_topic(2, **{"cleanup.policy": "compact"})
    narrow = new_topic(1, **{"cleanup.policy": "compact"})
    require_changelog(kafka, source, good)
    with pytest.raises(UnfitTopics, match=rf"{narrow} has 1 partitions and {source} has 2"):
        require_changelog(kafka, source, narrow)
    with pytest.raises(UnfitTopics, match="there is no topic absent-1; create"):
        require_changelog(kafka, source, "absent-1")
    plain = new_topic(2)
    if "cleanup.policy" in TopicAdmin(kafka).states([plain])[plain].config:
        with pytest.raises(UnfitTopics, match=rf"{plain} has cleanup.policy=delete"):
            require_changelog(kafka, source, plain)
