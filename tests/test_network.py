"""Who carries a vantage's packets: looked up, looked up again, and never the last network's word for the next one's."""

import asyncio
import gzip
import logging
import os
import struct
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from ipaddress import ip_network
from pathlib import Path

import httpx
import labs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from monitor import check as check_command
from monitor.config import parse
from monitor.lab.box import Lab
from monitor.lab.draw import draw
from monitor.lab.lines import ISPS, Outline
from monitor.lab.policy import Policy
from monitor.lab.scenario import Page
from monitor.lab.table import prober_on
from monitor.models import Dns, Measurement, Network, Role, Status
from monitor.network import BURST, UNKNOWN, Identity
from monitor.network_database import DatabaseUnusable, NetworkDatabase, check, read_record
from monitor.network_path import NetworkPath, path_of
from monitor.origin import Carrier, prefix_of, read_name, read_origin
from monitor.run import measure_all
from monitor.steps.tls import client_context
from monitor.vantage import Vantage, proxy, resolver
from monitor.whoami import TRACES, Sighting, WhoAmI, read_trace, texts

CANTV = Network(asn=8048, isp="CANTV", country="VE", source="observed")
CAFE = Network(asn=264731, isp="Digitel", country="VE", source="observed")
DECLARED = Network(asn=8048, isp="CANTV", country="VE")
HOME = NetworkPath(addresses=("192.168.1.5/32",), gateways=("wlan0 0101A8C0",), hardware=("02:00:00:00:00:01",))
ADDRESSES = {"200.44.32.12": CANTV, "190.120.1.1": CAFE}


class World:
    """A vantage's surroundings, changed as the test goes: where it is, what it finds out, and how it may be noticed."""

    def __init__(self, declared: Network = DECLARED) -> None:
        self.address: str | None = "200.44.32.12"
        self.path = HOME
        self.origin_works = True
        self.secure = True
        self.asked = 0
        self.looked_up: list[str] = []
        self.resolvers = (resolver("192.168.1.1"),)
        self.vantage = Vantage("here", declared, self.resolvers, reread=lambda: self.resolvers)
        self.identity = Identity(self.vantage, self._ask, self._origin, path=lambda _: self.path)

    async def _ask(self) -> Sighting | None:
        self.asked += 1
        await asyncio.sleep(0)
        return Sighting(address=self.address, secure=self.secure) if self.address else None

    async def _origin(self, address: str) -> Carrier | None:
        self.looked_up.append(address)
        found = ADDRESSES.get(address) if self.origin_works else None
        return Carrier(network=found, secure=True) if found else None


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(20):
            await work()

    asyncio.run(limited())


def test_a_network_is_observed_and_asked_for_once() -> None:
    async def work() -> None:
        here = World()
        assert await here.identity.recent() == CANTV
        assert await here.identity.recent() == CANTV
        assert await here.identity.now() == CANTV
        assert (here.asked, here.looked_up, here.identity.changes) == (2, ["200.44.32.12"], 0)

    run(work)


def test_concurrent_callers_share_one_lookup() -> None:
    async def work() -> None:
        here = World()
        await here.identity.recent()
        await asyncio.gather(*(here.identity.now() for _ in range(50)))
        assert here.asked <= 3  # one may have begun before the last of them asked

    run(work)


def test_under_load_lookups_are_waited_for_rather_than_made() -> None:
    async def work() -> None:
        here = World()
        began = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() - began < 3:
            await here.identity.now()
        assert BURST < here.asked <= BURST + 3

    run(work)


def test_another_network_behind_the_same_local_address_is_noticed_at_the_end() -> None:
    async def work() -> None:
        here = World()
        await here.identity.recent()
        began = here.identity.changes
        here.address = "190.120.1.1"
        assert await here.identity.recent() == CANTV  # nobody has looked yet
        assert await here.identity.now() == CAFE
        assert here.identity.changes != began

    run(work)


