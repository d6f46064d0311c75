"""What a spectrum refuses, at the very limits, and what it says of itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from cempstream.processors.grid import ExplicitGrid, LinearGrid, LogGrid, WavelengthGrid
from cempstream.processors.spectrum import MAX_PIXELS, BadSpectrum, Reason, Spectrum

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def spectrum(grid: WavelengthGrid | None = None, **fields: Any) -> Spectrum:
    grid = grid or LinearGrid(4000.0, 1.0, 100)
    ones = np.ones(max(grid.n_pix, 0), dtype=np.float32)
    known = {"spectrum_id": "s", "survey": "t", "flux": ones, "ivar": ones, "medium": "vacuum",
             "resolving_power": 1800.0, "reduced_at": NOON}  # fmt: skip
    return Spectrum(grid=grid, **{**known, **fields})


def refusal(grid: WavelengthGrid | None = None, **fields: Any) -> tuple[Reason, str]:
    with pytest.raises(BadSpectrum) as refused:
        spectrum(grid, **fields)
    return refused.value.reason, refused.value.detail


@pytest.mark.parametrize(
    ("name", "fine", "wrong"),
    [
        ("ra", (0.0, 360.0, None), (-1e-9, -0.5, 360.5, float("nan"))),
        ("dec", (-90.0, 90.0, None), (-90.5, 90.5, float("nan"))),
        ("rv_kms", (-2.9e5, 2.9e5, 0.0, None), (-3e5, 3e5, float("nan"))),
        ("resolving_power", (1.1, 9.9e5), (1.0, 0.0, 1e6, float("nan"))),
        ("medium", ("air", "vacuum"), ("water",)),
        ("frame", ("rest", "observed"), ("galactic",)),
        ("spectrum_id", ("0",), ("",)),
        ("survey", ("0",), ("",)),
        ("reduced_at", (NOON,), (NOON.replace(tzinfo=None),)),
        ("observed_at", (NOON, None), (NOON.replace(tzinfo=None),)),
    ],
)
def test_a_field_is_refused_beyond_its_limits(name: str, fine: tuple[Any], wrong: tuple[Any]) -> None:
    for value in fine:
        assert getattr(spectrum(**{name: value}), name) == value
    for value in wrong:
        reason, detail = refusal(**{name: value})
        assert reason is Reason.BAD_FIELD
        assert detail.startswith(f"'{name}' ")


@pytest.mark.parametrize(
    "grid",
    [
        LinearGrid(1000.0, 1.0, 10), LinearGrid(29_991.0, 1.0, 10), LinearGrid(5000.0, 1.0, 1),
        LogGrid(3.0, 1e-4, 10), LogGrid(4.476, 1e-4, 10), ExplicitGrid(np.array([1000.0, 30_000.0])),
        ExplicitGrid(np.array([5000.0])),
    ],
    ids=repr,
)  # fmt: skip
def test_wavelengths_from_1000_to_30000_are_taken(grid: WavelengthGrid) -> None:
    assert spectrum(grid).n_pix == grid.n_pix


@pytest.mark.parametrize(
    "grid",
    [
        LinearGrid(999.0, 1.0, 10), LinearGrid(29_992.0, 1.0, 10), LinearGrid(5000.0, 0.0, 10),
        LinearGrid(5000.0, -1.0, 10), LinearGrid(40_000.0, -4000.0, 5), LogGrid(2.999, 1e-4, 20),
        LogGrid(4.477, 1e-4, 10), LogGrid(3.6, 100.0, 10), LogGrid(-400.0, 1.0, 500), LogGrid(3.6, 1.0, 5),
        ExplicitGrid(np.array([5000.0, 5000.0])), ExplicitGrid(np.array([5001.0, 5000.0])),
        ExplicitGrid(np.array([5000.0, np.nan])), ExplicitGrid(np.array([5000.0, 5000.5, 5000.2, 5002.0])),
    ],
    ids=repr,
)  # fmt: skip
def test_other_wavelengths_are_refused(grid: WavelengthGrid) -> None:
    assert refusal(grid)[0] is Reason.BAD_WAVELENGTH


def test_the_message_has_the_wavelengths() -> None:
    assert (
        "runs from 40000 to 40009 Å; it must increase within 1000–30000 Å"
        in refusal(LinearGrid(40_000.0, 1.0, 10))[1]
    )
    assert "runs from 3981.07 to 39810.7 Å" in refusal(LogGrid(3.6, 0.25, 5))[1]


def test_a_spectrum_has_pixels_but_not_too_many() -> None:
    assert refusal(LinearGrid(4000.0, 1.0, 0))[0] is Reason.NO_PIXELS
    assert spectrum(LinearGrid(4000.0, 1e-3, MAX_PIXELS)).n_pix == MAX_PIXELS
    assert refusal(LinearGrid(4000.0, 1e-3, MAX_PIXELS + 1))[0] is Reason.TOO_LARGE


@pytest.mark.parametrize("name", ["flux", "ivar", "mask", "contamination", "resolving_power"])
def test_arrays_have_the_grids_length(name: str) -> None:
    dtype = np.uint8 if name == "mask" else np.float32
    assert len(getattr(spectrum(**{name: np.full(100, 2, dtype)}), name)) == 100
    reason, detail = refusal(**{name: np.full(99, 2, dtype)})
    assert reason is Reason.LENGTH_MISMATCH
    assert detail.startswith(f"'{name}' has 99 values; the ")
    assert "100 pixels" in detail


@pytest.mark.parametrize("name", ["flux", "ivar", "mask", "contamination"])
def test_arrays_of_another_type_are_our_own_mistake(name: str) -> None:
    with pytest.raises(TypeError, match=f"'{name}' is float64"):
        spectrum(**{name: np.ones(100)})


def test_one_resolving_power_stands_for_an_array() -> None:
    assert spectrum(resolving_power=1850).typical_resolving_power == 1850.0
    power = np.linspace(1000.0, 3000.0, 1000, dtype=np.float32)
    grid = LinearGrid(4000.0, 1.0, 1000)
    assert spectrum(grid, resolving_power=power).typical_resolving_power == pytest.approx(2000.0, abs=35)
    spoiled = power.copy()
    spoiled[::2], spoiled[700:] = np.nan, 0.0  # those that say nothing are left out, wherever they lie
    for start in range(3):
        typical = spectrum(grid, resolving_power=np.roll(spoiled, start)).typical_resolving_power
        assert typical == pytest.approx(1700.0, abs=70)
    reason, detail = refusal(grid, resolving_power=np.zeros(1000, dtype=np.float32))
    assert (reason, "'resolving_power' is nan" in detail) == (Reason.BAD_FIELD, True)


def test_every_32nd_pixel_from_the_middle_of_the_rest_is_looked_at() -> None:
    """Of 70 pixels, three: 3, 35 and 67, which leave three at either end."""
    power = np.full(70, 500.0, dtype=np.float32)
    power[[3, 35, 67]] = 1000.0, 2000.0, 4000.0
    grid = LinearGrid(4000.0, 1.0, 70)
    assert spectrum(grid, resolving_power=power).typical_resolving_power == 2000.0


def test_a_short_array_has_a_resolving_power_too() -> None:
    power = np.array([1000.0, 2000.0, 3000.0], dtype=np.float32)
    assert spectrum(LinearGrid(4000.0, 1.0, 3), resolving_power=power).typical_resolving_power == 2000.0


def test_spectra_of_one_star_have_one_key() -> None:
    one = spectrum()
    assert one.key == "s"
    assert replace(one, object_id="star").key == "star"
