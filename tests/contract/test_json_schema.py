"""The JSON Schema accepts what we write as JSON, and refuses what its reader would."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from cempstream.schemas.alert import Alert, decode_alert
from cempstream.schemas.json_schema import json_schema
from cempstream.schemas.registry import Kind, sample
from cempstream.streams.cli import app

VALIDATOR = Draft202012Validator(json_schema(Kind.ALERT))


def as_json(alert: Alert) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(alert.to_json())
    return read


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_a_valid_schema(kind: Kind) -> None:
    made = json_schema(kind)
    Draft202012Validator.check_schema(made)
    assert made["properties"]["schema"]["const"].startswith("io.cempstream.v")


def test_an_alert_is_what_its_schema_says() -> None:
    alert = decode_alert(sample(Kind.ALERT))
    assert alert.spectrum is not None, "with its arrays"
    assert not [error.message for error in VALIDATOR.iter_errors(as_json(alert))]


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("ra", "east"),
        ("alert_type", "unheard of"),
        ("gaia_source_id", 4_611_686_018_427_387_905),
        ("published_at", 1_763_000_000),
        ("flags", "low_snr"),
        ("lines", {"kp": 4.4}),
        ("schema", "other.Alert"),
        ("version", "2.0"),
    ],
)
def test_what_is_wrong_is_refused_by_name(field: str, wrong: object) -> None:
    alert = as_json(decode_alert(sample(Kind.ALERT)))
    (error,) = VALIDATOR.iter_errors({**alert, field: wrong})
    assert error.absolute_path[0] == field


def test_a_field_that_is_missing_is_refused() -> None:
    alert = as_json(decode_alert(sample(Kind.ALERT)))
    del alert["p_cemp"]
    (error,) = VALIDATOR.iter_errors(alert)
    assert "'p_cemp' is a required property" in error.message


def test_numbers_that_are_not_known_are_null() -> None:
    alert = decode_alert(sample(Kind.ALERT)).model_copy(update={"p_cemp_corrected": float("nan")})
    written = as_json(alert)
    assert written["p_cemp_corrected"] is None
    assert VALIDATOR.is_valid(written)


def test_pydantic_and_the_command_give_the_same_schema() -> None:
    result = CliRunner().invoke(app, ["schema", "show", "alert", "--json-schema"])
    assert json.loads(result.stdout) == json_schema(Kind.ALERT) == Alert.model_json_schema()
