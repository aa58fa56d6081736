"""Innocent networks and sites that look guilty: none of them may be `blocked`, the worst mistake there is."""

import pytest
from verdict_cases import FALSE, HTTP, HTTPS, NOTICE, SITE, SITE6, TWIN, Case, measured

from monitor import failures as f
from monitor.models import Status

EDITION = "https://ve.elpitazo.example/"
LOCAL = "Edición Venezuela, portada de hoy con todas las noticias nacionales y de las regiones andinas. " * 10


def honest(url: str = HTTPS) -> Case:
    """The names are told truly."""
    return measured(url).dns(isp=SITE, doh=SITE)


def opens_there(case: Case, **page: object) -> Case:
    """A control gets the page, every time."""
    return case.control().dns(helper=SITE).opens(times=3, **page)


def behind_redirect(how: str) -> Case:
    """The site sends this vantage to an edition that fails; the first hop is well."""
    return honest().redirects(EDITION).dns(isp=TWIN, doh=TWIN).cut(how, TWIN, times=5)


def dead_name(url: str = HTTP) -> Case:
    """Everybody trusted says that the name does not exist; the ISP's resolver gives an address."""
    return measured(url).dns(isp=SITE, doh="NXDOMAIN", doh2="NXDOMAIN")


CASES: dict[str, Case] = {
    # --- the line
    "IPv4 is broken here, and the site has nothing else":
        opens_there(honest().conditions(online4=False, online6=True).cut("tcp.timeout", times=5)),
    "the first resolver denies once in three times, and is lost before and after":
        measured().dns(isp="timeout").dns(isp="NXDOMAIN").dns(isp="timeout", isp2=SITE, doh=SITE).opens(times=3)
        .control().dns(helper=SITE).opens(times=3),
    "the first resolver denies once in three times, and fails before":
        measured().dns(isp="SERVFAIL", times=2).dns(isp="NXDOMAIN", isp2=SITE, doh=SITE).opens(times=3)
        .control().dns(helper=SITE).opens(times=3),
    "the first resolver denies once in three times, and refuses before and after":
        measured().dns(isp="REFUSED").dns(isp="NXDOMAIN").dns(isp="REFUSED", isp2=SITE, doh=SITE).opens(times=3)
        .control().dns(helper=SITE).opens(times=3),
    "a site of IPv6 only, and the resolver's answer of IPv6 is lost":
        measured().dns(isp="NO_ANSWER", doh="NO_ANSWER").dns(isp="timeout", kind="AAAA", times=3).dns(doh=SITE6, kind="AAAA")
        .control().dns(helper="NO_ANSWER").dns(helper=SITE6, kind="AAAA").opens(SITE6, times=3),
    "a site of IPv6 only, and the resolver's answer of IPv6 is refused":
        measured().dns(isp="NO_ANSWER", doh="NO_ANSWER").dns(isp="REFUSED", kind="AAAA", times=3).dns(doh=SITE6, kind="AAAA")
        .control().dns(helper="NO_ANSWER").dns(helper=SITE6, kind="AAAA").opens(SITE6, times=3),
    "a site of IPv6 only, and the resolver's answer of IPv6 is filtered":
        measured().dns(isp="NO_ANSWER", doh="NO_ANSWER").dns(isp="NO_ANSWER", kind="AAAA", times=3).dns(doh=SITE6, kind="AAAA")
        .control().dns(helper="NO_ANSWER").dns(helper=SITE6, kind="AAAA").opens(SITE6, times=3),
    "a site of IPv6 only, and the resolver's answer of IPv6 fails":
        measured().dns(isp="NO_ANSWER", doh="NO_ANSWER").dns(isp="SERVFAIL", kind="AAAA", times=3).dns(doh=SITE6, kind="AAAA")
        .control().dns(helper="NO_ANSWER").dns(helper=SITE6, kind="AAAA").opens(SITE6, times=3),
    "IPv6 is broken here, and the site has nothing else":
        measured().conditions(online6=False).dns(isp=SITE6, doh=SITE6, kind="AAAA").cut("tcp.unreachable", SITE6, times=5)
        .control().dns(helper=SITE6, kind="AAAA").opens(SITE6, times=3),
    "neutral sites are reset as well":
        opens_there(honest().neutral(f.RESET, "tls").cut("tls.reset")),
    "a handshake that trickles like everything else on this line":
        opens_there(honest().conditions(speed=300.0).cut("tls.timeout", bytes_received=2_000)),
    "slow, and nobody knows how fast this line is":
        opens_there(honest().unchecked().cut("http.timeout", status=200, bytes_received=9_000, last_byte_s=9.9)),
    # --- the control
    "the second hop is down, and the control was never there":
        behind_redirect("tcp.timeout").control().dns(helper=SITE).opens(),
    "the second hop is reset, and the control was never there":
        behind_redirect("tls.reset").control().dns(helper=SITE).opens(),
    "the second hop is down, and the helper is overloaded when asked about it":
        behind_redirect("tcp.timeout").control().dns(helper=SITE).opens().control(failure="service_unavailable"),
    "the name is gone, and the helper's resolver has not heard":
        measured().dns(isp="NXDOMAIN", doh="NXDOMAIN", doh2="NXDOMAIN", times=3)
        .control().dns(helper=SITE).cut("tcp.timeout"),
    "a helper invents a site":
        measured().dns(isp="NXDOMAIN", doh="NXDOMAIN", doh2="NXDOMAIN", times=3).control().dns(helper=FALSE).opens(FALSE, times=3),
    "the control loses a connection to the vantage's CDN address, on http":
        measured(HTTP).dns(isp=SITE, doh=TWIN).opens(text=LOCAL, title="Edición Venezuela")
        .control().dns(helper=TWIN).opens(TWIN).cut("tcp.timeout", times=1).cut("http.timeout", times=2),
    # --- names
    "the ISP's resolver is down, and nobody checked it":
        measured().unchecked().dns(isp="timeout", doh=SITE, times=3).opens(),
    "the ISP's resolver answers one name of three":
        opens_there(measured().resolver_check("isp", answered=1).dns(isp="timeout", doh=SITE, times=3).opens()),
    "name servers that fail for nearly everybody":
        measured().dns(isp="SERVFAIL", public="SERVFAIL", public2="SERVFAIL", doh="SERVFAIL", times=3).dns(doh2=SITE),
    "name servers out of reach, as the resolver itself says":
        measured().dns(isp="SERVFAIL", times=3, errors=(22,)).dns(doh=SITE).opens(),
    "one filtering DoH resolver denies a name that everybody else resolves":
        measured(HTTP).dns(isp=SITE, public=SITE, public2=SITE, doh="NXDOMAIN").opens(),
    "a name that expired is still cached, its server gone":
        measured().dns(isp=SITE, doh="NXDOMAIN", doh2="NXDOMAIN").cut("tcp.timeout"),
    "a name that expired is still cached, its server still there":
        dead_name().opens().control().dns(helper="NXDOMAIN"),
    "a Pi-hole that answers every question on port 53":
        opens_there(
            measured().dns(lan="NXDOMAIN", public="NXDOMAIN", public2="NXDOMAIN", doh=SITE, times=3)
            .counter_answer("NXDOMAIN").opens()
        ),
    "the home uses a filtering resolver, which is also the only public one asked":
        opens_there(measured().dns(lan="NXDOMAIN", public="NXDOMAIN", doh=SITE).opens()),
    # --- the site
    "one address of many is dead, and the ISP's resolver gives that one":
        measured().dns(isp=SITE, doh=TWIN).cut("tcp.timeout", times=5).opens(TWIN)
        .control().dns(helper=TWIN).cut("tcp.timeout").opens(TWIN),
    "one backend of many answers 503, and the ISP's resolver gives that one, on http":
        measured(HTTP).dns(isp=SITE, doh=TWIN).opens(status=503, text="Error", title="Error").opens(TWIN)
        .control().dns(helper=TWIN).opens(status=503, text="Error", title="Error").opens(TWIN),
    "the certificate of one regional node has expired":
        measured().dns(isp=TWIN, doh=SITE).cut("tls.expired", TWIN).opens()
        .control().dns(helper=SITE).cut("tls.expired", TWIN).opens(),
    "a node inside the ISP, closed to others, is broken":
        measured().dns(isp=TWIN, doh=SITE).cut("tls.eof", TWIN).opens()
        .control().dns(helper=SITE).cut("tcp.timeout", TWIN).opens(),
    "a national edition by redirect, on http":
        opens_there(honest(HTTP).https_side().redirects(EDITION).dns(isp=SITE, doh=SITE).opens(text=LOCAL, title="Venezuela")),
    "the site answers 503 by chance, on http":
        opens_there(honest(HTTP).opens(status=503, text="Busy", title="Busy").https_side()),
    "a firewall of the site answers 403, on http":
        opens_there(honest(HTTP).opens(status=403, text="Forbidden", title="Forbidden").https_side()),
}  # fmt: skip

