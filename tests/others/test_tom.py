"""A real TOM, with its own database and pages, takes alerts of a simulated night and of a star's life."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from cempstream.models.simulator.mix import load_mix
from cempstream.processors.outcome import Classification
from cempstream.schemas.alert import Alert, alert_to_json
from cempstream.schemas.codec import encode_spectrum
from cempstream.schemas.samples import sample_stamp
from cempstream.streams.rehearsal.embedded import EmbeddedBroker
from cempstream.streams.rehearsal.night_spectra import simulate_spectra
from cempstream.streams.scoring.assemble import load_pipeline
from cempstream.streams.settings import Settings
from cempstream.streams.subscriber.alert_file import AlertFile
from tests.support.star_life import star_life_lines
from tests.support.topics import create_topics

pytestmark = pytest.mark.others

CANDIDATES, RETRACTED = "CEMP candidates", "CEMP candidates, retracted"


@dataclass(frozen=True)
class Tom:
    """A TOM's project, whose database is a file."""

    database: Path
    run: Callable[..., str]
    environment: dict[str, str] = field(default_factory=dict)

    def play(self, *steps: tuple[str | Path, ...]) -> list[Any]:
        """Run steps one after another, see `tests.others.play_tom`, and return what each gives."""
        words = json.dumps([[str(word) for word in step] for step in steps])
        place = {"TOM_DATABASE": str(self.database)}
        said = self.run("-m", "tests.others.play_tom", words, **place, **self.environment).splitlines()
        return [json.loads(line) for line in said if line[:1] in ("{", '"') or line.isdigit()]


def ingest(path: Path) -> tuple[str | Path, ...]:
    return ("manage", "ingestalerts", path)


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory, others: Callable[..., str]) -> Path:
    database = tmp_path_factory.mktemp("tom") / "empty.sqlite3"
    Tom(database, others).play(("manage", "migrate", "--verbosity", "0"))
    return database


@pytest.fixture
def tom(tmp_path: Path, migrated: Path, others: Callable[..., str]) -> Tom:
    database = tmp_path / "tom.sqlite3"
    shutil.copy(migrated, database)
    return Tom(database, others)


def simulated_alerts() -> list[bytes]:
    """Return the alerts of a simulated night, scored by the models that ship."""
    pipeline = load_pipeline(Settings())
    night = simulate_spectra("lamost", load_mix("halo"), 400, seed=7)
    packets = [encode_spectrum(seen.spectrum) for seen in night]
    outcomes = [
        outcome
        for i in range(0, len(packets), 100)
        for outcome in pipeline.classify_packets(packets[i : i + 100])
    ]
    found = [o for o in outcomes if isinstance(o, Classification) and o.decision.is_candidate]
    return [alert_to_json(outcome, replace(sample_stamp(), tense="current")) for outcome in found]


def write(path: Path, *lines: bytes) -> list[Alert]:
    path.write_bytes(b"\n".join(lines) + b"\n")
    return list(AlertFile(path))


def test_a_simulated_night_fills_a_tom_with_targets_and_their_spectra(tom: Tom, tmp_path: Path) -> None:
    night = tmp_path / "night.jsonl"
    alerts = write(night, *simulated_alerts())
    assert len(alerts) > 5
    plotted = f'"name":"{alerts[0].observed_at:%Y%m%d-%H:%M:}'
    first, again, found = tom.play(ingest(night), ingest(night), ("show", plotted))  # twice changes nothing
    assert first == again == f"{len(alerts)} alerts taken, 0 without a position left out\n"
    assert [target["name"] for target in found["targets"]] == [alert.name for alert in alerts]
    assert found["groups"][CANDIDATES] == sorted(alert.name for alert in alerts)
    assert found["pages"][alerts[0].name] == [True]
    for target, alert in zip(found["targets"], alerts, strict=True):
        assert (target["ra"], target["dec"]) == (alert.ra, alert.dec)
        assert float(target["tags"]["cemp_p_cemp"]) == alert.p_cemp
        assert target["status"] == 200
        (datum,) = target["spectra"]
        spectrum = alert.to_spectrum()
        good = spectrum.ivar > 0
        if spectrum.mask is not None:
            good &= spectrum.mask == 0
        assert datum["n"] == np.count_nonzero(good)
        i = int(np.flatnonzero(good)[0])
        known = [spectrum.grid.wave[i], spectrum.flux[i], spectrum.ivar[i] ** -0.5]
        assert datum["first"] == pytest.approx(known, rel=1e-5)
        assert datum["units"][0] == "Angstrom"
        assert datum["telescope"] == "lamost"


