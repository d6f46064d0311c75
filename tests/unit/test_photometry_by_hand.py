"""Photometric Teff and log g of unreddened stars, worked out by hand from the published relations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from cempstream.processors.photometry import (
    StarPhotometry,
    bolometric_correction_g,
    colour_teff,
    surface_gravity,
)
from tests.support.photometric_star import one, star

#: All that is known of one star on the border of dwarfs and giants, as well as anything can be.
BORDER = {
    **{"g": 14.0, "bp": 14.45, "rp": 13.45, "ebv": 0.0, "parallax_mas": 0.8, "feh": -2.0, "mass": 0.8},
    **dict.fromkeys(("g_error", "bp_error", "rp_error"), 0.0),
    **{"ebv_error": 0.0, "parallax_mas_error": 1e-6, "feh_error": 0.0, "mass_error": 0.0},
}
NEAR, DISTANT = 10.0, 0.05  # parallaxes that make of it a dwarf and a giant beyond doubt


def by_hand(**known: float) -> tuple[float, float, float]:
    """Return Teff, log g and how much of a dwarf a star is, which fit each other."""
    of = BORDER | known
    dwarf, giant = (
        float(colour_teff("BP-RP", one(of["bp"] - of["rp"]), one(of["feh"]), kind)[0])
        for kind in ("dwarf", "giant")
    )

    def gravity(share: float) -> tuple[float, float]:
        teff = share * dwarf + (1 - share) * giant
        seen = (one(teff), one(of["g"]), one(of["parallax_mas"]), one(of["mass"]))
        return teff, float(surface_gravity(*seen)[0])

    share = brentq(lambda s: s - norm.cdf((gravity(s)[1] - 3.25) / 0.3), 0.0, 1.0, xtol=1e-13)
    return *gravity(share), share


def test_the_suns_light_at_its_teff_is_the_suns_gravity() -> None:
    """M_bol = 4.74, of which 0.06 is the correction of G, seen from 10 pc."""
    assert surface_gravity(one(5772.0), one(4.68), one(100.0), one(1.0))[0] == pytest.approx(4.438, abs=1e-9)


def test_gravity_goes_with_mass_distance_light_and_the_fourth_power_of_teff() -> None:
    def logg(teff: float = 5000.0, g0: float = 12.0, parallax: float = 1.0, mass: float = 1.0) -> float:
        return float(surface_gravity(one(teff), one(g0), one(parallax), one(mass))[0])

    assert logg(mass=10.0) - logg() == pytest.approx(1.0)
    assert logg(parallax=10.0) - logg() == pytest.approx(2.0)
    assert logg(g0=17.0) - logg() == pytest.approx(2.0)
    light = bolometric_correction_g(np.array([5000.0, 6000.0]))
    assert logg(teff=6000.0) - logg() == pytest.approx(4 * np.log10(1.2) + 0.4 * (light[1] - light[0]))


@pytest.mark.parametrize(
    ("teff", "coefficients"),
    [
        *((teff, (1.749, 1.977e-3, 3.737e-7, -8.966e-11, -4.183e-14)) for teff in (3300.0, 3999.0)),
        *((teff, (0.06, 6.731e-5, -6.647e-8, 2.859e-11, -7.197e-15)) for teff in (4000.0, 4500.0, 8000.0)),
    ],
)
def test_the_bolometric_correction_is_the_published_polynomial(
    teff: float, coefficients: tuple[float, ...]
) -> None:
    """Andrae et al. 2018, table 4."""
    by_table = sum(c * (teff - 5772.0) ** i for i, c in enumerate(coefficients))
    assert bolometric_correction_g(one(teff))[0] == pytest.approx(by_table, rel=1e-12)


def test_a_colour_is_a_teff_by_the_published_polynomial() -> None:
    """Mucciarelli et al. 2021, table 1: the giants' BP - RP at [Fe/H] = -2."""
    theta = 0.5323 + 0.4775 * 1.2 - 0.0344 * 1.44 - 0.0110 * -2 - 0.0020 * 4 - 0.0009 * -2 * 1.2
    assert colour_teff("BP-RP", one(1.2), one(-2.0), "giant")[0] == pytest.approx(5040 / theta, rel=1e-12)


@pytest.mark.parametrize("parallax_mas", [DISTANT, 0.6, 0.8, 1.0, NEAR])
def test_between_dwarfs_and_giants_teff_and_gravity_fit_each_other(parallax_mas: float) -> None:
    teff, logg, share = by_hand(parallax_mas=parallax_mas)
    found = star(**BORDER | {"parallax_mas": parallax_mas})
    assert (found.teff[0], found.logg[0]) == (pytest.approx(teff, abs=1e-3), pytest.approx(logg, abs=1e-6))
    assert (share < 0.01, share > 0.99) == (parallax_mas == DISTANT, parallax_mas == NEAR)


