"""Notices in GCN's manner against their published schema; `make others-test` holds them against GCN's."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from cempstream.streams.exporters.gcn import CORE_VERSION, gcn_notice, notice_line, notice_schema
from tests.support.star_life import TYPES, star_life

VALIDATOR = Draft202012Validator(notice_schema(), format_checker=FormatChecker())


def test_the_schema_is_one_and_names_the_version_that_it_follows() -> None:
    Draft202012Validator.check_schema(notice_schema())
    assert CORE_VERSION in notice_schema()["description"]


@pytest.mark.parametrize("i", range(len(TYPES)))
def test_a_notice_is_valid_and_keeps_what_the_alert_is(i: int) -> None:
    alert = star_life()[i]
    notice = json.loads(notice_line(gcn_notice(alert)))
    VALIDATOR.validate(notice)
    assert notice.keys() <= notice_schema()["properties"].keys()
    assert notice["alert_type"] == TYPES[i]
    assert notice["alert_tense"] == "current"
    assert notice["record_number"] == i + 1
    assert notice["id"] == "HE 1327-2326"
    assert notice.get("supersedes") == alert.supersedes
    assert ("reference" in notice) == (i > 0)


def test_a_notice_says_what_the_alert_says() -> None:
    notice = gcn_notice(star_life()[0], instrument="LRS", position_error_arcsec=0.5)
    assert notice["event_name"] == ["HE 1327-2326", "Gaia 4611686018427387905"]
    assert (notice["mission"], notice["instrument"], notice["messenger"]) == ("sample", "LRS", "EM")
    assert (notice["ra"], notice["dec"]) == (161.284333, 41.396)
    assert notice["ra_dec_error"] == pytest.approx(0.5 / 3600)
    assert notice["alert_datetime"] == "2026-11-20T03:00:00.365000Z"
    assert notice["trigger_time"] == "2026-11-20T02:15:00.250000Z"
    assert notice["spectral_band"] == pytest.approx([370.0, 909.913], abs=0.01)
    assert sum(notice["classification"].values()) == pytest.approx(1.0)
    assert notice["classification"]["not_cemp"] == pytest.approx(0.03)
    assert notice["parameters"]["feh"] == {"value": -2.41, "lo": -2.53, "hi": -2.28}
    assert "bafe" not in notice["parameters"]
    assert len(notice_line(notice)) < 3000  # an alert with its spectrum has over 100,000


def test_what_an_alert_does_not_know_is_left_out() -> None:
    alert = star_life()[0].model_copy(
        update={
            "ra": None,
            "observed_at": None,
            "gaia_source_id": None,
            "spectrum": None,
            "p_cemp_corrected": float("nan"),
            "alert_type": "unknown",
            "alert_tense": "unknown",
        }
    )
    notice = gcn_notice(alert)
    VALIDATOR.validate(notice)
    absent = ("ra", "dec", "ra_dec_error", "trigger_time", "spectral_band", "p_cemp_corrected", "alert_type")
    assert not notice.keys() & {*absent, "alert_tense", "instrument"}
    assert notice["event_name"] == "HE 1327-2326"


def test_the_schema_finds_what_is_wrong() -> None:
    notice = gcn_notice(star_life()[0])
    for name, wrong in (("p_cemp", 1.2), ("alert_type", "correction"), ("ra", "10:45"), ("record_number", 0)):
        assert [error.path[0] for error in VALIDATOR.iter_errors({**notice, name: wrong})] == [name]
    for name in ("alert_id", "p_cemp", "event_name"):
        without = {key: value for key, value in notice.items() if key != name}
        assert [error.validator for error in VALIDATOR.iter_errors(without)] == ["required"]
