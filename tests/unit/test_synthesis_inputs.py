"""What goes into Synspec, and what is made of its output."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from cempstream.models.synthesis.atmosphere import GRID_FILES, AtmosphereGrid, AtmosphereNotCovered
from cempstream.models.synthesis.build_synspec import find_gfortran
from cempstream.models.synthesis.errors import SynthesisError
from cempstream.models.synthesis.grid_spectrum import LIBRARY_WAVE, library_spectrum
from cempstream.models.synthesis.linelists import (
    LineLists,
    atomic_records,
    is_impossible_ch,
    molecular_records,
    parse_list,
)
from cempstream.models.synthesis.patches import apply_patches
from cempstream.models.synthesis.synspec import RawSpectrum
from cempstream.processors.grid import Array

HYDRIDES = """
  4265.115 106.00112     1.951    -0.878               3.464            AX00Q355
  6213.317 106.00112     1.314     1.319               3.464            BX10R285
  6213.900 106.00113     1.314     1.319               3.464            BX10R285
  3651.630 106.00112     0.073    -1.971               3.464            BX10Q055
  8391.994 106.00112     3.135     1.560               3.464            AX54Q385
  5183.000 112.00124     0.500    -1.000               1.340            KURUCZ
  5183.500 117.00135     0.500    -1.000               4.400            KURUCZ
  3000.000 112.00124     0.500    -1.000               1.340            KURUCZ
"""

ATOMS = """
  4233.172      26.1     2.583    -1.900
  4554.029      56.1     0.000     0.170
  6707.773    3.0007     0.000    -0.357                                 KURUCZ
"""

BARKLEM = """
  4233.137  26.1  -7.435   0.220    7.92E+08
  4233.172  26.1  -7.877   0.309    3.65E+08
  4554.029  56.0  -7.000   0.300    1.00E+08
