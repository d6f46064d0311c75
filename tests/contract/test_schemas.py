"""The published schemas: documented, never changed, and each readable by the others of its major version."""

from __future__ import annotations

import copy
import io
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, get_args

import fastavro
import numpy as np
import pytest

from cempstream.processors.outcome import PARAMETERS, SUBCLASSES
from cempstream.processors.spectrum import MAX_PIXELS, Spectrum
from cempstream.processors.stars.life import AlertType
from cempstream.schemas import samples
from cempstream.schemas.alert import Alert, alert_to_json, decode_alert, encode_alert
from cempstream.schemas.avro_schema import SchemaError, definitions
from cempstream.schemas.codec import decode_spectrum, encode_spectrum
from cempstream.schemas.compatibility import broken_rules, unreadable
from cempstream.schemas.exposure import Exposure, decode_exposure, encode_exposure
from cempstream.schemas.heartbeat import Heartbeat, decode_heartbeat, encode_heartbeat
from cempstream.schemas.observation import decode_observation
from cempstream.schemas.packets import HEADER_BYTES, MAX_PACKET_BYTES, PacketError
from cempstream.schemas.registry import (
    Kind,
    Version,
    diff,
    kind_and_version,
    latest,
    sample,
    sample_path,
    schema,
    schema_id,
    schema_text,
    versions,
)
from cempstream.schemas.samples import sample_classification, sample_packets, sample_stamp
from cempstream.schemas.score import Score, decode_score
from cempstream.schemas.star import decode_star, encode_star

Json = dict[str, Any]

#: Published versions never change: a new field is a new minor version in a new folder.
PUBLISHED = {
    ("spectrum", "1.0"): ("50619e8ab8c03dd2", "019f79edd47989c7"),
    ("spectrum", "1.1"): ("b020cb1a1a9ab8cd", "867009ba7b525995"),
    ("score", "1.0"): ("2dc6da53cb4fc2c9", "4f1f7f53427e31c7"),
    ("alert", "1.0"): ("94415badd334030f", "7838fbcf1b8cbebf"),
    ("heartbeat", "1.0"): ("b8e9ac5599f999c4", "b4bd2157b73e506e"),
    ("score", "1.1"): ("77e0d19ea08688df", "80118ce29c362812"),
    ("exposure", "1.0"): ("9031d3203ce7ad60", "02d0aaa385cd0e9c"),
    ("exposure", "1.1"): ("57872ecdb67b7c31", "dfb7cec445d2656b"),
    ("alert", "1.1"): ("806f5fa0b3881899", "8da59cdb0bcc84d9"),
    ("alert", "1.2"): ("76b7f80020d05bd7", "0636900b522c8dcb"),
    ("alert", "1.3"): ("34406c9fde3d811f", "3d44afc546f4f84c"),
    ("observation", "1.0"): ("64d09e3ba25b1563", "7d93dd8c68184e86"),
    ("star", "1.0"): ("624e8b2cbc31963d", "bf9843b1fd47ec07"),
}

EVERY_VERSION = [(kind, version) for kind in Kind for version in versions(kind)]
READ: dict[Kind, Callable[[bytes], Any]] = {
    Kind.SPECTRUM: decode_spectrum,
    Kind.SCORE: decode_score,
    Kind.ALERT: decode_alert,
    Kind.HEARTBEAT: decode_heartbeat,
    Kind.EXPOSURE: decode_exposure,
    Kind.OBSERVATION: decode_observation,
    Kind.STAR: decode_star,
}


def parts(schema_part: Any) -> Iterator[Json]:
    """Return every object of a schema."""
    if isinstance(schema_part, dict):
        yield schema_part
        for inner in schema_part.values():
            yield from parts(inner)
    elif isinstance(schema_part, list):
        for inner in schema_part:
            yield from parts(inner)


@pytest.mark.parametrize(("kind", "version"), EVERY_VERSION)
def test_a_published_version_never_changes(kind: Kind, version: Version) -> None:
    canonical = json.dumps(schema(kind, version), sort_keys=True).encode()
    digests = (sha256(canonical).hexdigest()[:16], sha256(sample(kind, version)).hexdigest()[:16])
    assert PUBLISHED[kind, str(version)] == digests


