"""What our transport changes in Faust's consumer, each on a consumer that is not connected."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from faust.types import TP

from cempstream.streams.worker.faust_app import new_app
from cempstream.streams.worker.faust_transport import Consumer, commit_all

pytestmark = pytest.mark.timeout(20)

PARTITION = TP("spectra", 0)


@pytest.fixture
async def consumer() -> AsyncIterator[Consumer]:
    app = new_app("test", "127.0.0.1:1")
    app.finalize()
    consumer = app.consumer
    assert isinstance(consumer, Consumer)
    consumer.flow_active = True
    yield consumer
    consumer._thread.thread_loop.close()  # Faust opens it at once, for a thread that never starts here


async def test_an_empty_fetch_is_answered_soon(consumer: Consumer) -> None:
    client = consumer._thread._create_worker_consumer(consumer.transport)
    await client.stop()
    assert client._fetch_max_wait_ms == 50


async def test_a_full_buffer_is_looked_at_again_at_once(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def getmany(**_: Any) -> dict[TP, list[bytes]]:
        return {PARTITION: [b"fetched"]}

    monkeypatch.setattr(consumer, "_getmany", getmany)
    consumer._active_partitions = {PARTITION}
    consumer.on_buffer_full(PARTITION)
    waiting = asyncio.create_task(consumer._wait_next_records(600.0))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    consumer.on_buffer_drop(PARTITION)
    records, _ = await asyncio.wait_for(waiting, 10)  # Faust sleeps for a second and then has none
    assert records == {PARTITION: [b"fetched"]}


async def test_a_delivery_that_ends_at_once_is_not_waited_for(consumer: Consumer) -> None:
    delivered = []

    async def deliver() -> None:
        delivered.append(1)

    suspended = asyncio.Event()
    tasks_before = len(asyncio.all_tasks())
    waiting = asyncio.create_task(consumer.wait_first(deliver(), suspended.wait()))
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) - tasks_before == 2  # the call and the delivery; Faust makes five
    await waiting
    assert delivered == [1]


async def test_a_delivery_that_is_held_up_ends_when_the_flow_is_suspended(consumer: Consumer) -> None:
    was_cancelled = []

    async def deliver() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            was_cancelled.append(True)
            raise

    suspended = asyncio.Event()
    waiting = asyncio.create_task(consumer.wait_first(deliver(), suspended.wait()))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    suspended.set()
    await asyncio.wait_for(waiting, 1)
    await asyncio.sleep(0)
    assert was_cancelled == [True]


async def test_an_error_in_a_delivery_is_raised(consumer: Consumer) -> None:
    async def deliver() -> None:
        raise OSError("lost")

    with pytest.raises(OSError, match="lost"):
        await consumer.wait_first(deliver(), asyncio.Event().wait())


@pytest.mark.parametrize(("answers", "n_commits"), [([True], 1), ([False, True], 2), ([False, False], 2)])
async def test_commit_all_does_not_settle_for_a_commit_that_began_earlier(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch, answers: list[bool], n_commits: int
) -> None:
    given: Iterator[bool] = iter(answers)
    made = []

    async def commit() -> bool:
        made.append(1)
        return next(given)

    monkeypatch.setattr(consumer, "commit", commit)
    await commit_all(consumer)
    assert len(made) == n_commits
