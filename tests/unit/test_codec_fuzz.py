"""Whatever the bytes, a spectrum packet is a `Spectrum` or a `BadSpectrum`, soon and in little memory."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cempstream.processors.spectrum import STAR_FACTS, BadSpectrum, Spectrum
from cempstream.schemas.avro_writer import encode_long
from cempstream.schemas.codec import decode_spectrum, encode_spectrum, peek_ids
from cempstream.schemas.packets import MAX_PACKET_BYTES, survey_resolver
from cempstream.schemas.registry import Kind, schema
from tests.unit.test_codec import SMALL, small_spectrum

HEADER = SMALL[:5]
OPTIONAL_MISSING = encode_spectrum(
    small_spectrum(
        mask=None,
        contamination=None,
        resolving_power=1800.0,
        photometry={},
        flags=(),
        **dict.fromkeys(STAR_FACTS),
    )
)
RESOLVER = survey_resolver({7: schema(Kind.SPECTRUM)})


def decode_or_refuse(packet: bytes) -> Spectrum | None:
    """Decode; None where the packet is refused. Any other exception is what these tests look for."""
    peek_ids(packet)
    try:
        return decode_spectrum(packet, resolver=RESOLVER)
    except BadSpectrum:
        return None


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_random_bytes(packet: bytes) -> None:
    decode_or_refuse(packet)
    decode_or_refuse(HEADER + packet)
    decode_or_refuse(b"\0\0\0\0\x07" + packet)


def test_every_truncation_is_refused() -> None:
    for packet in (SMALL, OPTIONAL_MISSING):
        for size in range(len(packet)):
            assert decode_or_refuse(packet[:size]) is None


def test_every_flipped_bit() -> None:
    n_read = 0
    for packet in (SMALL, OPTIONAL_MISSING):
        for i_bit in range(8 * len(packet)):
            flipped = bytearray(packet)
            flipped[i_bit // 8] ^= 1 << i_bit % 8
            n_read += decode_or_refuse(bytes(flipped)) is not None
    assert n_read > 1000, "most bits are the pixels' own: their flip makes another spectrum"


def test_every_byte_set_to_the_extremes() -> None:
    for packet in (SMALL, OPTIONAL_MISSING):
        for i_byte in range(len(packet)):
            for value in (0, 1, 2, 3, 127, 128, 254, 255):
                decode_or_refuse(packet[:i_byte] + bytes([value]) + packet[i_byte + 1 :])


@settings(max_examples=300, deadline=None)
@given(
    at=st.integers(0, len(SMALL)),
    n_dropped=st.integers(0, 30),
    number=st.integers(-(2**63), 2**63 - 1) | st.integers(-70, 70),
    junk=st.binary(max_size=20),
)
def test_numbers_and_junk_put_anywhere(at: int, n_dropped: int, number: int, junk: bytes) -> None:
    decode_or_refuse(SMALL[:at] + encode_long(number) + junk + SMALL[at + n_dropped :])


def test_thousands_of_packets_with_several_faults() -> None:
    rng = np.random.default_rng(20261120)
    for _ in range(5_000):
        packet = bytearray(SMALL if rng.random() < 0.5 else OPTIONAL_MISSING)
        for _ in range(rng.integers(1, 6)):
            where = int(rng.integers(5, len(packet)))
            match rng.integers(4):
                case 0:
                    packet[where] = int(rng.integers(256))
                case 1:
                    del packet[where : where + int(rng.integers(1, 20))]
                case 2:
                    packet[where:where] = rng.bytes(int(rng.integers(1, 20)))
                case _:
                    packet[where:where] = packet[: int(rng.integers(1, 40))]
            if len(packet) < 6:
                break
        decode_or_refuse(bytes(packet))


def bombs() -> dict[str, bytes]:
    """Return packets that try to cost much: made of counts that lie or of very many small items."""
    room = MAX_PACKET_BYTES - 10_000
    ids = HEADER + encode_long(6) + b"spec-1" + encode_long(4) + b"csst"
    uri = encode_long(18) + b"s3://bucket/spec-1"
    no_map_no_facts = b"\0" * (1 + len(STAR_FACTS))
    assert OPTIONAL_MISSING.endswith(no_map_no_facts + b"\2" + uri + b"\0")
    before_map = OPTIONAL_MISSING.removesuffix(no_map_no_facts + b"\2" + uri + b"\0")
    before_flags = before_map + no_map_no_facts + b"\2" + uri
    many_texts = b"".join(encode_long(7) + b"%07d" % i for i in range(room // 8))
    return {
        "endless flags": before_flags + encode_long(2**62),
        "endless flags with a block size": before_flags + encode_long(-(2**63)) + encode_long(3),
        "four million empty flags": before_flags + encode_long(room) + b"\0" * room,
        "many flags, in blocks of one": before_flags + (encode_long(1) + b"\0") * (room // 2),
        "half a million texts": before_flags + encode_long(room // 8) + many_texts,
        "endless magnitudes": before_map + encode_long(2**62) + b"\0" * 100,
        "many magnitudes": before_map + encode_long(room // 17) + b"\0" * room,
        "a text of 4 MiB": HEADER + encode_long(room) + b"a" * room,
        "a text of an exabyte": HEADER + encode_long(2**60) + b"a",
        "a number without end": HEADER + b"\xff" * room,
        "flux of an exabyte": before_map.replace(encode_long(64), encode_long(2**60), 1),
        "zeros": HEADER + b"\0" * room,
        "branches that are not there": ids + b"\xfe" * room,
    }


@pytest.mark.parametrize("name", bombs())
def test_a_bomb_costs_little(name: str) -> None:
    packet = bombs()[name]
    assert len(packet) <= MAX_PACKET_BYTES
    tracemalloc.start()
    try:
        assert decode_or_refuse(packet) is None
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1_000_000
    assert n_lines_run(packet) < 20_000  # flags one by one would be millions


def n_lines_run(packet: bytes) -> int:
    """Return how many lines of Python it takes to decode a packet: its cost on any machine."""
    n_lines = 0

    def count(frame: object, event: str, argument: object) -> Callable[..., object]:
        nonlocal n_lines
        n_lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        decode_or_refuse(packet)
    finally:
        sys.settrace(before)
    return n_lines
