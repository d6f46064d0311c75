"""``cempstream explain``: a picture and a page per spectrum, and one line for what cannot be explained."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cempstream import classify
from cempstream.processors.spectrum import Spectrum
from cempstream.streams.cli import app
from cempstream.streams.pictures.pages import unique_stem
from cempstream.streams.subscriber.alert_file import holds_alerts
from tests.support.alerts import alert_packet
from tests.support.spectra import template_spectra


def save(path: Path, stars: Sequence[Spectrum], ids: Sequence[str]) -> Path:
    np.savez(
        path,
        wave=np.concatenate([star.grid.wave for star in stars]),
        flux=np.concatenate([star.flux for star in stars]),
        ivar=np.concatenate([star.ivar for star in stars]),
        offsets=np.cumsum([0, *(star.n_pix for star in stars)]),
        ids=np.array(ids),
        medium="vacuum",
        frame="observed",
        resolving_power=1800.0,
    )
    return path


@pytest.fixture(scope="module")
def stars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of three stars, one of them a candidate."""
    path = tmp_path_factory.mktemp("stars") / "stars.npz"
    return save(path, template_spectra(3, seed=1), [f"s{i}" for i in range(3)])


def test_every_spectrum_gets_its_picture_and_its_page(tmp_path: Path) -> None:
    two = template_spectra(2)
    empty = np.zeros(two[0].n_pix, dtype=np.float32)
    save(
        tmp_path / "stars.npz", [*two, replace(two[0], flux=empty, ivar=empty)], ["a/star", "a star", "empty"]
    )
    (tmp_path / "junk.fits").write_bytes(b"not a file")
    out = tmp_path / "why"
    result = CliRunner().invoke(
        app, ["explain", str(tmp_path / "stars.npz"), str(tmp_path / "junk.fits"), "--out", str(out)]
    )
    assert result.exit_code == 1  # of three spectra and two files, one each is unfit
    assert sorted(path.name for path in out.iterdir()) == [
        "a_star-2.html",
        "a_star-2.png",
        "a_star.html",
        "a_star.png",
        "index.html",
    ]
    page = (out / "a_star.html").read_text()
    assert "data:image/png;base64," in page
    assert "Lick G4300" in page
    index = (out / "index.html").read_text()
    assert 'href="a_star.html"' in index
    assert 'href="a_star-2.html"' in index
    assert result.stdout.count("p(CEMP)") == 2
    assert "no_good_pixels" in result.stderr
    assert "junk.fits" in result.stderr


def test_candidates_and_limit_choose_what_is_drawn(stars: Path, tmp_path: Path) -> None:
    rows = classify(stars)
    candidates = [row["spectrum_id"] for row in rows if row["is_candidate"]]
    assert 0 < len(candidates) < len(rows)
    likeliest = sorted(rows, key=lambda row: -float(str(row["p_cemp"])))[:2]

    def drawn(*options: str) -> list[str]:
        out = tmp_path / "-".join(("out", *options))
        result = CliRunner().invoke(app, ["explain", str(stars), "--out", str(out), *options])
        assert result.exit_code == 0, result.output
        return sorted(path.stem for path in out.glob("*.png"))

    assert drawn() == [row["spectrum_id"] for row in rows]
    assert drawn("--limit", "2") == sorted(str(row["spectrum_id"]) for row in likeliest)
    assert drawn("--candidates") == candidates


@pytest.mark.parametrize("form", ["avro", "one line", "many lines", "gzip"])
def test_an_alert_is_drawn_as_it_was_published(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CEMP_MODELS__BUNDLES", '["absent"]')  # what would fail if a model were asked
    line = alert_packet("a", p_cemp=0.912, tense="archival", as_json=True)
    path = tmp_path / "alert.json"
    path.write_bytes(
        {
            "avro": alert_packet("a", p_cemp=0.912, tense="archival"),
            "one line": line,
            "many lines": json.dumps(json.loads(line), indent=2).encode(),
            "gzip": gzip.compress(line),
        }[form]
    )
    out = tmp_path / "why"
    result = CliRunner().invoke(app, ["explain", str(path), "--out", str(out)])
    assert result.exit_code == 0, result.stderr
    assert f"{out / 'a.html'}: p(CEMP) 0.912" in result.stdout
    assert (out / "a.png").stat().st_size > 10_000
    assert "star a" in (out / "a.html").read_text()


def test_alerts_and_spectra_are_drawn_in_one_run_and_a_broken_line_is_said(
    tmp_path: Path, stars: Path
) -> None:
    alerts = tmp_path / "night.jsonl"
    alerts.write_bytes(
        alert_packet("a", as_json=True)
        + b'\n{"schema": "of something else"}\n'
        + alert_packet("b", as_json=True)
    )
    out = tmp_path / "why"
    result = CliRunner().invoke(app, ["explain", str(stars), str(alerts), "--out", str(out)])
    assert result.exit_code == 1
    assert {"s0.html", "s2.html", "a.html", "b.html"} <= {path.name for path in out.iterdir()}
    (complaint,) = result.stderr.splitlines()
    assert complaint.startswith(f"{alerts}, line 2: bad_field")


@pytest.mark.parametrize(
    "content", [b"\0\0\0\x27\x74 not an alert's packet", b"\x1f\x8bnot gzip", b"\0" * 100, b""]
)
def test_a_file_that_holds_no_alerts_is_read_as_one_of_spectra(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "junk").write_bytes(content)
    assert not holds_alerts(tmp_path / "junk")
    result = CliRunner().invoke(app, ["explain", str(tmp_path / "junk"), "--out", str(tmp_path / "why")])
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1


def test_a_name_is_safe_and_unlike_the_others() -> None:
    taken: set[str] = set()
    assert unique_stem("../../etc/passwd", taken) == "etc_passwd"
    assert unique_stem("etc passwd", taken) == "etc_passwd-2"
    assert unique_stem("ETC_PASSWD", taken) == "ETC_PASSWD-3"
    assert unique_stem("...", taken) == "spectrum"
    assert len(unique_stem("x" * 500, taken)) == 100


def test_a_name_that_looks_like_a_formula_costs_no_other_its_picture(tmp_path: Path) -> None:
    save(tmp_path / "stars.npz", template_spectra(3), ["$\\frac{$", "\x1b[2J", "plain"])
    result = CliRunner().invoke(app, ["explain", str(tmp_path / "stars.npz"), "--out", str(tmp_path / "why")])
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "why").glob("*.png"))) == 3
    assert "\x1b" not in result.output
