"""Tables and text as people of the field write them: each says in its own words what we must understand."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.votable import from_table
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

from cempstream.processors.grid import Array
from cempstream.processors.outcome import Rejected
from cempstream.processors.readers import ReadOptions, UnreadableFile, expand_paths, read_spectra
from cempstream.processors.readers.statements import (
    frame_of,
    gaia_source_of,
    medium_of,
    object_of,
    observed_at_of,
    position_of,
    power_of,
)
from cempstream.processors.readers.vocabulary import is_bad_cell, layout_of, mask_sense, noise_kind, truth_of
from cempstream.processors.spectrum import Reason, Spectrum
from tests.support.survey_files import star, write_table

WAVE = 3900.0 + 0.9 * np.arange(3200)
FLUX = star(WAVE, snr=40.0)
SIGMA = 2.5 * (1.0 + 0.1 * np.sin(WAVE / 300.0))
STATED = {"medium": "air", "frame": "rest", "resolving_power": 2000.0}
BIG_ID = 4_611_686_018_427_387_905


def read_one(path: Path, **options: Any) -> Spectrum:
    """Return the one good spectrum of a file."""
    (spectrum,) = read_spectra(path, ReadOptions(**options))
    assert isinstance(spectrum, Spectrum), spectrum
    return spectrum


def write(path: Path, columns: dict[str, Array], **stated: Any) -> Path:
    """Write columns in the format that the path's suffix names."""
    said = {**STATED, **stated}
    if path.suffix == ".csv":
        remarks = [f"# {key}: {value}" for key, value in said.items()]
        rows = [",".join(str(value) for value in row) for row in zip(*columns.values(), strict=True)]
        path.write_text("\n".join([*remarks, ",".join(columns), *rows]) + "\n")
    elif path.suffix == ".fits":
        cards = {
            "RESPOWER" if key == "resolving_power" else key.upper(): value for key, value in said.items()
        }
        write_table(path, columns, **cards)
    elif path.suffix == ".npz":
        np.savez(path, **columns, **{key: np.array(value) for key, value in said.items()})
    else:
        table = Table(columns, meta=said)
        if path.suffix == ".ecsv":
            table.write(path, format="ascii.ecsv")
        else:
            document = from_table(table)
            for resource in document.resources:
                for one in resource.tables:
                    from astropy.io.votable.tree import Param

                    one.params.extend(
                        Param(document, name=key, datatype="char", arraysize="*", value=str(value))
                        for key, value in said.items()
                    )
            document.to_xml(str(path))
    return path


FORMATS = (".csv", ".fits", ".npz", ".ecsv", ".vot")

NOISES = {
    "error": "error", "err": "error", "errs": "error", "sigma": "error", "std": "error",
    "uncertainty": "error", "e_flux": "error", "E_FLUX": "error", "eflux": "error", "flux_err": "error",
    "fluxerr": "error",
    "flux_error": "error", "ERR_FLUX": "error", "FLUX_SIGMA": "error", "flux_unc": "error", "noise": "error",
    "variance": "variance", "var": "variance", "flux_var": "variance", "FLUX_VARIANCE": "variance",
    "ivar": "ivar", "IVAR": "ivar", "invvar": "ivar", "flux_ivar": "ivar", "ERR_IVAR": "ivar",
    "inverse_variance": "ivar", "inv_var": "ivar", "snr": "snr", "SNR": "snr", "sn": "snr",
}  # fmt: skip
OF_SIGMA = {
    "error": SIGMA,
    "variance": SIGMA**2,
    "ivar": SIGMA**-2.0,
    "snr": FLUX / SIGMA,
}


# --- noise


@pytest.mark.parametrize("name", NOISES)
@pytest.mark.parametrize("suffix", [".csv", ".fits", ".npz"])
def test_every_spelling_of_the_noise_is_one_noise(tmp_path: Path, name: str, suffix: str) -> None:
    columns = {"wave": WAVE, "flux": FLUX, name: OF_SIGMA[NOISES[name]]}
    spectrum = read_one(write(tmp_path / f"a{suffix}", columns))
    assert spectrum.ivar == pytest.approx(SIGMA**-2.0, rel=1e-4)
    assert spectrum.flags == ()


@given(
    before=st.sampled_from(["", "flux_", "FLUX.", "opt_", "spec "]),
    word=st.sampled_from([name for name, kind in NOISES.items() if name.lower() == name and "_" not in name]),
    is_upper=st.booleans(),
)
def test_words_around_a_noise_do_not_change_it(before: str, word: str, is_upper: bool) -> None:
    name = before + word
    assert noise_kind(name.upper() if is_upper else name) == NOISES[word]


@pytest.mark.parametrize(
    "name", ["wave_err", "sky_sigma", "e_wave", "flux", "rv_error", "background_var", "e"]
)
def test_noise_of_something_else_is_not_that_of_the_flux(name: str) -> None:
    assert noise_kind(name) is None


@pytest.mark.parametrize("suffix", [".csv", ".fits", ".npz"])
@pytest.mark.parametrize("name", ["weight", "err_rel", "flux_covariance", "error_poisson"])
def test_what_might_be_a_noise_is_said(
    tmp_path: Path, suffix: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / f"a{suffix}", {"wave": WAVE, "flux": FLUX, name: SIGMA})
    with caplog.at_level(logging.WARNING):
        spectrum = read_one(path)
    assert {"ivar_estimated", "noise_not_understood"} <= set(spectrum.flags)
    assert f"'{name}' might be a noise" in caplog.text


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("value", [np.nan, 0.0, -1.0])
def test_an_error_that_says_nothing_is_estimated(tmp_path: Path, suffix: str, value: float) -> None:
    columns = {"wave": WAVE, "flux": FLUX, "err": np.full(WAVE.size, value)}
    spectrum = read_one(write(tmp_path / f"a{suffix}", columns))
    assert spectrum.flags == ("ivar_estimated",)
    assert np.median(spectrum.flux * np.sqrt(spectrum.ivar)) == pytest.approx(40.0, rel=0.3)


