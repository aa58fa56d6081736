"""What the censor does -> what the rules say. At least one case for each rule, and what must hold for the table itself.

A case is named by what happens on the wire; `verdict_cases.py` explains how one is told.
"""

import msgspec
import pytest
from verdict_cases import (
    FALSE,
    HTTP,
    HTTPS,
    NEWS,
    NOTICE,
    SITE,
    SITE6,
    TWIN,
    Case,
    measured,
)

from monitor import explain
from monitor import failures as f
from monitor.models import Purpose, Status
from monitor.verdict import RULES, judge
from monitor.verdict.evidence import Evidence
from monitor.verdict.fingerprints import KNOWN
from monitor.verdict.likelihood import FLOOR, LOG10_LR

WWW, MOBILE, EDITION = "http://www.elpitazo.example/", "http://m.elpitazo.example/", "https://ve.elpitazo.example/"
NOTICE_AT = "http://186.167.3.3/aviso"
OTHER = "Busco apartamento en alquiler, vendo carro usado, compro oro y plata, clasificados gratis de la semana. " * 30
LOTTERY = "Sorteo de lotería, números ganadores, resultados del béisbol y de las carreras de caballos. " * 8
KNOWN_PAGE = next(entry.text for entry in KNOWN if entry.where == "body")


def honest(url: str = HTTPS) -> Case:
    """The names are told truly."""
    return measured(url).dns(isp=SITE, doh=SITE)


def opens_there(case: Case, **page: object) -> Case:
    """A control gets the page, every time."""
    return case.control().dns(helper=SITE).opens(times=3, **page)


def fails_there(case: Case, how: str) -> Case:
    """A control fails as well."""
    return case.control().dns(helper=SITE).cut(how)


def denied(said: str, **more: object) -> Case:
    """The ISP's resolver says so three times; the genuine site opens at the address that others give."""
    return measured().dns(isp=said, times=3, **more).dns(doh=SITE).opens()


def block_server(case: Case) -> Case:
    """The false address gives everybody the same page, whatever name is asked for."""
    return case.opens(FALSE, text=NOTICE).innocent("", FALSE, text=NOTICE)


def trickle(speed: float, last_byte_s: float) -> dict[str, object]:
    """A response that had not ended after 10 s."""
    return {"status": 200, "bytes_received": int(speed * 10), "last_byte_s": last_byte_s}


