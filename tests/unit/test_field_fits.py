"""FITS files, packed files and folders as the field has them: all is read, or what was not is said."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from cempstream.processors.grid import Array, LinearGrid, LogGrid
from cempstream.processors.readers import ReadOptions, UnreadableFile, expand_paths, read_spectra
from cempstream.processors.spectrum import Spectrum
from cempstream.schemas.stamp import record_id
from cempstream.streams.scoring.assemble import load_pipeline
from cempstream.streams.scoring.pipeline import Pipeline
from cempstream.streams.settings import read_settings
from tests.support.field import run_case
from tests.support.survey_files import lamost_cards, star, write_desi, write_table

WAVE = 3900.0 + 0.9 * np.arange(3200)
FLUX = star(WAVE)


def read_all(path: Path, **options: Any) -> list[Spectrum]:
    """Return the spectra of a file, all of which must be good."""
    spectra = []
    for spectrum in read_spectra(path, ReadOptions(**options)):
        assert isinstance(spectrum, Spectrum), spectrum
        spectra.append(spectrum)
    return spectra


def read_one(path: Path, **options: Any) -> Spectrum:
    (spectrum,) = read_all(path, **options)
    return spectrum


# --- the cases themselves, through the models


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return load_pipeline(read_settings())


#: Case: survey, grating, R, [Fe/H] and RV in km/s where they are known, flags that must be there.
SCORED: dict[str, tuple[str, float | None, float | None, set[str]]] = {
    "desi-compressed-mask": ("desi", -1.63, -145.0, set()),
    "empty-first-table": ("sdss", -1.5, -150.0, set()),
    "lamost-mrs-half-read": ("lamost", None, None, {"partial_coverage"}),
    "nonascii-card": ("generic", -1.51, -150.0, set()),
    "trailing-bytes": ("generic", -1.51, -150.0, set()),
    "variable-length": ("generic", -1.51, -150.0, set()),
    "folder-bz2-ecsv": ("generic", -1.51, None, set()),  # the ECSV does not state its medium
    "folder-zip-xz": ("generic", -1.51, -150.0, set()),
}


@pytest.mark.shared
@pytest.mark.parametrize("case", SCORED)
def test_a_case_from_the_field_is_scored_right(pipeline: Pipeline, shared_data: Path, case: str) -> None:
    survey, feh, rv_kms, flags = SCORED[case]
    found = run_case(pipeline, shared_data / "field" / case)
    assert found.complaints == []
    assert len(found.scored) == len(found.results) > 0
    for outcome in found.scored:
        assert outcome.spectrum.survey == survey
        assert flags <= set(outcome.flags)
        if feh is not None:
            assert outcome.parameters["feh"].value == pytest.approx(feh, abs=0.06)
        if rv_kms is not None:
            assert outcome.rv_kms == pytest.approx(rv_kms, abs=5)


@pytest.mark.shared
@pytest.mark.parametrize("case", ["iraf-linear", "iraf-log"])
@pytest.mark.parametrize("options", [{}, {"medium": "air", "frame": "rest", "resolving_power": 2000.0}])
def test_iraf_spectra_are_the_candidates_that_they_are(
    pipeline: Pipeline, shared_data: Path, case: str, options: dict[str, str | float]
) -> None:
    field = shared_data / "field"
    (reference,) = run_case(pipeline, field / "_reference" / "cemp.csv").scored
    (outcome,) = run_case(pipeline, field / case, **options).scored
    assert outcome.decision.is_candidate
    assert outcome.p_cemp == pytest.approx(reference.p_cemp, abs=0.02)
    assert "ivar_estimated" in outcome.flags
    assert ("medium_estimated" in outcome.flags) == (not options)
    assert (outcome.spectrum.medium, outcome.spectrum.frame) == ("air", "rest")
    assert outcome.spectrum.object_id == "star A"
    assert outcome.spectrum.observed_at is not None


@pytest.mark.shared
def test_both_arms_of_lamosts_medium_resolution_are_one_spectrum(shared_data: Path) -> None:
    spectrum = read_one(next((shared_data / "field" / "lamost-mrs-half-read").glob("*.fits")))
    assert spectrum.spectrum_id == "med-58000-TEST01_sp01-001"
    assert (spectrum.survey, spectrum.grating, spectrum.resolving_power) == ("lamost", "br", 7500.0)
    assert (spectrum.ra, spectrum.dec) == (10.0, 20.0)
    assert spectrum.n_pix == 414 + 376


@pytest.mark.shared
@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("desi-frame-with-sky", "is a DESI frame: 'FLUX' is in 'electron/Angstrom'"),
        ("truncated-gz", "is cut off"),
        ("stdout-latin1", "is a folder without files of spectra"),
    ],
)
def test_a_case_from_the_field_is_refused_in_words(
    pipeline: Pipeline, shared_data: Path, case: str, words: str
) -> None:
    found = run_case(pipeline, shared_data / "field" / case)
    assert found.results == []
    assert words in found.complaints[0]


@pytest.mark.shared
def test_two_files_of_one_name_are_two_records(shared_data: Path) -> None:
    first, second = (
        read_one(path) for path in expand_paths([shared_data / "field" / "same-name-two-folders"])
    )
    assert first.spectrum_id == second.spectrum_id == "coadd"
    assert record_of(first) != record_of(second)


# --- identity


def record_of(spectrum: Spectrum) -> str:
    return record_id(spectrum.survey, spectrum.spectrum_id, spectrum.reduction_version)


def test_a_record_is_its_content_where_its_survey_states_no_version(tmp_path: Path) -> None:
    columns = {"wave": WAVE, "flux": FLUX, "ivar": np.full(WAVE.size, 0.25)}
    first = read_one(write_table(tmp_path / "a.fits", columns))
    (tmp_path / "other").mkdir()
    repeat = read_one(write_table(tmp_path / "other" / "a.fits", columns, OBSERVER="another"))
    assert record_of(repeat) == record_of(first)
    for name, change in (("flux", 1e-3), ("ivar", 1e-3), ("wave", 1e-5)):
        changed = {**columns, name: columns[name] * (1 + change * (np.arange(WAVE.size) == 7))}
        path = write_table(tmp_path / f"{name}.fits", changed)
        shutil.move(path, tmp_path / "a.fits")
        assert record_of(read_one(tmp_path / "a.fits")) != record_of(first)


def test_two_rows_of_one_id_are_two_records(tmp_path: Path) -> None:
    flux = np.stack([FLUX, star(WAVE, seed=1), FLUX])
    path = write_table(
        tmp_path / "a.fits", {"id": np.array([b"a", b"a", b"a"]), "wave": np.stack([WAVE] * 3), "flux": flux}
    )
    first, second, repeat = read_all(path)
    assert first.spectrum_id == second.spectrum_id == "a"
    assert record_of(first) != record_of(second)
    assert record_of(first) == record_of(repeat)


# --- everything of a file


def mrs_table(name: str, low_aa: float, high_aa: float, *, vectors: bool = False, level: float = 1.0) -> Any:
    log_wave = np.arange(np.log10(low_aa), np.log10(high_aa), 4e-5)
    arrays = {
        "FLUX": np.full(log_wave.size, level),
        "IVAR": np.full(log_wave.size, 100.0),
        ("WAVELENGTH" if vectors else "LOGLAM"): 10**log_wave if vectors else log_wave,
        "ANDMASK": (np.arange(log_wave.size) == 3).astype(float),
    }
    columns = [
        fits.Column(n, f"{a.size}D", array=a[None]) if vectors else fits.Column(n, "D", array=a)
        for n, a in arrays.items()
    ]
    return fits.BinTableHDU.from_columns(columns, name=name)


def write_mrs(path: Path, *tables: Any) -> Path:
    fits.HDUList([fits.PrimaryHDU(header=lamost_cards()), *tables]).writeto(path)
    return path


@pytest.mark.parametrize("vectors", [False, True])
def test_coadded_arms_are_joined_and_exposures_left_alone(tmp_path: Path, vectors: bool) -> None:
    spectrum = read_one(
        write_mrs(
            tmp_path / "a.fits",
            mrs_table("COADD_R", 6300, 6800, vectors=vectors, level=2.0),
            mrs_table("COADD_B", 4950, 5350, vectors=vectors),
            mrs_table("B-84429180", 4950, 5350, vectors=vectors, level=9.0),
        )
    )
    wave = spectrum.grid.wave
    assert np.all(np.diff(wave) > 0)
    assert (wave[0], wave[-1]) == pytest.approx((4950, 6800), abs=1)
    assert spectrum.flux[[0, -1]].tolist() == [1.0, 2.0]
    assert np.count_nonzero(spectrum.ivar == 0) == 2
    assert spectrum.object_id == "LAMOST J103250.26+354136.2"
    assert spectrum.reduction_version == "LAMOST DR7 v2.9.8"


def test_exposures_without_a_coadd_are_read_one_by_one(tmp_path: Path) -> None:
    path = write_mrs(
        tmp_path / "a.fits", mrs_table("B-8001", 4950, 5350), mrs_table("R-8001", 6300, 6800, level=2.0)
    )
    blue, red = read_all(path)
    assert (blue.grating, red.grating) == ("b-8001", "r-8001")
    assert blue.object_id == red.object_id
    assert blue.spectrum_id != red.spectrum_id


def spectrum_table(name: str, flux: Array, n_rows: int = 1) -> Any:
    columns = [
        fits.Column("wavelength", f"{WAVE.size}D", array=np.broadcast_to(WAVE, (n_rows, WAVE.size))),
        fits.Column("flux", f"{WAVE.size}E", array=np.broadcast_to(flux, (n_rows, WAVE.size))),
        fits.Column("ivar", f"{WAVE.size}E", array=np.full((n_rows, WAVE.size), 0.25)),
    ]
    return fits.BinTableHDU.from_columns(columns, name=name)


def test_every_table_with_rows_is_read(tmp_path: Path) -> None:
    tables = [
        spectrum_table("BOSS/APO", FLUX, 0),
        spectrum_table("BOSS/LCO", FLUX, 1),
        spectrum_table("APOGEE/APO", 2 * FLUX, 2),
    ]
    fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(tmp_path / "mwmStar-1.fits")
    spectra = read_all(tmp_path / "mwmStar-1.fits")
    assert [s.survey for s in spectra] == ["sdss"] * 3
    assert [s.medium for s in spectra] == ["vacuum"] * 3
    assert len({s.spectrum_id for s in spectra}) == 3
    assert np.median(spectra[2].flux) == pytest.approx(2 * np.median(spectra[0].flux), rel=1e-3)


def test_a_file_without_a_spectrum_is_said(tmp_path: Path) -> None:
    fits.HDUList([fits.PrimaryHDU(), spectrum_table("A", FLUX, 0)]).writeto(tmp_path / "a.fits")
    np.savez(tmp_path / "a.npz", wave=WAVE, flux=np.zeros((0, WAVE.size)))
    for name in ("a.fits", "a.npz"):
        with pytest.raises(UnreadableFile):
            list(read_spectra(tmp_path / name))


def cframe(unit: str | None, mask: Any, status: int = 0, camera: str = "b0") -> fits.HDUList:
    primary = fits.PrimaryHDU(np.stack([FLUX, FLUX]).astype(np.float32))
    primary.header["EXTNAME"], primary.header["CAMERA"] = "FLUX", camera
    if unit:
        primary.header["BUNIT"] = unit
    fibres = [
        fits.Column("TARGETID", "K", array=np.array([39633297352951412, 39633297352951413])),
        fits.Column("FIBERSTATUS", "J", array=np.array([status, 0])),
    ]
    images = [
        fits.ImageHDU(np.full((2, WAVE.size), 0.25, np.float32), name="IVAR"),
        mask,
        fits.ImageHDU(WAVE, name="WAVELENGTH"),
    ]
    return fits.HDUList([primary, *images, fits.BinTableHDU.from_columns(fibres, name="FIBERMAP")])


@pytest.mark.parametrize("method", ["RICE_1", "GZIP_1", "GZIP_2", None])
def test_masks_of_desi_are_read_however_they_are_packed(tmp_path: Path, method: str | None) -> None:
    bits = np.zeros((2, WAVE.size), np.uint32)
    bits[0, 5], bits[1, 7] = 1 << 31, 4
    mask = (
        fits.ImageHDU(bits, name="MASK")
        if method is None
        else fits.CompImageHDU(bits, name="MASK", compression_type=method)
    )
    cframe("10**-17 erg/(s cm2 Angstrom)", mask).writeto(tmp_path / "cframe-b0-1.fits")
    first, second = read_all(tmp_path / "cframe-b0-1.fits")
    assert np.flatnonzero(first.ivar == 0).tolist() == [5]
    assert np.flatnonzero(second.ivar == 0).tolist() == [7]


@pytest.mark.parametrize("unit", ["electron/Angstrom", "counts", "photon / Angstrom"])
def test_counts_of_desi_are_refused_by_name(tmp_path: Path, unit: str) -> None:
    mask = fits.ImageHDU(np.zeros((2, WAVE.size), np.int32), name="MASK")
    cframe(unit, mask).writeto(tmp_path / "sframe-b0-1.fits")
    with pytest.raises(UnreadableFile, match=r"is a DESI frame.*give the cframe"):
        list(read_spectra(tmp_path / "sframe-b0-1.fits"))


@pytest.mark.parametrize(
    ("bit", "camera", "is_good"),
    [(2, "b0", False), (9, "b0", False), (16, "b0", False), (1, "b0", True), (3, "b0", True),
     (10, "b0", True), (22, "b0", False), (22, "r0", True), (23, "r0", False), (24, "z0", False)],
)  # fmt: skip
def test_fibres_that_desi_rules_out_have_no_good_pixel(
    tmp_path: Path, bit: int, camera: str, is_good: bool
) -> None:
    mask = fits.ImageHDU(np.zeros((2, WAVE.size), np.int32), name="MASK")
    cframe(None, mask, 1 << bit, camera).writeto(tmp_path / "cframe.fits")
    first, second = read_all(tmp_path / "cframe.fits")
    assert bool(np.any(first.ivar > 0)) == is_good
    assert np.any(second.ivar > 0)


def test_one_bad_amplifier_of_desi_costs_its_arm_alone(tmp_path: Path) -> None:
    arms = {}
    for arm, low in (("B", 3600), ("R", 5760)):
        wave = low + 0.8 * np.arange(2500)
        images = {"WAVELENGTH": wave, "FLUX": np.ones((1, 2500), np.float32)}
        arms[arm] = {**images, "IVAR": np.ones((1, 2500), np.float32), "MASK": np.zeros((1, 2500), np.int32)}
    fibres = {"TARGETID": np.array([5]), "COADD_FIBERSTATUS": np.array([1 << 23])}
    spectrum = read_one(write_desi(tmp_path / "coadd.fits", arms, fibres))
    wave = spectrum.grid.wave
    assert np.all(spectrum.ivar[wave < 5598] == 1)
    assert not np.any(spectrum.ivar[wave > 5602])


# --- sound files are not called damaged


@pytest.fixture
def table(tmp_path: Path) -> bytes:
    columns = {"wave": WAVE, "flux": FLUX, "ivar": np.full(WAVE.size, 0.25)}
    return write_table(tmp_path / "whole.fits", columns, OBSERVER="Bessel", MEDIUM="vacuum").read_bytes()


#: What stands after the 3,200 rows of three numbers in the last block of 2,880 bytes.
_PADDING_BYTES = -(3200 * 24) % 2880

SOUND: dict[str, Callable[[bytes], bytes]] = {
    "latin-1 card": lambda whole: whole.replace(b"'Bessel", b"'B\xe9ssel"),
    "utf-8 card": lambda whole: whole.replace(b"'Bessel  ", "'Béssel ".encode()),
    "no padding": lambda whole: whole[:-_PADDING_BYTES],
    "zeros after it": lambda whole: whole + bytes(100),
    "a block after it": lambda whole: whole + bytes(2880),
    "a line after it": lambda whole: whole + b"\n",
    "blanks after it": lambda whole: whole + b" " * 5760,
    "letters after it": lambda whole: whole + b"x" * 9000,
}


@pytest.mark.parametrize("name", SOUND)
def test_sound_files_are_not_called_damaged(tmp_path: Path, table: bytes, name: str) -> None:
    (tmp_path / "a.fits").write_bytes(SOUND[name](table))
    assert read_one(tmp_path / "a.fits").n_pix == WAVE.size


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.97])
def test_a_cut_file_is_called_cut_off(tmp_path: Path, table: bytes, share: float) -> None:
    (tmp_path / "a.fits").write_bytes(table[: int(share * len(table))])
    with pytest.raises(UnreadableFile, match=r"is cut off.*; fetch it again"):
        list(read_spectra(tmp_path / "a.fits"))


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
def test_a_cut_packed_file_is_called_cut_off(
    tmp_path: Path, table: bytes, pack: Callable[[bytes], bytes], share: float
) -> None:
    whole = pack(table)
    (tmp_path / "a.fits.gz").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UnreadableFile, match=r"is cut off.*; fetch it again"):
        list(read_spectra(tmp_path / "a.fits.gz"))


@pytest.mark.parametrize("form", ["PD()", "QD()", "PE()"])
def test_arrays_of_variable_length_are_read(tmp_path: Path, form: str) -> None:
    sizes = (3200, 2000)
    columns = [
        fits.Column(name, form, array=np.array([values[:n] for n in sizes], dtype=object))
        for name, values in (("wave", WAVE), ("flux", FLUX), ("ivar", np.full(WAVE.size, 0.25)))
    ]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "a.fits")
    spectra = read_all(tmp_path / "a.fits")
    assert [s.n_pix for s in spectra] == list(sizes)
    for spectrum in spectra:
        np.testing.assert_allclose(spectrum.flux, FLUX[: spectrum.n_pix], rtol=1e-5)
        np.testing.assert_allclose(spectrum.grid.wave, WAVE[: spectrum.n_pix], rtol=1e-6)


# --- packed files and folders


def zipped(**files: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def tarred(content: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        info = tarfile.TarInfo("a.fits")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def test_a_folder_is_read_or_its_files_are_named(tmp_path: Path, table: bytes) -> None:
    folder = tmp_path / "night"
    folder.mkdir()
    read = {
        "a.fits": table,
        "b.fits.bz2": bz2.compress(table),
        "c.fits.xz": lzma.compress(table),
        "d.zip": zipped(x=table),
        "e.zip": zipped(x=gzip.compress(table)),
        "f.FITS.GZ": gzip.compress(table),
        "g": table,
    }
    named = {
        "h.zip": (zipped(x=table, y=table), "a zip of 2 files"),
        "i.tar": (tarred(table), "a tar archive"),
        "j.tar.gz": (gzip.compress(tarred(table)), "a tar archive"),
        "k.fits.Z": (b"\x1f\x9d" + bytes(500), "packed by compress"),
        "l.fits.zst": (b"\x28\xb5\x2f\xfd" + bytes(500), "packed by zstd"),
        "m.rdb": (b"words and no numbers\n", "words and no numbers"),
    }
    silent = {"README.md": b"x", "plot.png": b"x", ".hidden.fits": b"x", "LICENSE": b"x"}
    for name, content in {**read, **{n: c for n, (c, _) in named.items()}, **silent}.items():
        (folder / name).write_bytes(content)
    found = expand_paths([folder])
    assert {path.name for path in found} == {*read, *named}
    for path in found:
        if path.name in read:
            assert read_one(path).spectrum_id == path.name[0].lower()
        else:
            with pytest.raises(UnreadableFile, match=named[path.name][1]):
                list(read_spectra(path))


def test_a_folder_of_nothing_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    (tmp_path / "README.md").touch()
    (found,) = expand_paths([tmp_path])
    with pytest.raises(UnreadableFile, match="a folder without files of spectra"):
        list(read_spectra(found))


# --- images


def write_image(path: Path, data: Array, **cards: Any) -> Path:
    header = fits.Header()
    for key, value in cards.items():
        header[key.replace("__", "-")] = value
    fits.PrimaryHDU(data.astype(np.float32), header=header).writeto(path)
    return path


LINEAR = {"CRVAL1": 3900.0, "CDELT1": 0.9, "CRPIX1": 1.0}


@pytest.mark.parametrize(
    ("cards", "medium"),
    [
        (LINEAR, None),
        ({"CRVAL1": 3900.0, "CD1_1": 0.9}, None),
        ({"CRVAL1": 3900.0 + 90.0, "CDELT1": 0.9, "CRPIX1": 101.0, "CUNIT1": "Angstrom"}, None),
        ({"CRVAL1": 390.0, "CDELT1": 0.09, "CUNIT1": "nm", "CTYPE1": "AWAV"}, "air"),
        ({"CRVAL1": 3.9e-7, "CDELT1": 0.9e-10, "CUNIT1": "m", "CTYPE1": "WAVE"}, "vacuum"),
        ({**LINEAR, "WAT1_001": "wtype=linear label=Wavelength units=angstroms", "VACUUM": True}, "vacuum"),
    ],
)
def test_linear_axes(tmp_path: Path, cards: dict[str, Any], medium: str | None) -> None:
    spectrum = read_one(write_image(tmp_path / "a.fits", FLUX, **cards))
    np.testing.assert_allclose(spectrum.grid.wave, WAVE, atol=1e-3)
    assert "ivar_estimated" in spectrum.flags
    if medium:
        assert spectrum.medium == medium
    assert ("medium_estimated" in spectrum.flags) == (medium is None)


def test_an_axis_that_runs_redwards_is_turned_round(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.fits", FLUX[::-1], CRVAL1=WAVE[-1], CDELT1=-0.9)
    spectrum = read_one(path)
    np.testing.assert_allclose(spectrum.grid.wave, WAVE, atol=1e-3)
    np.testing.assert_allclose(spectrum.flux, FLUX, rtol=1e-5)


def test_logarithmic_axes(tmp_path: Path) -> None:
    grid = LogGrid(3.6, 1e-4, 2000)
    flux = star(grid.wave)
    flagged = read_one(write_image(tmp_path / "a.fits", flux, CRVAL1=3.6, CDELT1=1e-4, DC__FLAG=1))
    assert flagged.grid == grid
    step = grid.wave[0] * 1e-4 * np.log(10)
    stated = write_image(tmp_path / "b.fits", flux, CRVAL1=grid.wave[0], CDELT1=step, CTYPE1="WAVE-LOG")
    assert read_one(stated).grid == grid
    with pytest.raises(UnreadableFile, match="look like log10"):
        list(read_spectra(write_image(tmp_path / "c.fits", flux, CRVAL1=3.6, CDELT1=1e-4)))
    assert read_one(tmp_path / "c.fits", wave_unit="log10(AA)").grid == grid


def write_multispec(path: Path, rows: Array, specs: list[str], **cards: Any) -> Path:
    """Write as IRAF does: cards of 68 characters, whose blanks at the end are lost."""
    text = "wtype=multispec " + " ".join(f'spec{i + 1} = "{spec}"' for i, spec in enumerate(specs))
    parts = {f"WAT2_{i // 68 + 1:03d}": text[i : i + 68] for i in range(0, len(text), 68)}
    words = {
        "WAT0_001": "system=multispec",
        "WAT1_001": "wtype=multispec label=Wavelength units=angstroms",
        "CTYPE1": "MULTISPE",
        "CTYPE2": "MULTISPE",
    }
    return write_image(path, rows, **words, **parts, **cards)


PIXELS = np.arange(1, WAVE.size + 1)
CURVED = np.polynomial.Polynomial([5340.0, 1440.0, 30.0, -5.0])
X = (2.0 * PIXELS - (WAVE.size + 1)) / (WAVE.size - 1)


def functions() -> dict[str, tuple[str, Array]]:
    n, head = WAVE.size, "1 1 2 0 0 {} 0. 1. 2."
    chebyshev = CURVED.convert(kind=np.polynomial.Chebyshev).coef
    legendre = CURVED.convert(kind=np.polynomial.Legendre).coef
    tail = f"4. 1. {n}."
    # Coefficients that rise evenly make a line of both kinds of spline, here 3900 + 3000 s / 4 Å.
    cubic, linear = (
        [(3900.0 - 750.0 + 750.0 * j) / 6 for j in range(7)],
        [3900.0 + 750.0 * j for j in range(5)],
    )
    line = 3900.0 + 3000.0 * (PIXELS - 1) / (n - 1)

    def spec(kind: int, terms: str, coefficients: Any) -> str:
        numbers = " ".join(f"{c:.10g}" for c in coefficients)
        return f"{head.format(n)} 1. 0. {kind} {terms} {numbers}"

    return {
        "linear": (f"1 1 0 3900. 0.9 {n} 0. 1. 2.", WAVE),
        "log": (f"1 1 1 3.6 0.00005 {n} 0. 1. 2.", 10 ** (3.6 + 5e-5 * (PIXELS - 1))),
        "redshift": (f"1 1 0 3900. 0.9 {n} 0.001 1. 2.", WAVE / 1.001),
        "chebyshev": (spec(1, tail, chebyshev), CURVED(X)),
        "legendre": (spec(2, tail, legendre), CURVED(X)),
        "cubic spline": (spec(3, tail, cubic), line),
        "linear spline": (spec(4, tail, linear), line),
    }


@pytest.mark.parametrize("name", functions())
def test_every_dispersion_of_multispec(tmp_path: Path, name: str) -> None:
    spec, wave = functions()[name]
    spectrum = read_one(write_multispec(tmp_path / "a.fits", FLUX[None], [spec]))
    np.testing.assert_allclose(spectrum.grid.wave, wave, atol=2e-2)


def test_pixels_are_counted_from_where_an_image_was_cut(tmp_path: Path) -> None:
    spec, wave = functions()["chebyshev"]
    path = write_multispec(tmp_path / "a.fits", FLUX[None, 100:], [spec], LTV1=-100.0, LTM1_1=1.0)
    np.testing.assert_allclose(read_one(path).grid.wave, wave[100:], atol=2e-2)


def test_rows_are_spectra_and_bands_are_not(tmp_path: Path) -> None:
    sigma = np.full(WAVE.size, 2.0)
    bands = np.stack([np.stack([FLUX, 3 * FLUX]), np.stack([FLUX * 0 + 7] * 2), np.stack([sigma, 3 * sigma])])
    spec = functions()["linear"][0]
    path = write_multispec(
        tmp_path / "a.fits",
        bands,
        [spec, spec],
        BANDID1="spectrum - background fit, weights variance, clean no",
        BANDID2="background - background fit",
        BANDID3="sigma - background fit, weights variance, clean no",
        APNUM1="12 1 10.0 20.0",
        APNUM2="15 1 30.0 40.0",
        APID1="HD 122563",
        OBJECT="field 7",
    )
    first, second = read_all(path)
    assert (first.spectrum_id, second.spectrum_id) == ("a-ap12", "a-ap15")
    assert (first.object_id, second.object_id) == ("HD 122563", None)
    np.testing.assert_allclose(second.flux, 3 * FLUX, rtol=1e-5)
    np.testing.assert_allclose(first.ivar, 0.25, rtol=1e-5)
    np.testing.assert_allclose(second.ivar, 0.25 / 9, rtol=1e-5)


def test_images_of_the_noise_and_the_mask_stand_in_other_extensions(tmp_path: Path) -> None:
    primary = fits.PrimaryHDU(FLUX.astype(np.float32))
    for key, value in LINEAR.items():
        primary.header[key] = value
    errors = fits.ImageHDU(np.full(WAVE.size, 2.0), name="ERRS")
    quality = fits.ImageHDU((np.arange(WAVE.size) == 9).astype(np.int16), name="QUAL")
    fits.HDUList([primary, errors, quality]).writeto(tmp_path / "a.fits")
    spectrum = read_one(tmp_path / "a.fits")
    assert np.flatnonzero(spectrum.ivar == 0).tolist() == [9]
    assert spectrum.ivar[0] == 0.25
    assert "ivar_estimated" not in spectrum.flags


def multispec_cards(spec: str) -> dict[str, str]:
    return {"CTYPE1": "MULTISPE", "WAT2_001": f'wtype=multispec spec1 = "{spec}"'}


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ({**LINEAR, "DC__FLAG": -1}, "no wavelength calibration"),
        ({**LINEAR, "CTYPE1": "FREQ"}, "its axis is FREQ"),
        ({"CRVAL1": 390.0, "CDELT1": 0.09}, "look like nm"),
        (multispec_cards("1 1 2 0 0 9 0 1 2 1 0 9 3"), "function type 9"),
        (multispec_cards("1 1 2 0 0 9 0 1 2 1 0 1 4 1"), "in the middle"),
        (multispec_cards("1 1 -1 0 0 9 0 1 2"), "type -1"),
        (multispec_cards("1 one"), "not numbers"),
        ({"CTYPE1": "RA---TAN", "CRVAL1": 10.0, "CDELT1": 0.1}, "RA---TAN"),
    ],
)  # fmt: skip
def test_a_dispersion_that_is_not_read_is_named(tmp_path: Path, cards: dict[str, Any], words: str) -> None:
    with pytest.raises(UnreadableFile, match=words):
        list(read_spectra(write_image(tmp_path / "a.fits", FLUX, **cards)))


def test_a_picture_of_the_sky_is_no_spectrum(tmp_path: Path) -> None:
    sky = np.random.default_rng(1).normal(100, 5, (300, 400))
    path = write_image(tmp_path / "a.fits", sky, CRVAL1=10.0, CDELT1=0.1, CTYPE1="RA---TAN")
    with pytest.raises(UnreadableFile, match="no known kind"):
        list(read_spectra(path))


# --- tables by column names, and what else a whole file may hold


def test_tables_of_space_telescopes(tmp_path: Path) -> None:
    """x1d files: a row of vectors or a pixel per row, wavelengths with their unit, DQ as the mask."""
    quality = (np.arange(WAVE.size) == 4).astype(np.int16)
    columns = {"WAVELENGTH": WAVE / 1e4, "FLUX": FLUX, "FLUX_ERROR": np.full(WAVE.size, 2.0), "DQ": quality}
    path = write_table(tmp_path / "a_x1d.fits", columns, units={"WAVELENGTH": "um"}, TARGNAME="G64-12")
    jwst = read_one(path)
    rows = {
        "WAVELENGTH": WAVE[None],
        "FLUX": FLUX[None],
        "ERROR": np.full((1, WAVE.size), 2.0),
        "DQ": quality[None],
    }
    hst = read_one(write_table(tmp_path / "b_x1d.fits", {n: v.astype(float) for n, v in rows.items()}))
    for spectrum in (jwst, hst):
        np.testing.assert_allclose(spectrum.grid.wave, WAVE, rtol=1e-6)
        assert spectrum.ivar[0] == pytest.approx(0.25)
        assert np.flatnonzero(spectrum.ivar == 0).tolist() == [4]
    assert jwst.object_id == "G64-12"


def test_the_grid_of_a_plain_linear_table_is_known(tmp_path: Path, table: bytes) -> None:
    (tmp_path / "a.fits").write_bytes(table)
    assert read_one(tmp_path / "a.fits").grid == LinearGrid(3900.0, 0.9, 3200)