def test_there_and_back_while_somebody_else_looked_is_a_change() -> None:
    async def work() -> None:
        here = World()
        await here.identity.recent()
        began = here.identity.changes
        here.address = "190.120.1.1"
        await here.identity.now()
        here.address = "200.44.32.12"
        assert await here.identity.now() == CANTV
        assert here.identity.changes != began

    run(work)


@pytest.mark.parametrize(
    "path",
    [
        NetworkPath(addresses=("10.0.0.7/32",), gateways=HOME.gateways, hardware=HOME.hardware),
        NetworkPath(addresses=HOME.addresses, gateways=("eth0 0101A8C0",), hardware=HOME.hardware),
        NetworkPath(addresses=HOME.addresses, gateways=HOME.gateways, hardware=("02:00:00:00:00:02",)),
        NetworkPath(addresses=HOME.addresses, gateways=HOME.gateways, hardware=HOME.hardware, links=("wlan0 3",)),
        NetworkPath(addresses=HOME.addresses, gateways=HOME.gateways, hardware=HOME.hardware, resolvers=("10.0.0.1",)),
    ],
    ids=["address", "interface", "router", "link", "resolvers"],
)
def test_another_path_is_a_change_and_looked_up_at_once(path: NetworkPath) -> None:
    async def work() -> None:
        here = World()
        await here.identity.recent()
        began = here.identity.changes
        here.path, here.resolvers = path, (resolver("190.120.0.53"),)
        assert await here.identity.recent() == CANTV
        assert here.identity.changes != began
        assert here.asked == 2
        assert here.vantage.resolvers == (resolver("190.120.0.53"),)

    run(work)


def test_a_router_whose_hardware_is_not_known_just_now_is_no_change() -> None:
    silent = NetworkPath(addresses=HOME.addresses, gateways=HOME.gateways)
    assert silent.is_as(HOME)
    assert HOME.is_as(silent)


def test_a_router_is_remembered_while_it_is_not_known() -> None:
    async def work() -> None:
        here = World()
        await here.identity.recent()
        began = here.identity.changes
        here.path = NetworkPath(addresses=HOME.addresses, gateways=HOME.gateways)
        await here.identity.recent()
        assert here.identity.changes == began
        here.path = NetworkPath(addresses=HOME.addresses, gateways=HOME.gateways, hardware=("02:00:00:00:00:02",))
        await here.identity.recent()
        assert here.identity.changes != began

    run(work)


def test_when_lookups_fail_on_an_unchanged_path_the_last_network_stands() -> None:
    """An outage is told of the ISP that has it, however long it lasts."""

    async def work() -> None:
        here, passed = World(Network()), [0.0]
        here.identity = Identity(
            here.vantage, here._ask, here._origin, path=lambda _: here.path, clock=lambda: passed[0]
        )
        await here.identity.now()
        began, here.address = here.identity.changes, None
        passed[0] += 12 * 3600
        assert await here.identity.now() == CANTV
        assert here.identity.changes == began
        here.path, passed[0] = path(links=("wlan0 5",)), passed[0] + 1
        assert await here.identity.now() == Network()
        assert here.identity.changes != began

    run(work)


def test_an_outage_in_which_ipv6_goes_away_is_of_the_same_network() -> None:
    async def work() -> None:
        here = World(Network())
        here.path = path(addresses=("192.168.1.5/32", "2800:a4:1::/64"), links=("eth0 2",))
        await here.identity.now()
        here.path, here.address = path(links=("eth0 2",)), None
        assert await here.identity.now() == CANTV
        here.path = path(links=("eth0 4",))
        assert await here.identity.now() == Network()

    run(work)


def path(**differing: tuple[str, ...] | float) -> NetworkPath:
    """As at home, but for that."""
    return replace(HOME, **differing)


ROUTED = path(addresses=("10.0.0.7/32",), links=("wlan0 5",))  # the router from before
ELSEWHERE = path(hardware=("02:00:00:00:00:02",))
NOWHERE = path(hardware=(), links=("wlan0 5",))
ASLEEP = path(hardware=(), slept=3600.0)
LINE = NetworkPath(addresses=("200.44.1.1/32",), gateways=("ppp0 00000000",))
REDIALLED = NetworkPath(addresses=("200.44.9.9/32",), gateways=("ppp0 00000000",))


