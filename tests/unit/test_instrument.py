"""Instruments from TOML: the examples load, and what is wrong in a file is said by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from cempstream.streams.observing.instrument import InstrumentError, load_instrument, shipped_instruments

EXAMPLE = (Path(__file__).parents[2] / "streams/observing/instruments/echelle-8m.toml").read_text(
    encoding="utf-8"
)


def test_the_examples_load_under_their_names() -> None:
    assert {"echelle-8m", "goodman-soar"} <= set(shipped_instruments())
    for name in shipped_instruments():
        assert load_instrument(name).name == name


def test_a_file_is_read_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(EXAMPLE)
    assert load_instrument(path) == load_instrument("echelle-8m")


def test_a_curve_is_linear_between_its_nodes() -> None:
    curve = load_instrument("echelle-8m").efficiency
    assert curve.at(4250.0) == pytest.approx(0.125)
    assert curve.at(9999.0) == 0.12
    assert load_instrument("echelle-8m").sees(4250.0)
    assert not load_instrument("echelle-8m").sees(5001.0)
    assert load_instrument("echelle-8m").pixel_aa(4000.0) == pytest.approx(0.025)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("area_cm2 = 5.0e5", "", "area_cm2 is missing"),
        ("area_cm2 = 5.0e5", "area_cm2 = -1", "area_cm2 -1: Input should be greater than 0"),
        ("area_cm2 = 5.0e5", "area_cm2 = nan", "area_cm2"),
        ("n_rows", "n_row", "n_row is not known; did you mean n_rows?"),
        ("[limits]", "[limts]", "limts is not known; did you mean limits?"),
        ("max_airmass = 2.0", "max_airmass = 0.5", "limits.max_airmass 0.5"),
        (
            "max_airmass = 2.0",
            "max_airmas = 2.0",
            "limits.max_airmas is not known; did you mean max_airmass?",
        ),
        ("0.13, 0.12]", "1.3, 0.12]", "every 'efficiency' must be above 0"),
        ("value = [0.04, ", "value = [", "must increase and have as many entries"),
        ("[3300, 4300, 5500]", "[3300, 5500, 4300]", "sky_mag_arcsec2"),
        ("name =", "name ", "is not TOML"),
        ('name = "echelle-8m"', "name = 7", "name 7: Input should be a valid string"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "mine.toml"
    assert old in EXAMPLE
    path.write_text(EXAMPLE.replace(old, new))
    with pytest.raises(InstrumentError) as error:
        load_instrument(path)
    assert said in str(error.value)
    assert "mine.toml" in str(error.value)


def test_there_is_no_other_instrument(tmp_path: Path) -> None:
    with pytest.raises(InstrumentError, match="did you mean goodman-soar"):
        load_instrument("goodman")
    with pytest.raises(InstrumentError, match="examples are echelle-8m, goodman-soar"):
        load_instrument("../../secrets")
    with pytest.raises(FileNotFoundError):
        load_instrument(tmp_path / "absent.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InstrumentError, match="is not TOML"):
        load_instrument(tmp_path / "binary.toml")
