"""``cempstream dlq`` on a broker: what was refused is found, told and sent again as it was."""

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from confluent_kafka import Message, Producer
from typer.testing import CliRunner

from cempstream.processors.outcome import Rejected
from cempstream.processors.spectrum import Reason
from cempstream.streams.cli import app
from cempstream.streams.kafka.messages import PacketOrigin
from cempstream.streams.kafka.outputs import MessageWriter
from cempstream.streams.kafka.topic_reader import read_topic
from cempstream.streams.settings import KafkaSettings, LimitSettings, TopicSettings

pytestmark = pytest.mark.timeout(90)

LIMITS = LimitSettings(max_packet_bytes=4096, dead_letter_head_bytes=64)
HEADERS = (("tense", b"test"), ("trace", b"\xff\x00"))


@dataclass
class Night:
    """A survey's topic and the dead letters of some of its packets."""

    bootstrap: str
    spectra: str
    dlq: str

    def bury(
        self, packet: bytes, reason: Reason, offset: int, headers: tuple[tuple[str, bytes], ...] = HEADERS
    ) -> None:
        """Write a dead letter as the worker does."""
        writer = MessageWriter(TopicSettings(spectra=(self.spectra,), dlq=self.dlq), LIMITS)
        origin = PacketOrigin(self.spectra, 0, offset, 1_700_000_000_000, b"star 7", headers)
        now = datetime.now(UTC)
        (letter,) = writer.write([Rejected(packet, reason, f"it is {reason}")], [origin], now, now)
        producer = Producer({"bootstrap.servers": self.bootstrap})
        producer.produce(letter.topic, letter.value, letter.key, headers=list(letter.headers))
        assert producer.flush(20) == 0

    def read(self, topic: str) -> list[Message]:
        return list(read_topic(KafkaSettings(bootstrap=self.bootstrap), topic))

    def run(self, *args: str, status: int = 0) -> str:
        result = CliRunner().invoke(app, ["dlq", *args, "--bootstrap", self.bootstrap, "--dlq", self.dlq])
        assert result.exit_code == status, result.output
        return result.stdout

    def listed(self, *args: str) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.run("list", "--json", *args).splitlines()]


@pytest.fixture
def night(bootstrap: str, new_topic: Callable[..., str]) -> Night:
    """Two packets that are not Avro, one truncated, and one of which only the head was kept."""
    night = Night(bootstrap, new_topic(), new_topic())
    night.bury(b"\x99junk one", Reason.NOT_AVRO, 3)
    night.bury(b"\x99junk two", Reason.NOT_AVRO, 5)
    night.bury(b"\x00half", Reason.TRUNCATED, 8)
    night.bury(bytes(5000), Reason.TOO_LARGE, 9)
    return night


def test_list_tells_reason_origin_and_size_and_filters(night: Night) -> None:
    letters = night.listed()
    assert [letter["reason"] for letter in letters] == ["not_avro", "not_avro", "truncated", "too_large"]
    assert letters[0]["origin"] == f"{night.spectra}/0@3"
    assert letters[0]["key"] == "star 7"
    assert letters[0]["detail"] == "it is not_avro"
    assert (letters[3]["size_bytes"], letters[3]["is_whole"]) == (5000, False)
    assert [x["place"] for x in night.listed("--reason", "truncated", "--reason", "too_large")] == [
        "0:2",
        "0:3",
    ]
    assert night.listed("--from", "another.topic") == []
    assert [letter["place"] for letter in night.listed("-n", "2")] == ["0:2", "0:3"]
    assert len(night.listed("--since", "1h")) == 4
    assert night.listed("--since", "2999-01-01") == []
    assert night.run("list").count("\n") == 4


def test_show_gives_headers_and_bytes(night: Night, tmp_path: Path) -> None:
    said = night.run("show", "0:0")
    assert "reason: not_avro" in said
    assert "header trace: b'\\xff\\x00'" in said
    assert "000000  99 6a 75 6e 6b" in said
    night.run("show", "0:1", "--out", str(tmp_path / "packet"))
    assert (tmp_path / "packet").read_bytes() == b"\x99junk two"
    night.run("show", "0:99", status=2)
    night.run("show", "first", status=2)


def test_stats_count_by_reason(night: Night) -> None:
    counts = [json.loads(line) for line in night.run("stats", "--json").splitlines()]
    assert {(c["reason"], c["topic"], c["count"]) for c in counts} == {
        ("not_avro", night.spectra, 2),
        ("truncated", night.spectra, 1),
        ("too_large", night.spectra, 1),
    }
    assert "not_avro" in night.run("stats")


def test_requeue_sends_packet_key_and_headers_as_they_were(night: Night) -> None:
    assert night.run("requeue", "--reason", "not_avro") == "2 sent, 0 failed, 0 left\n"
    again = night.read(night.spectra)
    assert [(m.key(), m.value()) for m in again] == [
        (b"star 7", b"\x99junk one"),
        (b"star 7", b"\x99junk two"),
    ]
    for message in again:
        assert message.headers() == [*HEADERS, ("requeue.attempts", b"1")]


