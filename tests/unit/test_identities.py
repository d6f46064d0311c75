"""Spectra without an id get that of the one star of a catalogue at their position."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cempstream.processors.spectrum import Spectrum
from cempstream.schemas.codec import decode_spectrum, encode_spectrum
from cempstream.streams.observing.catalogue import CatalogueError
from cempstream.streams.observing.catalogue_files import read_catalogue
from cempstream.streams.observing.identities import Identities
from cempstream.streams.scoring.pipeline import Pipeline
from cempstream.streams.settings import Settings
from cempstream.streams.worker.create import identifying
from tests.support.spectra import template_spectra

ARCSEC = 1 / 3600

#: One alone, two of which the second has no name, and one that moves by 2 arcsec a year.
CATALOGUE = """name,ra,dec,pmra,pmdec,epoch
alone,10.0,-20.0,0,0,2016
first,50.0,10.0,0,0,2016
,50.0,10.0003,0,0,2016
fast,180.0,89.0,2000,0,2016
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "input.csv"
    path.write_text(CATALOGUE)
    return path


def at(
    ra: float | None, dec: float | None, epoch: float | None = 2026.0, name: str | None = None
) -> Spectrum:
    (spectrum,) = template_spectra(1)
    return replace(spectrum, ra=ra, dec=dec, epoch=epoch, object_id=name)


def test_visits_with_other_positions_are_one_star(path: Path) -> None:
    identities = Identities(read_catalogue(path), 1.0)
    rng = np.random.default_rng(4)
    seen = [
        identities.identify(at(10.0 + east * ARCSEC, -20.0 + north * ARCSEC)).object_id
        for east, north in rng.uniform(-0.6, 0.6, (20, 2))
    ]
    assert set(seen) == {"alone"}


def test_a_star_is_looked_for_where_it_has_moved(path: Path) -> None:
    identities = Identities(read_catalogue(path), 1.0)
    moved = 180.0 + 20 * ARCSEC / np.cos(np.radians(89.0))
    assert identities.identify(at(moved, 89.0)).object_id == "fast"
    assert identities.identify(at(180.0, 89.0)).object_id is None
    assert identities.identify(at(180.0, 89.0, epoch=2016.0)).object_id == "fast"


@pytest.mark.parametrize(
    "spectrum",
    [at(10.0, -20.0 + 1.1 * ARCSEC), at(50.0, 10.0 + 0.5 * ARCSEC), at(None, None), at(200.0, 0.0)],
    ids=["beyond the radius", "between two", "no position", "no star"],
)
def test_where_it_is_not_certain_there_is_no_id(path: Path, spectrum: Spectrum) -> None:
    assert Identities(read_catalogue(path), 1.0).identify(spectrum) is spectrum


def test_an_id_that_the_survey_gives_stays(path: Path) -> None:
    spectrum = at(10.0, -20.0, name="theirs")
    assert Identities(read_catalogue(path), 1.0).identify(spectrum) is spectrum


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ra,dec\n1,2\n", "names no star"),
        ("name,ra,dec\na,1,2\na,3,4\n", "gives 'a' to 2 stars"),
    ],
)
def test_a_catalogue_whose_names_are_no_ids_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "input.csv"
    path.write_text(text)
    with pytest.raises(CatalogueError, match=problem):
        Identities(read_catalogue(path), 1.0)


def test_a_worker_decodes_with_the_ids(path: Path) -> None:
    pipeline = Pipeline(decode_spectrum, ())
    packet = encode_spectrum(at(10.0, -20.0))
    assert identifying(pipeline, Settings()) is pipeline
    settings = Settings(stars={"catalogue": str(path)})  # type: ignore[arg-type]
    assert identifying(pipeline, settings).decode(packet).object_id == "alone"
