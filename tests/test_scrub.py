"""What must not be kept: the vantage's own address in any writing, and what a block page knows of the subscriber.

Names in OPEN are leaks that are known; a strict xfail tells when one is closed, and its name is to be deleted then.
"""

import base64
import hashlib
import ipaddress
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.models import Certificate, Dns, Http, LateAnswer, Observations, Role, Tls, to_json
from monitor.scrub import GONE, Scrubber, without_subscriber
from monitor.trail import _as_kept

OWN4, OWN6 = "190.36.12.7", "2800:a4:1234:5678::9"
SITE = "elpitazo.example"
PADDED = ipaddress.IPv6Address(OWN6).exploded


def digests(text: str) -> dict[str, str]:
    """What analytics scripts make of an address."""
    return {kind: hashlib.new(kind, text.encode()).hexdigest() for kind in ("md5", "sha1", "sha256")}


def mapped(address: str) -> str:
    """An IPv4 address within IPv6, in hexadecimal."""
    packed = ipaddress.IPv4Address(address).packed.hex()
    return f"::ffff:{packed[:4]}:{packed[4:].lstrip('0')}"


# how it is written -> what stands on the page
WRITINGS4 = {
    "dotted": OWN4,
    "dashed": "190-36-12-7",
    "underscored": "190_36_12_7",
    "reversed": "7.12.36.190",
    "in reverse DNS": "7.12.36.190.in-addr.arpa",
    "in the ISP's names": "7-12-36-190.dyn.cantv.net",
    "as a number": str(int(ipaddress.ip_address(OWN4))),
    "in hexadecimal": "be240c07",
    "in hexadecimal, upper case": "0xBE240C07",
    "zero-padded": "190.036.012.007",
    "within IPv6": f"::ffff:{OWN4}",
    "percent-encoded": "190%2e36%2E12%2e7",
    "with its port": f"{OWN4}:51234",
    "in base64": base64.b64encode(OWN4.encode()).decode(),
    "in base64, with more": base64.b64encode(f"{OWN4}|1516021500".encode()).decode(),
    **{f"its {kind}": text for kind, text in digests(OWN4).items()},
    "its MD5, upper case": digests(OWN4)["md5"].upper(),
    "zero-padded, without dots": "host190036012007.dyn.cantv.net",
    "within IPv6, in hexadecimal": mapped(OWN4),
    "by 6to4": "2002:be24:c07::1",
    "in octal": "0276.044.014.07",
    "with HTML's dots": "190&#46;36&#46;12&#46;7",
    "percent-encoded twice": "190%252E36%252E12%252E7",
    "in base64, within a text": base64.b64encode(f"ip: {OWN4}".encode()).decode(),
    "in base64, as bytes": base64.b64encode(ipaddress.ip_address(OWN4).packed).decode(),
    "in JSON's escapes": "190\\u002e36\\u002e12\\u002e7",
}
WRITINGS6 = {
    "short": OWN6,
    "upper case": OWN6.upper(),
    "in full": PADDED,
    "without zeros": "2800:a4:1234:5678:0:0:0:9",
    "in brackets": f"https://[{OWN6}]:8080/",
    "with its zone": f"{OWN6}%eth0",
    "dashed": OWN6.replace(":", "-"),
    "percent-encoded": quote(OWN6, safe=""),
    "in reverse DNS": ipaddress.ip_address(OWN6).reverse_pointer,
    "in hexadecimal": ipaddress.ip_address(OWN6).packed.hex(),
    "in base64": base64.b64encode(OWN6.encode()).decode(),
    **{f"its {kind}": text for kind, text in digests(OWN6).items()},
    "another address of the home": "2800:a4:1234:ffff:aaaa:bbbb:cccc:dddd",
    "another address of the home, short": "2800:a4:1234::1",
    "its prefix": "2800:a4:1234::/48",
    "another address of the home, after a colon": "ip:2800:a4:1234:ffff:aaaa:bbbb:cccc:dddd",
    "another address of the home, percent-encoded": quote("2800:a4:1234:ffff::1", safe=""),
    "another address of the home, dashed": "2800-a4-1234-ffff--1.dyn.cantv.net",
}
WRITINGS = {f"IPv4 {how}": text for how, text in WRITINGS4.items()} | {
    f"IPv6 {how}": text for how, text in WRITINGS6.items()
}

