"""The heartbeat packet: it shows a subscriber that a worker is alive while there are no alerts."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeAlias

from cempstream.schemas.packets import MAX_PACKET_BYTES, pack, unpack
from cempstream.schemas.registry import Kind
from cempstream.schemas.results import Packet

WorkerState: TypeAlias = Literal["starting", "running", "paused", "stopping", "unknown"]


class Heartbeat(Packet):
    """One heartbeat; ``paused`` means that the breakers of all its topics are open."""

    worker_id: str
    sent_at: datetime
    started_at: datetime
    state: WorkerState
    code_version: str
    bundles: tuple[str, ...] = ()
    provider: str
    topics: tuple[str, ...] = ()
    lag_messages: int | None = None
    lag_seconds: float | None = None
    last_spectrum_at: datetime | None = None
    n_in: int = 0
    n_scored: int = 0
    n_dead_letters: int = 0
    n_alerts: int = 0


def encode_heartbeat(heartbeat: Heartbeat) -> bytes:
    """Return a heartbeat as a packet."""
    return pack(Kind.HEARTBEAT, dict(heartbeat))


def decode_heartbeat(packet: bytes, *, max_packet_bytes: int = MAX_PACKET_BYTES) -> Heartbeat:
    """Read a heartbeat packet.

    Raises
    ------
    PacketError
        Whatever is wrong with the bytes.
    """
    return Heartbeat.from_record(unpack(Kind.HEARTBEAT, packet, max_packet_bytes=max_packet_bytes))
