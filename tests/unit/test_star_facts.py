"""Magnitudes, parallax and reddening that files state beside their spectra."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from astropy.io import fits

from cempstream.processors.readers import ReadOptions, read_spectra
from cempstream.processors.readers.star_facts import photometry_of, star_facts_of
from cempstream.processors.spectrum import Spectrum

WAVE = np.arange(4000.0, 5000.0, 1.0)
OPTIONS = ReadOptions(medium="air", frame="rest", resolving_power=1000.0)


def read(path: Path) -> list[Spectrum]:
    found = [one for one in read_spectra(path, OPTIONS) if isinstance(one, Spectrum)]
    assert found
    return found


def test_the_header_of_an_image_states_them(tmp_path: Path) -> None:
    image = fits.PrimaryHDU(np.ones(WAVE.size, dtype=np.float32))
    cards = {
        "CRVAL1": 4000.0,
        "CDELT1": 1.0,
        "CRPIX1": 1.0,
        "CUNIT1": "Angstrom",
        "GAIA_G": 14.8,
        "GAIA_BP": 15.2,
    }
    image.header.update(cards | {"GAIA_RP": 99.0, "PARALLAX": 0.1, "EBV": 0.03, "TEFF": 9999.0})
    image.writeto(tmp_path / "a.fits")
    (star,) = read(tmp_path / "a.fits")
    assert {band: mag for band, (mag, _) in star.photometry.items()} == {"G": 14.8, "BP": 15.2}
    assert all(math.isnan(error) for _, error in star.photometry.values())
    assert (star.parallax_mas, star.ebv, star.teff_phot, star.stellarity) == (0.1, 0.03, None, None)


def test_an_archive_states_them_for_each_spectrum(tmp_path: Path) -> None:
    known = {"gaia_bp": [15.0, 16.0], "gaia_bp_error": [0.01, np.nan], "ebv": [0.1, np.nan]}
    known |= {"teff_phot": [4800.0, -999.0], "teff_phot_error": [90.0, -999.0], "stellarity": [1.0, 0.2]}
    np.savez(
        tmp_path / "s.npz",
        wave=WAVE,
        flux=np.ones((2, WAVE.size)),
        ivar=np.ones((2, WAVE.size)),
        ids=np.array(["a", "b"]),
        **{name: np.array(values) for name, values in known.items()},  # type: ignore[arg-type]
    )
    first, second = read(tmp_path / "s.npz")
    assert first.photometry == {"BP": (15.0, 0.01)}
    assert (first.ebv, first.teff_phot, first.teff_phot_error, first.stellarity) == (0.1, 4800.0, 90.0, 1.0)
    assert second.photometry["BP"][0] == 16.0
    assert (second.ebv, second.teff_phot, second.teff_phot_error, second.stellarity) == (
        None,
        None,
        None,
        0.2,
    )


def test_fill_values_and_words_are_nothing() -> None:
    said = {"gaia_g": "n/a", "gaia_bp": 0.0, "gaia_rp": -999.0, "parallax": True, "ebv": float("inf")}
    assert photometry_of(said) == {}
    assert star_facts_of(said) == {}
    assert star_facts_of({"parallax": "-0.3", "parallax_error": 0.1}) == {
        "parallax_mas": -0.3,
        "parallax_error_mas": 0.1,
    }
