"""The page's web server: what it answers, to whom, and what a browser may do with it."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import httpx
import pytest
from typer.testing import CliRunner

from cempstream.schemas.alert import Alert, decode_alert
from cempstream.schemas.registry import Kind, latest, sample
from cempstream.streams.addresses import is_loopback
from cempstream.streams.cli import app as command
from cempstream.streams.page.app import create_app
from cempstream.streams.page.candidates import Candidates
from cempstream.streams.page.guard import Names
from cempstream.streams.page.night import Night
from cempstream.streams.page.painter import Busy, Painter
from cempstream.streams.page.server import CannotListen, PageServer
from tests.support.alerts import alert_packet

PNG = b"\x89PNG\r\n"


def alert(name: str, **facts: Any) -> Alert:
    return decode_alert(alert_packet(name, **facts))


@pytest.fixture
def night() -> Night:
    night = Night(Candidates(10), None, "night.jsonl")
    night.candidates.take(decode_alert(sample(Kind.ALERT, latest(Kind.ALERT))))
    return night


def browse(night: Night, where: str | None = None) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(night, Names("127.0.0.1"), where))
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8474")


async def test_every_answer_closes_the_page(night: Night) -> None:
    async with browse(night) as browser:
        answers = [
            await browser.get(path)
            for path in (
                "/",
                "/static/page.js",
                "/static/page.css",
                "/picture/99",
                "/nowhere",
                "/events?where=x",
            )
        ]
        answers.append(await browser.get("/", headers={"Host": "evil.example"}))
    assert [answer.status_code for answer in answers] == [200, 200, 200, 404, 404, 200, 421]
    for answer in answers:
        headers = answer.headers
        policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == policy["script-src"] == policy["style-src"] == "'self'"
        assert policy["frame-ancestors"] == policy["object-src"] == policy["base-uri"] == "'none'"
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert (headers["X-Content-Type-Options"], headers["Referrer-Policy"]) == ("nosniff", "no-referrer")
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Server" not in headers
        assert "Access-Control-Allow-Origin" not in headers


async def test_the_page_asks_nobody_else_and_has_nothing_inline(night: Night) -> None:
    async with browse(night, where="snr > 5 and name != '</p><script>'") as browser:
        page = (await browser.get("/")).text
        files = [(await browser.get(f"/static/{name}")).text for name in ("page.js", "light.js", "page.css")]
    assert "http" not in page
    assert " style=" not in page
    assert "<style" not in page
    assert all("src=" in part.split(">")[0] for part in page.split("<script")[1:])
    assert "&lt;/p&gt;&lt;script&gt;" in page
    for text in files:
        assert "https:" not in text
        assert not re.search(r"(inner|outer|Adjacent)HTML|document\.write|eval\(|@import", text)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_nothing_can_be_changed(night: Night, method: str) -> None:
    async with browse(night) as browser:
        assert {
            (await browser.request(method, path)).status_code for path in ("/", "/events", "/picture/1")
        } == {405}


async def test_a_picture_is_drawn_on_demand(night: Night) -> None:
    async with browse(night) as browser:
        answer = await browser.get("/picture/1?after=1")
        assert answer.headers["Content-Type"] == "image/png"
        assert answer.content.startswith(PNG)
        assert (await browser.get("/picture/1%2e%2e")).status_code == 404
        assert (await browser.get("/static/../app.py")).status_code == 404


@pytest.mark.parametrize(
    ("header", "alone", "shared"),
    [
        ("127.0.0.1:8474", True, True),
        ("localhost", True, True),
        ("LOCALHOST:1", True, True),
        ("[::1]:8474", True, True),
        ("10.1.2.3:8474", False, True),
        ("telescope.example:8474", False, True),
        ("evil.example", False, False),
        ("127.0.0.1.evil.example", False, False),
        ("localhost@evil.example", False, False),
        ("", False, False),
        ("[::1", False, False),
        ("x" * 5000, False, False),
    ],
)
def test_names_against_rebinding(header: str, alone: bool, shared: bool) -> None:
    assert Names("127.0.0.1").admit(header) is alone
    assert Names("0.0.0.0", ["Telescope.Example"]).admit(header) is shared


async def test_two_host_headers_are_refused(night: Night) -> None:
    async with browse(night) as browser:
        request = browser.build_request("GET", "/", headers=[("Host", "127.0.0.1"), ("Host", "evil.example")])
        assert (await browser.send(request)).status_code == 421


def test_the_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "telescope.example")))


# ---- pictures ----


async def test_pictures_are_kept_and_the_oldest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def draw(one: Alert) -> bytes:
        drawn.append(one.name)
        return one.name.encode()

    monkeypatch.setattr("cempstream.streams.page.painter._draw", draw)
    painter = Painter(n_kept=2)
    for key in (1, 2, 1, 3, 1, 2):
        assert await painter.paint(key, alert(f"{key}")) == f"star {key}".encode()
    assert drawn == ["star 1", "star 2", "star 3", "star 2"]


async def test_too_many_who_wait_for_pictures_are_told_so(
    monkeypatch: pytest.MonkeyPatch, night: Night
) -> None:
    may_draw = threading.Event()
    monkeypatch.setattr(
        "cempstream.streams.page.painter._draw", lambda one: PNG if may_draw.wait(60) else b""
    )
    painter = Painter(most_waiting=2)
    waiting = [asyncio.create_task(painter.paint(key, alert("a"))) for key in (1, 2)]
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await painter.paint(3, alert("a"))
    may_draw.set()
    assert await asyncio.gather(*waiting) == [PNG, PNG]
    assert await painter.paint(3, alert("a")) == PNG


async def test_a_spectrum_without_a_good_pixel_has_a_picture(night: Night) -> None:
    night.candidates.take(alert("flat"))
    async with browse(night) as browser:
        assert (await browser.get("/picture/2")).content.startswith(PNG)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
async def test_numbers_that_are_no_picture_are_an_answer(night: Night) -> None:
    night.candidates.take(alert("odd").model_copy(update={"rv_kms": -1e308}))
    async with browse(night) as browser:
        answer = await browser.get("/picture/2")
    assert (answer.status_code, answer.text) == (422, "There is no picture of what this alert says.\n")


# ---- the server in its thread ----


@pytest.fixture
def served(night: Night) -> Iterator[PageServer]:
    server = PageServer(create_app(night, Names("127.0.0.1")), "127.0.0.1", 0)
    with server:
        yield server
        night.end()


def next_event(lines: Iterator[str], name: str) -> Any:
    """Return the content of the next event of a name."""
    while next(lines) != f"event: {name}":
        pass
    return json.loads(next(lines).removeprefix("data: "))


def test_a_browser_hears_of_a_new_candidate(served: PageServer, night: Night) -> None:
    with urlopen(f"{served.url}events", timeout=30) as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        lines = (line.decode().rstrip() for line in stream)
        assert len(next_event(lines, "candidates")["rows"]) == 1
        assert next_event(lines, "health")["is_well"]
        night.candidates.take(alert("new"))
        assert [row["name"] for row in next_event(lines, "changes")["rows"]] == ["star new"]


def test_a_browser_that_takes_nothing_blocks_neither_the_stream_nor_others(
    served: PageServer, night: Night
) -> None:
    with socket.create_connection(("127.0.0.1", served.port)) as asleep:
        asleep.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        asleep.sendall(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        for i in range(3000):  # two megabytes of rows that it does not take
            night.candidates.take(alert(f"{i % 20}", minutes=i))
        with urlopen(f"{served.url}events", timeout=30) as stream:
            rows = next_event((line.decode().rstrip() for line in stream), "candidates")["rows"]
    assert len(rows) == 10


def test_the_server_ends_though_browsers_listen(night: Night) -> None:
    with PageServer(create_app(night, Names("127.0.0.1")), "127.0.0.1", 0) as server:
        stream = urlopen(f"{server.url}events", timeout=30)
        stream.readline()
        night.end()
    with stream:
        assert b"data" in stream.read(), "and the last lines are heard to their end"


def test_an_address_that_cannot_be_had_says_what_would_be_right(night: Night) -> None:
    app = create_app(night, Names("127.0.0.1"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=rf"127\.0\.0\.1:{port}: .*in use.*--port 0 any free port"):
            PageServer(app, "127.0.0.1", port)
    with pytest.raises(CannotListen, match=r"192\.0\.2\.1:0: "):
        PageServer(app, "192.0.2.1", 0)


# ---- the command ----


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--where", "snr >"), "'snr >' is not an expression"),
        (("--port", "70000"), "less than or equal to 65535"),
        (("--keep", "0"), "--keep"),
        (("--start", "yesterday"), "--start"),
        (("--file", "nowhere.jsonl"), "nowhere.jsonl: No such file or directory"),
    ],
)
def test_the_command_says_what_is_wrong(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["page", *words])
    assert result.exit_code in (1, 2)
    assert said in " ".join(result.output.split())
