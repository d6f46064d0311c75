"""LAMOST files of both layouts, made here with known content, and the survey's own."""

from __future__ import annotations

import gzip
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from cempstream.processors.grid import Array, LogGrid
from cempstream.processors.outcome import Rejected
from cempstream.processors.readers import ReadOptions, UnreadableFile, expand_paths, read_spectra
from cempstream.processors.spectrum import Reason, Spectrum
from tests.support.survey_files import write_lamost_image, write_lamost_table

GRID = LogGrid(3.5682, 1e-4, 3909)


@pytest.fixture
def rows() -> Array:
    """Flux, ivar, wavelength, AND-mask and OR-mask; pixel i has flux i."""
    flux = np.arange(GRID.n_pix, dtype=float)
    return np.stack([flux, np.full(GRID.n_pix, 4.0), GRID.wave, np.zeros(GRID.n_pix), np.zeros(GRID.n_pix)])


def read_one(path: Path, options: ReadOptions | None = None) -> Spectrum:
    """Return the one spectrum of a file."""
    (spectrum,) = read_spectra(path, options or ReadOptions())
    assert isinstance(spectrum, Spectrum)
    return spectrum


def test_image_layout_is_read(tmp_path: Path, rows: Array) -> None:
    spectrum = read_one(write_lamost_image(tmp_path / "renamed.fits", rows))
    assert spectrum.spectrum_id == "spec-58575-HD103621N361936B01_sp03-007"
    assert spectrum.survey == "lamost"
    assert spectrum.object_id == "LAMOST J103250.26+354136.2"
    assert spectrum.exposure_id == "58575-HD103621N361936B01"
    assert spectrum.grid == GRID
    assert spectrum.flux.tolist() == rows[0].tolist()
    assert spectrum.ivar.tolist() == rows[1].tolist()
    assert (spectrum.medium, spectrum.frame, spectrum.flux_unit) == ("vacuum", "observed", "relative")
    assert spectrum.resolving_power == 1800.0
    assert spectrum.reduced_at == datetime(2021, 9, 17, 17, 10, 52, tzinfo=UTC)
    assert spectrum.observed_at == datetime(2019, 4, 1, 14, 3, tzinfo=UTC)
    assert (spectrum.ra, spectrum.dec) == (158.209454, 35.693413)
    assert {band: mag for band, (mag, _) in spectrum.photometry.items()} == {"g": 17.0, "r": 16.24}
    assert spectrum.flags == ()


def test_redshift_and_class_of_the_header_are_not_read(tmp_path: Path, rows: Array) -> None:
    spectrum = read_one(write_lamost_image(tmp_path / "a.fits", rows, Z=0.5, CLASS="QSO"))
    assert spectrum.rv_kms is None
    assert "QSO" not in repr(spectrum)


@pytest.mark.parametrize("coefficients", [{}, {"COEFF0": None, "COEFF1": None}])
def test_table_layout_gives_the_same_as_the_image(
    tmp_path: Path, rows: Array, coefficients: dict[str, None]
) -> None:
    rows[3, 10] = 1
    image = read_one(write_lamost_image(tmp_path / "image.fits", rows))
    table = read_one(write_lamost_table(tmp_path / "table.fits", rows, **coefficients))
    assert table.grid == image.grid == GRID
    assert table.flux.tolist() == image.flux.tolist()
    assert table.ivar.tolist() == image.ivar.tolist()
    assert table.spectrum_id == image.spectrum_id
    assert table.reduction_version == "LAMOST DR9 v2.9.8"


