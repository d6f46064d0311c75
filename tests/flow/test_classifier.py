"""``cempstream.Classifier``: the same numbers whatever form the spectra come in, in a table that says all."""

from __future__ import annotations

import doctest
import pickle
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pytest
from astropy.io.fits import Header
from astropy.nddata import InverseVariance, StdDevUncertainty, UnknownUncertainty, VarianceUncertainty
from astropy.table import QTable
from specutils import Spectrum as SpecutilsSpectrum
from specutils import SpectrumCollection

from cempstream import Classifier, Spectrum
from cempstream.processors.grid import vacuum_to_air
from cempstream.processors.readers import UnreadableFile
from cempstream.streams.scoring import classifier as module
from cempstream.streams.scoring.result import Result, Results
from cempstream.streams.scoring.result_table import COLUMNS
from tests.support.spectra import template_spectra

FLAM = u.Unit("1e-17 erg / (s cm2 Angstrom)")
N_STARS = 4


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier("mid")


@pytest.fixture(scope="module")
def stars() -> list[Spectrum]:
    return [replace(star, flux_unit="absolute") for star in template_spectra(N_STARS)]


@pytest.fixture(scope="module")
def results(classifier: Classifier, stars: list[Spectrum]) -> Results:
    return classifier.classify(stars)


def specutils_of(star: Spectrum, **changes: Any) -> Any:
    """Return a star as an astronomer holds it, with everything said in ``meta``."""
    parts: dict[str, Any] = {
        "flux": star.flux * FLAM,
        "spectral_axis": star.grid.wave * u.AA,
        "uncertainty": InverseVariance(star.ivar),
        "meta": {
            "spectrum_id": star.spectrum_id,
            "survey": star.survey,
            "medium": star.medium,
            "frame": star.frame,
            "resolving_power": star.resolving_power,
            "ra": star.ra,
            "dec": star.dec * u.deg if star.dec is not None else None,
        },
    }
    return SpecutilsSpectrum(**(parts | changes))


def same(a: Results, b: Results, *, rtol: float = 0.0) -> None:
    """Hold the numbers of two results together."""
    for name in ("snr", "rv_kms", "teff", "logg", "feh", "cfe", "cfe_lo", "bafe"):
        np.testing.assert_allclose(
            u.Quantity(a[name]).value, u.Quantity(b[name]).value, rtol=rtol, err_msg=name
        )
    np.testing.assert_allclose(a["p_cemp"], b["p_cemp"], rtol=10 * rtol, atol=rtol)


def test_a_spectrum_alone_is_a_list_of_one(classifier: Classifier, stars: list[Spectrum]) -> None:
    assert [result["spectrum_id"] for result in classifier.classify(stars[0])] == [stars[0].spectrum_id]
    assert len(classifier.classify([])) == 0
    assert classifier.classify([]).table.colnames == list(COLUMNS)


def test_specutils_spectra_score_as_ours_do(
    classifier: Classifier, stars: list[Spectrum], results: Results
) -> None:
    again = classifier.classify([specutils_of(star) for star in stars])
    same(again, results)
    for name in ("spectrum_id", "survey", "flags"):
        assert list(again[name]) == list(results[name])
    np.testing.assert_array_equal(again["ra"], results["ra"])
    np.testing.assert_array_equal(again["dec"], results["dec"])


@pytest.mark.parametrize(
    "change",
    [
        lambda s: {"spectral_axis": (s.grid.wave * u.AA).to(u.nm)},
        lambda s: {"spectral_axis": (s.grid.wave * u.AA).to(u.um)},
        lambda s: {"flux": (s.flux * FLAM).to(u.W / u.m**3), "uncertainty": _noise(s, u.W / u.m**3)},
        lambda s: {"uncertainty": StdDevUncertainty(s.ivar**-0.5)},
        lambda s: {"uncertainty": VarianceUncertainty(1.0 / s.ivar)},
        lambda s: {"uncertainty": StdDevUncertainty((s.ivar**-0.5 * FLAM).to(u.W / u.m**3))},
    ],
    ids=["nm", "um", "W/m3", "std", "var", "std in another unit"],
)  # fmt: skip
def test_units_and_kinds_of_uncertainty_change_nothing(
    classifier: Classifier, stars: list[Spectrum], results: Results, change: Any
) -> None:
    same(classifier.classify([specutils_of(star, **change(star)) for star in stars]), results, rtol=2e-4)


