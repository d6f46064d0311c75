"""What an alert says first, which addresses it gives, and which flags a filter can leave out."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from cempstream import Classifier
from cempstream.models.card import TRAINED_SNR_PER_AA
from cempstream.models.pinned import open_bundle
from cempstream.models.training.augment import Conditions
from cempstream.processors.outcome import Classification
from cempstream.processors.spectrum import Flag
from cempstream.schemas.alert import Alert, NoSpectrumError, decode_alert, encode_alert, public_address
from cempstream.schemas.samples import sample_classification, sample_spectrum, sample_stamp
from cempstream.schemas.sky import Match
from cempstream.streams.pictures.finding import finding_of_alert
from cempstream.streams.pictures.pages import write_explanation
from cempstream.streams.subscriber.alert_view import alert_panel
from cempstream.streams.subscriber.where import compile_where
from tests.support.alerts import alert_packet


def alert(**changes: object) -> Alert:
    return decode_alert(alert_packet("a")).model_copy(update=changes)


def panel(one: Alert) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(alert_panel(one))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def page(one: Alert, tmp_path: Path) -> str:
    write_explanation(tmp_path / "a.html", finding_of_alert(one), b"")
    return (tmp_path / "a.html").read_text()


@pytest.mark.parametrize("changes", [{"ra": None, "dec": None}, {"ra": None}, {"dec": None}])
def test_an_alert_without_a_position_says_so_first(changes: dict[str, None], tmp_path: Path) -> None:
    assert panel(alert(**changes)).startswith("╭─ NO POSITION   star a")
    html = page(alert(**changes), tmp_path)
    assert html.index("No position") < html.index("<img")
    assert not compile_where("has_position")(alert(**changes))


def test_an_alert_with_a_position_does_not(tmp_path: Path) -> None:
    assert "NO POSITION" not in panel(alert())
    assert "No position" not in page(alert(), tmp_path)
    assert compile_where("has_position")(alert())


@pytest.mark.parametrize(
    "uri",
    [
        *("https://survey.org/spec-1.fits", "http://archive/x", "s3://bucket/spec-1", "ftp://a/b"),
        *("ivo://org.survey/spec?1", "root://eos//x", "doi:10.5281/zenodo.1"),
    ],
)
def test_an_address_that_others_can_open_is_given(uri: str) -> None:
    assert public_address(uri) == uri


@pytest.mark.parametrize(
    "uri",
    [
        *(
            None,
            "",
            "spec-1.fits",
            "/data/spec-1.fits",
            "../x",
            "file:spec-1.fits",
            "file:///data/x",
            "FILE:x",
        ),
        *("FILE:x", r"C:\spectra\a.fits", "http://localhost/x", "http://127.0.0.1:8000/x", "http://[::1]/x"),
        *("https://me:secret@survey.org/x", "https://me@survey.org/x", "http://[broken"),
    ],
)
def test_an_address_that_means_nothing_to_others_is_absent(uri: str | None) -> None:
    assert public_address(uri) is None
    result = sample_classification()
    one = decode_alert(
        encode_alert(replace(result, spectrum=replace(result.spectrum, uri=uri)), sample_stamp())
    )
    assert one.spectrum_uri is None
    with pytest.raises(NoSpectrumError, match="the survey gave no address"):
        one.model_copy(update={"spectrum": None}).to_spectrum()


@pytest.mark.parametrize("flag", Flag)
def test_every_flag_can_be_left_out(flag: Flag) -> None:
    passes = compile_where(f"'{flag}' not in flags")
    assert not passes(alert(flags=(flag.value,)))
    assert passes(alert(flags=()))


def test_what_is_below_every_training_spectrum_is_said(tmp_path: Path) -> None:
    html = page(alert(flags=(Flag.BELOW_TRAINED_SNR.value,), snr=2.5), tmp_path)
    assert "S/N 2.5 is below that of every training spectrum" in html
    assert "below trained snr" in panel(alert(flags=(Flag.BELOW_TRAINED_SNR.value,)))


def test_the_limit_is_that_of_the_training_per_pixel_of_the_bundle() -> None:
    assert Conditions().snr_range[0] == TRAINED_SNR_PER_AA
    card = open_bundle("mid/1.6.0").card
    assert card.purity is not None
    assert card.trained_snr == pytest.approx(3.0 * card.purity.snr_per_aa)
    assert open_bundle("mid/1.4.0").card.trained_snr == 0.0


def test_a_spectrum_below_it_is_flagged() -> None:
    good = sample_spectrum()
    rng = np.random.default_rng(4)
    spectra = []
    for snr in (3.0, 6.0):
        error = np.abs(good.flux) / snr
        flux = (good.flux + error * rng.standard_normal(good.n_pix)).astype(np.float32)
        ivar = np.where(good.ivar > 0, error**-2.0, 0).astype(np.float32)
        spectra.append(replace(good, flux=flux, ivar=ivar, spectrum_id=f"snr {snr:g}"))
    below, above = (result.outcome for result in Classifier("mid/1.6.0").classify(spectra))
    assert isinstance(below, Classification)
    assert isinstance(above, Classification)
    assert below.snr < 3.0 * 1.468 < above.snr
    assert Flag.BELOW_TRAINED_SNR in below.flags
    assert Flag.BELOW_TRAINED_SNR not in above.flags


def test_hostile_names_of_known_stars_reach_neither_terminal_nor_page(tmp_path: Path) -> None:
    evil = "\x1b[2J<script>alert(1)</script>[red]\u202e"
    one = alert(matches=(Match("known", evil, evil, 0.5, {evil: evil}), Match("region", evil, "", np.nan)))
    assert "\x1b" not in panel(one)
    assert "\u202e" not in panel(one)
    assert "[red]" in panel(one)
    assert "<script>" not in page(one, tmp_path)
