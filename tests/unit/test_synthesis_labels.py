"""Which stars a library has: the Sobol mapping, the strata, the plan; and their abundances."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cempstream.models.emulator.labels import LABEL_NAMES
from cempstream.models.synthesis.abundances import number_fractions
from cempstream.models.synthesis.grid_run import CHUNK_SIZE, plan_chunks
from cempstream.models.synthesis.grid_spectrum import LIBRARY_CONTINUUM_WAVE, LIBRARY_WAVE
from cempstream.models.synthesis.grid_stars import EVERYTHING, STRATA, Star, sobol_labels

TEFF, LOGG, FEH, CFE = (LABEL_NAMES.index(name) for name in ("teff", "logg", "feh", "cfe"))

SUN = Star(5777.0, 4.44, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 89.0, 1.1)


def test_the_sequence_is_the_shared_library_s(shared_data: Path) -> None:
    with np.load(shared_data / "synthetic" / "library.npz") as library:
        labels = sobol_labels(STRATA[EVERYTHING], 7, library["index"])
        assert len(labels) >= 808
        for column, name in enumerate(LABEL_NAMES):
            if name == "ofe":  # computed in another order there: a last digit in every tenth star
                np.testing.assert_allclose(labels[:, column], library[name], rtol=0.0, atol=2.3e-16)
            else:
                np.testing.assert_array_equal(labels[:, column], library[name])
        np.testing.assert_allclose(LIBRARY_WAVE, library["wave"], rtol=1e-10)
        np.testing.assert_array_equal(LIBRARY_CONTINUUM_WAVE, library["cont_wave"])


def test_a_star_does_not_depend_on_what_else_is_asked_for() -> None:
    alone = sobol_labels(STRATA["cemp"], 7, np.array([3]))
    among = sobol_labels(STRATA["cemp"], 7, np.array([0, 9000, 3]))
    np.testing.assert_array_equal(alone[0], among[2])


@pytest.mark.parametrize("name", list(STRATA))
def test_strata_keep_to_their_part(name: str) -> None:
    stratum = STRATA[name]
    labels = sobol_labels(stratum, 7, np.arange(512))
    for column, (low, high) in ((TEFF, stratum.teff_k), (FEH, stratum.feh), (CFE, stratum.cfe)):
        assert labels[:, column].min() >= low
        assert labels[:, column].max() <= high
        reached = (labels[:, column].max() - labels[:, column].min()) / (high - low)
        assert reached > (0.85 if column == CFE else 0.97)
    assert (labels[:, LOGG] <= stratum.logg[1]).all()
    assert (labels[:, CFE] <= 0.6 - labels[:, FEH] + 1e-12).all()


def test_strata_share_no_stars() -> None:
    points = [sobol_labels(stratum, 7, np.arange(64))[:, -1] for stratum in STRATA.values()]
    assert len(np.unique(np.concatenate(points))) == 64 * len(STRATA)


def test_solar_labels_give_solar_abundances() -> None:
    fractions = number_fractions(SUN)
    log_eps = np.log10(fractions) + 12.0
    assert fractions.shape == (99,)
    np.testing.assert_allclose(log_eps[[0, 1, 5, 7, 25, 55]], [12.0, 10.93, 8.43, 8.69, 7.50, 2.18])
    assert log_eps[92 - 1] == pytest.approx(-9.99)  # the photosphere gives no uranium


def test_labels_shift_their_elements() -> None:
    star = Star(4800.0, 1.6, -2.0, 1.5, 1.0, 0.5, 0.4, 1.0, 0.3, 5.0, 1.8)
    shift = np.log10(number_fractions(star) / number_fractions(SUN))
    expected = {1: 0.0, 2: 0.0, 6: -0.5, 7: -1.0, 8: -1.5, 11: -2.0, 12: -1.6, 26: -2.0, 38: -1.3, 56: -1.0}
    expected |= {61 + 2: -1.7, 82: -1.0}
    for z, due in expected.items():
        assert shift[z - 1] == pytest.approx(due, abs=1e-12), z


def test_a_plan_has_every_star_once_and_mixes_the_strata() -> None:
    chunks = plan_chunks({EVERYTHING: 100, "cemp": 50})
    stars = [(chunk.stratum, index) for chunk in chunks for index in chunk.indices]
    assert sorted(stars) == [("cemp", i) for i in range(50)] + [(EVERYTHING, i) for i in range(100)]
    assert all(len(chunk.indices) <= CHUNK_SIZE for chunk in chunks)
    first_half = [name for name, _ in stars[:75]]
    assert 20 <= first_half.count("cemp") <= 30


def test_given_stars_come_last() -> None:
    chunks = plan_chunks({EVERYTHING: 24, "cemp": 16}, taken=frozenset(range(16)))
    assert [(chunk.stratum, chunk.indices) for chunk in chunks] == [
        ("cemp", tuple(range(8))),
        (EVERYTHING, tuple(range(16, 24))),
        ("cemp", tuple(range(8, 16))),
        (EVERYTHING, tuple(range(8))),
        (EVERYTHING, tuple(range(8, 16))),
    ]


def test_an_unknown_stratum_is_named() -> None:
    with pytest.raises(ValueError, match="no stratum 'halo'; there are sobol, cemp"):
        plan_chunks({"halo": 10})