def test_columns_of_unlike_length_are_refused_by_name(tmp_path: Path, rows: Array) -> None:
    path = write_lamost_table(tmp_path / "table.fits", rows)
    with fits.open(path) as file:
        cards, table = file[0].copy(), file[1]
        columns = [
            fits.Column(c.name, f"{n}{c.format.lstrip('0123456789')}", array=table.data[c.name][:, :n])
            for c, n in ((c, 31 if c.name == "IVAR" else 60) for c in table.columns)
            if np.ndim(table.data[c.name]) == 2
        ]
        fits.HDUList([cards, fits.BinTableHDU.from_columns(columns, name=table.name)]).writeto(
            tmp_path / "short.fits"
        )
    (refused,) = read_spectra(tmp_path / "short.fits", ReadOptions())
    assert isinstance(refused, Rejected)
    assert refused.reason is Reason.LENGTH_MISMATCH
    assert "'ivar' has 31 values" in refused.detail


def test_third_row_of_dr1_is_no_wavelength(tmp_path: Path, rows: Array) -> None:
    rows[2] = 1.0 + 0.1 * np.sin(np.arange(GRID.n_pix))  # the continuum-subtracted flux
    spectrum = read_one(write_lamost_image(tmp_path / "dr1.fits", rows))
    assert spectrum.grid == GRID


def dr1(tmp_path: Path, rows: Array) -> Spectrum:
    """Read rows as a file whose third row is the continuum-subtracted flux."""
    rows[2] = 1.0
    return read_one(write_lamost_image(tmp_path / "dr1.fits", rows))


def test_clipped_line_cores_of_dr1_are_given_their_variance_back(tmp_path: Path, rows: Array) -> None:
    rows[0] = 100.0
    rows[0, 1000:1030] = 30.0
    rows[1, 1000:1030] = 0.0
    spectrum = dr1(tmp_path, rows)
    assert np.all(spectrum.ivar[1000:1030] == 4.0)
    assert spectrum.flags == ("ivar_estimated",)


@pytest.mark.parametrize("case", ["spike", "no data", "masked", "long", "telluric", "deep below zero"])
def test_other_pixels_without_variance_stay_bad(tmp_path: Path, rows: Array, case: str) -> None:
    start = int(np.searchsorted(GRID.wave, 7594)) if case == "telluric" else 1000
    core = slice(start, start + (150 if case == "long" else 30))
    rows[0] = 100.0
    rows[0, core] = {"spike": 1e6, "no data": 0.0, "deep below zero": -20.0}.get(case, 30.0)
    rows[1, core] = 0.0
    rows[3, core] = float(case == "masked")
    spectrum = dr1(tmp_path, rows)
    assert np.all(spectrum.ivar[core] == 0.0)
    assert spectrum.flags == ()


def test_files_with_wavelengths_keep_their_variance(tmp_path: Path, rows: Array) -> None:
    rows[0] = 100.0
    rows[0, 1000:1030] = 30.0
    rows[1, 1000:1030] = 0.0
    spectrum = read_one(write_lamost_image(tmp_path / "dr7.fits", rows))
    assert np.all(spectrum.ivar[1000:1030] == 0.0)


def test_and_mask_rules_pixels_out_and_or_mask_does_not(tmp_path: Path, rows: Array) -> None:
    rows[3, 100] = 1
    rows[3, 101] = 8
    rows[4, 99:110] = 1
    spectrum = read_one(write_lamost_image(tmp_path / "a.fits", rows))
    assert np.flatnonzero(spectrum.ivar == 0).tolist() == [100, 101]


def test_mask_over_the_whole_fibre_does_not_empty_it(tmp_path: Path, rows: Array) -> None:
    rows[3] = 8
    spectrum = read_one(write_lamost_image(tmp_path / "a.fits", rows))
    assert np.all(spectrum.ivar == 4.0)


def test_values_that_are_no_numbers_become_bad_pixels(tmp_path: Path, rows: Array) -> None:
    rows[0, :3] = (np.nan, np.inf, 5.0)
    rows[1, 2:5] = (-1.0, np.nan, np.inf)
    spectrum = read_one(write_lamost_image(tmp_path / "a.fits", rows))
    assert np.flatnonzero(spectrum.ivar == 0).tolist() == [0, 1, 2, 3, 4]
    assert np.all(np.isfinite(spectrum.flux))