def test_the_second_noise_stands_in_for_a_first_that_says_nothing(tmp_path: Path) -> None:
    columns = {"wave": WAVE, "flux": FLUX, "ivar": np.full(WAVE.size, np.nan), "sigma": SIGMA}
    spectrum = read_one(write(tmp_path / "a.fits", columns))
    assert spectrum.ivar == pytest.approx(SIGMA**-2.0, rel=1e-4)


def test_an_ivar_of_zeros_says_that_all_is_bad(tmp_path: Path) -> None:
    columns = {"wave": WAVE, "flux": FLUX, "ivar": np.zeros(WAVE.size)}
    assert not read_one(write(tmp_path / "a.fits", columns)).ivar.any()


def test_each_flux_keeps_its_own_noise(tmp_path: Path) -> None:
    columns = {"WAVE": WAVE, "FLUX_REDUCED": FLUX * 7, "ERR_REDUCED": SIGMA * 7, "FLUX": FLUX, "ERR": SIGMA}
    spectrum = read_one(write(tmp_path / "a.fits", columns))
    assert spectrum.flux == pytest.approx(FLUX, rel=1e-5)
    assert spectrum.ivar == pytest.approx(SIGMA**-2.0, rel=1e-4)


def test_a_noise_that_the_scatter_denies_is_flagged(tmp_path: Path) -> None:
    columns = {"wave": WAVE, "flux": FLUX, "ivar": 1000 * SIGMA**-2.0}
    assert read_one(write(tmp_path / "a.csv", columns)).flags == ("noise_doubtful",)


# --- masks

IS_BAD = np.zeros(WAVE.size, dtype=bool)
IS_BAD[500:560] = True
#: Bad pixels are garbage that must not be seen.
SPOILT = np.where(IS_BAD, 40 * FLUX, FLUX)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(
    "name", ["mask", "MASK", "bad", "badpix", "QUAL", "QUALITY", "FLAGS", "DQ", "good", "GPM"]
)
@pytest.mark.parametrize("kind", ["number", "logical"])
def test_a_mask_is_a_mask(tmp_path: Path, suffix: str, name: str, kind: str) -> None:
    marked = ~IS_BAD if name.lower() in ("good", "gpm") else IS_BAD
    mask = marked if kind == "logical" else marked.astype(np.int32)
    columns = {"wave": WAVE, "flux": SPOILT, "err": SIGMA, name: mask}
    spectrum = read_one(write(tmp_path / f"a{suffix}", columns))
    np.testing.assert_array_equal(spectrum.ivar == 0, IS_BAD)


@pytest.mark.parametrize(
    ("bad", "good"),
    [
        ("True", "False"),
        ("T", "F"),
        ("yes", "no"),
        ("1", "0"),
        ("TRUE", "FALSE"),
        ("BAD", "GOOD"),
        ("4", "0"),
    ],
)
def test_masks_in_words(tmp_path: Path, bad: str, good: str) -> None:
    words = np.where(IS_BAD, bad, good)
    columns = {"wave": WAVE, "flux": SPOILT, "err": SIGMA, "mask": words}
    for suffix in (".csv", ".ecsv", ".fits"):
        columns["mask"] = words.astype("S") if suffix == ".fits" else words
        spectrum = read_one(write(tmp_path / f"a{suffix}", columns))
        np.testing.assert_array_equal(spectrum.ivar == 0, IS_BAD)


def test_a_word_that_is_no_truth_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", {"wave": WAVE[:2], "flux": FLUX[:2], "mask": np.array(["0", "perhaps"])})
    with pytest.raises(UnreadableFile, match="row 3 has 'perhaps' as mask"):
        list(read_spectra(path))


@pytest.mark.parametrize("cards", [{"DMODCLS": "OneSpec"}, {"DMODCLS": "OrderStack"}])
def test_pypeit_masks_mean_good(tmp_path: Path, cards: dict[str, str]) -> None:
    columns = {"wave": WAVE, "flux": SPOILT, "ivar": SIGMA**-2.0, "mask": (~IS_BAD).astype(int)}
    spectrum = read_one(write(tmp_path / "a.fits", columns, **cards))
    np.testing.assert_array_equal(spectrum.ivar == 0, IS_BAD)


def test_pypeit_is_known_by_its_columns_where_its_header_is_lost(tmp_path: Path) -> None:
    columns = {
        "wave": WAVE,
        "wave_grid_mid": WAVE,
        "flux": SPOILT,
        "ivar": SIGMA**-2.0,
        "mask": (~IS_BAD) * 1,
    }
    spectrum = read_one(write(tmp_path / "a.csv", columns))
    np.testing.assert_array_equal(spectrum.ivar == 0, IS_BAD)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_mask_over_most_pixels_is_refused_with_its_reason(tmp_path: Path, suffix: str) -> None:
    columns = {"wave": WAVE, "flux": SPOILT, "err": SIGMA, "mask": (~IS_BAD).astype(int)}
    (rejected,) = read_spectra(write(tmp_path / f"a{suffix}", columns))
    assert isinstance(rejected, Rejected)
    assert rejected.reason == Reason.NO_GOOD_PIXELS
    assert "'mask' marks 98% of the measured pixels as bad" in rejected.detail


def test_a_mask_whose_name_is_plain_is_believed(tmp_path: Path) -> None:
    columns = {"wave": WAVE, "flux": FLUX, "err": SIGMA, "bad": (WAVE > 4500).astype(int)}
    assert np.count_nonzero(read_one(write(tmp_path / "a.csv", columns)).ivar) == np.count_nonzero(
        WAVE <= 4500
    )


