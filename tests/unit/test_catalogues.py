"""Tables become catalogues of stars: columns by name, UCD and unit; rows without a position are counted."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from cempstream.streams.observing.catalogue import (
    MAX_CHARS,
    MAX_LABELS,
    Catalogue,
    CatalogueError,
    Column,
    catalogue_of,
    sexagesimal_degrees,
)
from cempstream.streams.observing.catalogue_files import catalogue_name, read_catalogue


def read(tmp_path: Path, text: str | bytes, name: str = "stars.csv") -> Catalogue:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_catalogue(path)


GAIA = """source_id,ra,dec,pmra,pmdec,ref_epoch,phot_g_mean_mag,class
4611686018427387905,10.5,-20.25,100.5,-3,2016.0,14.25,CEMP-s
123,11,21,,,2016.0,,
"""


def test_gaia_s_names_are_known_and_the_rest_are_labels(tmp_path: Path) -> None:
    stars = read(tmp_path, GAIA, "gaia.csv")
    assert (stars.name, stars.n_stars) == ("gaia", 2)
    assert stars.names.tolist() == ["4611686018427387905", "123"]  # more digits than a float64 has
    assert (stars.ra_deg.tolist(), stars.dec_deg.tolist()) == ([10.5, 11.0], [-20.25, 21.0])
    assert (stars.pmra_mas_yr.tolist(), stars.pmdec_mas_yr.tolist()) == ([100.5, 0.0], [-3.0, 0.0])
    assert stars.epoch.tolist() == [2016.0, 2016.0]
    assert stars.labels_of(0) == {"phot_g_mean_mag": "14.25", "class": "CEMP-s"}
    assert stars.labels_of(1) == {}
    assert stars.describe() == "gaia: 2 stars"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_any_usual_delimiter_is_found(tmp_path: Path, delimiter: str) -> None:
    text = "# a comment, with commas\n\n" + "Name,RAJ2000,DEJ2000\nx,1.5,2.5\n".replace(",", delimiter)
    stars = read(tmp_path, text)
    assert (stars.names[0], stars.ra_deg[0], stars.dec_deg[0]) == ("x", 1.5, 2.5)


@pytest.mark.parametrize(
    ("ra", "dec"),
    [("10:45:08.24", "-01:23:45.6"), ("10 45 8.24", "-1 23 45.6"), ("10h45m8.24s", "-1d23m45.6s")],
)
def test_positions_may_be_hours_and_degrees(tmp_path: Path, ra: str, dec: str) -> None:
    stars = read(tmp_path, f"name,ra,dec\nx,{ra},{dec}\n")
    assert stars.ra_deg[0] == pytest.approx(15 * (10 + 45 / 60 + 8.24 / 3600))
    assert stars.dec_deg[0] == pytest.approx(-(1 + 23 / 60 + 45.6 / 3600))


def test_a_southern_declination_of_zero_degrees_keeps_its_sign() -> None:
    assert sexagesimal_degrees("-00:30:00") == -0.5
    assert sexagesimal_degrees("+41 30 00") == 41.5
    assert sexagesimal_degrees("12.5") == 12.5
    for text in ("", "abc", "12:61:00", "12:00:61", "1:2", "nan:1:2"):
        assert np.isnan(sexagesimal_degrees(text))


def test_rows_without_a_usable_position_are_counted_by_the_reason(tmp_path: Path) -> None:
    rows = [
        "1,2,0,0,2000",
        ",,0,0,2000",
        "nan,5,0,0,2000",
        "abc,5,0,0,2000",
        "1,91,0,0,2000",
        "400,1,0,0,2000",
    ]
    rows += ["1,2,9e9,0,2000", "1,2,0,0,57388", "1,2"]
    stars = read(tmp_path, "ra,dec,pmra,pmdec,epoch\n" + "\n".join(rows) + "\n")
    assert stars.n_stars == 1
    assert stars.skipped == {
        "no position (first: row 2)": 4,
        "a position off the sky (first: row 5)": 2,
        "a proper motion that no star has (first: row 7)": 1,
        "an epoch that is no Julian year (first: row 8)": 1,
    }
    assert "4 left out: no position (first: row 2)" in stars.describe()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,mag\nx,1\n", "no column is ra or dec; it has name, mag. Call them ra and dec"),
        ("ra,mag\n1,1\n", "no column is dec"),
        ("ra,dec\n", "no rows below the header 'ra,dec'"),
        ("", "no rows below the header ''"),
        ("ra,dec\nx,y\n,\n", "none of the 2 rows is a star: no position"),
        (b"\x00\x01\x02\x03\n", "neither text with a header"),
        (b"\xff\xfe\n\n", "neither text with a header"),
        ("ra,dec\n" + '"' + "x" * 200_000 + '",1\n', "line 2: field larger than field limit"),
        (",".join(f"c{i}" for i in range(2000)) + "\n1\n", "2,000 names"),
        (b"\x1f\x8b\x08broken", "the gzip file is damaged"),
        ("# %ECSV 1.0\n# ---\nbroken", "cannot be read as ascii.ecsv"),
        ("<VOTABLE>broken", "cannot be read as votable"),
        ("<html><body>Not found</body></html>", "cannot be read as votable"),
        (b"SIMPLE  =" + b" " * 3000, "cannot be read as fits"),
    ],
)
def test_a_file_that_is_no_catalogue_says_what_is_wrong(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    with pytest.raises(CatalogueError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "stars.csv"))


def test_hostile_text_is_cut_and_does_not_reach_the_terminal(tmp_path: Path) -> None:
    long = "y" * 5000
    stars = read(tmp_path, f"name,ra,dec,{long}\n\x1b[2J{long},1,2,{long}\n")
    assert len(stars.names[0]) == MAX_CHARS
    assert stars.labels_of(0) == {"y" * MAX_CHARS: "y" * MAX_CHARS}
    with pytest.raises(CatalogueError) as caught:
        read(tmp_path, "\x1b[2Jname,mag\nx,1\n")
    assert "\x1b" not in str(caught.value)


def test_of_many_columns_the_first_are_labels_and_that_is_said(tmp_path: Path) -> None:
    names = ",".join(f"c{i}" for i in range(40))
    stars = read(tmp_path, f"ra,dec,{names}\n1,2,{','.join('9' * 40)}\n")
    assert list(stars.labels) == [f"c{i}" for i in range(MAX_LABELS)]
    assert stars.notes == ("the first 16 of 40 further columns go into alerts",)


def test_motions_without_an_epoch_are_taken_from_2000_and_that_is_said(tmp_path: Path) -> None:
    stars = read(tmp_path, "ra,dec,pmra,pmdec\n1,2,5,6\n")
    assert stars.epoch.tolist() == [2000.0]
    assert stars.notes == ("no column is the epoch: 2000.0 is assumed",)
    assert read(tmp_path, "ra,dec\n1,2\n").notes == ()


def table() -> Table:
    stars = Table(
        {
            "main_id": ["HD 1", "HD 2"],
            "RA": [0.1, 0.2],
            "DEC": [-0.1, np.nan],
            "pmra": [0.5, 0.0],
            "pmdec": [-0.25, 0.0],
            "epoch": [2015.5, 2015.5],
            "k": [3, 4],
        }
    )
    stars["RA"].unit = stars["DEC"].unit = "rad"
    stars["pmra"].unit = stars["pmdec"].unit = "arcsec/yr"
    stars["epoch"].unit = "yr"
    return stars


@pytest.mark.parametrize(
    ("name", "form"), [("a.ecsv", "ascii.ecsv"), ("a.vot", "votable"), ("a.fits", "fits")]
)
def test_astropy_s_tables_are_read_with_their_units(tmp_path: Path, name: str, form: str) -> None:
    table().write(tmp_path / name, format=form)
    stars = read_catalogue(tmp_path / name)
    assert (stars.name, stars.n_stars, stars.names.tolist()) == ("a", 1, ["HD 1"])
    assert stars.ra_deg[0] == pytest.approx(np.degrees(0.1))
    assert stars.dec_deg[0] == pytest.approx(np.degrees(-0.1))
    assert (stars.pmra_mas_yr[0], stars.pmdec_mas_yr[0]) == pytest.approx((500.0, -250.0))
    assert stars.epoch[0] == 2015.5
    assert stars.labels_of(0) == {"k": "3"}
    assert stars.skipped == {"no position (first: row 2)": 1}


def test_a_votable_s_ucds_say_which_column_is_the_position(tmp_path: Path) -> None:
    stars = Table({"RA": [1.0], "alpha_good": [50.0], "delta_good": [-7.0]})
    for name, ucd in (("alpha_good", "pos.eq.ra;meta.main"), ("delta_good", "pos.eq.dec;meta.main")):
        stars[name].meta["ucd"] = ucd
        stars[name].unit = "deg"
    stars.write(tmp_path / "a.vot", format="votable")
    read_back = read_catalogue(tmp_path / "a.vot")
    assert (read_back.ra_deg[0], read_back.dec_deg[0]) == (50.0, -7.0)


def test_a_masked_value_is_an_empty_label_and_a_masked_position_no_star(tmp_path: Path) -> None:
    stars = Table({"ra": [1.0, 2.0], "dec": [1.0, 2.0], "n": [7, 8], "t": ["a", "b"]}, masked=True)
    stars["n"].mask = stars["t"].mask = [True, False]
    stars["dec"].mask = [False, True]
    stars.write(tmp_path / "a.vot", format="votable")
    found = read_catalogue(tmp_path / "a.vot")
    assert (found.n_stars, found.labels_of(0)) == (1, {})


def test_a_unit_that_is_not_understood_is_named() -> None:
    columns = [Column("ra", np.array([1.0]), "furlong"), Column("dec", np.array([1.0]))]
    with pytest.raises(CatalogueError, match=r"column ra \(ra\) is in 'furlong'; understood are deg"):
        catalogue_of("x", columns)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("jinabase.csv.gz", "jinabase"),
        ("a.b.csv", "a.b"),
        ("stars", "stars"),
        (".csv", ".csv"),
        ("x.FITS", "x"),
    ],
)
def test_a_catalogue_is_called_as_its_file(file: str, name: str) -> None:
    assert catalogue_name(Path(file)) == name


def test_a_gzipped_file_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, gzip.compress(GAIA.encode()), "gaia.csv.gz").n_stars == 2


def test_a_long_file_is_read_in_chunks_as_a_short_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [f"s{i},{i / 10},{-i / 20},{'' if i % 3 else i / 4},{i}" for i in range(100)]
    text = "name,ra,dec,mixed,n\n" + "\n".join(rows) + "\n"
    whole = read(tmp_path, text)
    monkeypatch.setattr("cempstream.streams.observing.catalogue_files._CHUNK", 7)
    parts = read(tmp_path, text)
    np.testing.assert_array_equal(parts.ra_deg, whole.ra_deg)
    assert parts.names.tolist() == whole.names.tolist()
    assert [parts.labels_of(i) for i in range(100)] == [whole.labels_of(i) for i in range(100)]


def test_labels_of_a_column_that_is_text_in_one_chunk_only_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cempstream.streams.observing.catalogue_files._CHUNK", 2)
    stars = read(tmp_path, "ra,dec,feh\n1,1,-2.5\n1,1,-3.25\n1,1,<-4\n")
    assert stars.labels["feh"].tolist() == ["-2.5", "-3.25", "<-4"]


def test_a_megabyte_of_junk_is_refused_and_not_a_crash(tmp_path: Path) -> None:
    junk = np.random.default_rng(3).bytes(1_000_000)
    for head in (b"", b"ra,dec\n", b"# %ECSV 1.0\n", b"<?xml version='1.0'?>", b"SIMPLE  ="):
        with pytest.raises(CatalogueError):
            read(tmp_path, head + junk)
