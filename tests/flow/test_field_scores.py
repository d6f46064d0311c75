"""The cases of tables and text from file to score: what each star is, however its file says it."""

from __future__ import annotations

from pathlib import Path

import astropy.units as u
import numpy as np
import pytest

from cempstream import Classifier
from cempstream.processors.readers import ReadOptions, expand_paths, read_spectra
from cempstream.processors.spectrum import Spectrum

#: Cases of the star of ``_reference/x.fits``: S/N 94, [Fe/H] -1.51, [C/Fe] +0.14, -150 km/s in vacuum.
SAME_STAR = (
    "4most-noise-and-quality", "err-all-nan", "err-all-zero", "frame-barycentric", "mask-logical",
    "mask-words", "noise-e_flux", "noise-variance", "position-sexagesimal", "tnull-ivar",
    "vacuum-card-integer", "zero-wave-inside",
)  # fmt: skip
#: The same where no medium is stated: the velocity may be that of air or of vacuum.
SAME_STAR_OF_SOME_MEDIUM = ("ecsv-nm", "greek-mu", "latin1", "null-words", "phase3-keywords", "utf16")
#: Cases of the CEMP star of ``_reference/cemp.csv``.
CEMP_STAR = ("mask-1good-scored-on-bad", "headerless-ascii", "nanometres-unsaid")
#: Noise that is estimated, or stated in another unit than the flux.
OTHER_NOISE = ("err-all-nan", "err-all-zero", "tnull-ivar", "phase3-keywords")


@pytest.mark.timeout(120)
def test_each_case_scores_as_its_star(shared_data: Path) -> None:
    cases = (*SAME_STAR, *SAME_STAR_OF_SOME_MEDIUM, *CEMP_STAR)
    stars = []
    for case in cases:
        (path,) = expand_paths([shared_data / "field" / case])
        options = ReadOptions(wave_unit="nm") if case == "nanometres-unsaid" else ReadOptions()
        (spectrum,) = read_spectra(path, options)
        assert isinstance(spectrum, Spectrum), case
        stars.append(spectrum)
    for case, row in zip(cases, Classifier("mid").classify(stars), strict=True):
        if case in CEMP_STAR:
            assert row["p_cemp"] > 0.9, case
            assert abs(u.Quantity(row["rv_kms"]).value) < 30, case
            continue
        assert float(row["feh"]) == pytest.approx(-1.51, abs=0.05), case
        assert float(row["cfe"]) == pytest.approx(0.14, abs=0.06), case
        assert row["p_cemp"] < 0.1, case
        if case not in OTHER_NOISE:
            assert float(row["snr"]) == pytest.approx(94, abs=2), case
        velocity = u.Quantity(row["rv_kms"]).value
        shift = np.array([-150.0] if case in SAME_STAR else [-150.0, -67.0])
        assert np.min(np.abs(velocity - shift)) < 5, case
