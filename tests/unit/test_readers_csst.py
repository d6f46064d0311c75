"""CSST files in the layout of its emulator, made here with known content."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from cempstream.processors.grid import Array
from cempstream.processors.readers import UnreadableFile, read_spectra
from cempstream.processors.spectrum import Spectrum
from tests.support.survey_files import write_cess

WAVES = {
    "GU": np.linspace(2460, 4190, 400),
    "GV": np.linspace(3810, 6590, 530),
    "GI": np.linspace(6110, 10420, 520),
}
N_SOURCES = 3


@pytest.fixture
def bands() -> dict[str, dict[str, Array]]:
    """Sources of 10, 20 and 30 µJy with an error of a tenth."""
    made = {}
    for band, wave in WAVES.items():
        flux = np.outer(10.0 * np.arange(1, N_SOURCES + 1), np.ones(wave.size))
        made[band] = {
            "wave": wave,
            "flux_ujy_with_noise": flux,
            "flux_ujy": np.full_like(flux, 777.0),
            "ferr": 0.1 * flux,
            "spec_mask": np.ones(flux.shape),
            "snr_mask": np.ones(flux.shape),
        }
    return made


def read_all(path: Path) -> list[Spectrum]:
    """Return the spectra of a file, all of which must be good."""
    spectra = []
    for spectrum in read_spectra(path):
        assert isinstance(spectrum, Spectrum)
        spectra.append(spectrum)
    return spectra


def test_every_band_of_a_source_is_a_spectrum(tmp_path: Path, bands: dict[str, dict[str, Array]]) -> None:
    spectra = read_all(write_cess(tmp_path / "cess.hdf5", bands))
    assert [s.spectrum_id for s in spectra[:4]] == ["1001-GU", "1001-GV", "1001-GI", "1002-GU"]
    assert [s.object_id for s in spectra[:4]] == ["1001", "1001", "1001", "1002"]
    assert [s.grating for s in spectra[:3]] == ["GU", "GV", "GI"]
    assert {s.survey for s in spectra} == {"csst"}
    assert [s.grid.n_pix for s in spectra[:3]] == [400, 530, 520]


def test_microjansky_become_flux_per_angstrom(tmp_path: Path, bands: dict[str, dict[str, Array]]) -> None:
    _, spectrum, *_ = read_all(write_cess(tmp_path / "cess.hdf5", bands))
    # 10 µJy = 1e-28 erg/s/cm²/Hz; times c/λ² at 5000 Å: 1.199e-17 × 10 erg/s/cm²/Å.
    expected = 10 * 1e-29 * 2.99792458e18 / 5000.0**2 / 1e-17
    at_5000 = float(np.interp(5000.0, spectrum.grid.wave, spectrum.flux))
    assert expected == pytest.approx(1.199, abs=1e-3)
    assert at_5000 == pytest.approx(expected, rel=1e-4)
    assert np.median(spectrum.flux * np.sqrt(spectrum.ivar)) == pytest.approx(10.0, rel=1e-5)
    assert (spectrum.medium, spectrum.frame, spectrum.flux_unit) == ("vacuum", "observed", "absolute")


def test_resolution_and_zero_point_of_the_band(tmp_path: Path, bands: dict[str, dict[str, Array]]) -> None:
    _, spectrum, *_ = read_all(write_cess(tmp_path / "cess.hdf5", bands))
    assert float(np.interp(5250.0, spectrum.grid.wave, spectrum.resolving_power)) == pytest.approx(
        250.0, rel=1e-3
    )
    assert spectrum.wave_zero_error_aa == pytest.approx(21 / 4 * 3**0.5)


def test_both_masks_and_padding_make_bad_pixels(tmp_path: Path, bands: dict[str, dict[str, Array]]) -> None:
    bands["GV"]["spec_mask"][0, :10] = 0.0
    bands["GV"]["snr_mask"][0, 10] = np.nan
    bands["GV"]["flux_ujy_with_noise"][0, 11] = np.nan
    bands["GV"]["ferr"][0, 12] = 0.0
    _, first, _, _, second, *_ = read_all(write_cess(tmp_path / "cess.hdf5", bands))
    assert np.flatnonzero(first.ivar == 0).tolist() == list(range(13))
    assert np.all(second.ivar > 0)


def test_tables_of_positions_and_magnitudes(tmp_path: Path, bands: dict[str, dict[str, Array]]) -> None:
    positions = np.array([[10.0, -5.0, 0.3], [20.0, -6.0, 0.4], [30.0, -7.0, 0.5]])
    magnitudes = np.array([[[18.0], [19.0], [20.0]], [[0.01], [0.02], [0.03]]])  # (columns, sources, 1)
    path = write_cess(
        tmp_path / "cess.hdf5",
        bands,
        parameters_desi=(["RA", "Dec", "z_best"], positions),
        parameters_phot=(["mag_g", "magerr_g"], magnitudes),
    )
    second = read_all(path)[3]
    assert (second.ra, second.dec) == (20.0, -6.0)
    assert second.photometry == {"g": (19.0, 0.02)}
    assert second.rv_kms is None


@pytest.mark.parametrize("layout", ["group", "records"])
def test_tables_in_other_layouts(tmp_path: Path, bands: dict[str, dict[str, Array]], layout: str) -> None:
    path = write_cess(tmp_path / "cess.hdf5", bands)
    with h5py.File(path, "a") as file:
        if layout == "group":
            file["parameters_desi/RA"] = [10.0, 20.0, 30.0]
            file["parameters_desi/Dec"] = [-5.0, -6.0, -7.0]
        else:
            records = np.array(
                [(10.0, -5.0), (20.0, -6.0), (30.0, -7.0)], dtype=[("RA", "f8"), ("Dec", "f8")]
            )
            file["parameters_desi"] = records
    assert (read_all(path)[3].ra, read_all(path)[3].dec) == (20.0, -6.0)


def test_one_band_alone_without_masks(tmp_path: Path, bands: dict[str, dict[str, Array]]) -> None:
    only = {name: bands["GI"][name] for name in ("wave", "flux_ujy_with_noise", "ferr")}
    spectra = read_all(write_cess(tmp_path / "cess.hdf5", {"GI": only}))
    assert [s.spectrum_id for s in spectra] == ["1001-GI", "1002-GI", "1003-GI"]
    assert all(np.all(s.ivar > 0) for s in spectra)


def test_source_the_emulator_failed_on_has_no_good_pixel(
    tmp_path: Path, bands: dict[str, dict[str, Array]]
) -> None:
    for arrays in bands.values():
        for name in ("flux_ujy_with_noise", "ferr", "spec_mask", "snr_mask"):
            arrays[name][1] = np.nan
    spectra = read_all(write_cess(tmp_path / "cess.hdf5", bands))
    assert [bool(np.any(s.ivar > 0)) for s in spectra] == [True] * 3 + [False] * 3 + [True] * 3


def test_foreign_hdf5_is_one_line(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["spectra"] = np.zeros(5)
    with pytest.raises(UnreadableFile, match="without the groups GU, GV or GI"):
        list(read_spectra(tmp_path / "other.h5"))


def test_truth_alone_is_not_read(tmp_path: Path, bands: dict[str, dict[str, Array]]) -> None:
    path = write_cess(tmp_path / "cess.hdf5", bands)
    with h5py.File(path, "a") as file:
        for band in bands:
            del file[f"{band}/flux_ujy_with_noise"]
    with pytest.raises(UnreadableFile, match="flux_ujy_with_noise"):
        list(read_spectra(path))
