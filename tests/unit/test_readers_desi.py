"""DESI files, made here with known content, and the survey's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from cempstream.processors.grid import Array, LinearGrid
from cempstream.processors.readers import ReadOptions, expand_paths, read_spectra
from cempstream.processors.spectrum import Spectrum
from tests.support.survey_files import gaussian_resolution, write_desi

WAVES = {
    "B": 3600 + 0.8 * np.arange(2751),
    "R": 5760 + 0.8 * np.arange(2326),
    "Z": 7520 + 0.8 * np.arange(2881),
}
LEVELS = {"B": (1.0, 1.0), "R": (4.0, 2.0), "Z": (6.0, 1.0)}  # flux and ivar


@pytest.fixture
def arms() -> dict[str, dict[str, Array]]:
    """Two targets in three arms of constant flux and ivar, LSF of one pixel."""
    made = {}
    for arm, wave in WAVES.items():
        flux, ivar = LEVELS[arm]
        shape = (2, wave.size)
        made[arm] = {
            "WAVELENGTH": wave,
            "FLUX": np.full(shape, flux, dtype=np.float32),
            "IVAR": np.full(shape, ivar, dtype=np.float32),
            "MASK": np.zeros(shape, dtype=np.int32),
            "RESOLUTION": gaussian_resolution(2, wave.size, 1.0),
        }
    return made


FIBRES = {
    "TARGETID": np.array([39633297352951412, -7]),
    "TARGET_RA": np.array([215.5, 216.0]),
    "TARGET_DEC": np.array([53.3, 3.3]),
    "REF_CAT": np.array([b"G2", b""]),
    "REF_ID": np.array([1607612345678901234, 0]),
    "REF_EPOCH": np.array([2015.5, 0.0]),
    "FLUX_R": np.array([100.0, 0.0]),
    "FLUX_IVAR_R": np.array([4.0, 0.0]),
    "GAIA_PHOT_G_MEAN_MAG": np.array([17.2, 0.0]),
}


def read_all(path: Path, options: ReadOptions | None = None) -> list[Spectrum]:
    """Return the spectra of a file, all of which must be good."""
    spectra = []
    for spectrum in read_spectra(path, options or ReadOptions()):
        assert isinstance(spectrum, Spectrum)
        spectra.append(spectrum)
    return spectra


def test_arms_are_joined_by_inverse_variance(tmp_path: Path, arms: dict[str, dict[str, Array]]) -> None:
    arms["R"]["MASK"][0, 20] = 1  # at 5776 Å, where the blue arm still sees
    first, second = read_all(write_desi(tmp_path / "coadd-a.fits", arms, FIBRES))
    assert first.grid == LinearGrid(3600.0, 0.8, 7781)
    at = {wave: round((wave - 3600) / 0.8) for wave in (5000, 5776, 5784, 7000, 7600, 9000)}
    assert [first.flux[at[w]] for w in (5000, 7000, 9000)] == [1.0, 4.0, 6.0]
    assert first.flux[at[5784]] == pytest.approx((1 * 1 + 4 * 2) / 3)
    assert first.ivar[at[5784]] == 3.0
    assert first.flux[at[7600]] == pytest.approx((4 * 2 + 6 * 1) / 3)
    assert (first.flux[at[5776]], first.ivar[at[5776]]) == (1.0, 1.0)
    assert second.ivar[at[5776]] == 3.0


def test_facts_of_the_fibre_map(tmp_path: Path, arms: dict[str, dict[str, Array]]) -> None:
    first, second = read_all(write_desi(tmp_path / "coadd-a.fits", arms, FIBRES))
    assert (first.spectrum_id, first.object_id) == ("coadd-a-39633297352951412", "39633297352951412")
    assert (first.ra, first.dec, first.epoch) == (215.5, 53.3, 2015.5)
    assert first.gaia_source_id == 1607612345678901234
    assert first.photometry["r"] == pytest.approx((17.5, 1.0857 / 200), abs=1e-4)
    assert first.photometry["G"][0] == pytest.approx(17.2)
    assert (first.medium, first.frame, first.flux_unit) == ("vacuum", "observed", "absolute")
    assert (first.exposure_id, first.exposure_size, first.reduction_version) == ("coadd-a", 2, "fuji")
    assert (second.object_id, second.gaia_source_id, second.epoch, second.photometry) == (
        "-7",
        None,
        None,
        {},
    )


def test_resolution_matrix_becomes_resolving_power(tmp_path: Path, arms: dict[str, dict[str, Array]]) -> None:
    for arm in arms.values():
        arm["RESOLUTION"][1] = 0.0
    first, second = read_all(write_desi(tmp_path / "coadd.fits", arms, FIBRES))
    assert np.asarray(first.resolving_power) == pytest.approx(first.grid.wave / (2.35482 * 0.8), rel=2e-3)
    assert first.flags == ()
    assert second.flags == ("resolving_power_estimated",)
    assert np.median(second.resolving_power) == pytest.approx(3750, rel=0.05)
    stated = read_all(tmp_path / "coadd.fits", ReadOptions(resolving_power=3000.0))
    assert [s.flags for s in stated] == [(), ()]


def test_mask_and_rubbish_make_bad_pixels(tmp_path: Path, arms: dict[str, dict[str, Array]]) -> None:
    arms["B"]["MASK"][0, 5] = 4
    arms["B"]["FLUX"][0, 6] = np.nan
    arms["B"]["IVAR"][0, 7] = -1.0
    first, second = read_all(write_desi(tmp_path / "coadd.fits", arms, FIBRES))
    assert np.flatnonzero(first.ivar == 0).tolist() == [5, 6, 7]
    assert np.all(np.isfinite(first.flux))
    assert np.all(second.ivar > 0)


def test_arms_on_different_grids_stay_apart(tmp_path: Path, arms: dict[str, dict[str, Array]]) -> None:
    arms["R"]["WAVELENGTH"] = arms["R"]["WAVELENGTH"] + 0.3
    spectra = read_all(write_desi(tmp_path / "coadd.fits", arms, FIBRES))
    assert [s.grating for s in spectra] == ["b", "r", "z"] * 2
    assert len({s.spectrum_id for s in spectra}) == 6
    assert [s.object_id for s in spectra] == ["39633297352951412"] * 3 + ["-7"] * 3


def test_cframe_of_one_camera(tmp_path: Path, arms: dict[str, dict[str, Array]]) -> None:
    path = tmp_path / "cframe-b0-00085502.fits"
    primary = fits.PrimaryHDU(arms["B"]["FLUX"])
    primary.header["EXTNAME"] = "FLUX"
    primary.header["CAMERA"] = "b0"
    images = [fits.ImageHDU(arms["B"][n], name=n) for n in ("IVAR", "MASK", "WAVELENGTH", "RESOLUTION")]
    fibres = fits.BinTableHDU.from_columns(
        [fits.Column(name="TARGETID", format="K", array=FIBRES["TARGETID"])], name="FIBERMAP"
    )
    fits.HDUList([primary, *images, fibres]).writeto(path)
    first, second = read_all(path)
    assert (first.grating, first.grid) == ("b", LinearGrid(3600.0, 0.8, 2751))
    assert first.flux[0] == 1.0
    assert second.spectrum_id == "cframe-b0-00085502--7"


def test_real_coadds(shared_data: Path) -> None:
    paths = expand_paths([shared_data / "real" / "desi"])
    spectra = [spectrum for path in paths for spectrum in read_all(path)]
    assert len(spectra) == 10
    assert len({s.spectrum_id for s in spectra}) == 10
    assert {s.grid for s in spectra} == {LinearGrid(3600.0, 0.8, 7781)}
    lit = [s for s in spectra if np.any(s.ivar > 0)]
    assert len(lit) == 3
    for spectrum in lit:
        power = np.interp([3700.0, 9500.0], spectrum.grid.wave, spectrum.resolving_power)
        assert 2000 < power[0] < 2700
        assert 5000 < power[1] < 5800
        assert spectrum.flags == ()
        assert spectrum.observed_at is not None
        assert spectrum.observed_at.year == 2021