def test_a_later_alert_of_a_star_updates_its_target_and_a_retraction_marks_it(
    tom: Tom, tmp_path: Path
) -> None:
    lines = star_life_lines("HE 1", flux_unit="absolute")
    life, end, late = (tmp_path / f"{name}.jsonl" for name in ("life", "end", "late"))
    write(life, *lines[:3])
    write(end, lines[3])
    write(late, lines[1])  # comes again after the retraction
    _, found, _, _, at_last = tom.play(ingest(life), ("show",), ingest(end), ingest(late), ("show",))
    (target,) = found["targets"]
    assert (target["tags"]["cemp_status"], target["tags"]["cemp_alert_type"]) == ("candidate", "update")
    assert target["tags"]["cemp_p_cemp"] == "0.9"
    assert [datum["units"] for datum in target["spectra"]] == [["Angstrom", "1e-17 erg / (s cm2 Angstrom)"]]
    assert found["groups"] == {CANDIDATES: ["HE 1"], RETRACTED: []}

    (target,) = at_last["targets"]
    assert (target["tags"]["cemp_status"], target["tags"]["cemp_p_cemp"]) == ("retracted", "0.2")
    assert target["tags"]["cemp_headline"].startswith("RETRACTED")
    assert len(target["spectra"]) == 1
    assert at_last["groups"] == {CANDIDATES: [], RETRACTED: ["HE 1"]}


def test_stars_of_one_name_are_two_and_hostile_names_are_harmless(tom: Tom, tmp_path: Path) -> None:
    script = "</script><script>alert(1)</script>"
    night = tmp_path / "night.jsonl"
    write(
        night,
        star_life_lines("HE 1")[0],
        star_life_lines("HE 1", survey="other")[0],
        star_life_lines(script, spectrum_id="c")[0],
        star_life_lines("\x1b[2J\x9b'; DROP TABLE targets; --", spectrum_id="d")[0],
        star_life_lines("夜" * 300, spectrum_id="e")[0],
        star_life_lines("nowhere", spectrum_id="f", ra=None, dec=None)[0],
    )
    shown = "‹/script›‹script›alert(1)‹/script›"
    said, found = tom.play(ingest(night), ("show", "<script>alert", shown))
    assert said == "5 alerts taken, 1 without a position left out\n"
    names = [target["name"] for target in found["targets"]]
    assert names[:3] == ["HE 1", "other HE 1", shown]
    assert len(names) == len(set(names)) == 5
    assert all(name.isprintable() and len(name) <= 100 for name in names)
    assert {target["status"] for target in found["targets"]} == {200}
    assert found["pages"]["list"] == found["pages"][shown] == [False, True]
    assert not any(is_obeyed for is_obeyed, _ in found["pages"].values())


def test_a_tom_follows_the_stream_and_continues_where_it_stopped(tom: Tom, tmp_path: Path) -> None:
    lines = star_life_lines("HE 1")
    write(tmp_path / "a.jsonl", lines[0])
    write(tmp_path / "b.jsonl", *lines[1:])
    topic = "alerts.of.a.tom"
    with EmbeddedBroker() as broker:
        create_topics(AdminClient({"bootstrap.servers": broker.bootstrap}), [NewTopic(topic, 1, 1)])
        following = replace(tom, environment={"TOM_BROKER": broker.bootstrap, "TOM_TOPIC": topic})
        read = (("manage", "readstreams"), ("show",))
        a, b = (("produce", topic, tmp_path / name) for name in ("a.jsonl", "b.jsonl"))
        _, _, first, _, _, last = following.play(a, *read, b, *read)
    told = [
        (target["tags"]["cemp_alert_type"], target["tags"]["cemp_status"])
        for found in (first, last)
        for target in found["targets"]
    ]
    assert told == [("initial", "candidate"), ("retraction", "retracted")]


def test_options_that_are_wrong_are_said(tom: Tom) -> None:
    script = """
import django; django.setup()
from django.core.exceptions import ImproperlyConfigured
from cempstream.streams.exporters.tom.alertstream import CempAlertStream
handler = {"a": "cempstream.streams.exporters.tom.alertstream.handle_alert"}
good = {"BOOTSTRAP": "127.0.0.1:1", "GROUP_ID": "g", "TOPIC_HANDLERS": handler}
CempAlertStream(**good)
for wrong in ({"WHERE": "p_semp > 1"}, {"WERE": "snr > 1"}, {"TOPIC_HANDLERS": {}}, {"START": "tomorrow"}):
    try:
        CempAlertStream(**good | wrong)
    except ImproperlyConfigured as error:
        print(error)
"""
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.others.tom_project.settings",
        "TOM_DATABASE": str(tom.database),
    }
    said = tom.run("-c", script, **environment).splitlines()
    assert len(said) == 4
    for line, word in zip(said, ("p_cemp", "WERE", "one handler", "tomorrow"), strict=True):
        assert word in line
