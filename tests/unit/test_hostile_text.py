"""Ids, names and headers may hold anything, and no terminal, log, picture, file name or sheet obeys them."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from cempstream.errors import in_one_line
from cempstream.plain import csv_cell, shown
from cempstream.processors.outcome import Rejected
from cempstream.processors.readers import UnreadableFile, read_spectra
from cempstream.processors.spectrum import Reason, Spectrum
from cempstream.schemas.alert import decode_alert
from cempstream.schemas.codec import decode_spectrum, encode_spectrum
from cempstream.schemas.samples import sample_classification
from cempstream.streams.cli import app
from cempstream.streams.pictures.finding import finding_of_classification
from cempstream.streams.pictures.pages import unique_stem
from cempstream.streams.pictures.picture import draw_finding, save_picture
from cempstream.streams.scoring.result import Result
from cempstream.streams.scoring.result_files import open_table
from cempstream.streams.subscriber.alert_view import alert_panel
from cempstream.streams.telemetry.logs import KeyValueFormatter
from tests.support.alerts import alert_packet

#: Sets the window's title, clears the screen, the same by one character of C1, a forged line, right to left.
HOSTILE = ("\x1b]0;pwned\x07", "\x1b[2J\x1b[H", "\x9b2J", "a\nlevel=error", "a\rb", "star\u202egnp", "nul\0")


@pytest.mark.parametrize("text", HOSTILE)
def test_what_does_not_print_is_escaped(text: str) -> None:
    assert shown(text).isprintable()
    assert shown(text) != text


def test_what_prints_is_left_alone() -> None:
    assert shown("HE 1327−2326 [Fe/H] 夜") == "HE 1327−2326 [Fe/H] 夜"
    assert shown("\x1b[2J") == "\\x1b[2J"
    assert shown("abcdef", longest=4) == "abc…"


@pytest.mark.parametrize("text", HOSTILE)
def test_a_listener_sees_an_id_and_does_not_obey_it(text: str) -> None:
    alert = decode_alert(alert_packet("a"))
    hostile = alert.model_copy(
        update={"spectrum_id": text, "object_id": text, "survey": text, "bundle": text, "flags": (text,)}
    )
    out = io.StringIO()
    Console(file=out, width=110).print(alert_panel(hostile))
    assert all(line.isprintable() for line in out.getvalue().split("\n"))


@pytest.mark.parametrize("text", HOSTILE)
def test_a_log_stays_one_line_that_no_terminal_obeys(text: str) -> None:
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "cannot read %s", (text,), None)
    record.spectrum_id = text
    assert KeyValueFormatter().format(record).isprintable()


@pytest.mark.parametrize("text", HOSTILE)
def test_messages_about_files_and_errors_are_one_line(text: str) -> None:
    name = text.replace("\0", "")
    assert str(UnreadableFile(Path(name), text, text)).isprintable()
    assert in_one_line(ValueError(text)).isprintable()


@pytest.mark.parametrize("name", ["$\\frac{$", "$x$", "a\nb", "\x1b[2J", "夜", "x" * 5000, "\\", "$"])
def test_a_name_in_a_picture_is_text_and_never_a_formula(tmp_path: Path, name: str) -> None:
    scored = sample_classification()
    finding = finding_of_classification(
        replace(scored, spectrum=replace(scored.spectrum, spectrum_id=name, object_id=name, survey=name))
    )
    figure = draw_finding(finding)
    texts = [*figure.texts, *(text for axes in figure.axes for text in axes.texts)]
    assert len(texts) > 20
    assert not any(text.get_parse_math() for text in texts)
    if name.isascii():  # the font has no other letters, and says so
        save_picture(finding, tmp_path / "a.png")
        assert (tmp_path / "a.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/abs", "..", "a" * 9999, "夜" * 200, "-rf", "a\0b", ""]
)
def test_file_names_of_ids_stay_in_their_folder(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{unique_stem(name, set())}.png"
    path.touch()
    assert path.resolve().parent == tmp_path.resolve()
    assert not path.name.startswith(("-", "."))


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_spreadsheet_gets_text_and_no_formula(text: str) -> None:
    assert str(csv_cell(text)).startswith("'")
    assert csv_cell(-1.5) == -1.5
    assert csv_cell("-2713415") == "-2713415"  # an identifier that is a number runs nothing
    assert csv_cell("plain - text") == "plain - text"
    stdout = io.StringIO()
    with open_table(stdout) as write:
        write(Result("-x.fits", None, Rejected(b"", Reason.NO_PIXELS, text, text, text)))
    (row,) = csv.DictReader(io.StringIO(stdout.getvalue()))
    assert {row["spectrum_id"][0], row["survey"][0], row["detail"][0], row["file"][0]} == {"'"}


def test_classify_tells_a_terminal_nothing_that_it_obeys(tmp_path: Path) -> None:
    path = tmp_path / "\x1b[2J.csv"
    path.write_text("wave,flux\n1,\x1b[2J\n")
    result = CliRunner().invoke(app, ["classify", str(path)])
    assert result.exit_code == 1
    assert "\x1b" not in result.stdout + result.stderr
    assert "\\x1b[2J" in result.stderr


def test_a_file_name_that_is_no_text_is_read_and_written(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/st\xffr.csv"))
    path.write_text("wave,flux\n" + "\n".join(f"{4000 + i},{100 + i % 7}" for i in range(500)))
    (read,) = read_spectra(path)
    assert isinstance(read, Spectrum)
    assert decode_spectrum(encode_spectrum(read)).spectrum_id == "st?r"
    result = Result(str(path), read, Rejected(b"", Reason.NO_PIXELS, "", None))
    json.dumps(result.row, ensure_ascii=False).encode()
