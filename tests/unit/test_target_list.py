"""A target list from alerts: what it promises, its files, its picture, and its requests for LCO's queue."""

from __future__ import annotations

import csv
import json
import math
from datetime import date, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from astropy import units as u
from astropy.table import QTable

from cempstream.streams.observing.airmass_plot import draw_airmass
from cempstream.streams.observing.candidates import Why
from cempstream.streams.observing.exposure_time import QUESTIONS
from cempstream.streams.observing.instrument import load_instrument
from cempstream.streams.observing.lco_requests import NoQueue, request_groups, write_requests
from cempstream.streams.observing.links import finding_links
from cempstream.streams.observing.night import plan_night
from cempstream.streams.observing.sites import parse_site
from cempstream.streams.observing.star_value import Weights
from cempstream.streams.observing.target_files import COLUMNS, write_targets
from cempstream.streams.observing.target_list import TargetList, Unanswerable, make_target_list, split
from tests.support.targets import star_alert

NIGHT = plan_night(parse_site("Cerro Pachon"), date(2027, 1, 10), 4.0)
GOODMAN, ECHELLE = load_instrument("goodman-soar"), load_instrument("echelle-8m")
CFE = QUESTIONS["cfe"]
HOSTILE = "=HYPERLINK('x')\x1b[2J$\\alpha$<b>" + "x" * 90

ALERTS = [
    star_alert("bright", ra=70.0, dec=-20.0, magnitude=13.5),
    star_alert("middle", ra=90.0, dec=-35.0, magnitude=15.0, gaia_source_id=2**62 + 1),
    star_alert(HOSTILE, ra=100.0, dec=-10.0, magnitude=15.5, epoch=2016.0),
    star_alert("north", ra=90.0, dec=80.0),
    star_alert("lost", ra=None, dec=None),
    star_alert("faint", ra=80.0, dec=-30.0, magnitude=21.0),
    star_alert("gone", alert_type="retraction"),
]


@pytest.fixture(scope="module")
def plan() -> TargetList:
    return make_target_list(ALERTS, NIGHT, GOODMAN, CFE, Weights())


def test_every_star_is_planned_or_has_a_reason(plan: TargetList) -> None:
    planned = {target.star.name for target in plan.targets}
    assert planned == {"bright", "middle", HOSTILE}
    assert {one.name: one.why for one in plan.left_out} == {
        "north": Why.NEVER_UP,
        "lost": Why.NO_POSITION,
        "faint": Why.TOO_FAINT,
        "gone": Why.RETRACTED,
    }
    assert sum(plan.reasons.values()) == 4


def test_times_follow_each_other_and_hold_exposures_and_overheads(plan: TargetList) -> None:
    free = NIGHT.begin
    for target in plan.targets:
        assert target.begin >= free
        free = target.end
        seconds = target.n_exposures * (target.exposure_s + GOODMAN.readout_s) + GOODMAN.acquisition_s
        assert (target.end - target.begin).total_seconds() == pytest.approx(seconds, abs=target.n_exposures)
        assert target.snr == pytest.approx(plan.snr, rel=0.05)
        assert 1.0 <= target.airmass <= GOODMAN.limits.max_airmass
    assert free <= NIGHT.end
    assert plan.used_hours < NIGHT.hours


def test_what_is_expected_is_the_sum_of_chances(plan: TargetList) -> None:
    assert plan.expected_cemp == pytest.approx(sum(target.worth.chance for target in plan.targets))
    assert 0 <= plan.expected_emp <= plan.expected_cemp


def test_of_more_stars_than_hours_the_worthier_are_taken() -> None:
    many = [
        star_alert(f"s{i:02}", ra=70.0 + i, dec=-20.0, magnitude=16.0, p_cemp=0.5 + i / 100)
        for i in range(40)
    ]
    few = make_target_list(many, NIGHT, GOODMAN, CFE, Weights())
    assert few.reasons == {Why.OTHERS_FIRST: 40 - len(few.targets)}
    assert 4 < len(few.targets) < 20
    left = {one.name for one in few.left_out}
    assert min(t.star.p_cemp for t in few.targets) > 0.6
    assert "s00" in left
    assert all(one.detail.startswith("would take ") for one in few.left_out)


def test_an_instrument_that_cannot_answer_is_refused() -> None:
    with pytest.raises(Unanswerable, match=r"goodman-soar has a resolving power of 3400; Eu II.*needs 20000"):
        make_target_list(ALERTS, NIGHT, GOODMAN, QUESTIONS["eu"], Weights())
    red = ECHELLE.model_copy(
        update={"efficiency": GOODMAN.efficiency.model_copy(update={"wave_aa": (5000.0, 6000.0)})}
    )
    with pytest.raises(Unanswerable, match="sees 5000 to 6000 Å"):
        make_target_list(ALERTS, NIGHT, red, CFE, Weights())


@pytest.mark.parametrize("seconds", [10.0, 1230.0, 1231.0, 2461.0, 5000.0])
def test_a_time_is_split_into_exposures_and_their_readouts(seconds: float) -> None:
    open_s, n = split(seconds, GOODMAN)
    assert open_s == pytest.approx(max(seconds - 30.0 * n, 0.0))
    assert open_s / n <= 1200.0 + 1e-6
    assert n == 1 or open_s / (n - 1) > 1200.0 - 30.0


