"""A Faust app for `test_batches`: copies one topic to another, and fails as its environment says.

The messages are numbers. It prints the last number of a batch when the batch has been given out.
"""

import asyncio
import os

import mode
from faust.transport.drivers import aiokafka
from faust.types import EventT, StreamT

from cempstream.streams.kafka.messages import OutMessage
from cempstream.streams.kafka.publisher import Publisher
from cempstream.streams.worker import faust_app
from cempstream.streams.worker.batches import EventBatch, EventBatches
from cempstream.streams.worker.faust_app import new_app, raw_topic, run_worker

BOOTSTRAP, GROUP = os.environ["BOOTSTRAP"], os.environ["GROUP"]
SOURCE, TARGET = os.environ["SOURCE"], os.environ["TARGET"]
READER = os.environ.get("READER", "batches")
FAIL_AFTER = int(os.environ.get("FAIL_AFTER", "-1"))
"""Raise once this many events have been given out."""
HANG_FIRST = "HANG_FIRST" in os.environ
"""The first batch's delivery never ends."""
WORK_S = float(os.environ.get("WORK_S", "0.01"))
if "FETCH_WAIT_S" in os.environ:
    # what Faust itself lets the broker wait for more to fetch, 1.5 s, and what ours has to shorten
    create_consumer = aiokafka.AIOKafkaConsumerThread._create_worker_consumer

    def create_patient_consumer(thread: aiokafka.AIOKafkaConsumerThread, transport: object) -> object:
        consumer = create_consumer(thread, transport)
        consumer._fetch_max_wait_ms = round(1000 * float(os.environ["FETCH_WAIT_S"]))
        return consumer

    aiokafka.AIOKafkaConsumerThread._create_worker_consumer = create_patient_consumer
SIZE = 20
faust_app.STOP_DEADLINE_S = float(os.environ.get("STOP_DEADLINE_S", "25"))

# "take" and "noack_take" run as Faust is by itself
supervisor = mode.CrashingSupervisor if READER == "batches" else mode.OneForOneSupervisor
# short, for the tests' sake: the embedded broker's group join takes half the session timeout
app = new_app(
    GROUP,
    BOOTSTRAP,
    session_timeout_s=3,
    heartbeat_s=0.75,
    agent_supervisor=supervisor,
)
publisher = Publisher(BOOTSTRAP, delivery_timeout_s=3)
n_given = 0


async def copy(events: tuple[EventT[bytes], ...] | list[EventT[bytes]]) -> None:
    """Pretend to work, then publish; as a worker does."""
    global n_given
    n_given += len(events)
    if 0 <= FAIL_AFTER < n_given:
        raise ValueError("broken on purpose")
    await asyncio.sleep(WORK_S)
    await publisher.publish([OutMessage(TARGET, event.key, event.value) for event in events])
    print(n_given, flush=True)


async def deliver(batch: EventBatch, *, hang: bool) -> None:
    await copy(batch.events)
    if hang:
        await asyncio.Event().wait()


@app.agent(raw_topic(app, SOURCE))
async def agent(stream: StreamT) -> None:
    async with publisher:
        if READER == "take":
            async for events in stream.take_events(SIZE, within=0.05):
                await copy(events)
        elif READER == "noack_take":
            async for events in stream.noack_take(SIZE, within=0.05):
                await copy(events)
                for event in events:
                    await stream.ack(event)
        else:
            async with EventBatches(stream, size=SIZE, within_s=0.02, max_in_flight=3) as ready:
                async for batch in ready:
                    batch.ack_when(deliver(batch, hang=HANG_FIRST and n_given == 0))


if __name__ == "__main__":
    run_worker(app)
