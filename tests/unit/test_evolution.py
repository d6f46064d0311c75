"""Carbon corrections reproduce the published list and behave at its edges."""

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest

from cempstream.models.carbon_evolution import carbon_correction


def test_reproduces_the_list_of_placco_2014_to_two_hundredths_of_a_dex(shared_data: Path) -> None:
    with gzip.open(shared_data / "tables" / "placco2014_labels.csv.gz", "rt", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["log(g)"] and r["Del[C/Fe]"] and r["CFe"]]
    logg, feh, cfe, published = (
        np.array([float(row[name]) for row in rows]) for name in ("log(g)", "FeH", "CFe", "Del[C/Fe]")
    )
    error = carbon_correction(logg, feh, cfe) - published
    giants = logg < 2
    assert giants.sum() > 150
    assert np.abs(error).mean() < 0.02
    assert np.abs(error[giants]).mean() < 0.03
    assert abs(error[giants].mean()) < 0.02


def test_dwarfs_need_no_correction() -> None:
    assert np.all(carbon_correction(np.array([3.5, 4.0, 5.0]), -2.5, 0.7) == 0.0)


def test_a_giant_lost_more_carbon_the_higher_it_climbed_and_the_less_it_had() -> None:
    by_gravity = carbon_correction(np.array([0.5, 1.2, 1.6, 2.2]), -2.5, 0.0)
    by_carbon = carbon_correction(1.2, -2.5, np.array([-0.5, 0.0, 1.0, 2.0]))
    assert np.all(np.diff(by_gravity) < 0)
    assert np.all(np.diff(by_carbon) <= 0)
    assert by_gravity[0] == pytest.approx(0.7, abs=0.1)


def test_beyond_the_table_its_edge_holds_and_nan_stays_nan() -> None:
    edge = carbon_correction(0.0, -4.5, -1.0)
    assert carbon_correction(-1.0, -6.0, -3.0) == pytest.approx(edge)
    assert np.isnan(carbon_correction(np.nan, -2.0, 0.5))