# what happens -> status, methods, rule
CASES: dict[str, tuple[Case, str, tuple[str, ...], str]] = {
    # --- the site opens --------------------------------------------------------------------------------------------
    "nothing": (opens_there(honest().opens()), "ok", (), "page_verified"),
    "nothing, and no control": (honest().opens(), "ok", (), "page_verified"),
    "nothing, on http": (opens_there(honest(HTTP).opens()), "ok", (), "page_same"),
    "nothing, on http, and only the https side as witness":
        (honest(HTTP).opens().https_side(), "ok", (), "page_same"),
    "a redirect to https":
        (honest(HTTP).redirects(HTTPS).dns(isp=SITE, doh=SITE).opens(), "ok", (), "page_verified"),
    "the first resolver is silent, the second is not":
        (measured().dns(isp="timeout", isp2=SITE, doh=SITE).opens(), "ok", (), "page_verified"),
    "the first resolver is silent three times, the second is not":
        (measured().dns(isp="timeout", times=3).dns(isp2=SITE, doh=SITE).opens(), "ok", (), "page_verified"),
    "a false address that relays the genuine site":
        (opens_there(measured().dns(isp=FALSE, doh=SITE).opens(FALSE)), "ok", (), "page_verified"),
    "CDN addresses differ, on http":
        (measured(HTTP).dns(isp=TWIN, doh=SITE).opens(TWIN).control().dns(helper=SITE).opens(), "ok", (), "page_same"),
    "one address of two is dead":
        (measured().dns(isp=f"{SITE} {TWIN}", doh=SITE).cut("tcp.timeout").opens(TWIN).control().dns(helper=SITE)
         .cut("tcp.timeout").opens(TWIN), "ok", (), "page_verified"),
    "broken IPv6":
        (honest().dns(isp=SITE6, kind="AAAA").cut("tcp.unreachable", SITE6).opens(), "ok", (), "page_verified"),
    "a third of the connections are reset":
        (honest().cut("tls.reset", times=5).opens(times=7).innocent(times=10)
         .control().dns(helper=SITE).opens(times=10), "ok", ("tls.reset",), "page_verified"),
    "a third of the connections are reset, for the control too":
        (honest().cut("tls.reset", times=5).opens(times=7)
         .control().dns(helper=SITE).opens(times=7).cut("tls.reset", times=5), "ok", (), "page_verified"),
    "a handshake lost by chance": (opens_there(honest().cut("tls.timeout", times=1).opens(times=2)), "ok", (), "page_verified"),
    "a page lost by chance": (opens_there(honest().cut("http.timeout", times=1).opens(times=2)), "ok", (), "page_verified"),
    "refuses the control, serves the vantage":
        (honest().opens().control().dns(helper=SITE).cut("tcp.timeout"), "ok", (), "page_verified"),
    "a page that the control gets word for word, over a rewritten header":
        (opens_there(honest(HTTP).opens(headers=(("Via", "1.1 proxy"),))), "ok", (), "page_same"),
    "pages too long to be kept whole":
        (opens_there(honest(HTTP).opens(text=OTHER, truncated=True), truncated=True), "ok", (), "page_alike"),
    "a page as long as the control's":
        (opens_there(honest(HTTP).opens(text=OTHER)), "ok", (), "page_alike"),
    "a page as long as the control's, another elsewhere":
        (opens_there(honest(HTTP).opens(text=OTHER).elsewhere("", text=NOTICE)), "ok", (), "page_alike"),
    "a page with a header that the control's has":
        (opens_there(honest(HTTP).opens(text=NOTICE, headers=(("X-Pitazo", "1"),)), headers=(("X-Pitazo", "2"),)),
         "ok", (), "page_alike"),
    "an empty page":
        (opens_there(honest(HTTP).opens(status=204, text=""), status=204, text=""), "ok", (), "page_same"),
    "an empty page, and no digest of nothing":
        (opens_there(honest(HTTP).opens(status=204, text="", sha256=None), status=204, text=""), "ok", (), "page_alike"),
    # --- the site refuses ------------------------------------------------------------------------------------------
    "the site answers 403 here": (opens_there(honest().opens(status=403)), "geoblocked", (), "site_refuses_vantage"),
    "the site answers 503 here, again and again":
        (opens_there(honest().opens(status=503, times=3)), "inconclusive", (), "error_here"),
    "the site answers 503 here, once":
        (opens_there(honest().opens(status=503)), "inconclusive", (), "error_here"),
    "the site says that it was asked too often": (opens_there(honest().opens(status=429)), "inconclusive", (), "error_here"),
    "the site answers 503 here, with a challenge":
        (opens_there(honest().opens(status=503, title="Just a moment...")), "geoblocked", (), "site_refuses_vantage"),
    "the site answers 451 here, others arrive":
        (honest().opens(status=451).control("https://other.example/").dns(helper=SITE).opens(),
         "geoblocked", (), "site_refuses_vantage"),
    "the site asks for a CAPTCHA here":
        (opens_there(honest().opens(text="¿?", title="Just a moment...")), "geoblocked", (), "site_refuses_vantage"),
    "the site has a CAPTCHA in its title, for everyone":
        (opens_there(honest().opens(title="Captcha"), title="Captcha"), "ok", (), "page_verified"),
    "the site answers 403 to everyone":
        (opens_there(honest().opens(status=403), status=403), "ok", (), "site_refuses_everyone"),
    "the site answers 403 to everyone, on http":
        (opens_there(honest(HTTP).opens(status=403), status=403), "ok", (), "site_refuses_everyone"),
    "the site answers 503 to everyone": (opens_there(honest().opens(status=503), status=503), "down", (), "site_error"),
    "the site answers 403 here, no control": (honest().opens(status=403), "inconclusive", (), "refused_without_control"),
    "the site answers 403 here on http, from its own server":
        (opens_there(honest(HTTP).opens(status=403, text="No", headers=(("X-Pitazo", "1"),)), headers=(("X-Pitazo", "2"),)),
         "geoblocked", (), "site_refuses_vantage"),
    "the site answers 403 here on http, as long as for the control":
        (opens_there(honest(HTTP).opens(status=403, text=OTHER), status=403), "ok", (), "site_refuses_everyone"),
    "the https side answers 403, too":
        (honest(HTTP).opens(status=403).https_side(status=403), "inconclusive", (), "refused_without_control"),
    "an article that quotes a known block page":
        (opens_there(honest(HTTP).opens(text=NEWS + KNOWN_PAGE), text=NEWS + KNOWN_PAGE), "ok", (), "page_same"),
    "an article that quotes a known block page, as on the https side":
        (honest(HTTP).opens(text=NEWS + KNOWN_PAGE).https_side(text=NEWS + KNOWN_PAGE), "ok", (), "page_same"),
    "an honest address of IPv6 beside a lie, where IPv6 does not work":
        (measured().dns(isp="NXDOMAIN", times=3).dns(isp=SITE6, kind="AAAA").dns(doh=SITE).opens(),
         "blocked", ("dns.nxdomain",), "blocked_dns"),
    "an honest address of IPv6 beside a lie, where IPv6 works":
        (measured().conditions(online6=True).dns(isp="NXDOMAIN", times=3).dns(isp=SITE6, kind="AAAA").dns(doh=SITE)
         .opens(SITE6), "ok", (), "page_verified"),
    "of two pages the site's own counts, whichever came first":
        (opens_there(honest(HTTP).opens(text=NOTICE).opens()), "ok", (), "page_same"),
    # --- redirects -------------------------------------------------------------------------------------------------
    "redirects without end, for everyone":
        (honest().opens(status=302, location=HTTPS, text="")
         .control().dns(helper=SITE).opens(status=302, location=HTTPS, text=""), "down", (), "loop_for_everyone"),
    "redirects without end, here":
        (honest().opens(status=302, location=HTTPS, text=""), "inconclusive", (), "loop_here"),
    "a redirect whose second hop is reset":
        (honest().redirects("https://m.elpitazo.example/").dns(isp=TWIN, doh=TWIN).cut("tls.reset", TWIN)
         .control().dns(helper=SITE).redirects("https://m.elpitazo.example/").dns(helper=TWIN).opens(TWIN, times=3),
         "blocked", ("tls.reset",), "blocked_tls"),
    "a redirect to www, on http": (
        honest(HTTP).redirects(WWW).dns(isp=SITE, doh=SITE).opens()
        .control().dns(helper=SITE).redirects(WWW).dns(helper=SITE).opens(), "ok", (), "page_same",
    ),
    "a redirect elsewhere, as for the control":
        (honest(HTTP).redirects(MOBILE).dns(isp=TWIN, doh=TWIN).opens(TWIN)
         .control().dns(helper=SITE).redirects(MOBILE).dns(helper=TWIN).opens(TWIN), "ok", (), "page_same"),
    "a redirect elsewhere, as from the https side":
        (honest(HTTP).https_side(status=302, location=MOBILE, text="").redirects(MOBILE).dns(isp=TWIN, doh=TWIN).opens(TWIN)
         .control(MOBILE).dns(helper=TWIN).opens(TWIN), "ok", (), "page_same"),
    "a redirect elsewhere, to the page that the control gets":
        (honest(HTTP).redirects(EDITION).dns(isp=TWIN, doh=TWIN).opens(TWIN)
         .control().dns(helper=SITE).opens(), "ok", (), "page_verified"),
    "a redirect to what is no URL":
        (honest(HTTP).opens(status=302, text="", location="http://["), "inconclusive", (), "no_control"),
    # --- whose network -----------------------------------------------------------------------------------------------
    "another network at the end": (opens_there(honest().conditions(network_changed=True).opens()),
         "inconclusive", (), "network_changed"),
    "another network at the end, and a block":
        (opens_there(honest().conditions(network_changed=True).cut("tls.reset").innocent()),
         "inconclusive", (), "network_changed"),
    # --- through a proxy -------------------------------------------------------------------------------------------
    "through a proxy, without a resolver of its own":
        (opens_there(measured().conditions(proxied=True).dns(doh=SITE).opens()), "ok", (), "page_verified"),
    "without a resolver, and without a proxy that would explain it":
        (opens_there(measured().dns(doh=SITE).opens()), "inconclusive", (), "undecided"),
    "through a proxy that connects to no resolver":
        (opens_there(measured().conditions(proxied=True).dns(isp="unknown", doh=SITE).opens()), "ok", (), "page_verified"),
    "through a proxy, a resolver that denies the name":
        (opens_there(measured().conditions(proxied=True).dns(isp="NXDOMAIN", doh=SITE, times=3).opens()),
         "blocked", ("dns.nxdomain",), "blocked_dns"),
    "through a proxy that says nothing":
        (opens_there(honest().conditions(proxied=True).cut("tcp.unknown", times=5)), "inconclusive", (), "undecided"),
    "through a proxy that is refused":
        (opens_there(honest().conditions(proxied=True).cut("tcp.refused", times=5)), "blocked", ("tcp.refused",), "blocked_tcp"),
    "through a proxy that hangs up whatever the name":
        (opens_there(honest().conditions(proxied=True).cut("tls.eof", times=5).innocent("tls.eof")),
         "inconclusive", (), "undecided"),
    "through a proxy that hangs up, and no other name was tried":
        (opens_there(honest().conditions(proxied=True).cut("tls.eof", times=5)), "inconclusive", (), "undecided"),
    "through a proxy, cut at this name and no other":
        (opens_there(honest().conditions(proxied=True).cut("tls.eof", times=5).innocent()), "blocked", ("tls.eof",), "blocked_tls"),
    # --- nobody is accused -----------------------------------------------------------------------------------------
    "no network": (opens_there(honest().conditions(online4=False).cut("tcp.timeout")), "inconclusive", (), "network_down"),
    "a captive portal":
        (opens_there(honest(HTTP).conditions(captive_portal=True).opens(text=NOTICE)), "inconclusive", (), "captive_portal"),
    "every certificate is replaced":
        (opens_there(honest().conditions(intercepted=True).cut("tls.certificate")), "inconclusive", (), "certificates_replaced"),
    "a clock two years off":
        (opens_there(honest().conditions(clock_offset=6e7).cut("tls.expired")), "inconclusive", (), "clock_wrong"),
    "a clock two years off, so that every certificate looks replaced":
        (opens_there(honest().conditions(clock_offset=6e7, intercepted=True).cut("tls.expired")),
         "inconclusive", (), "clock_wrong"),
    "the resolver is down for every name":
        (denied("timeout").resolver_check("isp", answered=0), "inconclusive", (), "resolver_outage"),
    "a Pi-hole": (measured().dns(lan="0.0.0.0", isp=SITE, doh=SITE).opens(), "inconclusive", (), "local_resolver"),
    "a public resolver in the machine's settings":
        (measured().dns(public="NXDOMAIN", doh=SITE).opens(), "inconclusive", (), "local_resolver"),
    "a neighbour's trigger":
        (opens_there(honest().neighbour().cut("tls.reset")), "inconclusive", (), "residual_neighbour"),
    "neutral sites time out as well":
        (opens_there(honest().neutral(f.TIMEOUT).cut("tls.timeout")), "inconclusive", (), "line_overloaded"),
    "neutral sites are reset as well":
        (opens_there(honest().neutral(f.RESET, "tls").cut("tls.reset")), "inconclusive", (), "line_overloaded"),
    "silence, once, at an address where whatever is said is cut":
        (opens_there(honest().cut("tls.timeout", times=1).innocent("tls.timeout")), "inconclusive", (), "weak_evidence"),
    "a dropped address, tried once, and a control that tells only of the page":
        (honest().cut("tcp.timeout", times=1).control(tcp=(), tls=()).opens(), "inconclusive", (), "weak_evidence"),
    "dns.servfail, told once, and nothing else":
        (measured().dns(isp="SERVFAIL", doh=SITE), "inconclusive", (), "weak_evidence"),
    "every dead name is answered with advertisements":
        (block_server(measured(HTTP).resolver_check("isp", dead=FALSE).dns(isp=FALSE, doh="NXDOMAIN", doh2="NXDOMAIN")),
         "down", (), "name_gone"),
    "a dead name is answered, by a resolver nobody checked":
        (block_server(measured(HTTP).unchecked().dns(isp=FALSE, doh="NXDOMAIN", doh2="NXDOMAIN")),
         "inconclusive", (), "ghost_name"),
    "a dead name is answered, by a resolver that was silent when asked for another dead name":
        (block_server(measured(HTTP).resolver_check("isp", dead=f.TIMEOUT).dns(isp=FALSE, doh="NXDOMAIN", doh2="NXDOMAIN")),
         "inconclusive", (), "ghost_name"),
    "a dead name is answered, and one source alone says that it is dead":
        (block_server(measured(HTTP).dns(isp=FALSE, doh="NXDOMAIN")), "inconclusive", (), "ghost_name"),
    "a name that is dead for DoH resolves for every public resolver":
        (block_server(measured(HTTP).dns(isp=FALSE, public=SITE, public2=SITE, doh="NXDOMAIN", doh2="NXDOMAIN")),
         "inconclusive", (), "ghost_name"),
    "a dead name is answered with a page that only this name gets":
        (measured(HTTP).dns(isp=FALSE, doh="NXDOMAIN", doh2="NXDOMAIN").opens(FALSE, text=NOTICE)
         .innocent("", FALSE, text=OTHER), "inconclusive", (), "ghost_name"),
    "a dead name is answered with a redirect that everybody gets":
        (measured(HTTP).dns(isp=FALSE, doh="NXDOMAIN", doh2="NXDOMAIN").opens(FALSE, status=302, location=NOTICE_AT)
         .innocent("", FALSE, status=302, location=NOTICE_AT), "inconclusive", (), "ghost_name"),
    "the resolver is silent, and nobody checked it":
        (opens_there(denied("timeout").unchecked()), "inconclusive", (), "resolver_outage"),
    "the resolver answers one name of three":
        (opens_there(denied("SERVFAIL").resolver_check("isp", answered=1)), "inconclusive", (), "resolver_outage"),
    "name servers out of reach, as the resolver itself says":
        (denied("SERVFAIL", errors=(22,)), "inconclusive", (), "undecided"),
    "name servers that fail for nearly everybody":
        (measured().dns(isp="SERVFAIL", doh="SERVFAIL", doh2=SITE, times=3), "inconclusive", (), "no_control"),
    "an address that others are not given, closed to everyone":
        (measured().dns(isp=FALSE, doh=SITE).cut("tcp.timeout", FALSE, times=5).opens()
         .control().dns(helper=SITE).cut("tcp.timeout", FALSE).opens(), "inconclusive", (), "undecided"),
    "an address that others are not given, and its plain side says different things to different names":
        (measured().dns(isp=FALSE, doh=SITE).cut("tcp.refused", FALSE).plain_side(FALSE, to_others=OTHER).opens(),
         "inconclusive", (), "no_control"),
    "a cut, and no control": (honest().cut("tls.reset"), "inconclusive", (), "no_control"),
    "a cut, and a helper that is down":
        (honest().cut("tls.reset").control(failure="generic_timeout_error"), "inconclusive", (), "no_control"),
    "another page, and no control": (honest(HTTP).opens(text=NOTICE), "inconclusive", (), "no_control"),
    "another page, and nothing that tells whose":
        (opens_there(honest(HTTP).opens(text=NOTICE)), "inconclusive", (), "page_unproven"),
    "another redirect, and nothing that tells whose":
        (opens_there(honest(HTTP).opens(status=302, location="http://ofertas.example/", text="")),
         "inconclusive", (), "page_unproven"),
    "the https side says the same with another status, and no control":
        (honest(HTTP).opens().https_side(status=203), "inconclusive", (), "no_control"),
    "another page, once, and the https side differs":
        (opens_there(honest(HTTP).opens(text=NOTICE).https_side()), "inconclusive", (), "page_unproven"),
    "another page, not the same each time, and the https side differs":
        (opens_there(honest(HTTP).opens(text=NOTICE, times=2).opens(text=LOTTERY).https_side()),
         "inconclusive", (), "page_unproven"),
    "another redirect, and the https side differs":
        (opens_there(honest(HTTP).opens(status=302, text="", location=NOTICE_AT, times=3).https_side()),
         "inconclusive", (), "page_unproven"),
    "another page, the same at two hosts of the site's own content network":
        (opens_there(honest(HTTP).opens(text=NOTICE).elsewhere("", text=NOTICE).serves_https_elsewhere()),
         "inconclusive", (), "page_unproven"),
    "another redirect, the same at two hosts of the site's own content network":
        (opens_there(honest(HTTP).opens(status=302, text="", location=NOTICE_AT)
                     .elsewhere("", status=302, text="", location=NOTICE_AT).serves_https_elsewhere()),
         "inconclusive", (), "page_unproven"),
    "another page, and yet another elsewhere":
        (opens_there(honest(HTTP).opens(text=NOTICE).elsewhere("", text=NOTICE, status=404)), "inconclusive", (), "page_unproven"),
    "a dropped address, and a control that does not tell what it was told of the name":
        (honest().cut("tcp.timeout").control().cut("tls.reset").cut("tcp.timeout"), "inconclusive", (), "undecided"),
    "a page that ends before it begins, and nothing that tells whose":
        (opens_there(honest(HTTP).opens(text="", complete=False)), "inconclusive", (), "page_unproven"),
    "one page too long to be kept whole, and nothing that tells whose":
        (opens_there(honest(HTTP).opens(text=OTHER, truncated=True)), "inconclusive", (), "page_unproven"),
    "a page that was not kept readable":
        (opens_there(honest(HTTP).opens(text=NOTICE, body="AAAA")), "inconclusive", (), "page_unproven"),
    "a page whose fingerprint somebody else wrote":
        (opens_there(honest(HTTP).opens(text=NOTICE, simhash="?")), "inconclusive", (), "page_unproven"),
    "a page that was not kept": (opens_there(honest(HTTP).opens(text=NOTICE, body=None)), "inconclusive", (), "page_unproven"),
    "a failure that nobody can name": (opens_there(honest().cut("tls.unknown")), "inconclusive", (), "undecided"),
    "an answer that is no http": (opens_there(honest().cut("http.protocol")), "inconclusive", (), "undecided"),
    "nothing was measured": (measured(), "inconclusive", (), "no_control"),
    "a broken DNSSEC zone": (denied("SERVFAIL", errors=(6,)), "inconclusive", (), "undecided"),
    "a zone that resolves without validation":
        (denied("SERVFAIL").dns(isp=SITE, purpose=Purpose.CHECKING_DISABLED), "inconclusive", (), "undecided"),
    "random resets, for the control too":
        (honest().cut("tls.reset", times=4).control().dns(helper=SITE).opens(times=2).cut("tls.reset", times=3),
         "inconclusive", (), "undecided"),
    "a handshake that trickles like everything else on this line":
        (opens_there(honest().conditions(speed=300.0).cut("tls.timeout", bytes_received=2_000)),
         "inconclusive", (), "undecided"),
    "cut at this address whatever the name, and the name passes elsewhere":
        (opens_there(honest().cut("tls.timeout").innocent("tls.timeout").elsewhere()), "inconclusive", (), "weak_evidence"),
    "two controls contradict each other":
        (opens_there(honest().cut("tls.reset")).control(id="b").dns(helper=SITE).cut("tls.reset"),
         "inconclusive", (), "undecided"),
    "a resolver that loses one question of three":
        (opens_there(denied("timeout").resolver_check("isp", answered=2)), "inconclusive", (), "resolver_outage"),
    "a page for which the control waited as long as we did":
        (opens_there(honest().cut("http.timeout"), duration=9.0), "inconclusive", (), "undecided"),
    "a line of 100 kbit/s":
        (opens_there(honest().conditions(speed=12_000.0).cut("http.timeout", **trickle(11_000, 9.9))),
         "inconclusive", (), "undecided"),
    # --- down ------------------------------------------------------------------------------------------------------
    "the name does not exist":
        (measured().dns(isp="NXDOMAIN", doh="NXDOMAIN", doh2="NXDOMAIN"), "down", (), "name_gone"),
    "the name leads to a private address": (measured().dns(isp="10.0.0.1", doh="10.0.0.1"), "down", (), "site_at_bogon"),
    "the zone is broken for everyone": (measured().dns(isp="SERVFAIL", doh="SERVFAIL"), "down", (), "fails_for_everyone"),
    **{
        f"{how} for everyone": (fails_there(honest().cut(how), how), "down", (), "fails_for_everyone")
        for how in (
            "tcp.refused", "tcp.timeout", "tls.expired", "tls.certificate", "tls.wrong_name", "tls.reset",
            "http.eof", "http.timeout",
        )
    },
    # --- names -----------------------------------------------------------------------------------------------------
    "dns.nxdomain": (opens_there(denied("NXDOMAIN")), "blocked", ("dns.nxdomain",), "blocked_dns"),
    "dns.nxdomain, and of the first resolver's answers the last is lost":
        (opens_there(measured().dns(isp="NXDOMAIN", times=2).dns(isp="timeout", isp2=SITE, doh=SITE).opens()),
         "blocked", ("dns.nxdomain",), "blocked_dns"),
    "dns.nxdomain, and of the first resolver's answers the first is lost":
        (opens_there(measured().dns(isp="timeout").dns(isp="NXDOMAIN", times=2).dns(isp2=SITE, doh=SITE).opens()),
         "blocked", ("dns.nxdomain",), "blocked_dns"),
    "dns.nxdomain, and no helper": (denied("NXDOMAIN"), "blocked", ("dns.nxdomain",), "blocked_dns"),
    "dns.no_answer": (opens_there(denied("NO_ANSWER")), "blocked", ("dns.no_answer",), "blocked_dns"),
    "dns.servfail": (opens_there(denied("SERVFAIL")), "blocked", ("dns.servfail",), "blocked_dns"),
    "dns.servfail, and the resolver says that it filters":
        (opens_there(denied("SERVFAIL", errors=(16,))), "blocked", ("dns.servfail",), "blocked_dns"),
    "dns.servfail, and the resolver says that it filters a broken zone":
        (measured().dns(isp="SERVFAIL", doh=SITE, errors=(6, 16)), "blocked", ("dns.servfail",), "blocked_dns"),
    "dns.refused": (opens_there(denied("REFUSED")), "blocked", ("dns.refused",), "blocked_dns"),
    "dns.timeout": (opens_there(denied("timeout")), "blocked", ("dns.timeout",), "blocked_dns"),
    "dns.bogon": (opens_there(denied("127.0.0.1")), "blocked", ("dns.bogon",), "blocked_dns"),
    "dns.hijack to a block server":
        (measured().dns(isp=FALSE, doh=SITE).cut("tls.certificate", FALSE).opens()
         .control().dns(helper=SITE).opens().cut("tls.certificate", FALSE), "blocked", ("dns.hijack",), "blocked_dns"),
    "dns.hijack to a block server, on http":
        (measured(HTTP).dns(isp=FALSE, doh=SITE).opens(FALSE, text=NOTICE).opens()
         .control().dns(helper=SITE).opens().opens(FALSE, text=NOTICE), "blocked", ("dns.hijack",), "blocked_dns"),
    "dns.hijack proven by the vantage alone":
        (measured().dns(isp=FALSE, doh=SITE).cut("tls.certificate", FALSE).opens(), "blocked", ("dns.hijack",), "blocked_dns"),
    "dns.injection, in the name of every resolver":
        (opens_there(denied("NXDOMAIN", public="NXDOMAIN", public2="NXDOMAIN")), "blocked", ("dns.injection",), "blocked_dns"),
    "dns.injection of an address":
        (measured().dns(isp="127.0.0.1", public="127.0.0.1", public2="10.0.0.9", doh=SITE).opens(),
         "blocked", ("dns.injection",), "blocked_dns"),
    "dns.bogon, alike at one public resolver only":
        (measured().dns(isp="127.0.0.1", public="127.0.0.1", public2="timeout", doh=SITE).opens(),
         "blocked", ("dns.bogon",), "blocked_dns"),
    "dns.timeout, and public resolvers are silent as well":
        (denied("timeout", public="timeout", public2="timeout"), "blocked", ("dns.timeout",), "blocked_dns"),
    "dns.servfail, and public resolvers fail as well":
        (denied("SERVFAIL", public="SERVFAIL", public2="SERVFAIL"), "blocked", ("dns.servfail",), "blocked_dns"),
    "dns.nxdomain, by a resolver nobody checked":
        (denied("NXDOMAIN").unchecked(), "blocked", ("dns.nxdomain",), "blocked_dns"),
    "dns.hijack to a block server, over plain http alone":
        (measured().dns(isp=FALSE, doh=SITE).cut("tcp.refused", FALSE).plain_side(FALSE).opens(),
         "blocked", ("dns.hijack",), "blocked_dns"),
    "dns.hijack to a known block page":
        (opens_there(measured(HTTP).dns(isp=FALSE, doh=SITE).opens(FALSE, text=KNOWN_PAGE)),
         "blocked", ("dns.hijack", "http.blockpage"), "blocked_dns"),
    "dns.hijack to a block server that gives its page to any name":
        (measured(HTTP).dns(isp=FALSE, doh=SITE).opens(FALSE, text=NOTICE).innocent("", FALSE, text=NOTICE)
         .control().dns(helper=SITE).opens().opens(FALSE, text=NOTICE), "blocked", ("dns.hijack",), "blocked_dns"),
    "dns.injection, and the true answer comes late":
        (denied("127.0.0.1", late=SITE), "blocked", ("dns.injection",), "blocked_dns"),
    "dns.injection, even from a host that is no resolver":
        (opens_there(denied("NXDOMAIN").counter_answer("NXDOMAIN")), "blocked", ("dns.injection",), "blocked_dns"),
    "the lie of one resolver, and silence of the public ones":
        (denied("NXDOMAIN", public="timeout"), "blocked", ("dns.nxdomain",), "blocked_dns"),
    "the home's device repeats the ISP's lie":
        (measured().dns(lan="NXDOMAIN", isp="NXDOMAIN", doh=SITE).opens(), "blocked", ("dns.nxdomain",), "blocked_dns"),
    "a dead name is answered with a block page":
        (block_server(measured(HTTP).dns(isp=FALSE, doh="NXDOMAIN", doh2="NXDOMAIN")).control().dns(helper="NXDOMAIN"),
         "blocked", ("dns.hijack",), "blocked_dns"),
    "a dead name is answered with a block page, and the answers are forged for every resolver":
        (block_server(measured(HTTP).dns(isp=FALSE, public=FALSE, public2=FALSE, doh="NXDOMAIN", doh2="NXDOMAIN"))
         .counter_answer(FALSE), "blocked", ("dns.injection",), "blocked_dns"),
    "a dead name is answered with a block page, which public resolvers do not know":
        (block_server(measured(HTTP).dns(isp=FALSE, public="NXDOMAIN", doh="NXDOMAIN", doh2="NXDOMAIN")),
         "blocked", ("dns.hijack",), "blocked_dns"),
    "a dead name is answered with an address that cannot be public":
        (measured().dns(isp="127.0.0.1", doh="NXDOMAIN", doh2="NXDOMAIN"), "blocked", ("dns.bogon",), "blocked_dns"),
    # --- connections -----------------------------------------------------------------------------------------------
    "tcp.timeout": (opens_there(honest().cut("tcp.timeout", times=5)), "blocked", ("tcp.timeout",), "blocked_tcp"),
    "tcp.refused": (opens_there(honest().cut("tcp.refused")), "blocked", ("tcp.refused",), "blocked_tcp"),
    "tcp.refused by a reset": (opens_there(honest().cut("tcp.reset")), "blocked", ("tcp.refused",), "blocked_tcp"),
    "tcp.unreachable": (opens_there(honest().cut("tcp.unreachable")), "blocked", ("tcp.unreachable",), "blocked_tcp"),
    "tcp.timeout on http": (opens_there(honest(HTTP).cut("tcp.timeout")), "blocked", ("tcp.timeout",), "blocked_tcp"),
    "tcp.timeout of a literal address":
        (measured(f"https://{SITE}/").cut("tcp.timeout").control().opens(), "blocked", ("tcp.timeout",), "blocked_tcp"),
    "tls.reset": (opens_there(honest().cut("tls.reset").innocent()), "blocked", ("tls.reset",), "blocked_tls"),
    "tls.reset, aborted": (opens_there(honest().cut("tls.aborted")), "blocked", ("tls.reset",), "blocked_tls"),
    "tls.timeout": (opens_there(honest().cut("tls.timeout")), "blocked", ("tls.timeout",), "blocked_tls"),
    "tls.eof": (opens_there(honest().cut("tls.eof")), "blocked", ("tls.eof",), "blocked_tls"),
    "tls.alert": (opens_there(honest().cut("tls.alert")), "blocked", ("tls.alert",), "blocked_tls"),
    "tls.certificate": (opens_there(honest().cut("tls.certificate")), "blocked", ("tls.certificate",), "blocked_tls"),
    "tls.certificate, without a chain":
        (opens_there(honest().cut("tls.certificate", chain=())), "blocked", ("tls.certificate",), "blocked_tls"),
    "tls.reset, and the site drops the control's network":
        (honest().cut("tls.reset").innocent().elsewhere("tls.reset").control().dns(helper=SITE).cut("tcp.timeout"),
         "blocked", ("tls.reset",), "blocked_tls"),
    "tls.reset after a neighbour's trigger, and the name is cut elsewhere too":
        (opens_there(honest().neighbour().cut("tls.reset").innocent().elsewhere("tls.reset")),
         "blocked", ("tls.reset",), "blocked_tls"),
    # --- pages -----------------------------------------------------------------------------------------------------
    "http.reset": (opens_there(honest(HTTP).cut("http.reset")), "blocked", ("http.reset",), "blocked_http"),
    "http.reset on https": (opens_there(honest().cut("http.reset")), "blocked", ("http.reset",), "blocked_http"),
    "http.eof": (opens_there(honest(HTTP).cut("http.eof")), "blocked", ("http.eof",), "blocked_http"),
    "http.timeout": (opens_there(honest(HTTP).cut("http.timeout")), "blocked", ("http.timeout",), "blocked_http"),
    "http.blockpage, known":
        (opens_there(honest(HTTP).opens(text=KNOWN_PAGE)), "blocked", ("http.blockpage",), "blocked_http"),
    "http.blockpage, the same at another host":
        (opens_there(honest(HTTP).opens(text=NOTICE, times=3).elsewhere("", text=NOTICE)),
         "blocked", ("http.blockpage",), "blocked_http"),
    "http.blockpage, the https side differs":
        (opens_there(honest(HTTP).opens(text=NOTICE, times=3).https_side()), "blocked", ("http.blockpage",), "blocked_http"),
    "http.blockpage without a header":
        (opens_there(honest(HTTP).opens(text=NOTICE, headers=())), "blocked", ("http.blockpage",), "blocked_http"),
    "http.redirect, known":
        (opens_there(honest(HTTP).opens(status=302, text="", location="http://warning.rt.ru/?id=1")),
         "blocked", ("http.redirect",), "blocked_http"),
    "http.redirect, the same at another host":
        (opens_there(honest(HTTP).opens(status=302, text="", location=NOTICE_AT)
                     .elsewhere("", status=302, text="", location=NOTICE_AT)), "blocked", ("http.redirect",), "blocked_http"),
    # --- speed -----------------------------------------------------------------------------------------------------
    "throttling.rate":
        (opens_there(honest().cut("http.timeout", **trickle(1_000, 9.9))), "blocked", ("throttling.rate",), "blocked_throttling"),
    "throttling.stall":
        (opens_there(honest().cut("http.timeout", **trickle(1_600, 0.5))), "blocked", ("throttling.stall",), "blocked_throttling"),
    "a page cut short, and nobody knows how fast this line is":
        (opens_there(honest().unchecked().cut("http.timeout", status=200)), "blocked", ("http.timeout",), "blocked_http"),
    "throttling.rate before the handshake ends":
        (opens_there(honest().cut("tls.timeout", bytes_received=3_000)), "blocked", ("throttling.rate",), "blocked_throttling"),
    # --- several at once -------------------------------------------------------------------------------------------
    "a DNS lie in front of an SNI filter":
        (opens_there(measured().dns(isp="NXDOMAIN", doh=SITE).cut("tls.reset")),
         "blocked", ("dns.nxdomain", "tls.reset"), "blocked_dns"),
    "a DNS lie in front of a dropped address":
        (opens_there(measured().dns(isp="127.0.0.1", doh=SITE).cut("tcp.timeout")),
         "blocked", ("dns.bogon", "tcp.timeout"), "blocked_dns"),
    "a resolver that is down, and an SNI filter":
        (opens_there(measured().dns(isp="timeout", doh=SITE).resolver_check("isp", answered=0).cut("tls.reset")),
         "blocked", ("tls.reset",), "blocked_tls"),
}  # fmt: skip


