"""A headless Chromium for all tests, and the page on a recorded night that a test can let go on."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

from cempstream.schemas.alert import Alert, decode_alert
from cempstream.streams.page.app import create_app
from cempstream.streams.page.candidates import Candidates
from cempstream.streams.page.guard import Names
from cempstream.streams.page.night import Health, Night
from cempstream.streams.page.server import PageServer
from cempstream.streams.page.tonight import Tonight
from tests.support.alerts import alert_packet

#: The machine that runs these tests may have more to do than cores.
PATIENCE_S = 60.0

DESKTOP, PHONE = (1440, 900), (360, 740)
LIGHTS = ("light", "dark", "red")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


def why_no_browser() -> str | None:
    """Say what is missing to drive Chromium here, None where nothing is."""
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"{' and '.join(missing)} not on PATH: install chromium and chromium-driver" if missing else None


@dataclass(frozen=True, eq=False)
class Browser:
    """Chromium as a person uses it."""

    driver: Chrome

    def open(self, url: str, *, size: tuple[int, int] = DESKTOP, light: str = "light") -> None:
        """Open a page in a window of a size, and choose its light."""
        width, height = size
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )
        self.driver.get(url)
        self.click(f"#light input[value={light}]")
        self.wait("the stream", lambda: self.text("#age") or "Connecting" not in self.text("#state"))

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a function's body in the page."""
        return self.driver.execute_script(script, *arguments)

    def click(self, selector: str) -> None:
        """Click what a person would."""
        self.run("document.querySelector(arguments[0]).click()", selector)

    def text(self, selector: str) -> str:
        """Return the text of an element, shown or not; empty where there is none."""
        return str(self.run("return document.querySelector(arguments[0])?.textContent ?? ''", selector))

    def rows(self) -> list[str]:
        """Return the names of the rows from top to bottom."""
        return list(
            self.run("return [...document.querySelectorAll('tbody button.name')].map(b => b.textContent)")
        )

    def wait(self, what: str, is_so: Callable[[], Any]) -> Any:
        """Wait until something is so."""
        waiting = WebDriverWait(self.driver, PATIENCE_S, poll_frequency=0.1)
        return waiting.until(lambda _: is_so(), f"no {what} after {PATIENCE_S:g} s; rows: {self.rows()}")

    def complaints(self) -> list[str]:
        """Return what the console has noted: errors of scripts, and what the security policy refused."""
        return [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]


@contextmanager
def new_chromium() -> Iterator[Chrome]:
    """Start Chromium with an empty profile; nothing is downloaded, and no name is resolved."""
    os.environ |= {"SE_OFFLINE": "true", "SE_AVOID_STATS": "true"}
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    with TemporaryDirectory(prefix="cempstream-chromium-", ignore_cleanup_errors=True) as profile:
        for argument in (
            "--headless=new",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--hide-scrollbars",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            f"--user-data-dir={profile}",
            *(("--no-sandbox",) if sys.platform == "linux" and os.geteuid() == 0 else ()),
        ):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = Chrome(options=options, service=Service(shutil.which("chromedriver")))
        driver.set_page_load_timeout(PATIENCE_S)
        driver.set_script_timeout(PATIENCE_S)
        try:
            yield driver
        finally:
            driver.quit()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chrome]:
    """Start Chromium once for all tests."""
    if (problem := why_no_browser()) is not None:
        if os.environ.get("CI"):
            pytest.fail(problem)
        pytest.skip(problem)
    with new_chromium() as driver:
        yield driver


@pytest.fixture
def browser(chromium: Chrome) -> Iterator[Browser]:
    """Return the browser; at the end its console must be empty."""
    browser = Browser(chromium)
    browser.complaints()
    yield browser
    chromium.get("about:blank")  # the page's stream ends
    assert browser.complaints() == []


class RecordedNight(Night):
    """A night whose health a test says."""

    said: Health | None = None

    def health(self) -> Health:
        return self.said or super().health()


def alert(name: str, **facts: Any) -> Alert:
    """Return a small alert."""
    return decode_alert(alert_packet(name, **facts))


@dataclass(frozen=True, eq=False)
class Served:
    """The page, its address, and the night that it shows."""

    url: str
    night: RecordedNight

    def take(self, name: str, **facts: Any) -> None:
        """Let an alert come."""
        self.night.candidates.take(alert(name, **facts))


@contextmanager
def serve(n_kept: int = 500, tonight: Tonight | None = None, port: int = 0) -> Iterator[Served]:
    """Serve a page without alerts yet."""
    night = RecordedNight(Candidates(n_kept), None, "cemp.alerts.v1", tonight)
    with PageServer(create_app(night, Names("127.0.0.1")), "127.0.0.1", port) as server:
        try:
            yield Served(server.url, night)
        finally:
            night.end()


@pytest.fixture
def page() -> Iterator[Served]:
    """Serve a page."""
    with serve() as served:
        yield served
