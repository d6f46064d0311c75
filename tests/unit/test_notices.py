"""The log: one line per event that a person acts on, with the ids of what it speaks of."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cempstream.processors.outcome import Rejected
from cempstream.processors.spectrum import Reason
from cempstream.schemas.codec import decode_spectrum, encode_spectrum
from cempstream.streams.scoring.pipeline import Pipeline, Route
from cempstream.streams.telemetry import notices
from cempstream.streams.telemetry.logs import JsonFormatter, KeyValueFormatter
from tests.support.fakes import ThresholdChain, make_spectrum
from tests.support.poison import packet_with
from tests.unit.test_pipeline import POLICY

PLACE = ("lamost.spectra.v1", 3, 41)


def lines_of(caplog: pytest.LogCaptureFixture, say: Callable[[], None]) -> list[dict[str, object]]:
    with caplog.at_level(logging.INFO, logger="cempstream"):
        caplog.clear()
        say()
    return [json.loads(JsonFormatter().format(record)) for record in caplog.records]


EVERY: dict[notices.Event, Callable[[], None]] = {
    notices.Event.STARTED: lambda: notices.started(("mid/1.1.0",), "cpu", "http://127.0.0.1:9464/metrics"),
    notices.Event.STOPPED: lambda: notices.stopped(("mid/1.1.0",), 10, 1, 2),
    notices.Event.DEAD_LETTER: lambda: notices.dead_letter(
        Rejected(b"", Reason.TRUNCATED, "it ends early", "s1", "lamost", "e7"), *PLACE
    ),
    notices.Event.MODEL_BROKEN: lambda: notices.model_broken("mid fails on its reference spectrum"),
    notices.Event.SHADOW_FAILED: lambda: notices.shadow_failed("mid-1.2.0", "its scores are not delivered"),
    notices.Event.BREAKER_OPENED: lambda: notices.breaker_opened("a", 0.2, 30.0),
    notices.Event.BREAKER_CLOSED: lambda: notices.breaker_closed("a"),
    notices.Event.PARTITIONS_CHANGED: lambda: notices.partitions_changed([("t", 1), ("t", 0)], []),
    notices.Event.PARTITIONS_UNREAD: lambda: notices.partitions_unread([("t", 1), ("t", 0)]),
    notices.Event.OFFSETS_SKIPPED: lambda: notices.offsets_skipped(
        "t/1 begins at offset 9 and the group was at 4: 5 were deleted unread",
        "retention",
        "t",
        1,
        (4, 8),
        9,
        (None, datetime(2026, 11, 20, 3, tzinfo=UTC)),
    ),
    notices.Event.CREDENTIALS_REFUSED: lambda: notices.credentials_judged("wrong password"),
    notices.Event.CREDENTIALS_ACCEPTED: lambda: notices.credentials_judged(None),
    notices.Event.CREDENTIALS_ENDED: lambda: notices.credentials_ended("the files have changed"),
    notices.Event.LOG_LINES_DROPPED: lambda: notices.log_lines_dropped(7),
    notices.Event.CHANGELOG_LOST: lambda: notices.changelog_lost("cemp.stars.v1", [0, 3]),
    notices.Event.EXPOSURE_INCOMPLETE: lambda: notices.exposure_incomplete("desi", "e7", 4990, 5000, 5000),
}


@pytest.mark.parametrize("event", notices.Event)
def test_every_event_is_one_line_in_both_formats(
    event: notices.Event, caplog: pytest.LogCaptureFixture
) -> None:
    (line,) = lines_of(caplog, EVERY[event])
    assert line["event"] == event.value
    assert line["message"]
    plain = KeyValueFormatter().format(caplog.records[0])
    assert "\n" not in plain
    words = dict(word.split("=", 1) for word in shlex.split(plain))
    assert {name: str(value) for name, value in line.items()} == words


def test_a_dead_letter_says_which_spectrum_of_which_exposure(caplog: pytest.LogCaptureFixture) -> None:
    (line,) = lines_of(caplog, EVERY[notices.Event.DEAD_LETTER])
    wanted = {"reason": "truncated", "spectrum_id": "s1", "exposure_id": "e7", "survey": "lamost"}
    place = {"topic": "lamost.spectra.v1", "partition": 3, "offset": 41, "level": "warning"}
    assert (wanted | place).items() <= line.items()


def test_what_is_not_known_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    junk = Rejected(b"junk", Reason.NOT_AVRO, 'magic "x"\nmust be 0')
    (line,) = lines_of(caplog, lambda: notices.dead_letter(junk, *PLACE))
    assert not {"spectrum_id", "exposure_id", "survey"} & line.keys()


def test_a_packet_is_named_as_soon_as_its_names_can_be_read() -> None:
    spectrum = replace(make_spectrum("s1"), exposure_id="e7")
    chain = ThresholdChain(poison=frozenset({"s1"}))
    route = Route(chain, (600.0, 1e5), lambda survey: POLICY, make_spectrum("reference"))  # type: ignore[arg-type]
    packets = {
        packet_with(spectrum, flux=b"\0\0\0"): Reason.LENGTH_MISMATCH,
        encode_spectrum(spectrum)[:3000]: Reason.TRUNCATED,
        encode_spectrum(replace(spectrum, resolving_power=50.0)): Reason.UNSUPPORTED_RESOLUTION,
        encode_spectrum(spectrum): Reason.PROCESSING_ERROR,
    }
    for packet, reason in packets.items():
        (outcome,) = Pipeline(decode_spectrum, [route]).classify_packets([packet])
        assert isinstance(outcome, Rejected)
        assert outcome.reason == reason
        assert (outcome.spectrum_id, outcome.survey, outcome.exposure_id) == ("s1", "lamost", "e7")


def test_retries_of_a_batch_are_counted() -> None:
    spectra = [make_spectrum(f"s{i}") for i in range(8)]
    chain = ThresholdChain(poison=frozenset({"s5"}))
    route = Route(chain, (600.0, 1e5), lambda survey: POLICY, make_spectrum("reference"))  # type: ignore[arg-type]
    retries: list[None] = []
    pipeline = Pipeline(decode_spectrum, [route], on_retry=lambda: retries.append(None))
    pipeline.classify_packets([encode_spectrum(spectrum) for spectrum in spectra])
    n_in_models = len(chain.batches) - 1  # the last is the reference, on which the models prove themselves
    assert len(retries) == n_in_models - 1 > 0
