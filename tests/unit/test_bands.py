"""Which indices a resolution can measure."""

from cempstream.processors.bands import CEMP_BANDS, resolved_bands
from cempstream.processors.grid import LogGrid
from cempstream.processors.lines import LineMeter


def test_at_r_1800_every_index_is_resolved() -> None:
    assert resolved_bands(CEMP_BANDS, 1800.0) == CEMP_BANDS


def test_at_r_200_broad_carbon_bands_are_left_and_no_single_line() -> None:
    names = {band.name for band in resolved_bands(CEMP_BANDS, 200.0)}
    assert {"gpe", "egp", "c2_4737", "c2_5165", "cn_7872", "lick_cahk"} <= names
    assert names.isdisjoint({"k6", "k12", "k18", "gp", "ba4554", "sr4077", "lick_mgb", "ca_k"})


def test_there_is_no_kp_without_the_bands_of_which_it_is_one() -> None:
    grid = LogGrid(3.57, 4e-4, 1024)
    assert "kp" not in LineMeter(grid, resolved_bands(CEMP_BANDS, 200.0)).names
    assert "kp" in LineMeter(LogGrid(3.57, 1e-4, 3840), CEMP_BANDS).names


def test_windows_in_vacuum_are_the_windows_in_air_moved_to_longer_wavelengths() -> None:
    """By 1.00 Å at 3500 Å to 2.5 Å at 9000 Å (Morton 2000)."""
    for band in CEMP_BANDS:
        vacuum = band.vacuum()
        assert vacuum.medium == "vacuum"
        assert vacuum.vacuum() == vacuum
        for before, after in zip((band.window, *band.sides), (vacuum.window, *vacuum.sides), strict=True):
            shifts = [b - a for a, b in zip(before, after, strict=True)]
            least, most = (0.0, 0.0) if band.medium == "vacuum" else (0.9, 2.6)
            assert all(least <= shift <= most for shift in shifts), band.name


def test_of_two_sidebands_the_blue_one_comes_first() -> None:
    for band in CEMP_BANDS:
        if band.kind in ("ew", "mag"):
            (blue, red), middle = (sum(side) / 2 for side in band.sides), sum(band.window) / 2
            assert blue < middle < red, band.name
