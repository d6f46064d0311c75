"""Names in packets may hold anything: in every format they stay text, whole and harmless."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path
from xml.etree import ElementTree as ET

from astropy.io.votable import parse
from astropy.table import Table
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from cempstream.plain import shown
from cempstream.processors.outcome import NamedBand
from cempstream.schemas.alert import Alert, alert_from_json
from cempstream.streams.exporters.facts import headline
from cempstream.streams.exporters.gcn import gcn_notice, notice_line, notice_schema
from cempstream.streams.exporters.sink import FolderSink, ascii_json, safe_name
from cempstream.streams.exporters.tables import alerts_table, table_bytes
from cempstream.streams.exporters.voevent import Issuer, voevent
from cempstream.streams.exporters.webhook import message_body
from tests.support.star_life import star_life

LIFE = star_life()
ISSUER = Issuer("ivo://org.example/cemp")
VALIDATOR = Draft202012Validator(notice_schema())

#: What packets can hold: any Unicode but lone halves of surrogate pairs.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)

XML = "]]></Param><Param name='p_cemp' value='1'/><!ENTITY x SYSTEM 'file:///etc/passwd'>&x;"
NASTY = (
    "",
    XML,
    '","p_cemp":1,"x":"',
    "\x1b]0;pwned\x07\x9b2J",
    "a\0b",
    "star\u202egnp",
    "\ufffe\uffff\u2028",
    "%ECSV",
)


def hostile(text: str, i: int = 2) -> Alert:
    """Return an alert in which every text from outside is this one."""
    return LIFE[i].model_copy(
        update={
            "alert_id": text,
            "supersedes": text,
            "spectrum_id": text,
            "object_id": text or None,
            "survey": text,
            "subclass": text,
            "flags": (text, text),
            "bundle": text,
            "gratings": (text,),
            "bands": (NamedBand(text, 0.5),),
            "spectrum_uri": f"https://x.example/{text}",
            "alert_tense": text,
            "photometry": {text: LIFE[i].photometry["G"]},
        }
    )


def nasty(test: object) -> object:
    """Have a property tried with the worst that we know, too."""
    for text in NASTY:
        test = example(text)(test)  # type: ignore[type-var]
    return test


few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@few
@nasty
@given(TEXT)
def test_a_voevent_is_one_packet_with_as_many_elements_as_any(text: str) -> None:
    packet = voevent(hostile(text), ISSUER)
    packet.decode("utf-8")
    root = ET.fromstring(packet)
    plain = [node.tag for node in ET.fromstring(voevent(hostile("a"), ISSUER)).iter()]
    empty = text.strip() == ""  # an empty fact is left out
    assert empty or [node.tag for node in root.iter()] == plain
    assert b"<!ENTITY" not in packet
    assert empty or root.find("What/Param[@name='survey']").attrib["value"] == shown(text)  # type: ignore[union-attr]
    for node in root.iter():
        for said in (*node.attrib.values(), (node.text or "").strip()):
            assert said.isprintable()


@few
@nasty
@given(TEXT)
def test_a_notice_is_valid_ascii_and_gives_names_back_whole(text: str) -> None:
    line = notice_line(gcn_notice(hostile(text)))
    assert line.isascii()
    assert line.decode().isprintable()
    notice = json.loads(line)
    VALIDATOR.validate(notice)
    assert (notice["mission"], notice["alert_id"], notice["flags"]) == (text, text, [text, text])
    assert notice["p_cemp"] == 0.9


@few
@nasty
@given(TEXT)
def test_json_is_one_line_of_ascii_that_is_read_as_the_alert(text: str) -> None:
    alert = hostile(text).model_copy(update={"photometry": {}})
    line = ascii_json(alert.to_json())
    assert line.isascii()
    assert line.decode().isprintable()
    assert json.loads(line) == json.loads(alert.to_json())
    assert alert_from_json(line).survey == text


@few
@nasty
@given(TEXT)
def test_a_table_has_a_row_an_alert_whatever_it_is_called(text: str) -> None:
    table = alerts_table([LIFE[0], hostile(text), LIFE[3]])
    ecsv = table_bytes(table, "ecsv").decode("utf-8")
    read = Table.read(ecsv, format="ascii.ecsv")
    assert len(read) == 3
    assert list(read["p_cemp"]) == [0.97, 0.9, 0.2]
    file = parse(io.BytesIO(table_bytes(table, "votable")), verify="exception")
    assert list(file.get_first_table().array["survey"])[1].strip() == shown(text).strip()
    assert all(line.isprintable() for line in ecsv.split("\n"))


@few
@nasty
@given(TEXT)
def test_a_message_to_a_chat_is_ascii_and_its_text_is_one_line(text: str) -> None:
    body = message_body(hostile(text))
    assert body.isascii()
    assert json.loads(body)["data"]["survey"] == text
    assert json.loads(body)["text"].isprintable()
    assert headline(hostile(text)).isprintable()


@few
@example("../../etc/passwd")
@example("/etc/passwd")
@example("a" * 5000)
@nasty
@given(TEXT)
def test_a_file_of_an_alert_stays_in_its_folder(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        inside = Path(folder, "packets")
        FolderSink(inside, ".xml", lambda alert: b"<a/>").send(hostile(text))
        assert [path.suffix for path in inside.iterdir()] == [".xml"]
        assert [path.name for path in Path(folder).iterdir()] == ["packets"]


@few
@given(TEXT, TEXT)
def test_files_of_two_alerts_are_two(one: str, other: str) -> None:
    assert (safe_name(one) == safe_name(other)) == (one == other)
