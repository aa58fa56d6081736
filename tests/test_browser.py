"""The pages in a real browser: every page, both languages, both themes, wide and narrow, with scripts and without; and those
of the running lab. What they look like is kept in build/screenshots, for people to look at."""

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.base import AXE_SCRIPT
from msgspec.structs import replace
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright
from store_cases import real
from test_pages import BLOCKED, CANTV, DOWN, EVENT, HOUR, MOVILNET, NOW, OLD, OPEN, SCOPE, at, filled
from web_cases import Watched, served

from monitor.models import Incident, Status
from monitor.store import Store

pytestmark = [pytest.mark.slow]

ROOT = Path(__file__).parent.parent
SCREENSHOTS = ROOT / "build" / "screenshots"
LANGUAGES, THEMES, WIDTHS = ("en", "es"), ("light", "dark"), (320, 1280)
TOGETHER = Incident(
    id="1234", revision=2, state="updated", started=EVENT.started, ended=None,
    events=(EVENT, replace(EVENT, id="cccc", network=MOVILNET)),
)  # fmt: skip
PATHS = {
    "now": "/", "events": "/events", "networks": "/networks", "network": "/networks/asn8048", "methods": "/methods",
    "about": "/about", "data": "/api/", "missing": "/nothing-here", "site": f"/sites/{BLOCKED}",
    "site-year": f"/sites/{BLOCKED}?range=year", "event": f"/events/{EVENT.id}", "incident": f"/incidents/{TOGETHER.id}",
    "measurement": "/measurements/real", "nothing": "/?q=nothing",
}  # fmt: skip
HIGHEST = 2400  # pixels of a picture
COLOURS = "color-contrast"  # of axe's rules the one about colours, which takes most of its time


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two networks, one of which blocks a site; one site is down, one forgotten, one never measured."""
    measurements = [
        one
        for hours in (0.05, 2, 5, 9, 15, 22, 27)
        for one in (
            at(hours, BLOCKED, CANTV, Status.BLOCKED if hours < 20 else Status.OK), at(hours, BLOCKED, MOVILNET),
            at(hours, OPEN, CANTV, Status.INCONCLUSIVE if hours == 5 else Status.OK),
            at(hours, DOWN, MOVILNET, Status.DOWN),
        )
    ]  # fmt: skip
    known = replace(real(), id="real", site=BLOCKED, started=NOW - 0.1 * HOUR, network=CANTV)
    folder = tmp_path_factory.mktemp("browser")
    return filled(folder, [*measurements, at(12, OLD, CANTV), known], TOGETHER.events, [TOGETHER])


@pytest.fixture(scope="module")
def address(store: str) -> Iterator[str]:
    with served(store, Watched(SCOPE, operator="Espacio Abierto", contact="desk@example.org")) as client:
        yield str(client.base_url).rstrip("/")


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


class Reader:
    """A browser's window. complaints: what the browser complains about, or asks of others."""

    def __init__(self, browser: Browser, address: str, **options: Any) -> None:
        self._context = browser.new_context(**({"viewport": {"width": 1280, "height": 800}} | options))
        self._address = address
        self.complaints: list[str] = []
        self._context.on("request", lambda asked: self._asked(asked.url))
        self.page = self._context.new_page()
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda said: self._heard(said.type, said.text))

    def open(self, path: str) -> Page:
        """The page at that path."""
        answer = self.page.goto(self._address + path)
        assert answer is not None
        assert answer.status == (404 if path == PATHS["missing"] else 200), path
        return self.page

    def without_our_script(self) -> None:
        """As where a browser runs none, but so that axe can."""
        self._context.route("**/static/*.js*", lambda route: _nothing(route))

    def close(self) -> None:
        self._context.close()
        assert self.complaints == []

    def _asked(self, url: str) -> None:
        if not url.startswith(self._address + "/"):
            self.complaints.append(f"asked for {url}")

    def _heard(self, kind: str, text: str) -> None:
        # That the page itself is not there is what one of them is about.
        if kind in ("error", "warning") and "404 (Not Found)" not in text:
            self.complaints.append(text)


def _nothing(route: Route) -> None:
    route.fulfill(status=200, content_type="text/javascript", body="")