def test_a_packet_that_dies_again_is_not_sent_for_ever(night: Night) -> None:
    night.bury(b"\x00worse", Reason.PROCESSING_ERROR, 11, (*HEADERS, ("requeue.attempts", b"2")))
    assert night.run("requeue", "--reason", "processing_error", "--max-attempts", "2").startswith("0 sent")
    assert night.run("requeue", "--reason", "processing_error").startswith("1 sent")
    (message,) = night.read(night.spectra)
    assert message.headers() == [*HEADERS, ("requeue.attempts", b"3")]


def test_requeue_by_place_to_another_topic(night: Night, new_topic: Callable[..., str]) -> None:
    other = new_topic()
    assert night.run("requeue", "0:2", "--to", other) == "1 sent, 0 failed, 0 left\n"
    assert [m.value() for m in night.read(other)] == [b"\x00half"]
    assert night.read(night.spectra) == []
    night.run("requeue", "0:77", status=1)


def test_what_was_cut_is_left_and_nothing_is_sent_in_a_dry_run(night: Night) -> None:
    assert night.run("requeue", "--all", "--dry-run") == "3 would be sent, 0 failed, 1 left\n"
    assert night.read(night.spectra) == []
    assert night.run("requeue", "--all") == "3 sent, 0 failed, 1 left\n"
    assert len(night.read(night.spectra)) == 3


def test_requeue_without_a_choice_is_refused(night: Night) -> None:
    night.run("requeue", status=2)
    assert night.read(night.spectra) == []


def die_again(night: Night, n_known: int) -> None:
    """Refuse once more what was sent since, as a worker does."""
    for message in night.read(night.spectra)[n_known:]:
        headers = tuple((name, bytes(value)) for name, value in message.headers() or [])  # type: ignore[arg-type]
        night.bury(message.value() or b"", Reason.NOT_AVRO, message.offset() or 0, headers)


def test_packets_that_stay_bad_do_not_multiply(bootstrap: str, new_topic: Callable[..., str]) -> None:
    night = Night(bootstrap, new_topic(), new_topic())
    for i in range(10):
        night.bury(b"\x99junk %d" % i, Reason.NOT_AVRO, i)
    for _ in range(5):
        n_sent = len(night.read(night.spectra))
        night.run("requeue", "--all")
        die_again(night, n_sent)
    assert len(night.read(night.spectra)) == 30, "each packet three times, as often as it may be sent again"
    assert len(night.read(night.dlq)) == 40


def test_attempts_count_for_the_packet_whatever_it_died_of_and_of_whichever_letter(night: Night) -> None:
    night.bury(b"\x99junk one", Reason.PROCESSING_ERROR, 20, (*HEADERS, ("requeue.attempts", b"3")))
    assert night.run("requeue", "--reason", "not_avro") == "1 sent, 0 failed, 1 left\n"
    assert [m.value() for m in night.read(night.spectra)] == [b"\x99junk two"]


REQUEUE = ["dlq", "requeue", "--reason", "not_avro"]

#: A command that was asked for and comes to its work when it is let go, as on a busy machine.
HELD_BACK = """
import sys
from cempstream.streams import began
print("asked for", flush=True)
sys.stdin.readline()
from cempstream.__main__ import main
main()
"""


def test_two_requeues_at_once_send_each_packet_once(night: Night) -> None:
    command = [sys.executable, "-m", "cempstream", *REQUEUE]
    command += ["--bootstrap", night.bootstrap, "--dlq", night.dlq]
    with ThreadPoolExecutor(2) as pool:
        runs = list(
            pool.map(lambda _: subprocess.run(command, capture_output=True, text=True, timeout=80), range(2))
        )
    assert sorted(run.returncode for run in runs) == [0, 1], [run.stderr for run in runs]
    assert "another 'requeue'" in "".join(run.stderr for run in runs)
    assert sorted(m.value() or b"" for m in night.read(night.spectra)) == [b"\x99junk one", b"\x99junk two"]


def test_a_requeue_that_comes_late_to_its_turn_sends_nothing_again(night: Night) -> None:
    command = [sys.executable, "-c", HELD_BACK, *REQUEUE, "--bootstrap", night.bootstrap, "--dlq", night.dlq]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as late:  # type: ignore[call-overload] # pipes are integers
        assert late.stdout.readline() == "asked for\n"
        assert night.run(*REQUEUE[1:]) == "2 sent, 0 failed, 0 left\n"
        _, said = late.communicate("go\n", timeout=80)
    assert late.returncode == 1
    assert "another 'requeue'" in said
    assert len(night.read(night.spectra)) == 2


def test_a_process_may_take_its_turn_again(night: Night) -> None:
    for n_read in (2, 4):
        assert night.run(*REQUEUE[1:]) == "2 sent, 0 failed, 0 left\n"
        assert len(night.read(night.spectra)) == n_read
