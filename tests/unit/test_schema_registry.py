"""What of a schema registry needs none: its address, the ids of a process, which topics have a schema."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cempstream.schemas.avro_schema import SchemaError
from cempstream.schemas.codec import decode_spectrum, encode_spectrum
from cempstream.schemas.exposure import peek_exposure
from cempstream.schemas.packets import HEADER_BYTES, PacketError, take_ids, unpack, use_own_ids, when_unknown
from cempstream.schemas.registry import Kind, Version, latest, sample, schema, versions
from cempstream.streams.kafka.schema_registry import RegistryError, SchemaRegistry, kinds_of_topics
from cempstream.streams.settings import SchemaSettings, SettingsError, TopicSettings, read_settings
from cempstream.streams.subscriber.start import consumer_config, registry_config
from tests.support.spectra import template_spectra


@pytest.fixture(autouse=True)
def own_ids() -> Iterator[None]:
    yield
    use_own_ids()


def ids_of(kind: Kind) -> dict[int, object]:
    """Return a registry's ids, as it counts: from one."""
    return {i: schema(kind, version) for i, version in enumerate(versions(kind), start=1)}


def framed(number: int, packet: bytes) -> bytes:
    return b"\0" + number.to_bytes(4, "big") + packet[HEADER_BYTES:]


@pytest.mark.parametrize("kind", Kind)
def test_the_registrys_ids_are_read_in_every_version_and_ours_too(kind: Kind) -> None:
    assert take_ids(kind, ids_of(kind)) == []  # type: ignore[arg-type]
    for i, version in enumerate(versions(kind), start=1):
        # Samples hold NaN, which equals nothing.
        assert repr(unpack(kind, framed(i, sample(kind, version)))) == repr(
            unpack(kind, sample(kind, version))
        )


def test_what_is_written_has_the_registrys_id_of_the_latest_version() -> None:
    (spectrum,) = template_spectra(1)
    ours = encode_spectrum(spectrum)
    take_ids(Kind.SPECTRUM, ids_of(Kind.SPECTRUM))  # type: ignore[arg-type]
    packet = encode_spectrum(spectrum)
    assert packet == framed(len(versions(Kind.SPECTRUM)), ours)
    assert decode_spectrum(packet).spectrum_id == spectrum.spectrum_id
    exposure = peek_exposure(packet)
    assert exposure is not None
    assert exposure.spectrum_id == spectrum.spectrum_id


def test_without_the_version_that_is_written_nothing_is_taken() -> None:
    (spectrum,) = template_spectra(1)
    ours = encode_spectrum(spectrum)
    older = {1: schema(Kind.SPECTRUM, Version(1, 0))}
    with pytest.raises(SchemaError, match=f"spectrum {latest(Kind.SPECTRUM)}"):
        take_ids(Kind.SPECTRUM, older)
    assert encode_spectrum(spectrum) == ours
    assert take_ids(Kind.SPECTRUM, older, writes=False) == []
    assert encode_spectrum(spectrum) == ours


def test_a_schema_that_is_none_of_ours_is_named_and_left() -> None:
    strange = {"type": "record", "name": "Thing", "fields": [{"name": "flux", "type": "string"}]}
    (problem,) = take_ids(Kind.SPECTRUM, {**ids_of(Kind.SPECTRUM), 99: strange})  # type: ignore[dict-item]
    assert "schema 99 cannot be read as spectrum" in problem
    with pytest.raises(PacketError, match="schema id 99"):
        unpack(Kind.SPECTRUM, framed(99, sample(Kind.SPECTRUM)))


def test_before_an_unknown_id_is_refused_the_registry_is_asked_again() -> None:
    asked: list[Kind] = []

    def ask(kind: Kind) -> None:
        asked.append(kind)
        take_ids(kind, ids_of(kind))  # type: ignore[arg-type]

    when_unknown(ask)
    assert unpack(Kind.SCORE, sample(Kind.SCORE))
    assert asked == []
    assert unpack(Kind.SCORE, framed(1, sample(Kind.SCORE, versions(Kind.SCORE)[0])))
    assert asked == [Kind.SCORE]
    with pytest.raises(PacketError, match="schema id 77"):
        unpack(Kind.SCORE, framed(77, sample(Kind.SCORE)))


@pytest.mark.parametrize(
    "url", ["", "registry:8081", "ftp://registry", "http://", "https://name:secret@registry.example.org"]
)
def test_an_address_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(RegistryError, match="is not the address of a schema registry") as caught:
        SchemaRegistry({"url": url})
    assert "secret" not in str(caught.value)


def test_a_password_goes_to_this_machine_or_over_https() -> None:
    user = {"basic.auth.user.info": "name:secret"}
    with pytest.raises(RegistryError, match="over https only") as caught:
        SchemaRegistry({"url": "http://registry.example.org", **user})
    assert "secret" not in str(caught.value)
    for url in ("http://127.0.0.1:8081", "http://localhost:8081", "https://registry.example.org"):
        with SchemaRegistry({"url": url, **user}):
            pass


def test_no_registry_at_an_address_is_one_line() -> None:
    with SchemaRegistry({"url": "http://127.0.0.1:1/"}) as registry, pytest.raises(RegistryError) as caught:
        registry.schemas("cemp.alerts.v1", Kind.ALERT)
    assert str(caught.value).startswith("the schema registry at http://127.0.0.1:1/ gives no answer")


def test_every_topic_of_packets_has_a_kind() -> None:
    topics = TopicSettings()
    named = {*topics.spectra, *(name for field, name in topics if field != "spectra")}
    assert named - kinds_of_topics(topics).keys() == {topics.dlq, topics.alerts_json}


def test_the_settings_of_a_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SchemaSettings(registry="").registry is None
    monkeypatch.setenv("CEMP_SCHEMAS__REGISTRY", "https://registry.example.org")
    monkeypatch.setenv("CEMP_SCHEMAS__USERNAME", "reader")
    monkeypatch.setenv("CEMP_SCHEMAS__PASSWORD", "secret")
    schemas = read_settings().schemas
    assert "secret" not in repr(schemas)
    assert schemas.client_config() == {
        "url": "https://registry.example.org",
        "basic.auth.user.info": "reader:secret",
    }
    monkeypatch.setenv("CEMP_SCHEMAS__REGISTRI", "https://registry.example.org")
    with pytest.raises(SettingsError, match="CEMP_SCHEMAS__REGISTRY"):
        read_settings()


def test_a_subscribers_configuration_may_name_the_registry() -> None:
    config = {"schema.registry.url": "http://127.0.0.1:8081", "security.protocol": "SSL"}
    assert registry_config(config) == {"url": "http://127.0.0.1:8081"}
    assert "schema.registry.url" not in consumer_config("127.0.0.1:9092", None, config)
    assert consumer_config("127.0.0.1:9092", None, config)["security.protocol"] == "SSL"