@pytest.fixture(scope="module")
def readers(browser: Browser, address: str) -> Iterator[dict[tuple[str, str], Reader]]:
    """By language and by what becomes of scripts: they run, there are none of ours, the browser runs none."""
    found = {}
    for language in LANGUAGES:
        found[language, "on"] = Reader(browser, address, locale=language)
        found[language, "none"] = Reader(browser, address, locale=language)
        found[language, "none"].without_our_script()
        found[language, "off"] = Reader(browser, address, locale=language, java_script_enabled=False)
    yield found
    for reader in found.values():
        reader.close()


@pytest.fixture
def opened(browser: Browser, address: str) -> Iterator[Any]:
    """Opens a page in a window of its own."""
    windows: list[Reader] = []

    def open_page(path: str, **options: Any) -> Page:
        windows.append(Reader(browser, address, **options))
        return windows[-1].open(path)

    yield open_page
    for window in windows:
        window.close()


def violations(page: Page, *left_out: str) -> list[str]:
    """What axe finds wrong, but for some of its rules."""
    rules = {name: {"enabled": False} for name in left_out}
    options = {"resultTypes": ["violations"], "preload": False, "selectors": False, "rules": rules}
    found = page.evaluate("async options => (await axe.run(options)).violations", options)
    return [f"{one['id']}: {node['html'][:160]}" for one in found for node in one["nodes"][:3]]