@pytest.mark.parametrize("what", CASES)
def test_what_happens_gets_its_verdict(what: str) -> None:
    case, status, methods, rule = CASES[what]
    verdict = case.verdict
    assert (verdict.status, verdict.methods, verdict.rule) == (status, methods, rule)


@pytest.mark.parametrize("what", CASES)
def test_a_measurement_without_a_list_of_hops_is_judged_the_same(what: str) -> None:
    """Other people's recordings have none; redirects tell where each hop was."""
    measurement = CASES[what][0].measurement()
    found = judge(msgspec.structs.replace(measurement, hops=()))
    assert (found.status, found.methods, found.rule) == CASES[what][1:]


def test_a_page_that_came_is_no_denial() -> None:
    """Whatever was cut on the way, nothing decides against the network then."""
    for what in ("a third of the connections are reset", "the site answers 403 here", "redirects without end, here"):
        assert Evidence(CASES[what][0].measurement()).deciding is None


CONFIRMED = (
    "tls.reset",
    "tls.reset after a neighbour's trigger, and the name is cut elsewhere too",
    "tcp.timeout",
    "tls.certificate",
    "dns.servfail, and the resolver says that it filters",
    "dns.servfail, and the resolver says that it filters a broken zone",
    "dns.injection, even from a host that is no resolver",
    "http.blockpage, known",
    "http.blockpage, the same at another host",
    "http.redirect, known",
)


