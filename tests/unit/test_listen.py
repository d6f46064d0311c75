"""``cempstream listen`` on recorded files: what it prints, and what it says of what is wrong."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from cempstream.processors.spectrum import Flag
from cempstream.schemas.alert import Alert, decode_alert
from cempstream.schemas.registry import Kind, latest, sample, sample_path
from cempstream.streams.cli import app
from cempstream.streams.commands.subscriber_options import read_properties
from cempstream.streams.subscriber.alert_view import alert_panel, bands_text
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


def test_the_panel_of_an_alert_says_each_fact_in_its_place() -> None:
    panel: Any = alert_panel(decode_alert(sample(Kind.ALERT)))
    assert panel.renderable.plain.splitlines() == [
        "10:45:08.24 +41:23:45.6   G 14.8  BP 15.2  RP 14.2   S/N 40   purity 93 %   RV -122 km/s",
        "[Fe/H] -2.41 (-2.53 … -2.28)   [C/Fe] +1.52 (+1.38 … +1.67), corr. +1.61",
        "Teff 4810 K   log g 1.6   A(C) 7.54   [Ba/Fe] –",
        "known as SAMPLE J104508.24+412345.6 (sample, 0.4″)   feh -2.4, class CEMP-s",
        "C2 5165 40 %, CH G 30 %, C2 4737 20 %   novelty 0.12",
    ]
    assert panel.title.plain == "SAMPLE J104508.24+412345.6   p 0.970   CEMP-s 70 %"
    assert panel.subtitle.plain == (
        "sample · sample/1.0 · test · 2026-11-20 03:00:00Z · 0.1 s after reduction"
    )
    assert (panel.title_align, panel.subtitle_align) == ("left", "right")
    assert (panel.title.style, panel.subtitle.style, panel.border_style) == ("bold magenta", "dim", "magenta")


@pytest.mark.parametrize(("n_visits", "grown"), [
    (1, None),
    (2, "2 spectra, 1 added up   GI GV   p 0.200 → –"),
    (7, "7 spectra, 6 added up   GI GV   p … – → 0.300 → 0.400 → 0.500 → 0.600 → 0.700"),
])  # fmt: skip
def test_a_star_seen_more_than_once_shows_how_p_grew(n_visits: int, grown: str | None) -> None:
    alert = decode_alert(sample(Kind.ALERT))
    (visit,) = alert.visits
    ps = [0.2, math.nan, 0.3, 0.4, 0.5, 0.6, 0.7][:n_visits]
    more = {
        "n_observations": n_visits,
        "n_coadded": n_visits - 1,
        "gratings": ("GI", "GV"),
        "visits": tuple(replace(visit, p_cemp=p) for p in ps),
    }
    shown = alert_panel(alert.model_copy(update=more)).renderable.plain  # type: ignore[union-attr]
    growth = [line for line in shown.splitlines() if "added up" in line]
    assert growth == ([] if grown is None else [grown])


def test_bands_of_a_twentieth_are_shown_and_smaller_ones_not() -> None:
    alert = decode_alert(sample(Kind.ALERT))
    bands = tuple(replace(alert.bands[0], name=f"{w}", weight=w) for w in (0.05, 0.049))
    assert bands_text(alert.model_copy(update={"bands": bands})) == "0.05 5 %"


@pytest.mark.parametrize(
    ("tense", "style"), [("current", "green"), ("archival", "blue"), ("test", "magenta")]
)
def test_tonights_alerts_look_unlike_others(tense: str, style: str) -> None:
    alert = decode_alert(sample(Kind.ALERT)).model_copy(update={"alert_tense": tense})
    assert alert_panel(alert).border_style == style


def test_a_later_alert_of_a_star_is_named_with_its_number_and_a_long_name_is_cut() -> None:
    alert = decode_alert(sample(Kind.ALERT))
    later = alert.model_copy(update={"alert_type": "update", "revision": 3, "object_id": "x" * 100})
    title: Any = alert_panel(later).title
    assert title.plain.startswith("update 3 x")
    assert title.plain.count("x") < 60 <= len(title.plain.split("   ")[0]) - len("update 3 ")
