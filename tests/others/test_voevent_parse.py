"""VOEvents are valid by the IVOA's schema, and voevent-parse reads what they say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cempstream.schemas.alert import Alert
from cempstream.streams.exporters.voevent import Issuer, voevent
from tests.support.star_life import star_life

pytestmark = pytest.mark.others

ISSUER = Issuer("ivo://org.example/cemp", "A. Person", "person@example.org")
HOSTILE = ("]]></Param><!ENTITY x 'y'>&x;", "\x1b[2J\x9b2J", "a\0b\ufffe", "star\u202egnp & <b>", "夜 -- \"'")
TEXTS = ("alert_id", "supersedes", "spectrum_id", "object_id", "survey", "bundle", "subclass")


def read(alerts: list[Alert], folder: Path, others: Callable[..., str]) -> list[dict[str, object]]:
    paths = [folder / f"{i}.xml" for i in range(len(alerts))]
    for path, alert in zip(paths, alerts, strict=True):
        path.write_bytes(voevent(alert, ISSUER))
    found: list[dict[str, object]] = json.loads(others("-m", "tests.others.read_voevents", *paths))
    return found


def test_voevents_of_a_star_are_valid_and_read_as_what_they_are(
    tmp_path: Path, others: Callable[..., str]
) -> None:
    life = star_life()
    found = read(life, tmp_path, others)
    ivorns = [f"ivo://org.example/cemp#{alert.alert_id}" for alert in life]
    assert [packet["ivorn"] for packet in found] == ivorns
    assert [packet["cites"] for packet in found] == [
        [],
        [[ivorns[0], "followup"]],
        [[ivorns[1], "supersedes"]],
        [[ivorns[2], "retraction"]],
    ]
    first = found[0]
    assert (first["role"], first["name"], first["p_cemp"]) == ("observation", "HE 1327-2326", "0.97")
    assert (first["ra"], first["dec"], first["system"]) == (161.284333, 41.396, "UTC-ICRS-TOPO")
    assert first["time"] == "2026-11-20T02:15:00.250000+00:00"


def test_voevents_with_less_or_with_hostile_names_are_valid(
    tmp_path: Path, others: Callable[..., str]
) -> None:
    alert = star_life()[2]
    nan = float("nan")
    less = [
        alert.model_copy(update={"ra": None, "dec": None}),
        alert.model_copy(update={"observed_at": None}),
        alert.model_copy(
            update={"ra": nan, "observed_at": None, "p_cemp": nan, "models": (), "supersedes": None}
        ),
        alert.model_copy(update={"alert_tense": "injection", "spectrum_uri": "https://x/a b<ä>"}),
    ]
    hostile = [
        alert.model_copy(
            update={**dict.fromkeys(TEXTS, text), "spectrum_uri": f"https://{text}", "flags": (text,)}
        )
        for text in HOSTILE
    ]
    found = read(less + hostile, tmp_path, others)
    assert [packet["role"] for packet in found[:4]] == ["observation"] * 3 + ["test"]
    assert [packet.get("time") for packet in found[:3]] == ["2026-11-20T02:15:00.250000+00:00", None, None]
    assert len(found) == 4 + len(hostile)
