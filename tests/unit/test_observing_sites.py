"""Sites by name and by coordinates, and what is said of a name that is none."""

from __future__ import annotations

import pytest

from cempstream.streams.observing.sites import Site, SiteError, parse_site, site_names


@pytest.mark.parametrize("text", ["La Palma", "la palma", "LAPALMA", "GTC", "la-palma"])
def test_a_site_has_many_spellings(text: str) -> None:
    assert parse_site(text) == Site("La Palma", 28.7606, -17.8816, 2326)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("28.76,-17.88,2326", (28.76, -17.88, 2326.0)),
        ("-30, 289.26", (-30.0, -70.74, 0.0)),
        ("0,180", (0.0, -180.0, 0.0)),
    ],
)
def test_a_place_is_written_by_coordinates(text: str, place: tuple[float, float, float]) -> None:
    site = parse_site(text)
    assert (site.lat_deg, site.lon_deg, site.height_m) == pytest.approx(place)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Paranall", "did you mean Paranal?"),
        ("Maona Kea", "Mauna"),
        ("qqqqqqqqqqqq", "there are Apache Point"),
        ("", "is not a site"),
        ("91,0", "latitude 91 is not between -90 and 90"),
        ("0,361", "longitude 361"),
        ("0,0,90000", "height 90000"),
        ("nan,0", "latitude nan"),
        ("here,there", "latitude,longitude,metres"),
        ("1,2,3,4", "latitude,longitude,metres"),
        ("\x1b[2Jx", r"\\x1b"),
    ],
)
def test_what_is_no_site_is_said(text: str, said: str) -> None:
    with pytest.raises(SiteError) as error:
        parse_site(text)
    assert said in str(error.value) or said.replace("\\\\", "\\") in str(error.value)
    assert str(error.value).isprintable()


def test_every_name_of_the_table_is_a_site_on_earth() -> None:
    for name in site_names():
        site = parse_site(name)
        assert site.name == name
        assert -90 < site.lat_deg < 90
        assert -180 < site.lon_deg < 180