def test_layouts_are_known_without_the_name_of_the_telescope(tmp_path: Path, rows: Array) -> None:
    nameless: dict[str, None] = {"TELESCOP": None, "ORIGIN": None, "DATA_V": None}
    image = read_one(write_lamost_image(tmp_path / "image.fits", rows, **nameless))
    table = read_one(write_lamost_table(tmp_path / "table.fits", rows, **nameless))
    assert (image.survey, table.survey) == ("lamost", "lamost")


def test_other_surveys_images_are_not_taken_for_lamost(tmp_path: Path, rows: Array) -> None:
    path = write_lamost_image(tmp_path / "a.fits", rows, TELESCOP="SDSS 2.5-M", ORIGIN=None, DATA_V=None)
    with pytest.raises(UnreadableFile, match="no known kind"):
        list(read_spectra(path))


def test_position_outside_the_sky_is_none(tmp_path: Path, rows: Array) -> None:
    spectrum = read_one(write_lamost_image(tmp_path / "sky.fits", rows, RA=-9999.0, DEC=-9999.0))
    assert (spectrum.ra, spectrum.dec) == (None, None)


def test_options_go_before_the_file(tmp_path: Path, rows: Array) -> None:
    path = write_lamost_image(tmp_path / "a.fits", rows)
    options = ReadOptions(medium="air", frame="rest", resolving_power=900.0, survey="mine")
    spectrum = read_one(path, options)
    assert (spectrum.medium, spectrum.frame) == ("air", "rest")
    assert (spectrum.resolving_power, spectrum.survey) == (900.0, "mine")


def test_gzip_is_known_by_content_not_by_name(tmp_path: Path, rows: Array) -> None:
    plain = write_lamost_image(tmp_path / "plain.fits", rows)
    packed = tmp_path / "packed.dat"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_one(packed).flux.tolist() == read_one(plain).flux.tolist()


def test_276_real_files(shared_data: Path) -> None:
    paths = expand_paths([shared_data / "real" / "lamost"])
    spectra = [spectrum for path in paths for spectrum in read_spectra(path)]
    assert len(paths) == len(spectra) == 276
    assert [s.spectrum_id for s in spectra] == [p.name.removesuffix(".fits.gz") for p in paths]
    assert {s.grid for s in spectra if isinstance(s, Spectrum)} == {
        LogGrid(3.5682, 1e-4, 3904),
        LogGrid(3.5682, 1e-4, 3909),
    }
    # Files of 2011 lack the variance of deep lines, those of 2019 lose a few pixels.
    flags = Counter((s.grid.n_pix, s.flags) for s in spectra if isinstance(s, Spectrum))
    assert flags == {(3904, ("ivar_estimated",)): 166, (3904, ()): 10, (3909, ()): 100}


def test_real_files_of_2011_keep_the_cores_of_their_lines(shared_data: Path) -> None:
    paths = expand_paths([shared_data / "real" / "lamost"])[:60]
    g_band = [s for path in paths if (s := read_one(path)) and s.exposure_id == "55862-B6212"]
    inside = (g_band[0].grid.wave > 4300) & (g_band[0].grid.wave < 4312)
    is_kept = [bool(np.mean(s.ivar[inside] > 0) > 0.8) for s in g_band]
    assert np.mean(is_kept) > 0.95


def test_an_image_whose_size_is_stated_twice_is_refused_by_name(tmp_path: Path, rows: Array) -> None:
    path = write_lamost_image(tmp_path / "twice.fits", rows[:, :60])  # within one block of data
    content = path.read_bytes()
    at = next(i for i in range(0, len(content), 80) if content[i : i + 8] == b"DATA_V  ")
    second = b"NAXIS2  =                    1".ljust(80)
    path.write_bytes(content[:at] + second + content[at + 80 :])
    with pytest.raises(UnreadableFile, match=r"shape \(1, \d+\), and the header says \(5, \d+\)"):
        read_one(path)
