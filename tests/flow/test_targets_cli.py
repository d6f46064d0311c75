"""``cempstream targets`` as its user runs it: a list with its files, a comparison, errors in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from astropy.table import QTable

from cempstream.streams.cli import main
from tests.support.targets import star_alert

NIGHT = ("--site", "Cerro Pachon", "--night", "2035-01-10", "--instrument", "goodman-soar", "--hours", "2")


@pytest.fixture
def alerts(tmp_path: Path) -> Path:
    stars = [star_alert(f"s{i}", ra=60.0 + 8.0 * i, dec=-25.0, magnitude=14.0 + 0.2 * i) for i in range(6)]
    stars += [star_alert("gone"), star_alert("gone", revision=1, alert_type="retraction")]
    path = tmp_path / "night.jsonl"
    path.write_bytes(b"".join(star.to_json() + b"\n" for star in stars))
    return path


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> object:
    monkeypatch.setattr("sys.argv", ["cempstream", "targets", *words])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code


def test_a_list_has_its_tables_picture_and_requests(
    alerts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tonight"
    words = (*NIGHT, "--from", str(alerts), "--out", str(out), "--proposal", "ABC", "--where", "mag_r < 14.9")
    assert run(monkeypatch, *words) in (0, None)
    said = capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {
        "targets.ecsv", "targets.csv", "left-out.csv", "airmass.png", "airmass.svg", "lco.json"
    }  # fmt: skip
    table = QTable.read(out / "targets.ecsv", format="ascii.ecsv")
    assert 3 <= len(table) <= 5
    assert len(json.loads((out / "lco.json").read_text())) == len(table)
    for name in table["name"]:
        assert name in said
    assert "expected" in said
    assert "Cerro Pachon, dark from 2035-01-1" in said
    assert "its newest alert withdraws it" in said


def test_known_stars_are_left_out(
    alerts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known = tmp_path / "jina.csv"
    known.write_text("name,ra,dec\nHD 1,60.0,-25.0\n")
    out = tmp_path / "tonight"
    words = (*NIGHT, "--from", str(alerts), "--out", str(out), "--known", str(known), "--where", "not known")
    assert run(monkeypatch, *words) in (0, None)
    names = set(QTable.read(out / "targets.ecsv", format="ascii.ecsv")["name"])
    assert names
    assert "s0" not in names


def test_a_comparison_prints_its_tables(
    alerts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = tmp_path / "truth.csv"
    truth.write_text("object_id,is_cemp,feh\n" + "".join(f"s{i},{i < 4},-3.2\n" for i in range(6)))
    words = (*NIGHT, "--from", str(alerts), "--compare", str(truth), "--nights", "2", "--each", "3")
    assert run(monkeypatch, *words) in (0, None)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("2 simulated nights, 2 hours each at Cerro Pachon with goodman-soar, 3 alerts")
    assert sum(line.startswith("| ") for line in lines) == 6 + 4
    assert not (tmp_path / "targets").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--site", "Paranall"), "did you mean Paranal?"),
        (("--night", "2001-01-01"), "the hours of the night of 2001-01-01 ended at"),
        (("--night", "soon"), "'soon' is not the date of a night"),
        (("--site", "Dome C", "--night", "2035-01-01"), "has no dark hours at Dome C"),
        (("--begin", "noon"), "'noon' is not a time"),
        (("--instrument", "goodman"), "did you mean goodman-soar?"),
        (("--question", "eu"), "needs 20000 or more"),
        (("--weight", "gold=1"), "'gold=1' is not a weight"),
        (("--instrument", "echelle-8m", "--proposal", "ABC"), "has no table [lco]"),
        (("--where", "colour > 1"), "'colour' is not a field"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    alerts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *NIGHT, "--from", str(alerts), *words) in (1, 2)
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "targets").exists()


def test_the_next_night_is_planned_without_a_date(
    alerts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--site", "La Palma", "--from", str(alerts), "--hours", "1", "--out", str(tmp_path / "out"))
    run(monkeypatch, *words)  # in the last minutes of a night its hours are over, which is said
    text = capsys.readouterr()
    assert "site         La Palma, dark from" in text.out or "the night of" in text.err