@settings(max_examples=60)
@given(st.sampled_from(["true", "t", "yes", "y", "1", "on"]), st.sampled_from([str, str.upper, str.title]))
def test_truth_has_many_words(word: str, style: Any) -> None:
    assert truth_of(style(word)) is True
    assert is_bad_cell(style(word), "bad") is True
    assert is_bad_cell(style(word), "good") is False


def test_a_mask_by_name() -> None:
    assert [mask_sense(name) for name in ("AND_MASK", "is_good", "wave", "maskara")] == [
        "bad",
        "good",
        None,
        None,
    ]
    assert mask_sense("OPT_MASK", mask_means_good=True) == "good"
    assert mask_sense("bad_pixel", mask_means_good=True) == "bad"


# --- gaps


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("value", [0.0, np.nan])
def test_pixels_without_a_wavelength_are_a_gap(tmp_path: Path, suffix: str, value: float) -> None:
    wave = WAVE.copy()
    wave[:5], wave[1000:1010], wave[-3:] = value, value, value
    err = np.where(wave > 0, SIGMA, 0.0)
    spectrum = read_one(write(tmp_path / f"a{suffix}", {"wave": wave, "flux": FLUX, "err": err}))
    assert spectrum.n_pix == WAVE.size - 8
    assert np.flatnonzero(spectrum.ivar == 0).tolist() == list(range(995, 1005))
    assert spectrum.grid.wave == pytest.approx(WAVE[5:-3])


def test_a_missing_logarithm_is_a_gap(tmp_path: Path) -> None:
    loglam = np.log10(WAVE)
    loglam[1000:1010] = 0.0
    spectrum = read_one(write(tmp_path / "a.fits", {"loglam": loglam, "flux": FLUX, "err": SIGMA}))
    assert np.flatnonzero(spectrum.ivar == 0).tolist() == list(range(1000, 1010))


# --- lengths


@pytest.mark.parametrize("short", ["wave", "flux", "ivar"])
def test_arrays_of_different_length_are_refused(tmp_path: Path, short: str) -> None:
    columns = {"wave": WAVE, "flux": FLUX, "ivar": SIGMA**-2.0}
    columns[short] = columns[short][:-40]
    (rejected,) = read_spectra(write(tmp_path / "a.npz", columns))
    assert isinstance(rejected, Rejected)
    assert rejected.reason == Reason.LENGTH_MISMATCH
    assert "3160" in rejected.detail
    assert "3200" in rejected.detail
    vectors = {name: column[None, :] for name, column in columns.items()}
    (rejected,) = read_spectra(write_table(tmp_path / "a.fits", vectors))
    assert isinstance(rejected, Rejected)
    assert rejected.reason == Reason.LENGTH_MISMATCH
    assert "3160" in rejected.detail
    assert "3200" in rejected.detail


def test_zeros_at_the_end_do_not_hide_a_difference_in_length(tmp_path: Path) -> None:
    wave = np.concatenate([WAVE[:-40], np.zeros(40)])
    (rejected,) = read_spectra(write(tmp_path / "a.npz", {"wave": wave, "flux": FLUX[:-40]}))
    assert isinstance(rejected, Rejected)


def test_an_archive_of_no_spectra_is_said(tmp_path: Path) -> None:
    nothing = np.zeros((0, 3200))
    with pytest.raises(UnreadableFile, match="no spectra"):
        list(read_spectra(write(tmp_path / "a.npz", {"wave": WAVE, "flux": nothing, "ivar": nothing})))


# --- statements


@pytest.mark.parametrize(
    ("said", "medium"),
    [
        *(({"vacuum": word}, "vacuum") for word in (True, 1, 1.0, "T", "true", "yes", "vacuum", "1")),
        *(({"vacuum": word}, "air") for word in (False, 0, "F", "no", "AIR")),
        ({"airorvac": "VAC"}, "vacuum"),
        ({"medium": " Air "}, "air"),
        ({}, None),
    ],
)
def test_media(said: dict[str, object], medium: str | None) -> None:
    assert medium_of(said) == medium


@pytest.mark.parametrize(
    ("said", "frame"),
    [
        *(
            ({"specsys": word}, "observed")
            for word in ("TOPOCENT", "BARYCENT", "HELIOCEN", "LSRK", "GEOCENTR")
        ),
        ({"frame": "BARYCENTRIC"}, "observed"),
        ({"frame": "ICRS", "specsys": "HELIOCEN"}, "observed"),
        ({"specsys": "SOURCE"}, "rest"),
        ({"frame": "rest-frame"}, "rest"),
        *(({"frame": word}, None) for word in ("ICRS", "FK5", "galactic", 3)),
        ({"radecsys": "FK5", "radesys": "ICRS"}, None),
    ],
)
def test_frames(said: dict[str, object], frame: str | None) -> None:
    assert frame_of(said) == frame


@pytest.mark.parametrize(
    "said", [{"FRAME": "ICRS"}, {"FRAME": "BARYCENTRIC"}, {"MEDIUM": "water"}, {"VACUUM": 7}]
)
def test_an_option_wins_over_a_card(tmp_path: Path, said: dict[str, object]) -> None:
    path = write_table(tmp_path / "a.fits", {"wave": WAVE, "flux": FLUX, "err": SIGMA}, **said)
    spectrum = read_one(path, medium="air", frame="rest")
    assert (spectrum.medium, spectrum.frame) == ("air", "rest")


@pytest.mark.parametrize("name", ["wave_vac", "vacuum_wavelength", "LAMBDA_VAC"])
def test_the_column_may_name_its_medium(tmp_path: Path, name: str) -> None:
    path = write_table(tmp_path / "a.fits", {name: WAVE, "flux": FLUX, "err": SIGMA})
    assert read_one(path).medium == "vacuum"


