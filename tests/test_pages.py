"""The pages, over real sockets: what they say, that what strangers wrote is inert in them, and that they are light."""

import base64
import re
import socket
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
import pytest
from html_checks import MOST_BYTES, Page, checked
from msgspec.structs import replace
from store_cases import CANTV, event, real, small, verdict
from web_cases import PUBLIC, Watched, served

from monitor.language import words
from monitor.models import (
    Certificate,
    Conditions,
    Control,
    Event,
    Incident,
    Kind,
    Measurement,
    Network,
    Purpose,
    ResolverCheck,
    Role,
    Status,
)
from monitor.store import Store
from monitor.web.scope import Place, Scope, Subject
from monitor.zones import local_words

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
MOVILNET = Network(asn=27889, isp="Movilnet", country="VE", source="observed")
DIGITEL = Network(asn=264731, isp="Digitel", country="VE")
UNKNOWN = Network()
BLOCKED, OPEN, DOWN, OLD, NEVER = "blocked.example", "open.example", "down.example", "old.example", "never.example"
PERIOD_S = 1800.0
ALIKE = 3  # pages of one kind that are looked at
HOSTILE = (
    "</script></title><script>alert(1)</script><img src=x onerror=alert(1)>\"' onmouseover='alert(1)' javascript:alert(1) "
    "\u202egnp.exe\u2066\0\x1b[31m{{ 7*7 }}{% raw %}%(site)s{site} <!-- ]]> &#x3c;b&#x3e;"
)  # fmt: skip
EVENT = event(
    "aaaa000011112222", site=BLOCKED, started=NOW - 20 * HOUR, started_range=(NOW - 20.5 * HOUR, NOW - 20 * HOUR),
    detected=NOW - 19 * HOUR,
)  # fmt: skip


def at(hours_ago: float, site: str, network: Network = CANTV, status: Status = Status.OK, **more: Any) -> Measurement:
    """A measurement so long ago."""
    number = more.pop("number", None) or f"{site}-{network.asn}-{hours_ago}"
    methods = ("dns.nxdomain",) if status is Status.BLOCKED else ()
    known = {"id": number, "url": f"https://{site}/", "vantage": (network.isp or "home").lower(), "network": network}
    return small(0, site=site, started=NOW - hours_ago * HOUR, verdict=verdict(status, methods), **(known | more))


def history() -> Iterator[Measurement]:
    for half_hours in range(60):
        hours = half_hours / 2
        yield at(hours, BLOCKED, CANTV, Status.BLOCKED if hours < 20 else Status.OK)
        yield at(hours, BLOCKED, MOVILNET)
        yield at(hours, OPEN, CANTV, Status.INCONCLUSIVE if half_hours == 7 else Status.OK)
        yield at(hours, DOWN, MOVILNET, Status.DOWN)
    yield at(12, OLD, CANTV)
    known = real()
    assert known.verdict is not None
    sure = replace(known.verdict, confirmed=True)
    yield replace(known, id="real", site=BLOCKED, started=NOW - 0.1 * HOUR, network=CANTV, verdict=sure)


SCOPE = Scope(
    subjects=tuple(
        Subject(url=f"https://{site}/", site=site, name=name, tags=tags, period_s=PERIOD_S)
        for site, name, tags in (
            (BLOCKED, "The Blocked Times", ("news",)), (OPEN, None, ("news", "rights")), (DOWN, None, ()), (OLD, None, ()),
            (NEVER, None, ()),
        )
    ),
    places=(
        Place(name="cantv", network=CANTV),
        Place(name="movilnet", network=MOVILNET),
        Place(name="digitel", network=DIGITEL, present=False),
    ),
)  # fmt: skip


def filled(
    folder: Path, measurements: list[Measurement], events: Sequence[Event] = (), together: Sequence[Incident] = ()
) -> str:
    url = f"sqlite:{folder / 'pages.db'}"
    with Store.open(url) as store:
        store.append(measurements)
        store.save_events(events, together)
    return url


@pytest.fixture(scope="module")
def newsroom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    down = event("bbbb", kind=Kind.SITE_OUTAGE, site=DOWN, network=None, methods=(), started=NOW - 29 * HOUR,
                 started_range=(None, NOW - 29 * HOUR), detected=NOW - 28 * HOUR)  # fmt: skip
    other = replace(
        EVENT, id="cccc", network=MOVILNET, ended=NOW - 18 * HOUR, ended_range=(NOW - 18.5 * HOUR, NOW - 18 * HOUR)
    )
    together = Incident(
        id="1234", revision=2, state="updated", started=EVENT.started, ended=None, events=(EVENT, other)
    )
    url = filled(tmp_path_factory.mktemp("pages"), list(history()), [EVENT, down, other], [together])
    with served(url, Watched(SCOPE, operator="Espacio Abierto", contact="desk@example.org")) as client:
        yield client


@pytest.fixture
def client(newsroom: httpx.Client) -> httpx.Client:
    """Without the language that another test chose."""
    newsroom.cookies.clear()
    return newsroom


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[Any]:
    """Serves a store of the test's own."""
    opened: list[Any] = []

    def serve(measurements: list[Measurement], scope: Scope | None = None, **more: Any) -> httpx.Client:
        context = served(filled(tmp_path, measurements, **more), Watched(scope))
        opened.append(context)
        return context.__enter__()

    yield serve
    for context in opened:
        context.__exit__(None, None, None)


