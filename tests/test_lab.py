"""Each censor of the lab does on the wire what its name says; and nothing of the lab outlives its owner."""

import json
import logging
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dns.message
import dns.rcode
import labs
import pytest

from monitor.lab import namespaces
from monitor.lab.box import Lab
from monitor.lab.draw import draw
from monitor.lab.lines import Outline
from monitor.lab.packets import HOST_UNREACHABLE, PORT_UNREACHABLE, PROHIBITED
from monitor.lab.policy import EVERYONE
from monitor.lab.scenarios import BY_NAME
from monitor.lab.world import Site

pytestmark = pytest.mark.lab

QUICK_S = 0.5  # more than any path of these lines takes, twice over
FALSE = "23.45.67.89"
PAGE = "HTTP/1.1 403 Denied\r\nContent-Length: 4000\r\nConnection: close\r\n\r\n" + "blocked " * 500
LINES = {
    name: Outline(isp=name, asn=asn, ipv6=True, rtt_s=0.01, rate=6_000_000)
    for name, asn in (("cantv", 8048), ("movilnet", 27889))
}


class Place:
    """A thread that lives in a namespace of the lab, and what can be seen from there with plain sockets."""

    def __init__(self, lab: Lab, netns: str) -> None:
        self._lab = lab
        self._thread = ThreadPoolExecutor(1, initializer=namespaces.enter, initargs=(netns,))

    def close(self) -> None:
        self._thread.shutdown()

    def do(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return self._thread.submit(work, *arguments).result()

    def ask(self, resolver: str, name: str, expected: int = 1) -> list[dns.message.Message]:
        """The answers: so many, or fewer where they do not come in time."""
        return self.do(self._ask, resolver, name, expected)

    def connect(self, address: str, port: int, timeout_s: float = QUICK_S) -> socket.socket:
        return self.do(self._connect, address, port, timeout_s)

    def shake(self, address: str, name: str) -> ssl.SSLSocket:
        return self.do(self._shake, address, name)

    def get(self, site: Site, *, address: str = "", port: int = 443, wait_s: float = 2.0) -> bytes:
        """All bytes of the answer that come in time."""
        return self.do(self._get, site, address or site.addresses[0], port, wait_s)

    def _ask(self, resolver: str, name: str, expected: int) -> list[dns.message.Message]:
        answers: list[dns.message.Message] = []
        deadline = time.monotonic() + QUICK_S
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
            channel.connect((resolver, 53))
            channel.send(dns.message.make_query(name, "A").to_wire())
            while len(answers) < expected and (left := deadline - time.monotonic()) > 0:
                channel.settimeout(left)
                try:
                    answers.append(dns.message.from_wire(channel.recv(4096)))
                except TimeoutError:
                    break
        return answers

    def _connect(self, address: str, port: int, timeout_s: float) -> socket.socket:
        channel = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        channel.settimeout(timeout_s)
        try:
            channel.connect((address, port))
        except OSError:
            channel.close()
            raise
        return channel

    def _shake(self, address: str, name: str) -> ssl.SSLSocket:
        channel = self._connect(address, 443, QUICK_S)
        try:
            return ssl.create_default_context(cafile=str(self._lab.ca_file)).wrap_socket(channel, server_hostname=name)
        except OSError:
            channel.close()
            raise

    def _get(self, site: Site, address: str, port: int, wait_s: float) -> bytes:
        secure = port == 443
        channel = self._shake(address, site.name) if secure else self._connect(address, port, QUICK_S)
        received = b""
        deadline = time.monotonic() + wait_s
        with channel:
            channel.sendall(f"GET / HTTP/1.1\r\nHost: {site.name}\r\nConnection: close\r\n\r\n".encode())
            while (left := deadline - time.monotonic()) > 0:
                channel.settimeout(left)
                try:
                    data = channel.recv(65536)
                except TimeoutError:
                    break
                if not data:
                    break
                received += data
        return received


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    seed = random.SystemRandom().randrange(10**6)
    logging.getLogger(__name__).warning("seed %d", seed)  # shown with a failure
    with labs.started(draw(seed, [BY_NAME["tls-interception"]], healthy=40, lines=LINES), helper=False) as running:
        yield running


@pytest.fixture(scope="module")
def vantage(lab: Lab) -> Iterator[Place]:
    place = Place(lab, lab.isps["cantv"].netns)
    yield place
    place.close()


@pytest.fixture(scope="module")
def elsewhere(lab: Lab) -> Iterator[Place]:
    place = Place(lab, lab.control_netns)
    yield place
    place.close()


@pytest.fixture
def site(lab: Lab) -> Site:
    """An https site that speaks HTTP/1.1, with IPv4 first, its page long and sent as it is."""
    return next(
        s
        for s in lab.world.sites.values()
        if s.https == "page" and s.http == "redirect" and not s.http2 and s.size > 50_000
    )


@pytest.fixture
def censored(lab: Lab, site: Site) -> Iterator[Callable[..., int]]:
    """Puts up censors of the site, and lifts them afterwards."""
    numbers: list[int] = []

    def put(technique: str, isp: str = "cantv", **parameters: Any) -> int:
        numbers.append(lab.censor(isp, technique, site.name, **parameters))
        return numbers[-1]

    yield put
    for number in numbers:
        lab.lift(number)


def addresses(answer: dns.message.Message) -> set[str]:
    return {item.to_text() for rrset in answer.answer for item in rrset if rrset.rdtype in (1, 28)}


def test_sites_open_over_https_and_redirect_plain_http(vantage: Place, site: Site) -> None:
    page = vantage.get(site)
    assert page.startswith(b"HTTP/1.1 200")
    assert len(page) >= site.size
    assert f"https://{site.name}/".encode() in vantage.get(site, port=80)


def test_sites_open_over_ipv6(lab: Lab, vantage: Place) -> None:
    dual = next(s for s in lab.world.sites.values() if ":" in s.addresses[-1] and s.https == "page" and not s.http2)
    assert vantage.get(dual, address=dual.addresses[-1]).startswith(b"HTTP/1.1 ")


def test_a_resolver_answers_from_the_address_that_was_asked(lab: Lab, vantage: Place, site: Site) -> None:
    for resolver in (*lab.isps["cantv"].resolvers, "8.8.8.8"):
        (answer,) = vantage.ask(resolver, site.name)
        assert addresses(answer) == {a for a in site.addresses if ":" not in a}
    (missing,) = vantage.ask("9.9.9.9", "no-such-name.example")
    assert missing.rcode() == dns.rcode.NXDOMAIN
    assert vantage.ask(site.addresses[0], site.name) == []


@pytest.mark.parametrize(
    ("technique", "rcode", "answers"),
    [
        ("dns-nxdomain", dns.rcode.NXDOMAIN, set()),
        ("dns-servfail", dns.rcode.SERVFAIL, set()),
        ("dns-refused", dns.rcode.REFUSED, set()),
        ("dns-no-answer", dns.rcode.NOERROR, set()),
        ("dns-address", dns.rcode.NOERROR, {FALSE}),
    ],
)
def test_resolvers_of_one_isp_lie(
    lab: Lab, vantage: Place, site: Site, censored: Any, technique: str, rcode: int, answers: set[str]
) -> None:
    censored(technique, answers=(FALSE,) if answers else ())
    for resolver in lab.isps["cantv"].resolvers:
        (answer,) = vantage.ask(resolver, site.name)
        assert (answer.rcode(), addresses(answer)) == (rcode, answers)
    for honest in (lab.isps["movilnet"].resolvers[0], "1.1.1.1"):
        assert addresses(vantage.ask(honest, site.name)[0]) <= set(site.addresses)


def test_a_resolver_says_nothing(lab: Lab, vantage: Place, site: Site, censored: Any) -> None:
    censored("dns-silence", resolvers=lab.isps["cantv"].resolvers[:1])
    assert vantage.ask(lab.isps["cantv"].resolvers[0], site.name) == []
    assert len(vantage.ask(lab.isps["cantv"].resolvers[1], site.name)) == 1


def test_an_injected_answer_overtakes_the_true_one(vantage: Place, site: Site, censored: Any) -> None:
    censored("dns-injection", answers=(FALSE,))
    false, true = vantage.ask("8.8.8.8", site.name, 2)
    assert addresses(false) == {FALSE}
    assert addresses(true) <= set(site.addresses)
    assert len(vantage.ask("23.23.23.23", site.name)) == 1  # where no resolver is


def test_an_intercepted_question_gets_one_answer(vantage: Place, site: Site, censored: Any) -> None:
    censored("dns-interception", rcode="NXDOMAIN")
    (answer,) = vantage.ask("8.8.8.8", site.name, 2)
    assert answer.rcode() == dns.rcode.NXDOMAIN


@pytest.mark.parametrize(
    ("technique", "parameters", "error"),
    [
        ("drop", {}, TimeoutError),
        ("tcp-reset", {}, ConnectionRefusedError),
        ("tcp-icmp", {"code": PORT_UNREACHABLE}, ConnectionRefusedError),
        ("tcp-icmp", {"code": HOST_UNREACHABLE}, OSError),
        ("tcp-icmp", {"code": PROHIBITED}, OSError),
    ],
)
def test_addresses_are_cut_off_for_one_isp(
    lab: Lab, vantage: Place, elsewhere: Place, censored: Any, technique: str, parameters: Any, error: type[OSError]
) -> None:
    dual = next(s for s in lab.world.sites.values() if ":" in s.addresses[-1])
    number = lab.censor("cantv", technique, dual.name, **parameters)
    for address in dual.addresses:
        with pytest.raises(error) as caught:
            vantage.connect(address, 80)
        assert error is not OSError or caught.value.errno == 113  # EHOSTUNREACH
        elsewhere.connect(address, 80).close()
    lab.lift(number)
    vantage.connect(dual.addresses[0], 80).close()


@pytest.mark.parametrize(
    ("technique", "error"),
    [
        ("tls-reset", ConnectionResetError),
        ("tls-silence", TimeoutError),
        ("tls-eof", ssl.SSLEOFError),
        ("tls-alert", ssl.SSLError),
    ],
)
def test_the_name_in_the_client_hello_sets_it_off(
    vantage: Place, elsewhere: Place, site: Site, censored: Any, technique: str, error: type[OSError]
) -> None:
    censored(technique)
    with pytest.raises(error) as caught:
        vantage.shake(site.addresses[0], site.name)
    assert technique != "tls-alert" or "UNRECOGNIZED_NAME" in str(caught.value.reason)
    elsewhere.shake(site.addresses[0], site.name).close()
    with pytest.raises(ssl.SSLCertVerificationError):  # an innocent name passes: the certificate is the site's
        vantage.shake(site.addresses[0], "innocent.example")


def test_another_name_at_the_address_is_not_the_trigger_but_the_name_elsewhere_is(
    lab: Lab, vantage: Place, site: Site, censored: Any
) -> None:
    censored("tls-reset")
    other = next(s for s in lab.world.sites.values() if s.https == "page" and s.name != site.name)
    with pytest.raises(ConnectionResetError):
        vantage.shake(other.addresses[0], site.name)


def test_interception_shows_a_certificate_of_another_authority(lab: Lab, elsewhere: Place) -> None:
    (case,) = lab.world.cases
    victim = lab.world.site_of(case.url)
    place = Place(lab, lab.isps[case.line].netns)
    with pytest.raises(ssl.SSLCertVerificationError) as caught:
        place.shake(victim.addresses[0], victim.name)
    place.close()
    assert caught.value.verify_code == 20  # unable to get local issuer certificate
    elsewhere.shake(victim.addresses[0], victim.name).close()


@pytest.mark.parametrize(("technique", "outcome"), [("http-reset", "reset"), ("http-eof", b""), ("http-silence", b"")])
def test_the_host_sets_it_off(vantage: Place, site: Site, censored: Any, technique: str, outcome: Any) -> None:
    censored(technique)
    if outcome == "reset":
        with pytest.raises(ConnectionResetError):
            vantage.get(site, port=80)
        return
    started = time.monotonic()
    assert vantage.get(site, port=80, wait_s=QUICK_S) == outcome
    assert (time.monotonic() - started >= QUICK_S) == (technique == "http-silence")


def test_a_page_is_forged_whole(vantage: Place, elsewhere: Place, site: Site, censored: Any) -> None:
    censored("http-page", response=PAGE)
    assert vantage.get(site, port=80) == PAGE.encode()
    assert elsewhere.get(site, port=80).startswith(b"HTTP/1.1 301")


def test_one_site_is_slow(vantage: Place, site: Site, censored: Any) -> None:
    censored("tls-throttle", rate=30_000)
    assert 5_000 < len(vantage.get(site, wait_s=1.0)) < 40_000


def test_one_site_stalls(vantage: Place, site: Site, censored: Any) -> None:
    censored("http-stall", after=0)
    assert vantage.get(site, port=80, wait_s=QUICK_S) == b""
    censored("tls-stall", after=40_000)
    assert 20_000 < len(vantage.get(site, wait_s=1.0)) <= 40_000


def test_every_third_connection_is_reset(vantage: Place, site: Site, censored: Any) -> None:
    censored("tls-reset", pattern="..x")
    outcomes = ""
    for _ in range(6):
        try:
            vantage.shake(site.addresses[0], site.name).close()
            outcomes += "."
        except ConnectionResetError:
            outcomes += "x"
    assert outcomes == "..x..x"


def test_only_the_first_connection_is_lost(vantage: Place, site: Site, censored: Any) -> None:
    censored("drop", once=True)
    with pytest.raises(TimeoutError):
        vantage.connect(site.addresses[0], 443)
    vantage.connect(site.addresses[0], 443).close()


def test_a_trigger_cuts_the_address_for_a_while(vantage: Place, site: Site, censored: Any) -> None:
    censored("tls-residual", seconds=1.5)
    with pytest.raises(ConnectionResetError):
        vantage.shake(site.addresses[0], site.name)
    with pytest.raises(TimeoutError):
        vantage.connect(site.addresses[0], 80, 0.3)
    vantage.connect(site.addresses[0], 80, 3.0).close()  # the SYN is repeated after the cut


def test_everyone_is_hit_at_once(vantage: Place, elsewhere: Place, site: Site, censored: Any) -> None:
    censored("tcp-reset", isp=EVERYONE)
    for place in (vantage, elsewhere):
        with pytest.raises(ConnectionRefusedError):
            place.connect(site.addresses[0], 443)


def test_the_wire_counts_what_it_carries(lab: Lab, vantage: Place, site: Site) -> None:
    before = lab.carried()
    vantage.get(site)
    assert lab.carried() - before > site.size / 1500


OWNER = """
import json, os, sys, time
from monitor.lab.box import Lab
from monitor.lab.draw import draw
with Lab(draw(1, healthy=1)) as lab:
    spaces = [os.stat(info.netns).st_ino for info in lab.isps.values()]
    print(json.dumps({"spaces": spaces, "children": [child.pid for child in lab._children]}), flush=True)
    time.sleep(60)
"""


def spaces_in_use() -> set[int]:
    """The network namespaces of every process."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            found.add(path.stat().st_ino)
        except OSError:
            continue
    return found


def test_nothing_outlives_an_owner_that_is_killed(lab: Lab) -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, env=lab.environment()) as owner:
        assert owner.stdout is not None
        started = json.loads(owner.stdout.readline())
        owner.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 5
    while any(alive(pid) for pid in started["children"]) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(alive(pid) for pid in started["children"])
    assert not spaces_in_use() & set(started["spaces"])


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


UNPRIVILEGED = """
import sys
from monitor.lab.box import Lab
from monitor.lab.draw import draw
from monitor.lab.namespaces import LabError
try:
    with Lab(draw(1, healthy=1)) as lab:
        site = next(iter(lab.world.sites.values()))
        code = "import socket, sys; socket.create_connection((sys.argv[1], 443), 5).close()"
        print(lab.run_in(lab.isps["cantv"].netns, [sys.executable, "-c", code, site.addresses[0]]).wait())
except LabError as error:
    print(error)
"""
# A tun device of our own, which nobody else sees, with the rights that the test wants it to have.
DEVICE = 'mount -t tmpfs none /dev/net && mknod -m "$0" /dev/net/tun c 10 200 && exec "$@"'
AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env"]


@pytest.fixture(scope="module")
def public_python(lab: Lab) -> tuple[str, dict[str, str]]:
    """An interpreter that any user may run, and its environment."""
    home = os.pathsep.join([lab.environment()["PYTHONPATH"], *(path for path in sys.path if "site-packages" in path)])
    environment = os.environ | {"PYTHONPATH": home, "PYTHONDONTWRITEBYTECODE": "1"}
    for python in (sys.executable, f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}"):
        command = [*AS_NOBODY, python, "-c", "import cryptography, dns, h2, msgspec, monitor"]
        if subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0:
            return python, environment
    pytest.skip("no interpreter here that another user may run")


@pytest.mark.root
@pytest.mark.parametrize("mode", ["666", "600"])
def test_an_unprivileged_user_gets_a_lab_or_one_line_that_says_why_not(
    public_python: tuple[str, dict[str, str]], mode: str
) -> None:
    python, environment = public_python
    command = ["unshare", "-m", "sh", "-c", DEVICE, mode, *AS_NOBODY, python, "-c", UNPRIVILEGED]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=30, check=False)
    if mode == "666":
        assert done.stdout == "0\n", done.stderr
    else:
        assert done.stdout.startswith("/dev/net/tun: ")
        assert done.stdout.count("\n") == 1
