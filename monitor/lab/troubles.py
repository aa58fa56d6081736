"""Scenarios of lines with something wrong that concerns every site: nobody may be accused of it."""

from collections.abc import Iterable

from monitor.lab.interference import HTTP, HTTPS
from monitor.lab.scenario import Page, Rule, Scenario
from monitor.models import Status

_RESET = (Rule(technique="tls-reset"),)
_DENIAL = (Rule(technique="dns-nxdomain"),)
_MODEST = Page(size=(15_000, 25_000))  # two seconds of a line of 100 kbit/s


def _on(
    line: str,
    name: str,
    does: str,
    *statuses: Status,
    rules: tuple[Rule, ...] = (),
    page: Page = HTTPS,
    methods: Iterable[str] = (),
) -> Scenario:
    return Scenario(
        name=name,
        does=does,
        line=line,
        rules=rules,
        hops=(page,),
        statuses=frozenset(statuses),
        methods=frozenset(methods),
    )


_OK, _DOWN, _BLOCKED, _UNKNOWN = Status.OK, Status.DOWN, Status.BLOCKED, Status.INCONCLUSIVE

TROUBLES = (
    _on("offline", "no-network", "the vantage has no way out", _UNKNOWN),
    _on("dark", "nothing-passes", "every packet of the vantage vanishes", _UNKNOWN),
    _on("outage", "upstream-outage", "the ISP's own resolvers answer, nothing else does", _UNKNOWN),
    _on("portal", "captive-portal", "a captive portal resets https", _UNKNOWN),
    _on("portal", "captive-portal-http", "a captive portal redirects plain http", _UNKNOWN, page=HTTP),
    _on("intercepted", "every-certificate-replaced", "a company's proxy replaces every certificate", _UNKNOWN),
    _on("wrong-clock", "clock-off", "the machine's clock is two years off", _UNKNOWN),
    _on("narrow", "narrow-line", "the line carries 100 kbit/s", _OK, _UNKNOWN, page=_MODEST),
    _on("advertising", "advertising-resolver", "the resolver advertises for names that do not exist", _OK),
    _on(
        "advertising",
        "advertising-resolver-dead-name",
        "and is asked for a name that does not exist",
        _DOWN,
        page=Page(exists=False),
    ),
    _on("mute-resolver", "resolver-down", "the ISP's resolvers answer for no name", _UNKNOWN),
    _on("no-helper", "helper-down", "the helper cannot be reached", _OK),
    _on("no-helper", "helper-down-tls-reset", "nor can the site, for its name", _UNKNOWN, rules=_RESET),
    _on(
        "no-helper",
        "helper-down-nxdomain",
        "the name is denied: the genuine address proves the lie",
        _BLOCKED,
        rules=_DENIAL,
        methods={"dns.nxdomain"},
    ),
    _on("busy-helper", "helper-overloaded", "the helper answers 503", _OK),
    _on("busy-helper", "helper-overloaded-tls-reset", "and the site's name draws a reset", _UNKNOWN, rules=_RESET),
    _on("no-doh", "doh-blocked", "DoH cannot be reached", _OK),
    _on(
        "no-doh",
        "doh-blocked-tls-reset",
        "nor can the site, for its name",
        _BLOCKED,
        rules=_RESET,
        methods={"tls.reset"},
    ),
    _on("no-doh", "doh-blocked-nxdomain", "and the name is denied", _BLOCKED, rules=_DENIAL, methods={"dns.nxdomain"}),
    _on("broken-ipv6", "broken-ipv6", "IPv6 is configured and broken", _OK, page=Page(ipv6=True)),
    _on(
        "broken-ipv6",
        "broken-ipv6-tls-reset",
        "the same, and the site's name draws a reset",
        _BLOCKED,
        rules=_RESET,
        page=Page(ipv6=True),
        methods={"tls.reset"},
    ),
    _on("lossy", "packet-loss", "12 % of the packets are lost", _OK, page=Page(size=(15_000, 60_000))),
    _on("lossy", "packet-loss-http", "the same, plain http", _OK, page=Page(scheme="http", size=(15_000, 60_000))),
    _on(
        "lossy",
        "packet-loss-tls-reset",
        "the same, and the site's name draws a reset",
        _BLOCKED,
        rules=_RESET,
        methods={"tls.reset"},
    ),
)