def test_esos_ucd_names_air(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.fits", {"WAVE": WAVE, "FLUX": FLUX})
    with fits.open(path, mode="update") as file:
        file[1].header["TUCD1"] = "em.wl;obs.atmos"
    assert "medium_estimated" not in read_one(path).flags


@pytest.mark.parametrize(
    ("said", "power"),
    [
        ({"spec_res": 1850.0}, 1850.0),
        ({"resolving_power": "1500"}, 1500.0),
        ({"resolution": 2000}, 2000.0),
        ({"resolution": 2.7}, None),
        ({"spec_rp": -1}, None),
    ],
)
def test_resolving_powers(said: dict[str, object], power: float | None) -> None:
    assert power_of(said) == power


@pytest.mark.parametrize(
    ("said", "hour"),
    [
        ({"date-obs": "2026-11-20T18:00:00Z"}, 18),
        ({"date-obs": "2026-11-20T18:00:00.123"}, 18),
        ({"mjd-obs": 61364.75}, 18),
        ({"mjd": "61364.75"}, 18),
        ({"jd": 2461365.25}, 18),
        ({"date-obs": "2026-11-20", "ut": "18:00:00"}, 18),
        ({"date-obs": "2026-11-20", "mjd-obs": 61364.75}, 18),
        ({"date-obs": "2026-11-20"}, 0),
    ],
)
def test_times(said: dict[str, object], hour: int) -> None:
    time = observed_at_of(said)
    assert time is not None
    assert time.replace(minute=0, second=0, microsecond=0) == datetime(2026, 11, 20, hour, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ra", "dec", "place"),
    [
        ("12:34:56.7", "-12:34:56", (188.73625, -12.58222)),
        ("12 34 56.7", "-12 34 56", (188.73625, -12.58222)),
        ("12h34m56.7s", "-12d34m56s", (188.73625, -12.58222)),
        ("188d44m10.5s", "+12°34′56″", (188.73625, 12.58222)),
        ("00:00:00", "-00:30:00", (0.0, -0.5)),
        (-10.5, 3.0, (349.5, 3.0)),
        ("123.45", "-12.3", (123.45, -12.3)),
        (360.0, 0.0, (0.0, 0.0)),
        (123.0, None, None),
        (None, -12.0, None),
        (-9999.0, -12.0, None),
        (10.0, 91.0, None),
        ("12:61:00", "0", None),
        ("here", "there", None),
        (float("nan"), 1.0, None),
        (True, 1.0, None),
    ],
)
def test_places(ra: object, dec: object, place: tuple[float, float] | None) -> None:
    found = position_of({"ra": ra, "dec": dec})
    assert found == (pytest.approx(place, abs=1e-5) if place is not None else None)


def test_places_of_1950_are_left_out() -> None:
    assert position_of({"ra": 10.0, "dec": 1.0, "equinox": 1950.0}) is None
    assert position_of({"ra": 10.0, "dec": 1.0, "radecsys": "FK4"}) is None
    assert position_of({"ra": 10.0, "dec": 1.0, "equinox": "J2000.0"}) == (10.0, 1.0)


def test_names_of_sources() -> None:
    assert object_of({"object": "STAR 1"}) == "STAR 1"
    assert object_of({"object": "unknown", "targetid": BIG_ID}) == str(BIG_ID)
    assert object_of({"target": 1}) is None
    assert gaia_source_of({"source_id": BIG_ID}) == BIG_ID
    assert gaia_source_of({"gaia_id": f"Gaia DR3 {BIG_ID}"}) == BIG_ID
    assert gaia_source_of({"gaia_id": 1.5}) is None


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_states_the_same(tmp_path: Path, suffix: str) -> None:
    stated = {"ra": "12:34:56.7", "dec": "-12:34:56", "date-obs": "2026-11-20T18:00:00Z", "object": "HD 1"}
    columns = {"wave": WAVE, "flux": FLUX, "err": SIGMA}
    spectrum = read_one(write(tmp_path / f"a{suffix}", columns, **stated))
    assert (spectrum.medium, spectrum.frame, spectrum.flags) == ("air", "rest", ())
    assert np.median(spectrum.resolving_power) == 2000.0
    assert (spectrum.ra, spectrum.dec) == pytest.approx((188.73625, -12.58222), abs=1e-5)
    assert spectrum.observed_at == datetime(2026, 11, 20, 18, tzinfo=UTC)
    assert spectrum.object_id == "HD 1"


# --- units of wavelength


@pytest.mark.parametrize(
    ("label", "factor"),
    [
        ("wavelength [μm]", 1e-4),
        ("wavelength [\u00b5m]", 1e-4),
        ("wavelength (nm)", 0.1),
        ("wave_nm", 0.1),
        ("lambda_um", 1e-4),
        ("lambda (Angstrom)", 1.0),
        ("wl [AA]", 1.0),
        ("WAVE [A]", 1.0),
        ("wave [Å]", 1.0),
        ("wave [\u212b]", 1.0),
        ("wave [0.1nm]", 1.0),
        ("wave [m]", 1e-10),
        ("wave [pm]", 100.0),
    ],
)
def test_units_in_names(tmp_path: Path, label: str, factor: float) -> None:
    spectrum = read_one(write(tmp_path / "a.csv", {label: WAVE * factor, "flux": FLUX, "err": SIGMA}))
    assert spectrum.grid.wave == pytest.approx(WAVE, rel=1e-7)


@pytest.mark.parametrize(
    ("label", "function"),
    [
        ("loglam", np.log10),
        ("log_wave", np.log10),
        ("wave [log10(AA)]", np.log10),
        ("wave [log(Angstrom)]", np.log10),
        ("ln_wave", np.log),
        ("wave [ln(AA)]", np.log),
    ],
)
def test_logarithms_of_wavelengths(tmp_path: Path, label: str, function: Any) -> None:
    spectrum = read_one(write(tmp_path / "a.csv", {label: function(WAVE), "flux": FLUX, "err": SIGMA}))
    assert spectrum.grid.wave == pytest.approx(WAVE, rel=1e-6)


LOOKS = {"nm": 0.1, "um": 1e-4, "m": 1e-10, "log10(AA)": None, "ln(AA)": None}


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("unit", LOOKS)
def test_numbers_in_an_unsaid_unit_are_refused_until_it_is_said(
    tmp_path: Path, suffix: str, unit: str
) -> None:
    factor = LOOKS[unit]
    wave = WAVE * factor if factor else np.log10(WAVE) if unit.startswith("log") else np.log(WAVE)
    path = write(tmp_path / f"a{suffix}", {"wave": wave, "flux": FLUX, "err": SIGMA})
    with pytest.raises(UnreadableFile) as caught:
        list(read_spectra(path))
    assert f"look like {unit}" in str(caught.value)
    assert f"--wave-unit '{unit}'" in str(caught.value)
    assert read_one(path, wave_unit=unit).grid.wave == pytest.approx(WAVE, rel=1e-6)


def test_a_logarithm_by_name_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="look like AA"):
        list(read_spectra(write(tmp_path / "a.csv", {"loglam": WAVE, "flux": FLUX})))
    with pytest.raises(UnreadableFile, match=r"look like ln\(AA\)"):
        list(read_spectra(write(tmp_path / "a.csv", {"loglam": np.log(WAVE), "flux": FLUX})))


