"""Recorded alerts: from a file as from a stream; repeats, tenses, and what cannot be read."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cempstream.processors.spectrum import Reason
from cempstream.schemas.alert import Alert
from cempstream.schemas.registry import Kind, sample
from cempstream.schemas.stamp import Tense
from cempstream.streams.subscriber.alert_file import AlertFile, holds_alerts
from cempstream.streams.subscriber.memory import AlertMemory, MemoryFileError
from cempstream.streams.subscriber.sieve import AlertSieve, Undecodable, UndecodableError
from cempstream.streams.times import parse_start, parse_time
from tests.support.alerts import PUBLISHED_AT, alert_packet


def line(name: str, **how: Any) -> bytes:
    """Return an alert as a line of JSON."""
    return alert_packet(name, as_json=True, **how) + b"\n"


def names(alerts: AlertFile) -> list[str]:
    with alerts:
        return [alert.spectrum_id for alert in alerts]


@pytest.fixture
def night(tmp_path: Path) -> Path:
    path = tmp_path / "night.jsonl"
    path.write_bytes(line("a") + line("b", p_cemp=0.6, minutes=1) + b"\n" + line("c", minutes=2))
    return path


def test_a_recorded_night_is_read_in_order(night: Path) -> None:
    assert names(AlertFile(night)) == ["a", "b", "c"]


def test_after_its_end_a_file_has_no_more_alerts(night: Path) -> None:
    alerts = AlertFile(night)
    assert [alert.spectrum_id for alert in alerts] == ["a", "b", "c"]
    assert list(alerts) == []
    alerts.close()
    assert list(alerts) == []


def test_the_filter_and_the_times_hold(night: Path) -> None:
    assert names(AlertFile(night, where="p_cemp > 0.9")) == ["a", "c"]
    assert names(AlertFile(night, start=PUBLISHED_AT + timedelta(minutes=1))) == ["b", "c"]
    assert names(AlertFile(night, until=(PUBLISHED_AT + timedelta(minutes=2)).isoformat())) == ["a", "b"]


def test_gzipped_lines_and_a_single_packet_are_read(tmp_path: Path) -> None:
    packed = tmp_path / "night.jsonl.gz"
    packed.write_bytes(gzip.compress(line("a") + line("b")))
    assert names(AlertFile(packed)) == ["a", "b"]
    packet = tmp_path / "alert.bin"
    packet.write_bytes(sample(Kind.ALERT))
    assert names(AlertFile(packet)) == [], "the sample is a test"
    assert names(AlertFile(packet, tenses=("test",))) == ["sample-20261120-001-001"]


def test_a_file_is_closed_at_its_end_and_by_its_block(night: Path) -> None:
    alerts = AlertFile(night)
    assert next(alerts).spectrum_id == "a"
    file = alerts._file
    assert file is not None
    assert not file.closed
    assert len(list(alerts)) == 2
    assert file.closed
    with AlertFile(night) as again:
        file = again._file
        assert file is not None
        assert not file.closed
    assert file.closed
    assert list(again) == []


@pytest.mark.parametrize("zipped", [False, True])
def test_a_file_of_alerts_is_known_by_its_head(tmp_path: Path, zipped: bool) -> None:
    def holds(content: bytes) -> bool:
        path = tmp_path / "some.file"
        path.write_bytes(gzip.compress(content) if zipped else content)
        return holds_alerts(path)

    assert holds(line("a"))
    assert holds(b"\n  " + line("a"))
    assert holds(sample(Kind.ALERT))
    assert not holds(sample(Kind.SCORE))
    assert not holds(sample(Kind.SPECTRUM))
    assert not holds(b"\0\0\0\xff\xff")
    assert not holds(b"SIMPLE  =                    T")
    assert not holds(b"")
    assert not holds(b"\1" + sample(Kind.ALERT)[1:])


def test_what_cannot_be_opened_holds_no_alerts(tmp_path: Path) -> None:
    assert not holds_alerts(tmp_path / "none")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(line("a"))[:20])
    assert not holds_alerts(tmp_path / "cut.gz")
    (tmp_path / "spoiled.gz").write_bytes(gzip.compress(b"x" * 9000)[:15] + b"\xff" * 50)
    assert not holds_alerts(tmp_path / "spoiled.gz")


def test_an_alert_over_many_lines_is_one(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_text(json.dumps(json.loads(line("a")), indent=2))
    assert names(AlertFile(path)) == ["a"]


def test_a_place_is_the_files_name_and_the_line(tmp_path: Path) -> None:
    path = tmp_path / "night.jsonl"
    path.write_bytes(line("a") + b"\n" + b"{}\n")
    bad: list[Undecodable] = []
    assert [alert.spectrum_id for alert in AlertFile(path, on_error=bad.append)] == ["a"]
    assert [(one.source, one.partition, one.offset) for one in bad] == [("night.jsonl", 0, 3)]


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), AlertFile(tmp_path / "none.jsonl"):
        pass


def test_an_empty_file_has_no_alerts(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert names(AlertFile(tmp_path / "empty")) == []


def test_injections_and_tests_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "night.jsonl"
    tenses: tuple[Tense, ...] = ("current", "archival", "injection", "test")
    path.write_bytes(b"".join(line(tense, tense=tense) for tense in tenses))
    assert names(AlertFile(path)) == ["current", "archival"]
    assert names(AlertFile(path, tenses=("current", "test"))) == ["current", "test"]


def test_what_cannot_be_read_is_raised_and_the_rest_follows(tmp_path: Path) -> None:
    path = tmp_path / "night.jsonl"
    path.write_bytes(line("a") + b'{"schema": "of something else"}\n' + line("b"))
    alerts = AlertFile(path)
    assert next(alerts).spectrum_id == "a"
    with pytest.raises(UndecodableError, match=r"night\.jsonl/0@2: bad_field") as caught:
        next(alerts)
    assert caught.value.undecodable.offset == 2
    assert next(alerts).spectrum_id == "b"
    alerts.close()


def test_what_cannot_be_read_is_given_to_the_function(tmp_path: Path) -> None:
    path = tmp_path / "night.jsonl"
    path.write_bytes(line("a") + b"junk\n" + line("b"))
    bad: list[Undecodable] = []
    assert names(AlertFile(path, on_error=bad.append)) == ["a", "b"]
    assert [(one.offset, one.reason, one.packet) for one in bad] == [(2, Reason.NOT_AVRO, b"junk\n")]


# --- what streams and files share


def shown(tmp_path: Path, packets: list[bytes], n_remembered: int = 100) -> list[str]:
    path = tmp_path / "night.jsonl"
    path.write_bytes(b"\n".join(packets))
    return names(AlertFile(path, n_remembered=n_remembered))


def test_a_repeat_is_dropped_and_an_update_is_not(tmp_path: Path) -> None:
    packets = [
        alert_packet("a", as_json=True),
        alert_packet("b", as_json=True),
        alert_packet("a", as_json=True),
        alert_packet("a", revision=1, as_json=True),
        alert_packet("a", revision=1, as_json=True),
    ]
    assert shown(tmp_path, packets) == ["a", "b", "a"]


def test_avro_and_json_of_one_alert_are_one_alert() -> None:
    sieve = AlertSieve()
    avro = sieve.sift(alert_packet("a"), "topic", 0, 0)
    json = sieve.sift(alert_packet("a", as_json=True), "topic", 0, 1)
    assert isinstance(avro, Alert)
    assert isinstance(json, Alert)
    assert avro.alert_id == json.alert_id


def test_the_memory_of_repeats_is_bounded(tmp_path: Path) -> None:
    def packets(letters: str) -> list[bytes]:
        return [alert_packet(name, as_json=True) for name in letters]

    assert shown(tmp_path, packets("abca"), n_remembered=3) == ["a", "b", "c"]
    # d pushes b out, for a came again after it
    assert shown(tmp_path, packets("abcadb"), n_remembered=3) == ["a", "b", "c", "d", "b"]


def test_a_memory_in_a_file_outlives_its_process_and_is_shared(tmp_path: Path) -> None:
    path = tmp_path / "seen.sqlite"
    one, other = AlertMemory(path), AlertMemory(path)
    one.add("a")
    assert "a" in other
    assert "b" not in other
    one.close()
    other.close()
    later = AlertMemory(path)
    assert "a" in later
    later.close()


def test_any_thread_may_acknowledge() -> None:
    memory = AlertMemory()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(memory.add, "a").result(timeout=30)
    assert "a" in memory
    memory.close()


def test_what_is_no_memory_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("call Anna about the telescope time, and much more" * 100)
    for path in (tmp_path / "notes.txt", tmp_path / "no" / "such" / "folder"):
        with pytest.raises(MemoryFileError, match=path.name):
            AlertMemory(path)


def test_ack_reaches_the_stream_and_is_harmless_without_one() -> None:
    sieve = AlertSieve()
    alert = sieve.sift(alert_packet("a"), "topic", 0, 0)
    assert isinstance(alert, Alert)
    alert.ack()
    told: list[str] = []
    alert.on_ack(lambda: told.append("done"))
    alert.ack()
    assert told == ["done"]


# --- times and places


@pytest.mark.parametrize(
    "text", ["2026-11-20T03:00Z", "2026-11-20T03:00", "2026-11-20 03:00:00+00:00", "2026-11-20T04:00+01:00"]
)
def test_a_time_is_iso_8601_and_utc_unless_it_says_otherwise(text: str) -> None:
    assert parse_time(text) == parse_start(text) == datetime(2026, 11, 20, 3, tzinfo=UTC)


def test_places_to_start() -> None:
    assert parse_start("earliest") == "earliest"
    assert parse_start("latest") == "latest"
    assert parse_start("-100") == parse_start(-100) == -100


@pytest.mark.parametrize("bad", ["", "yesterday", "-", "-1.5", "100", 5, 0, "--3"])
def test_what_is_no_place_to_start_is_refused(bad: str | int) -> None:
    with pytest.raises(ValueError, match=r"start|no place"):
        parse_start(bad)


@pytest.mark.parametrize("make", [lambda p: AlertFile(p, start="x"), lambda p: AlertFile(p, where="x")])
def test_what_cannot_be_understood_is_refused_at_once(make: Callable[[str], AlertFile]) -> None:
    with pytest.raises(ValueError, match="'x' is not"):
        make("anything")
