"""The page's state: which candidates it holds, what a browser is told of them, and how the stream stands."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord

from cempstream.processors.spectrum import Flag
from cempstream.schemas.alert import Alert, decode_alert
from cempstream.schemas.sky import Match
from cempstream.streams.kafka.places import StreamError
from cempstream.streams.observing.sites import parse_site
from cempstream.streams.page.app import follow
from cempstream.streams.page.candidates import Candidates
from cempstream.streams.page.night import Night
from cempstream.streams.page.row import candidate_row
from cempstream.streams.page.sky import HEIGHT, WIDTH, place_on_map, project, sky_map
from cempstream.streams.page.tonight import Standing, Tonight
from cempstream.streams.page.view import Changes, View
from cempstream.streams.subscriber.heartbeats import HeartbeatWatch, Life, Sign, Topics
from cempstream.streams.subscriber.where import FilterError, compile_where
from tests.support.alerts import alert_packet

SCRIPT = "<img src=x onerror=alert(1)>"


def alert(name: str, **facts: Any) -> Alert:
    return decode_alert(alert_packet(name, **facts))


def held(candidates: Candidates) -> list[str]:
    return [one.row.name for one in candidates.held().candidates]


def names(changes: Changes | None) -> list[str]:
    assert changes is not None
    return [row.name for row in changes.rows]


def test_known_stars_are_among_the_facts() -> None:
    matches = (Match("known", "jina", SCRIPT, 0.4), Match("region", "field", "", math.nan))
    facts = candidate_row(alert("a").model_copy(update={"matches": matches}), 1, 1).facts
    assert ("known as", f"{SCRIPT} (jina, 0.4″)") in facts  # the template escapes it
    assert ("in the region", "field") in facts


# ---- what is held ----


def test_a_later_alert_takes_the_row_of_its_star() -> None:
    candidates = Candidates(10)
    for one in (alert("a"), alert("b"), alert("a", p_cemp=0.6, minutes=1, kind="update", revision=1)):
        candidates.take(one)
    assert held(candidates) == ["star b", "star a"], "in the order of the last alert"
    b, a = candidates.held().candidates
    assert (a.row.number, b.row.number) == (1, 2)
    assert (a.row.p, a.row.kinds, a.row.picture) == (0.6, ("update 1",), "picture/1?after=3")


def test_an_alert_that_comes_late_changes_nothing() -> None:
    candidates = Candidates(10)
    candidates.take(alert("a", minutes=5, kind="update", revision=1))
    change = candidates.held().change
    candidates.take(alert("a", p_cemp=0.1))
    assert candidates.held().change == change
    assert candidates.held().candidates[0].row.p == 0.97


def test_only_the_newest_are_kept_and_the_others_are_counted() -> None:
    candidates = Candidates(2)
    for name, minutes in (("a", 0), ("b", 1), ("a", 2), ("c", 3), ("d", 4)):
        candidates.take(alert(name, minutes=minutes))
    assert held(candidates) == ["star c", "star d"], "a was heard of after b, and is older all the same"
    assert candidates.held().n_dropped == 2
    assert candidates.find(1) is None
    found = candidates.find(4)
    assert found is not None
    assert found.row.name == "star d"


def test_a_retraction_marks_a_star_though_the_filter_would_not_let_it_in() -> None:
    candidates = Candidates(10, compile_where("p_cemp > 0.9"))
    candidates.take(alert("a"))
    candidates.take(alert("a", p_cemp=0.02, minutes=1, kind="retraction", revision=1))
    (one,) = candidates.held().candidates
    assert one.row.is_retracted
    assert (one.standing.p_cemp, one.latest.p_cemp) == (0.97, 0.02)


def test_a_retraction_of_a_star_that_was_never_shown_shows_nothing() -> None:
    candidates = Candidates(10)
    candidates.take(alert("a", kind="retraction", revision=1))
    assert held(candidates) == []


def test_a_star_may_come_back_after_a_retraction() -> None:
    candidates = Candidates(10)
    for minutes, kind in enumerate(("initial", "retraction", "initial")):
        candidates.take(alert("a", minutes=minutes, kind=kind, revision=minutes))
    (one,) = candidates.held().candidates
    assert not one.row.is_retracted
    assert one.row.number == 1


def test_a_star_leaves_when_its_new_numbers_do_not_pass() -> None:
    candidates = Candidates(10, compile_where("p_cemp > 0.9"))
    view = View(candidates)
    candidates.take(alert("a"))
    assert names(view.changes()) == ["star a"]
    candidates.take(alert("a", p_cemp=0.8, minutes=1, kind="update", revision=1))
    assert view.changes() == Changes((), (1,), 0, 0)


def test_stars_of_one_name_in_two_surveys_are_two() -> None:
    candidates = Candidates(10)
    first = alert("a")
    candidates.take(first)
    candidates.take(first.model_copy(update={"survey": "other"}))
    assert held(candidates) == ["star a", "star a"]


# ---- what a browser is told ----


def test_a_view_begins_with_everything_and_then_tells_changes_only() -> None:
    candidates = Candidates(10)
    candidates.take(alert("a"))
    candidates.take(alert("b"))
    view = View(candidates)
    assert names(view.changes()) == ["star a", "star b"]
    assert view.changes() is None
    candidates.take(alert("a", minutes=1, kind="subsequent", revision=1))
    assert names(view.changes()) == ["star a"]
    assert names(View(candidates).changes()) == ["star b", "star a"], "who comes later has missed nothing"


def test_a_slow_browser_gets_the_last_state_of_each_star_and_no_queue() -> None:
    candidates = Candidates(3)
    view = View(candidates)
    view.changes()
    for i in range(50):
        candidates.take(alert(f"{i % 5}", minutes=i))
    changes = view.changes()
    assert changes is not None
    assert names(changes) == ["star 2", "star 3", "star 4"]
    assert changes.gone == ()
    assert (changes.n_held, changes.n_dropped) == (3, 47)


def test_a_view_is_told_what_was_dropped() -> None:
    candidates = Candidates(1)
    view = View(candidates)
    candidates.take(alert("a"))
    view.changes()
    candidates.take(alert("b", minutes=1))
    changes = view.changes()
    assert changes is not None
    assert (names(changes), changes.gone, changes.n_dropped) == (["star b"], (1,), 1)


def test_a_filter_shows_what_passes_and_the_retraction_of_that() -> None:
    candidates = Candidates(10)
    view = View(candidates, "p_cemp > 0.9")
    candidates.take(alert("a"))
    candidates.take(alert("b", p_cemp=0.6))
    changes = view.changes()
    assert changes is not None
    assert (names(changes), changes.n_held) == (["star a"], 2)
    candidates.take(alert("b", p_cemp=0.01, minutes=1, kind="retraction"))
    assert names(view.changes()) == [], "it was not shown"
    candidates.take(alert("a", p_cemp=0.01, minutes=1, kind="retraction"))
    changes = view.changes()
    assert changes is not None
    assert [row.is_retracted for row in changes.rows] == [True]
    candidates.take(alert("b", minutes=2))
    assert names(view.changes()) == ["star b"], "its new numbers pass"


def test_a_filter_that_is_none_is_refused() -> None:
    with pytest.raises(FilterError, match="did you mean 'p_cemp'"):
        View(Candidates(1), "p_cem > 0.9")


async def test_the_events_of_a_browser() -> None:
    night = Night(Candidates(10), None, "night.jsonl")
    night.candidates.take(alert("a"))
    events = follow(night, None)
    first, health = await anext(events), await anext(events)
    assert (first.event, health.event) == ("candidates", "health")
    assert [row["name"] for row in json.loads(first.data)["rows"]] == ["star a"]
    assert json.loads(health.data)["text"].startswith("alerts of night.jsonl are read")
    night.candidates.take(alert("b"))
    told = await anext(events)
    while told.event == "health":
        told = await anext(events)
    assert told.event == "changes"
    assert [row["name"] for row in json.loads(told.data)["rows"]] == ["star b"]
    night.end()
    assert [event.event async for event in events if event.event != "health"] == []


async def test_a_browser_is_told_in_words_what_is_wrong_with_its_filter() -> None:
    events = [event async for event in follow(Night(Candidates(1), None, "x"), "snr >")]
    assert [event.event for event in events] == ["refused"]
    assert "'snr >' is not an expression" in json.loads(events[0].data)["problem"]


# ---- one row ----


def test_a_row_says_what_decides_a_follow_up() -> None:
    row = candidate_row(alert("a", flags=(Flag.LOW_SNR,)), 7, 9)
    assert (row.number, row.picture) == (7, "picture/7?after=9")
    assert (row.position, row.time) == ("10:45:08.24 +41:23:45.6", "03:00:00")
    assert (row.p_text, row.feh, row.cfe) == ("0.970", "−2.41", "+1.52")
    assert (row.subclass, row.snr, row.magnitude, row.kinds) == ("CEMP-s", "40", "G 14.8", ())
    facts = dict(row.facts)
    assert facts["[Fe/H]"] == "−2.41 +0.13 −0.12"
    assert "[Ba/Fe]" not in facts, "the spectrum cannot tell"
    assert facts["subclass"] == "CEMP-s 70 %, CEMP-no 15 %, undetermined 10 %, CEMP-r 5 %"
    assert facts["right of all alerts of this S/N"] == "93 %"
    assert row.flags == (("low snr", "the signal is too low for firm numbers"),)
    assert [name for name, _ in row.links] == ["SIMBAD", "Gaia DR3", "Aladin", "Legacy Surveys"]


def test_a_star_unlike_all_of_the_training_has_no_parameters() -> None:
    row = candidate_row(alert("a", flags=(Flag.OUT_OF_DISTRIBUTION,)), 1, 1)
    assert (row.feh, row.cfe) == ("—", "—")
    assert not {"[Fe/H]", "Teff", "[C/Fe], corrected for evolution"} & dict(row.facts).keys()


@pytest.mark.parametrize("tense", ["archival", "injection", "test"])
def test_what_was_not_observed_now_says_so(tense: Any) -> None:
    assert candidate_row(alert("a", tense=tense), 1, 1).kinds == (tense,)


def test_a_row_is_short_and_printable_whatever_the_packet_holds() -> None:
    hostile = alert("a").model_copy(
        update={
            "object_id": "\x1b[2J\u202e" + SCRIPT * 1000,
            "survey": "s" * 10_000,
            "subclass": "\n" * 500,
            "bundle": "b" * 10_000,
            "flags": ("f" * 5000,) * 500,
            "photometry": {"m" * 5000: alert("a").photometry["G"]} | alert("a").photometry,
            "p_cemp": math.nan,
            "snr": math.inf,
            "ood_score": math.nan,
            "ra": math.nan,
            "dec": 1e300,
        }
    )
    row = candidate_row(hostile, 1, 1)
    told = json.dumps(asdict(row), allow_nan=False)
    assert len(told) < 20_000
    assert "\x1b" not in row.name
    assert "\u202e" not in row.name
    assert len(row.name) == 60
    assert (row.p, row.p_text, row.snr, row.place) == (None, "—", "—", None)
    assert max(map(len, (row.subclass, row.magnitude))) <= 14


@pytest.mark.parametrize(("snr", "text"), [(12.4, "12"), (9_999_999.0, "9999999"), (1e308, "1e+308")])
def test_a_number_that_no_star_has_is_short_too(snr: float, text: str) -> None:
    assert candidate_row(alert("a").model_copy(update={"snr": snr}), 1, 1).snr == text


def test_a_row_without_a_position_says_so_and_has_no_links() -> None:
    row = candidate_row(alert("a", place=None), 1, 1)
    assert (row.position, row.place, row.links, row.ra) == ("no position", None, (), None)


# ---- the sky ----


def test_the_map_is_equal_in_area_and_grows_to_the_left() -> None:
    assert place_on_map(180.0, 0.0) == (WIDTH / 2, HEIGHT / 2)
    assert place_on_map(0.0, 90.0) == (WIDTH / 2, 10.0)
    assert place_on_map(0.0, 0.0) == (WIDTH - 10.0, HEIGHT / 2)
    assert place_on_map(359.999, 0.0) == (10.0, HEIGHT / 2)
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(0, 360, 40_000), np.degrees(np.arcsin(rng.uniform(-1, 1, 40_000)))
    places = (project(ra, dec) - [WIDTH / 2, HEIGHT / 2]) / [WIDTH / 2 - 10, HEIGHT / 2 - 10]
    inside = np.hypot(*places.T)
    assert inside.max() <= 1.0 + 1e-6
    assert np.mean(inside < 0.5) == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(
    "place", [(None, 1.0), (math.nan, 1.0), (1.0, math.nan), (1.0, 91.0), (math.inf, 0.0)]
)
def test_what_is_not_on_the_sky_is_not_on_the_map(place: tuple[float | None, float | None]) -> None:
    assert place_on_map(*place) is None


def test_the_map_shows_the_galaxy() -> None:
    sky = sky_map()
    centre = SkyCoord(l=0 * u.deg, b=0 * u.deg, frame="galactic").icrs
    assert sky.galactic_centre == place_on_map(centre.ra.deg, centre.dec.deg)
    assert sky.galactic_plane.count("M") == 2, "one curve, cut once where the map ends"
    assert [text for *_, text in sky.hours] == ["3h", "6h", "9h", "12h", "15h", "18h", "21h"]


# ---- how the stream stands ----


class Watch(HeartbeatWatch):
    """Says what a test wants said."""

    def __init__(self, said: dict[Topics, Sign] | StreamError | None) -> None:
        super().__init__({"bootstrap.servers": "127.0.0.1:0"})
        self._said = said

    def signs(self) -> dict[Topics, Sign] | None:
        if isinstance(self._said, StreamError):
            raise self._said
        return self._said


@pytest.mark.parametrize(
    ("said", "is_well", "text", "age_s"),
    [
        (None, True, "listening for a worker", None),
        ({}, False, "no worker was ever heard: alerts may never come", None),
        ({("s.v1",): Sign(Life.ALIVE, 0.4)}, True, "the worker of s.v1 is alive", 0.4),
        (
            {("s.v1",): Sign(Life.ALIVE, 0.4), ("o.v1",): Sign(Life.SILENT, 4.0)},
            False,
            "the worker of o.v1 is silent: no alerts come until it runs again",
            4.0,
        ),
        (
            {("s.v1",): Sign(Life.STOPPED, 9.0)},
            False,
            "the worker of s.v1 has stopped: no alerts come until it runs again",
            9.0,
        ),
        (StreamError("not allowed"), False, "whether a worker is alive is not known: not allowed", None),
    ],
)
def test_health_in_words(said: Any, is_well: bool, text: str, age_s: float | None) -> None:
    health = Night(Candidates(1), Watch(said), "cemp.alerts.v1").health()
    assert (health.is_well, health.text, health.age_s) == (is_well, text, age_s)


def test_a_night_that_ends_and_one_that_breaks_say_so() -> None:
    night = Night(Candidates(5), Watch({("s.v1",): Sign(Life.ALIVE, 0.4)}), "t.v1")
    acknowledged = []
    first = alert("a")
    first.on_ack(lambda: acknowledged.append("a"))
    night.read([first])
    assert acknowledged == ["a"]
    assert held(night.candidates) == ["star a"]
    assert night.health().text == "all of t.v1 is read: no more alerts come"

    def broken() -> Any:
        yield alert("b")
        raise StreamError("broker:9092: not allowed")

    night.read(broken())
    assert held(night.candidates) == ["star a", "star b"]
    said = night.health()
    assert not said.is_well
    assert said.text == "the stream has ended: broker:9092: not allowed; start the page again"


def test_messages_that_could_not_be_read_are_counted() -> None:
    night = Night(Candidates(1), None, "x")
    night.n_unreadable = 3
    assert night.health().n_unreadable == 3
    assert replace(night.health(), n_unreadable=0).is_well


# ---- from a site ----

LA_PALMA = parse_site("La Palma")


def standing(place: tuple[float, float], at: str) -> Standing:
    tonight = Tonight(LA_PALMA, lambda: datetime.fromisoformat(at).replace(tzinfo=UTC))
    return tonight.standings([candidate_row(alert("a", place=place), 7, 1)])[7]


def test_how_a_star_stands_is_what_geometry_says() -> None:
    """Polaris stands at the latitude, and another star where its hour angle says."""
    polaris = standing((37.95, 89.26), "2026-11-27T22:00")
    assert polaris.altitude == pytest.approx(LA_PALMA.lat_deg, abs=0.8)
    assert float(polaris.text.split()[0]) == pytest.approx(2.06, abs=0.1)
    assert dict(polaris.facts)["in the dark below airmass 2"].endswith(" h")
    days = (datetime(2026, 11, 28, 2, 30, tzinfo=UTC) - datetime(2000, 1, 1, 12, tzinfo=UTC)) / timedelta(
        days=1
    )
    hour_angle = 280.46061837 + 360.98564736629 * days + LA_PALMA.lon_deg - 150.0  # Meeus 1998, chapter 12
    latitude, dec = np.radians([LA_PALMA.lat_deg, 20.0])
    sine = np.sin(latitude) * np.sin(dec) + np.cos(latitude) * np.cos(dec) * np.cos(np.radians(hour_angle))
    altitude = np.degrees(np.arcsin(sine))
    star = standing((150.0, 20.0), "2026-11-28T02:30")
    assert star.altitude == pytest.approx(altitude, abs=0.5), "26 years of precession are left out here"
    assert star.text.endswith(" rising")
    assert standing((150.0, 20.0), "2026-11-28T09:30").text.endswith(" setting")


def test_a_star_that_is_down_says_when_it_comes_up() -> None:
    down = standing((150.0, 20.0), "2026-11-27T20:00")
    assert down.altitude < 0
    assert down.text == "up at 00:06"
    assert standing((150.0, 20.0), "2026-11-28T00:00").altitude < 0.5
    assert standing((150.0, 20.0), "2026-11-28T00:12").altitude > 0
    never = standing((150.0, -80.0), "2026-11-27T20:00")
    assert never.text == "down"
    assert dict(never.facts)["in the dark below airmass 2"] == "0.0 h"
    assert "best in the dark" not in dict(never.facts)


def test_a_star_without_a_position_stands_nowhere() -> None:
    rows = [candidate_row(alert("a", place=None), 1, 1), candidate_row(alert("b", place=(0.0, 0.0)), 2, 2)]
    assert set(Tonight(LA_PALMA).standings(rows)) == {2}, "zero degrees is a place"


def test_darkness_is_that_of_the_night_that_is_meant() -> None:
    """In the evening, after midnight and in the morning it is one night; after noon it is the next."""
    said = {
        at: Tonight(LA_PALMA, lambda at=at: datetime.fromisoformat(at).replace(tzinfo=UTC)).darkness()
        for at in ("2026-11-27T20:00", "2026-11-28T03:00", "2026-11-28T11:00")
    }
    assert set(said.values()) == {"Dark at La Palma from 19:38 to 06:21 UTC."}
    midsummer = Tonight(parse_site("80,15,0"), lambda: datetime(2026, 6, 21, 22, tzinfo=UTC))
    assert midsummer.darkness() == "It does not get dark at 80,15 tonight."
    facts = dict(midsummer.standings([candidate_row(alert("a"), 1, 1)])[1].facts)
    assert "best in the dark" not in facts


def test_a_page_that_runs_for_days_goes_on_with_the_next_night() -> None:
    now = [datetime(2026, 11, 27, 20, tzinfo=UTC)]
    tonight = Tonight(LA_PALMA, lambda: now[0])
    row = candidate_row(alert("a"), 1, 1)
    first = tonight.standings([row])[1]
    now[0] = datetime(2026, 12, 27, 20, tzinfo=UTC)
    assert tonight.standings([row])[1].altitude > first.altitude + 5, "a month later it is two hours ahead"


async def test_a_browser_is_told_how_stars_stand() -> None:
    night = Night(Candidates(10), None, "x", Tonight(LA_PALMA))
    night.candidates.take(alert("a"))
    events = follow(night, None)
    first, standings = await anext(events), await anext(events)
    assert (first.event, standings.event) == ("candidates", "standings")
    told = json.loads(standings.data)
    assert told["darkness"].startswith("Dark at La Palma from ")
    assert set(told["stars"]) == {"1"}
    night.end()
