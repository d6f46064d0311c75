"""A hundred thousand packets and more: the same few stars again and again, each with a new name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from cempstream.schemas.avro_writer import encode_long
from cempstream.schemas.codec import decode_spectrum, peek_ids

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def numbered(packets: Sequence[bytes], n_packets: int) -> Iterator[bytes]:
    """Return packets in turn, renamed to ``n-0…0<number>`` and reduced when it is asked for."""
    reduced = [_time_bytes(decode_spectrum(packet).reduced_at) for packet in packets]
    for number in range(n_packets):
        i = number % len(packets)
        packet = packets[i]
        name, _ = peek_ids(packet)
        assert name is not None, "they are good packets"
        renamed = packet.replace(name.encode(), f"n-{number:0{len(name) - 2}d}".encode(), 1)
        yield renamed.replace(reduced[i], _time_bytes(datetime.now(UTC)), 1)


def _time_bytes(moment: datetime) -> bytes:
    return encode_long((moment - _EPOCH) // timedelta(microseconds=1))
