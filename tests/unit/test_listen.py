"""``cempstream listen`` on recorded files: what it prints, and what it says of what is wrong."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from cempstream.processors.spectrum import Flag
from cempstream.schemas.alert import Alert, decode_alert
from cempstream.schemas.registry import Kind, latest, sample, sample_path
from cempstream.streams.cli import app
from cempstream.streams.commands.listen import read_properties
from cempstream.streams.subscriber.alert_view import alert_panel
from tests.support.alerts import alert_packet

SAMPLE = sample_path(Kind.ALERT, latest(Kind.ALERT))


@pytest.fixture
def night(tmp_path: Path) -> Path:
    path = tmp_path / "night.jsonl"
    lines = [alert_packet(name, p_cemp=p, as_json=True) for name, p in (("a", 0.97), ("b", 0.6), ("c", 0.99))]
    path.write_bytes(b"\n".join(lines))
    return path


def listen(*args: str | Path) -> Result:
    return CliRunner().invoke(app, ["listen", *map(str, args)])


def said(*args: str | Path, status: int = 0) -> list[str]:
    result = listen(*args, "--json")
    assert result.exit_code == status, result.output
    return [json.loads(line)["spectrum_id"] for line in result.stdout.splitlines()]


def test_json_is_one_alert_a_line_as_it_was_recorded(night: Path) -> None:
    assert listen("--file", night, "--json").stdout.encode() == night.read_bytes() + b"\n"


@pytest.mark.parametrize("name", ["CEMP_KAFKKA__BOOTSTRAP", "CEMP_KAFKA__BOOTSTARP", "CEMP_KAFKA_BOOTSTRAP"])
def test_a_misspelt_variable_is_refused(monkeypatch: pytest.MonkeyPatch, night: Path, name: str) -> None:
    monkeypatch.setenv(name, "broker:9092")
    result = listen("--file", night)
    assert result.exit_code == 2
    assert f"{name} is not a setting; did you mean CEMP_KAFKA__BOOTSTRAP?" in result.output


def test_variables_of_others_are_left_alone(monkeypatch: pytest.MonkeyPatch, night: Path) -> None:
    for name in ("CEMP_KAFKA__PASSWORD", "CEMP_KAFKA__BOOTSTRAP", "CEMP_POLICY__PRIOR"):
        monkeypatch.setenv(name, "1")
    assert said("--file", night, "-n", "1") == ["a"]


def test_filter_number_and_tense(night: Path) -> None:
    assert said("--file", night, "--where", "p_cemp > 0.9") == ["a", "c"]
    assert said("--file", night, "-n", "2") == ["a", "b"]
    assert said("--file", night, "--tense", "test") == []
    assert said("--file", SAMPLE, "--tense", "test") == ["sample-20261120-001-001"]


def test_a_person_sees_what_decides_a_follow_up(night: Path) -> None:
    shown = listen("--file", night, "-n", "1").stdout
    for fact in (
        *("star a", "p 0.970", "CEMP-s 70 %", "10:45:08.24 +41:23:45.6", "S/N 40", "RV -122 km/s"),
        *("[Fe/H] -2.41 (-2.53 … -2.28)", "[C/Fe] +1.52 (+1.38 … +1.67), corr. +1.61", "[Ba/Fe] –"),
        *("C2 5165 40 %, CH G 30 %", "sample/1.0"),
    ):
        assert fact in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_what_cannot_be_read_is_said_and_the_rest_is_shown(night: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed.jsonl"
    mixed.write_bytes(b"junk\n" + night.read_bytes())
    result = listen("--file", mixed, "--json")
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 3
    assert "mixed.jsonl/0@1: not_avro" in result.stderr


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        (
            ["--where", "pcemp > 1"],
            2,
            "'--where': 'pcemp' is not a field of an alert; did you mean 'p_cemp'?",
        ),
        (["--start", "tomorrow"], 2, "'--start': 'tomorrow' is not a place to start"),
        (["--until", "soon"], 2, "'--until': 'soon' is not a time"),
        (["-n", "0"], 2, "-n"),
        (["--file", "nowhere.jsonl"], 1, "nowhere.jsonl: No such file"),
        (["--file", str(SAMPLE), "--start", "-5"], 2, "'-5' is not a time"),
        (["--config", "nowhere.conf"], 1, "nowhere.conf: No such file"),
    ],
)
def test_what_is_wrong_is_one_line(args: list[str], status: int, message: str) -> None:
    result = listen(*args)
    assert result.exit_code == status
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert message in line


def test_a_reader_who_leaves_is_no_error(night: Path, tmp_path: Path) -> None:
    long_night = tmp_path / "long.jsonl"
    long_night.write_bytes(b"\n".join(alert_packet(f"s{i}", as_json=True) for i in range(100)))
    command = f"{sys.executable} -m cempstream listen --json --file {long_night}"
    run = subprocess.run(f"{command} | head -n 1", shell=True, capture_output=True, timeout=60)
    assert json.loads(run.stdout)["spectrum_id"] == "s0"
    assert run.stderr == b""


def test_properties_are_name_and_value(tmp_path: Path) -> None:
    path = tmp_path / "client.properties"
    path.write_text("# for the night\nsecurity.protocol = SASL_SSL\n\nsasl.password=a=b\n")
    assert read_properties(path) == {"security.protocol": "SASL_SSL", "sasl.password": "a=b"}
    path.write_text("sasl.username observer\n")
    with pytest.raises(ValueError, match="line 1: a property is written name=value"):
        read_properties(path)
    result = listen("--config", path)
    assert (result.exit_code, result.stdout) == (2, "")


def test_a_bare_alert_is_shown_too() -> None:
    bare: dict[str, Any] = dict(decode_alert(sample(Kind.ALERT)))
    bare |= {
        "ra": None,
        "rv_kms": None,
        "photometry": {},
        "bands": (),
        "object_id": None,
        "flags": ("low_snr",),
    }
    shown = io.StringIO()
    Console(width=80, file=shown).print(alert_panel(Alert.model_construct(**bare)))
    for fact in ("sample-20261120-001-001", "no position", "no single band", "low snr"):
        assert fact in shown.getvalue()


def test_an_alert_unlike_the_training_shows_no_parameters() -> None:
    odd = Alert.model_construct(
        **dict(decode_alert(sample(Kind.ALERT))) | {"flags": (Flag.OUT_OF_DISTRIBUTION,), "p_cemp": 0.99994}
    )
    shown = io.StringIO()
    Console(width=80, file=shown).print(alert_panel(odd))
    text = shown.getvalue()
    assert "p 1 − 6e-5" in text
    assert "[C/Fe]" not in text
    assert text.count("out of distribution") == 1
