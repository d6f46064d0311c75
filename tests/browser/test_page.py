"""The candidates' page in Chromium: rows that come by themselves, and whatever a night can do to them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import axe_core_python
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from cempstream.processors.spectrum import Flag
from cempstream.streams.observing.sites import parse_site
from cempstream.streams.page.night import Health
from cempstream.streams.page.tonight import Tonight
from tests.browser.conftest import DESKTOP, LIGHTS, PHONE, Browser, Served, serve

pytestmark = pytest.mark.timeout(240)

AXE = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")

HOSTILE = (
    "<img src=x onerror=document.title='taken'>",
    "<script>document.title='taken'</script>",
    "</td></tr></table><h1>taken",
    "javascript:alert(1)",
    "{{ 7 * 7 }}",
    "\u202egnorw\u0000\x1b[2J",
    "ÅΩ" * 200,
)


def problems(browser: Browser) -> list[str]:
    """Return what axe-core finds against WCAG 2.2 AA and good practice."""
    browser.run(AXE)
    found = browser.driver.execute_async_script(
        "const done = arguments[arguments.length - 1];axe.run({resultTypes: ['violations']}).then(done)"
    )
    return [
        f"{one['id']}: {node['html'][:200]} {node['failureSummary']}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


def fill(page: Served) -> None:
    """Let a short night come, with everything that a row can be."""
    for i in range(8):
        page.take(f"{i}", minutes=i, p_cemp=0.6 + i / 25, place=(40.0 * i, 20.0 * i - 60.0))
    page.take("flagged", minutes=9, flags=(Flag.LOW_SNR, Flag.OUT_OF_DISTRIBUTION), tense="archival")
    page.take("nowhere", minutes=10, place=None)
    page.take("x" * 200, minutes=10, snr=1e30)
    page.take("2", minutes=11, kind="update", revision=1)
    page.take("3", minutes=12, kind="retraction", revision=1, p_cemp=0.03)


def test_an_alert_becomes_a_row_and_a_retraction_strikes_it_out(browser: Browser, page: Served) -> None:
    browser.open(page.url)
    assert "by themselves" in browser.text("#nothing")
    browser.run("window.wasNotLoadedAgain = true")
    page.take("a")
    browser.wait("row", lambda: browser.rows() == ["star a"])
    page.take("b", minutes=1)
    browser.wait("second row", lambda: browser.rows() == ["star b", "star a"])
    assert browser.text("#said") == "star b, p 0.970", "it is also said to who cannot see it"
    page.take("a", minutes=2, kind="retraction", revision=1, p_cemp=0.1)
    browser.wait("strike", lambda: browser.text("tr.retracted s") == "star a")
    row = browser.driver.find_element(By.CSS_SELECTOR, "tr.retracted")
    assert "retracted" in row.text, "in words, not by its looks alone"
    assert "line-through" in row.find_element(By.CSS_SELECTOR, "td.number").value_of_css_property(
        "text-decoration"
    )
    assert browser.run("return window.wasNotLoadedAgain") is True
    assert browser.driver.title == "(2) Candidates tonight"
    assert browser.run("return document.querySelectorAll('#stars circle.retracted').length") == 1


def test_an_update_changes_its_row_and_moves_it_up(browser: Browser, page: Served) -> None:
    page.take("a")
    page.take("b", minutes=1)
    browser.open(page.url)
    browser.run("document.querySelectorAll('button.name')[1].focus()")
    page.take("a", minutes=2, p_cemp=0.75, kind="update", revision=1)
    browser.wait("move", lambda: browser.rows() == ["star a", "star b"])
    assert "0.750" in browser.text("tbody tr")
    assert "update 1" in browser.text("tbody tr")
    assert browser.run("return document.activeElement.textContent") == "star a", "and keeps the focus"


def test_most_likely_first(browser: Browser, page: Served) -> None:
    for minutes, (name, p) in enumerate((("a", 0.7), ("b", 0.99), ("c", 0.8))):
        page.take(name, p_cemp=p, minutes=minutes)
    browser.open(page.url)
    assert browser.wait("rows", browser.rows) == ["star c", "star b", "star a"]
    browser.click("#order input[value=likely]")
    assert browser.rows() == ["star b", "star c", "star a"]
    page.take("d", p_cemp=0.9, minutes=4)
    browser.wait("place", lambda: browser.rows() == ["star b", "star d", "star c", "star a"])
    page.take("b", p_cemp=0.99, minutes=5, kind="retraction", revision=1)
    browser.wait("place", lambda: browser.rows() == ["star d", "star c", "star a", "star b"])


def test_a_filter_is_the_one_of_listen_and_an_error_is_said_in_words(browser: Browser, page: Served) -> None:
    page.take("a")
    page.take("b", snr=10, minutes=1)
    browser.open(page.url)
    field = browser.driver.find_element(By.ID, "where")
    field.send_keys("snr > 20", Keys.ENTER)
    browser.wait("filtered rows", lambda: browser.rows() == ["star a"])
    assert browser.text("#count") == "1 candidate of 2."
    assert browser.driver.current_url.endswith("?where=snr%20%3E%2020"), "and can be kept as a bookmark"
    page.take("c", snr=5, minutes=2)
    page.take("d", snr=50, minutes=3)
    browser.wait("new row", lambda: browser.rows() == ["star d", "star a"])
    field.clear()
    field.send_keys("snrr > 20", Keys.ENTER)
    browser.wait("refusal", lambda: "did you mean 'snr'" in browser.text("#problem"))
    assert field.get_attribute("aria-invalid") == "true"
    assert browser.rows() == ["star d", "star a"], "the filter before it holds"
    browser.click("#clear")
    browser.wait("all rows", lambda: len(browser.rows()) == 4)
    assert browser.text("#problem") == ""


def test_an_address_with_a_wrong_filter_shows_all_and_says_so(browser: Browser, page: Served) -> None:
    page.take("a")
    browser.open(f"{page.url}?where=is+it")
    assert browser.wait("rows", browser.rows) == ["star a"]
    assert "The filter is not applied" in browser.text("#problem")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stays_text(browser: Browser, page: Served, name: str) -> None:
    page.take(name, kind="update", revision=1)
    browser.open(page.url)
    (shown,) = browser.wait("row", browser.rows)
    browser.click("button.name")
    browser.wait("picture", lambda: browser.run("return document.querySelector('#picture').naturalWidth") > 0)
    assert browser.driver.title == "(1) Candidates tonight"
    assert len(shown) <= 60
    assert shown.startswith(f"star {name[:20]}") or not name.isprintable()
    made = "return document.querySelectorAll('main img, main script, #star img, td h1, td img').length"
    assert browser.run(made) == 1, "the picture"
    links = browser.driver.find_elements(By.CSS_SELECTOR, "#star-links a")
    assert len(links) == 4
    for link in links:
        assert (link.get_attribute("href") or "").startswith("https://")
        assert link.get_attribute("rel") == "noopener noreferrer"


def test_a_site_says_how_high_stars_stand(browser: Browser) -> None:
    tonight = Tonight(parse_site("La Palma"), lambda: datetime(2026, 11, 28, 3, tzinfo=UTC))
    with serve(tonight=tonight) as page:
        for minutes, (name, place) in enumerate(
            (("up", (130.0, 28.0)), ("low", (170.0, 28.0)), ("no", None))
        ):
            page.take(name, place=place, minutes=minutes)
        browser.open(page.url)
        browser.wait("airmass", lambda: "rising" in browser.text("tbody tr:nth-child(2) .standing"))
        assert browser.text("#darkness") == "Dark at La Palma from 19:38 to 06:21 UTC."
        browser.click("#order input[value=highest]")
        assert browser.rows() == ["star up", "star low", "star no"]
        page.take("south", place=(130.0, -85.0), minutes=4)
        browser.wait("place", lambda: browser.rows() == ["star up", "star low", "star south", "star no"])
        browser.wait("down", lambda: browser.text("tbody tr:nth-child(3) .standing") == "down")
        browser.click("button.name")
        assert "in the dark below airmass 2" in browser.text("#facts")
        assert problems(browser) == []


def test_older_ones_that_were_dropped_are_counted(browser: Browser) -> None:
    with serve(n_kept=3) as page:
        for i in range(4):
            page.take(f"{i}", minutes=i)
        browser.open(page.url)
        browser.wait("rows", lambda: browser.rows() == ["star 3", "star 2", "star 1"])
        page.take("4", minutes=5)
        browser.wait("exchange", lambda: browser.rows() == ["star 4", "star 3", "star 2"])
        assert browser.text("#count") == "3 candidates. 2 older ones were dropped."


def test_a_dead_worker_is_said_and_one_that_lives_again(browser: Browser, page: Served) -> None:
    browser.open(page.url)
    well = "return document.querySelector('#health').dataset.well"
    dead = "the worker of s.v1 is silent: no alerts come until it runs again"
    page.night.said = Health(False, dead, 4.1, 2)
    browser.wait("warning", lambda: browser.run(well) == "false")
    assert browser.text("#state") == (
        "The worker of s.v1 is silent: no alerts come until it runs again. "
        "2 messages could not be read as alerts."
    )
    assert browser.text("#age") == "Last heard 4 s ago."
    page.night.said = Health(True, "the worker of s.v1 is alive", 0.3, 0)
    browser.wait("all clear", lambda: browser.run(well) == "true")
    assert browser.text("#state") == "The worker of s.v1 is alive."


def test_a_page_that_loses_its_server_says_so_and_gets_what_it_missed(browser: Browser) -> None:
    with serve() as page:
        port = int(page.url.rsplit(":", 1)[1].rstrip("/"))
        page.take("a")
        browser.open(page.url)
        browser.wait("row", browser.rows)
    browser.wait("warning", lambda: "lost its server" in browser.text("#state"))
    assert browser.rows() == ["star a"], "what it shows may be old, and is shown"
    with serve(port=port) as page:
        page.take("a")
        page.take("b", minutes=1)
        browser.wait("what was missed", lambda: browser.rows() == ["star b", "star a"])
        browser.wait("all clear", lambda: "lost its server" not in browser.text("#state"))
    browser.complaints()  # the browser notes that there was no server for a while


def test_all_can_be_done_by_keyboard(browser: Browser, page: Served) -> None:
    page.take("a")
    browser.open(page.url)
    browser.wait("row", browser.rows)
    browser.run("document.querySelector('#order input:checked').focus()")
    active = browser.driver.switch_to.active_element
    active.send_keys(Keys.TAB)
    assert browser.run("return document.activeElement.textContent") == "star a"
    browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert browser.run("return document.querySelector('#star').open") is True
    browser.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    browser.wait("close", lambda: browser.run("return !document.querySelector('#star').open"))
    assert browser.run("return document.activeElement.textContent") == "star a", "and one is back"


def test_the_light_is_kept_and_there_before_anything_is_drawn(browser: Browser, page: Served) -> None:
    browser.open(page.url, light="red")
    browser.driver.get(page.url)
    assert browser.run("return document.documentElement.dataset.light") == "red"
    assert browser.run("return getComputedStyle(document.documentElement).backgroundColor") == "rgb(0, 0, 0)"
    browser.click("#light input[value=auto]")
    for scheme, light in (("dark", "dark"), ("light", "light")):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        browser.wait(
            light, lambda light=light: browser.run("return document.documentElement.dataset.light") == light
        )
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_red_light_is_red_alone(browser: Browser, page: Served, tmp_path: Path) -> None:
    """Every pixel, with the picture of a star open: no green and no blue."""
    from matplotlib.image import imread

    fill(page)
    browser.open(page.url, light="red")
    browser.wait("rows", browser.rows)
    for name in ("table", "star"):
        browser.driver.save_screenshot(str(tmp_path / f"{name}.png"))
        pixels = imread(tmp_path / f"{name}.png")
        assert pixels[..., 0].max() > 0.9
        assert pixels[..., 1:3].max() < 0.02, name
        browser.click("button.name")
        browser.wait("picture", lambda: browser.run("return !document.querySelector('#frame').hidden"))


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("light", LIGHTS)
def test_axe_finds_nothing_and_nothing_is_cut_off(
    browser: Browser, page: Served, light: str, size: tuple[int, int]
) -> None:
    wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    browser.open(page.url, size=size, light=light)
    assert problems(browser) == [], "without a candidate"
    fill(page)
    browser.wait("rows", lambda: len(browser.rows()) == 11)
    page.night.said = Health(False, "the worker of s.v1 has stopped: no alerts come", 60.0, 0)
    browser.wait("warning", lambda: "has stopped" in browser.text("#state"))
    browser.driver.find_element(By.ID, "where").send_keys("nonsense", Keys.ENTER)
    browser.wait("refusal", lambda: browser.text("#problem"))
    browser.run("document.getAnimations().forEach(one => one.finish())")
    assert problems(browser) == [], "with everything that can be there"
    assert browser.run(wide) == 0
    browser.click("button.name")
    browser.wait("picture", lambda: browser.run("return !document.querySelector('#frame').hidden"))
    assert problems(browser) == [], "with a star's sheet"