"""


def test_impossible_ch_lines_are_found() -> None:
    lines = parse_list(HYDRIDES)
    assert lines.wave[is_impossible_ch(lines)].tolist() == [6213.317, 6213.900, 8391.994]


def test_molecules_are_weighted_sorted_and_limited() -> None:
    records = molecular_records([parse_list(HYDRIDES)], ratio_12c_13c=19.0)
    assert records[:, 0].tolist() == pytest.approx([365.163, 426.5115, 518.3, 621.3317, 621.39, 839.1994])
    assert records[:, 1].tolist() == [106, 106, 112, 106, 106, 106]
    np.testing.assert_allclose(records[3:5, 2], 1.319 + np.log10([0.95, 0.05]))
    assert records[2, 2] == pytest.approx(-1.0 + np.log10(0.7899))
    assert records[0, 3] == pytest.approx(0.073 * 8065.544)
    assert (records[:, 4:] == 0.0).all()


def test_atoms_have_species_levels_and_damping() -> None:
    records = atomic_records(parse_list(ATOMS), BARKLEM)
    np.testing.assert_allclose(records[:, 1], [26.01, 56.01, 3.0])
    # Of two lines within 1e-5 the first, as in the shared library; Ba I is not Ba II.
    np.testing.assert_allclose(records[:, 9], [-7.435, 0.0, 0.0])
    np.testing.assert_allclose(records[1, 5], 1e8 / 4554.029)


def test_other_isotope_ratios_are_refused() -> None:
    with pytest.raises(ValueError, match="12C/13C is 10; line lists exist for \\(5, 20, 89\\)"):
        LineLists(Path("lines")).molecules(10.0)


def model(scale: float) -> str:
    """Return a model of three layers, 72 lines shorter than a real one."""
    layers = "\n".join(f" {scale * i:.8E} {4000.0 * scale:.1f} {scale:.3e} {scale:.3e} 0" for i in (1, 2, 3))
    return f"READ DECK6 3 RHOX,T,P,XNE\n{layers}\nPRADK\n"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "grid.whl"
    with ZipFile(path, "w") as archive:
        for mh in (-1.0, -0.5):
            text = "".join(
                f"TEFF   {teff:.0f}.  GRAVITY {logg:.5f} LTE\n{model(2.0 ** ((teff - 5000) / 250))}"
                for teff in (5000, 5250)
                for logg in (2.0, 2.5)
            )
            archive.writestr(f"fraunhofer/data/{GRID_FILES[mh]}", text)
    return path


def test_a_node_of_the_grid_is_itself(wheel: Path) -> None:
    grid = AtmosphereGrid(wheel)
    np.testing.assert_array_equal(grid.interpolate(5000.0, 2.0, -1.0), grid.node(5000.0, 2.0, -1.0))
    assert grid.node(5000.0, 2.0, -1.0).shape == (3, 4)


def test_between_nodes_the_logarithm_is_linear(wheel: Path) -> None:
    grid = AtmosphereGrid(wheel)
    between = grid.interpolate(5125.0, 2.2, -0.7)
    np.testing.assert_allclose(between, np.sqrt(2.0) * grid.node(5000.0, 2.0, -1.0))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ((5300.0, 2.0, -1.0), "no ATLAS9 model at Teff 5500 K, log g 2, "),
        ((5000.0, 5.5, -1.0), "5.5 is outside the grid, 0 to 5"),
    ],
)
def test_missing_atmospheres_are_named(wheel: Path, labels: tuple[float, ...], message: str) -> None:
    with pytest.raises(AtmosphereNotCovered, match=message):
        AtmosphereGrid(wheel).interpolate(*labels)


def test_another_source_is_not_patched() -> None:
    with pytest.raises(SynthesisError, match="HYDLIN is not as expected"):
        apply_patches("      SUBROUTINE HYDLIN(ID)\n      DIMENSION PJ(80)\n      END\n")


def test_a_missing_compiler_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("FC", raising=False)
    with pytest.raises(SynthesisError, match=r"gfortran, which is not on PATH: install it .*apt install"):
        find_gfortran()


def raw_spectrum(depth: Array | float, wave: Array) -> RawSpectrum:
    continuum_wave = np.array([3600.0, 10000.0])
    continuum = np.array([2e5, 1e5])
    flux = np.interp(wave, continuum_wave, continuum) * (1.0 - depth)
    return RawSpectrum(wave, flux, continuum_wave, continuum)


def test_a_line_keeps_its_width_and_gets_the_library_s_resolution() -> None:
    wave = np.arange(3600.0, 10000.0, 0.02)
    narrow = np.exp(-0.5 * ((wave - 5000.0) / 0.025) ** 2)
    spectrum = library_spectrum(raw_spectrum(narrow, wave))
    depth = 1.0 - spectrum.norm.astype(np.float64)
    near = np.abs(LIBRARY_WAVE - 5000.0) < 5.0
    weight = depth[near] / depth[near].sum()
    centre = (weight * LIBRARY_WAVE[near]).sum()
    assert centre == pytest.approx(5000.0, abs=0.005)
    sigma = np.sqrt((weight * (LIBRARY_WAVE[near] - centre) ** 2).sum())
    assert sigma == pytest.approx(np.hypot(5000.0 / 5000.0 / 2.3548, 0.025), rel=0.01)
    width = (depth[near] * np.gradient(LIBRARY_WAVE[near])).sum()
    assert width == pytest.approx(0.025 * np.sqrt(2.0 * np.pi), rel=0.01)
    assert spectrum.norm.dtype == np.float16


def test_the_continuum_is_synspec_s() -> None:
    wave = np.arange(3600.0, 10000.0, 0.5)
    spectrum = library_spectrum(raw_spectrum(0.0, wave))
    np.testing.assert_allclose(spectrum.norm.astype(np.float64), 1.0, atol=1e-3)
    np.testing.assert_allclose(spectrum.continuum[0], 2e5 - 1e5 * 40.0 / 6400.0, rtol=1e-6)
