"""Settings of the environment: what is wrong is refused by the variable's name, with what would be right."""

import re
from pathlib import Path

import pytest

from cempstream.streams.settings import KafkaSettings, SettingsError, read_settings


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (
            "CEMP_TOPICS__SPECTRA",
            "lamost.spectra.v1",
            """CEMP_TOPICS__SPECTRA: 'lamost.spectra.v1' is not a JSON list; write ["lamost.spectra.v1"]""",
        ),
        (
            "CEMP_MODELS__BUNDLES",
            "mid",
            """CEMP_MODELS__BUNDLES: 'mid' is not a JSON list; write ["mid", "low"]""",
        ),
        (
            "CEMP_POLICY__SURVEY_PRIORS",
            "lamost=0.1",
            """CEMP_POLICY__SURVEY_PRIORS: 'lamost=0.1' is not a JSON object; write {"lamost": 0.0003}""",
        ),
        (
            "CEMP_KAFKKA__BOOTSTRAP",
            "a:1",
            "CEMP_KAFKKA__BOOTSTRAP is not a setting; did you mean CEMP_KAFKA__BOOTSTRAP?",
        ),
        (
            "CEMP_KAFKA__BOOTSTARP",
            "a:1",
            "CEMP_KAFKA__BOOTSTARP is not a setting; did you mean CEMP_KAFKA__BOOTSTRAP?",
        ),
        (
            "CEMP_KAFKA_BOOTSTRAP",
            "a:1",
            "CEMP_KAFKA_BOOTSTRAP is not a setting; did you mean CEMP_KAFKA__BOOTSTRAP?",
        ),
        ("CEMP_QQ__ZZ", "1", "CEMP_QQ__ZZ is not a setting; one is CEMP_<GROUP>__<FIELD>"),
        ("CEMP_KAFKA", "a:1", "CEMP_KAFKA: 'a:1' is not a JSON object; write field by field, CEMP_KAFKA__…"),
        ("CEMP_BATCH__SIZE", "0", "CEMP_BATCH__SIZE: '0' should be greater than or equal to 1"),
        ("cemp_batch__size", "many", "CEMP_BATCH__SIZE: 'many' should be a valid integer"),
        ("CEMP_KAFKA__BOOTSTRAP", "http://a", "CEMP_KAFKA__BOOTSTRAP: 'http://a' is not a broker's address"),
    ],
)
def test_what_is_wrong_names_the_variable_and_what_would_be_right(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        read_settings()
    assert str(caught.value).startswith(message)


def test_what_kubernetes_says_of_a_service_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CEMP_METRICS_PORT", "tcp://10.0.0.1:9109")
    assert read_settings().metrics.port == 9464


def test_a_secret_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CEMP_KAFKA__PASSWORD__X", "hunter2")
    with pytest.raises(SettingsError) as caught:
        read_settings()
    assert "CEMP_KAFKA__PASSWORD" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_everything_wrong_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CEMP_KAFKKA__GROUP", "a")
    monkeypatch.setenv("CEMP_MODELS__BUNDLES", "mid")
    with pytest.raises(SettingsError, match=r"(?s)KAFKKA.*BUNDLES|BUNDLES.*KAFKKA"):
        read_settings()


def test_what_is_right_is_read_and_the_caller_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in {
        "CEMP_TOPICS__SPECTRA": '["a", "b"]',
        "CEMP_POLICY__SURVEY_PRIORS__LAMOST": "0.1",
        "CEMP_BATCH__SIZE": "7",
        "CEMP_KAFKA__GROUP": "ours",
        "CEMP_KAFKA_JARS": "a variable of somebody else",
    }.items():
        monkeypatch.setenv(variable, value)
    settings = read_settings(batch={"size": 9}, kafka={"bootstrap": None})
    assert settings.topics.spectra == ("a", "b")
    assert settings.policy.prior_of("lamost") == 0.1
    assert settings.batch.size == 9
    assert settings.kafka.group == "ours"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"CERT_FILE": "c.pem"}, "cert_file is 'c.pem' and security_protocol PLAINTEXT"),
        ({"SECURITY_PROTOCOL": "SSL", "KEY_FILE": "k.pem"}, "key_file is 'k.pem'; it needs cert_file"),
        (
            {"SECURITY_PROTOCOL": "SSL", "KEY_PASSWORD_FILE": "p"},
            "key_password_file is 'p'; it needs cert_file",
        ),
        (
            {"HEARTBEAT_INTERVAL_S": "6"},
            "heartbeat_interval_s is 6 and session_timeout_s 10; a worker must report at least twice",
        ),
        (
            {"REQUEST_TIMEOUT_S": "9"},
            "request_timeout_s is 9 and session_timeout_s 10; joining the group may take a session",
        ),
    ],
)
def test_settings_that_cannot_go_together_are_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], message: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"CEMP_KAFKA__{name}", value)
    with pytest.raises(SettingsError, match=re.escape(message)):
        read_settings()


def test_the_key_may_stand_in_the_certificate_s_file() -> None:
    kafka = KafkaSettings(security_protocol="SSL", cert_file=Path("c.pem"))
    assert kafka.client_config() == {
        "security.protocol": "SSL",
        "ssl.certificate.location": "c.pem",
        "ssl.key.location": "c.pem",
    }