def _noise(star: Spectrum, unit: u.Unit) -> StdDevUncertainty:
    return StdDevUncertainty((star.ivar**-0.5 * FLAM).to(unit))


def test_janskys_over_frequency_are_the_same_star(
    classifier: Classifier, stars: list[Spectrum], results: Results
) -> None:
    given = []
    for star in stars:
        wave = star.grid.wave * u.AA
        flux, error = (
            (array * FLAM).to(u.Jy, u.spectral_density(wave)) for array in (star.flux, star.ivar**-0.5)
        )
        given.append(
            specutils_of(
                star,
                flux=flux[::-1],
                spectral_axis=wave.to(u.THz, u.spectral())[::-1],
                uncertainty=StdDevUncertainty(error[::-1]),
            )
        )
    same(classifier.classify(given), results, rtol=2e-4)


def test_counts_are_relative_and_score_alike(
    classifier: Classifier, stars: list[Spectrum], results: Results
) -> None:
    counts = classifier.classify([specutils_of(star, flux=star.flux * u.ct) for star in stars])
    same(counts, results)
    assert [result.spectrum.flux_unit for result in counts if result.spectrum] == ["relative"] * N_STARS
    absolute = classifier.classify(specutils_of(stars[0]))[0].spectrum
    assert absolute is not None
    assert absolute.flux_unit == "absolute"
    np.testing.assert_allclose(absolute.flux, stars[0].flux, rtol=1e-6)


def test_a_mask_rules_pixels_out(classifier: Classifier, stars: list[Spectrum], results: Results) -> None:
    star = stars[0]
    mask = np.zeros(star.n_pix, dtype=bool)
    mask[400:900] = True
    masked = classifier.classify(specutils_of(star, mask=mask))
    same(masked, classifier.classify(replace(star, mask=mask.astype(np.uint8))))
    assert masked["teff"][0] != results["teff"][0]
    assert masked[0].spectrum is not None
    assert np.flatnonzero(masked[0].spectrum.ivar == 0).tolist() == list(range(400, 900))


def test_air_and_frame_can_be_said_by_meta_by_a_header_and_by_the_caller(
    classifier: Classifier, stars: list[Spectrum], results: Results
) -> None:
    air = [
        specutils_of(star, spectral_axis=vacuum_to_air(star.grid.wave) * u.AA, meta=meta)
        for star, meta in zip(
            stars[:3],
            (
                {"medium": "air", "frame": "observed", "resolving_power": 1800.0},
                {
                    "header": Header(
                        {"AIRORVAC": "air", "FRAME": "observed", "RESPOWER": 1800.0, "RA": 7.5, "DEC": 1}
                    )
                },
                {"medium": "air", "frame": "observed", "resolving_power": 1800.0},
            ),
            strict=True,
        )
    ]
    again = classifier.classify(air, resolving_power=1800.0)
    np.testing.assert_allclose(again["rv_kms"].value, results["rv_kms"][:3].value, atol=3.0)
    np.testing.assert_array_equal(np.isnan(again["ra"]), [True, False, True])
    assert again["ra"][1] == 7.5 * u.deg
    wrong = classifier.classify(air[0], medium="vacuum")[0]
    shift = wrong["rv_kms"] - results[0]["rv_kms"]
    assert shift.to_value(u.km / u.s) == pytest.approx(-83.0, abs=15.0)


