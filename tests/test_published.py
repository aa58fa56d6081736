"""Where everyone may read: what an evidence bundle takes out, the page, the data and the feeds do not tell either."""

import asyncio
import base64
import inspect
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import evidence_cases as cases
import httpx
import pytest
from web_cases import PUBLIC, Watched, served

from monitor.models import Network
from monitor.web.app import reading
from monitor.web.archive import Archive
from monitor.web.published import Published
from monitor.web.scope import Place, Scope

STRANGER = {"host": "almenara.example", "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}
EVENT, HOTEL = cases.the_event(), "m0005"
SCOPE = Scope(places=(Place(name=cases.VANTAGE, network=cases.CANTV, present=False),))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:{tmp_path_factory.mktemp('published') / 'almenara.db'}"
    cases.fill(url)
    return url


@pytest.fixture(scope="module")
def service(url: str) -> Iterator[httpx.Client]:
    with served(url, Watched(SCOPE, public=PUBLIC)) as client:
        yield client


def secrets_in(text: str) -> list[str]:
    return [secret for secret in (*cases.SECRETS, "05:07", '"rule":"captive_portal"') if secret in text]


PATHS = (
    "/", "/networks", "/networks/asn8048", "/events", "/about", "/feed.atom", f"/sites/{cases.SITE_NAME}",
    f"/sites/{cases.SITE_NAME}?until=2018-01-16T00:00:00Z", f"/sites/{cases.SITE_NAME}/badge.svg",
    f"/sites/{cases.SITE_NAME}/feed.atom", f"/events/{EVENT.id}", f"/incidents/{cases.the_incident().id}",
    "/measurements/m0000", "/measurements/m0002", "/measurements/m0020", f"/measurements/{HOTEL}",
    "/api/v1/sites", "/api/v1/networks", "/api/v1/measurements", "/api/v1/measurements?format=csv",
    "/api/v1/measurements/m0000", "/api/v1/measurements/m0002", "/api/v1/measurements/m0020",
    f"/api/v1/measurements/{HOTEL}", "/api/v1/events", "/api/v1/events?format=csv", f"/api/v1/events/{EVENT.id}",
    "/api/v1/incidents", f"/api/v1/incidents/{cases.the_incident().id}", "/api/v1/aggregates?by=hour,status",
)  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_nothing_tells_strangers_who_measured(service: httpx.Client, path: str) -> None:
    answer = service.get(path, headers=STRANGER)
    assert answer.status_code == (404 if path.endswith(HOTEL) else 200)
    assert secrets_in(answer.text) == []


@pytest.mark.parametrize("own", [False, True], ids=["private", "public, by a name of its own"])
def test_the_volunteer_sees_it_all_on_this_machine(url: str, own: bool) -> None:
    web = {"public": PUBLIC, "hosts": ("desk.localhost",)} if own else {}
    with served(url, Watched(SCOPE, **web)) as service:
        service.headers["host"] = f"desk.localhost:{service.base_url.port}" if own else service.base_url.netloc.decode()
        whole = service.get("/api/v1/measurements/m0000").text
        assert {cases.VANTAGE, cases.HOME_RESOLVER, cases.DOH_ACCOUNT, cases.SECONDS} <= set(secrets_in(whole))
        assert cases.HOTEL in service.get(f"/measurements/{HOTEL}").text
        listed = service.get("/api/v1/measurements", params={"vantage": cases.VANTAGE}).json()["measurements"]
        assert {one["probe"] for one in listed} == set(cases.PROBES)
        assert cases.VANTAGE in service.get("/networks/asn8048").text


PASSED_ON = ({"x-forwarded-for": "192.0.2.1"}, {"forwarded": "for=192.0.2.1"}, {"via": "1.1 x"}, {"x-real-ip": "192.0.2.1"},
             {"x-forwarded-proto": "https"}, {"cf-connecting-ip": "192.0.2.1"})  # fmt: skip


@pytest.mark.parametrize("public", [None, PUBLIC])
def test_what_a_proxy_passes_on_is_a_strangers_also_where_nothing_is_public(url: str, public: str | None) -> None:
    with served(url, Watched(SCOPE, public=public, hosts=("desk.localhost",))) as service:
        for headers in PASSED_ON:
            for host in (service.base_url.netloc.decode(), "desk.localhost"):
                answer = service.get("/api/v1/measurements/m0000", headers=headers | {"host": host})
                assert answer.status_code == 200
                assert secrets_in(answer.text) == []


@pytest.mark.parametrize("public", [None, PUBLIC])
def test_a_proxy_that_asks_as_an_old_one_does_opens_nothing(url: str, public: str | None) -> None:
    """nginx, unless told otherwise: the name of its own upstream, HTTP/1.0, and no word of itself."""
    with served(url, Watched(SCOPE, public=public)) as service:
        where = service.base_url
        for path, least in (("/api/v1/measurements/m0000", b"vantage-1"), ("/networks/asn8048", b"CANTV")):
            with socket.create_connection((where.host, where.port), timeout=10) as asked:
                asked.sendall(
                    f"GET {path} HTTP/1.0\r\nHost: {where.netloc.decode()}\r\nConnection: close\r\n\r\n".encode()
                )
                answer = b"".join(iter(lambda asked=asked: asked.recv(65536), b""))
            assert least in answer
            assert secrets_in(answer.decode()) == []


def test_where_it_is_public_a_proxy_without_a_word_of_itself_opens_nothing(service: httpx.Client) -> None:
    """Nothing in such a request tells it from this machine's user."""
    for path in PATHS:
        assert secrets_in(service.get(path).text) == []


def test_where_it_is_public_only_the_token_reloads(url: str) -> None:
    watched = Watched(SCOPE, public=PUBLIC, token="0123456789abcdef0123456789abcdef")
    with served(url, watched) as service:
        assert service.post("/-/reload").status_code == 403
        assert service.post("/-/reload", headers=STRANGER).status_code == 403
        assert service.post("/-/reload", headers={"authorization": f"Bearer {watched.web.token}"}).status_code == 200
    assert watched.reloaded == 1


def test_who_measured_is_no_filter_and_no_field(service: httpx.Client) -> None:
    refused = service.get("/api/v1/measurements", params={"vantage": cases.VANTAGE}, headers=STRANGER)
    assert (refused.status_code, refused.json()["parameter"]) == (400, "vantage")
    listed = service.get("/api/v1/measurements", headers=STRANGER).json()["measurements"]
    assert not [one for one in listed if {"vantage", "probe"} & one.keys()]


def test_the_schema_tells_strangers_of_no_more_than_they_may_ask_and_get(url: str, service: httpx.Client) -> None:
    def told(client: httpx.Client, headers: dict[str, str]) -> tuple[set[str], set[str], bool]:
        schema = client.get("/api/schema", headers=headers).json()
        asked = {one["name"] for one in schema["paths"]["/api/v1/measurements"]["get"]["parameters"]}
        page = client.get("/api/", headers=headers).text
        return (
            asked,
            set(schema["components"]["schemas"]["MeasurementHead"]["properties"]),
            "<code>vantage</code>" in page,
        )

    with served(url) as private:
        asked, got, shown = told(private, {})
    assert shown
    assert told(service, STRANGER) == (asked - {"vantage"}, got - {"vantage", "probe"}, False)


def test_two_measurements_are_not_joined_by_any_name(service: httpx.Client) -> None:
    """Two probes measured these: each is called the same, and so is told apart from nobody."""
    found = [service.get(f"/api/v1/measurements/m{n:04}", headers=STRANGER).json() for n in (0, 1)]
    assert [(one["vantage"], one["probe"]) for one in found] == [("vantage-1", "probe-1")] * 2


def test_of_a_hotel_a_list_tells_only_that_there_was_something(service: httpx.Client) -> None:
    listed = service.get("/api/v1/measurements?status=inconclusive", headers=STRANGER).json()["measurements"]
    [hotel] = [one for one in listed if one["id"] == HOTEL]
    assert hotel["verdict"]["rule"] == "withheld"
    assert hotel["network"] == {"asn": None, "isp": None, "country": None, "source": Network().source}


def test_no_question_finds_out_the_second(service: httpx.Client) -> None:
    """What is asked for by a moment is found by the minute it is told with."""
    began = cases.BEGAN.replace(second=0, microsecond=0)
    for second in range(0, 60, 3):
        since = (began - timedelta(minutes=1) + timedelta(seconds=second + 1)).isoformat()
        asked = {"order": "oldest", "limit": "1", "since": since, "status": "blocked"}
        [first] = service.get("/api/v1/measurements", params=asked, headers=STRANGER).json()["measurements"]
        assert first["id"] == "m0000"
        until = (began + timedelta(seconds=second)).isoformat()
        asked = {"until": until, "status": "blocked"}
        found = service.get("/api/v1/measurements", params=asked, headers=STRANGER).json()["measurements"]
        assert [one["id"] for one in found] == (["m0000"] if second else [])


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_pages_of_a_list_go_on_without_telling_the_second(service: httpx.Client, order: str) -> None:
    everything = service.get(f"/api/v1/measurements?order={order}", headers=STRANGER).json()["measurements"]
    asked, found = {"order": order, "limit": "3"}, []
    while True:
        answer = service.get("/api/v1/measurements", params=asked, headers=STRANGER).json()
        found += answer["measurements"]
        if answer["next"] is None:
            break
        asked["cursor"] = answer["next"]
        raw = base64.urlsafe_b64decode(answer["next"] + "=" * (-len(answer["next"]) % 4))
        assert int.from_bytes(raw[8:16]) % 60_000_000 == 0
    assert found == everything
    assert len(found) == len(cases.history())


def test_every_way_to_read_is_redacted_on_purpose() -> None:
    ways = {name for name, _ in inspect.getmembers(Archive, inspect.iscoroutinefunction) if not name.startswith("_")}
    assert ways - {"aclose"} <= vars(Published).keys()


def test_only_what_is_public_may_be_kept_by_caches_on_the_way(url: str, service: httpx.Client, tmp_path: Path) -> None:
    paths = ("/api/v1/sites", "/api/schema", "/feed.atom", f"/sites/{cases.SITE_NAME}/badge.svg")
    with served(url) as private:
        for path in paths:
            assert private.get(path).headers["cache-control"].startswith("private, max-age=")
            assert service.get(path).headers["cache-control"].startswith("private, max-age=")
            assert service.get(path, headers=STRANGER).headers["cache-control"].startswith("public, max-age=")


def test_a_path_that_is_almost_one_sends_nobody_to_the_requests_host(service: httpx.Client) -> None:
    for path in ("/networks/", "/events/", "/healthz/"):
        for headers in ({}, STRANGER):
            answer = service.get(path, headers=headers)
            assert (answer.status_code, answer.headers.get("location")) == (404, None)
    assert service.get("/sites/a/", headers=STRANGER).headers["location"] == "/sites/a"


def test_an_id_with_a_line_break_is_answered_as_any_other(service: httpx.Client) -> None:
    for headers in ({}, STRANGER):
        answer = service.get("/api/v1/events/%0Ax", headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00%2B23:59", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00Z"])