# What an ISP's block page may show of its reader, and which part of it is private.
SUBSCRIBER = {
    "a labelled name": ("Usuario: jperez", "jperez"),
    "a name in bold": ("<b>Usuario:</b> jperez", "jperez"),
    "a contract": ("contrato = 40123456", "40123456"),
    "an identity card, Latin 1": ("c\xe9dula: V-12345678".encode("latin-1"), "V-12345678"),
    "a phone number in a script": ("var msisdn='584121234567';", "584121234567"),
    "a phone number alone": ("Estimado 584121234567,", "584121234567"),
    "a number with +": ("+584121234567", "584121234567"),
    "a MAC address": ("3c:52:82:aa:bb:cc", "3c:52:82:aa:bb:cc"),
    "a mail address": ("jperez@cantv.net", "jperez"),
    "an address within the ISP": ("Your IP: 100.70.1.2", "100.70.1.2"),
    "a session": ("?sessionid=d41d8cd98f", "d41d8cd98f"),
    "an identity card, UTF-8": ("Cédula: V-12345678", "V-12345678"),
    "an identity card, HTML's letters": ("C&eacute;dula: V-12345678", "V-12345678"),
    "a line, UTF-8": ("Línea: 4121234", "4121234"),
    "JSON": ('{"usuario": "jperez"}', "jperez"),
    "a table": ("<tr><td>Usuario:</td><td>jperez</td></tr>", "jperez"),
    "a form": ('<input type="hidden" name="usuario" value="jperez">', "jperez"),
    "two words": ("Usuario: Juan Bimba\n", "Bimba"),
    "a long value": ("usuario: " + "x" * 120 + "jperez", "jperez"),
    "the address within the ISP, in Spanish": ("Su dirección IP: 100.70.1.2", "100.70.1.2"),
}

# Where a redirect leads that the network, not the site, answers with.
REDIRECTS = {
    "a value": (f"http://aviso.cantv.example/?msisdn=584121234567&url={SITE}", "584121234567"),
    "many values": ("http://aviso.cantv.example/?" + "&".join(f"k{n}=jperez" for n in range(60)), "jperez"),
    "an empty value": ("http://aviso.cantv.example/?x=", "[scrubbed-nothing"),
    "semicolons": ("http://aviso.cantv.example/?a=1;msisdn=jperez", "jperez"),
    "a bare query": ("http://aviso.cantv.example/?584121234567", "584121234567"),
    "a fragment": ("http://aviso.cantv.example/#msisdn=584121234567", "584121234567"),
    "a path": ("http://aviso.cantv.example/aviso/584121234567", "584121234567"),
    "a value with the site in it": (f"http://aviso.cantv.example/?x=584121234567%7C{SITE}", "584121234567"),
}

# Anything else of an observation that a measurement keeps.
FIELDS = {
    "a header": (lambda v: http(headers=(("X-Client", v),))),
    "a title": (lambda v: http(title=f"Acceso denegado a {v}")),
    "a URL": (lambda v: http(url=f"http://aviso.example/{v}")),
    "a location": (lambda v: http(location=f"http://aviso.example/{v}")),
    "the Location header": (lambda v: http(headers=(("Location", f"http://aviso.example/{v}"),))),
    "a hop": (lambda v: Observations(hops=(f"http://{SITE}/", f"http://aviso.example/{v}"))),
    "an answer's bytes": (lambda v: dns(raw=base64.b64encode(b"\0\4" + ipaddress.ip_address(v).packed).decode())),
    "an answer": (lambda v: dns(answers=(v,))),
    "a late answer": (lambda v: dns(late=(LateAnswer(delay=0.1, rcode="NOERROR", answers=(v,)),))),
    "a cname": (lambda v: dns(cnames=(f"{v.replace(':', '-')}.dyn.cantv.net",))),
    "a name that was asked for": (lambda v: dns(name=f"{v.replace(':', '-')}.aviso.example")),
    "the name of a handshake": (lambda v: tls(server_name=f"{v.replace(':', '-')}.aviso.example")),
    "a certificate's name": (lambda v: tls(chain=(certificate(v),))),
}

OPEN = frozenset({
    "IPv4 zero-padded, without dots", "IPv4 within IPv6, in hexadecimal", "IPv4 by 6to4", "IPv4 in octal",
    "IPv4 with HTML's dots", "IPv4 percent-encoded twice", "IPv4 in base64, within a text", "IPv4 in base64, as bytes",
    "IPv4 in JSON's escapes",
    "IPv6 another address of the home, after a colon", "IPv6 another address of the home, percent-encoded",
    "IPv6 another address of the home, dashed",
    "an identity card, UTF-8", "an identity card, HTML's letters", "a line, UTF-8", "JSON", "a table", "a form", "two words",
    "a long value", "the address within the ISP, in Spanish",
    "a bare query", "a fragment", "a path", "a value with the site in it",
    "an answer", "a late answer", "a cname", "a name that was asked for", "the name of a handshake", "a certificate's name",
})  # fmt: skip


