"""Whether a spectrum is one star's: a neighbour's light where carbon shows, and what imaging says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cempstream.processors.classify import ClassScores
from cempstream.processors.confusion import is_extended, neighbours_light
from cempstream.processors.decide import Policy
from cempstream.processors.grid import Array, LinearGrid, air_to_vacuum
from cempstream.processors.outcome import PARAMETERS
from cempstream.processors.regress import ParameterEstimates
from cempstream.processors.spectrum import Medium, Spectrum
from tests.support.fakes import make_spectrum

NAN = float("nan")
GV = LinearGrid(3810.0, 5.25, 530)


def seen(share: Array | None, *, medium: Medium = "air", grid: LinearGrid = GV) -> Spectrum:
    return replace(
        make_spectrum("s"),
        grid=grid,
        flux=np.ones(grid.n_pix, dtype=np.float32),
        ivar=np.ones(grid.n_pix, dtype=np.float32),
        mask=None,
        contamination=None if share is None else share.astype(np.float32),
        medium=medium,
    )


def light_at(low: float, high: float, share: float) -> Array:
    return np.where((GV.wave >= low) & (GV.wave < high), share, 0.0)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (4200.0, 4400.0, 0.3),  # all of CH G
        (4300.0, 4400.0, 0.15),  # half of it
        (4500.0, 4540.0, 0.0),  # where no carbon shows
        (4650.0, 4750.0, 0.3),  # C2 4737
    ],
)
def test_what_counts_is_the_carbon_band_with_most_of_it(low: float, high: float, expected: float) -> None:
    assert neighbours_light(seen(light_at(low, high, 0.3))) == pytest.approx(expected, abs=0.01)


def test_bands_are_found_in_vacuum_too() -> None:
    low, high = air_to_vacuum(np.array([4200.0, 4400.0]))
    inside = (GV.wave >= low) & (GV.wave < high)
    assert neighbours_light(seen(np.where(inside, 0.3, 0.0), medium="vacuum")) == pytest.approx(0.3)


def test_without_a_carbon_band_all_pixels_count() -> None:
    red = LinearGrid(8100.0, 8.25, 100)
    assert neighbours_light(seen(np.full(100, 0.2), grid=red)) == pytest.approx(0.2)


def test_what_is_not_stated_is_none_and_what_is_no_number_is_all() -> None:
    assert neighbours_light(seen(None)) == 0.0
    assert neighbours_light(seen(np.full(GV.n_pix, NAN))) == 1.0
    assert neighbours_light(seen(light_at(4200.0, 4400.0, NAN))) == 1.0


@pytest.mark.parametrize(
    ("stellarity", "extended"), [(None, False), (0.9, False), (0.5, False), (0.49, True)]
)
def test_imaging_decides_where_it_says_anything(stellarity: float | None, extended: bool) -> None:
    assert is_extended(replace(make_spectrum("s"), stellarity=stellarity), 0.5) is extended


def test_a_confused_source_is_no_candidate_whatever_its_probability() -> None:
    policy = Policy("1", 3e-4, 0.5, max_contamination=0.05, least_stellarity=0.5)
    spectra = [
        seen(None),
        seen(light_at(4200.0, 4400.0, 0.3)),
        replace(seen(None), stellarity=0.1),
        seen(light_at(4200.0, 4400.0, 0.04)),
    ]
    mixed, extended = policy.confusions(spectra)
    assert mixed.tolist() == [False, True, False, False]
    assert extended.tolist() == [False, False, True, False]
    n = len(spectra)
    ones = np.full((n, len(PARAMETERS)), -2.0)
    scores = ClassScores(
        np.full(n, 0.9), np.full(n, 0.9), np.full((n, 4), 0.25), np.zeros(n), np.ones((n, 8))
    )
    decisions = policy.decide(
        scores, ParameterEstimates(ones, ones, ones, np.zeros(n)), [None] * n, confused=mixed | extended
    )
    assert [d.is_candidate for d in decisions] == [True, False, False, True]
    assert len({d.priority for d in decisions}) == 1


def test_by_default_a_policy_asks_nothing_of_either() -> None:
    mixed, extended = Policy("1", 3e-4, 0.5).confusions(
        [seen(np.ones(GV.n_pix)), replace(seen(None), stellarity=0.0)]
    )
    assert not mixed.any()
    assert not extended.any()