@pytest.mark.parametrize(("kind", "version"), EVERY_VERSION)
def test_a_schema_is_valid_and_in_its_namespace(kind: Kind, version: Version) -> None:
    parsed = fastavro.parse_schema(copy.deepcopy(schema(kind, version)))
    assert isinstance(parsed, dict)
    assert parsed["name"] == f"io.cempstream.v{version.major}.{kind.capitalize()}"


@pytest.mark.parametrize(("kind", "version"), EVERY_VERSION)
def test_every_field_and_type_is_documented(kind: Kind, version: Version) -> None:
    for part in parts(schema(kind, version)):
        is_field = "name" in part and "type" in part
        if is_field:
            assert part.get("doc", "").endswith("."), part["name"]
        if part.get("type") == "enum":
            assert part["default"] in part["symbols"]


def test_units_and_ucds_are_given_where_there_are_any() -> None:
    docs = {field["name"]: field["doc"] for field in schema(Kind.ALERT)["fields"]}
    assert docs["ra"] == "Right ascension, ICRS. Unit: deg. UCD: pos.eq.ra;meta.main."
    n_ucd = sum("UCD: " in doc for doc in docs.values())
    assert n_ucd >= 0.8 * len(docs)
    for doc in docs.values():
        if match := re.search(r"UCD: ([^ ]*)\.$", doc):
            assert re.fullmatch(r"[A-Za-z0-9.;]+", match[1])


@pytest.mark.parametrize(("kind", "version"), EVERY_VERSION)
def test_the_sample_is_read_by_fastavro_and_by_us(kind: Kind, version: Version) -> None:
    packet = sample(kind, version)
    assert packet[:HEADER_BYTES] == b"\0" + schema_id(kind, version).to_bytes(4, "big")
    record = fastavro.schemaless_reader(io.BytesIO(packet[HEADER_BYTES:]), schema(kind, version), None)
    assert isinstance(record, dict)
    READ[kind](packet)


@pytest.mark.parametrize("kind", Kind)
def test_the_samples_of_the_latest_versions_are_what_the_script_writes(kind: Kind) -> None:
    """Number by number: spectrum and alert hold exp(), whose last bit is the platform's."""
    written, published = (
        fastavro.schemaless_reader(io.BytesIO(packet[HEADER_BYTES:]), schema(kind), None)
        for packet in (sample_packets()[kind], sample(kind))
    )
    assert alike(written, published)
    assert sample_path(kind, latest(kind)).name == "sample.bin"


def test_samples_are_written_where_they_lack_and_never_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "sample_path", lambda kind, version: tmp_path / f"{kind}-{version}")
    (tmp_path / f"{Kind.ALERT}-{latest(Kind.ALERT)}").write_bytes(b"published")
    assert samples.write_missing_samples() == [kind for kind in Kind if kind is not Kind.ALERT]
    assert samples.write_missing_samples() == []
    assert (tmp_path / f"{Kind.ALERT}-{latest(Kind.ALERT)}").read_bytes() == b"published"
    for kind in Kind:
        assert (tmp_path / f"{kind}-{latest(kind)}").exists()


def test_an_id_in_a_header_is_of_one_kind_and_version() -> None:
    for kind, version in EVERY_VERSION:
        assert kind_and_version(schema_id(kind, version)) == (kind, version)
    assert kind_and_version(10_100) == (next(iter(Kind)), Version(1, 0))
    assert kind_and_version(len(Kind) * 10_000 + 9_999) == (list(Kind)[-1], Version(99, 99))
    for strange in (0, 100, 9_999, 10_099, (len(Kind) + 1) * 10_000 + 100, 2**32 - 1):
        assert kind_and_version(strange) is None


def alike(one: Any, other: Any) -> bool:
    """Are two records the same but for the last digits of their numbers?"""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float):
        return math.isclose(one, other, rel_tol=1e-6) or (math.isnan(one) and math.isnan(other))
    if isinstance(one, bytes) and len(one) == len(other) > 16:  # an array of float32
        return np.allclose(np.frombuffer(one, "<f4"), np.frombuffer(other, "<f4"), rtol=1e-6)
    return bool(one == other)