def test_moments_at_the_ends_of_the_calendar_are_no_mistake_of_ours(service: httpx.Client, moment: str) -> None:
    for headers in ({}, STRANGER):
        for path in (f"/sites/{cases.SITE_NAME}?range=year&until=", "/networks/asn8048?until=", "/events?id=x&before="):
            assert service.get(path + moment, headers=headers).status_code == 200
        for path in ("measurements?since=", "events?until=", "aggregates?by=day&since="):
            assert service.get(f"/api/v1/{path}{moment}", headers=headers).status_code == 400


@pytest.mark.parametrize("headers", [STRANGER, {"X-Forwarded-For": "8.8.8.8"}, {"Via": "1.1 cache"}])
def test_what_a_proxy_passes_on_tells_nobody_how_the_service_does(url: str, headers: dict[str, str]) -> None:
    with served(url, Watched(SCOPE)) as service:
        for path in ("/healthz", "/metrics"):
            assert service.get(path, headers=headers).status_code == 403


def test_every_page_of_what_is_made_up_says_so_and_there_is_no_evidence_of_it(url: str) -> None:
    """Nobody shall take the demo's blocks, which bear the names of real sites, for real ones."""

    async def asked() -> None:
        archive = Archive(url)
        transport = httpx.ASGITransport(app=reading(Watched(SCOPE), archive, made_up=True))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            for path in ("/", "/events", "/about", f"/events/{EVENT.id}", f"/incidents/{cases.the_incident().id}"):
                page = (await client.get(path)).text
                assert "are made up" in page, path
                assert "evidence.zip" not in page, path
            assert (await client.get(f"/events/{EVENT.id}/evidence.zip")).status_code == 404
        await archive.aclose()

    asyncio.run(asked())
