"""The yield of plans on nights whose truth is known: counted right, with intervals over nights."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from cempstream.schemas.alert import Alert
from cempstream.streams.observing.exposure_time import QUESTIONS
from cempstream.streams.observing.instrument import load_instrument
from cempstream.streams.observing.night import NoNight
from cempstream.streams.observing.sites import parse_site
from cempstream.streams.observing.star_value import Weights
from cempstream.streams.observing.yield_report import (
    COUNTS,
    WAYS,
    Truth,
    TruthError,
    YieldReport,
    compare,
    read_truth,
)
from tests.support.targets import star_alert

SITE = parse_site("Cerro Pachon")
GOODMAN = load_instrument("goodman-soar")
DAY = date(2027, 1, 1)


def sky(n: int) -> tuple[list[Alert], dict[str, Truth]]:
    """Return alerts in all the sky, half of them right, with the truth."""
    rng = np.random.default_rng(5)
    alerts, truth = [], {}
    for i in range(n):
        name = f"s{i:03}"
        alerts.append(
            star_alert(
                name,
                ra=float(rng.uniform(0, 360)),
                dec=float(rng.uniform(-80, 20)),
                magnitude=float(rng.uniform(13, 17)),
                p_cemp=float(rng.uniform(0.5, 1.0)),
            )
        )
        truth[name] = Truth(i % 2 == 0, -3.5 if i % 4 == 0 else -2.0)
    return alerts, truth


def report(n_night: int = 3, n_alert: int = 25, hours: float = 2.0, seed: int = 1) -> YieldReport:
    alerts, truth = sky(80)
    return compare(
        alerts, truth, SITE, DAY, hours, GOODMAN, QUESTIONS["cfe"], Weights(),
        n_night=n_night, n_alert=n_alert, seed=seed,
    )  # fmt: skip


def test_the_plan_for_numbers_has_the_most_chances_and_every_count_is_part_of_the_stars() -> None:
    found = report()
    assert (found.n_night, found.n_alert, found.n_unknown) == (3, 25, 0)
    assert set(found.per_hour) == {(way, count) for way in WAYS for count in COUNTS}
    for way in WAYS:
        stars, cemp, emp = (found.per_hour[way, count] for count in ("stars", "cemp", "emp"))
        assert stars.shape == (3,)
        assert (stars >= cemp).all()
        assert (cemp >= emp).all()
    assert found.rate("plan", "stars").mean > found.rate("by_p", "stars").mean


def test_the_same_seed_gives_the_same_nights() -> None:
    first, again, other = (report(n_night=2, n_alert=8, hours=1.0, seed=seed) for seed in (1, 1, 2))
    assert all((first.per_hour[key] == again.per_hour[key]).all() for key in first.per_hour)
    assert any((first.per_hour[key] != other.per_hour[key]).any() for key in first.per_hour)


def test_intervals_are_those_of_nights_drawn_again() -> None:
    ours, others = np.array([2.0, 4.0, 6.0, 8.0] * 25), np.array([1.0, 2.0, 3.0, 4.0] * 25)
    made = YieldReport(100, 5, 4.0, 0, {("plan", "cemp"): ours, ("random", "cemp"): others})
    rate = made.rate("plan", "cemp")
    assert rate.mean == 5.0
    half = 1.96 * np.std(ours) / 10.0
    assert (rate.lo, rate.hi) == pytest.approx((5.0 - half, 5.0 + half), abs=0.05)
    ratio = made.ratio("plan", "cemp", than="random")
    assert (ratio.mean, ratio.lo, ratio.hi) == pytest.approx((2.0, 2.0, 2.0))


def test_alerts_that_fill_no_two_nights_are_too_few() -> None:
    with pytest.raises(TruthError, match=r"80 of 80 alerts are .*; two nights of 60 need 120"):
        report(n_alert=60)


def test_alerts_that_the_truth_does_not_know_are_counted() -> None:
    alerts, truth = sky(40)
    alerts.append(star_alert("stranger"))
    found = compare(
        alerts, truth, SITE, DAY, 1.0, GOODMAN, QUESTIONS["cfe"], Weights(), n_night=2, n_alert=20, seed=1
    )
    assert found.n_unknown == 1


def test_nights_that_never_come_are_said() -> None:
    alerts, truth = sky(10)
    pole = parse_site("-70,0")
    small = {"n_night": 2, "n_alert": 2, "seed": 1}
    with pytest.raises(NoNight, match="no night of 23 dark hours"):
        compare(alerts, truth, pole, DAY, 23.0, GOODMAN, QUESTIONS["cfe"], Weights(), **small)


def test_truth_is_read_from_a_simulated_nights_table(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_text("object_id,is_cemp,feh,kind\na,True,-3.1,giant\nb,False,,galaxy\n")
    truth = read_truth(path)
    assert truth["a"] == Truth(True, pytest.approx(-3.1))
    assert not truth["b"].is_cemp
    assert np.isnan(truth["b"].feh)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no column feh, is_cemp, object_id"),
        ("object_id,feh\na,1\n", "has no column is_cemp"),
        ("object_id,is_cemp,feh\na,True,poor\n", "is not a truth"),
        ("object_id,is_cemp,feh\na\n", "is not a truth"),
    ],
)
def test_what_is_no_truth_is_said(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "truth.csv"
    path.write_text(text)
    with pytest.raises(TruthError, match=said):
        read_truth(path)
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(TruthError):
        read_truth(path)
