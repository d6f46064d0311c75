"""JINAbase: many papers on one star become one row, and log ε becomes [X/Fe]."""

from __future__ import annotations

from pathlib import Path

import pytest

from cempstream.streams.observing.catalogue_files import read_catalogue
from cempstream.streams.observing.jinabase import is_jinabase

#: As JINAbase gives it, with columns left out.
ORIGINAL = """JINA_ID,Priority,Ref,Name,Simbad_Identifier,NLTE,Sci_key,C_key,Loc,Type,RA,DEC,V_mag,Teff,logg,\
Fe/H,C,Ba,Eu
1,2,LAI07,CS22957-022,2MASS_J00014549,,,,HA,RG,0 1 45.5,-5 49 46.6,13.34,5075,2.41,-3.02,5.84,-1.78,
2,1,ROE14b,CS22957-022,2MASS_J00014549,,,,HA,RG,0 1 45.5,-5 49 46.6,13.34,4860,1.65,-3.17,5.32,<-2.29,
3,1,ALL12,CS31070-073,2MASS_J00085182,,R2,CR,HA,SG,0 8 51.825,5 26 17.15,14.398,6190,3.86,-2.55,7.22,1.91,0.71
4,1,SHE01,UMi177,[V67]_177,,,,DW,RG,,,16.9,4300,0.4,-2.01,,-0.1,
"""


def test_a_star_of_two_papers_is_one_row_with_the_preferred_paper_first(tmp_path: Path) -> None:
    path = tmp_path / "jinabase.csv"
    path.write_text(ORIGINAL)
    stars = read_catalogue(path)
    assert stars.names.tolist() == ["2MASS_J00014549", "2MASS_J00085182"]
    assert stars.skipped == {"no position (first: row 3)": 1}
    assert stars.ra_deg[0] == pytest.approx(15 * (1 / 60 + 45.5 / 3600))
    assert stars.dec_deg[0] == pytest.approx(-(5 + 49 / 60 + 46.6 / 3600))
    # [C/Fe] = 5.32 - 8.43 + 3.17; the upper limit of barium stays one
    assert stars.labels_of(0) == {
        **{"feh": "-3.17", "cfe": "0.06", "bafe": "<-1.30", "place": "HA", "type": "RG"},
        **{"reference": "ROE14b", "papers": "2"},
    }
    assert stars.labels_of(1)["science"] == "R2"
    assert stars.labels_of(1)["carbon"] == "CR"
    assert stars.labels_of(1)["eufe"] == "2.74"


def test_what_the_preferred_paper_lacks_comes_from_another(tmp_path: Path) -> None:
    path = tmp_path / "jinabase.csv"
    path.write_text(
        "name,simbad,priority,c_key,ra,dec,FeH,CFe\na,S,0,CE,1,2,-2.9,1.5\na,S,1,,1,2,-3.1,\na,S,0,NO,1,2,,9\n"
    )
    stars = read_catalogue(path)
    assert stars.labels_of(0) == {"feh": "-3.1", "cfe": "1.5", "carbon": "CE", "papers": "3"}


def test_stars_without_simbad_s_name_stay_apart(tmp_path: Path) -> None:
    path = tmp_path / "jinabase.csv"
    path.write_text("name,simbad,priority,c_key,ra,dec,FeH\na,,1,,1,2,-2\nb,,1,,3,4,-3\n")
    assert read_catalogue(path).names.tolist() == ["a", "b"]


def test_other_tables_are_not_taken_for_it() -> None:
    assert is_jinabase(["I/O", "Simbad_Identifier", "C_key", "Fe/H"])
    assert not is_jinabase(["name", "ra", "dec", "feh"])
    assert not is_jinabase(["priority", "simbad", "feh"])


def test_the_labels_at_hand_are_read(shared_data: Path) -> None:
    stars = read_catalogue(shared_data / "tables" / "jinabase2025_labels.csv.gz")
    assert stars.name == "jinabase2025_labels"
    assert stars.n_stars == 4820  # 4,821 stars in 7,917 rows; one has no position
    row = stars.names.tolist().index("BPS CS 22892-0052")
    labels = stars.labels_of(row)
    assert labels["papers"] == "19"
    assert float(labels["feh"]) < -2.8
    assert float(labels["eufe"]) > 1.0  # the r-process star
    assert (stars.ra_deg[row], stars.dec_deg[row]) == pytest.approx((334.2569, -16.6575), abs=1e-3)
