"""SDSS and BOSS files, made here with known content, and the survey's own."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from cempstream.processors.grid import Array, LogGrid
from cempstream.processors.readers import expand_paths, read_spectra
from cempstream.processors.spectrum import Spectrum
from tests.support.survey_files import write_sdss

GRID = LogGrid(3.5798, 1e-4, 3842)


@pytest.fixture
def columns() -> dict[str, Array]:
    """The pixels' table; pixel i has flux i."""
    n_pix = GRID.n_pix
    return {
        "flux": np.arange(n_pix, dtype=np.float32),
        "loglam": np.log10(GRID.wave).astype(np.float32),
        "ivar": np.full(n_pix, 2.0, dtype=np.float32),
        "and_mask": np.zeros(n_pix, dtype=np.int32),
        "or_mask": np.zeros(n_pix, dtype=np.int32),
        "wdisp": np.full(n_pix, 0.9, dtype=np.float32),
    }


def read_one(path: Path) -> Spectrum:
    """Return the one spectrum of a file."""
    (spectrum,) = read_spectra(path)
    assert isinstance(spectrum, Spectrum)
    return spectrum


def test_spectrum_is_read_in_its_units(tmp_path: Path, columns: dict[str, Array]) -> None:
    magnitudes = {"PSFMAG": np.array([19.0, 18.0, 17.5, 17.3, -9999.0]), "PSFMAGERR": np.full(5, 0.02)}
    path = write_sdss(
        tmp_path / "renamed.fits",
        columns,
        catalogue=magnitudes,
        COEFF0=3.5785,  # of the plate; this spectrum lost 13 pixels at its blue end
        COEFF1=1e-4,
        THING_ID=96714281,
        RUN2D="v5_10_0",
        SPCOADD="Fri May 27 20:24:09 2016",
    )
    spectrum = read_one(path)
    assert spectrum.spectrum_id == "spec-3586-55181-0500"
    assert spectrum.object_id == "thing-96714281"
    assert spectrum.grid == GRID
    assert spectrum.flux.tolist() == columns["flux"].tolist()
    assert (spectrum.medium, spectrum.frame, spectrum.flux_unit) == ("vacuum", "observed", "absolute")
    assert (spectrum.ra, spectrum.dec) == (6.7, 0.01)  # the fibre's, not the plate's RA
    assert spectrum.reduced_at == datetime(2016, 5, 27, 20, 24, 9, tzinfo=UTC)
    assert spectrum.reduction_version == "v5_10_0"
    assert set(spectrum.photometry) == {"u", "g", "r", "i"}
    assert spectrum.photometry["r"] == pytest.approx((17.5, 0.02))


def test_dispersion_becomes_resolving_power(tmp_path: Path, columns: dict[str, Array]) -> None:
    columns["wdisp"][:100] = 0.0
    power = read_one(write_sdss(tmp_path / "a.fits", columns)).resolving_power
    # λ/FWHM of a Gaussian of σ = 0.9 pixels of 1e-4 dex; pixels without one take their neighbours'.
    assert np.asarray(power) == pytest.approx(1.0 / (2.35482 * 0.9 * 1e-4 * np.log(10)), rel=1e-3)


def test_only_bits_of_untrustworthy_flux_mask(tmp_path: Path, columns: dict[str, Array]) -> None:
    columns["and_mask"][:] = (1 << 2) | (1 << 17) | (1 << 19)  # BADFLAT, LOWFLAT, PARTIALREJECT
    columns["and_mask"][10] |= 1 << 23  # BRIGHTSKY
    columns["and_mask"][11] |= 1 << 22  # NOSKY
    columns["or_mask"][12] = 1 << 23
    spectrum = read_one(write_sdss(tmp_path / "a.fits", columns))
    assert np.flatnonzero(spectrum.ivar == 0).tolist() == [10, 11]


def test_28_real_files(shared_data: Path) -> None:
    paths = expand_paths([shared_data / "real" / "sdss"])
    spectra = [spectrum for path in paths for spectrum in read_spectra(path)]
    assert [s.spectrum_id for s in spectra] == [p.name.removesuffix(".fits.gz") for p in paths]
    assert len(spectra) == 28
    for spectrum in spectra:
        assert isinstance(spectrum, Spectrum)
        assert isinstance(spectrum.grid, LogGrid)
        assert spectrum.grid.log10_step == 1e-4
        assert spectrum.grid.log10_start * 1e4 == pytest.approx(
            round(spectrum.grid.log10_start * 1e4), abs=1e-6
        )
        assert np.mean(spectrum.ivar > 0) > 0.9
        assert 1500 < np.median(spectrum.resolving_power) < 2600


def test_real_wavelengths_are_the_files_own(shared_data: Path) -> None:
    """Hβ of a real metal-poor star lies where the survey's redshift of -30 km/s puts it."""
    spectrum = read_one(shared_data / "real" / "sdss" / "spec-3586-55181-0500.fits.gz")
    wave = spectrum.grid.wave
    line = (wave > 4850) & (wave < 4875)
    assert wave[line][np.argmin(spectrum.flux[line])] == pytest.approx(4862.68 * (1 - 1.0e-4), abs=1.2)