def test_what_is_read_is_written_again_to_the_same_bytes() -> None:
    assert encode_spectrum(decode_spectrum(sample(Kind.SPECTRUM))) == sample(Kind.SPECTRUM)
    assert encode_exposure(decode_exposure(sample(Kind.EXPOSURE))) == sample(Kind.EXPOSURE)
    assert encode_heartbeat(decode_heartbeat(sample(Kind.HEARTBEAT))) == sample(Kind.HEARTBEAT)
    assert encode_star(decode_star(sample(Kind.STAR))) == sample(Kind.STAR)


def test_our_values_have_the_fields_of_the_schemas() -> None:
    def names(kind: Kind) -> set[str]:
        return {field["name"] for field in schema(kind)["fields"]}

    assert names(Kind.SPECTRUM) == {field.name for field in fields(Spectrum)}
    assert names(Kind.SCORE) == set(Score.model_fields)
    assert names(Kind.ALERT) == set(Alert.model_fields)
    assert names(Kind.HEARTBEAT) == set(Heartbeat.model_fields)
    assert names(Kind.EXPOSURE) == set(Exposure.model_fields)
    types = definitions(schema(Kind.ALERT))
    assert [f["name"] for f in types["Parameters"]["fields"]] == list(PARAMETERS)  # type: ignore[index, call-overload]
    assert [f["name"] for f in types["SubclassProbabilities"]["fields"]] == list(SUBCLASSES)  # type: ignore[index, call-overload]


def test_defaults_of_the_schema_are_those_of_the_value() -> None:
    defaults = {f["name"]: f["default"] for f in schema(Kind.SPECTRUM)["fields"] if "default" in f}
    whole = decode_spectrum(sample(Kind.SPECTRUM))
    bare = Spectrum(
        spectrum_id="a",
        survey="b",
        grid=whole.grid,
        flux=whole.flux,
        ivar=whole.ivar,
        resolving_power=1.0e3,
        reduced_at=whole.reduced_at,
    )
    for name, default in defaults.items():
        value = getattr(bare, name)
        assert (list(value) if isinstance(value, tuple) else value) == default, name


#: The spectrum that an alert holds, by the alert's version; every later one holds the latest spectrum.
SPECTRUM_OF_ALERT = {"1.0": Version(1, 0)}


@pytest.mark.parametrize("version", versions(Kind.ALERT))
def test_the_alert_holds_the_spectrum_schema_whole(version: Version) -> None:
    held = SPECTRUM_OF_ALERT.get(str(version))
    spectrum = copy.deepcopy(schema(Kind.SPECTRUM, held))
    nested = copy.deepcopy(definitions(schema(Kind.ALERT, version))["Spectrum"])
    assert isinstance(nested, dict)
    for part in (spectrum, nested):
        part.pop("namespace", None)
        for field in part["fields"]:
            if field["name"] == "photometry":  # the alert defines Magnitude earlier, for its own magnitudes
                field["type"] = "map of Magnitude"
    assert nested == spectrum
    magnitudes = [
        definitions(part)["Magnitude"] for part in (schema(Kind.ALERT, version), schema(Kind.SPECTRUM, held))
    ]
    assert magnitudes[0] == magnitudes[1]


def test_observation_and_star_hold_the_spectrum_schema_whole_and_the_same_observation() -> None:
    spectrum = {key: value for key, value in schema(Kind.SPECTRUM).items() if key != "namespace"}
    observed = definitions(schema(Kind.OBSERVATION))["Observed"]
    assert definitions(schema(Kind.OBSERVATION))["Spectrum"] == spectrum
    assert definitions(schema(Kind.STAR))["Observed"] == observed


def test_alert_score_observation_and_star_share_their_types() -> None:
    alert = definitions(schema(Kind.ALERT))
    for kind in (Kind.SCORE, Kind.OBSERVATION, Kind.STAR):
        theirs = definitions(schema(kind))
        for name in ("Tense", "SubclassProbabilities", "Parameters", "Estimate", "Decision"):
            assert theirs[name] == alert[name], (kind, name)
    assert definitions(schema(Kind.STAR))["AlertType"] == alert["AlertType"]