@pytest.mark.parametrize("unit", ["parsec", "Hz", "pixel", "furlong", ""])
def test_options_name_real_units_and_columns(unit: str) -> None:
    with pytest.raises(ValueError, match="wave unit is"):
        ReadOptions(wave_unit=unit)
    with pytest.raises(ValueError, match="must name wave and flux"):
        ReadOptions(columns=("wave", "x"))


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_statement_may_name_the_unit(tmp_path: Path, suffix: str) -> None:
    key = "waveunit" if suffix == ".fits" else "wave_unit"
    path = write(tmp_path / f"a{suffix}", {"wave": WAVE / 10, "flux": FLUX}, **{key: "nm"})
    assert read_one(path).grid.wave == pytest.approx(WAVE)


def test_units_of_fits_ecsv_and_votable(tmp_path: Path) -> None:
    table = Table({"wave": WAVE / 10, "flux": FLUX, "err": SIGMA})
    table["wave"].unit = "nm"
    for name, kind in (("a.fits", "fits"), ("a.ecsv", "ascii.ecsv"), ("a.vot", "votable")):
        table.write(tmp_path / name, format=kind)
        assert read_one(tmp_path / name).grid.wave == pytest.approx(WAVE), name


@pytest.mark.parametrize("unit", ["Jy", "mJy", "erg/s/cm2/Hz", "erg / (Hz s cm2)", "uJy", "10**-6 Jy"])
def test_a_flux_per_frequency_is_turned(tmp_path: Path, unit: str) -> None:
    turn = (WAVE / 5000.0) ** 2
    columns = {"wave": WAVE, "flux": FLUX * turn, "err": SIGMA * turn}
    path = write_table(tmp_path / "a.fits", columns, units={"flux": unit})
    spectrum = read_one(path)
    assert spectrum.flux == pytest.approx(FLUX, rel=1e-5)
    assert spectrum.ivar == pytest.approx(SIGMA**-2.0, rel=1e-4)


def test_a_flux_per_wavelength_is_left(tmp_path: Path) -> None:
    for unit in ("erg/s/cm2/Angstrom", "W m-2 um-1", "ct", "J/s/m2/nm"):
        path = write_table(tmp_path / f"{unit[0]}.fits", {"wave": WAVE, "flux": FLUX}, units={"flux": unit})
        assert read_one(path).flux == pytest.approx(FLUX, rel=1e-5), unit


# --- text


def body(separator: str = ",", *, n_columns: int = 3) -> list[str]:
    """Return the rows of the star."""
    columns = [WAVE, FLUX, SIGMA][:n_columns]
    return [separator.join(f"{value:.8g}" for value in row) for row in zip(*columns, strict=True)]


def written(path: Path, *lines: str, encoding: str = "utf-8") -> Path:
    """Write lines."""
    path.write_bytes(("\n".join(lines) + "\n").encode(encoding))
    return path


@pytest.mark.parametrize("separator", [" ", "   ", ",", ";", "\t", ", "])
@pytest.mark.parametrize("n_columns", [2, 3])
@pytest.mark.parametrize("remark", ["", "# a star", "% made by hand", "; seen once", "! no 3"])
def test_columns_without_names_are_taken_in_order(
    tmp_path: Path, separator: str, n_columns: int, remark: str
) -> None:
    spectrum = read_one(written(tmp_path / "a.dat", remark, *body(separator, n_columns=n_columns)))
    assert "columns_by_order" in spectrum.flags
    assert ("ivar_estimated" in spectrum.flags) == (n_columns == 2)
    assert spectrum.flux == pytest.approx(FLUX, rel=1e-6)
    if n_columns == 3:
        assert spectrum.ivar == pytest.approx(SIGMA**-2.0, rel=1e-5)


def test_columns_may_be_named_by_the_caller(tmp_path: Path) -> None:
    lines = [f"{w:.6f} 7 {s:.8g} {f:.8g}" for w, f, s in zip(WAVE, FLUX, SIGMA, strict=True)]
    spectrum = read_one(written(tmp_path / "a.txt", *lines), columns=("wave", "-", "error", "flux"))
    assert spectrum.flux == pytest.approx(FLUX, rel=1e-6)
    assert spectrum.ivar == pytest.approx(SIGMA**-2.0, rel=1e-5)
    assert "columns_by_order" not in spectrum.flags
    strange = written(tmp_path / "b.txt", "x,y,z", *body())
    assert read_one(strange, columns=("wave", "flux", "error")).flux == pytest.approx(FLUX, rel=1e-6)


