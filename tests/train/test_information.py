"""The bound on what a spectrum can tell, where it is known by hand."""

import numpy as np
import pytest

from cempstream.models.emulator.emulator import Emulator
from cempstream.models.emulator.labels import LABEL_NAMES
from cempstream.models.evaluation.information import Sight, derivatives, standard_errors
from cempstream.processors.grid import Array, LogGrid

pytestmark = [pytest.mark.train, pytest.mark.timeout(300)]

SIGHT = Sight(LogGrid(3.6, 1e-4, 2000), 1800.0, 150.0)
FEH, OFE = LABEL_NAMES.index("feh"), LABEL_NAMES.index("ofe")

#: A giant whose oxygen goes with its α elements, and one with carbon of which oxygen may have more.
LABELS = np.array(
    [
        [4800.0, 1.8, -2.5, 0.0, 0.1, 0.4, 0.4, 0.0, 0.0, 5.0, 1.7],
        [5000.0, 2.2, -2.5, 1.8, 0.8, 0.6, 0.4, 1.0, 0.5, 20.0, 1.6],
    ]
)


def least_error(slope: Array, snr: float, prior_sigma: float = 1.0) -> float:
    """Return the least error of one label that changes a flat spectrum so."""
    norm = np.ones((1, slope.size))
    change = slope[None, :, None]
    return float(standard_errors(norm, change, SIGHT, snr, np.array([[prior_sigma**2]]))[0, 0])


def test_what_no_continuum_imitates_is_known_as_well_as_the_noise_lets_it() -> None:
    zigzag = 0.1 * (-1.0) ** np.arange(SIGHT.grid.n_pix)
    snr = 20.0
    sigma = 1.0 / (snr * np.sqrt(np.gradient(SIGHT.grid.wave)))
    expected = 1.0 / np.sqrt((zigzag**2 / sigma**2).sum() + 1.0)
    assert least_error(zigzag, snr) == pytest.approx(expected, rel=1e-3)


def test_what_the_continuum_imitates_is_known_no_better_than_before() -> None:
    tilt = np.linspace(-0.1, 0.1, SIGHT.grid.n_pix)
    assert least_error(tilt, 1000.0, prior_sigma=0.3) == pytest.approx(0.3, rel=0.01)


def test_a_narrow_prior_tells_more_than_a_wide_one() -> None:
    zigzag = 0.001 * (-1.0) ** np.arange(SIGHT.grid.n_pix)
    assert least_error(zigzag, 10.0, prior_sigma=0.1) < 0.1 < least_error(zigzag, 10.0, prior_sigma=10.0)


def test_derivatives_predict_a_small_change_and_labels_that_others_hold_have_none() -> None:
    emulator = Emulator.load()
    norm, change = derivatives(emulator, LABELS, SIGHT)
    assert norm.shape == (2, SIGHT.grid.n_pix)
    assert change.shape == (2, SIGHT.grid.n_pix, len(LABEL_NAMES))
    moved = LABELS.copy()
    moved[:, FEH] += 0.02
    after = emulator.at(SIGHT.resolving_power, SIGHT.grid)(moved).norm
    difference = after - norm
    np.testing.assert_allclose(0.02 * change[:, :, FEH], difference, atol=0.1 * abs(difference).max())
    assert (change[0, :, OFE] == 0).all()
    assert abs(change[1, :, OFE]).max() > 0
