"""Pictures and pages: everything a person needs is there, legible, and nothing lies over anything."""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.patches import StepPatch

from cempstream.processors.classify import BandNamer
from cempstream.processors.outcome import Estimate, NamedBand
from cempstream.processors.spectrum import Flag
from cempstream.schemas.alert import decode_alert, encode_alert
from cempstream.schemas.samples import sample_classification, sample_stamp, sample_star
from cempstream.streams.pictures.finding import (
    Finding,
    finding_of_alert,
    finding_of_classification,
    flux_trace,
    norm_trace,
)
from cempstream.streams.pictures.pages import (
    index_row,
    life_text,
    thumbnail_svg,
    write_explanation,
    write_index,
    write_star,
)
from cempstream.streams.pictures.picture import draw_finding, save_picture
from cempstream.streams.pictures.windows import ORANGE, spread_apart
from tests.support.figures import cut_off, overlaps, texts


@pytest.fixture(scope="module")
def finding() -> Finding:
    return finding_of_alert(decode_alert(encode_alert(sample_classification(), sample_stamp())))


@pytest.fixture(scope="module")
def crowded(finding: Finding) -> Finding:
    """Return a finding with all that can make a picture full."""
    edges = 10 ** (3.57 + 1e-4 * 48 * np.arange(81))
    names = ("CH G", "CN 4142", "Eu II 4129", "Sr II 4077")
    return replace(
        finding,
        attribution=np.full(80, 1 / 80),
        attribution_wave_aa=edges,
        bands=tuple(NamedBand(name, 0.2) for name in names),
        flags=tuple(flag.value for flag in Flag),
        ra=359.99999,
        dec=-89.99999,
        rv_kms=-512.3,
        parameters={name: Estimate(-4321.0, -5000.0, -4000.0) for name in finding.parameters},
    )


def test_a_band_is_shown_where_it_has_more_of_the_evidence_than_chance(crowded: Finding) -> None:
    assert [band.name for band in crowded.telling_bands] == [band.name for band in crowded.bands]
    named = BandNamer(crowded.attribution_wave_aa)
    even = replace(crowded, bands=named(crowded.attribution[None])[0])
    assert even.bands
    assert even.telling_bands == ()
    assert "more than by chance" in {text.get_text() for text in texts(draw_finding(even))}


def test_a_band_has_one_share_wherever_it_is_said(finding: Finding) -> None:
    uneven = replace(finding, bands=(NamedBand("CH G", 0.444), NamedBand("C2 4737", 0.2)))
    words = [text.get_text() for text in texts(draw_finding(uneven))]
    assert {"44 % of the evidence", "CH G   44 % of the evidence"} <= set(words)


