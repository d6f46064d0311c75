"""A star at the terminal: what each spectrum has added, in its table and in the panel of its alert."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from cempstream.processors.stars.star import Star, fold_all
from cempstream.schemas.alert import decode_alert, encode_alert
from cempstream.schemas.samples import sample_stamp
from cempstream.schemas.star import StarPacket
from cempstream.streams.stars.folding import Told
from cempstream.streams.stars.view import headline, visits_table
from cempstream.streams.subscriber.alert_view import alert_panel
from tests.support.visits import NIGHT, MeanJudge, visit

EMPTY = Star(object_id="star", tense="current")


def printed(thing: object) -> str:
    out = io.StringIO()
    Console(file=out, width=160).print(thing)
    return out.getvalue()


def test_the_table_has_a_row_per_spectrum_in_the_order_of_observation() -> None:
    arrivals = [visit(2, p=0.9), visit(0, p=0.3), visit(1, p=0.1, grating="GI", snr=3.0)]
    star = fold_all(EMPTY, arrivals, MeanJudge()).star
    head, *rows = printed(visits_table(star)).splitlines()
    assert "p of the star" in head
    assert [row.split()[0] for row in rows] == ["v0-GV", "v1-GI", "v2-GV"]
    assert [row.split()[5:7] for row in rows] == [
        ["0.3000", "0.3000"],
        ["0.1000", "0.2000"],
        ["0.9000", "0.4333"],
    ]
    assert "±" in rows[0]


def test_what_could_not_be_said_is_a_dash() -> None:
    star = replace(EMPTY, observations=(visit(0),), together=(None,))
    assert printed(visits_table(star)).splitlines()[1].split()[-6:] == ["–"] * 6


@pytest.mark.parametrize(("tense", "said"), [("current", "star:"), ("injection", "star (injection):")])
def test_the_headline_says_what_was_last_said_of_it(tense: str, said: str) -> None:
    star = replace(fold_all(EMPTY, [visit(0, p=0.9)], MeanJudge()).star, tense=tense)
    line = headline(StarPacket(star=star, survey="csst", updated_at=NIGHT, offset=0))
    assert f"csst {said} candidate, no alert" in line


def test_the_panel_of_an_alert_says_how_p_grew() -> None:
    folded = fold_all(EMPTY, [visit(i, p=p) for i, p in enumerate((0.3, 0.9, 0.9))], MeanJudge())
    told = Told(folded.star, folded.results[folded.star.speaking()[0].group])
    alert = decode_alert(encode_alert(told.result, sample_stamp(), told.star))
    text = printed(alert_panel(alert))
    assert "3 spectra, 3 added up   GV   p 0.300 → 0.600 → 0.700" in text
    alone = decode_alert(encode_alert(told.result, sample_stamp()))
    assert "added up" not in printed(alert_panel(alone))


def test_of_many_visits_the_last_are_shown() -> None:
    folded = fold_all(EMPTY, [visit(i, p=0.9) for i in range(9)], MeanJudge())
    result = folded.results[folded.star.speaking()[0].group]
    text = printed(alert_panel(decode_alert(encode_alert(result, sample_stamp(), folded.star))))
    assert text.count("→") == 5
    assert "p … 0.900" in text