def row(client: httpx.Client, site: str, path: str = "/") -> list[str]:
    """What the table of now says of a site, network by network."""
    [found] = [one for one in client.get(path).text.split("<tr ")[1:] if f'data-text="{site}' in one]
    return [" ".join(re.sub("<[^>]*>", " ", cell).split()) for cell in found.partition("</tr>")[0].split("<td")[1:]]


# --- every page ----------------------------------------------------------------------------------------------------


def test_every_link_leads_to_a_page_that_is_inert_light_and_accessible(client):
    dress = sum(len(client.get(path).content) for path in _dress(client))
    waiting, seen, alike = ["/"], set(), Counter[tuple[str, ...]]()
    while waiting:
        path = waiting.pop(0)
        kind = _kind(path)
        if path in seen or path.startswith("/api/v1/") or alike[kind] == ALIKE:
            continue
        seen.add(path)
        alike[kind] += 1
        answer = client.get(path)
        assert answer.status_code == 200, path
        if answer.headers["content-type"].startswith("text/html"):
            page = checked(answer)
            assert len(answer.content) + dress < MOST_BYTES, path
            waiting += [
                urljoin(path, link).partition("#")[0]
                for link in page.links()
                if not link.startswith(("https://", "mailto:"))
            ]
    kinds = {kind[0] for kind in alike}
    assert kinds >= {
        "",
        "sites",
        "networks",
        "events",
        "incidents",
        "measurements",
        "methods",
        "about",
        "api",
        "feed.atom",
    }


def _kind(path: str) -> tuple[str, ...]:
    """Which page it is, and what is asked of it: others of that kind come about alike."""
    parts = urlsplit(path)
    return parts.path.split("/")[1], *sorted(parse_qs(parts.query))


def _dress(client: httpx.Client) -> list[str]:
    page = Page.of(client.get("/"))
    style = [str(one["href"]) for one in page.all("link") if one["rel"] == "stylesheet"]
    return [*style, str(page.all("script")[0]["src"])]


# --- now -----------------------------------------------------------------------------------------------------------


def test_now_says_state_method_since_when_and_how_sure_in_words(client):
    cantv, digitel, movilnet = _columns(client, BLOCKED)
    began = f"{EVENT.started:%H:%M} UTC"
    for said in ("■", "blocked", "name denied", "since", began, "98% sure"):
        assert said in cantv
    assert "ok" in movilnet
    assert digitel.endswith("– not measured")


def _columns(client: httpx.Client, site: str, path: str = "/") -> list[str]:
    return [cell.partition(">")[2].strip() for cell in row(client, site, path)]


def test_no_data_is_not_green_and_old_data_is_told_as_old(client):
    assert [cell for cell in _columns(client, NEVER)] == ["– not measured"] * 3
    text = client.get("/").text
    never = text[text.index(f'data-text="{NEVER}') :].partition("</tr>")[0]
    assert "is-ok" not in never
    old = _columns(client, OLD)[0]
    assert "old: seen 12 hours ago" in old
    words = checked(client.get("/")).words
    assert "1 of 5 sites is blocked on at least one network" in words
    assert "1 result is old." in words
    assert "The vantage digitel on Digitel is not connected: nobody measures from it." in words


def test_a_result_of_the_last_minutes_is_not_old_however_short_the_period(pages):
    """Finding a block, with all that is asked again, takes minutes; finding none takes seconds."""
    subject = Subject(url=f"https://{BLOCKED}/", site=BLOCKED, period_s=10)
    since_import = (NOW - datetime.now(UTC)) / HOUR
    blocked = at(since_import + 3 / 60, BLOCKED, CANTV, Status.BLOCKED)
    client = pages(
        [blocked, at(since_import + 8 / 60, BLOCKED, MOVILNET)], Scope(subjects=(subject,), places=SCOPE.places)
    )
    assert "1 site was blocked when measured last, and no event says so yet" in checked(client.get("/")).words
    assert "blocked on at least one" not in checked(client.get("/")).words, "nobody is accused on a suspicion"
    assert "1 result is old." in checked(client.get("/")).words


def test_the_worst_comes_first_and_what_nobody_knows_comes_before_what_is_open(client):
    found = re.findall(r'data-text="([a-z.]+)', client.get("/").text)
    assert found[:2] == [BLOCKED, DOWN]
    assert found[-1] == OPEN


@pytest.mark.parametrize(
    ("query", "sites"),
    [
        ("q=TIMES", {BLOCKED}), ("q=example&tag=news", {BLOCKED, OPEN}), ("state=blocked", {BLOCKED}), ("state=down", {DOWN}),
        ("tag=rights", {OPEN}), ("network=27889&state=none", {OPEN, OLD, NEVER}), ("q=nothing", set()),
        ("state=nonsense&q=open", {OPEN}), ("page=99", set()), ("network=-1&page=x&q=down", {DOWN}),
    ],
)  # fmt: skip
def test_a_form_without_scripts_chooses_sites(client, query, sites):
    answer = client.get(f"/?{query}")
    checked(answer)
    assert set(re.findall(r'data-text="([a-z.]+)', answer.text)) == sites


