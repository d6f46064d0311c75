"""Tables of stars: columns by their names, matches by id and by position, refusals in one line."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from cempstream.processors.readers import UnreadableFile
from cempstream.processors.readers.star_table import read_star_table
from tests.support.fakes import make_spectrum


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_star_is_found_by_id_and_completed(tmp_path: Path) -> None:
    path = write(
        tmp_path / "stars.csv",
        "id,G,G_error,BP,RP,parallax,parallax_error,ebv,remark\ns1,14.8,0.003,15.2,,0.1,0.02,0.03,x\ns2,1,1,1,1,1,1,1,y\n",
    )
    stars = read_star_table(path)
    star = replace(make_spectrum("s1"), photometry={"g": (15.0, 0.02), "G": (1.0, 1.0)})
    found = stars.complete(star)
    assert found.photometry["g"] == (15.0, 0.02)
    assert found.photometry["G"] == (14.8, 0.003)
    assert found.photometry["BP"][0] == 15.2
    assert math.isnan(found.photometry["BP"][1])
    assert "RP" not in found.photometry
    assert (found.parallax_mas, found.parallax_error_mas) == (0.1, 0.02)
    assert (found.ebv, found.ebv_error) == (0.03, None)
    assert stars.complete(make_spectrum("other")).parallax_mas is None


@pytest.mark.parametrize("known", [{"object_id": "7"}, {"gaia_source_id": 7}])
def test_the_stars_own_names_count_too(tmp_path: Path, known: dict[str, object]) -> None:
    stars = read_star_table(write(tmp_path / "s.csv", "source_id,phot_g_mean_mag\n7,14.5\n"))
    found = stars.complete(replace(make_spectrum("a"), **known))  # type: ignore[arg-type]
    assert found.photometry["G"][0] == 14.5


@pytest.mark.parametrize(("offset_arcsec", "is_found"), [(0.0, True), (1.9, True), (2.1, False)])
@pytest.mark.parametrize("dec", [0.0, 60.0, -89.9])
def test_else_the_nearest_within_two_arcseconds(
    tmp_path: Path, offset_arcsec: float, is_found: bool, dec: float
) -> None:
    rows = f"ra,dec,teff_phot\n359.9999,{dec},4800\n10.0,{dec},9000\n,,1\n"
    stars = read_star_table(write(tmp_path / "s.csv", rows))
    ra = 359.9999 + offset_arcsec / 3600.0 / np.cos(np.radians(dec))
    star = replace(make_spectrum("a"), ra=ra % 360.0, dec=dec)
    assert (stars.complete(star).teff_phot == 4800.0) is is_found


def test_an_ecsv_is_read_with_its_masked_cells(tmp_path: Path) -> None:
    table = Table({"id": ["a", "b"], "ebv": np.ma.masked_array([0.1, 0.2], [False, True]), "Ks": [9.0, 10.0]})
    table.write(tmp_path / "s.ecsv")
    stars = read_star_table(tmp_path / "s.ecsv")
    assert stars.complete(make_spectrum("a")).ebv == 0.1
    second = stars.complete(make_spectrum("b"))
    assert second.ebv is None
    assert second.photometry["Ks"][0] == 10.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no rows"),
        ("id,G\n", "no rows"),
        ("id,remark\na,b\n", "has the columns id, remark; columns id, or ra and dec"),
        ("G,BP\n1,2\n", "has the columns G, BP"),
        ("id,G\na,bright\n", "column 'G'"),
        ("id,G\na,1,2\n", "a row of 3 cells below 2 names"),
        ("# %ECSV 1.0\n# ---\nnonsense", "damaged ECSV"),
    ],
)
def test_what_is_no_such_table_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UnreadableFile) as caught:
        read_star_table(write(tmp_path / "s.csv", text))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
