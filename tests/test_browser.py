"""The pages in a real browser, of a service that watches the lab: every page, both languages, both themes, wide and narrow,
with scripts and without. What it looks like is kept in build/screenshots, for people to look at."""

import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from lab_window import window
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from test_service import PORT, Running

from monitor.lab.box import Lab
from monitor.lab.draw import draw
from monitor.lab.namespaces import LabError
from monitor.models import Kind
from monitor.store import Store

pytestmark = [pytest.mark.lab, pytest.mark.slow]

ROOT = Path(__file__).parent.parent
SCREENSHOTS = ROOT / "build" / "screenshots"
LANGUAGES, THEMES, WIDTHS = ("en", "es"), ("light", "dark"), (320, 1280)
# Where axe looks: between them both languages meet both themes and both widths.
LOOKED_AT = {"en": {("light", 320), ("dark", 1280)}, "es": {("light", 1280), ("dark", 320)}}
FIXED = {
    "now": "/", "events": "/events", "networks": "/networks", "network": "/networks/asn8048", "methods": "/methods",
    "about": "/about", "data": "/api/", "missing": "/nothing-here",
}  # fmt: skip
FOUND = ("site", "site-year", "event", "measurement")
SITES = 5
TRIES = 4
HIGHEST = 3000  # pixels of a picture


class Newsroom:
    """A service on two ISPs, one of which blocks two sites. address: of its page; paths: of one page of each kind."""

    def __init__(self, service: Running, address: str) -> None:
        self.service, self.address = service, address
        self.blocked, self.next = service.names[0], service.names[2]
        self.paths = FIXED | {
            "site": f"/sites/{self.blocked}", "site-year": f"/sites/{self.blocked}?range=year",
            "event": f"/events/{self._event()}", "measurement": f"/measurements/{service.blocked(self.blocked)[0]}",
        }  # fmt: skip

    def _event(self) -> str:
        with Store.open(f"sqlite:{self.service.database}", create=False) as store:
            return next(event.id for event in store.events() if event.kind is Kind.BLOCKING)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    try:
        with Lab(draw(11, healthy=SITES + 1)) as running:
            running.start_helper()
            yield running
    except LabError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def newsroom(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newsroom]:
    services = {url.split("/")[2] for url in (*lab.world.neutral, *lab.world.doh)}
    names = [name for name in lab.world.sites if name not in services][:SITES]
    service = Running(lab, tmp_path_factory.mktemp("newsroom"), names)
    lab.censor("cantv", "tls-reset", names[0])
    lab.censor("cantv", "dns-nxdomain", names[1])
    service.start()
    try:
        service.until(service.stored, 90)
        service.until(service.events, 300)
        service.configure(every="30s")  # what the pages need is there: leave the cores to the browser
        service.process.send_signal(signal.SIGHUP)
        with window(lab, lab.control_netns, PORT) as address:
            yield Newsroom(service, f"http://{address}")
    finally:
        if service.process and service.process.poll() is None:
            service.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium here")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-background-networking"]
        )
        yield running
        running.close()


@pytest.fixture
def opened(browser: Browser, newsroom: Newsroom) -> Iterator[Any]:
    """Opens a page as a reader would: what the browser complains about, or asks of others, is a failure."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_page(path: str, *, expected: int = 200, **options: Any) -> Page:
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 800}} | options))
        contexts.append(context)
        context.on("request", lambda asked: _ours(asked.url))
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: _heard(said.type, said.text))
        answer = page.goto(newsroom.address + path)
        assert answer is not None
        assert answer.status == expected, path
        return page

    def _ours(url: str) -> None:
        if not url.startswith(newsroom.address + "/"):
            complaints.append(f"asked for {url}")

    def _heard(kind: str, text: str) -> None:
        # That the page itself is not there is what one of them is about.
        if kind in ("error", "warning") and "404 (Not Found)" not in text:
            complaints.append(text)

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def violations(page: Page) -> list[str]:
    """What axe finds wrong."""
    found = page.evaluate(f"{AXE_SCRIPT}\naxe.run({{resultTypes: ['violations']}})")
    return [f"{one['id']}: {node['html'][:160]}" for one in found["violations"] for node in one["nodes"][:3]]


def picture(page: Page, name: str) -> None:
    """Of the page, or of as much of it as a person looks through."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    width, height = page.evaluate("[window.innerWidth, document.documentElement.scrollHeight]")
    clip = {"x": 0, "y": 0, "width": width, "height": min(height, HIGHEST)}
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True, clip=clip)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", [*FIXED, *FOUND])
def test_every_page_is_accessible_and_fits_in_both_themes_and_at_both_widths(newsroom, opened, name, language):
    page = opened(newsroom.paths[name], locale=language, expected=404 if name == "missing" else 200)
    assert page.get_attribute("html", "lang") == language
    for theme in THEMES:
        for width in WIDTHS:
            page.emulate_media(color_scheme=theme)
            page.set_viewport_size({"width": width, "height": 800})
            for details in page.query_selector_all("details:not([open]) > summary"):
                details.click()
            if (theme, width) in LOOKED_AT[language]:
                assert violations(page) == []
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "wider than the window"
            picture(page, f"{name}-{language}-{theme}-{width}")