def test_what_is_not_said_is_estimated_and_flagged(classifier: Classifier, stars: list[Spectrum]) -> None:
    silent = classifier.classify([specutils_of(star, meta={}, uncertainty=None) for star in stars])
    assert [result.name for result in silent] == ["spectrum-0", "spectrum-1", "spectrum-2", "spectrum-3"]
    for result in silent:
        assert {"medium_estimated", "frame_estimated", "resolving_power_estimated", "ivar_estimated"} <= set(
            result["flags"].split(";")
        )


def test_a_stack_of_spectra_is_read_one_by_one(
    classifier: Classifier, stars: list[Spectrum], results: Results
) -> None:
    stack = SpectrumCollection.from_spectra(
        [specutils_of(star, mask=np.zeros(star.n_pix, dtype=bool)) for star in stars]
    )
    meta = {"medium": "vacuum", "frame": "observed", "resolving_power": 1800.0}
    cube = SpecutilsSpectrum(
        flux=np.stack([star.flux for star in stars]) * FLAM,
        spectral_axis=stars[0].grid.wave * u.AA,
        uncertainty=InverseVariance(np.stack([star.ivar for star in stars])),
        meta=meta,
    )
    same(classifier.classify(cube), results)
    assert classifier.classify(cube)[2].name == "spectrum-0-2"
    same(classifier.classify(stack, medium="vacuum", frame="observed", resolving_power=1800.0), results)


def test_arrays_score_as_spectra_do(classifier: Classifier, stars: list[Spectrum], results: Results) -> None:
    wave = stars[0].grid.wave
    flux = np.stack([star.flux for star in stars])
    ivar = np.stack([star.ivar for star in stars])
    said = {"medium": "vacuum", "frame": "observed", "resolving_power": 1800.0, "survey": "lamost"}
    ids = [star.spectrum_id for star in stars]
    plain = classifier.classify_arrays(wave, flux, ivar=ivar, ids=ids, **said)
    same(plain, results)
    assert list(plain["spectrum_id"]) == ids
    with_units = classifier.classify_arrays(
        (wave * u.AA).to(u.nm), (flux * FLAM).to(u.W / u.m**3), error=(ivar**-0.5) * FLAM, **said
    )
    same(with_units, results, rtol=2e-4)
    one = classifier.classify_arrays(wave * u.AA, flux[0] * FLAM, ivar=ivar[0], ids="mine", **said)
    same(one, results[:1], rtol=1e-5)
    assert one[0].name == "mine"


def test_files_spectra_and_specutils_keep_their_order(
    classifier: Classifier, stars: list[Spectrum], tmp_path: Path
) -> None:
    np.savez(tmp_path / "b.npz", wave=stars[1].grid.wave, flux=stars[1].flux, ivar=stars[1].ivar)
    mixed = classifier.classify(
        [stars[0], tmp_path / "b.npz", specutils_of(stars[2]), [specutils_of(stars[3])], str(tmp_path)]
    )
    assert [result.name for result in mixed] == [
        stars[0].spectrum_id, "b", stars[2].spectrum_id, stars[3].spectrum_id, "b",
    ]  # fmt: skip
    assert [result.source for result in mixed] == [
        None,
        str(tmp_path / "b.npz"),
        None,
        None,
        str(tmp_path / "b.npz"),
    ]


def test_a_file_that_cannot_be_read_raises_or_is_told(classifier: Classifier, stars: list[Spectrum]) -> None:
    with pytest.raises(UnreadableFile, match=r"absent\.fits"):
        classifier.classify(["absent.fits", stars[0]])
    told: list[UnreadableFile] = []
    assert len(classifier.classify(["absent.fits", stars[0]], on_unreadable=told.append)) == 1
    assert len(told) == 1


