"""Plain tables: FITS, CSV and npz, made here with known content, and real archives of spectra."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cempstream.processors.grid import Array, LinearGrid, LogGrid, air_to_vacuum
from cempstream.processors.outcome import Rejected
from cempstream.processors.readers import ReadOptions, UnreadableFile, read_spectra
from cempstream.processors.spectrum import Reason, Spectrum
from tests.support.survey_files import star, write_table

WAVE = 3900.0 + 0.9 * np.arange(3200)
STATED = {"medium": np.array("air"), "frame": np.array("rest"), "resolving_power": np.array(2000.0)}


def read_all(path: Path, options: ReadOptions | None = None) -> list[Spectrum]:
    """Return the spectra of a file, all of which must be good."""
    spectra = []
    for spectrum in read_spectra(path, options or ReadOptions()):
        assert isinstance(spectrum, Spectrum), spectrum
        spectra.append(spectrum)
    return spectra


def write_csv(path: Path, header: str, columns: list[Array], *, separator: str = ",") -> Path:
    """Write columns under a header."""
    rows = [separator.join(f"{value:.8g}" for value in row) for row in zip(*columns, strict=True)]
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


@pytest.mark.parametrize(
    ("header", "separator", "factor"),
    [
        ("wave,flux,ivar", ",", 1.0),
        ("Wavelength, Flux, IVAR", ",", 1.0),
        ("# wavelength flux ivar", " ", 1.0),
        ("wave [nm];flux;ivar", ";", 0.1),
        ("wave\tflux\tivar", "\t", 1.0),
    ],
)
def test_csv_by_any_separator(tmp_path: Path, header: str, separator: str, factor: float) -> None:
    flux = star(WAVE)
    columns = [WAVE * factor, flux, np.full(WAVE.size, 0.25)]
    (spectrum,) = read_all(write_csv(tmp_path / "mine.csv", header, columns, separator=separator))
    assert spectrum.grid == LinearGrid(3900.0, 0.9, 3200)
    assert spectrum.flux == pytest.approx(flux, rel=1e-6)
    assert np.all(spectrum.ivar == 0.25)
    assert (spectrum.spectrum_id, spectrum.survey) == ("mine", "generic")


@pytest.mark.parametrize("noise", [True, False], ids=["with ivar", "without"])
def test_zeros_in_a_row_are_gaps_and_single_ones_are_fluxes(tmp_path: Path, noise: bool) -> None:
    flux = star(WAVE) + np.random.default_rng(4).normal(0.0, 0.5, WAVE.size)
    flux[:40], flux[700:703], flux[-5:] = 0.0, 0.0, 0.0
    flux[1000], flux[1200:1202] = 0.0, 0.0
    columns = [WAVE, flux, np.full(WAVE.size, 4.0)][: 3 if noise else 2]
    header = ",".join(("wave", "flux", "ivar")[: len(columns)])
    (spectrum,) = read_all(write_csv(tmp_path / "a.csv", header, columns))
    is_gap = np.zeros(WAVE.size, dtype=bool)
    is_gap[:40] = is_gap[700:703] = is_gap[-5:] = True
    np.testing.assert_array_equal(spectrum.ivar == 0, is_gap)


def test_csv_with_error_log_wavelengths_and_gaps(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    lines = ["loglam,flux,error"] + [f"{3.59 + 1e-4 * i:.6f},{10 + i % 3},2" for i in range(200)]
    lines[6], lines[7], lines[8] = "3.5905,,2", "3.5906,12,0", "3.5907,12,nan"
    path.write_text("\n".join(lines))
    (spectrum,) = read_all(path)
    assert spectrum.grid == LogGrid(3.59, 1e-4, 200)
    assert np.flatnonzero(spectrum.ivar == 0).tolist() == [5, 6, 7]
    assert spectrum.ivar[0] == 0.25


def test_remarks_state_what_columns_cannot(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    body = write_csv(
        tmp_path / "b.csv", "wave,flux,ivar", [WAVE, star(WAVE), np.full(WAVE.size, 0.25)]
    ).read_text()
    path.write_text("# medium: air\n# frame = rest\n# resolving_power: 1500\n" + body)
    (spectrum,) = read_all(path)
    assert (spectrum.medium, spectrum.frame) == ("air", "rest")
    assert np.all(np.asarray(spectrum.resolving_power) == 1500.0)
    assert spectrum.flags == ()


def test_what_is_absent_is_estimated_and_said(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", "wave,flux", [air_to_vacuum(WAVE), star(WAVE, snr=40.0)])
    (spectrum,) = read_all(path)
    assert spectrum.flags == (
        "medium_estimated",
        "frame_estimated",
        "resolving_power_estimated",
        "ivar_estimated",
    )
    assert spectrum.medium == "vacuum"
    assert np.median(spectrum.flux * np.sqrt(spectrum.ivar)) == pytest.approx(40.0, rel=0.3)
    # Lines 2.7 Å wide at 5340 Å.
    assert np.median(spectrum.resolving_power) == pytest.approx(5340 / 2.7, rel=0.2)
    options = ReadOptions(medium="air", frame="observed", resolving_power=1800.0)
    (stated,) = read_all(path, options)
    assert stated.flags == ("ivar_estimated",)
    assert (stated.medium, stated.frame) == ("air", "observed")
    assert np.all(np.asarray(stated.resolving_power) == 1800.0)


def test_constant_ivar_that_the_scatter_contradicts_is_only_a_mask(tmp_path: Path) -> None:
    flux, ivar = 1e4 * star(WAVE, snr=30.0), np.ones(WAVE.size)
    ivar[50:60] = 0.0
    (spectrum,) = read_all(write_csv(tmp_path / "a.csv", "wave,flux,ivar", [WAVE, flux, ivar]))
    assert "ivar_estimated" in spectrum.flags
    assert np.flatnonzero(spectrum.ivar == 0).tolist() == list(range(50, 60))
    assert np.median(spectrum.flux * np.sqrt(spectrum.ivar)) == pytest.approx(30.0, rel=0.3)


def test_constant_ivar_that_fits_the_scatter_is_believed(tmp_path: Path) -> None:
    columns = [WAVE, star(WAVE, snr=30.0), np.full(WAVE.size, (100 / 30.0) ** -2)]
    (spectrum,) = read_all(write_csv(tmp_path / "a.csv", "wave,flux,ivar", columns))
    assert "ivar_estimated" not in spectrum.flags


def test_wavelengths_that_run_down_are_turned_round(tmp_path: Path) -> None:
    flux = star(WAVE)
    path = write_csv(tmp_path / "a.csv", "wave,flux,ivar", [WAVE[::-1], flux[::-1], np.full(WAVE.size, 0.25)])
    (spectrum,) = read_all(path)
    assert spectrum.flux == pytest.approx(flux, rel=1e-6)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a,b\n1,2\n", "first line is 'a,b'"),
        ("wave,flux\n4000,1\n4001,spam\n", "row 3 has 'spam' as flux"),
        ("wave [parsec],flux\n4000,1\n", "wavelengths are in 'parsec'"),
        ("# medium: water\nwave,flux\n4000,1\n", "medium is 'water'"),
        ("\n\n", "no lines"),
    ],
)
def test_text_that_is_no_spectrum_is_one_line(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(UnreadableFile, match=complaint) as caught:
        list(read_spectra(path))
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_spectrum_that_is_wrong_inside_a_good_file_is_rejected(tmp_path: Path) -> None:
    wave = WAVE.copy()
    wave[7] = 3000.0
    (rejected,) = read_spectra(write_csv(tmp_path / "a.csv", "wave,flux", [wave, star(WAVE)]))
    assert isinstance(rejected, Rejected)
    assert (rejected.reason, rejected.spectrum_id) == (Reason.BAD_WAVELENGTH, "a")


def test_fits_table_with_a_pixel_per_row(tmp_path: Path) -> None:
    flux = star(WAVE)
    columns = {"WAVELENGTH": WAVE / 10, "FLUX": flux, "ERROR": np.full(WAVE.size, 2.0)}
    path = write_table(
        tmp_path / "mine.fits",
        columns,
        units={"WAVELENGTH": "nm"},
        MEDIUM="air",
        FRAME="observed",
        RESPOWER=1700.0,
        RA=10.5,
        DEC=-3.0,
    )
    (spectrum,) = read_all(path)
    assert spectrum.grid == LinearGrid(3900.0, 0.9, 3200)
    assert spectrum.flux == pytest.approx(flux, rel=1e-6)
    assert np.all(spectrum.ivar == 0.25)
    assert (spectrum.medium, spectrum.frame, spectrum.ra, spectrum.dec) == ("air", "observed", 10.5, -3.0)
    assert np.all(np.asarray(spectrum.resolving_power) == 1700.0)
    assert spectrum.flags == ()


def test_fits_table_with_a_spectrum_per_row(tmp_path: Path) -> None:
    flux = np.stack([star(WAVE, seed=1), star(WAVE, seed=2), np.full(WAVE.size, np.nan)])
    columns = {
        "id": np.array([b"one", b"two", b"dark"]),
        "wave": np.tile(WAVE, (3, 1)),
        "flux": flux,
        "ivar": np.full(flux.shape, 0.25),
    }
    one, two, dark = read_all(write_table(tmp_path / "many.fits", columns))
    assert [s.spectrum_id for s in (one, two, dark)] == ["one", "two", "dark"]
    assert two.flux == pytest.approx(flux[1], rel=1e-6)
    assert one.exposure_size == 3
    assert not np.any(dark.ivar)


def test_fits_without_spectra_is_one_line(tmp_path: Path) -> None:
    path = write_table(tmp_path / "catalogue.fits", {"RA": np.zeros(3), "DEC": np.zeros(3)})
    with pytest.raises(UnreadableFile, match="no known kind"):
        list(read_spectra(path))


def pack(n_spec: int, *, seed: int = 0) -> dict[str, Array]:
    """Return spectra of different lengths one after another."""
    sizes = [2000 + 10 * i for i in range(n_spec)]
    waves = [4000 + 0.9 * np.arange(size) for size in sizes]
    return {
        "wave": np.concatenate(waves),
        "flux": np.concatenate([star(wave, seed=seed + i) for i, wave in enumerate(waves)]),
        "ivar": np.full(sum(sizes), 0.25),
        "offsets": np.concatenate([[0], np.cumsum(sizes)]),
    }


@pytest.mark.parametrize("has_end", [True, False])
def test_npz_with_offsets(tmp_path: Path, has_end: bool) -> None:
    arrays = pack(3)
    if not has_end:
        arrays["offsets"] = arrays["offsets"][:-1]
    np.savez(tmp_path / "three.npz", **arrays, **STATED, ids=np.array(["a", "b", "c"]))
    spectra = read_all(tmp_path / "three.npz")
    assert [s.spectrum_id for s in spectra] == ["a", "b", "c"]
    assert [s.grid.n_pix for s in spectra] == [2000, 2010, 2020]
    assert spectra[1].flux == pytest.approx(arrays["flux"][2000:4010], rel=1e-6)
    assert {(s.medium, s.frame, s.flags) for s in spectra} == {("air", "rest", ())}
    assert {float(np.median(s.resolving_power)) for s in spectra} == {2000.0}


def test_npz_without_ids_is_numbered(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "twelve.npz", **pack(12), **STATED)
    spectra = read_all(tmp_path / "twelve.npz")
    assert [s.spectrum_id for s in spectra][::11] == ["twelve-00", "twelve-11"]


@pytest.mark.parametrize("is_shared", [True, False])
def test_npz_of_equal_spectra_needs_no_offsets(tmp_path: Path, is_shared: bool) -> None:
    flux = np.stack([star(WAVE, seed=1), star(WAVE, seed=2)])
    wave = WAVE if is_shared else np.tile(WAVE, (2, 1))
    np.savez(tmp_path / "two.npz", wave=wave, flux=flux, ivar=np.full(flux.shape, 0.25), **STATED)
    spectra = read_all(tmp_path / "two.npz")
    assert [s.grid for s in spectra] == [LinearGrid(3900.0, 0.9, 3200)] * 2
    assert spectra[1].flux == pytest.approx(flux[1], rel=1e-6)


def test_npz_of_one_spectrum(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", wave=WAVE, flux=star(WAVE), error=np.full(WAVE.size, 2.0), **STATED)
    (spectrum,) = read_all(tmp_path / "one.npz")
    assert spectrum.spectrum_id == "one"
    assert np.all(spectrum.ivar == 0.25)


def test_offsets_that_lie_cost_only_their_spectrum(tmp_path: Path) -> None:
    arrays = pack(3)
    arrays["offsets"] = np.array([0, 2000, 2000, 999_999])
    np.savez(tmp_path / "three.npz", **arrays, **STATED)
    first, second, third = read_spectra(tmp_path / "three.npz")
    assert isinstance(first, Spectrum)
    assert isinstance(second, Rejected)
    assert isinstance(third, Rejected)
    assert (second.reason, third.reason) == (Reason.NO_PIXELS, Reason.LENGTH_MISMATCH)
    assert third.packet == b""
    assert third.spectrum_id == "three-2"


def test_ivar_of_another_length_is_rejected(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", wave=WAVE, flux=star(WAVE), ivar=np.ones(17), **STATED)
    (rejected,) = read_spectra(tmp_path / "a.npz")
    assert isinstance(rejected, Rejected)
    assert rejected.reason == Reason.LENGTH_MISMATCH
    assert "17" in rejected.detail


def test_npz_keeps_contamination_and_powers_of_each_spectrum(tmp_path: Path) -> None:
    arrays = pack(2)
    share = np.linspace(0.0, 0.5, arrays["flux"].size).astype(np.float32)
    stated = {**STATED, "resolving_power": np.array([200.0, 250.0])}
    np.savez(tmp_path / "two.npz", **arrays, **stated, contamination=share)
    first, second = read_all(tmp_path / "two.npz")
    assert (first.resolving_power, second.resolving_power) == (200.0, 250.0)
    assert second.contamination is not None
    assert second.contamination.tolist() == share[2000:].tolist()


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", wave=WAVE, flux=np.array([{"x": 1}], dtype=object))
    with pytest.raises(UnreadableFile, match="pickled"):
        list(read_spectra(tmp_path / "a.npz"))


def test_medium_is_one_of_two_words(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", wave=WAVE, flux=star(WAVE), medium="water")
    with pytest.raises(UnreadableFile, match="medium is 'water'; it must be air or vacuum"):
        list(read_spectra(tmp_path / "a.npz"))


def test_scale_of_relative_flux_does_not_matter(tmp_path: Path) -> None:
    flux = star(WAVE)
    np.savez(tmp_path / "a.npz", wave=WAVE, flux=flux * 1e-32, ivar=np.full(WAVE.size, 0.25e64), **STATED)
    (spectrum,) = read_all(tmp_path / "a.npz")
    assert spectrum.flux / spectrum.flux[0] == pytest.approx(flux / flux[0], rel=1e-5)
    snr = spectrum.flux * np.sqrt(spectrum.ivar)
    assert snr == pytest.approx(flux * 0.5, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "n_spec", "conventions", "power_at_5000"),
    [
        ("miles_dev", 469, ("air", "rest"), 5000 / 2.5),
        ("metal_poor_benchmarks", 6, ("air", "rest"), 2000.0),
        ("rrlyr", 169, None, None),
    ],
)
def test_real_archives(
    shared_data: Path,
    name: str,
    n_spec: int,
    conventions: tuple[str, str] | None,
    power_at_5000: float | None,
) -> None:
    spectra = read_all(shared_data / "real" / f"{name}.npz")
    assert len(spectra) == len({s.spectrum_id for s in spectra}) == n_spec
    flags = ("medium_estimated", "frame_estimated", "resolving_power_estimated", "ivar_estimated")
    assert Counter(s.flags for s in spectra) == {flags: n_spec}
    if conventions is not None:
        assert {(s.medium, s.frame) for s in spectra} == {conventions}
    if power_at_5000 is not None:
        found = np.interp(5000.0, spectra[0].grid.wave, spectra[0].resolving_power)
        assert found == pytest.approx(power_at_5000, rel=0.1)
    # ivar 1 on these fluxes is a mask: their S/N is in the hundreds.
    assert np.median([np.median(s.flux * np.sqrt(s.ivar)) for s in spectra]) > 100