def rows_of(path: Path) -> list[dict[str, str]]:
    """Read a CSV file."""
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_the_tables_hold_what_was_planned(plan: TargetList, tmp_path: Path) -> None:
    ecsv, plain, left = write_targets(plan, tmp_path)
    table = QTable.read(ecsv, format="ascii.ecsv")
    assert list(table.colnames) == list(COLUMNS)
    assert table["ra"].unit == u.deg
    assert table["exposure"].unit == u.s
    assert list(table["order"]) == [1, 2, 3]
    assert [t.star.ra_deg for t in plan.targets] == pytest.approx(table["ra"].value)
    by_name = {row["name"]: row for row in rows_of(plain)}
    assert by_name["middle"]["gaia_source_id"] == str(2**62 + 1)
    assert int(table["gaia_source_id"][list(table["name"]).index("middle")]) == 2**62 + 1
    assert by_name["bright"]["gaia_source_id"] == ""
    assert table.meta["site"] == "Cerro Pachon"
    assert table.meta["left_out"] == {why.value: n for why, n in plan.reasons.items()}
    reasons = {row["name"]: row["reason"] for row in rows_of(left)}
    assert reasons == {one.name: one.why.value for one in plan.left_out}


def test_a_hostile_name_does_nothing_in_any_file(plan: TargetList, tmp_path: Path) -> None:
    paths = write_targets(plan, tmp_path)
    write_requests(plan, "ABC", tmp_path / "lco.json")
    draw_airmass(plan, tmp_path / "airmass.svg")
    for path in [*paths, tmp_path / "lco.json", tmp_path / "airmass.svg"]:
        text = path.read_text(encoding="utf-8")
        assert "\x1b" not in text
        assert "<b>" not in text or path.suffix != ".svg"
    names = [row["name"] for row in rows_of(paths[1])]
    assert any(name.startswith("'=HYPERLINK") for name in names)


def test_an_empty_plan_has_its_files_too(tmp_path: Path) -> None:
    empty = make_target_list([], NIGHT, GOODMAN, CFE, Weights())
    paths = write_targets(empty, tmp_path)
    assert len(QTable.read(paths[0], format="ascii.ecsv")) == 0
    draw_airmass(empty, tmp_path / "airmass.png")
    assert (tmp_path / "airmass.png").read_bytes().startswith(b"\x89PNG")
    assert request_groups(empty, "ABC") == []
    assert (empty.expected_cemp, empty.used_hours) == (0, 0)


def test_links_lead_to_the_place() -> None:
    links = finding_links(10.5, -20.25)
    assert set(links) == {"aladin", "legacy_survey", "simbad"}
    for link in links.values():
        parts = urlsplit(link)
        assert parts.scheme == "https"
        query = parse_qs(parts.query)
        said = " ".join(value for values in query.values() for value in values)
        assert "10.500000" in said
        assert "-20.250000" in said


def test_requests_are_what_the_observation_portal_takes(plan: TargetList, tmp_path: Path) -> None:
    """The fields of developers.lco.global and of public requests of SOAR's Goodman spectrograph."""
    write_requests(plan, "ABC2027A-001", tmp_path / "lco.json")
    groups = json.loads((tmp_path / "lco.json").read_text())
    assert len(groups) == len(plan.targets)
    for group, target in zip(groups, plan.targets, strict=True):
        assert set(group) == {"name", "proposal", "ipp_value", "operator", "observation_type", "requests"}
        assert (group["proposal"], group["operator"]) == ("ABC2027A-001", "SINGLE")
        assert group["observation_type"] == "NORMAL"
        assert 0 < len(group["name"]) <= 50
        (request,) = group["requests"]
        assert request["location"] == {"telescope_class": "4m0"}
        (window,) = request["windows"]
        start, end = (datetime.fromisoformat(window[name]) for name in ("start", "end"))
        assert start <= target.begin < target.end <= end
        (configuration,) = request["configurations"]
        assert configuration["type"] == "SPECTRUM"
        assert configuration["instrument_type"] == "SOAR_GHTS_BLUECAM"
        (exposure,) = configuration["instrument_configs"]
        assert exposure["exposure_count"] == target.n_exposures >= 1
        assert exposure["exposure_time"] == math.ceil(target.exposure_s)
        assert isinstance(exposure["exposure_time"], int)
        assert (exposure["mode"], exposure["rotator_mode"]) == ("GHTS_B_930m2_1x2_slit0p45", "SKY")
        assert configuration["acquisition_config"]["mode"] == "MANUAL"
        assert configuration["guiding_config"]["mode"] == "ON"
        constraints = configuration["constraints"]
        assert constraints["max_airmass"] == 2.0
        assert constraints["min_lunar_distance"] == 25.0
        place = configuration["target"]
        assert place["type"] == "ICRS"
        assert (place["ra"], place["dec"]) == (target.star.ra_deg, target.star.dec_deg)
        assert place["epoch"] == (target.star.epoch or 2000.0)


def test_an_instrument_outside_the_queue_has_no_requests() -> None:
    night = make_target_list(ALERTS[:1], NIGHT, ECHELLE, CFE, Weights())
    with pytest.raises(NoQueue, match=r"echelle-8m has no table \[lco\]"):
        request_groups(night, "ABC")
