"""Known stars, watchlists and regions: what alerts say of them, and what a filter makes of it."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import Latitude, Longitude
from mocpy import MOC
from typer.testing import CliRunner

from cempstream.schemas.alert import Alert, alert_from_json, alert_to_json, decode_alert, encode_alert
from cempstream.schemas.registry import Kind, Version, sample
from cempstream.schemas.samples import sample_classification, sample_sky, sample_spectrum, sample_stamp
from cempstream.schemas.sky import NOT_LOOKED_UP, Match
from cempstream.streams.cli import app
from cempstream.streams.kafka.messages import PacketOrigin
from cempstream.streams.kafka.outputs import MessageWriter
from cempstream.streams.observing.catalogue import CatalogueError
from cempstream.streams.observing.known_stars import MOST_MATCHES, KnownStars
from cempstream.streams.settings import LimitSettings, TopicSettings, read_settings
from cempstream.streams.subscriber.alert_file import AlertFile
from cempstream.streams.subscriber.where import compile_where
from cempstream.streams.worker.create import read_known
from tests.support.alerts import alert_packet

#: Where the sample's star is, at 2016.0.
RA, DEC = 161.284333, 41.396
#: A second further than 5 arcsec to the north.
BESIDE = DEC + 6 / 3600


def write(path: Path, *rows: str, header: str = "name,ra,dec,class") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def cone(ra: float, dec: float, radius: float, depth: int) -> MOC:
    lon, lat = Longitude(ra * u.deg), Latitude(dec * u.deg)
    return MOC.from_cone(lon=lon, lat=lat, radius=radius * u.deg, max_depth=depth)


@pytest.fixture
def lists(tmp_path: Path) -> KnownStars:
    moc = cone(RA, DEC, 1, 9)
    moc.save(tmp_path / "field.fits", format="fits")
    return KnownStars(
        known=write(tmp_path / "jina.csv", f"HD 1,{RA},{DEC + 1 / 3600},CEMP-s", f"HD 2,{RA},{BESIDE},"),
        watchlists=[write(tmp_path / "mine.csv", "far,1,1,", f"near,{RA},{DEC},")],
        regions=[tmp_path / "field.fits"],
    )


def alert(**changes: object) -> Alert:
    return decode_alert(alert_packet("a")).model_copy(update=changes)


def test_an_alert_is_marked_with_all_that_lies_there_nearest_first(lists: KnownStars) -> None:
    marked = lists.mark(alert())
    assert [(match.kind, match.catalogue, match.name) for match in marked.matches] == [
        ("watchlist", "mine", "near"),
        ("known", "jina", "HD 1"),
        ("region", "field", ""),
    ]
    near, known, region = marked.matches
    assert (near.separation_arcsec, known.separation_arcsec) == pytest.approx((0.0, 1.0), abs=1e-4)
    assert np.isnan(region.separation_arcsec)
    assert known.labels == {"class": "CEMP-s"}
    assert marked.compared_with == ("jina", "mine", "field")


def test_a_filter_sees_it(lists: KnownStars) -> None:
    there, elsewhere = lists.mark(alert()), lists.mark(alert(ra=10.0, dec=-80.0))
    for text in (
        *("known", "in_watchlist", "in_region", "'jina' in catalogues", "nearest_arcsec < 0.1"),
        "'field' in catalogues and 'mine' in compared_with",
    ):
        assert compile_where(text)(there), text
    for text in (
        *(
            "not known",
            "not in_watchlist",
            "not in_region",
            "not nearest_arcsec < 9",
            "'jina' in compared_with",
        ),
        "has_position",
    ):
        assert compile_where(text)(elsewhere), text
    assert not compile_where("nearest_arcsec > 0")(elsewhere)


def test_an_alert_without_a_position_is_compared_with_nothing(lists: KnownStars) -> None:
    nowhere = lists.mark(alert(ra=None, dec=None))
    assert (nowhere.matches, nowhere.compared_with) == ((), ())
    assert compile_where("not has_position and not known")(nowhere)
    assert not compile_where("'jina' in compared_with")(nowhere)


def test_a_star_is_looked_for_at_the_epoch_of_the_alert(tmp_path: Path) -> None:
    row = f"fast,{RA},{DEC - 10 * 16 / 3600},0,10000,2000.0"
    known = KnownStars(write(tmp_path / "a.csv", row, header="name,ra,dec,pmra,pmdec,epoch"))
    assert len(known.at(RA, DEC, 2016.0).matches) == 1
    assert known.at(RA, DEC, 2000.0).matches == ()
    in_2016 = datetime(2016, 1, 1, 12, tzinfo=UTC)
    assert lookup_names(known, alert(epoch=None, observed_at=in_2016)) == ["fast"]
    assert lookup_names(known, alert(epoch=None, observed_at=None, reduced_at=in_2016)) == ["fast"]
    assert lookup_names(known, alert(epoch=2000.0, observed_at=in_2016)) == []


def lookup_names(known: KnownStars, one: Alert) -> list[str]:
    return [match.name for match in known.mark(one).matches]


def test_a_crowd_gives_its_nearest_and_every_list_its_own(tmp_path: Path) -> None:
    crowd = [f"s{i},{RA},{DEC + i / 36000}," for i in range(40, 0, -1)]
    known = KnownStars(
        write(tmp_path / "a.csv", *crowd), write(tmp_path / "b.csv", f"mine,{RA},{BESIDE - 2 / 3600},")
    )
    names = lookup_names(known, alert())
    assert names == [*(f"s{i + 1}" for i in range(MOST_MATCHES)), "mine"]


def test_what_the_worker_found_stays_and_the_same_catalogue_is_replaced(lists: KnownStars) -> None:
    told = (Match("known", "worker's", "W", 2.0), Match("known", "jina", "old", 0.5))
    marked = lists.mark(alert(matches=told, compared_with=("worker's", "jina")))
    assert [match.name for match in marked.matches] == ["near", "HD 1", "W", ""]
    assert marked.compared_with == ("worker's", "jina", "mine", "field")


def test_matches_go_through_avro_and_json() -> None:
    result, stamp = sample_classification(), sample_stamp()
    by_avro = decode_alert(encode_alert(result, stamp, sky=sample_sky()))
    by_json = alert_from_json(alert_to_json(result, stamp, sky=sample_sky()))
    for one in (by_avro, by_json, alert_from_json(by_avro.to_json())):
        assert one.matches == sample_sky().matches
        assert one.compared_with == sample_sky().compared_with
    assert decode_alert(encode_alert(result, stamp)).matches == ()


def test_older_alerts_have_no_matches() -> None:
    old = decode_alert(sample(Kind.ALERT, Version(1, 2)))
    assert (old.matches, old.compared_with) == ((), ())


def test_the_writer_looks_up_candidates(lists: KnownStars) -> None:
    result = sample_classification()
    writer = MessageWriter(TopicSettings(), LimitSettings(), lists.of_spectrum)
    now = datetime.now(UTC)
    origin = PacketOrigin("t", 0, 0, 0, None, ())
    messages = {message.topic: message.value for message in writer.write([result], [origin], now, now)}
    sent = decode_alert(messages["cemp.alerts.v1"] or b"")
    assert [match.name for match in sent.matches] == ["near", "HD 1", ""]
    assert alert_from_json(messages["cemp.alerts.json.v1"] or b"").matches[:2] == sent.matches[:2]


def test_a_worker_reads_what_its_settings_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_known(read_settings()) is None
    path = write(tmp_path / "jina.csv", f"HD 1,{RA},{DEC + 8 / 3600},")
    monkeypatch.setenv("CEMP_KNOWN__STARS", json.dumps([str(path)]))
    monkeypatch.setenv("CEMP_KNOWN__RADIUS_ARCSEC", "9")
    with caplog.at_level(logging.INFO):
        look_up = read_known(read_settings())
    assert look_up is not None
    assert [match.name for match in look_up(sample_spectrum()).matches] == ["HD 1"]
    assert look_up(replace(sample_spectrum(), ra=None, dec=None)) == NOT_LOOKED_UP
    assert "jina: 1 stars" in caplog.text


def test_regions_of_all_moc_formats_hold_what_mocpy_says(tmp_path: Path) -> None:
    moc = cone(10, 20, 3, 8)
    rng = np.random.default_rng(5)
    ra, dec = rng.uniform(5, 15, 500), rng.uniform(15, 25, 500)
    expected = moc.contains_lonlat(ra * u.deg, dec * u.deg)
    assert 50 < expected.sum() < 450
    for form in ("fits", "json", "ascii"):
        path = tmp_path / f"r_{form}"
        moc.save(path, format=form)
        known = KnownStars(regions=path)
        found = [bool(known.at(a, d, 2016.0).matches) for a, d in zip(ra.tolist(), dec.tolist(), strict=True)]
        assert found == expected.tolist()


@pytest.mark.parametrize("text", ["", "not a moc", '{"a": "b"}', "SIMPLE  = broken", "{}"])
def test_a_file_that_is_no_region_says_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.moc"
    path.write_text(text)
    with pytest.raises(CatalogueError, match=r"r\.moc: (it is no MOC|the region is empty)"):
        KnownStars(regions=path)


def test_what_cannot_be_told_apart_or_is_impossible_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    paths = [write(tmp_path / "a.csv", "x,1,2,"), write(tmp_path / "b" / "a.csv", "x,1,2,")]
    with pytest.raises(CatalogueError, match="two files are called a"):
        KnownStars(paths)
    for radius in (0.0, -1.0, 4000.0, float("nan")):
        with pytest.raises(CatalogueError, match="the radius is"):
            KnownStars(paths[0], radius_arcsec=radius)
    with pytest.raises(FileNotFoundError):
        KnownStars(tmp_path / "nosuch.csv")


def test_without_the_extra_it_says_which_one_reads_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.vot").write_text("<VOTABLE/>")
    (tmp_path / "a.json").write_text("{}")
    for module in ("catalogue_tables", "regions"):
        monkeypatch.delitem(sys.modules, f"cempstream.streams.observing.{module}", raising=False)
    for package in ("astropy.table", "mocpy"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(CatalogueError, match=r"pip install 'cempstream\[observing\]'"):
        KnownStars(tmp_path / "a.vot")
    with pytest.raises(CatalogueError, match=r"pip install 'cempstream\[observing\]'"):
        KnownStars(regions=tmp_path / "a.json")


def run(*args: object, status: int = 0) -> str:
    result = CliRunner().invoke(app, [*map(str, args)])
    assert result.exit_code == status, result.output
    return result.stdout


def test_listen_and_filter_test_agree_on_a_recorded_night(tmp_path: Path, lists: KnownStars) -> None:
    night = tmp_path / "night.jsonl"
    lines = []
    for name, dec in (("a", DEC), ("b", DEC + 40), ("c", DEC + 0.5)):
        lines.append(decode_alert(alert_packet(name)).model_copy(update={"dec": dec}).to_json())
    night.write_bytes(b"\n".join(lines) + b"\n")
    options = (
        "--known",
        tmp_path / "jina.csv",
        "--watchlist",
        tmp_path / "mine.csv",
        "--region",
        tmp_path / "field.fits",
    )

    def heard(where: str) -> list[str]:
        out = run("listen", "--file", night, "--json", "--no-spectrum", "--where", where, *options)
        return [json.loads(line)["spectrum_id"] for line in out.splitlines()]

    assert heard("not known") == ["b", "c"]
    assert heard("in_watchlist") == ["a"]
    assert heard("in_region and not known") == ["c"]
    told = json.loads(
        run("filter", "test", "--night", night, "--json", "--where", "in_region and not known", *options)
    )
    assert [clause["n_so_far"] for clause in told["clauses"]] == [2, 1]
    shown = run("listen", "--file", night, "-n", 1, *options)
    for text in (
        "known as HD 1 (jina, 1.0″)",
        "class CEMP-s",
        "watched: near (mine, 0.0″)",
        "in the region field",
    ):
        assert text in shown
    with AlertFile(night, known=lists, where="known") as alerts:
        assert [one.spectrum_id for one in alerts] == ["a"]
    with AlertFile(night, known=tmp_path / "jina.csv", where="known") as alerts:
        assert [one.spectrum_id for one in alerts] == ["a"]


def test_a_catalogue_that_cannot_be_read_ends_the_command_with_a_line(tmp_path: Path) -> None:
    bad = write(tmp_path / "bad.csv", "x,1", header="name,mag")
    result = CliRunner().invoke(app, ["listen", "--file", str(bad), "--known", str(bad)])
    assert result.exit_code == 1
    assert "no column is ra or dec" in result.output
