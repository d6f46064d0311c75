"""Notices hold GCN's own core schemas, and use their names for what they have a name for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from cempstream.streams.exporters.gcn import CORE_VERSION, gcn_notice, notice_line, notice_schema
from tests.support.star_life import star_life

pytestmark = pytest.mark.others

#: Core schemas that have a word for something that an alert says.
CORE = (
    "AdditionalInfo",
    "Alert",
    "DateTime",
    "Event",
    "FollowUp",
    "Localization",
    "Reporter",
    "Statistics",
)

#: What stands in a notice and is none of GCN's.
OURS = {
    "$schema",
    "alert_id",
    "supersedes",
    "spectrum_id",
    "gaia_source_id",
    "epoch",
    "p_cemp",
    "p_cemp_corrected",
    "expected_purity",
    "threshold",
    "prior",
    "priority",
    "snr",
    "subclass",
    "parameters",
    "rv_kms",
    "rv_error_kms",
    "magnitudes",
    "flags",
    "bundle",
    "code",
    "spectrum_uri",
}


@pytest.fixture(scope="module")
def core(gcn_core: Path) -> dict[str, dict[str, Any]]:
    return {name: json.loads((gcn_core / f"{name}.schema.json").read_text()) for name in CORE}


def test_the_version_is_the_one_that_is_said(core: dict[str, dict[str, Any]]) -> None:
    assert {schema["$id"].split("/")[4] for schema in core.values()} == {f"v{CORE_VERSION}"}


def test_notices_are_valid_by_each_core_schema(core: dict[str, dict[str, Any]]) -> None:
    for alert in star_life():
        notice = json.loads(notice_line(gcn_notice(alert, instrument="LRS")))
        for name, schema in core.items():
            assert schema["properties"].keys() & notice.keys() or name == "FollowUp", name
            Draft202012Validator(schema).validate(notice)


def test_names_that_are_not_gcns_are_those_that_are_known_to_be_ours(core: dict[str, dict[str, Any]]) -> None:
    theirs = set().union(*(schema["properties"] for schema in core.values()))
    assert set(notice_schema()["properties"]) - theirs == OURS