@pytest.mark.parametrize(
    ("at_first", "later", "holds"),
    [
        (HOME, ROUTED, True), (HOME, ELSEWHERE, False), (HOME, NOWHERE, False), (HOME, ASLEEP, False),
        (LINE, REDIALLED, True), (LINE, HOME, False),
    ],
    ids=["same router", "another router", "a router unknown", "slept", "redialled", "another line"],
)  # fmt: skip
def test_on_another_path_a_declaration_holds_only_behind_the_same_router(at_first, later, holds) -> None:
    async def work() -> None:
        for forged in (None, "190.120.1.1"):
            here = World()
            here.path = at_first
            assert await here.identity.now() == CANTV
            here.path, here.address, here.secure = later, forged, False
            assert await here.identity.now() == (DECLARED if holds else UNKNOWN)
            here.path = at_first
            assert await here.identity.now() == DECLARED

    run(work)


def test_a_declaration_that_was_seen_to_be_wrong_does_not_come_back() -> None:
    """Started at the cafe: what was declared is not of that place."""

    async def work() -> None:
        here = World()
        here.address = "190.120.1.1"
        assert await here.identity.now() == CAFE
        here.path, here.address = ROUTED, None
        assert await here.identity.now() == UNKNOWN
        here.path, here.address = ELSEWHERE, "200.44.32.12"
        assert await here.identity.now() == CANTV
        here.path, here.address = replace(ELSEWHERE, links=("wlan0 9",)), None
        assert await here.identity.now() == DECLARED

    run(work)


def test_a_declaration_of_a_proxy_holds_wherever_this_machine_is() -> None:
    async def work() -> None:
        here = World()
        here.vantage.proxy = proxy("socks5://127.0.0.1:9050")
        await here.identity.now()
        here.path, here.address = ELSEWHERE, None
        assert await here.identity.now() == DECLARED

    run(work)


