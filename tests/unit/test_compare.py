"""Two bundles on the same spectra: what was put in is what the report says."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import pytest
from rich.console import Console

from cempstream.processors.decide import Policy
from cempstream.processors.outcome import Classification, Estimate, Rejected
from cempstream.processors.spectrum import Reason
from cempstream.streams.operations.compare import Comparer, Comparison, print_comparison
from tests.support.fakes import classification, make_spectrum

POLICY = Policy("1", 3e-4, 0.5)
BAD = Rejected(b"", Reason.PROCESSING_ERROR, "it broke")


def star(name: str, p_cemp: float, feh: float = -2.0) -> Classification:
    result = classification(make_spectrum(name), p_cemp, POLICY)
    return replace(result, parameters={**result.parameters, "feh": Estimate(feh, feh - 0.1, feh + 0.1)})


@pytest.fixture
def found() -> Comparison:
    comparer = Comparer("mid-1.0.0", "mid-1.1.0")
    for i in range(96):
        comparer.add(star(f"s{i}", 0.1, -2.0), star(f"s{i}", 0.2, -2.25))
    comparer.add(star("gained", 0.3), star("gained", 0.9))
    comparer.add(star("lost", 0.8), star("lost", 0.1))
    comparer.add(star("nan", 0.1, math.nan), star("nan", 0.1, -3.0))
    comparer.add(star("died", 0.7), BAD)
    comparer.add(BAD, star("revived", 0.6))
    comparer.add(BAD, BAD)
    return comparer.report()


def test_alerts_gained_and_lost_are_named(found: Comparison) -> None:
    assert [change.spectrum_id for change in found.gained] == ["gained", "revived"]
    assert [change.spectrum_id for change in found.lost] == ["lost", "died"]
    assert (found.n_candidates_old, found.n_candidates_new) == (2, 2)
    assert (found.n_both, found.n_rejected_by_both) == (99, 1)
    assert found.died == found.revived == {"processing_error": 1}


def test_shifts_are_new_minus_old(found: Comparison) -> None:
    assert found.shifts["p_cemp"].median == pytest.approx(0.1)
    assert found.shifts["p_cemp"].max_abs == pytest.approx(0.7)
    feh = found.shifts["feh"]
    assert (feh.n_spec, feh.n_appeared, feh.n_vanished) == (98, 1, 0)
    assert feh.mean == pytest.approx(-0.25 * 96 / 98)
    assert found.shifts["teff"].max_abs == 0.0


def test_the_report_is_json_and_a_table(found: Comparison) -> None:
    body = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert body["n_gained"] == 2
    assert body["gained"][1] == {"spectrum_id": "revived", "survey": "lamost", "p_old": None, "p_new": 0.6}
    console = Console(width=120, record=True, file=io.StringIO())
    print_comparison(found, console)
    text = console.export_text()
    assert "gained: lamost gained p(CEMP) 0.3000 → 0.9000" in text
    assert "2 lost" in text


def test_nothing_compared_is_no_error() -> None:
    empty = Comparer("a", "b").report()
    assert empty.shifts["p_cemp"].n_spec == 0
    assert empty.to_json()["shifts"]["p_cemp"]["median"] is None
