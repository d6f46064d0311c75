"""``cempstream verify``: an alert is what its bundle says of its spectrum, and a change of it is found."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cempstream.models.bundle import BUNDLES, newest_bundle
from cempstream.processors.outcome import Classification
from cempstream.schemas.alert import alert_to_json, encode_alert
from cempstream.schemas.stamp import Stamp
from cempstream.streams.cli import app
from cempstream.streams.operations.verify import SAME_PROVIDER
from cempstream.streams.scoring.assemble import load_pipeline
from cempstream.streams.settings import Settings
from tests.support.spectra import template_packets

NOW = datetime.now(UTC)
STAMP = Stamp("current", NOW, NOW, NOW)


@pytest.fixture(scope="module")
def stars() -> list[Classification]:
    """Some stars as a worker classifies them: in one batch, which takes other kernels than one spectrum."""
    settings = Settings(policy={"prior": 0.5}, models={"threads": 1})  # type: ignore[arg-type]
    outcomes = load_pipeline(settings).classify_packets(template_packets(12, seed=31))
    return [outcome for outcome in outcomes if isinstance(outcome, Classification)]


def verify(*args: object, status: int = 0) -> Result:
    result = CliRunner().invoke(app, ["verify", *map(str, args)])
    assert result.exit_code == status, result.output
    return result


def write(folder: Path, *alerts: bytes, suffix: str = "json") -> Path:
    path = folder / f"alert.{suffix}"
    path.write_bytes(b"\n".join(alerts))
    return path


def changed(star: Classification, change: Callable[[dict[str, Any]], object]) -> bytes:
    """Return an alert as JSON after a change."""
    body = json.loads(alert_to_json(star, STAMP))
    change(body)
    return json.dumps(body).encode()


def test_every_alert_of_a_batch_is_confirmed(stars: list[Classification], tmp_path: Path) -> None:
    path = write(tmp_path, *(alert_to_json(star, STAMP) for star in stars))
    lines = [json.loads(line) for line in verify(path, "--json").stdout.splitlines()]
    assert len(lines) == len(stars) == 12
    assert {line["verdict"] for line in lines} == {"confirmed"}
    assert {line["tolerance"] for line in lines} == {SAME_PROVIDER}
    assert max(d["size"] for line in lines for d in line["differences"].values()) < SAME_PROVIDER


def test_an_avro_alert_of_any_tense_is_confirmed(stars: list[Classification], tmp_path: Path) -> None:
    stamp = replace(STAMP, tense="test")
    said = verify(write(tmp_path, encode_alert(stars[0], stamp), suffix="avro")).stdout
    assert said.startswith("confirmed: alert ")
    assert said.count(f"the same to {SAME_PROVIDER:g} on cpu") == 3


@pytest.mark.parametrize(
    ("group", "change"),
    [
        ("score", lambda body: body.update(p_cemp=abs(body["p_cemp"] - 2e-4))),
        (
            "parameters",
            lambda body: body["parameters"]["feh"].update(hi=body["parameters"]["feh"]["hi"] + 1e-3),
        ),
        ("parameters", lambda body: body["parameters"]["cfe"].update(value=None)),
        ("attribution", lambda body: body["attribution"]["weight"].reverse()),
    ],
)
def test_a_changed_number_is_found(
    stars: list[Classification], tmp_path: Path, group: str, change: Callable[[dict[str, Any]], object]
) -> None:
    path = write(tmp_path, changed(stars[0], change))
    (line,) = [json.loads(line) for line in verify(path, "--json", status=1).stdout.splitlines()]
    bad = [name for name, d in line["differences"].items() if d["size"] is None or d["size"] > SAME_PROVIDER]
    assert (line["verdict"], bad) == ("differs", [group])


def test_another_spectrum_is_found(stars: list[Classification], tmp_path: Path) -> None:
    other = json.loads(alert_to_json(stars[1], STAMP))
    path = write(tmp_path, changed(stars[0], lambda body: body.update(spectrum=other["spectrum"])))
    assert "not the same" in verify(path, status=1).stdout


def test_another_provider_has_its_own_tolerance(stars: list[Classification], tmp_path: Path) -> None:
    def move(body: dict[str, Any]) -> None:
        body["p_cemp"] = abs(body["p_cemp"] - 5e-4)

    def move_on_cuda(body: dict[str, Any]) -> None:
        move(body)
        for model in body["models"]:
            model["provider"] = "cuda"

    verify(write(tmp_path, changed(stars[0], move)), status=1)
    assert "the same to 0.001 on cpu" in verify(write(tmp_path, changed(stars[0], move_on_cuda))).stdout


def test_a_bundle_that_is_not_here_is_named(stars: list[Classification], tmp_path: Path) -> None:
    path = write(tmp_path, changed(stars[0], lambda body: body.update(bundle="mid-0.0.1")))
    assert "there is no bundle 'mid-0.0.1'" in verify(path, status=3).stdout


def test_a_graph_with_another_hash_is_named(stars: list[Classification], tmp_path: Path) -> None:
    def other_hash(body: dict[str, Any]) -> None:
        body["models"][2]["sha256"] = "0" * 64

    said = verify(write(tmp_path, changed(stars[0], other_hash)), status=3).stdout
    assert f"{stars[0].provenance[2].name} of {stars[0].bundle} has sha256" in said
    assert "the alert was made with 000000000000…" in said


def test_a_file_that_is_not_the_manifests_is_named(
    stars: list[Classification], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = newest_bundle(BUNDLES, "mid")
    folder = Path(shutil.copytree(newest, tmp_path / "mid" / newest.name))
    (folder / "classify.onnx").write_bytes((folder / "classify.onnx").read_bytes() + b"\0")
    monkeypatch.setenv("CEMP_MODELS__ROOT", str(tmp_path))
    said = verify(write(tmp_path, alert_to_json(stars[0], STAMP)), status=3).stdout
    assert "classify.onnx has more bytes; its manifest says" in said


def test_an_alert_without_its_spectrum_cannot_be_verified(
    stars: list[Classification], tmp_path: Path
) -> None:
    path = write(tmp_path, changed(stars[0], lambda body: body.update(spectrum=None)))
    assert "carries no spectrum" in verify(path, status=3).stdout


def test_what_is_no_alert_is_refused(tmp_path: Path) -> None:
    verify("no-such-file", status=2)
    verify(write(tmp_path, b'{"schema": "other"}'), status=2)
    verify(write(tmp_path, b""), status=3)
