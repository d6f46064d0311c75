"""What a filter's clauses let through, counted on alerts whose fields are chosen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cempstream.schemas.alert import Alert, decode_alert
from cempstream.streams.cli import app
from cempstream.streams.subscriber.alert_file import AlertFile
from cempstream.streams.subscriber.clauses import split_clauses, try_filter
from cempstream.streams.subscriber.where import FilterError
from tests.support.alerts import alert_packet

#: Passes p_cemp > 0.9 / snr > 30 / survey == "sample": a both, b only the second, c only the first, d none.
STARS = {"a": (0.97, 40.0), "b": (0.5, 40.0), "c": (0.97, 20.0), "d": (0.5, 20.0), "e": (0.99, 50.0)}


def alerts() -> list[Alert]:
    packets = [alert_packet(name, p_cemp=p, snr=snr) for name, (p, snr) in STARS.items()]
    return [decode_alert(packet) for packet in packets]


@pytest.mark.parametrize(
    ("where", "clauses"),
    [
        ("snr > 20", ["snr > 20"]),
        ("snr > 20 and feh < -2 and ra < 3", ["snr > 20", "feh < -2", "ra < 3"]),
        ("snr > 20 and (feh < -2 or ra < 3)", ["snr > 20", "feh < -2 or ra < 3"]),
        ("snr > 20 or feh < -2", ["snr > 20 or feh < -2"]),
        ("not (snr > 20 and feh < -2)", ["not (snr > 20 and feh < -2)"]),
        ("4000 < teff < 6000 and 'GV' in gratings", ["4000 < teff < 6000", "'GV' in gratings"]),
    ],
)
def test_the_clauses_of_a_filter(where: str, clauses: list[str]) -> None:
    assert split_clauses(where) == clauses


def test_a_clause_is_refused_as_the_filter_is() -> None:
    with pytest.raises(FilterError, match="did you mean 'snr'"):
        split_clauses("snrr > 20 and feh < -2")


def test_what_each_clause_costs() -> None:
    trial = try_filter("p_cemp > 0.9 and snr > 30", alerts())
    first, second = trial.clauses
    assert (trial.n_alerts, trial.n_passed, trial.share) == (5, 2, 0.4)
    assert (first.n_alone, first.n_so_far, first.lost_by_it) == (3, 3, ["star b"])
    assert (second.n_alone, second.n_so_far, second.lost_by_it) == (3, 2, ["star c"])


def test_of_one_clause_all_that_is_lost_is_lost_by_it() -> None:
    (clause,) = try_filter("p_cemp > 0.98", alerts()).clauses
    assert (clause.n_alone, clause.n_so_far, clause.lost_by_it) == (
        1,
        1,
        ["star a", "star b", "star c", "star d"],
    )


def test_no_alerts_no_share() -> None:
    trial = try_filter("snr > 20", [])
    assert trial.share != trial.share


@pytest.fixture
def night(tmp_path: Path) -> Path:
    path = tmp_path / "night.jsonl"
    path.write_bytes(b"".join(alert.to_json() + b"\n" for alert in alerts()))
    return path


def run(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["filter", "test", *words])
    return result.exit_code, result.stdout, result.stderr


def test_the_command_counts_what_listen_shows(night: Path) -> None:
    where = "p_cemp > 0.9 and snr > 30"
    status, out, _ = run("--where", where, "--night", str(night), "--json")
    facts = json.loads(out)
    with AlertFile(night, where=where) as shown:
        assert facts["n_passed"] == len([*shown]) == 2
    assert status == 0
    assert [c["lost_by_it"] for c in facts["clauses"]] == [["star b"], ["star c"]]


def test_the_command_for_a_person(night: Path) -> None:
    status, out, _ = run("--where", "p_cemp > 0.9 and snr > 30", "--night", str(night))
    assert status == 0
    assert out.splitlines()[-1] == "2 of 5 alerts pass"
    assert ["p_cemp", ">", "0.9", "3", "3", "1", "star", "b"] in [line.split() for line in out.splitlines()]


@pytest.mark.parametrize(("most", "warns"), [("0.39", True), ("0.4", False)])
def test_a_filter_that_passes_much_is_warned_of(night: Path, most: str, warns: bool) -> None:
    status, _, err = run("--where", "p_cemp > 0.9 and snr > 30", "--night", str(night), "--most", most)
    assert status == 0
    assert ("40 % of the night's alerts pass" in err) is warns


@pytest.mark.parametrize("words", [(), ("--night", "x", "--from-topic", "y")])
def test_one_night_is_asked_for(words: tuple[str, ...]) -> None:
    status, _, err = run("--where", "snr > 20", *words)
    assert status == 2
    assert "--night FILE or --from-topic TOPIC" in " ".join(err.split())
