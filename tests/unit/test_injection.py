"""Carbon put into a star gives the star that has that carbon; a slit without errors has them estimated."""

from datetime import UTC, datetime

import numpy as np
import pytest

from cempstream.models.emulator.emulator import Emulator
from cempstream.models.emulator.labels import LABEL_NAMES, move_into_range
from cempstream.models.evaluation.injection import StellarLabels, with_carbon
from cempstream.models.evaluation.slit import as_blue_slit
from cempstream.processors.grid import LogGrid
from cempstream.processors.spectrum import Flag, Spectrum

GRID = LogGrid(3.57, 1e-4, 3000)
GIANT = StellarLabels(teff=4900.0, logg=2.0, feh=-2.3)


@pytest.fixture(scope="module")
def emulator() -> Emulator:
    return Emulator.load()


def _star(emulator: Emulator, cfe: float, others: dict[str, float]) -> Spectrum:
    values = {"teff": GIANT.teff, "logg": GIANT.logg, "feh": GIANT.feh, "cfe": cfe, "afe": 0.35, "vmic": 1.7}
    labels = np.array([[(values | others).get(name, 0.0) for name in LABEL_NAMES]])
    flux = emulator.at(2000.0, GRID)(move_into_range(labels)).norm[0]
    return Spectrum(
        spectrum_id="star",
        survey="test",
        grid=GRID,
        flux=flux,
        ivar=np.full(GRID.n_pix, 1e4, dtype=np.float32),
        resolving_power=2000.0,
        reduced_at=datetime(2000, 1, 1, tzinfo=UTC),
        frame="rest",
    )


def test_a_star_with_carbon_put_in_is_the_star_that_has_it(emulator: Emulator) -> None:
    normal = _star(emulator, 0.0, {"nfe": 0.1, "ofe": 0.4, "r1213": 20.0})
    rich = _star(emulator, 1.8, {"nfe": 1.0, "ofe": 0.6, "r1213": 20.0})
    made = with_carbon(normal, GIANT, 1.8, emulator)
    assert np.abs(rich.flux - normal.flux).max() > 0.3
    # Smoothed products are not products of the smoothed: a per cent or two in narrow lines.
    assert np.abs(made.flux - rich.flux).mean() < 0.005
    assert np.abs(made.flux - rich.flux).max() < 0.1


def test_a_slit_without_errors_has_them_estimated(emulator: Emulator) -> None:
    star = _star(emulator, 0.0, {})
    known, unknown = (
        as_blue_slit(star, np.random.default_rng(2), snr=25.0, knows_noise=knows) for knows in (True, False)
    )
    assert np.array_equal(known.flux, unknown.flux)
    assert Flag.IVAR_ESTIMATED.value in unknown.flags
    assert Flag.IVAR_ESTIMATED.value not in known.flags
    assert 0.5 < np.median(known.ivar / unknown.ivar) < 2.0
    assert float(unknown.grid.wave[-1]) < 5101.0
