"""To specutils and back: nothing of a spectrum is lost on the way, nor of an alert's."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, replace

import astropy.units as u
import numpy as np
import pytest
import specutils
from astropy.nddata import InverseVariance

from cempstream.processors.as_specutils import to_specutils
from cempstream.processors.grid import LogGrid
from cempstream.processors.readers import ReadOptions
from cempstream.processors.readers.memory import build_given, given_specutils
from cempstream.processors.spectrum import Spectrum
from cempstream.schemas.alert import NoSpectrumError, decode_alert, encode_alert
from cempstream.schemas.samples import sample_classification, sample_spectrum, sample_stamp
from tests.support.alerts import alert_packet


def there_and_back(spectrum: Spectrum) -> Spectrum:
    (again,) = build_given(list(given_specutils(to_specutils(spectrum), "none")), ReadOptions())
    assert isinstance(again, Spectrum)
    return again


def slitless() -> Spectrum:
    """Return a spectrum with everything that a slitless survey says of one."""
    rng = np.random.default_rng(7)
    grid = LogGrid(3.6, 5e-4, 400)
    mask = np.zeros(grid.n_pix, dtype=np.uint8)
    mask[10:20] = 4
    return replace(
        sample_spectrum(),
        grid=grid,
        flux=(100 + rng.normal(size=grid.n_pix)).astype(np.float32),
        ivar=np.ones(grid.n_pix, dtype=np.float32),
        mask=mask,
        contamination=rng.uniform(0, 0.5, grid.n_pix).astype(np.float32),
        resolving_power=np.linspace(200, 250, grid.n_pix).astype(np.float32),
        wave_zero_error_aa=1.5,
        grating="GV",
        medium="air",
        frame="rest",
        flux_unit="absolute",
        flags=(),
    )


@pytest.mark.parametrize("spectrum", [sample_spectrum(), slitless()], ids=["sample", "slitless"])
def test_a_spectrum_comes_back_whole(spectrum: Spectrum) -> None:
    again = there_and_back(spectrum)
    for field in fields(Spectrum):
        said, found = getattr(spectrum, field.name), getattr(again, field.name)
        if field.name in ("uri", "exposure_size", "epoch"):
            continue  # of the survey's file
        if field.name in ("mask", "ivar"):
            continue  # below
        if isinstance(said, np.ndarray):
            np.testing.assert_allclose(found, said, rtol=1e-6, err_msg=field.name)
        else:
            assert found == said, field.name
    bad = np.zeros(spectrum.n_pix, dtype=bool) if spectrum.mask is None else spectrum.mask != 0
    np.testing.assert_allclose(again.ivar, np.where(bad, 0, spectrum.ivar), rtol=1e-5)


def test_an_alert_gives_its_spectrum_with_units() -> None:
    result = replace(sample_classification(), spectrum=slitless())
    alert = decode_alert(encode_alert(result, sample_stamp()))
    spectrum = alert.to_specutils()
    assert isinstance(spectrum, specutils.Spectrum)
    assert spectrum.flux.unit == u.Unit("1e-17 erg / (s cm2 Angstrom)")
    assert spectrum.spectral_axis.unit == u.AA
    assert isinstance(spectrum.uncertainty, InverseVariance)
    assert np.flatnonzero(spectrum.mask).tolist() == list(range(10, 20))
    assert spectrum.meta["object_id"] == alert.object_id
    assert spectrum.meta["gaia_source_id"] == alert.gaia_source_id == 4611686018427387905
    assert spectrum.meta["medium"] == "air"


def test_an_alert_without_its_spectrum_says_so() -> None:
    alert = decode_alert(alert_packet("a")).model_copy(update={"spectrum": None})
    with pytest.raises(NoSpectrumError, match="too large"):
        alert.to_specutils()


@pytest.mark.parametrize("absent", ["specutils", "astropy"])
def test_without_specutils_the_error_says_how_to_install_it(absent: str) -> None:
    code = (
        "import sys\n"
        f"sys.modules[{absent!r}] = None\n"
        "from cempstream import Spectrum\n"
        "from cempstream.errors import FixableError\n"
        "from cempstream.schemas.alert import alert_from_json\n"
        "try:\n"
        "    alert_from_json(sys.stdin.buffer.read()).to_specutils()\n"
        "except FixableError as error:\n"
        "    print(error)\n"
    )
    alert = alert_packet("a", as_json=True)
    run = subprocess.run([sys.executable, "-c", code], input=alert, capture_output=True, timeout=100)
    (line,) = run.stdout.decode().splitlines()
    assert line.startswith(f"it needs {absent}: pip install 'cempstream[notebook]'"), run.stderr.decode()
