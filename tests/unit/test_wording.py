"""How numbers and places are written for a person."""

from __future__ import annotations

import math
from urllib.parse import parse_qs, urlsplit

import pytest

from cempstream.processors.bands import CEMP_BANDS
from cempstream.processors.outcome import Estimate
from cempstream.processors.spectrum import Flag
from cempstream.streams.wording import (
    FLAG_MEANING,
    estimate_text,
    index_text,
    probability_text,
    sexagesimal,
    signed,
    sky_links,
)


@pytest.mark.parametrize(
    ("p", "text"), [(0.5, "0.500"), (2.04e-5, "2e-5"), (0.99994, "1 − 6e-5"), (0.0, "0"), (1.0, "1 − 0")]
)
def test_probabilities_keep_their_digits(p: float, text: str) -> None:
    assert probability_text(p) == text


@pytest.mark.parametrize(
    ("ra", "dec", "text"),
    [
        (0.0, 0.0, "00:00:00.00 +00:00:00.0"),
        (161.284333, 41.396, "10:45:08.24 +41:23:45.6"),
        (359.9999999, -0.00001, "00:00:00.00 -00:00:00.0"),
        (14.99999999, 89.99999999, "01:00:00.00 +90:00:00.0"),
        (83.82208, -5.39111, "05:35:17.30 -05:23:28.0"),
        (None, 3.0, "no position"),
    ],
)
def test_positions_as_telescopes_take_them(ra: float | None, dec: float | None, text: str) -> None:
    assert sexagesimal(ra, dec) == text


def test_what_cannot_be_told_is_a_dash() -> None:
    assert estimate_text("bafe", Estimate(float("nan"), float("nan"), float("nan"))) == "—"
    assert estimate_text("cfe", Estimate(0.7, 0.5, 0.9)) == "+0.70 ± 0.20"
    assert signed(float("nan")) == "—"
    assert signed(-1.5) == "−1.50"


def test_every_flag_and_every_index_has_its_words() -> None:
    assert set(FLAG_MEANING) == set(Flag)
    names = [*(band.name for band in CEMP_BANDS), "kp"]
    texts = [index_text(name)[0] for name in names]
    assert not set(texts) & set(names)
    assert len(set(texts)) == len(texts)
    assert index_text("lick_g4300") == ("Lick G4300 (CH)", "Å")
    assert index_text("unheard of") == ("unheard of", "")


@pytest.mark.parametrize(("ra", "dec"), [(None, 3.0), (math.nan, 3.0), (3.0, math.inf), (3.0, 90.1)])
def test_what_is_not_on_the_sky_is_no_position(ra: float | None, dec: float) -> None:
    assert sexagesimal(ra, dec) == "no position"
    assert sky_links(ra, dec) == ()


def test_links_carry_the_position() -> None:
    links = dict(sky_links(10.5, -3.25))
    assert list(links) == ["SIMBAD", "Gaia DR3", "Aladin", "Legacy Surveys"]
    assert parse_qs(urlsplit(links["SIMBAD"]).query)["Coord"] == ["10.500000 -3.250000"]
    assert parse_qs(urlsplit(links["Gaia DR3"]).query)["-c"] == ["10.500000 -3.250000"]
    assert parse_qs(urlsplit(links["Aladin"]).query)["target"] == ["10.500000 -3.250000"]
    legacy = parse_qs(urlsplit(links["Legacy Surveys"]).query)
    assert (legacy["ra"], legacy["dec"]) == (["10.500000"], ["-3.250000"])
