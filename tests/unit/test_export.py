"""``cempstream export`` on recorded files: what it writes, and what it says of what is missing."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from astropy.table import Table
from jsonschema import Draft202012Validator
from typer.testing import CliRunner, Result

from cempstream.schemas.alert import Alert
from cempstream.streams.cli import app
from cempstream.streams.exporters.create import SECRET_VARIABLE, URL_VARIABLE
from cempstream.streams.subscriber.alert_file import AlertFile
from tests.support.star_life import TYPES, star_life_lines

SECRET = "whsec_" + "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
STREAM = "ivo://org.example/cemp"


@pytest.fixture
def night(tmp_path: Path) -> Path:
    path = tmp_path / "night.jsonl"
    lines = [*star_life_lines(), *star_life_lines("planted", tense="injection")]
    path.write_bytes(b"\n".join(lines))
    return path


def export(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, words)])


def read(path: Path) -> list[Alert]:
    return list(AlertFile(path))


def test_voevents_are_a_file_each(night: Path, tmp_path: Path) -> None:
    folder = tmp_path / "packets"
    for _ in range(2):  # the second time, the same files
        assert export("voevent", "--from", night, "--to", folder, "--ivorn", STREAM).exit_code == 0
        names = sorted(path.name for path in folder.iterdir())
        alerts = read(night)
        assert names == sorted(f"{a.published_at:%Y%m%dT%H%M%SZ}-{a.alert_id}.xml" for a in alerts)
    first = (folder / names[0]).read_text(encoding="utf-8")
    assert f'ivorn="{STREAM}#{alerts[0].alert_id}"' in first


def test_injections_are_exported_only_when_asked_for(night: Path) -> None:
    assert len(export("gcn", "--from", night).stdout.splitlines()) == 4
    lines = export("gcn", "--from", night, "--tense", "injection").stdout.splitlines()
    assert {json.loads(line)["alert_tense"] for line in lines} == {"injection"}
    assert len(lines) == 4


def test_gcn_notices_are_valid_lines_and_their_schema_is_printed(night: Path, tmp_path: Path) -> None:
    out = tmp_path / "notices.jsonl"
    assert export("gcn", "--from", night, "--to", out, "--instrument", "LRS").exit_code == 0
    validator = Draft202012Validator(json.loads(export("gcn", "--schema").stdout))
    notices = [json.loads(line) for line in out.read_text().splitlines()]
    assert [notice["alert_type"] for notice in notices] == list(TYPES)
    assert {notice["instrument"] for notice in notices} == {"LRS"}
    for notice in notices:
        validator.validate(notice)


def test_json_is_what_listen_writes_with_and_without_its_spectrum(night: Path, tmp_path: Path) -> None:
    whole, slim = tmp_path / "whole.jsonl", tmp_path / "slim.jsonl"
    assert export("json", "--from", night, "--to", whole).exit_code == 0
    assert export("json", "--from", night, "--to", slim, "--no-spectrum").exit_code == 0
    listened = CliRunner().invoke(app, ["listen", "--file", str(night), "--json"]).stdout
    assert whole.read_text() == listened
    assert [alert.spectrum for alert in read(slim)] == [None] * 4
    assert slim.stat().st_size < 0.1 * whole.stat().st_size
    assert [alert.alert_id for alert in read(slim)] == [alert.alert_id for alert in read(whole)]


def test_lines_are_added_to_a_file_and_tables_replace_it(night: Path, tmp_path: Path) -> None:
    lines, table = tmp_path / "slim.jsonl", tmp_path / "night.ecsv"
    for _ in range(2):
        assert export("gcn", "--from", night, "--to", lines).exit_code == 0
        assert export("ecsv", "--from", night, "--to", table).exit_code == 0
    assert len(lines.read_text().splitlines()) == 8
    assert list(Table.read(table)["alert_type"]) == list(TYPES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["night.ecsv", "night.jsonl", "slim.jsonl"]


def test_a_votable_goes_to_a_file_or_to_standard_output(night: Path, tmp_path: Path) -> None:
    out = tmp_path / "night.vot"
    assert export("votable", "--from", night, "--to", out, "-n", "2").exit_code == 0
    assert len(Table.read(out, format="votable")) == 2
    assert export("votable", "--from", night, "-n", "2").stdout_bytes == out.read_bytes()


def test_a_filter_chooses(night: Path) -> None:
    lines = export("gcn", "--from", night, "--where", "p_cemp > 0.95").stdout.splitlines()
    assert [json.loads(line)["p_cemp"] for line in lines] == [0.97, 0.98]


def test_what_cannot_be_read_is_said_and_the_rest_is_exported(night: Path) -> None:
    night.write_bytes(b"{nonsense\n" + night.read_bytes())
    result = export("gcn", "--from", night)
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("voevent",), "voevent needs --to FOLDER"),
        (("voevent", "--to", "x"), "voevent needs --ivorn ivo://AUTHORITY/STREAM"),
        (("voevent", "--to", "x", "--ivorn", "cemp"), "'cemp' is no stream of packets"),
        (("hop",), "hop needs --to kafka://"),
        (("hop", "--to", "http://x", "--no-account"), "is not kafka://"),
        (("webhook",), f"the variable {URL_VARIABLE}"),
        (("webhook", "--to", "http://x.example/y"), "must be https"),
        (("webhook", "--to", "https://x.example/y"), f"the variable {SECRET_VARIABLE}"),
        (("json", "--ivorn", STREAM), "it is for voevent and hop"),
        (("gcn", "--no-spectrum"), "it is for json and hop"),
        (("ecsv", "--undelivered", "x"), "it is for webhook"),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = export(*words, "--from", night)
    assert result.exit_code in (1, 2)
    assert said in " ".join(result.output.split())
    assert sorted(path.name for path in tmp_path.iterdir()) in (["night.jsonl"], ["night.jsonl", "x"])


class _Receiver(BaseHTTPRequestHandler):
    posted: list[tuple[dict[str, str], bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.posted.append((dict(self.headers), body))
        self.send_response(400 if b'"cemp.alert.update"' in body else 200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def test_a_webhook_is_posted_to_and_what_is_refused_can_be_sent_again(
    night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "kept.jsonl"
    receiver = type("Receiver", (_Receiver,), {"posted": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), receiver)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        monkeypatch.setenv(SECRET_VARIABLE, SECRET)
        monkeypatch.setenv(URL_VARIABLE, f"http://127.0.0.1:{server.server_address[1]}/a-secret-path")
        result = export("webhook", "--from", night, "--undelivered", kept)
        again = export("webhook", "--from", kept)
    finally:
        server.shutdown()
        server.server_close()
    assert result.exit_code == 0
    assert [json.loads(body)["type"].rpartition(".")[2] for _, body in receiver.posted] == [*TYPES, "update"]
    assert [alert.alert_type for alert in read(kept)] == ["update"]
    assert again.exit_code == 1
    assert "was not taken by 127.0.0.1: status 400" in again.output
    assert "a-secret-path" not in result.output + again.output
