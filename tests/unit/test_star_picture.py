"""The picture of a star: every spectrum, the sum, how p and the parameters grew, and the alerts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cempstream.processors.stars.life import AlertType
from cempstream.processors.stars.star import Star, fold_all
from cempstream.schemas.alert import Alert, decode_alert, encode_alert
from cempstream.schemas.samples import sample_stamp
from cempstream.streams.pictures.star_picture import SUFFIXES, draw_star, save_star
from tests.support.figures import cut_off, overlaps, texts
from tests.support.visits import NIGHT, VISIT_GRID, MeanJudge, line_flux, visit

P = (0.9, 0.3, 0.0002, 0.999, 0.95)


def folded(ps: Sequence[float]) -> Star:
    rng = np.random.default_rng(1)
    flux = line_flux(120.0)
    visits = [
        visit(i, p=p, shift_kms=120.0, flux=flux + rng.normal(0, 0.05, flux.size)) for i, p in enumerate(ps)
    ]
    return fold_all(Star(object_id="star", tense="test"), visits, MeanJudge()).star


def alert_of(n_spectra: int, alert_type: AlertType, revision: int) -> Alert:
    """Return the alert that was sent when so many of the spectra had come."""
    seen = [visit(i, p=p) for i, p in enumerate(P[:n_spectra])]
    result = fold_all(Star(object_id="star", tense="test"), seen, MeanJudge())
    stamp = replace(
        sample_stamp(),
        alert_type=alert_type,
        revision=revision,
        published_at=NIGHT + timedelta(hours=n_spectra),
    )
    (said,) = result.results.values()
    return decode_alert(encode_alert(said, stamp, result.star))


@pytest.fixture(scope="module")
def star() -> Star:
    return folded(P)


@pytest.fixture(scope="module")
def life() -> list[Alert]:
    types: list[AlertType] = ["initial", "subsequent", "retraction", "initial", "update"]
    return [alert_of(i + 1, alert_type, i) for i, alert_type in enumerate(types)]


def axes_of(figure: Figure, title: str) -> Axes:
    (found,) = (axes for axes in figure.axes if axes.get_title("left") == title)
    return found


def test_p_and_every_parameter_are_drawn_against_the_number_of_spectra(star: Star) -> None:
    figure = draw_star(star, "csst", [])
    lines = {line.get_label(): line for line in axes_of(figure, "p(CEMP)").get_lines()}
    said = star.spokesmen()
    assert lines["the star"].get_xdata() == pytest.approx([1, 2, 3, 4, 5])
    assert lines["the star"].get_ydata() == pytest.approx([s.p_cemp for s in said if s is not None])
    assert lines["alone"].get_ydata() == pytest.approx(P, abs=1e-3)
    assert lines["threshold"].get_ydata() == pytest.approx([0.5] * 5)
    assert lines["retracted below"].get_ydata() == pytest.approx([1 / 3] * 5)  # half of the odds of 1
    (bars,) = axes_of(figure, "[C/Fe]").containers
    assert bars[0].get_xdata() == pytest.approx([1, 2, 3, 4, 5])
    low_high = np.array([segment[:, 1] for segment in bars[2][0].get_segments()])
    intervals = [s.parameters["cfe"] for s in said if s is not None]
    np.testing.assert_allclose(low_high, [(e.lo, e.hi) for e in intervals])


def test_each_alert_stands_where_it_was_sent(star: Star, life: list[Alert]) -> None:
    axes = axes_of(draw_star(star, "csst", [*life[::-1], life[2]]), "p(CEMP)")
    lines = {line.get_label(): line for line in axes.get_lines()}
    for name, numbers in {"initial": [1, 4], "subsequent": [2], "retraction": [3], "update": [5]}.items():
        marks = lines[f"{name} alert"]
        assert marks.get_xdata() == pytest.approx(numbers)
        assert marks.get_ydata() == pytest.approx([life[n - 1].p_cemp for n in numbers])


def test_the_spectra_and_their_sum_are_drawn_at_rest(star: Star) -> None:
    top = draw_star(star, "csst", []).axes[0]
    curves = [line for line in top.get_lines() if len(np.asarray(line.get_xdata())) == VISIT_GRID.n_pix]
    *visits, total = (np.asarray(line.get_ydata(), dtype=float) for line in curves)
    assert len(visits) == len(P)
    wave = np.asarray(curves[0].get_xdata(), dtype=float)
    near = np.abs(np.log10(wave) - 3.77) < 0.01
    assert np.log10(wave[near][np.nanargmin(total[near])]) == pytest.approx(3.77, abs=1e-3)
    clean = np.nanstd(visits[0] - total)
    assert 0.03 < clean < 0.07  # the noise of one spectrum, of which the sum has less


def test_the_life_of_the_star_is_told_in_order(star: Star, life: list[Alert]) -> None:
    words = "\n".join(text.get_text() for text in texts(draw_star(star, "csst", life[::-1])))
    told = " → ".join(
        f"{kind} 03-01 {12 + i}:00:00"
        for i, kind in enumerate(("initial", "subsequent", "retraction", "initial", "update"), 1)
    )
    assert told in words
    assert "csst   [test]   5 spectra   GV" in words
    assert "no alerts" in "\n".join(text.get_text() for text in texts(draw_star(star, "csst", [])))


def test_light_of_a_neighbour_is_marked(star: Star) -> None:
    """A spectrum with mixed light is no candidate at any p, and takes no part in the history."""
    first = star.together[0]
    assert first is not None
    refused = replace(first, decision=replace(first.decision, is_candidate=False))
    mixed = replace(star, together=(refused, *star.together[1:]))
    lines = {line.get_label(): line for line in axes_of(draw_star(mixed, "csst", []), "p(CEMP)").get_lines()}
    assert lines["does not count"].get_xdata() == pytest.approx([1])


@pytest.mark.parametrize("n_spectra", [1, 5, 16])
def test_no_labels_overlap_and_none_is_cut_off(n_spectra: int, life: list[Alert]) -> None:
    figure = draw_star(folded((P * 4)[:n_spectra]), "csst", life)
    assert list(overlaps(figure)) == []
    assert list(cut_off(figure)) == []


def test_a_star_of_which_nothing_could_be_said_is_drawn(star: Star) -> None:
    mute = replace(star, together=(None,) * len(P))
    words = [text.get_text() for text in texts(draw_star(mute, "csst", []))]
    assert words.count("not known") == 6


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_name_says_the_format(suffix: str, star: Star, tmp_path: Path) -> None:
    path = tmp_path / f"star{suffix}"
    save_star(star, "csst", [], path)
    start = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix]
    assert path.read_bytes().startswith(start)
