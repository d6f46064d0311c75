"""The agent that follows stars: it folds observations, publishes states and alerts, and acknowledges.

At least once: a star's state is confirmed by the broker before its alert is sent, and the alert before the
observation is acknowledged. `cempstream.streams.stars.folding` says what becomes of one that comes again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from cempstream.processors.outcome import Rejected
from cempstream.processors.spectrum import Reason
from cempstream.processors.stars.star import Judge
from cempstream.schemas.observation import decode_observation
from cempstream.schemas.packets import PacketError
from cempstream.schemas.sky import LookUp
from cempstream.schemas.stamp import Stamp
from cempstream.schemas.star import StarPacket, encode_star
from cempstream.streams.kafka.dead_letters import write_dead_letter
from cempstream.streams.kafka.messages import OutMessage, PacketOrigin
from cempstream.streams.kafka.outputs import write_alerts
from cempstream.streams.settings import LimitSettings, StarSettings, TopicSettings
from cempstream.streams.stars.accounts import StarAccounts
from cempstream.streams.stars.folding import Arrival, Change, Told, fold_arrivals
from cempstream.streams.stars.store import Held
from cempstream.streams.stars.table import StarTable
from cempstream.streams.telemetry import notices
from cempstream.streams.worker.agent import Agent, origin_of
from cempstream.streams.worker.batches import EventBatch
from cempstream.streams.worker.faust_transport import Consumer

#: So many silent stars are let go before the next batch has its turn.
_FORGOTTEN_AT_ONCE = 256


@dataclass(slots=True, eq=False)
class StarAgent(Agent):
    """The agent of ``cempstream stars run``; its work is folding.

    Attributes
    ----------
    judge
        Scores sums of spectra.
    look_up
        Finds what lies at a star's position; None where nothing is looked up.
    """

    accounts: StarAccounts
    judge: Judge
    table: StarTable
    topics: TopicSettings
    limits: LimitSettings
    stars: StarSettings
    look_up: LookUp | None = None
    #: One batch after another: what one folds, the next stands on.
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def handle(self, batch: EventBatch) -> None:
        """Fold a batch, and return when states and alerts are delivered."""
        self.accounts.count_batch(batch.reason.value, batch.queue_wait_s)
        async with self._turn:
            for partition in {event.message.partition for event in batch.events}:
                await self.table.wait_restored(partition)
            # What is from before a rebalance comes again, perhaps to another process.
            generation = batch.events[0].app.consumer_generation_id
            events = [event for event in batch.events if event.message.generation_id == generation]
            if not events:
                return
            changes, refused = await asyncio.to_thread(self._fold, events)
            if batch.events[0].app.consumer_generation_id == generation:
                await self._deliver(changes, refused)

    def _fold(self, events: Sequence[Any]) -> tuple[list[Change], list[tuple[Rejected, PacketOrigin]]]:
        """Read and fold observations; runs in a thread, off the event loop."""
        arrivals, refused = [], []
        for event in events:
            packet, origin = event.value or b"", origin_of(event)
            try:
                seen = decode_observation(packet, max_packet_bytes=self.limits.max_packet_bytes)
            except PacketError as error:
                refused.append((Rejected(packet, error.reason, error.detail), origin))
            else:
                arrivals.append(Arrival(seen, origin))
        changes = fold_arrivals(arrivals, self.table.store.get, self.judge)
        packets = {(event.message.partition, event.message.offset): event.value or b"" for event in events}
        for change in changes:
            if change.problem is not None:
                for arrival in change.arrivals:
                    origin, spectrum = arrival.origin, arrival.packet.observation.spectrum
                    names = spectrum.spectrum_id, spectrum.survey, spectrum.exposure_id or None
                    packet = packets[origin.partition, origin.offset]
                    refused.append(
                        (Rejected(packet, Reason.PROCESSING_ERROR, change.problem, *names), origin)
                    )
        return changes, refused

    async def _deliver(
        self, changes: Sequence[Change], refused: Sequence[tuple[Rejected, PacketOrigin]]
    ) -> None:
        """Publish states, then alerts, then dead letters, and book what is delivered.

        First of all what may not have been sent before: a new state would make that forgotten.
        """
        inferred_at = datetime.now(UTC)
        move = partial(self.progress.move, self.topics.observations)
        again = [m for change in changes for m in self._alert(change, change.again, inferred_at)]
        await self.publisher.publish(again, move)
        states: dict[int, dict[bytes, Held | None]] = {}
        messages = []
        for change in changes:
            if change.has_changed:
                held = _held(change, inferred_at)
                states.setdefault(change.partition, {})[change.key] = held
                messages.append(self._state(change.partition, change.key, held.packet))
        await self.publisher.publish(messages, move)
        for of_partition, stars in states.items():
            self.table.put(of_partition, stars)
        alerts = [m for change in changes for m in self._alert(change, change.alert, inferred_at)]
        await self.publisher.publish(alerts, move)
        letters = [
            write_dead_letter(rejected, origin, self.topics.dlq, self.limits) for rejected, origin in refused
        ]
        await self._bury(letters, move)
        self.accounts.book_stars(changes, refused, datetime.now(UTC))
        self.progress.deliver([origin for _, origin in refused])
        self.progress.deliver([arrival.origin for change in changes for arrival in change.arrivals])

    def _state(self, partition: int, key: bytes, packet: bytes | None) -> OutMessage:
        return OutMessage(self.table.topic, key, packet, self.table.headers, partition)

    def _alert(self, change: Change, told: Told | None, inferred_at: datetime) -> list[OutMessage]:
        if told is None:
            return []
        newest, sent = change.arrivals[-1].packet, told.sent
        stamp = Stamp(
            *(newest.tense, newest.ingested_at, inferred_at, datetime.now(UTC)),
            *(sent.alert_type, sent.revision, sent.supersedes),
        )
        return write_alerts(told.result, stamp, self.topics, told.star, self.look_up)

    async def take_over(self, consumer: Consumer) -> None:
        """Read the stars of the partitions that are assigned; where their changelog is gone, make them anew.

        For `App.on_assigned`.
        """
        ours = {tp.partition: tp for tp in consumer.assignment()}
        lost = await self.table.find_lost(ours)
        known = [partition for partition in lost if consumer._committed_offset.get(ours[partition])]
        if known:
            notices.changelog_lost(self.table.topic, known)
            self.accounts.stars.lost.inc(len(known))
            if not await consumer.read_again([ours[partition] for partition in known]):
                return  # they move: whoever has them next does the same
        self.table.assign(ours)

    async def forget_silent(self, now: datetime) -> None:
        """Let the stars go of which there was no new observation for as long as the settings say."""
        for survey in await asyncio.to_thread(self.table.store.surveys):
            since = now - timedelta(days=self.stars.silence_of(survey))
            while await self._forget(survey, since):
                pass

    async def _forget(self, survey: str, since: datetime) -> bool:
        """Let some stars go; False where there are no more."""
        async with self._turn:
            silent = await asyncio.to_thread(
                self.table.store.silent, self.table.restored, survey, since, _FORGOTTEN_AT_ONCE
            )
            await self.publisher.publish([self._state(partition, key, None) for partition, key in silent])
            for partition, key in silent:
                self.table.put(partition, {key: None})
            self.accounts.stars.forgotten.inc(len(silent))
        return len(silent) == _FORGOTTEN_AT_ONCE


def _held(change: Change, updated_at: datetime) -> Held:
    survey = change.arrivals[-1].packet.observation.spectrum.survey
    state = StarPacket(
        star=change.star,
        survey=survey,
        updated_at=updated_at,
        offset=max(arrival.origin.offset for arrival in change.arrivals),
    )
    return Held(encode_star(state), survey, updated_at)