@pytest.mark.parametrize("name", [*FIXED, *FOUND])
def test_without_scripts_every_page_says_the_same(newsroom, opened, name):
    expected = 404 if name == "missing" else 200
    path = newsroom.paths[name]
    for _ in range(TRIES):  # a measurement may come between the two
        without = opened(path, java_script_enabled=False, expected=expected)
        with_scripts = opened(path, expected=expected)
        plain, improved = (_without_times(page.inner_text("main")) for page in (without, with_scripts))
        if plain == improved:
            break
    assert plain == improved
    without.set_viewport_size({"width": 320, "height": 800})
    picture(without, f"{name}-without-scripts-320")


def _without_times(text: str) -> str:
    """What a moment's delay may change: results come in all the time."""
    return re.sub(r"\d+", "0", text)


def test_the_form_works_without_scripts(newsroom, opened):
    page = opened("/", java_script_enabled=False)
    page.fill("#q", newsroom.blocked)
    page.select_option("#state", "blocked")
    page.click("form[data-filter] button")
    assert page.locator("#matrix tbody tr").count() == 1
    assert page.input_value("#q") == newsroom.blocked
    assert "state=blocked" in page.url


def test_what_is_typed_chooses_rows_at_once(newsroom, opened):
    page = opened("/")
    rows = page.locator("#matrix tbody tr")
    assert rows.count() == SITES
    page.fill("#q", newsroom.blocked.upper())
    assert [row.is_visible() for row in rows.all()].count(True) == 1
    page.fill("#q", "")
    assert all(row.is_visible() for row in rows.all())


def test_the_keyboard_reaches_the_content_first_and_sees_where_it_is(opened):
    page = opened("/")
    page.keyboard.press("Tab")
    skip = page.locator(".skip")
    assert skip.evaluate("one => one === document.activeElement")
    assert skip.bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    for _ in range(12):
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", page.evaluate("document.activeElement.outerHTML.slice(0, 200)")


def test_a_reader_changes_the_language_and_keeps_it(opened, newsroom):
    page = opened("/")
    page.click("text=Español")
    assert page.get_attribute("html", "lang") == "es"
    page.goto(newsroom.address + "/about")
    assert page.get_attribute("html", "lang") == "es"


def test_in_print_there_is_the_text_and_no_navigation(newsroom, opened):
    page = opened(newsroom.paths["event"], color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert not page.locator("nav").first.is_visible()
    assert page.locator("main h1").is_visible()
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    picture(page, "event-print")


def test_an_open_page_follows_what_happens(newsroom, opened, lab):
    page = opened("/")
    row = page.locator(f'tr[data-text^="{newsroom.next}"]')
    assert "blocked" not in row.inner_text()
    page.evaluate("window.sameDocument = true")
    number = lab.censor("movilnet", "tls-reset", newsroom.next)
    try:
        page.wait_for_function(
            "name => document.querySelector(`tr[data-text^='${name}']`).innerText.includes('blocked')", arg=newsroom.next,
            timeout=90_000,
        )  # fmt: skip
    finally:
        lab.lift(number)
    assert page.evaluate("window.sameDocument")
    assert page.locator("#told").inner_text() == "The page has been brought up to date."
