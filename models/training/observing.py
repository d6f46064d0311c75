"""How a bundle's spectra are observed: instruments for training, nights and samples for testing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from cempstream.models.training.instruments import Instrument, draw_instrument, lamost_like
from cempstream.models.training.make_bundle import WEAKNESSES
from cempstream.models.training.slitless import csst_gv, draw_slitless, low_resolution

#: A well-behaved survey still has errors of calibration, sky and velocity.
TAME = 0.3


@dataclass(frozen=True, slots=True)
class Tame:
    """A well-behaved survey: one instrument at one S/N per Å, no contaminants."""

    instrument: Callable[[], Instrument]
    snr: float


@dataclass(frozen=True, slots=True)
class Test:
    """Stars of the library that neither training nor calibration saw.

    Attributes
    ----------
    name
        Folder of its spectra.
    sample
        What stands on the card.
    tame
        None: observed like the training set.
    """

    name: str
    sample: str
    seed: int
    tame: Tame | None


@dataclass(frozen=True, slots=True)
class ObservingPlan:
    """What differs between bundles and is not in the configuration.

    Attributes
    ----------
    draw
        Draws an instrument.
    for_templates
        An instrument at least as sharp as the bundle, over its whole grid.
    surveys
        Simulator profiles of the night that calibrates the probabilities.
    broad_errors
        Whether training stars err over whole regions, see ``BroadErrors``.
    low_coverage
        Good fraction of the grid below which a result is flagged: less than a whole packet of a survey's.
    weaknesses
        What stands on the card.
    """

    draw: Callable[[np.random.Generator], Instrument | tuple[Instrument, ...]]
    for_templates: Callable[[], Instrument]
    surveys: tuple[str, ...]
    broad_errors: bool
    low_coverage: float
    tests: tuple[Test, ...]
    weaknesses: tuple[str, ...] = field(repr=False)


TEST_SAMPLE = "library stars held out, LAMOST-like, S/N 20 per Å"
WILD_SAMPLE = "library stars held out, any instrument, S/N 3–150 per Å, with contaminants"

_LAMOST_20 = Tame(lamost_like, 20.0)
_GV_PIXEL_AA = 5.25


def _gv(snr_per_pixel: float) -> Tame:
    return Tame(csst_gv, snr_per_pixel / _GV_PIXEL_AA**0.5)


PLANS: Mapping[str, ObservingPlan] = {
    "slits": ObservingPlan(
        draw=draw_instrument,
        for_templates=lamost_like,
        surveys=("lamost", "sdss", "desi"),
        broad_errors=False,
        low_coverage=0.7,
        tests=(
            Test("test", TEST_SAMPLE, 102, _LAMOST_20),
            Test("wild", WILD_SAMPLE, 103, None),
        ),
        weaknesses=WEAKNESSES,
    ),
    "slitless": ObservingPlan(
        draw=draw_slitless,
        for_templates=low_resolution,
        surveys=("csst",),
        broad_errors=True,
        low_coverage=0.4,
        tests=(
            Test("test", "library stars held out, CSST GV, S/N 20 per pixel of 5.25 Å", 102, _gv(20)),
            Test("test_30", "library stars held out, CSST GV, S/N 30 per pixel of 5.25 Å", 102, _gv(30)),
            Test(
                "wild",
                "library stars held out, any low-resolution instrument, S/N 1.3–60 per Å, with contaminants",
                103,
                None,
            ),
        ),
        weaknesses=(
            *WEAKNESSES[:4],
            "No [Ba/Fe] at this resolution; the subclass follows from A(C) and [Fe/H] alone.",
            "No radial velocity: what is found and taken out is the wavelength zero point.",
            "GI alone sees CN and the Ca II triplet but neither CH nor C2: its recall is lower than GV's.",
            "Neighbours' light on a slitless trace is not modelled out; see the contamination flag.",
        ),
    ),
}