# Blocks that a page comparison by one weak likeness lets pass.
MISSED: dict[str, Case] = {
    "a block page as long as the site's page, the same at two other hosts":
        opens_there(honest(HTTP).opens(text=NOTICE, title="Restringido").elsewhere("", text=NOTICE, title="Restringido"),
                    text=LOCAL),
    "a block page without words, the same at two other hosts, and the site's page has none either":
        opens_there(honest(HTTP).opens(text="x" * 2_000, title="Restringido").elsewhere("", text="x" * 2_000, title="Restringido"),
                    text="y" * 2_100),
    "a block page that shares a header with the site, the same at two other hosts":
        opens_there(honest(HTTP).opens(text=NOTICE, headers=(("Referrer-Policy", "origin"),))
                    .elsewhere("", text=NOTICE, headers=(("Referrer-Policy", "origin"),)),
                    headers=(("Referrer-Policy", "same-origin"),)),
}  # fmt: skip


@pytest.mark.parametrize("what", CASES)
def test_the_innocent_are_not_accused(what: str) -> None:
    assert CASES[what].verdict.status is not Status.BLOCKED


@pytest.mark.parametrize("what", MISSED)
def test_a_block_is_not_missed(what: str) -> None:
    assert MISSED[what].verdict.status is Status.BLOCKED