def test_every_alert_type_is_a_symbol_and_an_older_reader_takes_a_new_one_for_unknown() -> None:
    symbols = definitions(schema(Kind.ALERT))["AlertType"]["symbols"]  # type: ignore[call-overload, index]
    assert set(symbols) == {*get_args(AlertType), "unknown"}
    packet = encode_alert(sample_classification(), replace(sample_stamp(), alert_type="subsequent"))
    body = io.BytesIO(packet[HEADER_BYTES:])
    record = fastavro.schemaless_reader(body, schema(Kind.ALERT), schema(Kind.ALERT, Version(1, 0)))
    assert isinstance(record, dict)
    assert record["alert_type"] == "unknown"


def test_ids_are_kind_major_minor() -> None:
    assert [schema_id(kind, Version(1, 0)) for kind in Kind] == [
        *(10100, 20100, 30100, 40100, 50100),
        *(60100, 70100),
    ]
    assert schema_id(Kind.ALERT, Version(2, 13)) == 30213
    assert kind_and_version(30213) == (Kind.ALERT, Version(2, 13))
    for strange in (0, 7, 9_999, 10_000, 10_099, 80_100, 2**32 - 1):
        assert kind_and_version(strange) is None


@pytest.mark.parametrize("text", ["1", "1.", ".1", "v1.0", "1.0.0", "1.-1", "1.100", "", "١.٠x"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(SchemaError):
        Version.parse(text)


def test_a_version_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(SchemaError, match=r"no alert schema 9\.9; there are 1\.0"):
        schema_text(Kind.ALERT, Version(9, 9))
    assert diff(Kind.ALERT, Version(1, 0), Version(1, 0)) == ""


def test_the_largest_spectrum_fits_the_size_limit() -> None:
    flux_ivar_mask_bytes = MAX_PIXELS * (4 + 4 + 1)
    assert flux_ivar_mask_bytes < MAX_PACKET_BYTES


# --- evolution


def newer(kind: Kind, change: Callable[[Json], object]) -> Json:
    """Return a schema after a change, as a next minor version might be."""
    changed = copy.deepcopy(schema(kind))
    change(changed)
    return changed


def field_of(record: Json, name: str) -> Json:
    found: Json = next(field for field in record["fields"] if field["name"] == name)
    return found


def add(name: str, **rest: Any) -> Callable[[Json], object]:
    return lambda record: record["fields"].append({"name": name, **rest})


PAIRS = [
    (kind, older, later)
    for kind in Kind
    for older in versions(kind)
    for later in versions(kind)
    if older <= later and older.major == later.major
]


@pytest.mark.parametrize(("kind", "older", "later"), PAIRS)
def test_versions_of_one_major_get_along(kind: Kind, older: Version, later: Version) -> None:
    assert broken_rules(schema(kind, older), schema(kind, later)) == []
    for written, expected in ((older, later), (later, older)):
        assert unreadable(schema(kind, written), schema(kind, expected)) == []
        body = io.BytesIO(sample(kind, written)[HEADER_BYTES:])
        record = fastavro.schemaless_reader(body, schema(kind, written), schema(kind, expected))
        assert isinstance(record, dict)
        assert record.keys() == {field["name"] for field in schema(kind, expected)["fields"]}


def reread(packet: bytes, written: Json, expected: Json) -> bytes:
    """Read a packet as another schema's and return it as that schema's."""
    record = fastavro.schemaless_reader(io.BytesIO(packet), written, expected)
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(copy.deepcopy(expected)), record)
    return buffer.getvalue()


ALLOWED: list[tuple[Kind, Callable[[Json], object]]] = [
    (Kind.SPECTRUM, add("airmass", type=["null", "double"], default=None)),
    (Kind.ALERT, add("tags", type={"type": "array", "items": "string"}, default=[])),
    (Kind.ALERT, lambda r: field_of(r, "alert_type")["type"]["symbols"].append("confirmation")),
    (Kind.SPECTRUM, lambda r: r["fields"].reverse()),
    (Kind.SCORE, lambda r: add("vsini", type="double", default=0.0)(field_of(r, "template")["type"])),
    (Kind.SCORE, lambda r: field_of(r, "snr").update(doc="Said better.")),
]


@pytest.mark.parametrize(("kind", "change"), ALLOWED)
def test_what_a_minor_version_may_change(kind: Kind, change: Callable[[Json], object]) -> None:
    old, new = schema(kind), newer(kind, change)
    assert broken_rules(old, new) == []
    assert unreadable(old, new) == unreadable(new, old) == []
    packet = sample(kind)[HEADER_BYTES:]
    assert reread(reread(packet, old, new), new, old) == packet


FORBIDDEN: list[tuple[Kind, Callable[[Json], object], str]] = [
    (Kind.SPECTRUM, add("airmass", type="double"), r"\.airmass: a new field needs a default"),
    (Kind.SPECTRUM, lambda r: r["fields"].pop(), r"\.flags: the field was removed"),
    (
        Kind.SPECTRUM,
        lambda r: field_of(r, "epoch").update(type=["null", "float"]),
        r"\.epoch: the type changed",
    ),
    (Kind.SPECTRUM, lambda r: field_of(r, "epoch").update(type="double"), r"\.epoch: the type changed"),
    (
        Kind.SPECTRUM,
        lambda r: field_of(r, "grid")["type"].append("null"),
        r"\.grid: the union has 4 branches",
    ),
    (
        Kind.SPECTRUM,
        lambda r: field_of(r, "reduced_at").update(type="long"),
        r"\.reduced_at: the type changed",
    ),
    (
        Kind.SPECTRUM,
        lambda r: field_of(r, "medium")["type"]["symbols"].remove("air"),
        "symbol 'air' was removed",
    ),
    (Kind.SPECTRUM, lambda r: field_of(r, "medium")["type"].pop("default"), "no default symbol"),
    (Kind.SPECTRUM, lambda r: r.update(name="Spectrogram"), "was renamed"),
    (
        Kind.ALERT,
        lambda r: add("vsini", type="double")(field_of(r, "template")["type"]),
        r"\.template\.vsini: a new",
    ),
    (
        Kind.ALERT,
        lambda r: field_of(r, "bands")["type"]["items"]["fields"].pop(),
        r"\.bands\[\]\.weight: .*removed",
    ),
]


@pytest.mark.parametrize(("kind", "change", "problem"), FORBIDDEN)
def test_a_violation_is_caught(kind: Kind, change: Callable[[Json], object], problem: str) -> None:
    problems = broken_rules(schema(kind), newer(kind, change))
    assert any(re.search(problem, found) for found in problems), problems


def test_a_missing_or_retyped_field_cannot_be_read() -> None:
    old = schema(Kind.SPECTRUM)
    assert unreadable(newer(Kind.SPECTRUM, lambda r: r["fields"].pop(0)), old) == [
        "the record.spectrum_id: it is missing and has no default"
    ]
    retyped = newer(Kind.SPECTRUM, lambda r: field_of(r, "survey").update(type="int"))
    assert unreadable(retyped, old) == ["the record.survey: it is int; it must be string"]


# --- versions that are not known


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.SPECTRUM])
def test_an_unknown_version_is_refused_with_those_that_are_known(kind: Kind) -> None:
    packet = sample(kind)
    newer_minor = b"\0" + schema_id(kind, Version(1, 99)).to_bytes(4, "big") + packet[HEADER_BYTES:]
    with pytest.raises(PacketError, match=rf"is {kind} 1\.99; what is read here is {kind} 1\.0"):
        READ[kind](newer_minor)


def test_the_json_rendering_of_the_sample_is_published_beside_it_in_content() -> None:
    body = json.loads(alert_to_json(sample_classification(), sample_stamp()))
    assert decode_alert(sample(Kind.ALERT)).alert_id == body["alert_id"]
    assert set(body) == {"schema", "version"} | {f["name"] for f in schema(Kind.ALERT)["fields"]}