def test_what_is_rejected_stands_in_its_place(classifier: Classifier, stars: list[Spectrum]) -> None:
    star = stars[0]
    dead = specutils_of(star, mask=np.ones(star.n_pix, dtype=bool))
    blunt = specutils_of(star, meta={"resolving_power": 40.0})
    results = classifier.classify([dead, stars[1], blunt])
    assert list(results["status"]) == ["rejected", "scored", "rejected"]
    assert list(results["reason"]) == ["no_good_pixels", "", "unsupported_resolution"]
    assert "R = 40" in results["detail"][2]
    assert np.isnan(results["teff"][0])
    assert list(results["is_candidate"]) == [False, results[1].is_candidate, False]
    assert results[0].is_rejected
    assert results[0].bands == {}
    assert results[0].lines == {}
    assert results[0].parameters == {}
    with pytest.raises(ValueError, match="no_good_pixels"):
        results[0].plot()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"flux": np.ones(3909) * u.mag}, "must be linear"),
        ({"uncertainty": UnknownUncertainty(np.ones(3909))}, "must be std, var, ivar"),
        ({"meta": {"medium": "water"}}, "air or vacuum"),
    ],
)
def test_what_no_spectrum_can_be_is_one_line(
    classifier: Classifier, stars: list[Spectrum], change: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        classifier.classify(specutils_of(stars[0], **change))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("what", [5, None, {"flux": 1}, np.ones(3), np.ones(3) * u.Jy, b"x"])
def test_what_is_no_spectrum_is_named(classifier: Classifier, what: Any) -> None:
    with pytest.raises(TypeError, match="is no spectrum"):
        classifier.classify(what)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"wave": np.ones(3) * u.K, "flux": np.ones(3)}, "unit of length"),
        ({"wave": np.ones(3) * u.km / u.s, "flux": np.ones(3)}, "unit of length"),
        ({"wave": np.linspace(380, 900, 9), "flux": np.ones(9)}, "look like nm; give them their unit"),
        ({"wave": np.ones(3), "flux": np.ones(3) * u.ABmag}, "must be linear"),
        ({"wave": np.ones(3), "flux": np.ones((1, 1, 3))}, r"\(1, 1, 3\)"),
        ({"wave": np.ones(3), "flux": np.ones((2, 3)), "error": np.ones((3, 3))}, "'error' has the shape"),
        ({"wave": np.ones(3), "flux": np.ones(3), "error": np.ones(3), "ivar": np.ones(3)}, "one of them"),
        ({"wave": np.ones(3), "flux": np.ones(3) * u.Jy, "error": np.ones(3) * u.ct}, "must be in 'Jy'"),
        ({"wave": np.ones(3), "flux": np.ones((2, 3)), "ids": ["a"]}, "1 names for 2"),
        ({"wave": np.ones(3), "flux": np.ones(4) * u.Jy}, "flux has 4 values; the wavelengths have 3"),
        ({"wave": np.ones(3), "flux": np.ones(3), "error": np.ones(2)}, "noise has 2 values"),
        ({"wave": np.ones(3), "flux": np.ones(3), "mask": np.ones(2)}, "mask has 2 values"),
        ({"wave": np.ones(3), "flux": np.array(["a", "b", "c"])}, "must hold numbers"),
        ({"wave": np.ones(3), "flux": np.ones(3), "medium": "water"}, "air or vacuum"),
    ],
)
def test_arrays_that_do_not_fit_are_one_line(
    classifier: Classifier, arrays: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        classifier.classify_arrays(**arrays)
    assert len(str(caught.value).splitlines()) == 1


def test_wavelengths_out_of_order_are_rejected_with_their_reason(classifier: Classifier) -> None:
    wave = np.array([5000.0, 5002.0, 5001.0, 5003.0])
    results = classifier.classify_arrays(wave, np.ones((2, 4)), error=np.ones((2, 4)))
    assert list(results["reason"]) == ["bad_wavelength"] * 2


def test_the_prior_moves_the_probabilities(stars: list[Spectrum], results: Results) -> None:
    rich = Classifier("mid", prior=0.5).classify(stars)
    assert np.all(rich["p_cemp"] > results["p_cemp"])
    assert rich.table.meta["policies"][0]["prior"] == 0.5
    with pytest.raises(ValueError, match="between 0 and 1"):
        Classifier("mid", prior=2.0)


def test_the_table_has_units_and_says_what_made_it(classifier: Classifier, results: Results) -> None:
    table = results.table
    assert isinstance(table, QTable)
    assert table.colnames == list(COLUMNS)
    assert table["teff_lo"].unit == u.K
    assert table["rv_kms"].unit == u.km / u.s
    assert table["ra"].unit == u.deg
    assert table["teff"].info.meta["ucd"] == "phys.temperature.effective"
    assert table.meta["bundles"] == list(classifier.bundles)
    (policy,) = table.meta["policies"]
    assert policy["survey"] == "lamost"
    assert policy["prior"] == 3e-4
    assert 0 < policy["threshold"] < 1
    assert any(model.startswith("mid.classify/") for model in table.meta["models"])


def test_a_result_says_its_star_and_its_probability(classifier: Classifier, results: Results) -> None:
    assert re.fullmatch(rf"<Result {re.escape(results[0].name)}: p\(CEMP\) [\d.e −-]+>", repr(results[0]))
    short = classifier.classify_arrays(np.arange(4000.0, 4010.0) * u.AA, np.ones(10), ids="short")
    assert repr(short[0]) == f"<Result short: rejected: {short[0]['reason']}>"


def test_a_result_gives_values_and_its_picture(results: Results) -> None:
    result = results[0]
    assert result["teff"] == results["teff"][0]
    assert sum(result.bands.values()) <= 1
    assert list(result.bands.values()) == sorted(result.bands.values(), reverse=True)
    value, error = result.lines["lick_g4300"]
    assert value.unit == error.unit == u.AA
    assert result.lines["lick_cn1"][0].unit == u.mag
    packed = dict(part.split("=") for part in result["lines"].split(";"))
    assert float(packed["lick_g4300"]) == pytest.approx(value.value, rel=1e-3)
    assert result.parameters["teff"].value == result["teff"].value
    picture = result.plot()._repr_png_()
    assert picture.startswith(b"\x89PNG")


def test_some_of_the_results_are_chosen_as_of_an_array(results: Results) -> None:
    assert [r.name for r in results[1:3]] == [results[1].name, results[2].name]
    assert len(results[results["snr"] > 1e3]) == 0
    hottest = results[np.argsort(results["teff"])[::-1]]
    assert hottest[0]["teff"] == results["teff"].max()
    assert isinstance(results[-1], Result)
    assert all(result.is_candidate for result in results.candidates)
    assert len(results.candidates) == np.count_nonzero(results["is_candidate"])
    with pytest.raises(KeyError, match="there is no column 'tef'"):
        results["tef"]
    with pytest.raises(KeyError, match="there is no column 'tef'"):
        results[0]["tef"]


def test_a_notebook_shows_a_short_table_in_which_names_are_harmless(
    classifier: Classifier, stars: list[Spectrum]
) -> None:
    evil = replace(stars[0], object_id="<script>alert(1)</script>")
    shown = classifier.classify([evil, *stars[1:]])._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert shown.count("<tr>") == 1 + N_STARS


def test_results_are_written_as_the_command_writes_them(results: Results, tmp_path: Path) -> None:
    results.write(tmp_path / "stars.csv")
    assert (tmp_path / "stars.csv").read_text().count("\n") == 1 + N_STARS
    with pytest.raises(ValueError, match=r"\.xlsx: the table's name must end in"):
        results.write(tmp_path / "stars.xlsx")


def test_the_example_in_the_docstring_is_true() -> None:
    tried = doctest.testmod(module)
    assert (tried.failed, tried.attempted) == (0, 9)


def test_results_can_be_sent_to_another_process(results: Results) -> None:
    same(pickle.loads(pickle.dumps(results)), results)  # noqa: S301