ERRORS = {
    "g": 0.2,
    "bp": 0.02,
    "rp": 0.03,
    "parallax_mas": 0.08,
    "feh": 0.3,
    "mass": 0.1,
}


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("parallax_mas", [0.5, 0.8, 1.2])
def test_the_error_of_one_input_adds_its_share_of_variance(name: str, parallax_mas: float) -> None:
    known, error = BORDER | {"parallax_mas": parallax_mas}, ERRORS[name]
    sure, unsure = star(**known), star(**known | {f"{name}_error": error})
    up, down = (by_hand(**known | {name: known[name] + sign * error}) for sign in (0.5, -0.5))
    least = 0.003 if name in ("g", "bp", "rp") else 0.0  # is in both: no magnitude is known better
    for i, (with_it, without) in enumerate(
        ((unsure.teff_error, sure.teff_error), (unsure.logg_error, sure.logg_error))
    ):
        expected = (up[i] - down[i]) ** 2 * (1 - (least / error) ** 2)
        assert with_it[0] ** 2 - without[0] ** 2 == pytest.approx(expected, rel=0.01, abs=1e-9)


@pytest.mark.parametrize("parallax_mas", [DISTANT, 0.6, 0.8, 1.0, NEAR])
def test_without_an_inputs_error_the_relations_scatter_is_left(parallax_mas: float) -> None:
    known = BORDER | {"parallax_mas": parallax_mas}
    teff, _, share = by_hand(**known)
    found = star(**known)
    dwarf, giant = (colour_teff("BP-RP", one(1.0), one(-2.0), kind)[0] for kind in ("dwarf", "giant"))
    scatter = share * 61.0**2 + (1 - share) * 83.0**2 + share * (1 - share) * (dwarf - giant) ** 2
    colours = [by_hand(**known | {"bp": known["bp"] + d})[0] for d in (0.0015, -0.0015)]
    both = 2 * (colours[0] - colours[1]) ** 2  # BP and RP of 0.003 mag
    assert found.teff_error[0] == pytest.approx(np.sqrt(scatter + both), rel=1e-4)
    lights = bolometric_correction_g(np.array([teff + np.sqrt(scatter), teff]))
    by_teff = 4 * np.log10(1 + np.sqrt(scatter) / teff) + 0.4 * (lights[0] - lights[1])
    of_colours = [by_hand(**known | {"bp": known["bp"] + d})[1] for d in (0.0015, -0.0015)]
    of_g = 0.4 * 0.003
    expected = by_teff**2 + (0.4 * 0.05) ** 2 + 2 * (of_colours[0] - of_colours[1]) ** 2 + of_g**2
    assert found.logg_error[0] == pytest.approx(np.sqrt(expected), rel=1e-3)


@pytest.mark.parametrize(("kind", "wide", "narrow"), [("dwarf", 61.0, 44.0), ("giant", 83.0, 49.0)])
def test_two_colours_count_by_their_scatters(kind: Any, wide: float, narrow: float) -> None:
    known = BORDER | {"parallax_mas": NEAR if kind == "dwarf" else DISTANT}
    share = wide**2 / (wide**2 + narrow**2)
    by_rp = colour_teff("BP-RP", one(1.0), one(-2.0), kind)[0]
    ks = known["bp"] - 2.1
    by_ks = colour_teff("BP-Ks", one(2.1), one(-2.0), kind)[0]
    found = star(**known, ks=ks, ks_error=0.0)
    assert found.teff[0] == pytest.approx(share * by_ks + (1 - share) * by_rp, abs=0.1)
    scatter = share * narrow + (1 - share) * wide
    assert scatter < found.teff_error[0] < 1.02 * scatter  # 0.003 mag are a little more


def test_without_a_parallax_it_is_half_a_dwarf_and_half_a_giant() -> None:
    known = {name: value for name, value in BORDER.items() if not name.startswith("parallax")}
    dwarf, giant = (colour_teff("BP-RP", one(1.0), one(-2.0), kind)[0] for kind in ("dwarf", "giant"))
    found = star(**known)
    assert found.teff[0] == pytest.approx((dwarf + giant) / 2, rel=1e-9)
    scatter = np.sqrt((61.0**2 + 83.0**2) / 2 + (dwarf - giant) ** 2 / 4)
    assert scatter < found.teff_error[0] < 1.02 * scatter


@pytest.mark.parametrize("parallax_mas", [-0.5, 0.0, 0.15])
@pytest.mark.parametrize("error", [0.2, 0.3])
def test_a_distance_of_two_sigma_less_says_how_much_of_a_dwarf_it_can_be(
    parallax_mas: float, error: float
) -> None:
    found = star(**BORDER | {"parallax_mas": parallax_mas, "parallax_mas_error": error})
    teff, _, share = by_hand(parallax_mas=max(parallax_mas, 0.0) + 2 * error)
    assert found.no_logg == ("no_parallax",)
    if share < 0.5:
        assert found.teff[0] == pytest.approx(teff, abs=1e-3)
    else:
        undecided = star(**BORDER | {"parallax_mas": np.nan, "parallax_mas_error": np.nan})
        assert found.teff[0] == pytest.approx(undecided.teff[0], abs=1e-3)


