"""Scores, alerts and heartbeats: there and back, as Avro and as JSON, with ids that never change."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from datetime import timedelta
from importlib.metadata import PackageNotFoundError
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cempstream.processors.grid import ExplicitGrid, LogGrid
from cempstream.processors.outcome import SUBCLASSES, Classification, Estimate
from cempstream.processors.spectrum import Reason
from cempstream.schemas import results
from cempstream.schemas.alert import (
    MAX_SPECTRUM_BYTES,
    Alert,
    NoSpectrumError,
    alert_from_json,
    alert_to_json,
    decode_alert,
    encode_alert,
)
from cempstream.schemas.exposure import Exposure
from cempstream.schemas.healpix import healpix_nested
from cempstream.schemas.heartbeat import Heartbeat, decode_heartbeat, encode_heartbeat
from cempstream.schemas.json_form import _numbers
from cempstream.schemas.packets import PacketError
from cempstream.schemas.registry import Kind, sample
from cempstream.schemas.results import CodeProvenance, Packet
from cempstream.schemas.samples import (
    sample_classification,
    sample_heartbeat,
    sample_spectrum,
    sample_stamp,
)
from cempstream.schemas.score import Score, decode_score, encode_score
from cempstream.schemas.stamp import Stamp, alert_id, exposure_event_id, record_id

RESULT = sample_classification()
STAMP = sample_stamp()
ALERT_JSON = alert_to_json(RESULT, STAMP)


def with_spectrum(**changes: Any) -> Classification:
    return replace(RESULT, spectrum=replace(RESULT.spectrum, **changes))


# --- ids


def test_ids_are_the_published_ones() -> None:
    # Subscribers drop repeats by these: another recipe would be another stream.
    record = record_id("lamost", "spec-55862-B6212_sp06-003", "v2.9.7")
    assert record == "2ac4ac0b-1c56-534d-ae84-dd3614d14032"
    assert alert_id(record, "mid/1.0", "initial", 0) == "6dbb18ca-0e91-5f28-8e95-9a7def665bae"


def test_an_update_and_another_bundle_are_other_alerts_of_the_same_record() -> None:
    record = record_id("lamost", "a", "1")
    ids = {
        alert_id(record, "mid/1.0", "initial", 0),
        alert_id(record, "mid/1.0", "update", 1),
        alert_id(record, "mid/1.0", "update", 2),
        alert_id(record, "mid/1.0", "retraction", 1),
        alert_id(record, "mid/1.1", "initial", 0),
        alert_id(record_id("lamost", "a", "2"), "mid/1.0", "initial", 0),
    }
    assert len(ids) == 6


def test_a_repeat_has_the_same_ids_and_differs_in_times_only() -> None:
    later = replace(STAMP, ingested_at=STAMP.published_at, inferred_at=STAMP.published_at)
    first, again = json.loads(ALERT_JSON), json.loads(alert_to_json(RESULT, later))
    assert {name for name in first if first[name] != again[name]} == {"ingested_at", "inferred_at"}


# --- score


def test_a_score_comes_back_as_it_was() -> None:
    score = decode_score(encode_score(RESULT, STAMP))
    assert score.record_id == record_id("sample", RESULT.spectrum.spectrum_id, "1.0")
    assert score.tense == "test"
    assert (score.ra, score.dec) == (RESULT.spectrum.ra, RESULT.spectrum.dec)
    assert score.reduced_at == RESULT.spectrum.reduced_at
    assert score.published_at == STAMP.published_at
    assert asdict(score.template) == asdict(RESULT.template)
    assert score.decision == RESULT.decision
    assert score.p_cemp == RESULT.p_cemp
    assert score.subclass == "cemp_s"
    assert [getattr(score.subclass_p, name) for name in SUBCLASSES] == [0.15, 0.7, 0.05, 0.1]
    assert score.parameters.feh == RESULT.parameters["feh"]
    assert math.isnan(score.parameters.bafe.value)
    assert score.models == ("sample/1.0@000000000000 (CPUExecutionProvider, fp32)",)
    assert score.bundle == "sample/1.0"


@pytest.mark.parametrize("packet", [Score, Alert, Heartbeat, Exposure])
def test_a_record_without_its_fields_is_a_packet_error(packet: type[Packet]) -> None:
    with pytest.raises(PacketError, match=packet.__name__) as caught:
        packet.from_record({"survey": "desi"})
    assert caught.value.reason is Reason.BAD_FIELD


def test_a_score_is_small() -> None:
    assert len(encode_score(RESULT, STAMP)) < 1024


def test_numpy_numbers_are_written_like_pythons() -> None:
    as_numpy = replace(
        RESULT,
        p_cemp=np.float64(RESULT.p_cemp),
        snr=np.float64(RESULT.snr),
        subclass_p={name: np.float64(p) for name, p in RESULT.subclass_p.items()},
        parameters={
            name: Estimate(np.float64(e.value), np.float64(e.lo), np.float64(e.hi))
            for name, e in RESULT.parameters.items()
        },
    )
    assert encode_score(as_numpy, STAMP) == encode_score(RESULT, STAMP)
    assert alert_to_json(as_numpy, STAMP) == ALERT_JSON


# --- alert


def test_an_alert_comes_back_with_its_spectrum() -> None:
    alert = decode_alert(encode_alert(RESULT, STAMP))
    spectrum = alert.to_spectrum()
    assert spectrum.grid == RESULT.spectrum.grid
    np.testing.assert_array_equal(spectrum.flux, RESULT.spectrum.flux)
    np.testing.assert_array_equal(spectrum.ivar, RESULT.spectrum.ivar)
    assert spectrum.photometry == RESULT.spectrum.photometry
    assert alert.name == "SAMPLE J104508.24+412345.6"
    assert alert.lines["G4300"].value == 7.9
    assert alert.photometry["G"].mag == 14.82
    np.testing.assert_array_equal(alert.attribution.weight, RESULT.attribution)
    assert len(alert.attribution.wave_aa) == len(alert.attribution.weight) + 1
    assert alert.bands == RESULT.bands
    assert alert.models == RESULT.provenance
    assert alert.code.version
    assert alert.gaia_source_id == RESULT.spectrum.gaia_source_id
    assert RESULT.spectrum.ra is not None
    assert RESULT.spectrum.dec is not None
    assert alert.healpix29 == healpix_nested(RESULT.spectrum.ra, RESULT.spectrum.dec)


def test_an_alert_cannot_be_changed() -> None:
    alert = decode_alert(sample(Kind.ALERT))
    with pytest.raises(ValueError, match="frozen"):
        alert.p_cemp = 0.0


def test_an_acknowledged_alert_tells_its_stream() -> None:
    alert = decode_alert(encode_alert(RESULT, STAMP))
    alert.ack()  # an alert of a file has no stream
    told: list[str] = []
    alert.on_ack(lambda: told.append(alert.alert_id))
    assert told == []
    alert.ack()
    assert told == [alert.alert_id]


def test_a_spectrum_of_64_kib_travels_and_a_larger_one_is_left_behind() -> None:
    def classified(n_pix: int, uri: str | None) -> Classification:
        ones = np.ones(n_pix, dtype=np.float32)
        return with_spectrum(grid=LogGrid(3.55, 5e-5, n_pix), flux=ones, ivar=ones, uri=uri)

    largest = (MAX_SPECTRUM_BYTES - 400) // 8
    assert decode_alert(encode_alert(classified(largest, None), STAMP)).to_spectrum().n_pix == largest

    beyond = decode_alert(encode_alert(classified(8192, "https://survey/x"), STAMP))
    assert beyond.spectrum is None
    with pytest.raises(NoSpectrumError, match="fetch it from https://survey/x"):
        beyond.to_spectrum()
    with pytest.raises(NoSpectrumError, match="gave no address"):
        decode_alert(encode_alert(classified(8192, None), STAMP)).to_spectrum()


def test_without_a_position_there_is_no_pixel_of_the_sky() -> None:
    alert = decode_alert(encode_alert(with_spectrum(ra=None, dec=None), STAMP))
    assert (alert.ra, alert.dec, alert.healpix29) == (None, None, None)


def test_a_retraction_says_what_it_withdraws() -> None:
    first = decode_alert(encode_alert(RESULT, STAMP))
    stamp = replace(STAMP, alert_type="retraction", revision=1, supersedes=first.alert_id)
    alert = decode_alert(encode_alert(RESULT, stamp))
    assert alert.supersedes == first.alert_id
    assert alert.alert_id != first.alert_id
    assert alert.record_id == first.record_id


def test_an_alert_with_a_broken_spectrum_is_a_packet_error() -> None:
    packet = sample(Kind.ALERT).replace(b"\x0csample", b"\x0csamp\xffe")
    with pytest.raises(PacketError, match="UTF-8"):
        decode_alert(packet)
    for size in range(0, len(packet), 97):
        with pytest.raises(PacketError):
            decode_alert(sample(Kind.ALERT)[:size])


# --- JSON


def test_json_has_the_same_content_and_explains_itself() -> None:
    def refuse(word: str) -> float:
        raise AssertionError(f"{word} is not JSON")

    body = json.loads(ALERT_JSON, parse_constant=refuse)
    assert body["schema"] == "io.cempstream.v1.Alert"
    assert body["version"] == "1.3"
    assert body["parameters"]["bafe"] == {"value": None, "lo": None, "hi": None}
    assert body["gaia_source_id"] == "4611686018427387905"
    assert body["reduced_at"] == "2026-11-20T03:00:00.250000Z"
    assert len(body["spectrum"]["flux"]) == 3909
    assert b"\n" not in ALERT_JSON


def test_an_alert_by_json_equals_the_one_by_avro() -> None:
    by_avro = decode_alert(encode_alert(RESULT, STAMP))
    by_json = alert_from_json(ALERT_JSON)
    assert by_avro.to_json() == by_json.to_json() == ALERT_JSON
    assert by_json.to_spectrum().flux.tobytes() == RESULT.spectrum.flux.tobytes()
    assert by_json.to_spectrum().ivar.tobytes() == RESULT.spectrum.ivar.tobytes()


@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1e-17, 1.0, 1e20, 3e37])
def test_every_float32_survives_json(scale: float) -> None:
    rng = np.random.default_rng(5)
    values = (scale * rng.normal(size=2000)).astype(np.float32)
    values[:4] = np.nan, 0.0, np.float32(np.finfo(np.float32).max), np.float32(1e-45)
    grid = ExplicitGrid(np.geomspace(4000.0, 9000.0, 2000))
    result = with_spectrum(grid=grid, flux=values, ivar=np.ones(2000, np.float32))
    spectrum = alert_from_json(alert_to_json(result, STAMP)).to_spectrum()
    np.testing.assert_array_equal(spectrum.flux, values)
    assert spectrum.grid == grid


def test_json_writes_float32_with_nine_digits() -> None:
    assert _numbers(np.array([0.1, 123.456], dtype=np.float32)) == [0.100000001, 123.456001]
    assert len(repr(_numbers(np.array([1 / 3], dtype=np.float32))[0])) == len("0.333333343")


def test_json_of_a_later_minor_version_is_read() -> None:
    body = json.loads(ALERT_JSON) | {"version": "1.7", "sky_brightness": 21.2}
    assert isinstance(alert_from_json(json.dumps(body)), Alert)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": "2.0"}, Reason.UNSUPPORTED_VERSION),
        ({"schema": "io.cempstream.v1.Score"}, Reason.BAD_FIELD),
        ({"snr": "high"}, Reason.BAD_FIELD),
        ({"snr": []}, Reason.BAD_FIELD),
        ({"reduced_at": "2026-11-20T03:00:00"}, Reason.BAD_FIELD),
        ({"reduced_at": 5}, Reason.BAD_FIELD),
        ({"parameters": None}, Reason.BAD_FIELD),
        ({"parameters": {"teff": 5000}}, Reason.BAD_FIELD),
        ({"flags": [1]}, Reason.BAD_FIELD),
        ({"gaia_source_id": "none"}, Reason.BAD_FIELD),
        ({"spectrum": {"flux": [1]}}, Reason.BAD_FIELD),
        ({"spectrum": json.loads(ALERT_JSON)["spectrum"] | {"flux": [1, 2]}}, Reason.LENGTH_MISMATCH),
        ({"spectrum": json.loads(ALERT_JSON)["spectrum"] | {"flux": ["x"]}}, Reason.BAD_FIELD),
        ({"spectrum": json.loads(ALERT_JSON)["spectrum"] | {"mask": [300]}}, Reason.BAD_FIELD),
    ],
)
def test_json_that_is_wrong_is_a_packet_error(change: dict[str, Any], reason: Reason) -> None:
    with pytest.raises(PacketError) as caught:
        alert_from_json(json.dumps(json.loads(ALERT_JSON) | change))
    assert caught.value.reason == reason


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"\xff", b"null", b'{"schema": 3}'])
def test_what_is_not_an_alert_is_a_packet_error(line: bytes) -> None:
    with pytest.raises(PacketError):
        alert_from_json(line)


# --- heartbeat


def test_a_heartbeat_comes_back_as_it_was() -> None:
    heartbeat = sample_heartbeat()
    assert decode_heartbeat(encode_heartbeat(heartbeat)) == heartbeat
    silent = heartbeat.model_copy(
        update={"lag_messages": None, "lag_seconds": None, "last_spectrum_at": None}
    )
    assert decode_heartbeat(encode_heartbeat(silent)) == silent


def test_a_stamp_is_an_initial_alert_unless_said_otherwise() -> None:
    at = sample_spectrum().reduced_at
    stamp = Stamp("current", at, at, at)
    assert (stamp.alert_type, stamp.revision, stamp.supersedes) == ("initial", 0, None)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("survey", 3, "TypeError('3 is not a string')"),
        ("revision", "3", "'3' is not a int"),
        ("template", [1], "[1] is not a Template"),
        ("template", {"teff": 5000.0}, "KeyError('logg')"),
        ("lines", [], "[] is not a map"),
        ("flags", 7, "7 is not a array"),
        ("flags", "odd", "'odd' is not a array"),
        ("flags", {"odd": 1}, "{'odd': 1} is not a array"),
        ("reduced_at", "2026-11-20T03:00:00", "has no zone; it must be UTC"),
        ("reduced_at", "yesterday", "yesterday"),
        ("observed_at", [], "no branch of the union takes []"),
        ("ra", {}, "no branch of the union takes {}"),
        ("snr", "bright", "bright"),
        ("gaia_source_id", "a star", "a star"),
        ("spectrum", {"grid": {}}, "no branch of the union takes {'grid': {}}"),
        ("spectrum_uri", 5, "5 is not a string"),
    ],
)
def test_a_field_of_another_kind_is_refused_by_name(name: str, value: Any, said: str) -> None:
    with pytest.raises(PacketError) as refused:
        alert_from_json(json.dumps(json.loads(ALERT_JSON) | {name: value}))
    assert refused.value.reason is Reason.BAD_FIELD
    assert said in refused.value.detail


def test_times_of_other_zones_are_put_in_utc_and_null_is_not_a_number() -> None:
    body = json.loads(ALERT_JSON) | {"reduced_at": "2026-11-20T05:00:00.25+02:00", "snr": None, "ra": None}
    alert = alert_from_json(json.dumps(body))
    assert alert.reduced_at == RESULT.spectrum.reduced_at
    assert alert.reduced_at.utcoffset() == timedelta(0)
    assert math.isnan(alert.snr)
    assert alert.ra is None


def test_bad_pixels_of_json_arrays_are_not_numbers() -> None:
    body = json.loads(ALERT_JSON)
    body["spectrum"]["flux"][7] = None
    flux = alert_from_json(json.dumps(body)).to_spectrum().flux
    assert np.flatnonzero(np.isnan(flux)).tolist() == [7]
    np.testing.assert_array_equal(np.delete(flux, 7), np.delete(RESULT.spectrum.flux, 7))


def test_a_heartbeat_that_counts_nothing_counts_zero() -> None:
    known = dict(sample_heartbeat())
    idle = Heartbeat.model_validate({name: known[name] for name in known if not name.startswith("n_")})
    assert (idle.n_in, idle.n_scored, idle.n_dead_letters, idle.n_alerts) == (0, 0, 0, 0)


def test_an_exposures_event_has_the_published_id() -> None:
    ids = {exposure_event_id(*parts) for parts in permutations(("lamost", "e1", "v1", "complete"))}
    assert len(ids) == 24
    assert exposure_event_id("lamost", "e1", "v1", "complete") == "f46145ec-2812-5f59-a489-1a356a727176"


@pytest.mark.parametrize(
    ("direct_url", "commit"),
    [
        (None, ""),
        ('{"url": "file:///a"}', ""),
        ('{"url": "b", "vcs_info": {"vcs": "git", "commit_id": "abc"}}', "abc"),
    ],
)
def test_the_code_says_its_version_and_commit(
    monkeypatch: pytest.MonkeyPatch, direct_url: str | None, commit: str
) -> None:
    def read_text(name: str) -> str | None:
        assert name == "direct_url.json"
        return direct_url

    def find(name: str) -> Any:
        assert name == "cempstream"
        return SimpleNamespace(version="7.1", read_text=read_text)

    monkeypatch.setattr(results, "distribution", find)
    assert results.code_provenance.__wrapped__() == CodeProvenance("7.1", commit)


def test_code_that_is_not_installed_is_of_unknown_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str) -> Any:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(results, "distribution", find)
    assert results.code_provenance.__wrapped__() == CodeProvenance("unknown")