@pytest.mark.parametrize("what", CONFIRMED)
def test_a_counterfactual_made_twice_or_a_vetted_fingerprint_confirms(what: str) -> None:
    assert CASES[what][0].verdict.confirmed


@pytest.mark.parametrize("what", ["tls.timeout", "http.reset", "http.blockpage without a header"])
def test_attempts_alone_confirm_nothing(what: str) -> None:
    assert not CASES[what][0].verdict.confirmed


def test_more_evidence_never_makes_less_sure() -> None:
    once = opens_there(honest().cut("tls.reset", times=1)).verdict.confidence
    thrice = opens_there(honest().cut("tls.reset", times=3)).verdict.confidence
    settled = opens_there(honest().cut("tls.reset").innocent().elsewhere("tls.reset")).verdict.confidence
    assert once is not None
    assert thrice is not None
    assert settled is not None
    assert once < thrice < settled


def test_an_address_where_whatever_is_said_is_cut_makes_less_sure() -> None:
    """The server itself may do that."""
    unknown = opens_there(honest().cut("tls.reset")).verdict
    whatever = opens_there(honest().cut("tls.reset").innocent("tls.reset")).verdict
    assert whatever.confidence is not None
    assert unknown.confidence is not None
    assert FLOOR <= whatever.confidence < unknown.confidence
    assert not whatever.confirmed