def picture(page: Page, name: str) -> None:
    """Of the page, or of as much of it as a person looks through."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    width, height = page.evaluate("[window.innerWidth, document.documentElement.scrollHeight]")
    clip = {"x": 0, "y": 0, "width": width, "height": min(height, HIGHEST)}
    page.screenshot(path=SCREENSHOTS / f"{name}.jpg", type="jpeg", quality=70, full_page=True, clip=clip)


def looks(page: Page) -> Iterator[tuple[str, int]]:
    """The page in each theme and width, with everything unfolded."""
    for summary in page.query_selector_all("details:not([open]) > summary"):
        summary.click()
    for theme in THEMES:
        page.emulate_media(color_scheme=theme)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            yield theme, width


def fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", PATHS)
def test_every_page_is_accessible_and_fits_in_both_themes_and_at_both_widths(readers, name, language):
    page = readers[language, "on"].open(PATHS[name])
    assert page.get_attribute("html", "lang") == language
    page.evaluate(AXE_SCRIPT + "\n0")
    for theme, width in looks(page):
        assert violations(page) == [], (theme, width)
        assert fits(page), "wider than the window"
        picture(page, f"{name}-{language}-{theme}-{width}")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", PATHS)
def test_without_scripts_every_page_says_the_same_is_accessible_and_fits(readers, name, language):
    """Where the browser runs no script nobody can look for faults with one: for that ours alone is taken away. It adds
    no colour, so that colours, and with them themes, have been looked at with it."""
    improved, page = (readers[language, scripts].open(PATHS[name]) for scripts in ("on", "off"))
    assert page.inner_text("main") == improved.inner_text("main")
    for theme, width in looks(page):
        assert fits(page), "wider than the window"
        picture(page, f"{name}-{language}-{theme}-{width}-without-scripts")
    bare = readers[language, "none"].open(PATHS[name])
    bare.evaluate(AXE_SCRIPT + "\n0")
    for width in WIDTHS:
        bare.set_viewport_size({"width": width, "height": 800})
        assert violations(bare, COLOURS) == [], width


def test_the_form_works_without_scripts(opened):
    page = opened("/", java_script_enabled=False)
    page.fill("#q", BLOCKED)
    page.select_option("#state", "blocked")
    page.click("form[data-filter] button")
    assert page.locator("#matrix tbody tr").count() == 1
    assert page.input_value("#q") == BLOCKED
    assert "state=blocked" in page.url


def test_what_is_typed_chooses_rows_at_once(opened):
    page = opened("/")
    rows = page.locator("#matrix tbody tr")
    assert rows.count() == len(SCOPE.subjects)
    page.fill("#q", BLOCKED.upper())
    assert [row.is_visible() for row in rows.all()].count(True) == 1
    page.fill("#q", "")
    assert all(row.is_visible() for row in rows.all())


def test_what_is_typed_in_vain_is_told_to_eyes_and_ears(opened):
    page = opened("/")
    said = page.locator("#matrix-none")
    assert said.get_attribute("aria-live") == "polite"
    assert said.inner_text() == ""
    page.fill("#q", "nothing of the kind")
    assert said.inner_text() == "No site is as you asked for. Choose less, or look at all of them."
    page.fill("#q", BLOCKED)
    assert said.inner_text() == ""


def test_what_a_chart_says_of_its_bars_fits_on_a_phone(opened):
    page = opened(PATHS["measurement"], viewport={"width": 320, "height": 800})
    labels = (
        "[...document.querySelectorAll('svg.chart text')].map(one => [one.getBBox(), one.ownerSVGElement.clientWidth])"
    )
    for box, width in page.evaluate(f"{labels}.map(([box, width]) => [[box.x, box.width], width])"):
        assert box[0] >= -1
        assert box[0] + box[1] <= width + 1


def test_a_long_host_is_broken_after_its_dots(opened):
    page = opened("/", viewport={"width": 320, "height": 800})
    cells = page.locator("#matrix tbody th bdi")
    assert ".<wbr>" in cells.first.inner_html()


def test_a_table_that_goes_on_beside_the_screen_says_so_to_eyes_and_ears(opened):
    page = opened("/", viewport={"width": 320, "height": 800})
    table = page.locator(".wide:has(#matrix)")
    assert table.evaluate("one => one.scrollWidth > one.clientWidth")
    hint = page.locator("#swipe")
    assert hint.is_visible()
    assert table.get_attribute("aria-describedby") == "swipe"
    table.focus()
    page.keyboard.press("ArrowRight")
    table.evaluate("one => new Promise(done => one.scrollLeft > 0 ? done() : one.addEventListener('scroll', done))")
    page.set_viewport_size({"width": 1280, "height": 800})
    assert not hint.is_visible()


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


def test_a_reader_changes_the_language_and_keeps_it(opened, address):
    page = opened("/")
    page.click("text=Español")
    assert page.get_attribute("html", "lang") == "es"
    page.goto(f"{address}/about")
    assert page.get_attribute("html", "lang") == "es"


def test_in_print_there_is_the_text_and_no_navigation(opened):
    page = opened(PATHS["event"], color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert not page.locator("nav").first.is_visible()
    assert page.locator("main h1").is_visible()
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    picture(page, "event-print")


def test_an_open_page_follows_what_happens(opened, store):
    page = opened("/")
    assert "blocked" not in page.locator(f'tr[data-text^="{OPEN}"]').inner_text()
    page.evaluate("window.sameDocument = true")
    with Store.open(store) as writing:
        writing.append([at(0, OPEN, CANTV, Status.BLOCKED, number="new")])
    expect(page.locator(f'tr[data-text^="{OPEN}"]')).to_contain_text("blocked", timeout=60_000)
    assert page.evaluate("window.sameDocument")
    assert page.locator("#told").inner_text() == "The page has been brought up to date."


@pytest.mark.lab
def test_an_open_page_follows_the_running_lab_until_the_demo_takes_it_away(browser):
    """Censoring ISPs in a box, found out and shown while one looks on."""
    command = [sys.executable, "-m", "monitor", "demo", "--seed", "2018"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        told = demo.stdout.readline()
        if not told:
            pytest.skip(demo.stderr.read())
        [address] = re.findall(r"http://127\.0\.0\.1:\d+", told)
        try:
            reader = Reader(browser, address, viewport={"width": 320, "height": 800})
            page = reader.open("/")
            page.evaluate("window.sameDocument = true")
            page.wait_for_selector("#matrix td.alarm", timeout=120_000)
            assert page.evaluate("window.sameDocument")
            text = page.inner_text("main")
            for said in ("www.lapatilla.com", "CANTV", "Movilnet"):
                assert said in text
            picture(page, "lab-en-light-320")
            reader.close()
        finally:
            demo.send_signal(signal.SIGINT)
            said = demo.communicate(timeout=60)[1]
    assert demo.returncode == 130
    assert "Traceback" not in said
    with pytest.raises(httpx.ConnectError):
        httpx.get(address, trust_env=False)
