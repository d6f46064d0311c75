"""Compressed batches: normal ones are unchanged; bombs are refused with their offsets, in little memory."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Iterator

import cramjam
import pytest
from aiokafka.codec import gzip_encode, lz4_encode, snappy_encode, zstd_encode
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from cempstream.streams.worker import batch_guard
from cempstream.streams.worker.batch_guard import BatchTooLarge, guard_batches

LIMIT = 200_000
CODECS = {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


@pytest.fixture(autouse=True)
def _guarded() -> Iterator[None]:
    guard_batches(LIMIT)
    yield
    guard_batches()


def batch(codec: int, values: list[bytes], base_offset: int = 0) -> bytes:
    """Return a batch as a producer sends it."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=100_000_000,
    )
    for i, value in enumerate(values):
        assert builder.append(i, timestamp=1000 + i, key=b"k", value=value, headers=[("tense", b"test")])
    sent = bytearray(builder.build())
    sent[:8] = base_offset.to_bytes(8, "big")  # the broker writes it; the checksum does not cover it
    return bytes(sent)


def read(data: bytes) -> list[list[object]]:
    records = fetcher.MemoryRecords(data)
    batches = []
    while records.has_next():
        each = records.next_batch()
        assert each.validate_crc()
        batches.append(list(each))
    return batches


@pytest.mark.parametrize("codec", [0, *CODECS.values()])
def test_an_honest_batch_comes_as_it_went(codec: int) -> None:
    values = [bytes([i]) * 20_000 for i in range(9)]
    (records,) = read(batch(codec, values, base_offset=70))
    assert [record.value for record in records] == values  # type: ignore[attr-defined]
    assert [record.offset for record in records] == list(range(70, 79))  # type: ignore[attr-defined]
    assert records[0].headers == [("tense", b"test")]  # type: ignore[attr-defined]


@pytest.mark.parametrize("codec", list(CODECS))
def test_a_bomb_is_refused_offset_by_offset_and_its_neighbours_are_not(codec: str) -> None:
    bomb = batch(CODECS[codec], [bytes(150_000)] * 3, base_offset=10)
    honest = [batch(CODECS[codec], [b"before"], 9), bomb, batch(CODECS[codec], [b"after"], 13)]
    before, refused, after = read(b"".join(honest))
    assert [record.value for record in before + after] == [b"before", b"after"]  # type: ignore[attr-defined]
    assert [record.offset for record in refused] == [10, 11, 12]  # type: ignore[attr-defined]
    for record in refused:
        assert b"offsets 10 to 12, unpacks to more than 200000 bytes" in record.value  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(("gzip_decode", gzip.compress(bytes(200_000_000), 9)), id="gzip"),
        pytest.param(("zstd_decode", bytes(cramjam.zstd.compress(bytes(200_000_000)))), id="zstd"),
        pytest.param(("lz4_decode", lz4_encode(bytes(20_000_000))), id="lz4"),
        pytest.param(("snappy_decode", snappy_encode(bytes(20_000_000))), id="xerial"),
        pytest.param(
            ("snappy_decode", bytes(snappy_encode(bytes(20_000_000), xerial_compatible=False))), id="snappy"
        ),
    ],
)
def test_a_bomb_takes_no_more_than_the_limit(packed: tuple[str, bytes]) -> None:
    name, data = packed
    unpack = getattr(batch_guard.default_records, name)
    tracemalloc.start()
    try:
        with pytest.raises(BatchTooLarge):
            unpack(data)
        assert tracemalloc.get_traced_memory()[1] < 4 * LIMIT
    finally:
        tracemalloc.stop()


def test_what_is_just_at_the_limit_is_taken() -> None:
    for name, encode in (
        ("gzip_decode", gzip_encode),
        ("zstd_decode", zstd_encode),
        ("lz4_decode", lz4_encode),
        ("snappy_decode", snappy_encode),
    ):
        unpack = getattr(batch_guard.default_records, name)
        assert unpack(encode(bytes(LIMIT))) == bytes(LIMIT)
        with pytest.raises(BatchTooLarge):
            unpack(encode(bytes(LIMIT + 1)))