@pytest.mark.parametrize(("snr", "reason"), [(4.9, "no_parallax"), (5.0, ""), (5.1, "")])
def test_five_sigma_are_a_distance(snr: float, reason: str) -> None:
    found = star(**BORDER | {"parallax_mas": 1.0, "parallax_mas_error": 1.0 / snr})
    assert found.no_teff == ("",)
    assert found.no_logg == (reason,)
    assert np.isfinite([found.logg[0], found.logg_error[0]]).all() == (reason == "")


@pytest.mark.parametrize(
    ("left_out", "assumed"),
    [
        (("feh", "feh_error"), {"feh": -1.0, "feh_error": 1.0}),
        (("feh_error",), {"feh_error": 0.3}),
        (("feh",), {"feh": -1.0, "feh_error": 1.0}),
        (("mass", "mass_error"), {"mass": 0.9, "mass_error": 0.2}),
        (("mass_error",), {"mass_error": 0.1}),
        (("mass",), {"mass": 0.9, "mass_error": 0.2}),
        (("g_error",), {"g_error": 0.01}),
        (("bp_error",), {"bp_error": 0.01}),
        (("rp_error",), {"rp_error": 0.01}),
        (("ks_error",), {"ks_error": 0.01}),
        (("ebv_error",), {"ebv_error": 0.03}),
    ],
)
def test_what_is_not_known_is_assumed(left_out: tuple[str, ...], assumed: dict[str, float]) -> None:
    known = BORDER | {"ks": 12.4, "ebv": 0.2} | dict.fromkeys(("g_error", "bp_error", "rp_error"), 0.02)
    known["ks_error"] = 0.02
    known["feh_error"], known["mass_error"] = 0.05, 0.05
    found = star(**{name: value for name, value in known.items() if name not in left_out})
    told = star(**known | assumed)
    for name in ("teff", "teff_error", "logg", "logg_error"):
        assert getattr(found, name)[0] == pytest.approx(getattr(told, name)[0], rel=1e-12)
    other = star(**known)
    assert (found.teff_error[0], found.logg_error[0]) != (other.teff_error[0], other.logg_error[0])


def test_no_magnitude_is_better_than_three_thousandths() -> None:
    for band in ("g", "bp", "rp"):
        at, below, above = (
            star(**BORDER | {f"{band}_error": error}).logg_error[0] for error in (0.003, 0.0, 0.004)
        )
        assert below == at < above


def test_a_mass_that_could_be_any_is_moved_by_less_than_a_third() -> None:
    wide, narrow = (star(**BORDER | {"mass_error": error}) for error in (2.0, 0.3 * BORDER["mass"]))
    assert wide.logg_error[0] == pytest.approx(narrow.logg_error[0], rel=1e-12)


@pytest.mark.parametrize(("feh", "used", "other"), [(-6.0, -4.0, -3.9), (1.0, 0.5, 0.4)])
def test_beyond_the_relations_metallicities_the_last_one_counts(
    feh: float, used: float, other: float
) -> None:
    beyond, at, within = (star(**BORDER | {"feh": value}).teff[0] for value in (feh, used, other))
    assert beyond == at != within


@pytest.mark.parametrize(
    ("parallax_mas", "low", "high"),
    [(NEAR, 0.39, 1.50), (DISTANT, 0.33, 1.81), (np.nan, 0.39, 1.50)],
    ids=["dwarf", "giant", "unknown"],
)
def test_colours_of_the_relations_stars_have_a_teff_and_no_others(
    parallax_mas: float, low: float, high: float
) -> None:
    for colour, reason in (
        (low - 0.01, "outside_range"),
        (low + 0.01, ""),
        (high - 0.01, ""),
        (high + 0.01, "outside_range"),
    ):
        found = star(**BORDER | {"bp": BORDER["rp"] + colour, "parallax_mas": parallax_mas})
        assert found.no_teff == (reason,)
        assert np.isfinite([found.teff[0], found.teff_error[0]]).all() == (reason == "")


@pytest.mark.parametrize(("ebv", "reason"), [(-0.09, ""), (-0.11, "no_reddening")])
def test_a_reddening_may_be_below_zero_by_its_noise(ebv: float, reason: str) -> None:
    assert star(**BORDER | {"ebv": ebv}).no_teff == (reason,)


@pytest.mark.parametrize("gone", ["bp", "rp"])
def test_half_a_colour_is_none(gone: str) -> None:
    found = star(**{name: value for name, value in BORDER.items() if name != gone})
    assert found.no_teff == found.no_logg == ("no_colour",)


def test_a_name_that_is_not_known_is_refused() -> None:
    with pytest.raises(TypeError, match="distance, radius: not known here; there are g, bp, rp, ks"):
        StarPhotometry.of(1, radius=one(1.0), distance=one(10.0))
