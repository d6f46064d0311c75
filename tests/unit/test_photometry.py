"""Photometric Teff and log g: known stars, an independent calibration, limits, errors by Monte Carlo."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cempstream.processors.photometry import (
    FEH,
    FEH_ERROR,
    MASS,
    MASS_ERROR,
    StarPhotometry,
    bolometric_correction_g,
    colour_teff,
    photometric_parameters,
    surface_gravity,
)
from tests.support.photometric_star import one, star

#: Dereddened colour, log g, [Fe/H] and Teff by Casagrande et al. (2021, MNRAS 507, 2684) for Gaia DR3.
CASAGRANDE = {
    "BP-RP": (
        7980.8845, -4138.3457, 1264.9366, -130.4388, 0.0, 285.8393, -324.2196, 106.8511, -4.9825, 0.0, 4.5138,
        -203.7774, 126.6981, -14.7442, 40.7376,
    ),
    "BP-Ks": (
        8265.6045, -2124.5574, 355.5051, -23.1719, 0.0, 209.9927, -161.4505, 50.5904, -6.3337, 0.0, -27.2653,
        -160.3595, 67.9016, -6.5232, 16.5137,
    ),
    "RP-Ks": (
        8910.6966, -4305.9927, 1051.8759, 0.0, -8.6045, 0.0, -76.7984, 55.5861, 0.0, -3.9681, 0.0, 35.4718,
        0.0, 0.0, -16.4448,
    ),
    "G-Ks": (
        8031.7804, -1815.3523, 0.0, 70.7201, -1.7309, 252.9647, -342.0817, 161.3031, -26.7714, 0.0, -120.1133,
        42.6723, 0.0, 0.0, 10.0433,
    ),
    "G-RP": (
        8027.1190, -5796.4277, 0.0, 1747.7036, -308.7685, 248.1828, -323.9569, -120.2658, 225.9584, 0.0,
        -35.8856, -16.5715, 0.0, 0.0, 48.5619,
    ),
}  # fmt: skip


def casagrande(name: str, c: float, logg: float, feh: float) -> float:
    terms = (
        1, c, c**2, c**3, c**5, logg, logg * c, logg * c**2, logg * c**3, logg * c**5, feh, feh * c,
        feh * c**2, feh * c**3, feh * logg * c,
    )  # fmt: skip
    return float(np.dot(CASAGRANDE[name], terms))


@pytest.mark.parametrize("name", CASAGRANDE)
@pytest.mark.parametrize(("kind", "logg"), [("dwarf", 4.3), ("giant", 2.0)])
@pytest.mark.parametrize("feh", [-2.0, -1.0, 0.0])
@pytest.mark.parametrize("teff", [4700.0, 5500.0])
def test_an_independent_calibration_agrees(
    name: str, kind: str, logg: float, feh: float, teff: float
) -> None:
    colours = np.arange(0.2, 4.0, 1e-3)
    values = np.array([casagrande(name, c, logg, feh) for c in colours])
    colour = float(colours[np.flatnonzero(values <= teff)[0]])
    assert colour_teff(name, one(colour), one(feh), kind)[0] == pytest.approx(teff, abs=180.0)  # type: ignore[arg-type]


def test_the_sun() -> None:
    # Casagrande & VandenBerg 2018: (BP-RP) = 0.82; M_G = 4.67. 5684 K: what this relation says of it.
    found = star(
        g=4.67,
        bp=4.98,
        rp=4.16,
        ebv=0.0,
        parallax_mas=100.0,
        parallax_mas_error=0.1,
        feh=0.0,
        feh_error=0.05,
        mass=1.0,
    )
    assert found.teff[0] == pytest.approx(5684.0, abs=5.0)
    assert abs(found.teff[0] - 5772.0) < 2 * found.teff_error[0]
    assert found.logg[0] == pytest.approx(4.438, abs=0.05)


def test_the_gravity_of_a_metal_poor_giant_of_known_teff() -> None:
    # HD 122563: Gaia DR3 G and parallax; interferometric Teff 4642 K and log g 1.32 (Karovicova et al. 2020).
    logg = surface_gravity(one(4642.0), one(5.875), one(3.0991), one(0.8))
    assert logg[0] == pytest.approx(1.32, abs=0.1)


def test_the_bolometric_correction_has_its_published_limits() -> None:
    assert bolometric_correction_g(one(5772.0))[0] == pytest.approx(0.06)
    edge = bolometric_correction_g(np.array([3999.0, 4001.0]))
    assert abs(edge[1] - edge[0]) < 0.05
    assert np.isnan(bolometric_correction_g(np.array([3200.0, 8100.0]))).all()


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        ({}, "no_colour"),
        ({"bp": 15.2, "ebv": 0.0}, "no_colour"),
        ({"bp": 15.2, "rp": 14.2}, "no_reddening"),
        ({"bp": 15.2, "rp": 12.2, "ebv": 0.0}, "outside_range"),
        ({"bp": 15.2, "rp": 15.1, "ebv": 0.0}, "outside_range"),
    ],
)
def test_without_what_is_needed_there_is_no_teff_and_a_reason(known: dict[str, float], reason: str) -> None:
    found = star(**known)
    assert np.isnan([found.teff[0], found.teff_error[0], found.logg[0], found.logg_error[0]]).all()
    assert found.no_teff == found.no_logg == (reason,)


def test_a_parallax_of_few_sigma_gives_no_gravity_but_tells_a_giant() -> None:
    known = {"g": 14.8, "bp": 15.2, "rp": 14.2, "ebv": 0.02, "feh": -2.5, "feh_error": 0.2}
    none, far, near = (
        star(**known, **more)
        for more in (
            {},
            {"parallax_mas": 0.03, "parallax_mas_error": 0.03},
            {"parallax_mas": 0.1, "parallax_mas_error": 0.002},
        )
    )
    assert none.no_logg == far.no_logg == ("no_parallax",)
    assert far.teff[0] == pytest.approx(near.teff[0], abs=10.0)
    assert near.logg[0] < 2.5


def test_reddening_makes_the_star_hotter_and_its_error_counts() -> None:
    known = {"g": 14.8, "bp": 15.2, "rp": 14.2, "parallax_mas": 0.1, "parallax_mas_error": 0.002}
    blue, red = star(**known, ebv=0.0, ebv_error=0.0), star(**known, ebv=0.1, ebv_error=0.1)
    assert 150 < red.teff[0] - blue.teff[0] < 400
    assert red.teff_error[0] > blue.teff_error[0] + 50


@pytest.mark.parametrize("ebv", [0.1, 0.4])
def test_a_star_behind_dust_of_known_amount_is_the_star_without_it(ebv: float) -> None:
    """By the published coefficients: Babusiaux et al. 2018; A_Ks = 0.306 E(B-V), Yuan et al. 2013."""
    bare = {"g": 12.0, "bp": 12.5, "rp": 11.4, "ks": 9.8}
    a0, colour = 3.1 * ebv, 1.1

    def extinction(c1: float, c2: float, c3: float, c4: float, c5: float, c6: float, c7: float) -> float:
        ratio = c1 + c2 * colour + c3 * colour**2 + c4 * colour**3 + c5 * a0 + c6 * a0**2 + c7 * colour * a0
        return ratio * a0

    dust = {
        "g": extinction(0.9761, -0.1704, 0.0086, 0.0011, -0.0438, 0.0013, 0.0099),
        "bp": extinction(1.1517, -0.0871, -0.0333, 0.0173, -0.0230, 0.0006, 0.0043),
        "rp": extinction(0.6104, -0.0170, -0.0026, -0.0017, -0.0078, 0.00005, 0.0006),
        "ks": 0.306 * ebv,
    }
    behind = {band: bare[band] + dust[band] for band in bare}
    known = {
        "parallax_mas": 1.0,
        "parallax_mas_error": 0.02,
        "feh": -1.5,
        "feh_error": 0.1,
        "ebv_error": 0.01,
    }
    without, found = star(**bare, ebv=0.0, **known), star(**behind, ebv=ebv, **known)
    assert found.teff[0] == pytest.approx(without.teff[0], abs=1.0)
    assert found.logg[0] == pytest.approx(without.logg[0], abs=0.002)


def test_a_gravity_without_any_inputs_error_is_as_good_as_its_teff() -> None:
    """It goes with Teff⁴: 2 % are 0.03 dex, and the bolometric correction adds a little."""
    known = {"g": 12.0, "bp": 12.45, "rp": 11.4, "ebv": 0.0, "parallax_mas": 2.0, "feh": FEH, "mass": MASS}
    sure = star(**known, **{f"{name}_error": 0.0 for name in known})
    of_teff = 4 / np.log(10) * sure.teff_error[0] / sure.teff[0]
    assert of_teff < sure.logg_error[0] < 2 * of_teff


@settings(max_examples=30, deadline=None)
@given(
    colour=st.floats(0.65, 1.25),
    ebv=st.floats(0.0, 0.3),
    absolute=st.sampled_from([-1.0, 5.0]),
    error=st.floats(0.005, 0.03),
    parallax_snr=st.floats(15.0, 100.0),
    has_ks=st.booleans(),
)
def test_errors_are_those_of_a_monte_carlo(
    colour: float, ebv: float, absolute: float, error: float, parallax_snr: float, has_ks: bool
) -> None:
    rng, n = np.random.default_rng(4), 20_000
    parallax, g = 2.0, absolute - 5.0 * np.log10(2.0) + 10.0
    values = {"g": g, "bp": g + 0.45 * colour, "rp": g - 0.55 * colour, "ebv": ebv, "parallax_mas": parallax}
    errors = {"g": error, "bp": error, "rp": error, "ebv": 0.02, "parallax_mas": parallax / parallax_snr}
    if has_ks:
        values["ks"], errors["ks"] = g - 1.55 * colour - 0.2, 0.03
    told = star(**values, **{f"{name}_error": e for name, e in errors.items()})
    if told.no_logg != ("",):
        return
    values |= {"feh": FEH, "mass": MASS}
    errors |= {"feh": FEH_ERROR, "mass": MASS_ERROR}
    drawn = {name: value + errors[name] * rng.standard_normal(n) for name, value in values.items()}
    drawn["mass"] = np.maximum(drawn["mass"], 0.3)
    sure = {f"{name}_error": np.zeros(n) for name in values}
    many = photometric_parameters(StarPhotometry.of(n, **drawn, **sure))
    kept = np.isfinite(many.logg)
    if kept.mean() < 0.98:  # at the edge of the relations
        return
    still = star(**values, **{name: 0.0 for name in sure})  # what is uncertain without any input's error
    for name in ("teff", "logg"):
        spread = np.hypot(getattr(many, name)[kept].std(), getattr(still, f"{name}_error")[0])
        assert getattr(told, f"{name}_error")[0] == pytest.approx(spread, rel=0.2)