def test_a_page_that_only_resembles_is_less_sure_than_the_same_page() -> None:
    alike, same = (
        CASES[what][0].verdict.confidence for what in ("a page as long as the control's", "nothing, on http")
    )
    assert alike is not None
    assert same is not None
    assert alike < same


# --- the table itself ----------------------------------------------------------------------------------------------


def test_ids_are_unique() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES)


def test_every_rule_says_why_in_a_sentence() -> None:
    assert all(rule.why[0].isupper() and rule.why.endswith(".") for rule in RULES)


def test_the_last_rule_catches_everything() -> None:
    last = RULES[-1]
    assert last.status is Status.INCONCLUSIVE
    assert last.holds(Evidence(measured().measurement()))


@pytest.mark.parametrize("rule", [rule.id for rule in RULES])
def test_every_rule_is_reached_by_a_case(rule: str) -> None:
    assert any(expected == rule for _, _, _, expected in CASES.values())


def test_confidence_is_stated_where_no_finding_decides() -> None:
    decided = {rule.id for rule in RULES if rule.status is Status.BLOCKED}
    for rule in RULES:
        assert (rule.confidence is None) == (rule.status is Status.INCONCLUSIVE or rule.id in decided), rule.id


def test_every_method_has_words_and_a_ratio() -> None:
    methods = {method for case, *_ in CASES.values() for method in case.verdict.methods}
    assert methods <= explain.METHOD_WORDS.keys()
    assert methods <= LOG10_LR.keys()


def test_every_method_that_is_promised_is_found_in_some_case() -> None:
    """`quic.*` is not measured yet; `http.modified` waits for a case of it."""
    found = {method for case, *_ in CASES.values() for method in case.verdict.methods}
    promised = {method for method in explain.METHOD_WORDS if not method.startswith("quic.")}
    assert promised - found <= {"http.modified"}


@pytest.mark.parametrize("what", CASES)
def test_every_reason_can_be_worded(what: str) -> None:
    for reason in CASES[what][0].verdict.reasons:
        assert reason["id"] in explain.REASONS
        assert explain.explain(reason) != explain.UNKNOWN_REASON