def test_an_alert_and_its_classification_give_the_same_picture(finding: Finding, tmp_path: Path) -> None:
    other = finding_of_classification(sample_classification())
    for name in ("p_cemp", "snr", "flags", "subclass_p", "parameters", "bands", "rv_kms", "name", "lines"):
        assert getattr(finding, name) == getattr(other, name) or name == "parameters"
    np.testing.assert_array_equal(finding.attribution, other.attribution)
    save_picture(finding, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_the_picture_says_all_that_matters(finding: Finding) -> None:
    words = "\n".join(text.get_text() for text in texts(draw_finding(finding)))
    for wanted in (
        "SAMPLE J104508.24+412345.6",
        "p(CEMP) 0.970",
        "4810 +85 −80 K",
        "−2.41 +0.13 −0.12",
        "CEMP-s",
        "70 %",
        "40 a pixel",
        "10:45:08.24 +41:23:45.6",
        "161.28433",
        "−122 ± 4 km/s",
        "CH G",
        "Ba II 4554",
        "40 % of the evidence",
        "sample/1.0",
        "none",
        "G 14.82",
        "[test]",
    ):
        assert wanted in words
    assert {"CH G", "C2 4737", "C2 5165"} <= {t.partition("   ")[0] for t in words.splitlines()}


@pytest.mark.parametrize("name", ["finding", "crowded"])
def test_no_labels_overlap_and_none_is_cut_off(name: str, request: pytest.FixtureRequest) -> None:
    figure = draw_finding(request.getfixturevalue(name))
    assert list(overlaps(figure)) == []
    assert list(cut_off(figure)) == []


def test_every_flag_is_written(crowded: Finding) -> None:
    words = " ".join(text.get_text() for text in texts(draw_finding(crowded)))
    for flag in Flag:
        assert flag.value.replace("_", " ") in re.sub(r"\s+", " ", words)


def test_an_alert_without_its_spectrum_is_drawn_and_says_so(finding: Finding, tmp_path: Path) -> None:
    bare = replace(finding, spectrum=None)
    words = [text.get_text() for text in texts(draw_finding(bare))]
    assert words.count("no pixels here") == 5
    write_index(tmp_path / "index.html", [index_row(bare, "a.html")], title="t", lead="l", summary=[])
    assert "<polyline" not in (tmp_path / "index.html").read_text()


def test_the_flux_is_drawn_where_the_lines_are_at_rest(finding: Finding) -> None:
    assert finding.rv_kms is not None
    trace = flux_trace(finding)
    assert trace is not None
    near = (trace.wave_aa > 4840) & (trace.wave_aa < 4890)
    lowest = trace.wave_aa[near][np.nanargmin(trace.smooth[near])]
    # The sample's Hβ lies at rest in the observed frame, so that a velocity moves it.
    assert lowest == pytest.approx(4862.7 / (1 + finding.rv_kms / 299_792.458), abs=1.0)
    norm = norm_trace(finding)
    assert norm is not None
    assert np.nanmedian(norm.smooth) == pytest.approx(1.0, abs=0.1)


def test_bad_pixels_are_not_drawn(finding: Finding) -> None:
    trace = flux_trace(finding)
    assert trace is not None
    assert np.isnan(trace.raw[100:104]).all()
    assert np.isfinite(trace.raw[:100]).all()


def test_labels_are_spread_in_order_and_no_further_than_needed() -> None:
    spread = spread_apart([0.1, 0.11, 0.12, 0.5, 0.9], gap=0.05)
    assert np.diff(spread).min() >= 0.05 - 1e-12
    assert spread[3:] == [0.5, 0.9]
    assert np.mean(spread[:3]) == pytest.approx(0.11)
    assert spread_apart([], 0.1) == []


def test_where_nothing_speaks_for_carbon_no_evidence_is_painted(crowded: Finding) -> None:
    assert not crowded.evidence.any()  # the attribution is even
    figure = draw_finding(crowded)
    words = [text.get_text() for text in texts(figure)]
    assert "none: nothing here speaks for carbon" in words
    assert sum("no evidence" in word for word in words) == 3
    assert not figure.findobj(StepPatch)
    assert f'fill="{ORANGE}"' not in thumbnail_svg(crowded)
    one = crowded.attribution.copy()
    one[40] = 0.5
    assert np.flatnonzero(replace(crowded, attribution=one).evidence).tolist() == [40]


def test_what_is_unlike_the_training_has_no_parameters(finding: Finding, tmp_path: Path) -> None:
    odd = replace(finding, flags=(Flag.OUT_OF_DISTRIBUTION.value,))
    words = "\n".join(text.get_text() for text in texts(draw_finding(odd)))
    write_explanation(tmp_path / "odd.html", odd, b"")
    write_index(tmp_path / "index.html", [index_row(odd, "odd.html")], title="t", lead="l")
    page, index = (tmp_path / "odd.html").read_text(), (tmp_path / "index.html").read_text()
    for text in (words, page, index):
        assert "1.52" not in text  # its [C/Fe]
        assert "4810" not in text
    assert "unlike every star of the training" in page


def test_the_index_holds_the_night_and_loads_no_other_file(finding: Finding, tmp_path: Path) -> None:
    page = tmp_path / "index.html"
    odd = replace(finding, name="<b>star</b>", ra=None, dec=None)
    write_index(
        page,
        [index_row(finding, "a.html", "CEMP star", 0.123), index_row(odd, "b c.html")],
        title="A night",
        lead="Two alerts.",
        summary=[("spectra in", "512"), ("recall", "9 of 10")],
    )
    text = page.read_text()
    for wanted in (
        "A night",
        "512",
        "9 of 10",
        "0.123 s",
        "CEMP star",
        'href="b%20c.html"',
        "<svg",
        "SIMBAD",
    ):
        assert wanted in text
    assert "<b>star</b>" not in text
    assert not re.findall(r'src="|<link|url\(', text)
    assert text.count("<tr>") == 3


def test_a_column_that_says_nothing_is_left_out(finding: Finding, tmp_path: Path) -> None:
    page = tmp_path / "index.html"
    write_index(page, [index_row(finding, "a.html")], title="t", lead="l")
    assert "latency" not in page.read_text()
    assert 'data-label="[C/Fe]"' in page.read_text()
    write_index(page, [], title="t", lead="l")
    assert "No alerts." in page.read_text()


def test_an_explanation_carries_its_picture_and_its_numbers(finding: Finding, tmp_path: Path) -> None:
    page = tmp_path / "star.html"
    write_explanation(page, finding, b"\x89PNG picture", index="index.html")
    text = page.read_text()
    found = re.search(r"data:image/png;base64,([^\"]+)", text)
    assert found is not None
    assert b64decode(found[1]) == b"\x89PNG picture"
    for wanted in ("C2_4668", "9.100", "C2 5165", "40.0 %", "4810 +85 −80 K", "CPUExecutionProvider"):
        assert wanted in text
    for wanted in ("[C/Fe]", "log g", "SIMBAD", 'href="index.html"'):
        assert wanted in text
    assert not re.search(r"<td>(cfe|teff|logg)\b", text)


def test_a_followed_star_has_its_life_on_its_page_and_on_the_index(finding: Finding, tmp_path: Path) -> None:
    alert = decode_alert(encode_alert(sample_classification(), sample_stamp()))
    kinds = ("initial", "subsequent", "subsequent", "retraction")
    alerts = [
        alert.model_copy(
            update={"alert_type": kind, "alert_id": str(i), "revision": i, "n_observations": i + 1}
        )
        for i, kind in enumerate(kinds)
    ]
    name = write_star(tmp_path, "star", finding, (sample_star(), alerts))
    page = (tmp_path / name).read_text()
    drawn = [b64decode(data) for data in re.findall(r"data:image/png;base64,([^\"]+)", page)]
    assert drawn == [(tmp_path / "star.life.png").read_bytes(), (tmp_path / "star.png").read_bytes()]
    rows = re.findall(r"<tr><td>(\w+)</td><td>[\d:]+</td><td class=\"number\">(\d)</td>", page)
    assert rows == [(kind, str(i + 1)) for i, kind in enumerate(kinds)]
    said = life_text(alerts)
    assert said == "initial → 2 × subsequent → retraction"
    index = tmp_path / "index.html"
    write_index(index, [index_row(finding, name, life=said)], title="t", lead="l")
    assert f'data-label="alerts" data-key="{said}">{said}<' in index.read_text()
    write_index(index, [index_row(finding, name)], title="t", lead="l")
    assert 'data-label="alerts"' not in index.read_text()