def test_a_third_column_of_marks_is_no_error(tmp_path: Path) -> None:
    lines = [f"{line} {int(is_bad)}" for line, is_bad in zip(body(" ", n_columns=2), IS_BAD, strict=True)]
    spectrum = read_one(written(tmp_path / "a.txt", *lines))
    assert {"ivar_estimated", "noise_not_understood"} <= set(spectrum.flags)
    assert spectrum.ivar.all()


@pytest.mark.parametrize("remark", ["# end", "% end", "! end", "-----"])
def test_remarks_may_stand_between_and_after_rows(tmp_path: Path, remark: str) -> None:
    lines = [*body(" ")[:100], remark, *body(" ")[100:], remark]
    spectrum = read_one(written(tmp_path / "a.txt", "wave flux err", *lines))
    assert spectrum.flux == pytest.approx(FLUX, rel=1e-6)


def test_prose_may_stand_above_a_header(tmp_path: Path) -> None:
    lines = ["A star seen in May", "Object: HD 1", "Medium = air", "wave  flux  err", *body(" ")]
    spectrum = read_one(written(tmp_path / "a.txt", *lines))
    assert (spectrum.object_id, spectrum.medium) == ("HD 1", "air")
    assert spectrum.ivar == pytest.approx(SIGMA**-2.0, rel=1e-5)


def test_rows_may_differ_in_length_below_no_header(tmp_path: Path) -> None:
    lines = body(" ")
    lines[7], lines[9] = f"{WAVE[7]:.8g}", f"{lines[9]} 5 6"
    spectrum = read_one(written(tmp_path / "a.txt", *lines))
    assert np.flatnonzero(spectrum.ivar == 0).tolist() == [7]


def test_a_third_column_that_is_no_error_is_not_taken_for_one(tmp_path: Path) -> None:
    lines = [f"{w:.6f} {f:.8g} {s**-2:.8g}" for w, f, s in zip(WAVE, 1e3 * FLUX, SIGMA, strict=True)]
    spectrum = read_one(written(tmp_path / "a.txt", *lines))
    assert {"columns_by_order", "ivar_estimated", "noise_not_understood"} <= set(spectrum.flags)


@pytest.mark.parametrize(
    "header",
    [
        "# wavelength [AA] flux err",
        "# wave, flux, err",
        "wave flux err",
        "#wave flux err",
        "% lambda  flux  sigma",
    ],
)
def test_headers_before_blanks(tmp_path: Path, header: str) -> None:
    spectrum = read_one(written(tmp_path / "a.txt", header, *body(" ")))
    assert spectrum.ivar == pytest.approx(SIGMA**-2.0, rel=1e-5)
    assert "columns_by_order" not in spectrum.flags


@pytest.mark.parametrize("header", ["wave,flux", "wave,flux,err,mask", "wave flux ivar mask"])
def test_a_header_that_does_not_fit_its_rows_is_refused(tmp_path: Path, header: str) -> None:
    with pytest.raises(UnreadableFile, match=r"its header has \d columns and its first row 3"):
        list(read_spectra(written(tmp_path / "a.txt", header, *body(" " if " " in header else ","))))


def test_a_units_line_and_rules_as_vizier_writes_them(tmp_path: Path) -> None:
    lines = [f"{w / 10:.8f}\t{f:.8g}\t{s:.8g}" for w, f, s in zip(WAVE, FLUX, SIGMA, strict=True)]
    head = ["#", "#RESOURCE=yCat_1", "lambda\tFlux\te_Flux", "nm\terg\terg", "------\t----\t----"]
    spectrum = read_one(written(tmp_path / "a.tsv", *head, *lines))
    assert spectrum.grid.wave == pytest.approx(WAVE)
    assert spectrum.ivar == pytest.approx(SIGMA**-2.0, rel=1e-5)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-16-le", "utf-16-be"])
def test_text_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    path = written(tmp_path / "a.csv", "wavelength [Å],flux,err", *body(), encoding=encoding)
    assert read_one(path).flux == pytest.approx(FLUX, rel=1e-6)


