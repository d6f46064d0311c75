"""VOEvent 2.0 packets: what each element says; `make others-test` checks them against the schema."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from astropy.io.votable.ucd import check_ucd

from cempstream.schemas.alert import Alert
from cempstream.streams.exporters.facts import FACTS
from cempstream.streams.exporters.sink import ExportError
from cempstream.streams.exporters.voevent import Issuer, voevent
from tests.support.star_life import star_life

ISSUER = Issuer("ivo://org.example/cemp", "A. Person", "person@example.org")


def read(alert: Alert) -> ET.Element:
    return ET.fromstring(voevent(alert, ISSUER))


def params(root: ET.Element) -> dict[str, str]:
    return {param.attrib["name"]: param.attrib["value"] for param in root.iter("Param")}


def test_a_packet_says_who_what_where_how_and_why() -> None:
    alert = star_life()[0]
    root = read(alert)
    assert root.tag == "{http://www.ivoa.net/xml/VOEvent/v2.0}VOEvent"
    assert root.attrib["version"] == "2.0"
    assert root.attrib["ivorn"] == f"ivo://org.example/cemp#{alert.alert_id}"
    assert root.findtext("Who/AuthorIVORN") == "ivo://org.example/cemp"
    assert root.findtext("Who/Date") == "2026-11-20T03:00:00.365000"
    assert root.findtext("Who/Author/contactName") == "A. Person"
    assert root.findtext("Who/Author/contactEmail") == "person@example.org"
    found = params(root)
    assert found["p_cemp"] == "0.97"
    assert (found["feh"], found["feh_lo"]) == ("-2.41", "-2.53")
    assert "bafe" not in found  # the spectrum cannot tell
    assert found["gaia_source_id"] == "4611686018427387905"
    where = root.find("WhereWhen/ObsDataLocation/ObservationLocation/AstroCoords")
    assert where is not None
    assert where.attrib["coord_system_id"] == "UTC-ICRS-TOPO"
    assert where.findtext("Time/TimeInstant/ISOTime") == "2026-11-20T02:15:00.250000"
    assert where.findtext("Position2D/Value2/C1") == "161.284333"
    assert where.findtext("Position2D/Value2/C2") == "41.396"
    assert float(where.findtext("Position2D/Error2Radius") or 0) == pytest.approx(1 / 3600)
    reference = root.find("How/Reference")
    assert reference is not None
    assert reference.attrib["uri"] == alert.spectrum_uri
    why = root.find("Why")
    assert why is not None
    assert why.attrib["importance"] == "0.9"
    probabilities = [float(inference.attrib["probability"]) for inference in why.iter("Inference")]
    assert probabilities[0] == 0.97
    assert probabilities[1:] == pytest.approx([0.97 * share for share in (0.15, 0.7, 0.05)])


def test_each_type_of_alert_cites_the_one_before_as_what_it_is_to_it() -> None:
    life = star_life()
    cited = [[(cite.text, cite.attrib["cite"]) for cite in read(alert).iter("EventIVORN")] for alert in life]
    before = [f"ivo://org.example/cemp#{alert.alert_id}" for alert in life]
    assert cited == [
        [],
        [(before[0], "followup")],
        [(before[1], "supersedes")],
        [(before[2], "retraction")],
    ]
    retraction = read(life[-1])
    assert (retraction.findtext("Description") or "").startswith("RETRACTED")
    why = retraction.find("Why")
    assert why is not None
    assert why.attrib["importance"] == "0.0"


@pytest.mark.parametrize(
    ("tense", "role"),
    [
        ("current", "observation"),
        ("archival", "observation"),
        ("injection", "test"),
        ("test", "test"),
        ("unknown", "test"),
    ],
)
def test_what_is_of_no_real_star_is_a_test(tense: str, role: str) -> None:
    alert = star_life()[0].model_copy(update={"alert_tense": tense})
    assert read(alert).attrib["role"] == role


def test_without_position_or_time_there_is_less_and_no_invention() -> None:
    alert = star_life()[0]
    no_place = read(alert.model_copy(update={"ra": None, "dec": None}))
    assert no_place.find(".//Position2D") is None
    for off_sky in ({"dec": 91.0}, {"ra": float("inf")}):
        assert read(alert.model_copy(update=off_sky)).find(".//Position2D") is None
    assert no_place.find(".//ISOTime") is not None
    neither = read(alert.model_copy(update={"ra": None, "dec": None, "observed_at": None}))
    assert neither.find("WhereWhen") is None
    assert read(alert.model_copy(update={"observed_at": None})).find(".//Time") is None


def test_numbers_that_are_none_are_left_out() -> None:
    nan = float("nan")
    root = read(star_life()[0].model_copy(update={"p_cemp": nan, "ra": nan, "snr": nan}))
    assert not {value.lower() for value in params(root).values()} & {"nan", "none", "inf"}
    assert not {"p_cemp", "snr"} & params(root).keys()
    assert root.find(".//Position2D") is None
    assert root.find("Why/Inference") is None


@pytest.mark.parametrize(
    "ivoid",
    ["cemp", "ivo://ab/cemp", "ivo://org.example", "ivo://org.example/a#b", "http://org.example/cemp", ""],
)
def test_an_identifier_that_is_none_is_refused(ivoid: str) -> None:
    with pytest.raises(ExportError, match=r"ivo://AUTHORITY/STREAM"):
        Issuer(ivoid)


def test_a_uri_that_no_reader_may_follow_is_left_out() -> None:
    alert = star_life()[0]
    for uri in (
        "javascript:alert(1)",
        "file:///etc/passwd",
        "https://",
        "https://]]<",
        "https://a b/c",
        "",
        None,
    ):
        assert read(alert.model_copy(update={"spectrum_uri": uri})).find("How/Reference") is None


def test_every_fact_has_a_ucd_of_the_vocabulary() -> None:
    wrong = [
        fact.name
        for fact in FACTS
        if not check_ucd(fact.ucd, check_controlled_vocabulary=True, has_colon=True)
    ]
    assert wrong == []
    assert len({fact.name for fact in FACTS}) == len(FACTS)


def test_a_uri_is_quoted_so_that_it_is_one() -> None:
    alert = star_life()[0].model_copy(update={"spectrum_uri": "https://x.example:8/a b/[ä]?q=<1>"})
    reference = read(alert).find("How/Reference")
    assert reference is not None
    assert reference.attrib["uri"] == "https://x.example:8/a%20b/%5B%C3%A4%5D?q=%3C1%3E"
