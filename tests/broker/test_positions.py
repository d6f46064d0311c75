"""A worker that is given catalogues: alerts say which stars are known, and spectra without an id get one."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from cempstream.processors.spectrum import Spectrum
from cempstream.schemas.alert import decode_alert
from cempstream.schemas.codec import encode_spectrum
from tests.support.night import Topics, WorkerProcess, read_all, send, wait_for
from tests.support.spectra import template_spectra

pytestmark = pytest.mark.timeout(240)

ARCSEC = 1 / 3600


def write_catalogue(path: Path, stars: list[Spectrum], prefix: str) -> None:
    """Write stars an arcsecond's fraction beside their positions, each with a name of the catalogue's."""
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["name", "ra", "dec", "feh"])
        for star in stars:
            assert star.dec is not None
            table.writerow([f"{prefix} {star.spectrum_id}", star.ra, star.dec + 0.4 * ARCSEC, -2.5])


def test_alerts_say_what_is_known_and_what_the_star_is_called(bootstrap: str, tmp_path: Path) -> None:
    stars = [replace(star, object_id=None) for star in template_spectra(120)]
    write_catalogue(tmp_path / "known.csv", stars[::2], "HE")
    write_catalogue(tmp_path / "input.csv", stars[::3], "T")
    settings = {
        "CEMP_POLICY__PRIOR": "0.5",
        "CEMP_KNOWN__STARS": f'["{tmp_path / "known.csv"}"]',
        "CEMP_STARS__CATALOGUE": str(tmp_path / "input.csv"),
    }
    topics = Topics.create(bootstrap)
    with WorkerProcess(bootstrap, topics, **settings) as worker:
        worker.wait_ready()
        send(bootstrap, topics.spectra, [encode_spectrum(star) for star in stars])
        ledger = wait_for(bootstrap, topics, len(stars))
    assert not ledger.dead
    place = {star.spectrum_id: i for i, star in enumerate(stars)}
    named = {name for name, (score,) in ledger.scores.items() if score.object_id == f"T {name}"}
    assert named == {star.spectrum_id for star in stars[::3]}
    alerts = [decode_alert(message.value() or b"") for message in read_all(bootstrap, topics.alerts)]
    known = {alert.spectrum_id for alert in alerts if alert.matches}
    assert known == {alert.spectrum_id for alert in alerts if place[alert.spectrum_id] % 2 == 0}
    assert 0 < len(known) < len(alerts)
    for alert in alerts:
        assert alert.compared_with == ("known",)
        assert (alert.object_id is not None) == (place[alert.spectrum_id] % 3 == 0)
        for match in alert.matches:
            assert (match.name, match.labels) == (f"HE {alert.spectrum_id}", {"feh": "-2.5"})
            assert match.separation_arcsec == pytest.approx(0.4, abs=1e-3)