@pytest.mark.parametrize("known", [True, False], ids=["by https before", "never by https"])
@pytest.mark.parametrize("by", ["address", "origin"])
def test_what_is_said_in_the_clear_does_not_overrule(known: bool, by: str, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        here = World(Network() if known else DECLARED)
        clear = Clearly(here)
        here.address = "200.44.32.12" if known else None
        assert (await clear.identity.now()).asn == 8048
        began = clear.identity.changes
        here.secure, clear.secure = by == "origin", by == "address"
        for address in ("190.120.1.1", "186.24.1.1", "190.120.1.1"):
            here.address = address
            assert (await clear.identity.now()).asn == 8048
        assert clear.identity.changes == began
        said = [record.getMessage() for record in caplog.records]
        assert len(said) == 1
        assert "AS264731, in the clear, where it can be forged" in said[0]
        assert said[0].endswith("what is observed counts" if known else "what is declared counts")

    ADDRESSES["186.24.1.1"] = Network(asn=21826, isp="Inter", country="VE", source="observed")
    run(work)


class Clearly:
    """An identity in a world where what an address belongs to may be told in the clear."""

    def __init__(self, here: World) -> None:
        self.secure = True
        self._here = here
        self.identity = Identity(here.vantage, here._ask, self._origin, path=lambda _: here.path)

    async def _origin(self, address: str) -> Carrier | None:
        found = await self._here._origin(address)
        return Carrier(network=found.network, secure=self.secure) if found else None


def test_where_nothing_is_declared_the_first_word_in_the_clear_stands_until_the_path_changes() -> None:
    async def work() -> None:
        here = World(Network())
        here.secure = False
        assert await here.identity.now() == CANTV
        began, here.address = here.identity.changes, "190.120.1.1"
        assert await here.identity.now() == CANTV
        assert here.identity.changes == began
        here.path = ELSEWHERE
        assert await here.identity.now() == CAFE
        here.secure, here.address = True, "200.44.32.12"
        assert await here.identity.now() == CANTV
        here.secure, here.address = False, "190.120.1.1"
        assert await here.identity.now() == CANTV

    run(work)


def test_what_agrees_in_the_clear_confirms_a_declaration_and_completes_it() -> None:
    async def work() -> None:
        for declared in (DECLARED, Network(isp="CANTV"), Network(country="VE"), Network(asn=8048)):
            here = World(declared)
            here.secure = False
            assert await here.identity.now() == CANTV
            here.address = "190.120.1.1"
            assert (await here.identity.now()).asn in (8048, None)

    run(work)


def test_a_name_alone_that_is_declared_is_not_overruled_either() -> None:
    async def work() -> None:
        here = World(Network(isp="CANTV"))
        here.secure, here.address = False, "190.120.1.1"
        assert await here.identity.now() == Network(isp="CANTV")

    run(work)


def test_an_address_that_nobody_knows_is_as_declared_where_the_path_is_the_same_and_else_of_nobody() -> None:
    async def work() -> None:
        for declared in (DECLARED, Network()):
            here = World(declared)
            await here.identity.recent()
            here.address, here.origin_works = "190.120.1.1", False
            assert await here.identity.now() == declared
            here.address = None
            assert await here.identity.now() == declared

    run(work)


def test_a_change_of_path_while_it_was_asked_leaves_nothing_behind() -> None:
    async def work() -> None:
        here = World(Network())

        async def moving() -> Sighting | None:
            here.path = ELSEWHERE
            return Sighting(address="200.44.32.12", secure=True)

        identity = Identity(here.vantage, moving, here._origin, path=lambda _: here.path)
        assert await identity.recent() == Network()
        assert identity.changes == 1

    run(work)


def test_what_is_declared_and_then_observed_to_be_so_is_no_change() -> None:
    async def work() -> None:
        here = World()
        here.address = None
        assert await here.identity.now() == DECLARED
        here.address = "200.44.32.12"
        assert await here.identity.now() == CANTV
        assert here.identity.changes == 0

    run(work)


def test_a_wrong_declaration_is_said_once_and_not_believed(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        here = World(Network(asn=27889, isp="Movilnet", country="CO"))
        with caplog.at_level(logging.WARNING, "almenara.network"):
            assert await here.identity.now() == CANTV
            assert await here.identity.now() == CANTV
        [said] = [record.getMessage() for record in caplog.records]
        assert said == (
            "vantage here: declared AS27889, observed AS8048, declared country CO, observed VE; what is observed counts"
        )
        assert here.identity.disagreement == said.removeprefix("vantage here: ")

    run(work)


def test_without_a_lookup_the_declaration_is_all_there_is() -> None:
    async def work() -> None:
        here = World()
        identity = Identity(Vantage("here", DECLARED, ()), path=lambda _: here.path)
        assert (await identity.recent(), await identity.now(), identity.changes) == (DECLARED, DECLARED, 0)
        here.path = ELSEWHERE
        assert (await identity.recent(), await identity.now(), identity.changes) == (DECLARED, DECLARED, 1)

    run(work)


def test_the_probe_follows_the_network(home: Path) -> None:
    async def work() -> None:
        here = World(Network())
        first = here.identity.probe(await here.identity.now())
        assert here.identity.probe(CANTV) == first
        here.address = "190.120.1.1"
        second = here.identity.probe(await here.identity.now())
        assert second != first
        here.address, here.path = None, NetworkPath(addresses=("10.0.0.7/32",))
        unknown = here.identity.probe(await here.identity.now())
        here.path = HOME
        assert len({first, second, unknown, here.identity.probe(await here.identity.now())}) == 4

    run(work)


def test_nothing_keeps_the_address(home: Path) -> None:
    async def work() -> None:
        here = World()
        await here.identity.now()
        kept = repr({name: value for name, value in vars(here.identity).items() if name not in ("_ask", "_origin")})
        assert "200.44" not in kept
        assert "200.44" not in repr(Sighting(address="200.44.32.12"))

    run(work)


class Ways(WhoAmI):
    """Asked ways of the test's own. slow_s: until https answers at the second address; the first never does."""

    def __init__(self, slow_s: float, *, clear: Sighting | None = None) -> None:
        super().__init__(Vantage("here", DECLARED, ()), client_context())
        self.slow_s, self.clear = slow_s, clear

    async def _traced(self, address: str) -> Sighting | None:
        await asyncio.sleep(self.slow_s if address == TRACES[1] else 60)
        return Sighting(address="200.44.32.12", secure=True)

    async def _by_dns(self) -> Sighting | None:
        return self.clear


def test_a_slow_answer_that_cannot_be_forged_goes_before_a_quick_one_in_the_clear(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forged = Sighting(address="190.120.1.1")
    for name, seconds in (("HEAD_START_S", 0.05), ("STAGGER_S", 0.05), ("SECURE_S", 1.0)):
        monkeypatch.setattr(f"monitor.whoami.{name}", seconds)

    async def work() -> None:
        assert await Ways(0.3, clear=forged)() == Sighting(address="200.44.32.12", secure=True)
        assert await Ways(60, clear=forged)() == forged
        assert await Ways(60)() is None

    run(work)


def test_the_path_of_this_machine_can_be_read_and_stays_the_same() -> None:
    here = Vantage("here", Network(), ())
    assert path_of(here).is_as(path_of(here))


# --- what others answer ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "address", "country"),
    [
        (b"fl=1\nip=200.44.32.12\nloc=VE\n", "200.44.32.12", "VE"),
        (b"ip=2800:a4::1\nloc=T1\n", "2800:a4::1", None),
        (b"ip=200.44.32.12\nloc=venezuela\n", "200.44.32.12", None),
        (b"ip=192.168.1.1\nloc=VE\n", None, None),
        (b"<html>ip=200.44.32.12", None, None),
        (b"x" * 5000 + b"\nip=200.44.32.12\n", None, None),
        (b"", None, None),
    ],
)
def test_a_trace_tells_a_public_address_or_nothing(body: bytes, address: str | None, country: str | None) -> None:
    found = read_trace(body)
    assert (found.address if found else None, found.country if found else None) == (address, country)


def test_an_origin_is_read_and_anything_else_is_none() -> None:
    found = read_origin("8048 27889 | 200.44.0.0/16 | VE | lacnic | 1999-09-21")
    assert found is not None
    assert (found.asn, found.country, str(found.prefix)) == (8048, "VE", "200.44.0.0/16")
    for text in (
        "",
        "|||",
        "0 | 200.44.0.0/16 | VE",
        "8048 | nonsense | VE",
        "99999999999 | 200.44.0.0/16 | VE",
        "٣ | ::/0 | VE",
    ):
        assert read_origin(text) is None
    assert (
        read_name("8048 | VE | lacnic | 1997-08-14 | CANTV Servicios, Venezuela, VE", 8048)
        == "CANTV Servicios, Venezuela"
    )
    assert read_name("8048 | VE | lacnic | 1997-08-14 | CANTV, VE", 8049) is None
    assert read_name(f"8048 | VE | lacnic | 1997 | {'x' * 500}\x1b[2J, VE", 8048) == "x" * 80
    assert read_name("nonsense", 8048) is None


def test_only_the_prefix_of_an_address_is_asked_for() -> None:
    assert str(prefix_of("200.44.32.12")) == "200.44.32.0/24"
    assert str(prefix_of("2800:a4:1:2::3")) == "2800:a4:1::/48"


@given(st.binary(max_size=200), st.text(max_size=200))
def test_no_answer_makes_reading_raise(wire: bytes, text: str) -> None:
    said = Dns(
        hop=0, attempt=1, started=0, duration=0, failure=None, name="n", type="TXT", resolver="r", role=Role.DOH,
        transport="doh", rcode="NOERROR", raw=text if len(text) % 2 else wire.hex(),
    )  # fmt: skip
    texts(said)
    read_trace(wire)
    read_origin(text)
    read_name(text, 8048)
    read_record({"asn": text, "as_name": wire, "country": text})


# --- databases -------------------------------------------------------------------------------------------------------

MAXMIND = {"autonomous_system_number": 8048, "autonomous_system_organization": "CANTV Servicios, Venezuela"}
IPINFO = {"asn": "AS8048", "as_name": "CANTV", "country_code": "VE"}
OONI = MAXMIND | {"country": {"iso_code": "VE"}}


@pytest.mark.parametrize(
    ("record", "isp", "country"),
    [
        (MAXMIND, "CANTV Servicios, Venezuela", None),
        (IPINFO, "CANTV", "VE"),
        (OONI, "CANTV Servicios, Venezuela", "VE"),
    ],
)
def test_a_database_answers_whoever_made_it(tmp_path: Path, record: dict, isp: str, country: str | None) -> None:
    file = tmp_path / "asn.mmdb"
    file.write_bytes(database({"200.44.0.0/16": record}))
    found = asyncio.run(NetworkDatabase(str(file)).network("200.44.32.12"))
    assert found == Network(asn=8048, isp=isp, country=country, source="observed")
    assert asyncio.run(NetworkDatabase(str(file)).network("8.8.8.8")) is None


def test_a_database_that_is_replaced_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "asn.mmdb"
    file.write_bytes(database({"200.44.0.0/16": IPINFO}))
    known = NetworkDatabase(str(file))
    assert asyncio.run(known.network("200.44.32.12")).asn == 8048
    beside = tmp_path / "new"
    beside.write_bytes(database({"200.44.0.0/16": {"asn": "AS27889"}}))
    os.utime(beside, (1, 1))
    beside.replace(file)
    assert asyncio.run(known.network("200.44.32.12")).asn == 27889


def test_what_is_no_file_is_not_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pipe = tmp_path / "asn.mmdb"
    os.mkfifo(pipe)  # who opens it waits for the other end
    assert asyncio.run(asyncio.wait_for(NetworkDatabase(str(pipe)).network("200.44.32.12"), 10)) is None
    assert "is no file" in caplog.text


@pytest.mark.parametrize("content", [None, b"", b"nonsense", b"\xab\xcd\xefMaxMind.com" * 3, "cut"])
def test_a_database_that_cannot_be_read_is_said_once_and_does_without(
    tmp_path: Path, content: bytes | str | None, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "asn.mmdb"
    if content is not None:
        file.write_bytes(database({"200.44.0.0/16": IPINFO})[:-30] if isinstance(content, str) else content)
    known = NetworkDatabase(str(file))
    with caplog.at_level(logging.WARNING, "almenara.network"):
        assert asyncio.run(known.network("200.44.32.12")) is None
        assert asyncio.run(known.network("200.44.32.12")) is None
    assert len(caplog.records) == 1


def test_a_fetched_database_replaces_the_copy_only_if_it_answers(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    good, other = database({"200.44.0.0/16": IPINFO}), database({"200.44.0.0/16": {"asn": "AS27889"}})
    served = [
        gzip.compress(good),
        b"nonsense",
        database({"200.44.0.0/16": {"city": "Caracas"}}),
        gzip.compress(other)[:50],
        other,
    ]

    def respond(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=served.pop(0)) if served else httpx.Response(503)

    async def fetched() -> int | None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(respond)) as client:
            known = NetworkDatabase("https://asn.example/asn.mmdb.gz", client=client)
            await known.network("200.44.32.12")
            await known.settled()
            found = await known.network("200.44.32.12")
            return found.asn if found else None

    folder = home / ".cache" / "almenara"
    assert asyncio.run(fetched()) == 8048
    [copy] = folder.iterdir()
    for expected in (8048, 8048, 8048, 27889, 27889):
        os.utime(copy, (1, 1))  # as old as can be
        assert asyncio.run(fetched()) == expected
        assert list(folder.iterdir()) == [copy]
    assert not served
    assert len(caplog.records) == 4


def test_the_key_in_a_databases_url_is_not_logged(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(401))) as client:
            known = NetworkDatabase("https://asn.example/download?license_key=geheim&suffix=gz", client=client)
            await known.network("200.44.32.12")
            await known.settled()

    asyncio.run(work())
    [said] = [record.getMessage() for record in caplog.records]
    assert said.startswith("network database https://asn.example/download: it cannot be fetched (status 401)")


@pytest.mark.parametrize("hostile", ["pointers", "circle"])
def test_a_database_that_would_fill_the_memory_is_refused_at_once(tmp_path: Path, hostile: str) -> None:
    if hostile == "circle":
        data, tree = _written({"asn": 1}), bytes(4 * 3)
    else:
        data = place = b""
        for _ in range(5):  # each level is 100 times the one before
            place, data = (
                len(data).to_bytes(4),
                data + (bytes([29, 4, 71]) + place_of(place) * 100 if data else b"\x44AAAA"),
            )
        data = data + _written({"asn": 8048, "x": place_of(place)})
        record = (1 + 16 + len(data) - len(_written({"asn": 8048, "x": place_of(place)}))).to_bytes(3)
        tree = record * 2
    file = tmp_path / "asn.mmdb"
    file.write_bytes(tree + bytes(16) + data + metadata(2 if hostile == "circle" else 1))
    began = time.monotonic()
    with pytest.raises(DatabaseUnusable):
        check(file)
    assert time.monotonic() - began < 2


def place_of(where: bytes) -> bytes:
    """A pointer to a place in the data, in that format."""
    return bytes([0x38]) + where


def test_a_database_is_checked(tmp_path: Path) -> None:
    file = tmp_path / "asn.mmdb"
    file.write_bytes(database({"200.44.0.0/16": MAXMIND}))
    check(file)
    file.write_bytes(database({"200.44.0.0/16": {"city": "Caracas"}}))
    with pytest.raises(DatabaseUnusable, match="names no networks"):
        check(file)


def database(networks: dict[str, dict]) -> bytes:
    """A database in MaxMind's format (github.com/maxmind/MaxMind-DB, version 2), of IPv4 networks."""
    nodes: list[list[int | None]] = [[None, None]]
    data, places = b"", {}
    for text, record in networks.items():
        network = ip_network(text)
        places[text] = len(data)
        data += _written(record)
        bits = f"{int(network.network_address):032b}"[: network.prefixlen]
        node = 0
        for bit in bits[:-1]:
            following = nodes[node][int(bit)]
            if following is None:
                nodes.append([None, None])
                following = nodes[node][int(bit)] = len(nodes) - 1
            node = following
        nodes[node][int(bits[-1])] = -1 - places[text]
    count = len(nodes)
    tree = b""
    for pair in nodes:
        for value in pair:
            number = count if value is None else count + 16 - 1 - value if value < 0 else value
            tree += number.to_bytes(3)
    return tree + bytes(16) + data + metadata(count)


def metadata(nodes: int) -> bytes:
    """What such a file ends with."""
    short, long = partial(struct.pack, "!BH", 0xA2), partial(struct.pack, "!BBQ", 8, 2)
    meta = {
        "binary_format_major_version": short(2), "binary_format_minor_version": short(0), "build_epoch": long(1),
        "database_type": "ASN", "description": {}, "ip_version": short(4), "languages": [], "node_count": nodes,
        "record_size": short(24),
    }  # fmt: skip
    return b"\xab\xcd\xefMaxMind.com" + _written(meta)


def _written(value: object) -> bytes:
    """A value in that format; bytes are one already."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        raw = value.encode()
        return bytes([0x40 | len(raw)]) + raw if len(raw) < 29 else bytes([0x5D, len(raw) - 29]) + raw
    if isinstance(value, int):
        return bytes([0xC4]) + struct.pack("!I", value)
    if isinstance(value, list):
        return bytes([len(value), 4]) + b"".join(map(_written, value))
    assert isinstance(value, dict)
    return bytes([0xE0 | len(value)]) + b"".join(_written(key) + _written(one) for key, one in value.items())


# --- in the lab ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    lines = dict(ISPS) | {"cafe": Outline(isp="Digitel", asn=264731, ipv6=False)}
    with labs.started(draw(264731, sites={"open.example": Page()}, lines=lines)) as running:
        yield running


def measured(lab: Lab, name: str, change: Callable[[str], str] = lambda text: text) -> list[Measurement]:
    """A site, measured on CANTV's line."""
    impatient = lab.probes_yaml(["cantv"]).replace('"timeout": "10s"', '"timeout": "2s"')
    config = parse(change(impatient), "lab")

    async def work() -> list[Measurement]:
        return [one async for one in measure_all(config, [lab.world.sites[name].url])]

    return asyncio.run(work())


@pytest.fixture
def trusting(lab: Lab, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(lab.ca_file))


def undeclared(text: str) -> str:
    """A configuration that says nothing of the network."""
    return text.replace('"isp": "CANTV", "asn": 8048, "country": "VE", ', "")


@pytest.mark.lab
@pytest.mark.usefixtures("trusting")
def test_in_the_lab_the_network_is_observed(lab: Lab) -> None:
    [found] = measured(lab, "open.example", change=undeclared)
    assert found.network == CANTV
    assert found.verdict.status is Status.OK


@pytest.mark.lab
@pytest.mark.usefixtures("trusting")
def test_a_laptop_that_moves_never_files_the_cafe_under_cantv(lab: Lab) -> None:
    """The same local address, the same route, the same resolvers: only the world sees another network."""

    async def work() -> list[Measurement]:
        async with AsyncExitStack() as open_until:
            prober = prober_on(lab, "cantv", client_context(str(lab.ca_file)), open_until)
            at_home = await prober.measure(url)
            lab.move("cantv", to="cafe")
            unaware = await prober.measure(url)  # the last lookup is seconds old
            there = await prober.measure(url)
            leaving = await prober.observe(url)
            lab.move("cantv", to="cantv")
            return [at_home, unaware, there, await prober.file(leaving), await prober.measure(url)]

    url = lab.world.sites["open.example"].url
    try:
        found = asyncio.run(work())
    finally:
        lab.move("cantv", to="cantv")
    assert [one.network for one in found] == [CANTV, UNKNOWN, CAFE, UNKNOWN, CANTV]
    assert [one.verdict.rule for one in found if one.verdict and one.network == UNKNOWN] == ["network_changed"] * 2
    assert {one.verdict.status for one in found if one.verdict and one.network != UNKNOWN} == {Status.OK}
    at_home, unaware, there, leaving, back = (one.probe for one in found)
    assert at_home == back
    assert len({at_home, unaware, there, leaving}) == 4
    assert found[1].conditions.network_changed is True


@pytest.mark.lab
@pytest.mark.usefixtures("trusting")
def test_without_the_first_way_the_second_tells(lab: Lab) -> None:
    number = lab.censor("cantv", "drop", "cloudflare-dns.com")
    try:
        [found] = measured(lab, "open.example", change=undeclared)
    finally:
        lab.lift(number)
    assert found.network == CANTV


@pytest.mark.lab
@pytest.mark.usefixtures("trusting")
def test_where_no_way_is_left_the_declaration_counts_and_says_so(lab: Lab) -> None:
    mirrors = ("1.1.1.1", "208.67.222.222", "216.239.32.10")
    number = lab.put("cantv", Policy(technique="drop", addresses=mirrors))
    try:
        [found] = measured(lab, "open.example")
    finally:
        lab.lift(number)
    assert found.network == DECLARED
    assert found.verdict.status is Status.OK


@pytest.mark.lab
@pytest.mark.usefixtures("trusting")
def test_a_lookup_that_is_not_wanted_is_not_made(lab: Lab) -> None:
    [found] = measured(lab, "open.example", change=lambda text: text + "network: {lookup: false}\n")
    assert found.network == DECLARED


@pytest.mark.lab
@pytest.mark.usefixtures("trusting")
def test_check_says_whose_network_it_is(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = parse(lab.probes_yaml(["cantv"]).replace("8048", "27889"), "lab")
    assert check_command.run(wrong) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "Vantage cantv: AS8048, CANTV, VE, as observed" in lines
    assert "Vantage cantv: declared AS27889, observed AS8048; what is observed counts" in lines
