"""The flux and its noise as files of the field state them: units in every place, words for missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from cempstream.processors.readers import ReadOptions, UnreadableFile, read_spectra
from cempstream.processors.readers.statements import frame_of, position_of, power_of
from cempstream.processors.readers.vocabulary import is_bad_cell, layout_of, mask_sense, noise_kind
from cempstream.processors.spectrum import Spectrum
from tests.support.survey_files import star, write_table

WAVE = 3900.0 + 0.9 * np.arange(3200)
FLUX = star(WAVE, snr=40.0)
SIGMA = 2.5 * (1.0 + 0.1 * np.sin(WAVE / 300.0))
#: From a flux per Å to one per Hz, up to a constant.
PER_HZ = (WAVE / 5000.0) ** 2


def read_one(path: Path) -> Spectrum:
    (spectrum,) = read_spectra(path, ReadOptions(medium="air", frame="observed", resolving_power=2000.0))
    assert isinstance(spectrum, Spectrum), spectrum
    return spectrum


def write(path: Path, unit: str, flux: Any = FLUX, error: Any = SIGMA) -> Path:
    """Write a spectrum that states the unit of its flux where the format has a place for it."""
    rows = "\n".join(f"{w},{f},{e}" for w, f, e in zip(WAVE, flux, error, strict=True))
    if path.name == "image.fits":
        image = fits.PrimaryHDU(np.asarray(flux))
        image.header.update(CRVAL1=WAVE[0], CDELT1=0.9, BUNIT=unit)
        fits.HDUList([image, fits.ImageHDU(np.asarray(error), name="ERR")]).writeto(path)
    elif path.suffix == ".fits":
        write_table(path, {"wave": WAVE, "flux": flux, "err": error}, units={"flux": unit})
    elif path.name == "bracket.csv":
        path.write_text(f"wave,flux [{unit}],err\n{rows}\n")
    elif path.name == "remark.csv":
        path.write_text(f"# flux_unit: {unit}\nwave,flux,err\n{rows}\n")
    elif path.name == "line.csv":
        path.write_text(f"wave,flux,err\nAngstrom,{unit},{unit}\n{rows}\n")
    elif path.suffix == ".npz":
        np.savez(path, wave=WAVE, flux=flux, err=error, flux_unit=unit)
    else:
        labels = [("wave", "f8"), (f"flux [{unit}]", "f8"), ("err", "f8")]
        np.save(path, np.array(list(zip(WAVE, flux, error, strict=True)), dtype=labels))
    return path


PLACES = ("image.fits", "table.fits", "bracket.csv", "remark.csv", "line.csv", "a.npz", "a.npy")


@pytest.mark.parametrize("name", PLACES)
def test_a_flux_per_frequency_is_turned_wherever_it_is_stated(tmp_path: Path, name: str) -> None:
    spectrum = read_one(write(tmp_path / name, "mJy", FLUX * PER_HZ, SIGMA * PER_HZ))
    assert spectrum.flux == pytest.approx(FLUX, rel=1e-5)
    assert spectrum.ivar == pytest.approx(SIGMA**-2.0, rel=1e-4)


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("unit", ["mag", "mag(AB)", "ABmag", "log(erg/s/cm2)", "dex"])
def test_magnitudes_and_logarithms_are_no_flux(tmp_path: Path, name: str, unit: str) -> None:
    path = write(tmp_path / name, unit, 20.0 - 2.5 * np.log10(FLUX), SIGMA / FLUX)
    with pytest.raises(UnreadableFile, match=r"the flux is in .*; give a linear flux"):
        read_one(path)


@pytest.mark.parametrize("unit", ["nanomaggies", "erg/s/cm2/Angstrom", "1e-17 erg/(s cm2 A)", "", "adu"])
def test_linear_units_are_left(tmp_path: Path, unit: str) -> None:
    assert read_one(write(tmp_path / "table.fits", unit)).flux == pytest.approx(FLUX, rel=1e-5)


@pytest.mark.parametrize(
    "name", ["df", "nsr", "u_flux", "istd", "inverr", "pcterr", "flux_error_1", "ierror", "relnoise"]
)
def test_more_names_that_might_be_a_noise_are_said(name: str) -> None:
    layout = layout_of(["wave", "flux", name])
    assert layout is not None
    assert layout.puzzles == (name,)


@pytest.mark.parametrize("name", ["skyerr", "pixel", "airmass", "func", "model", "u"])
def test_names_of_other_things_are_no_noise(name: str) -> None:
    layout = layout_of(["wave", "flux", name])
    assert layout is not None
    assert layout.puzzles == ()
    assert layout.noises == ()


def test_more_names_of_a_noise() -> None:
    assert noise_kind("e_f_lambda") == "error"
    assert noise_kind("invar") == noise_kind("flux_invar") == "ivar"


@pytest.mark.parametrize("word", ['""', "#N/A", ".", "#VALUE!", "#DIV/0!", '"nan"'])
@pytest.mark.parametrize("separator", [",", " "])
def test_cells_of_spreadsheets_without_a_value_are_missing(tmp_path: Path, word: str, separator: str) -> None:
    cells = [word if i % 50 == 7 else str(value) for i, value in enumerate(FLUX)]
    rows = (separator.join((str(w), f, str(e))) for w, f, e in zip(WAVE, cells, SIGMA, strict=True))
    path = tmp_path / "a.txt"
    path.write_text("\n".join([separator.join(("wave", "flux", "err")), *rows]))
    assert np.array_equal(np.flatnonzero(read_one(path).ivar == 0), np.arange(7, WAVE.size, 50))


def test_bits_of_a_mask_may_be_hexadecimal() -> None:
    assert is_bad_cell("0x10", "bad") is True
    assert is_bad_cell("0X0", "bad") is False
    assert is_bad_cell("0xg", "bad") is None


def test_hours_below_zero_wrap() -> None:
    place = position_of({"ra": "-12:34:56", "dec": "-00:12:03"})
    assert place == pytest.approx((360.0 - 188.733333, -0.200833), abs=1e-5)
    assert position_of({"ra": -999.0, "dec": 10.0}) is None


def test_an_abbreviated_frame_is_known() -> None:
    assert frame_of({"specsys": "Barycent."}) == "observed"


@pytest.mark.parametrize(
    "name",
    ["bad_pixel_mask", "PIXEL_QUALITY", "masked", "rejected", "cosmic_ray", "bitmask", "flagged", "CR_MASK"],
)
def test_more_names_of_a_mask(name: str) -> None:
    assert mask_sense(name) == "bad"


@pytest.mark.parametrize("name", ["use", "keep", "unmasked"])
def test_more_names_of_good_pixels(name: str) -> None:
    assert mask_sense(name) == "good"


def test_the_or_mask_of_sdss_rules_nothing_out() -> None:
    assert mask_sense("or_mask") is None


@pytest.mark.parametrize(
    ("label", "factor", "medium"),
    [
        ("wavelength (air)", 1.0, "air"),
        ("wavelength [Angstrom; vacuum]", 1.0, "vacuum"),
        ("wavelength (Angstrom (air))", 1.0, "air"),
        ("wave (vac; nm)", 0.1, "vacuum"),
    ],
)
def test_the_medium_may_stand_with_the_unit(tmp_path: Path, label: str, factor: float, medium: str) -> None:
    rows = "\n".join(f"{w},{f}" for w, f in zip(WAVE * factor, FLUX, strict=True))
    path = tmp_path / "a.csv"
    path.write_text(f"{label},flux\n{rows}\n")
    (spectrum,) = read_spectra(path)
    assert isinstance(spectrum, Spectrum)
    assert spectrum.medium == medium
    assert "medium_estimated" not in spectrum.flags
    assert spectrum.grid.wave == pytest.approx(WAVE)


@pytest.mark.parametrize(
    "remark",
    ["Wavelength medium: vacuum", "wavelengths: vacuum", "medium = in vacuum", "Wavelengths: in vacuum"],
)
@pytest.mark.parametrize("mark", ["# ", ""])
def test_remarks_of_several_words_are_statements(tmp_path: Path, remark: str, mark: str) -> None:
    rows = "\n".join(f"{w},{f}" for w, f in zip(WAVE, FLUX, strict=True))
    path = tmp_path / "a.csv"
    path.write_text(f"{mark}{remark}\n{mark}Resolving power: 2100\nwave,flux\n{rows}\n")
    (spectrum,) = read_spectra(path)
    assert isinstance(spectrum, Spectrum)
    assert (spectrum.medium, spectrum.resolving_power) == ("vacuum", 2100.0)
    assert "medium_estimated" not in spectrum.flags


def test_a_medium_that_is_none_is_refused_with_what_helps(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("# medium: water\nwave,flux\n4000,1\n")
    with pytest.raises(UnreadableFile, match="medium is 'water'; it must be air or vacuum; --medium"):
        list(read_spectra(path))


@pytest.mark.parametrize(("share", "is_refused"), [(0.4, False), (0.6, True)])
def test_a_mask_that_rules_out_more_than_half_is_doubted(
    tmp_path: Path, share: float, is_refused: bool
) -> None:
    masked = (np.arange(WAVE.size) < share * WAVE.size).astype(np.int64)
    path = write_table(tmp_path / "a.fits", {"wave": WAVE, "flux": FLUX, "err": SIGMA, "mask": masked})
    (read,) = read_spectra(path)
    assert isinstance(read, Spectrum) != is_refused


@pytest.mark.parametrize("text", ["R=2000", "~2000", "R ~ 2000", "r = 2000.0", "≈ 2000", " 2000 "])
def test_a_resolving_power_may_be_written_as_in_a_paper(text: str) -> None:
    assert power_of({"resolution": text}) == 2000.0


@pytest.mark.parametrize("text", ["2.5 A", "R", "2000-3000", "~", "Rome 2000"])
def test_other_words_are_no_resolving_power(text: str) -> None:
    assert power_of({"resolution": text}) is None


def test_text_that_is_no_table_is_called_so(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text('{"wave": [' + "1.5, " * 40_000 + '1.5], "flux": [1.0]}')
    with pytest.raises(UnreadableFile, match="is text, but no table"):
        list(read_spectra(path))


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("code", [1e20, 9.96921e36, -9999.0, -999.0])
def test_a_code_for_no_value_is_no_flux(tmp_path: Path, name: str, code: float) -> None:
    flux = np.where((WAVE > 4500) & (WAVE < 4600), code, FLUX)
    spectrum = read_one(write(tmp_path / name, "", flux))
    is_code = flux == code
    assert not spectrum.ivar[is_code].any()
    assert spectrum.ivar[~is_code] == pytest.approx(SIGMA[~is_code] ** -2, rel=1e-5)
    assert spectrum.flux[~is_code] == pytest.approx(FLUX[~is_code], rel=1e-5)


def test_a_code_in_the_noise_is_no_measurement(tmp_path: Path) -> None:
    ivar = np.where(WAVE < 4000, 1e20, SIGMA**-2)
    write_table(tmp_path / "a.fits", {"wave": WAVE, "flux": FLUX, "ivar": ivar})
    spectrum = read_one(tmp_path / "a.fits")
    assert not spectrum.ivar[WAVE < 4000].any()
    assert spectrum.ivar[WAVE >= 4000] == pytest.approx(ivar[WAVE >= 4000], rel=1e-5)


def test_a_flux_that_happens_to_be_a_code_is_a_flux(tmp_path: Path) -> None:
    """A spectrum of 9999 counts is one; what is far above all others is not."""
    flux = np.round(FLUX / np.median(FLUX) * 9999.0)
    spectrum = read_one(write(tmp_path / "table.fits", "", flux))
    assert (flux == 9999.0).any()
    assert np.all(spectrum.ivar > 0)


@pytest.mark.parametrize("name", ["status", "pix_status", "STATUS_FLAG"])
def test_a_status_marks_bad_pixels(tmp_path: Path, name: str) -> None:
    status = np.where(WAVE < 4100, 4.0, 0.0)
    write_table(tmp_path / "a.fits", {"wave": WAVE, "flux": FLUX, "err": SIGMA, name: status})
    spectrum = read_one(tmp_path / "a.fits")
    assert np.array_equal(spectrum.ivar > 0, status == 0)


@pytest.mark.parametrize("suffix", ["csv", "fits"])
def test_two_columns_of_one_name_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix == "csv":
        rows = "\n".join(f"{w},{f},{f / 9}" for w, f in zip(WAVE, FLUX, strict=True))
        path.write_text(f"wave,flux,flux\n{rows}\n")
    else:
        columns = [fits.Column(n, "D", array=a) for n, a in (("wave", WAVE), ("flux", FLUX), ("flux2", FLUX))]
        table = fits.BinTableHDU.from_columns(columns)
        table.writeto(path)
        path.write_bytes(path.read_bytes().replace(b"'flux2   '", b"'flux    '"))
    with pytest.raises(UnreadableFile, match="2 columns named 'flux'") as caught:
        [*read_spectra(path)]
    assert "give each a different name" in str(caught.value)