@pytest.mark.parametrize(
    ("path", "told"),
    [("/?state=foo", "state=foo"), ("/?network=-1", "network=-1"), ("/events?kind=foo", "kind=foo"),
     ("/events?active=perhaps", "active=perhaps"), ("/?page=x", "page=x"),
     (f"/sites/{BLOCKED}?range=foo", "range=foo"), ("/networks/asn8048?until=..", "until=..")],
)  # fmt: skip
def test_what_an_address_asks_for_in_vain_is_told(client, path, told):
    assert f"The address asks for {told}, which does not exist: it was left out." in checked(client.get(path)).words
    assert "which does not exist" not in checked(client.get("/?state=blocked&network=0&q=&tag=")).words
    assert "which does not exist" not in checked(client.get("/events?kind=blocking&active=true&network=8048")).words


@pytest.mark.parametrize("written", ["BLOCKED.example", "blocked.example/", "blocked.example.", "Blocked.EXAMPLE/"])
def test_a_site_has_one_address_however_its_host_is_written(client, written):
    answer = client.get(f"/sites/{written}?range=week", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (308, f"/sites/{BLOCKED}?range=week")
    assert client.get("/sites//evil.example/", follow_redirects=False).status_code == 404


def test_what_somebody_typed_stands_in_the_form_and_is_inert(client):
    answer = client.get("/", params={"q": HOSTILE, "tag": HOSTILE, "state": HOSTILE})
    checked(answer)
    assert "&lt;/script&gt;" in answer.text


@pytest.mark.parametrize(
    ("language", "told"),
    [("en", "1 site is watched on 1 network; combinations with a recent result: 1 of 1."),
     ("es", "Se vigila 1 sitio en 1 red; combinaciones con un resultado reciente: 1 de 1.")],
)  # fmt: skip
def test_one_site_on_one_network_is_not_told_in_the_plural(pages, language, told):
    only = Scope(
        subjects=(Subject(url=f"https://{OPEN}/", site=OPEN, period_s=PERIOD_S),),
        places=(Place(name="cantv", network=CANTV),),
    )
    assert told in checked(pages([at(0.1, OPEN)], only).get(f"/?lang={language}")).words


def test_two_thousand_sites_come_page_by_page_each_light(pages):
    sites = [f"s{n:04}.example" for n in range(2000)]
    networks = [replace(CANTV, asn=n, isp=f"Network {n}") for n in range(1, 7)]
    some = [at(0.1, site, network) for site in sites[:60] for network in networks]
    worst = at(0.1, sites[1999], networks[0], Status.BLOCKED)
    scope = Scope(
        subjects=tuple(Subject(url=f"https://{site}/", site=site, period_s=PERIOD_S) for site in sites),
        places=tuple(Place(name=f"v{one.asn}", network=one) for one in networks),
    )
    client = pages([*some, worst], scope)
    dress = sum(len(client.get(path).content) for path in _dress(client))
    seen, path = [], "/"
    while path:
        answer = client.get(path)
        page = checked(answer)
        assert len(answer.content) + dress < MOST_BYTES
        seen += re.findall(r'data-text="([a-z0-9.]+)', answer.text)
        later = [one["href"] for one in page.all("a") if one.get("rel") == "next"]
        path = urljoin("/", str(later[0])) if later else ""
    assert seen[0] == sites[1999]
    assert sorted(seen) == sites


def test_many_networks_on_which_all_is_blocked_are_light_too(pages):
    networks = [replace(CANTV, asn=n, isp=f"Network {n}") for n in range(1, 13)]
    client = pages([at(0.1, f"s{n}.example", one, Status.BLOCKED) for n in range(60) for one in networks])
    dress = sum(len(client.get(path).content) for path in _dress(client))
    assert len(client.get("/").content) + dress < MOST_BYTES


def test_more_networks_than_fit_are_named_and_those_with_blocks_are_shown(pages):
    networks = [replace(CANTV, asn=n, isp=f"Net {n:02}") for n in range(1, 31)]
    found = [at(0.1, OPEN, one, Status.BLOCKED if one.asn == 30 else Status.OK) for one in networks]
    page = checked(pages(found).get("/"))
    heads = page.words.partition("Networks that did not fit into the table:")
    assert "Net 30" in heads[0]
    assert "Net 29" in heads[2]
    assert len([one for one in page.all("th") if one["scope"] == "col"]) == 1 + 12


def test_two_vantages_that_differ_on_one_network_are_told_to(pages):
    client = pages([at(0.1, OPEN, CANTV, Status.BLOCKED), at(0.1, OPEN, CANTV, vantage="other", number="2")])
    [cell] = _columns(client, OPEN)
    assert "blocked" in cell
    assert "by 1 of 2 results" in cell


def test_what_is_blocked_on_more_networks_comes_first(pages):
    found = [at(0.1, "a.example", CANTV, Status.BLOCKED), at(0.1, "a.example", MOVILNET)]
    found += [at(0.1, "b.example", one, Status.BLOCKED) for one in (CANTV, MOVILNET)]
    assert re.findall(r'data-text="([a-z.]+)', pages(found).get("/").text) == ["b.example", "a.example"]


# --- missing data --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/events", "/networks", "/methods", "/about", "/?lang=es"])
def test_an_empty_store_is_told_as_such(pages, path):
    page = checked(pages([]).get(path))
    if path == "/":
        assert "Nothing is known at the moment" in page.words
        assert "No site is watched so far." in page.words


def test_only_inconclusive_results_accuse_nobody_and_acquit_nobody(pages):
    client = pages([at(0.1, OPEN, CANTV, Status.INCONCLUSIVE)])
    page = checked(client.get("/"))
    assert "No site is seen to be blocked" not in page.words
    assert "1 recent result says too little to judge." in page.words
    for path in (f"/sites/{OPEN}", "/networks/asn8048"):
        assert "inconclusive" in checked(client.get(path)).words


def test_a_network_that_nobody_knows_has_a_page(pages):
    client = pages([at(0.1, OPEN, UNKNOWN)])
    assert "an unknown network" in checked(client.get("/")).words
    assert OPEN in checked(client.get("/networks/unknown")).words
    checked(client.get(f"/sites/{OPEN}"))


def test_an_event_whose_measurements_retention_removed_says_so(pages):
    client = pages([at(0.1, OPEN)], events=[replace(EVENT, id="e1"), replace(EVENT, id="e2", confidence=0.0)])
    page = checked(client.get("/events/e1"))
    assert "The measurements are not kept here any more" in page.words
    assert "no longer kept here" in page.words
    withdrawn = checked(client.get("/events/e2"))
    assert "This event was withdrawn. Do not cite it as a block." in withdrawn.words


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/sites/unknown.example", "/events/none", "/incidents/none", "/measurements/none", "/networks/asn1",
     "/networks/x", "/networks/asn99999999999999", "/static/none", "/sites/%00", "/measurements/%ff", "/sites/" + "x" * 5000],
)  # fmt: skip
def test_what_is_not_there_is_a_page_that_says_so(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert "Not found" in checked(answer).words


def test_a_store_that_cannot_be_read_says_nothing_of_any_site(tmp_path):
    with served(f"sqlite:{tmp_path / 'gone.db'}") as client:
        answer = client.get("/")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    assert "This says nothing about any site." in checked(answer).words


def test_the_headline_does_not_deny_an_event_that_goes_on(pages):
    client = pages([at(0.1, BLOCKED), at(0.1, OPEN)], events=[EVENT])
    page = checked(client.get("/"))
    assert "A block of 1 site is not over, but no newest result shows it" in page.words
    assert "No site is seen to be blocked" not in page.words
    assert "blocked.example was blocked on CANTV, and opens in the newest results" in page.words


# --- events --------------------------------------------------------------------------------------------------------


def test_an_event_says_what_where_since_when_how_sure_how_we_know_and_what_we_do_not(client):
    page = checked(client.get(f"/events/{EVENT.id}"))
    assert f"({local_words(words('en'), EVENT.started, 'VE')})" in page.words
    for said in (
        "blocked.example is blocked on CANTV", "AS8048", "Venezuela", "99%", "41 measurements by 1 probe",
        "The name server says that the name does not exist.", "What we do not know", "Who ordered or operates the block",
        f"/events/{EVENT.id}", "revision 1", "Permanent link",
    ):  # fmt: skip
        assert said in page.words, (said, re.findall(r"\d+ measurements? by[^.]*probes?", page.words))
    links = page.links()
    assert "/measurements/real" in links  # the confirmed one is the one that is told as the example
    assert "/incidents/1234" in links
    assert [link for link in links if "format=csv" in link]
    for link in links:
        if link.startswith("/api/"):
            assert client.get(link).status_code == 200


def test_a_block_that_lifted_is_told_as_open_wherever_its_event_is(pages):
    """The detector tells the end after some more results; who reads meanwhile is not told that it goes on."""
    reports = [at(hours, BLOCKED, CANTV, Status.BLOCKED) for hours in (3, 2, 1)]
    together = Incident(id="i", revision=1, state="started", started=EVENT.started, ended=None, events=(EVENT,))
    lifted = [at(minutes / 60, BLOCKED) for minutes in (9, 6, 3)]
    client = pages([*reports, *lifted], events=[EVENT], together=[together])
    told = f"open in the newest 3 results in a row, since {words('en').moment(lifted[0].started)}"
    for path in ("/", "/events", f"/events/{EVENT.id}", "/incidents/i", f"/sites/{BLOCKED}", "/networks/asn8048"):
        page = checked(client.get(path)).words
        assert told in page, path
        assert "; the end is told when it is sure" in page
        assert f"{BLOCKED} is blocked on" not in page, path
        assert f"{BLOCKED} was blocked on CANTV, and opens in the newest results" in page, path
    assert "EndedNot told yet: open in" in checked(client.get(f"/events/{EVENT.id}")).words
    assert "It goes on." not in checked(client.get(f"/events/{EVENT.id}")).words


@pytest.mark.parametrize("where", [Network(isp="Vecinos", country="VE"), MOVILNET, CANTV], ids=lambda one: one.isp)
def test_what_opens_on_one_network_is_not_hidden_by_what_is_blocked_on_another(pages, where):
    one = replace(EVENT, network=where)
    other = Network(isp="Otra", country="VE")
    lifted = [at(minutes / 60, BLOCKED, where) for minutes in (9, 6, 3)]
    blocked = [
        at(0.01, BLOCKED, network, Status.BLOCKED) for network in (CANTV, MOVILNET, other) if network.isp != where.isp
    ]
    reports = [at(hours, BLOCKED, where, Status.BLOCKED) for hours in (3, 2, 1)]
    client = pages([*reports, *lifted, *blocked], events=[one])
    assert "opens in the newest results" in checked(client.get("/events")).words


@pytest.mark.parametrize("always", [{"url": f"http://{BLOCKED}/"}, {"vantage": "other"}, {"probe": "other"}])
def test_who_always_got_in_does_not_tell_that_a_block_opens(pages, always):
    """One of its addresses is not blocked, or one line asks another resolver."""
    reports = [at(hours, BLOCKED, CANTV, Status.BLOCKED) for hours in (3, 2, 1)]
    in_between = [at(hours - 0.1, BLOCKED, **always) for hours in (3, 2, 1)]
    client = pages([*reports, *in_between], events=[EVENT])
    for path in ("/", "/events", f"/events/{EVENT.id}", f"/sites/{BLOCKED}"):
        page = checked(client.get(path)).words
        assert f"{BLOCKED} is blocked on CANTV" in page, path
        assert "in the newest" not in page, path


def test_what_opens_on_a_network_that_nobody_knows_is_told_whatever_others_see(pages):
    event = replace(EVENT, network=UNKNOWN)
    reports = [at(hours, BLOCKED, UNKNOWN, Status.BLOCKED) for hours in (3, 2, 1)]
    client = pages([*reports, at(0.2, BLOCKED, UNKNOWN), at(0.1, BLOCKED, CANTV, Status.BLOCKED)], events=[event])
    assert "open in the newest result, of" in checked(client.get(f"/events/{EVENT.id}")).words


def test_what_is_blocked_on_one_network_only_is_not_told_as_blocked_on_both(pages):
    events = [EVENT, replace(EVENT, id="b", site=OPEN), replace(EVENT, id="c", site=OPEN, network=MOVILNET)]
    together = Incident(id="i", revision=1, state="started", started=EVENT.started, ended=None, events=tuple(events))
    client = pages([at(0.1, BLOCKED, CANTV, Status.BLOCKED)], events=events, together=[together])
    for path in ("/events", "/incidents/i"):
        assert "2 sites are blocked, 2 on CANTV and 1 on Movilnet" in checked(client.get(path)).words


def test_a_block_that_goes_on_is_not_told_as_open(client):
    for path in ("/", "/events", f"/events/{EVENT.id}", "/incidents/1234"):
        assert "open in the newest" not in checked(client.get(path)).words
        assert "opens in the newest" not in checked(client.get(path)).words


def test_of_an_incident_that_goes_on_what_is_over_is_told_beside_its_sites_and_networks(pages):
    ended = replace(EVENT, id="b", site=OPEN, network=MOVILNET, ended=NOW, ended_range=(NOW, NOW))
    together = Incident(id="i", revision=1, state="updated", started=EVENT.started, ended=None, events=(EVENT, ended))
    client = pages([at(0.1, BLOCKED, CANTV, Status.BLOCKED)], events=[EVENT, ended], together=[together])
    page = checked(client.get("/incidents/i")).words
    assert f"Sites{BLOCKED}, {OPEN} (over)" in page
    assert "NetworksCANTV, Movilnet (over)" in page


def test_an_incident_of_hundreds_of_events_is_told_in_pages_of_less_than_100_kb(pages):
    events = tuple(replace(EVENT, id=f"{n:016x}", site=f"s{n:03}.example") for n in range(600))
    together = Incident(id="i", revision=1, state="started", started=EVENT.started, ended=None, events=events)
    client = pages([at(0.1, BLOCKED, CANTV, Status.BLOCKED)], events=list(events), together=[together])
    first, last = client.get("/incidents/i"), client.get("/incidents/i?page=12")
    assert len(first.content) < 100_000
    assert "600 sites are blocked on CANTV" in checked(first).words
    assert "and 550 others" in checked(first).words
    assert "?page=2" in checked(first).links()
    assert [f"s{n:03}.example is blocked on CANTV" in checked(last).words for n in (549, 550, 599)] == [
        False,
        True,
        True,
    ]
    assert "?page=13" not in checked(last).links()


def test_an_incident_says_how_sure_on_what_it_rests_and_how_we_know(client):
    page = checked(client.get("/incidents/1234"))
    for said in (
        "How sure99%", f"{2 * EVENT.measurements} measurements by {2 * EVENT.probes} probes on 2 networks",
        "CANTV, Movilnet", "How we know", "compared with",
        "What we do not know", "almenara report 1234",
    ):  # fmt: skip
        assert said in page.words, said
    assert {f"/events/{EVENT.id}#behind", "/events/cccc#behind", "/measurements/real"} <= {*page.links()}


def test_events_turn_their_pages_without_losing_or_repeating_one(pages):
    many = [
        replace(EVENT, id=f"e{n:03}", started=NOW - n * HOUR, started_range=(None, NOW - n * HOUR)) for n in range(100)
    ]
    client = pages([], events=many)
    seen, path = [], "/events"
    while path:
        answer = client.get(path)
        found = [link for link in checked(answer).links() if link.startswith("/events/")]
        seen += found
        later = [one["href"] for one in Page.of(answer).all("a") if one.get("rel") == "next"]
        path = urljoin("/events", str(later[0])) if later else ""
    assert seen == [f"/events/e{n:03}" for n in range(100)]


def test_events_are_chosen_by_kind_site_network_and_whether_they_go_on(client):
    def found(query: str) -> set[str]:
        return {
            link.removeprefix("/events/")
            for link in checked(client.get(f"/events?{query}")).links()
            if link.startswith("/events/")
        }

    assert found("kind=site_outage") == {"bbbb"}
    assert found("site=https://BLOCKED.example/") == {EVENT.id, "cccc"}
    assert found("network=27889") == {"cccc"}
    assert found("active=1&kind=blocking") == {EVENT.id}
    assert found("kind=nonsense&before=nonsense") == {EVENT.id, "bbbb", "cccc"}


# --- a site over time ----------------------------------------------------------------------------------------------


def test_a_time_that_lies_ahead_is_not_told_as_a_gap(client):
    for path in (f"/sites/{BLOCKED}", "/networks/asn8048"):
        now = checked(client.get(f"{path}?range=day"))
        ahead = checked(client.get(f"{path}?range=day&until=2099-01-01T00:00:00%2B00:00"))
        for page in (now, ahead):
            assert "until now" in page.words
            assert "Nothing was measured in this time" not in page.words
            assert not [
                one for one in page.all("time") if str(one["datetime"]) > f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
            ]
            assert not [one for one in page.all("a") if one.get("rel") == "next"]


def test_gaps_in_the_data_are_gaps_in_the_chart_and_in_its_table(client):
    page = checked(client.get(f"/sites/{BLOCKED}?range=week"))
    assert "not measured" in page.words
    assert page.words.count("blocked") > 2
    for length in ("day", "month", "year", "nonsense"):
        checked(client.get(f"/sites/{BLOCKED}?range={length}"))
    before = checked(client.get(f"/sites/{BLOCKED}?range=week&until=2011-01-01T00:00:00%2B00:00"))
    assert "Nothing was measured in this time, so nothing can be said about it." in before.words
    assert not [one for one in before.all("a") if one.get("rel") == "prev"]


# --- a measurement, and strangers -----------------------------------------------------------------------------------


def hostile(text: str) -> Measurement:
    """What a site, a resolver, a helper and whoever stands in between wrote is all that text."""

    def dressed(side: Any) -> Any:
        page = {
            "title": whole, "url": f"https://{BLOCKED}/{text}", "headers": tuple((text[:300], text) for _ in range(60)),
            "body": base64.b64encode(zlib.compress(f"<title>{whole}</title><p>{whole}".encode())).decode(),
            "location": f"javascript:{text}", "status": 200, "failure": None,
        }  # fmt: skip
        certificate = Certificate(
            sha256=text, subject=text, issuer=text, names=(text,) * 30, not_before=None, not_after=NOW, der=""
        )
        return replace(
            side, hops=(text,),
            dns=tuple(replace(one, name=text, resolver=text, answers=(text,) * 20, rcode=text) for one in side.dns) * 30,
            tls=tuple(replace(one, server_name=text, verify=text, version=text, chain=(certificate,) * 4) for one in side.tls) * 10,
            tcp=tuple(replace(one, failure=f"unknown_failure: {text}", duration=1e300, started=-1e300) for one in side.tcp) * 30,
            http=tuple(replace(one, **page) for one in side.http) * 10,
        )  # fmt: skip

    whole, text = text, text[:2000]
    known = real()
    assert known.verdict is not None
    reasons = ({"id": "resolver_lies", "resolver": text, "addresses": [text] * 9, "name": text}, {"id": text})
    control: Control = replace(dressed(known.controls[0]), id=text, country=text, failure=text)
    return replace(
        dressed(known), id="hostile", site=BLOCKED, url=f"https://{BLOCKED}/{text}", vantage=text, probe=text, started=NOW,
        network=Network(asn=64500, isp=text, country=text, source=text), controls=(control,) * 3,
        verdict=replace(known.verdict, rule=text, methods=(text, "javascript:alert(1)"), reasons=reasons),
        conditions=Conditions(
            resolvers=(ResolverCheck(resolver=text, role=Role.ISP, control_names=1, control_names_answered=0, nonexistent=text),)
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [HOSTILE, '"' * 10_000, "\u202e" * 1000, "😈" * 5000, "<b>" * 200_000],
    ids=["markup", "quotes", "bidi", "wide", "long"],
)
def test_whatever_strangers_wrote_is_inert_text_and_bounded(pages, text):
    event = replace(
        EVENT,
        id="hostile",
        site=text[:300],
        methods=(text[:300],),
        network=Network(asn=64500, isp=text[:300], country="VE"),
    )
    client = pages(
        [hostile(text)],
        events=[event],
        together=[Incident(id="h", revision=1, state="x", started=NOW, ended=None, events=(event,))],
    )
    dress = sum(len(client.get(path).content) for path in _dress(client))
    for path in (
        "/",
        f"/sites/{BLOCKED}",
        "/measurements/hostile",
        "/events",
        "/events/hostile",
        "/incidents/h",
        "/networks",
        "/networks/asn64500",
        "/about",
    ):
        answer = client.get(path)
        assert answer.status_code == 200, path
        checked(answer)
        assert len(answer.content) + dress < MOST_BYTES, path
        assert "49" not in Page.of(answer).words.split("7*7")[0][-3:]


def test_a_measurement_shows_both_sides_certificates_and_pages(client):
    page = checked(client.get("/measurements/real"))
    for said in (
        "The vantage: cantv", "The control: https://helper.example/", "The connection was reset. (connection_reset)",
        "CN=elpitazo.example", "El Pitazo", "Noticias de Venezuela", "Content-Type", "The line at that moment",
    ):  # fmt: skip
        assert said in page.words, (said, re.findall(r"\d+ measurements? by[^.]*probes?", page.words))
    assert len([one for one in page.all("svg") if one.get("role") == "img"]) == 2


def test_a_control_that_was_asked_twice_is_one_side_and_counter_checks_are_marked(pages):
    known = real()
    [control] = known.controls
    first, later = (replace(control, started=NOW + timedelta(seconds=seconds)) for seconds in (0, 2))
    check = replace(control.http[0], purpose=Purpose.HTTPS_SIDE, url="https://check.example/", status=200, failure=None)
    other = Certificate(
        sha256="f" * 64, subject="CN=innocent", issuer="CN=x", names=(), not_before=None, not_after=None, der=""
    )
    handshake = replace(known.tls[0], purpose=Purpose.INNOCENT_NAME, chain=(other,))
    client = pages(
        [replace(known, id="twice", controls=(first, later), http=(*known.http, check), tls=(*known.tls, handshake))]
    )
    page = checked(client.get("/measurements/twice"))
    assert page.words.count("The control: https://helper.example/") == 2  # heading and chart
    shown = page.words.partition("Pages that came")[2]
    assert "https://check.example/ counter-check: the encrypted side of the site" in shown
    certificates = page.words.partition("Certificates")[2].partition("Pages that came")[0]
    assert "counter-check: the site's address, asked for a name that nobody blocks" in certificates
    assert certificates.count("counter-check") == 1


def test_numbers_are_written_as_the_language_does(client):
    text = client.get("/measurements/real?lang=es").text
    numbers = re.findall('<td class="number">([^<]*)</td>', text)
    assert "0,1" in numbers
    assert not [number for number in numbers if "." in number]
    for shown in (text, client.get(f"/sites/{BLOCKED}?lang=es").text):
        assert not re.search("<(td|dd)>certeza", shown), "below a heading that says so already"


def test_what_to_cite_can_be_opened_by_others(tmp_path):
    url = filled(tmp_path, [at(0.1, OPEN)])
    with served(url) as private, served(url, Watched(public=PUBLIC)) as public:
        assert "permanent link" not in checked(private.get("/about")).words
        assert "almenara report" in checked(private.get("/about")).words
        words = checked(public.get("/about", headers={"host": "almenara.example"})).words
    assert f"{PUBLIC} Cite an event, an incident or a measurement by its permanent link" in words


def test_the_page_of_the_data_shows_what_is_to_be_typed_as_such(client):
    page = checked(client.get("/api/"))
    assert "`" not in page.words
    assert "Everything on these pages can be had as JSON and CSV" not in page.words
    assert "by asn" not in page.words
    assert "asn, country, day, hour, method" in page.words


# --- the reader ----------------------------------------------------------------------------------------------------


def test_a_language_is_chosen_by_the_browser_or_by_the_reader_and_then_remembered(client):
    spanish = {"Accept-Language": "es-VE,es;q=0.9"}
    assert Page.of(client.get("/", headers=spanish)).all("html")[0]["lang"] == "es"
    assert Page.of(client.get("/", headers={"Accept-Language": "xx"})).all("html")[0]["lang"] == "en"
    answer = client.get("/events?kind=blocking&lang=es")
    cookie = answer.headers["set-cookie"]
    assert "lang=es" in cookie
    assert "SameSite=strict" in cookie
    assert Page.of(client.get("/about")).all("html")[0]["lang"] == "es"
    client.cookies.clear()
    back = [one["href"] for one in Page.of(answer).all("a") if one.get("hreflang") == "en"]
    assert back == ["?kind=blocking&lang=en"]
    assert "set-cookie" not in client.get("/?lang=../../etc/passwd").headers


def test_whoever_has_the_page_already_gets_nothing_but_that(client):
    first = client.get("/methods")
    again = client.get("/methods", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert "Cookie" in first.headers["vary"]


def test_the_dress_is_kept_by_browsers_until_it_changes(client):
    for path in _dress(client):
        answer = client.get(path)
        assert "max-age=31536000" in answer.headers["cache-control"]
        assert "max-age=0" in client.get(path.partition("?")[0]).headers["cache-control"]


def test_the_script_is_small_and_the_stylesheet_loads_nothing(client):
    style, script = (client.get(path) for path in _dress(client))
    assert len(script.content) < 10_000
    assert not re.findall(r"@import|url\(", style.text)
    assert not re.findall(r"https?://|innerHTML\s*=(?!=)|eval|document\.write", script.text)


@pytest.mark.parametrize(
    "path",
    ["/", "/events", "/networks", "/networks/asn8048", f"/sites/{OPEN}", f"/sites/{OPEN}?range=year", "/methods", "/about",
     "/api/", "/events/aaaa000011112222", "/incidents/1234", "/measurements/day"],
)  # fmt: skip
def test_no_page_tells_the_minute_in_which_it_was_made_so_that_caches_are_of_use(pages, path):
    """What a page says changes with what is known; only the step that a chart ends with may be ahead of that."""
    known = NOW - 25.5 * HOUR
    together = Incident(
        id="1234", revision=1, state="x", started=known, ended=None, events=(replace(EVENT, started=known),)
    )
    client = pages([at(25.5, OPEN, number="day")], events=[replace(EVENT, site=OPEN, started=known, detected=known)],
                   together=[together])  # fmt: skip
    answer = client.get(path)
    assert answer.status_code == 200
    assert client.get(path, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    told = {datetime.fromisoformat(str(one["datetime"])) for one in checked(answer).all("time")}
    assert not [one for one in told if abs(one - datetime.now(UTC)) < HOUR and one.minute]
    now = datetime.now(UTC)
    assert now.minute == 0 or f"{now:%H:%M}" not in checked(answer).words  # charts name full hours


# --- live ----------------------------------------------------------------------------------------------------------


def test_an_open_page_is_told_when_something_new_was_measured(pages, tmp_path):
    client = pages([at(0.1, OPEN)])
    told: list[str] = []
    with client.stream("GET", "/live") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        for line in answer.iter_lines():
            if line.startswith("event: "):
                told.append(line)
            if line == "event: state":
                with Store.open(f"sqlite:{tmp_path / 'pages.db'}") as store:
                    store.append([at(0, OPEN, CANTV, Status.BLOCKED, number="new")])
            if line == "event: news":
                break
    assert told == ["event: state", "event: news"]


def listening(client: httpx.Client, readers: Sequence[int]) -> list[socket.socket]:
    """A connection for each reader behind the proxy, all asked for at once."""
    where = client.base_url
    asked = [socket.create_connection((where.host, where.port), timeout=10) for _ in readers]
    for number, connection in zip(readers, asked, strict=True):
        head = f"GET /live HTTP/1.1\r\nHost: almenara.example\r\nX-Forwarded-For: 192.0.2.{number}\r\n\r\n"
        connection.sendall(head.encode())
    return asked


def accepted(asked: list[socket.socket]) -> int:
    """How many of them listen now; the others are told when to come again."""
    answers = [connection.recv(100)[9:12] for connection in asked]
    assert set(answers) <= {b"200", b"503"}
    return answers.count(b"200")


def test_listeners_are_bounded_in_all_and_of_each_reader_also_when_they_come_at_once(tmp_path):
    store = filled(tmp_path, [at(0.1, OPEN)])
    with served(store, Watched(public=PUBLIC)) as client, ExitStack() as open_ones:
        of_one = [open_ones.enter_context(one) for one in listening(client, [1] * 60)]
        assert accepted(of_one) == 4
        elsewhere = {"host": "almenara.example", "x-forwarded-for": "192.0.2.200"}
        assert client.get("/about", headers=elsewhere, timeout=5).status_code == 200
        of_many = [open_ones.enter_context(one) for one in listening(client, range(2, 42))]
        assert accepted(of_many) == 20
        assert client.get("/about", headers=elsewhere, timeout=5).status_code == 200


def test_who_stops_listening_makes_room(tmp_path):
    with served(filled(tmp_path, [at(0.1, OPEN)]), Watched(public=PUBLIC)) as client:
        for connection in (asked := listening(client, [1] * 4)):
            assert connection.recv(100)[9:12] == b"200"
        for connection in asked:
            connection.close()
        deadline = time.monotonic() + 20
        found = 0
        while not found:
            assert time.monotonic() < deadline
            [again] = listening(client, [1])
            with again:
                found = accepted([again])


def test_listeners_do_not_keep_the_service_from_stopping(tmp_path):
    """Their answer is ended, not cut off after a while."""
    with ExitStack() as service, ThreadPoolExecutor(1) as reading:
        address = str(service.enter_context(served(filled(tmp_path, [at(0.1, OPEN)]))).base_url)
        with httpx.Client(base_url=address, trust_env=False) as client, client.stream("GET", "/live") as answer:
            lines = answer.iter_lines()
            assert next(lines).startswith("retry")
            left = reading.submit(list, lines)
            service.close()
            left.result(30)  # raises where the answer is not complete