def told(names: Iterable[str]) -> list[object]:
    """The names; those still open are expected to fail."""
    mark = pytest.mark.xfail(strict=True, reason="a known leak")
    return [pytest.param(name, marks=mark if name in OPEN else ()) for name in names]


@pytest.fixture(scope="module")
def scrubber() -> Scrubber:
    return Scrubber([OWN4, OWN6])


COMMON: dict[str, Any] = {"hop": 0, "attempt": 1, "started": 0.0, "duration": 0.0, "failure": None}
FLOW: dict[str, Any] = COMMON | {"address": "190.36.12.8", "port": 80, "sources": ()}


def http(**more: Any) -> Observations:
    return Observations(
        hops=(f"http://{SITE}/",), http=(Http(**(FLOW | {"url": f"http://{SITE}/", "status": 200} | more)),)
    )


def dns(**more: Any) -> Observations:
    asked = {"name": SITE, "type": "A", "resolver": "r", "role": Role.ISP, "transport": "udp", "rcode": "NOERROR"}
    return Observations(dns=(Dns(**(COMMON | asked | more)),))


def tls(**more: Any) -> Observations:
    return Observations(tls=(Tls(**(FLOW | {"server_name": SITE} | more)),))


def certificate(name: str) -> Certificate:
    return Certificate(
        sha256="", subject=f"CN={name}", issuer="", names=(name,), not_before=None, not_after=None, der=""
    )


def page(**more: Any) -> Http:
    return http(**more).http[0]


# --- the vantage's own address -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", told(WRITINGS))
def test_the_own_address_vanishes_from_pages(how: str, scrubber: Scrubber) -> None:
    text = f"<p>Hola, {WRITINGS[how]}</p>".encode()
    for verified in (True, False):
        clean = scrubber.body(page(verified=verified), text)
        assert clean != text
        assert WRITINGS[how].encode() not in clean
        assert clean.startswith(b"<p>Hola")
        assert clean.endswith(b"</p>")


@pytest.mark.parametrize("how", [how for how in WRITINGS if how not in OPEN])
@pytest.mark.parametrize("field", ["a header", "a title", "a URL", "a location", "the Location header", "a hop"])
def test_the_own_address_vanishes_from_what_is_told_of_a_page(field: str, how: str, scrubber: Scrubber) -> None:
    observed = FIELDS[field](WRITINGS[how])
    assert WRITINGS[how].encode() in to_json(observed)
    assert WRITINGS[how].encode() not in to_json(scrubber.observations(observed))


@pytest.mark.parametrize("field", told(FIELDS))
@pytest.mark.parametrize("own", [OWN4, OWN6])
def test_the_own_address_vanishes_from_every_field(field: str, own: str, scrubber: Scrubber) -> None:
    printed = to_json(scrubber.observations(FIELDS[field](own)))
    assert own.encode() not in printed
    assert own.replace(":", "-").encode() not in printed
    assert base64.b64encode(b"\0\4" + ipaddress.ip_address(own).packed) not in printed


@pytest.mark.parametrize("other", ["190.36.12.8", "2800:a4:1235::9", "::1", "12:30:45", "fe80::1", "a:b", "2800:1:2"])
def test_other_addresses_stay(other: str, scrubber: Scrubber) -> None:
    assert scrubber.page(other.encode()) == other.encode()


def test_another_answer_keeps_its_bytes(scrubber: Scrubber) -> None:
    observed = dns(raw=base64.b64encode(b"\0\4\1\2\3\4").decode())
    assert scrubber.observations(observed) == observed


def test_without_an_own_address_nothing_changes() -> None:
    nobody = Scrubber([])
    assert nobody.page(OWN4.encode()) == OWN4.encode()
    assert nobody.observations(http(title=OWN4)) == http(title=OWN4)


def test_digests_are_taken_of_the_clean_page(scrubber: Scrubber) -> None:
    """Else the address could be found by trying all of them."""
    body = f"<title>{OWN4}</title>Su acceso fue restringido".encode()
    dirty = page(sha256=hashlib.sha256(body).hexdigest(), simhash="0" * 16, title=OWN4)
    kept = _as_kept(dirty, body, scrubber.body)
    clean = scrubber.body(dirty, body)
    assert kept.sha256 == hashlib.sha256(clean).hexdigest() != dirty.sha256
    assert kept.simhash != dirty.simhash
    assert kept.title == GONE.decode()


