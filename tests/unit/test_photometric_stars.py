"""Photometry of spectra beside their spectroscopic parameters."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from cempstream.processors.decide import Policy
from cempstream.processors.outcome import PARAMETERS, Estimate, PhotometricEstimate
from cempstream.processors.photometric_stars import photometric_estimates, photometry_disagrees
from cempstream.processors.photometry import StarPhotometry, photometric_parameters
from cempstream.processors.spectrum import Spectrum
from cempstream.streams.scoring.result_table import table_row
from tests.support.fakes import classification, make_spectrum

COLOURS = {"G": (14.8, 0.003), "BP": (15.2, 0.004), "RP": (14.2, 0.004)}
NAN = float("nan")
POLICY = Policy("1", prior=3e-4, threshold=0.5)


def with_colours(**more: object) -> Spectrum:
    return replace(make_spectrum("s"), photometry=COLOURS, ebv=0.02, ebv_error=0.01, **more)  # type: ignore[arg-type]


def test_magnitudes_reddening_and_parallax_give_what_the_relations_give() -> None:
    bare, star = make_spectrum("a"), with_colours(parallax_mas=0.1, parallax_error_mas=0.005)
    nothing, found = photometric_estimates([bare, star])
    known = {"g": 14.8, "bp": 15.2, "rp": 14.2, "g_error": 0.003, "bp_error": 0.004, "rp_error": 0.004}
    known |= {"ebv": 0.02, "ebv_error": 0.01, "parallax_mas": 0.1, "parallax_mas_error": 0.005}
    expected = photometric_parameters(StarPhotometry.of(1, **{k: np.array([v]) for k, v in known.items()}))
    assert nothing is None
    assert found == PhotometricEstimate(
        *(float(getattr(expected, name)[0]) for name in ("teff", "teff_error", "logg", "logg_error"))
    )


def test_what_the_survey_says_stands_and_needs_an_error() -> None:
    given = with_colours(teff_phot=5000.0, teff_phot_error=80.0)
    (found,) = photometric_estimates([given])
    assert found is not None
    assert (found.teff, found.teff_error) == (5000.0, 80.0)
    assert math.isnan(found.logg)
    for error in (None, NAN, 0.0, -1.0):
        alone = replace(make_spectrum("s"), logg_phot=1.5, logg_phot_error=error)
        assert photometric_estimates([alone]) == [None]


@pytest.mark.parametrize(
    "facts",
    [{"ebv": NAN}, {"ebv": -5.0}, {"photometry": {"BP": (NAN, NAN), "RP": (14.0, 0.1)}}, {"ebv": 1e300}],
)
def test_photometry_that_cannot_be_costs_the_photometry_alone(facts: dict[str, object]) -> None:
    assert photometric_estimates([replace(with_colours(), **facts)]) == [None]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("teff", "logg", "disagrees"),
    [
        (4800.0, 1.5, False),
        (5160.0, 1.5, True),  # 2 * 80 + 2 * 100 = 360 K are allowed
        (5159.0, 1.5, False),
        (4439.0, 1.5, True),
        (4800.0, 3.1, True),
        (NAN, 3.1, True),
        (4800.0, NAN, False),
    ],
)
def test_beyond_twice_both_intervals_they_disagree(teff: float, logg: float, disagrees: bool) -> None:
    parameters = dict.fromkeys(PARAMETERS, Estimate(NAN, NAN, NAN))
    parameters |= {"teff": Estimate(4800.0, 4720.0, 4880.0), "logg": Estimate(1.5, 1.1, 1.9)}
    estimate = PhotometricEstimate(teff + 0.5 * (teff == 5160.0), 100.0, logg, 0.3)
    assert photometry_disagrees(estimate, parameters) is disagrees
    assert photometry_disagrees(None, parameters) is False


def test_the_table_has_both() -> None:
    star = make_spectrum("s")
    outcome = replace(
        classification(star, 0.9, POLICY), photometric=PhotometricEstimate(4810.0, 90.0, NAN, NAN)
    )
    row = table_row(None, star, outcome)
    assert (row["teff_phot"], row["teff_phot_error"]) == (4810.0, 90.0)
    assert row["logg_phot"] is row["logg_phot_error"] is None
    assert row["phot_used"] is False
    assert table_row(None, star, classification(star, 0.9, POLICY))["teff_phot"] is None
