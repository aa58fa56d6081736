"""The report in a bundle: what it says, in which language, and that it needs nothing but itself."""

import re
from datetime import UTC, datetime, timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from evidence_cases import (
    BEGAN,
    CANTV,
    EVENT,
    SITE_NAME,
    blocked_page,
    false_certificate,
    files_of,
    fill,
    lines,
    made,
    of_a_volunteer,
    opens,
    the_event,
)

from monitor.evidence.errors import NotWritten
from monitor.language import words
from monitor.models import Incident, Kind, Network
from monitor.store import Store
from monitor.zones import local_words, zone_of


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of an operator, with a store."""
    home = tmp_path_factory.mktemp("report")
    fill(f"sqlite:{home / 'almenara.db'}")
    return home


@pytest.fixture(scope="module")
def files(whole: Path) -> dict[str, bytes]:
    """A bundle's files."""
    return files_of(made(whole, EVENT, "bundle"))


class Links(HTMLParser):
    """Everything that a page would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "iframe", "object", "embed", "link", "base", "form"):
            self.found.append(tag)
        for name, value in attrs:
            local = name in ("href", "src") and (value or "").startswith(("data:image/png;base64,", "#"))
            if name.startswith("on") or (name in ("href", "src", "xlink:href", "action") and not local):
                self.found.append(f"{name}={value}")


def reached(html: bytes) -> list[str]:
    links = Links()
    links.feed(html.decode())
    return links.found + re.findall(r"url\(|@import", html.decode())


def test_the_report_says_what_where_when_how_and_how_sure(files: dict[str, bytes]) -> None:
    text = re.sub(r"<[^>]*>", "", files["report.html"].decode())
    for said in (
        "elpitazo.example was blocked on CANTV AS8048 VE", "15 Jan 2018, 13:05 UTC (09:05 local time)",
        "last seen open: 15 Jan 2018, 12:55 UTC", "it lasted 3 hours", "A block page comes instead of the site", "99%",
        "Somebody in between shows a false certificate", "by 17 measurements of 2 probes", "helper-1, AS24940, Germany",
        "answered 19 of 19 times", "Of 1 further measurement only the time is published", "Acceso restringido",
        "19 of 19 measurements have the same verdict", "What this does not say",
    ):  # fmt: skip
        assert said in text, said


def test_the_report_needs_nothing_but_itself_and_runs_nothing(files: dict[str, bytes]) -> None:
    assert reached(files["report.html"]) == []
    assert reached(files["timeline.svg"]) == []


def test_the_report_speaks_spanish(whole: Path) -> None:
    html = files_of(made(whole, EVENT, "es", language="es"))["report.html"].decode()
    assert '<html lang="es">' in html
    assert "elpitazo.example estuvo bloqueado en CANTV" in html
    assert "In short" not in html


def test_how_to_check_it_is_told_in_both_languages(files: dict[str, bytes]) -> None:
    text = files["VERIFY.txt"].decode()
    assert "How to check that nothing in this bundle was changed" in text
    assert text.count("sha256sum -c SHA256SUMS") == text.count("minisign -Vm SHA256SUMS -P RW") == 2


def test_names_of_strangers_are_text_and_nothing_else(home: Path) -> None:
    evil = "<script>alert(1)</script>\"'><img src=http://evil.example/x onerror=alert(1)>\u202e\x1b[31m{{7*7}}%(x)s"
    page = f"<title>{evil}</title><h1>{evil}</h1>" + "x" * 300
    base = of_a_volunteer(blocked_page(page), 0)
    where = Network(asn=8048, isp=evil, country="VE")
    response = msgspec.structs.replace(
        base.http[0], title=evil, url=f"http://elpitazo.example/{evil}", headers=((evil, evil),), address=f"{evil}\n{evil}",
        sha256=f"{evil}\n--- source ---\n",
    )  # fmt: skip
    one = msgspec.structs.replace(
        base, site=evil, network=where, vantage=evil, software=evil, http=(response, *base.http[1:])
    )
    event = the_event(site=evil, network=where, methods=(evil, "http.blockpage"))
    with Store.open(f"sqlite:{home / 'almenara.db'}") as store:
        store.append([one])
        store.save_events([event])
    files = files_of(made(home, EVENT, "b"))
    assert reached(files["report.html"]) == []
    assert reached(files["timeline.svg"]) == []
    assert b"&lt;script&gt;" in files["report.html"]
    for name in ("report.html", "timeline.svg", "pages/page-01.txt", "VERIFY.txt"):
        assert not {"\u202e", "\x1b"} & set(files[name].decode()), name
    assert files["pages/page-01.txt"].decode().count("\n--- source ---\n") == 1


def test_a_certificate_without_an_end_costs_nobody_the_report(home: Path) -> None:
    """It is told as it came, and in UTC that moment is no date any more."""
    far = datetime.max.replace(tzinfo=timezone(timedelta(hours=-4)))
    endless = [
        msgspec.structs.replace(
            one, tls=tuple(
                msgspec.structs.replace(seen, chain=tuple(msgspec.structs.replace(it, not_after=far) for it in seen.chain))
                for seen in one.tls
            ),
        )
        for one in [of_a_volunteer(false_certificate(), 0)]
    ]  # fmt: skip
    with Store.open(f"sqlite:{home / 'almenara.db'}") as store:
        store.append(endless)
        store.save_events([the_event()])
    files = files_of(made(home, EVENT, "b"))
    assert any(b"Valid until: ?" in content for content in files.values())


def test_no_page_stands_for_another_whose_digest_somebody_says_it_has(home: Path) -> None:
    """Whoever measures may say anything, and be the first."""
    forged = of_a_volunteer(blocked_page("<h1>The site's owner closed it</h1>" + "x" * 300), -1)
    honest = [of_a_volunteer(blocked_page(), number) for number in range(3)]
    said = honest[0].http[0].sha256
    forged = msgspec.structs.replace(
        forged, http=tuple(msgspec.structs.replace(seen, sha256=seen.sha256 and said) for seen in forged.http)
    )
    with Store.open(f"sqlite:{home / 'almenara.db'}") as store:
        store.append([forged, *honest])
        store.save_events([the_event(started_range=(None, BEGAN), started=forged.started)])
    files = files_of(made(home, EVENT, "b"))
    pages = sorted(
        content.decode() for name, content in files.items() if name.startswith("pages/page-0") and ".txt" in name
    )
    assert ["by 1 measurement" in page for page in pages] == ["owner closed" in page for page in pages]
    assert sorted("by 3 measurements" in page for page in pages) == [False, True]


@pytest.mark.parametrize("kind", [Kind.SITE_OUTAGE, Kind.NETWORK_OUTAGE, Kind.SILENCE])
def test_every_kind_of_event_has_a_bundle(home: Path, kind: Kind) -> None:
    site, network = (None, CANTV) if kind is not Kind.SITE_OUTAGE else (SITE_NAME, None)
    with Store.open(f"sqlite:{home / 'almenara.db'}") as store:
        store.append([of_a_volunteer(one, number) for number, one in enumerate((opens(), false_certificate()))])
        store.save_events([the_event(kind=kind, site=site, network=network, methods=())])
    files = files_of(made(home, EVENT, "b"))
    assert b"How it is blocked" not in files["report.html"]
    assert lines(files["measurements.jsonl"])


def test_what_was_withdrawn_accuses_nobody(home: Path) -> None:
    event = the_event(confidence=0.0, ended=BEGAN, ended_range=(BEGAN, BEGAN))
    incident = Incident(id="9c0ffee000000001", revision=2, state="ended", started=BEGAN, ended=BEGAN, events=())
    with Store.open(f"sqlite:{home / 'almenara.db'}") as store:
        store.save_events([event], [incident])
    for id in (EVENT, "9c0ffee"):
        with pytest.raises(NotWritten, match="was withdrawn"):
            made(home, id, "b")


def test_a_country_with_one_time_zone_has_a_local_time() -> None:
    assert str(zone_of("VE")) == "America/Caracas"
    assert [zone_of(code) for code in ("BR", None, "", "XX", "../..")] == [None] * 5
    late = datetime(2018, 1, 16, 1, 5, tzinfo=UTC)
    assert local_words(words("en"), late, "VE") == "15 Jan, 21:05 local time"
    assert local_words(words("es"), late + timedelta(hours=4), "VE") == "01:05 hora local"
    assert local_words(words("en"), late, "BR") == ""


def test_a_page_that_takes_too_long_has_no_picture_and_the_report_says_so(home: Path) -> None:
    pytest.importorskip("weasyprint", reason="the extra report is not installed")
    with Store.open(f"sqlite:{home / 'almenara.db'}") as store:
        store.append([of_a_volunteer(blocked_page("<table>" + "<tr><td>x" * 50_000), number) for number in range(2)])
        store.save_events([the_event()])
    files = files_of(made(home, EVENT, "b", language="es"))
    assert "pages/page-01.png" not in files
    assert "No hay imagen de ella: tardó demasiado en dibujarse" in files["report.html"].decode()