def test_rubbish_is_no_text_in_any_encoding(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for content in (rng.bytes(5000), b"\xff\xfe" + rng.bytes(5000), bytes(5000), b"\xc5" * 5000):
        (tmp_path / "a.csv").write_bytes(content)
        with pytest.raises(UnreadableFile, match="is neither"):
            list(read_spectra(tmp_path / "a.csv"))


@pytest.mark.parametrize("word", ["", "null", "NULL", "--", "nan", "NaN", "INDEF", "N/A", "None", "-"])
def test_cells_without_a_value_are_missing_pixels(tmp_path: Path, word: str) -> None:
    lines = body()
    for i in range(100, 105):
        lines[i] = f"{WAVE[i]:.8g},{word},{word}"
    spectrum = read_one(written(tmp_path / "a.csv", "wave,flux,err", *lines))
    assert np.flatnonzero(spectrum.ivar == 0).tolist() == list(range(100, 105))


def test_a_short_row_between_blanks_is_a_missing_pixel(tmp_path: Path) -> None:
    lines = body(" ")
    lines[100] = f"{WAVE[100]:.8g}        1.2"
    spectrum = read_one(written(tmp_path / "a.txt", "wave flux err", *lines))
    assert np.flatnonzero(spectrum.ivar == 0).tolist() == [100]


@pytest.mark.parametrize("separator", [";", "\t", " "])
def test_decimal_commas_and_fortran_exponents(tmp_path: Path, separator: str) -> None:
    lines = [line.replace(".", ",").replace("e", "D") for line in body(separator)]
    spectrum = read_one(written(tmp_path / "a.csv", separator.join(("wave", "flux", "err")), *lines))
    assert spectrum.flux == pytest.approx(FLUX, rel=1e-6)


def test_rows_of_several_spectra_are_several_spectra(tmp_path: Path) -> None:
    lines = [f"{BIG_ID + i},{line}" for i in range(3) for line in body()]
    spectra = list(read_spectra(written(tmp_path / "a.csv", "source_id,wave,flux,err", *lines)))
    assert [s.spectrum_id for s in spectra] == [str(BIG_ID + i) for i in range(3)]
    assert all(isinstance(s, Spectrum) and s.n_pix == WAVE.size for s in spectra)
    assert [s.gaia_source_id for s in spectra if isinstance(s, Spectrum)] == [BIG_ID + i for i in range(3)]


def test_a_column_that_numbers_the_pixels_names_no_spectra(tmp_path: Path) -> None:
    lines = [f"{i},{line}" for i, line in enumerate(body())]
    assert read_one(written(tmp_path / "a.csv", "id,wave,flux,err", *lines)).n_pix == WAVE.size


# --- arrays, ECSV, VOTable


@pytest.mark.parametrize("is_turned", [True, False])
def test_an_array_of_columns_or_rows(tmp_path: Path, is_turned: bool) -> None:
    table = np.stack([WAVE, FLUX, SIGMA])
    np.save(tmp_path / "a.npy", table.T if is_turned else table)
    spectrum = read_one(tmp_path / "a.npy")
    assert "columns_by_order" in spectrum.flags
    assert spectrum.ivar == pytest.approx(SIGMA**-2.0, rel=1e-5)
    swapped = read_one(tmp_path / "a.npy", columns=("wave", "error", "flux"))
    assert swapped.flux == pytest.approx(SIGMA, rel=1e-6)


def test_an_array_of_records(tmp_path: Path) -> None:
    np.save(
        tmp_path / "a.npy", np.rec.fromarrays([WAVE / 10, SIGMA, FLUX], names=["wave (nm)", "err", "flux"])
    )
    spectrum = read_one(tmp_path / "a.npy")
    assert spectrum.flux == pytest.approx(FLUX, rel=1e-6)
    assert "columns_by_order" not in spectrum.flags


@pytest.mark.parametrize("array", [np.zeros(5), np.zeros((2, 3, 4)), np.array([{}], dtype=object)])
def test_arrays_that_are_no_table(tmp_path: Path, array: Array) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(UnreadableFile, match=r"shape|pickled"):
        list(read_spectra(tmp_path / "a.npy"))


@pytest.mark.parametrize("kind", ["tabledata", "binary", "binary2"])
def test_every_kind_of_votable(tmp_path: Path, kind: str) -> None:
    table = Table({"wave": WAVE, "flux": FLUX, "err": SIGMA, "source_id": np.full(WAVE.size, BIG_ID)})
    from_table(table).to_xml(str(tmp_path / "a.xml"), tabledata_format=kind)
    spectrum = read_one(tmp_path / "a.xml")
    assert spectrum.ivar == pytest.approx(SIGMA**-2.0, rel=1e-5)
    assert spectrum.gaia_source_id == BIG_ID


VOTABLE = """<?xml version="1.0"?>{doctype}<VOTABLE version="1.4"><RESOURCE><TABLE{nrows}>
<FIELD name="wave" datatype="double"{size}/><FIELD name="flux" datatype="double"/><DATA>{data}</DATA>
</TABLE></RESOURCE></VOTABLE>"""


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [
        ({"data": '<BINARY><STREAM encoding=">" href="file:///etc/hosts"/></BINARY>'}, "never opened"),
        ({"data": '<FITS><STREAM href="file:///etc/hosts"/></FITS>'}, "never opened"),
        ({"data": '<v:BINARY2 xmlns:v="x"><v:STREAM href="http://localhost/"/></v:BINARY2>'}, "never opened"),
        ({"doctype": '<!DOCTYPE a [<!ENTITY b "b">]>'}, "document type"),
        ({"nrows": ' nrows="900000000000"'}, "the file is shorter"),
        ({"size": ' arraysize="900000x900000"'}, "the file is shorter"),
        ({"data": "<TABLEDATA><TR>"}, "mismatched tag"),
    ],
)
def test_a_hostile_votable_is_refused(tmp_path: Path, parts: dict[str, str], complaint: str) -> None:
    text = VOTABLE.format(**{"doctype": "", "nrows": "", "size": "", "data": "", **parts})
    with pytest.raises(UnreadableFile, match=complaint):
        list(read_spectra(written(tmp_path / "a.vot", text)))


def test_a_table_of_vectors_in_ecsv(tmp_path: Path) -> None:
    table = Table(
        {"source_id": [BIG_ID, BIG_ID + 1], "wave": [WAVE, WAVE], "flux": [FLUX, FLUX + 1], "snr": [9, 9]}
    )
    table.write(tmp_path / "a.ecsv", format="ascii.ecsv")
    first, second = read_spectra(tmp_path / "a.ecsv")
    assert isinstance(first, Spectrum)
    assert isinstance(second, Spectrum)
    assert (first.spectrum_id, second.spectrum_id) == (str(BIG_ID), str(BIG_ID + 1))
    assert second.flux == pytest.approx(FLUX + 1, rel=1e-6)
    assert "ivar_estimated" in second.flags


# --- identifiers of 64 bits


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("name", ["targetid", "source_id", "object_ids"])
def test_long_identifiers_keep_all_their_digits(tmp_path: Path, suffix: str, name: str) -> None:
    columns = {"wave": WAVE, "flux": FLUX, "err": SIGMA}
    if suffix in (".fits", ".npz"):
        columns = {key: np.tile(column, (2, 1)) for key, column in columns.items()}
        columns[name] = np.array([BIG_ID, BIG_ID + 1])
    else:
        columns = {key: np.tile(column, 2) for key, column in columns.items()}
        columns[name] = np.repeat([BIG_ID, BIG_ID + 1], WAVE.size)
    spectra = list(read_spectra(write(tmp_path / f"a{suffix}", columns)))
    assert [s.object_id for s in spectra if isinstance(s, Spectrum)] == [str(BIG_ID), str(BIG_ID + 1)]


