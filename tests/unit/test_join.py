"""Spectra of one star through several gratings as one: what each saw, at one velocity, without a step."""

from dataclasses import replace

import numpy as np
import pytest

from cempstream.processors.batch import NormalisedBatch
from cempstream.processors.grid import Array
from cempstream.processors.spectrum import Spectrum
from cempstream.processors.stars.coadd import coadd, put_together
from cempstream.processors.stars.join import join
from cempstream.processors.stars.observation import Observation
from tests.support.visits import FIND, NORMALISE, REBIN, VISIT_GRID, line_flux, visit

N_PIX = VISIT_GRID.n_pix
HALF = N_PIX // 2


def part(flux: Array, ivar: Array) -> NormalisedBatch:
    norm, weight = (np.asarray(array, dtype=np.float32)[None] for array in (flux, ivar))
    return NormalisedBatch(VISIT_GRID, norm, weight, np.ones_like(norm))


def seen_in(
    first: int, last: int, *, grating: str, shift_kms: float = 0.0, scale: float = 1.0
) -> Observation:
    """Return a spectrum that has good pixels in a part of the grid."""
    whole = visit(0 if grating == "GV" else 1, grating=grating, shift_kms=shift_kms, snr=40.0)
    good = np.zeros(N_PIX, dtype=bool)
    good[first:last] = True
    spectrum = replace(
        whole.spectrum,
        flux=np.where(good, scale * whole.spectrum.flux, 0).astype(np.float32),
        ivar=np.where(good, whole.spectrum.ivar / scale**2, 0).astype(np.float32),
    )
    return replace(whole, spectrum=spectrum)


def together(*observations: Observation) -> Spectrum:
    return put_together(observations, REBIN, NORMALISE, FIND)


def test_where_both_see_the_mean_by_inverse_variance_counts_and_elsewhere_the_one_that_sees() -> None:
    level = np.ones(N_PIX)
    blue = part(
        np.where(np.arange(N_PIX) < HALF + 20, 1.0, 1.0), np.where(np.arange(N_PIX) < HALF + 20, 300.0, 0)
    )
    red = part(level + 0.08 * (np.arange(N_PIX) == HALF), np.where(np.arange(N_PIX) >= HALF - 20, 100.0, 0))
    joined = join([blue, red], lambda batch: batch)  # type: ignore[arg-type,return-value]
    flux, ivar = joined.flux[0], joined.ivar[0]  # type: ignore[attr-defined]
    assert ivar[[0, HALF, N_PIX - 1]].tolist() == [300.0, 400.0, 100.0]
    assert flux[HALF] == pytest.approx(1.02)
    np.testing.assert_allclose(np.delete(flux, HALF), 1.0, rtol=1e-6)


def test_a_pixel_that_none_sees_is_bad() -> None:
    nothing = part(np.ones(N_PIX), np.zeros(N_PIX))
    joined = join([nothing, nothing], NORMALISE)
    assert not joined.ivar.any()
    np.testing.assert_array_equal(joined.norm, 1.0)


def test_one_grating_is_its_own_sum() -> None:
    visits = [visit(0), visit(1)]
    alone, added = together(*visits), coadd(visits, REBIN, NORMALISE)
    np.testing.assert_array_equal(alone.flux, added.flux)
    assert alone.grating == "GV"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_gratings_are_one_spectrum_whatever_their_scales_zero_points_and_order(
    order: tuple[int, int],
) -> None:
    arms = (
        seen_in(0, HALF + 15, grating="GV", shift_kms=400.0),
        seen_in(HALF - 15, N_PIX, grating="GI", shift_kms=-300.0, scale=50.0),
    )
    arms = tuple(replace(arm, said=replace(arm.said, rv_error_kms=None)) for arm in arms)
    joined = together(*(arms[i] for i in order))
    assert (joined.grating, joined.frame) == ("GV+GI", "rest")
    expected = NORMALISE(REBIN([replace(arms[0].spectrum, flux=line_flux().astype(np.float32),
                                        ivar=np.full(N_PIX, 1600, np.float32))]))  # fmt: skip
    found = NORMALISE(REBIN([joined]))
    inner = slice(20, -20)
    np.testing.assert_allclose(found.norm[0, inner], expected.norm[0, inner], atol=0.03)
    assert (joined.ivar[inner] > 0).all()


def test_contamination_is_that_of_the_grating_that_sees_a_pixel() -> None:
    dirty = np.full(N_PIX, 0.4, dtype=np.float32)
    blue, red = seen_in(0, HALF, grating="GV"), seen_in(HALF, N_PIX, grating="GI")
    joined = together(blue, replace(red, spectrum=replace(red.spectrum, contamination=dirty)))
    assert joined.contamination is not None
    np.testing.assert_allclose(joined.contamination[[10, N_PIX - 10]], [0.0, 0.4], rtol=1e-6)
    assert together(blue, red).contamination is None
