"""What stars cost in a night: times add up, limits hold, and each star left out has its reason."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from cempstream.processors.grid import Array
from cempstream.streams.observing.candidates import Candidate, Why
from cempstream.streams.observing.exposure_time import QUESTIONS
from cempstream.streams.observing.instrument import Instrument, load_instrument
from cempstream.streams.observing.night import look, plan_night
from cempstream.streams.observing.night_costs import _totals, night_costs
from cempstream.streams.observing.sites import parse_site
from tests.support.targets import candidate

NIGHT = plan_night(parse_site("La Palma"), date(2026, 1, 24), 4.0)  # the Moon, 35 % lit, is up
ECHELLE = load_instrument("echelle-8m")
BA = QUESTIONS["ba"]


def change(**what: object) -> Instrument:
    return Instrument.model_validate(ECHELLE.model_dump() | what)


def limits(**what: object) -> Instrument:
    return change(limits=ECHELLE.limits.model_dump() | what)


def total(seconds: Array, **what: object) -> Array:
    return _totals(np.atleast_2d(seconds), change(acquisition_s=60.0, readout_s=30.0, **what), 300.0)[0]


def test_in_steady_conditions_a_visit_is_pointing_exposures_and_readouts() -> None:
    assert total(np.full(12, 600.0))[0] == pytest.approx(60 + 600 + 30)
    assert total(np.full(24, 4000.0))[0] == pytest.approx(60 + 4000 + 3 * 30)  # of 1800 s at most


def test_a_visit_ends_where_the_night_or_the_sky_ends() -> None:
    steady = total(np.full(4, 900.0))  # 990 s in all, of 1200
    assert np.isfinite(steady).tolist() == [True, False, False, False]
    broken = np.full(8, 400.0)
    broken[3] = np.inf
    ends = total(broken)  # 490 s: two slots
    assert np.isfinite(ends).tolist() == [True, True, False, False, True, True, True, False]


def test_a_star_that_rises_gets_on_faster_later() -> None:
    worse_first = total(np.array([1000.0, 1000.0, 100.0, 100.0, 100.0, 100.0]))
    assert worse_first[2] == pytest.approx(60 + 100 + 30)
    # 240 s and 300 s at a rate of 1 in 1030 s, the rest at 1 in 130 s.
    assert worse_first[0] == pytest.approx(600 + (1 - 540 / 1030) * 130)


def why(star: Candidate, instrument: Instrument = ECHELLE) -> Why | None:
    return night_costs([star], NIGHT, instrument, BA).why_not[0]


def test_each_star_has_its_reason() -> None:
    assert why(candidate(ra=80, dec=30)) is None
    assert why(candidate(ra=80, dec=-80)) is Why.NEVER_UP
    assert why(candidate(ra=80, dec=30, magnitude=19.5)) is Why.TOO_FAINT
    assert why(candidate(ra=80, dec=30, magnitude=14.0), limits(faint_mag=13.9)) is Why.TOO_FAINT
    assert why(candidate(ra=80, dec=30, magnitude=5.0), limits(bright_mag=6.0)) is Why.TOO_BRIGHT
    assert why(candidate(ra=80, dec=30, magnitude=16.0), change(acquisition_s=3.9 * 3600)) is Why.NO_ROOM
    assert why(candidate(ra=20, dec=10)) is Why.NEAR_MOON  # 6° from it


def test_the_moon_troubles_none_when_it_is_down() -> None:
    late = plan_night(parse_site("La Palma"), date(2026, 1, 24), 24.0)
    (slots,) = night_costs(
        [candidate(ra=20, dec=10)], late, limits(max_airmass=9.0, min_altitude_deg=0.0), BA
    ).slots
    view = look(late, np.array([20.0]), np.array([10.0]))
    assert (slots[view.moon_altitude_deg > 0] == 0).all()
    assert why(candidate(ra=20, dec=10), limits(min_moon_distance_deg=3.0)) is None


def test_whatever_can_be_begun_is_within_the_limits() -> None:
    rng = np.random.default_rng(3)
    stars = [
        candidate(ra=ra, dec=dec, magnitude=m)
        for ra, dec, m in zip(
            rng.uniform(0, 360, 40), rng.uniform(-30, 80, 40), rng.uniform(12, 17, 40), strict=True
        )
    ]
    costs = night_costs(stars, NIGHT, ECHELLE, BA)
    began = np.argwhere(costs.slots > 0)
    assert len(began) > 50
    for i, s in began:
        taken = slice(s, s + costs.slots[i, s])
        assert costs.view.airmass[i, taken].max() <= ECHELLE.limits.max_airmass
        assert costs.view.altitude_deg[i, taken].min() >= ECHELLE.limits.min_altitude_deg
        assert s + costs.slots[i, s] <= NIGHT.n_slot
        assert (costs.slots[i, s] - 1) * 300 < costs.total_s[i, s] <= costs.slots[i, s] * 300
        assert costs.total_s[i, s] > ECHELLE.acquisition_s
    assert {reason is None for reason in costs.why_not} == {True, False}


def test_a_given_snr_is_taken() -> None:
    star = candidate(ra=80, dec=30)
    usual, twice = (night_costs([star], NIGHT, ECHELLE, BA, snr=snr) for snr in (None, 60.0))
    assert twice.snr == 60.0
    assert twice.exposure_s.min() > 2 * usual.exposure_s.min()


def test_an_alert_without_a_temperature_is_taken_for_a_giant() -> None:
    unknown, giant = (candidate(teff=teff) for teff in (float("nan"), 5000.0))
    costs = night_costs([unknown, giant], NIGHT, ECHELLE, BA)
    assert costs.exposure_s[0] == pytest.approx(costs.exposure_s[1])


def test_no_stars_cost_nothing() -> None:
    costs = night_costs([], NIGHT, ECHELLE, BA)
    assert costs.slots.shape == (0, NIGHT.n_slot)
    assert costs.why_not == ()
