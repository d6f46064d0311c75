"""Which alerts become candidates: the newest of each star, with a place and a magnitude."""

from __future__ import annotations

import math

from cempstream.schemas.alert import Magnitude
from cempstream.streams.observing.candidates import WHY_TEXT, LeftOut, Why, candidates_of, newest_alerts
from cempstream.streams.observing.exposure_time import QUESTIONS
from tests.support.targets import star_alert

CFE, BA = QUESTIONS["cfe"], QUESTIONS["ba"]


def test_the_newest_alert_of_a_star_counts_in_whatever_order_they_come() -> None:
    first = star_alert("a", revision=0, minutes=5.0)
    second = star_alert("a", revision=1, minutes=3.0)
    again = star_alert("a", revision=1, minutes=4.0)
    other = star_alert("b")
    for order in ([first, second, again, other], [again, other, first, second]):
        assert [alert.alert_id for alert in newest_alerts(order) if alert.name == "a"] == [again.alert_id]
        assert {alert.published_at for alert in newest_alerts(order)} == {
            again.published_at,
            other.published_at,
        }


def test_stars_of_two_surveys_and_spectra_without_a_star_are_not_one() -> None:
    alerts = [
        star_alert("a"),
        star_alert("a", survey="sdss"),
        star_alert("x", object_id=None, spectrum_id="a"),
        star_alert("y", object_id=None, spectrum_id="b"),
    ]
    assert len(newest_alerts(alerts)) == 4


def test_what_cannot_be_planned_says_why() -> None:
    alerts = [
        star_alert("good"),
        star_alert("gone", revision=0),
        star_alert("gone", revision=1, alert_type="retraction"),
        star_alert("lost", ra=None, dec=None),
        star_alert("nowhere", dec=math.nan),
        star_alert("dark", magnitude=None),
        star_alert("infrared", photometry={"Ks": Magnitude(12.0, 0.1), "r": Magnitude(math.nan, 0.1)}),
    ]
    found, left = candidates_of(alerts, CFE)
    assert [star.name for star in found] == ["good"]
    assert {one.name: (one.why, one.detail) for one in left} == {
        "gone": (Why.RETRACTED, ""),
        "lost": (Why.NO_POSITION, ""),
        "nowhere": (Why.NO_POSITION, ""),
        "dark": (Why.NO_MAGNITUDE, "it has none at all"),
        "infrared": (Why.NO_MAGNITUDE, "it has Ks, r"),
    }
    assert isinstance(left[0], LeftOut)


def test_a_retracted_star_that_is_announced_again_is_back() -> None:
    alerts = [star_alert("a", revision=1, alert_type="retraction"), star_alert("a", revision=2)]
    found, left = candidates_of(alerts, CFE)
    assert (len(found), left) == (1, [])


def test_the_band_nearest_to_the_feature_is_taken() -> None:
    bands = {"r": Magnitude(14.0, 0.1), "g": Magnitude(14.5, 0.1), "W1": Magnitude(12.0, 0.1)}
    (star,), _ = candidates_of([star_alert("a", photometry=bands)], BA)
    assert (star.band, star.magnitude) == ("g", 14.5)
    (star,), _ = candidates_of([star_alert("a", photometry={"G": Magnitude(14.1, 0.1)})], BA)
    assert (star.band, star.magnitude) == ("G", 14.1)


def test_a_candidate_is_what_its_alert_says() -> None:
    alert = star_alert("a", ra=10.0, dec=-20.0, expected_purity=0.8)
    (star,), _ = candidates_of([alert], CFE)
    assert (star.ra_deg, star.dec_deg, star.p_cemp, star.expected_purity) == (10.0, -20.0, alert.p_cemp, 0.8)
    assert star.parameters["feh"] == alert.parameters.feh
    assert star.subclass_p["cemp_no"] == alert.subclass_p.cemp_no


def test_every_reason_is_explained() -> None:
    assert set(WHY_TEXT) == set(Why)
