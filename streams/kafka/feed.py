"""Feed spectra to a stream at a steady rate, each delivery confirmed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain, islice

from cempstream.processors.spectrum import Spectrum
from cempstream.schemas.codec import encode_spectrum
from cempstream.schemas.stamp import Tense
from cempstream.streams.kafka.messages import OutMessage
from cempstream.streams.kafka.publisher import DeliveryFailed, Publisher
from cempstream.streams.kafka.topics import MAX_INPUT_BYTES
from cempstream.streams.settings import MIB, KafkaSettings

#: Messages per request to the broker: 64 LAMOST packets are 2 MB.
_CHUNK = 64
_TICK_S = 0.05
_MAX_IN_FLIGHT = 4


def feed_publisher(kafka: KafkaSettings) -> Publisher:
    """Return a publisher for spectra: large messages, and many of them at once."""
    return Publisher(
        kafka.bootstrap,
        max_message_bytes=MAX_INPUT_BYTES,
        batch_bytes=MIB,
        client_config=kafka.client_config(),
    )


def spectrum_message(spectrum: Spectrum, topic: str, tense: Tense) -> OutMessage:
    """Return a spectrum as the message that brings it to a worker.

    A current spectrum is stamped as reduced now: latency counts from there, and the time at which a recorded
    night was reduced says nothing about this stream.
    """
    if tense == "current":
        spectrum = replace(spectrum, reduced_at=datetime.now(UTC))
    return OutMessage(topic, spectrum.key.encode(), encode_spectrum(spectrum), (("tense", tense.encode()),))


async def send_at_rate(
    publisher: Publisher, messages: Iterator[OutMessage], rate: float
) -> AsyncIterator[tuple[int, DeliveryFailed | None]]:
    """Publish messages at a steady rate.

    Parameters
    ----------
    messages
        Taken when they are due.
    rate
        Messages a second; 0 means as fast as the broker confirms them.

    Yields
    ------
    tuple
        How many messages a chunk had, and its error if some were not delivered.
    """
    # The clock starts when the first message is ready: the time to make it is not caught up on.
    messages = chain(list(islice(messages, 1)), messages)
    began_s = time.monotonic()
    n_taken = 0
    in_flight: set[asyncio.Task[tuple[int, DeliveryFailed | None]]] = set()
    while True:
        n_due = _CHUNK if rate == 0 else int((time.monotonic() - began_s) * rate) + 1 - n_taken
        if n_due <= 0:
            await asyncio.sleep(min(_TICK_S, 1 / rate))
            continue
        # Reading and encoding block this thread; the publisher's thread delivers meanwhile.
        chunk = list(islice(messages, min(n_due, _CHUNK)))
        if not chunk:
            break
        n_taken += len(chunk)
        in_flight.add(asyncio.create_task(_publish(publisher, chunk)))
        await asyncio.sleep(0)
        if len(in_flight) >= _MAX_IN_FLIGHT:
            done, in_flight = await asyncio.wait(in_flight, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                yield task.result()
    for task in in_flight:
        yield await task


async def _publish(publisher: Publisher, chunk: list[OutMessage]) -> tuple[int, DeliveryFailed | None]:
    try:
        await publisher.publish(chunk)
    except DeliveryFailed as error:
        return len(chunk), error
    return len(chunk), None