addresses4 = st.ip_addresses(v=4).map(str)
addresses6 = st.ip_addresses(v=6, network="2800::/12").map(str)
around = st.binary(max_size=30) | st.sampled_from([b"", b"://", b'"', b"=", b" ", b"%"])


@given(st.lists(addresses4 | addresses6, max_size=3), st.binary(max_size=200))
def test_any_page_can_be_cleaned_and_stays_clean(own: list[str], body: bytes) -> None:
    scrubber = Scrubber(own)
    once = scrubber.body(page(), body)
    assert scrubber.body(page(), once) == once


@given(addresses4 | addresses6, around, around)
def test_no_page_keeps_the_own_address_whatever_is_around_it(own: str, before: bytes, after: bytes) -> None:
    text = own.encode()
    for body in (before + text + after, (before + text) * 2 + after, before + text.upper() + after):
        assert text not in Scrubber([own]).page(body).lower()


@given(st.text(max_size=80), st.text(max_size=10))
def test_any_text_can_be_cleaned(text: str, site: str) -> None:
    scrubber = Scrubber([OWN4, OWN6])
    assert OWN4 not in scrubber.text(text + OWN4 + text)
    assert isinstance(without_subscriber(text, site), str)


# --- the subscriber ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", told(SUBSCRIBER))
def test_a_page_of_nobody_known_loses_what_it_says_of_the_subscriber(what: str, scrubber: Scrubber) -> None:
    text, private = SUBSCRIBER[what]
    body = text if isinstance(text, bytes) else text.encode()
    assert private.encode() not in scrubber.body(page(), b"<p>" + body + b"</p>")


@pytest.mark.parametrize("what", SUBSCRIBER)
def test_the_sites_own_page_keeps_what_it_publishes(what: str, scrubber: Scrubber) -> None:
    text = SUBSCRIBER[what][0]
    body = text if isinstance(text, bytes) else text.encode()
    assert scrubber.body(page(verified=True), body) == body


@pytest.mark.parametrize(
    "harmless", ["El acceso fue restringido", "color: #123456789abc", "v1.234567890", "15 de enero de 2018"]
)
def test_the_rest_of_a_block_page_stays(harmless: str, scrubber: Scrubber) -> None:
    assert scrubber.body(page(), harmless.encode()) == harmless.encode()


@pytest.mark.parametrize("what", told(REDIRECTS))
def test_a_redirect_loses_what_it_says_of_the_subscriber(what: str) -> None:
    url, private = REDIRECTS[what]
    clean = without_subscriber(url, SITE)
    assert private not in clean
    assert clean.startswith("http://aviso.cantv.example/")


def test_a_redirect_keeps_what_it_says_of_the_site() -> None:
    assert (
        without_subscriber(f"http://aviso.example/?url={SITE}&id=7", SITE)
        == f"http://aviso.example/?url={SITE}&id=[scrubbed]"
    )


@pytest.mark.parametrize(
    "url", [f"http://{SITE}/?page=2", f"http://{SITE}/", "/portada?page=2", "http://aviso.example/", "http://["]
)
def test_the_sites_own_redirects_stay(url: str) -> None:
    assert without_subscriber(url, SITE) == url


def test_a_redirect_that_cannot_be_read_loses_its_query() -> None:
    assert without_subscriber("http://[?msisdn=584121234567", SITE) == "http://["


@pytest.mark.parametrize("cookie", ["sid=jperez; path=/", "sid=jperez", "sid=jperez; Domain=.cantv.net; Expires=never"])
def test_a_cookies_value_vanishes_and_its_name_stays(cookie: str, scrubber: Scrubber) -> None:
    observed = scrubber.observations(http(headers=(("Set-Cookie", cookie), ("SET-COOKIE", cookie))))
    assert observed.http[0].headers == (("Set-Cookie", "sid=[scrubbed]"), ("SET-COOKIE", "sid=[scrubbed]"))


def test_a_header_without_anything_private_stays(scrubber: Scrubber) -> None:
    observed = http(headers=(("Server", "nginx"), ("Location", "/portada")), location="/portada", title=None)
    assert scrubber.observations(observed) == observed


closed = st.sampled_from([SUBSCRIBER[what][0] for what in SUBSCRIBER if what not in OPEN])


@given(
    st.binary(max_size=40),
    closed,
    st.binary(max_size=40),
)
def test_cleaning_a_block_page_twice_changes_nothing_more(before: bytes, text: str | bytes, after: bytes) -> None:
    body = before + (text if isinstance(text, bytes) else text.encode()) + after
    scrubber = Scrubber([OWN4])
    once = scrubber.body(page(), body)
    assert scrubber.body(page(), once) == once