def test_the_whole_layout_of_some_real_tables() -> None:
    jwst = layout_of(
        ["WAVELENGTH", "FLUX", "FLUX_ERROR", "FLUX_VAR_POISSON", "SURF_BRIGHT", "SB_ERROR", "DQ"]
    )
    assert jwst is not None
    assert (jwst.noises, jwst.masks) == ((("FLUX_ERROR", "error"),), (("DQ", "bad"),))
    pypeit = layout_of(
        ["OPT_WAVE", "OPT_FLAM", "OPT_FLAM_IVAR", "OPT_FLAM_SIG", "OPT_COUNTS_IVAR", "OPT_MASK"]
    )
    assert pypeit is not None
    assert (pypeit.wave, pypeit.flux, pypeit.noises[0]) == ("OPT_WAVE", "OPT_FLAM", ("OPT_FLAM_IVAR", "ivar"))
    normal = layout_of(["wavelength", "normalized_flux", "err"])
    assert normal is not None
    assert normal.noises == (("err", "error"),)
    assert layout_of(["spectral_axis", "flux", "uncertainty"]) is not None
    assert layout_of(["ra", "dec", "flux"]) is None
    assert layout_of(["wave_err", "flux"]) is None


# --- the cases that came out wrong


def of_case(shared_data: Path, case: str, **options: Any) -> Spectrum:
    """Return the one spectrum of a case."""
    (path,) = expand_paths([shared_data / "field" / case])
    return read_one(path, **options)


#: Cases of the star of ``_reference/x.fits``, and how many of its 3696 pixels are bad.
SAME_STAR = {
    "4most-noise-and-quality": 74, "ecsv-nm": 0, "frame-barycentric": 0, "greek-mu": 0, "latin1": 0,
    "mask-logical": 93, "mask-words": 93, "noise-e_flux": 0, "noise-variance": 0, "null-words": 39,
    "phase3-keywords": 0, "position-sexagesimal": 0, "utf16": 0, "vacuum-card-integer": 0,
    "zero-wave-inside": 10,
}  # fmt: skip


@pytest.mark.parametrize(("case", "n_bad"), SAME_STAR.items())
def test_a_case_is_the_reference_star(shared_data: Path, case: str, n_bad: int) -> None:
    reference = read_one(shared_data / "field" / "_reference" / "x.fits")
    spectrum = of_case(shared_data, case)
    good = spectrum.ivar > 0
    assert np.count_nonzero(~good) == n_bad
    scale = np.median(reference.flux[good] / spectrum.flux[good])
    assert spectrum.flux[good] * scale == pytest.approx(reference.flux[good], rel=1e-3)
    assert spectrum.ivar[good] / scale**2 == pytest.approx(reference.ivar[good], rel=2e-3)
    assert spectrum.grid.wave == pytest.approx(reference.grid.wave, abs=0.01)
    if "medium_estimated" not in spectrum.flags:
        assert spectrum.medium == "vacuum"
    assert spectrum.frame == "observed"


def test_the_other_cases_of_tables(shared_data: Path) -> None:
    for case in ("err-all-nan", "err-all-zero"):
        spectrum = of_case(shared_data, case)
        assert "ivar_estimated" in spectrum.flags
        assert spectrum.ivar.all()
    assert np.count_nonzero(of_case(shared_data, "tnull-ivar").ivar == 0) == 74
    headerless = of_case(shared_data, "headerless-ascii")
    assert {"columns_by_order", "ivar_estimated"} <= set(headerless.flags)
    with pytest.raises(UnreadableFile, match="these look like nm; say --wave-unit 'nm'"):
        of_case(shared_data, "nanometres-unsaid")
    assert of_case(shared_data, "nanometres-unsaid", wave_unit="nm").grid.wave == pytest.approx(
        headerless.grid.wave, abs=0.01
    )
    (rejected,) = read_spectra(shared_data / "field" / "npz-lengths" / "star.npz")
    assert isinstance(rejected, Rejected)
    assert "2667" in rejected.detail
    assert "2707" in rejected.detail


def test_what_the_cases_state(shared_data: Path) -> None:
    phase3, placed = of_case(shared_data, "phase3-keywords"), of_case(shared_data, "position-sexagesimal")
    assert np.median(phase3.resolving_power) == 1850.0
    assert (phase3.object_id, phase3.observed_at) == ("STAR 1", datetime(2014, 12, 9, 6, tzinfo=UTC))
    assert "frame_estimated" not in phase3.flags
    assert (placed.ra, placed.dec) == pytest.approx((188.736, -12.582), abs=1e-3)
    assert placed.observed_at == datetime(2026, 11, 20, 18, tzinfo=UTC)
    ids = [read.spectrum_id for read in read_spectra(shared_data / "field" / "uint64-ids" / "ids.fits")]
    assert ids == [str(BIG_ID + i) for i in range(3)]


def test_a_mask_of_pypeit_hides_its_garbage(shared_data: Path) -> None:
    garbage = of_case(shared_data, "mask-1good-scored-on-bad")
    clean = of_case(shared_data, "nanometres-unsaid", wave_unit="nm")
    good = garbage.ivar > 0
    assert 0.8 < good.mean() < 0.85
    seen = np.interp(garbage.grid.wave[good], clean.grid.wave, clean.flux)
    assert np.corrcoef(seen, garbage.flux[good])[0, 1] > 0.8  # its wavelengths are of vacuum
