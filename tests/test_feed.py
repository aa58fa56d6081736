"""Feeds and pictures: what changes moves, what is named keeps its name, and nothing a stranger wrote runs."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import httpx
import msgspec
import pytest
from store_cases import CANTV, NETWORKS, SITES, event, small, verdict
from web_cases import PUBLIC, Watched, served

from monitor.models import Event, Kind, Network, Status
from monitor.sites import site_name
from monitor.store import Store

ATOM = "{http://www.w3.org/2005/Atom}"
LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
SVG = "{http://www.w3.org/2000/svg}"
HOUR = timedelta(hours=1)
NOW = datetime.now(UTC).replace(microsecond=0)
HOSTILE = '"><script>alert(1)</script>&amp;\x00\x1b[31m\u202e\ufffe'
PUBLIC_HOST = {"host": "almenara.example"}


def began(id: str, hours_ago: float, **more: Any) -> Event:
    at = NOW - hours_ago * HOUR
    return event(id, started=at, started_range=(at - HOUR, at), detected=at + HOUR / 2, **more)


def over(one: Event, hours_ago: float) -> Event:
    at = NOW - hours_ago * HOUR
    return msgspec.structs.replace(one, ended=at, ended_range=(at - HOUR / 2, at), revision=one.revision + 1)


KEPT = [
    began("a" * 16, 50),
    over(began("b" * 16, 40, site=SITES[1]), 2),
    began("c" * 16, 10, site=SITES[1], network=NETWORKS[1]),
    began("d" * 16, 5, site=None, kind=Kind.SILENCE, methods=()),
    began("../e?f#\u202e", 4, site=HOSTILE, network=Network(asn=64500, isp=HOSTILE, country="VE"), methods=(HOSTILE,)),
]
NEWEST_FIRST = [KEPT[index].id for index in (1, 4, 3, 2, 0)]  # by when they changed


@pytest.fixture
def store(tmp_path: Path) -> Iterator[tuple[Store, str]]:
    url = f"sqlite:{tmp_path / 'feed.db'}"
    with Store.open(url) as store:
        store.append([small(1, started=NOW - 60 * HOUR), small(2, site="calm.example", started=NOW - HOUR)])
        for id in reversed(NEWEST_FIRST):
            store.save_events([one for one in KEPT if one.id == id])
        yield store, url


@pytest.fixture
def client(store: tuple[Store, str]) -> Iterator[httpx.Client]:
    with served(store[1], Watched(public=PUBLIC)) as client:
        yield client


def entries(client: httpx.Client, path: str = "/feed.atom", **headers: str) -> list[ElementTree.Element]:
    answer = client.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/atom+xml"
    return ElementTree.fromstring(answer.content).findall(f"{ATOM}entry")


def field(element: ElementTree.Element, name: str) -> str:
    return element.findtext(f"{ATOM}{name}") or ""


def test_each_event_is_one_entry_and_what_changed_last_comes_first(client: httpx.Client) -> None:
    found = entries(client)
    ids = [field(entry, "id") for entry in found]
    assert len(ids) == len(set(ids)) == len(KEPT)
    assert ids == [f"tag:almenara.example,2026:/events/{quote(id, safe='')}" for id in NEWEST_FIRST]
    updated = [datetime.fromisoformat(field(entry, "updated")) for entry in found]
    assert updated == sorted(updated, reverse=True)


def test_an_entry_has_all_that_readers_need(client: httpx.Client) -> None:
    feed = ElementTree.fromstring(client.get("/feed.atom").content)
    for element in (feed, *feed.findall(f"{ATOM}entry")):
        assert all(field(element, name) for name in ("id", "title", "updated")), "RFC 4287, 4.1"
    assert feed.find(f"{ATOM}author/{ATOM}name") is not None
    links = {link.get("rel"): link.get("href") for link in feed.findall(f"{ATOM}link")}
    assert links["self"] == f"{PUBLIC}feed.atom"
    assert links["alternate"] == PUBLIC
    entry = entries(client)[-1]
    assert "www.lapatilla.com is blocked on CANTV" in field(entry, "title")
    assert "name server" in field(entry, "summary")


def test_when_the_newest_results_find_it_open_its_entry_moves_up(
    client: httpx.Client, store: tuple[Store, str]
) -> None:
    """Readers show an entry anew only where `updated` has moved."""
    last = entries(client)[-1]
    assert "is blocked" in field(last, "title")
    site = KEPT[0].site
    lifts = datetime.now(UTC) + timedelta(minutes=1)
    store[0].append([small(12, site=site, started=lifts, network=KEPT[0].network)])
    with served(store[1], Watched(public=PUBLIC)) as later:
        first = entries(later)[0]
        feed = ElementTree.fromstring(later.get("/feed.atom").content)
    assert field(first, "id") == field(last, "id")
    assert "opens in the newest results" in field(first, "title")
    assert field(first, "updated") == field(feed, "updated") > field(last, "updated")


def test_when_an_event_ends_its_entry_moves_up_under_its_old_name(
    client: httpx.Client, store: tuple[Store, str]
) -> None:
    before = entries(client)[-1]
    store[0].save_events([over(KEPT[0], 0)])
    after = entries(client)[0]
    assert field(after, "id") == field(before, "id")
    assert field(after, "updated") > field(before, "updated")
    assert field(after, "published") == field(before, "published")
    assert "was blocked" in field(after, "title")


def test_a_block_that_lifted_is_told_as_open_before_its_end_is(client: httpx.Client, store: tuple[Store, str]) -> None:
    """And a reader that goes by the time of the last change is not told that it has all of it."""
    entry = entries(client)[-1]
    changed = format_datetime(NOW + HOUR, usegmt=True)
    store[0].append(
        [small(10 + n, started=NOW + n * timedelta(seconds=1), verdict=verdict(Status.OK)) for n in range(3)]
    )
    until, after = time.monotonic() + 30, entry
    while field(after, "title") == field(entry, "title") and time.monotonic() < until:  # what is new shows in a moment
        time.sleep(0.05)
        after = entries(client, **{"If-Modified-Since": changed})[-1]
    assert field(after, "id") == field(entry, "id")
    assert "was blocked on CANTV, and opens in the newest results" in field(after, "title")
    assert "open in the newest 3 results in a row, since" in field(after, "summary")


def test_a_feed_of_a_site_or_a_network_has_only_its_events(client: httpx.Client) -> None:
    def of(path: str) -> list[str]:
        return [field(entry, "id")[-16:] for entry in entries(client, path)]

    assert of(f"/sites/{SITES[1]}/feed.atom") == ["b" * 16, "c" * 16]
    assert of("/networks/asn27889/feed.atom") == ["c" * 16]
    assert of("/sites/calm.example/feed.atom") == []
    for unknown in (
        "/sites/never.example/feed.atom",
        "/networks/asn1/feed.atom",
        "/networks/asnX/feed.atom",
        "/x/feed.atom",
    ):
        assert client.get(unknown).status_code == 404


def test_what_strangers_wrote_is_text_and_the_feed_stays_well_formed(client: httpx.Client) -> None:
    answer = client.get("/feed.atom")
    [entry] = [entry for entry in entries(client) if "script" in field(entry, "title")]
    assert b"<script" not in answer.content
    assert not re.search("[\x00-\x08\x1b\u202e\ufffe]", answer.text)
    link = entry.find(f"{ATOM}link")
    assert link is not None
    assert link.get("href") == f"{PUBLIC}events/..%2Fe%3Ff%23%E2%80%AE"


def test_a_feed_speaks_the_readers_language_under_the_same_names(client: httpx.Client) -> None:
    english, spanish = entries(client, **{"accept-language": "en"}), entries(client, **{"accept-language": "es"})
    assert [field(one, "id") for one in english] == [field(one, "id") for one in spanish]
    assert (
        ElementTree.fromstring(client.get("/feed.atom?lang=es").content).get(
            "{http://www.w3.org/XML/1998/namespace}lang"
        )
        == "es"
    )
    assert field(english[-1], "summary") != field(spanish[-1], "summary")


def test_without_a_public_address_links_are_of_the_place_they_are_read_at(store: tuple[Store, str]) -> None:
    with served(store[1]) as client:
        link = entries(client)[0].find(f"{ATOM}link")
        assert link is not None
        assert link.get("href") == "/events/" + "b" * 16


def test_who_has_the_feed_or_picture_already_gets_only_that(client: httpx.Client) -> None:
    for path in ("/feed.atom", f"/sites/{SITES[0]}/badge.svg", f"/sites/{SITES[0]}/chart.svg"):
        first = client.get(path)
        assert client.get(path, headers={"if-none-match": first.headers["etag"]}).status_code == 304
        assert client.head(path).headers["etag"] == first.headers["etag"]
        assert "max-age" in first.headers["cache-control"]


# --- pictures ----------------------------------------------------------------------------------------------------------


def picture(client: httpx.Client, path: str, **headers: str) -> ElementTree.Element:
    answer = client.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/svg+xml"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "sandbox" in answer.headers["content-security-policy"]
    svg = ElementTree.fromstring(answer.content)
    assert not [
        one for one in svg.iter() if one.tag in (f"{SVG}script", f"{SVG}foreignObject", f"{SVG}image", f"{SVG}a")
    ]
    assert not [name for one in svg.iter() for name in one.attrib if name.startswith("on") or "href" in name]
    return svg


def words(svg: ElementTree.Element) -> str:
    return " | ".join(one.text or "" for one in svg.iter(f"{SVG}text"))


def test_a_badge_says_how_the_site_is_on_how_many_networks_and_as_of_when(
    client: httpx.Client, store: tuple[Store, str]
) -> None:
    path = f"/sites/{SITES[0]}/badge.svg"
    blocked = verdict(Status.BLOCKED, ("dns.nxdomain",))
    elsewhere = small(10, started=NOW - HOUR / 2, vantage="b", network=NETWORKS[1], verdict=blocked)
    store[0].append([small(9, started=NOW - HOUR), elsewhere])
    suspicion = words(picture(client, path))
    assert re.fullmatch(rf"{SITES[0]} \| inconclusive on 1 of 2 networks \| .*UTC", suspicion), suspicion
    store[0].save_events([began("f" * 16, 0.5, network=NETWORKS[1])])
    with served(store[1], Watched(public=PUBLIC)) as later:
        shown = words(picture(later, path))
    assert re.fullmatch(rf"{SITES[0]} \| blocked on 1 of 2 networks \| .*UTC", shown), shown
    assert "blocked" not in words(picture(client, path, **{"accept-language": "es"}))


def test_a_badge_does_not_say_that_a_site_opens_when_nobody_looked_lately(store: tuple[Store, str]) -> None:
    store[0].append([small(10, site="old.example", started=NOW - timedelta(days=3))])
    with served(store[1]) as client:
        assert words(picture(client, "/sites/old.example/badge.svg")) == "old.example | no recent data"
        assert client.get("/sites/never.example/badge.svg").status_code == 404
        assert client.get("/sites/never.example/chart.svg").status_code == 404


def test_a_badge_is_not_green_while_a_block_goes_on_of_which_nothing_recent_is_known(store: tuple[Store, str]) -> None:
    """Finding a block takes longer than finding none, so that its results are fewer."""
    site = "slow.example"
    store[0].append([
        small(11, site=site, started=NOW - timedelta(days=3), verdict=verdict(Status.BLOCKED, ("dns.nxdomain",))),
        small(12, site=site, started=NOW - HOUR, vantage="b", network=NETWORKS[1]),
    ])  # fmt: skip
    with served(store[1]) as client:
        assert "ok on 1 of 1 network" in words(picture(client, f"/sites/{site}/badge.svg"))
    store[0].save_events([began("e" * 16, 72, site=site)])
    with served(store[1]) as client:
        assert "no recent data on 1 of 2 networks" in words(picture(client, f"/sites/{site}/badge.svg"))


def test_a_chart_has_a_band_for_each_network_and_says_how_old_it_is(
    client: httpx.Client, store: tuple[Store, str]
) -> None:
    store[0].append([small(n, started=NOW - n * HOUR, vantage="b", network=NETWORKS[n % 2]) for n in range(10, 30)])
    for range_ in ("day", "week", "month", "year"):
        shown = words(picture(client, f"/sites/{SITES[0]}/chart.svg?range={range_}"))
        assert "CANTV" in shown
        assert "last measured" in shown
    assert "Movilnet" in shown


def test_a_chart_without_data_says_so(store: tuple[Store, str]) -> None:
    store[0].append([small(10, site="old.example", started=NOW - timedelta(days=300))])
    with served(store[1]) as client:
        assert "no data in this time" in words(picture(client, "/sites/old.example/chart.svg?range=week"))


def test_a_strangers_names_do_not_run_in_a_picture(store: tuple[Store, str]) -> None:
    hostile = Network(asn=64500, isp=HOSTILE, country="VE")
    store[0].append([small(10, site="<svg onload=x>", started=NOW - HOUR, network=hostile),
                     small(11, site=SITES[0], started=NOW - HOUR, vantage=HOSTILE, network=hostile)])  # fmt: skip
    with served(store[1]) as client:
        for path in ("/sites/%3Csvg%20onload=x%3E/badge.svg", f"/sites/{SITES[0]}/chart.svg"):
            for range_ in ("day", "year", "%00", "'><script>"):
                picture(client, f"{path}?range={range_}&lang=%3Cx%3E")
    assert hostile != CANTV


# --- by which name -----------------------------------------------------------------------------------------------------

IDN = site_name("https://www.periódico.example/")
WRITTEN = [
    "www.PERIÓDICO.example", "WWW.periódico.example.", IDN.upper(), f"{IDN}.", f"https://{IDN}/portada?x=1#y", f"{IDN}:443",
    "https://www.Periódico.example:443/", f"http://{IDN}",
]  # fmt: skip


@pytest.mark.parametrize("written", WRITTEN)
def test_a_site_is_the_same_however_its_name_is_written(store: tuple[Store, str], written: str) -> None:
    store[0].append([small(9, site=IDN, url=f"https://{IDN}/", started=NOW - HOUR)])
    store[0].save_events([began("f" * 16, 3, site=IDN)], [])
    asked = quote(written, safe="")
    with served(store[1], Watched(public=PUBLIC)) as client:
        client.headers["accept-language"] = "en"
        for path in ("feed.atom", "badge.svg", "chart.svg?range=day"):
            plain, other = (client.get(f"/sites/{name}/{path}", headers=PUBLIC_HOST) for name in (IDN, asked))
            assert (other.status_code, other.text) == (200, plain.text)
        data = () if "://" in written else ("/api/v1/measurements", "/api/v1/events")  # whose schema knows hosts alone
        for path in ("/feed.atom", *data):
            plain, other = (client.get(path, params={"site": name}) for name in (IDN, written))
            assert (other.status_code, other.text) == (200, plain.text)
            assert "f" * 16 in plain.text or "measurements" in path
            assert "a" * 16 not in plain.text
        page = client.get(f"/sites/{asked}?range=day", follow_redirects=False)
        assert (page.status_code, page.headers["location"]) == (308, f"/sites/{IDN}?range=day")


@pytest.mark.parametrize("written", ["calm.example/x", "/calm.example", "calm.example//", "https://", "x@y z", "%00"])
def test_what_names_no_site_is_not_found(client: httpx.Client, written: str) -> None:
    for path in ("feed.atom", "badge.svg", "chart.svg", ""):
        asked = f"/sites/{quote(written, safe='')}/{path}".removesuffix("/")
        assert client.get(asked, headers=PUBLIC_HOST, follow_redirects=False).status_code == 404
    assert client.get("/feed.atom", params={"site": written}).status_code == 404
