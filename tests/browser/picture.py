"""Draw the documentation's picture of the page: ``python -m tests.browser.picture NIGHT PICTURE``.

NIGHT is a file of alerts, as ``cempstream listen --json`` saves them.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from cempstream.streams.observing.sites import parse_site
from cempstream.streams.page.app import create_app
from cempstream.streams.page.candidates import Candidates
from cempstream.streams.page.guard import Names
from cempstream.streams.page.night import Health
from cempstream.streams.page.server import PageServer
from cempstream.streams.page.tonight import Tonight
from cempstream.streams.subscriber.alert_file import AlertFile
from tests.browser.conftest import Browser, RecordedNight, new_chromium

SIZE = (1440, 860)
_NOW = datetime(2026, 11, 27, 23, tzinfo=UTC)
_TENSES = ("current", "archival", "test")


def draw(night: Path, picture: Path) -> None:
    """Show a saved night as if it were now, and take the picture."""
    tonight = Tonight(parse_site("La Palma"), lambda: _NOW)
    shown = RecordedNight(Candidates(500), None, "cemp.alerts.v1", tonight)
    shown.read(AlertFile(night, tenses=_TENSES))
    shown.said = Health(True, "the worker of cemp.spectra.lamost.v1 is alive", 0.4, 0)
    with (
        PageServer(create_app(shown, Names("127.0.0.1")), "127.0.0.1", 0) as server,
        new_chromium() as driver,
    ):
        browser = Browser(driver)
        browser.open(server.url, size=SIZE)
        browser.wait("airmass", lambda: browser.text("#darkness"))
        time.sleep(1.0)  # fonts and the last row
        driver.save_screenshot(str(picture))
        shown.end()


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
