"""``cempstream explain``: a picture and a page per spectrum, and one line for what cannot be explained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from cempstream.streams.cli import app
from cempstream.streams.commands.explain import unique_stem
from tests.support.spectra import template_spectra


def test_every_spectrum_gets_its_picture_and_its_page(tmp_path: Path) -> None:
    stars = template_spectra(2)
    empty = np.zeros(stars[0].n_pix)
    np.savez(
        tmp_path / "stars.npz",
        wave=np.concatenate([*(star.grid.wave for star in stars), stars[0].grid.wave]),
        flux=np.concatenate([*(star.flux for star in stars), empty]),
        ivar=np.concatenate([*(star.ivar for star in stars), empty]),
        offsets=np.arange(4) * stars[0].n_pix,
        ids=np.array(["a/star", "a star", "empty"]),
        medium="vacuum",
        frame="observed",
        resolving_power=1800.0,
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
    ]
    page = (out / "a_star.html").read_text()
    assert "data:image/png;base64," in page
    assert "lick_g4300" in page
    assert result.stdout.count("p(CEMP)") == 2
    assert "no_good_pixels" in result.stderr
    assert "junk.fits" in result.stderr


def test_a_name_is_safe_and_unlike_the_others() -> None:
    taken: set[str] = set()
    assert unique_stem("../../etc/passwd", taken) == "etc_passwd"
    assert unique_stem("etc passwd", taken) == "etc_passwd-2"
    assert unique_stem("ETC_PASSWD", taken) == "ETC_PASSWD-3"
    assert unique_stem("...", taken) == "spectrum"
    assert len(unique_stem("x" * 500, taken)) == 100
