"""Scenarios of interference: what a censor does to one site, by layer."""

from monitor.lab.packets import HOST_UNREACHABLE, PORT_UNREACHABLE, PROHIBITED
from monitor.lab.scenario import Page, Rule, Scenario
from monitor.models import Status

HTTPS = Page()
HTTP = Page(scheme="http")
# Long enough, and not compressed, to show its speed.
LONG_HTTPS = Page(size=(60_000, 200_000), gzip=False)
LONG_HTTP = Page(scheme="http", size=(60_000, 200_000), gzip=False)


def blocked(
    name: str,
    does: str,
    *rules: Rule,
    methods: set[str],
    may: set[str] | None = None,
    hops: tuple[Page, ...] = (HTTPS,),
) -> Scenario:
    """A site that the network keeps from the vantage."""
    return Scenario(
        name=name,
        does=does,
        hops=hops,
        rules=rules,
        statuses=frozenset({Status.BLOCKED}),
        methods=frozenset(methods),
        may=frozenset(may or ()),
    )


def spared(
    name: str, does: str, *rules: Rule, may: set[str] | None = None, hops: tuple[Page, ...] = (HTTPS,)
) -> Scenario:
    """A site that opens in spite of what the network does; `may`: the interference that may be named."""
    return Scenario(
        name=name, does=does, hops=hops, rules=rules, statuses=frozenset({Status.OK}), may=frozenset(may or ())
    )


def _lie(answer: str) -> Rule:
    return Rule(technique="dns-address", answer=answer)


DNS = (
    blocked(
        "dns-nxdomain", "the ISP's resolvers deny the name", Rule(technique="dns-nxdomain"), methods={"dns.nxdomain"}
    ),
    blocked(
        "dns-nxdomain-http",
        "the ISP's resolvers deny the name of a plain-http site",
        Rule(technique="dns-nxdomain"),
        methods={"dns.nxdomain"},
        hops=(HTTP,),
    ),
    blocked("dns-servfail", "they fail for the name", Rule(technique="dns-servfail"), methods={"dns.servfail"}),
    blocked("dns-refused", "they refuse the name", Rule(technique="dns-refused"), methods={"dns.refused"}),
    blocked(
        "dns-no-answer", "they know the name but no address", Rule(technique="dns-no-answer"), methods={"dns.no_answer"}
    ),
    blocked("dns-silence", "they say nothing for the name", Rule(technique="dns-silence"), methods={"dns.timeout"}),
    blocked("dns-bogon", "they answer with a private address", _lie("bogon"), methods={"dns.bogon"}),
    blocked("dns-loopback", "they answer with 127.0.0.1", _lie("loopback"), methods={"dns.bogon"}),
    blocked("dns-unspecified", "they answer with 0.0.0.0", _lie("unspecified"), methods={"dns.bogon"}),
    blocked(
        "dns-bogon-http", "a private address for a plain-http site", _lie("bogon"), methods={"dns.bogon"}, hops=(HTTP,)
    ),
    blocked(
        "dns-block-server",
        "they answer with a block page's server, never seen before, for a plain-http site",
        _lie("block"),
        methods={"dns.hijack"},
        may={"http.blockpage"},
        hops=(HTTP,),
    ),
    blocked(
        "dns-known-block-server",
        "they answer with the server of a known block page",
        _lie("known-block"),
        methods={"dns.hijack"},
        may={"http.blockpage"},
        hops=(HTTP,),
    ),
    blocked(
        "dns-block-server-https",
        "they answer with a block page's server, which has no port 443, for an https site",
        _lie("closed-block"),
        methods={"dns.hijack"},
    ),
    blocked(
        "dns-false-address",
        "they answer with an address that shows a self-signed certificate",
        _lie("false"),
        methods={"dns.hijack"},
    ),
    blocked(
        "dns-first-resolver",
        "only the first of the ISP's resolvers denies the name",
        Rule(technique="dns-nxdomain", resolvers="first"),
        methods={"dns.nxdomain"},
    ),
    spared(
        "dns-second-resolver",
        "only the second of the ISP's resolvers denies the name: the system never asks it",
        Rule(technique="dns-nxdomain", resolvers="second"),
        may={"dns.nxdomain"},
    ),
    spared(
        "dns-first-resolver-silent",
        "the first of the ISP's resolvers says nothing: the system asks the second",
        Rule(technique="dns-silence", resolvers="first"),
        may={"dns.timeout"},
    ),
    blocked(
        "dns-injection",
        "whoever is asked in the clear, a false address arrives before the true answer",
        Rule(technique="dns-injection", answer="false"),
        methods={"dns.injection"},
    ),
    blocked(
        "dns-injection-http",
        "the same with a block page's server, for a plain-http site",
        Rule(technique="dns-injection", answer="block"),
        methods={"dns.injection"},
        may={"http.blockpage"},
        hops=(HTTP,),
    ),
    blocked(
        "dns-injection-bogon",
        "whoever is asked in the clear, a private address arrives first",
        Rule(technique="dns-injection", answer="bogon"),
        methods={"dns.injection"},
        may={"dns.bogon"},
    ),
    blocked(
        "dns-injection-nxdomain",
        "whoever is asked in the clear, a denial arrives first",
        Rule(technique="dns-injection", rcode="NXDOMAIN"),
        methods={"dns.injection"},
        may={"dns.nxdomain"},
    ),
    blocked(
        "dns-interception",
        "whoever is asked in the clear, the network answers in its place with a false address",
        Rule(technique="dns-interception", answer="false"),
        methods={"dns.injection"},
    ),
    spared("dns-cdn", "a CDN answers every resolver differently", hops=(Page(cdn=True),)),
    spared("dns-cdn-http", "a CDN without https does", hops=(Page(scheme="http", cdn=True, https_side=False),)),
    blocked(
        "dns-dead-name",
        "a name that no longer exists is still answered with a block page",
        _lie("block"),
        methods={"dns.hijack"},
        may={"http.blockpage"},
        hops=(Page(scheme="http", exists=False, https_side=True),),
    ),
    blocked(
        "dns-dead-name-https",
        "the same for an https site",
        _lie("false"),
        methods={"dns.hijack"},
        hops=(Page(exists=False),),
    ),
    spared("dns-relay", "the answer leads to a relay of the genuine site", _lie("relay"), may={"dns.hijack"}),
)

TCP = (
    blocked("tcp-drop", "packets to the site's addresses vanish", Rule(technique="drop"), methods={"tcp.timeout"}),
    blocked("tcp-drop-http", "the same, plain http", Rule(technique="drop"), methods={"tcp.timeout"}, hops=(HTTP,)),
    blocked(
        "tcp-reset", "every connection is refused in its name", Rule(technique="tcp-reset"), methods={"tcp.refused"}
    ),
    blocked(
        "tcp-reset-http", "the same, plain http", Rule(technique="tcp-reset"), methods={"tcp.refused"}, hops=(HTTP,)
    ),
    blocked(
        "tcp-icmp",
        "a router says that it is prohibited",
        Rule(technique="tcp-icmp", code=PROHIBITED),
        methods={"tcp.unreachable"},
    ),
    blocked(
        "tcp-icmp-http",
        "a router says that the host is unreachable, plain http",
        Rule(technique="tcp-icmp", code=HOST_UNREACHABLE),
        methods={"tcp.unreachable"},
        hops=(HTTP,),
    ),
    blocked(
        "tcp-icmp-port",
        "a router says that the port is unreachable",
        Rule(technique="tcp-icmp", code=PORT_UNREACHABLE),
        methods={"tcp.refused"},
    ),
)

TLS = (
    blocked(
        "tls-reset", "the name in the ClientHello draws a reset", Rule(technique="tls-reset"), methods={"tls.reset"}
    ),
    blocked("tls-silence", "it draws silence", Rule(technique="tls-silence"), methods={"tls.timeout"}),
    blocked("tls-eof", "it draws a FIN", Rule(technique="tls-eof"), methods={"tls.eof"}),
    blocked("tls-alert", "it draws a fatal alert", Rule(technique="tls-alert"), methods={"tls.alert"}),
    blocked(
        "tls-interception",
        "this site's https is led to a server with a certificate of another authority",
        Rule(technique="divert", to="interceptor", ports=(443,)),
        methods={"tls.certificate"},
    ),
)

HTTP_RULES = (
    blocked("http-reset", "the Host draws a reset", Rule(technique="http-reset"), methods={"http.reset"}, hops=(HTTP,)),
    blocked("http-eof", "it draws a FIN", Rule(technique="http-eof"), methods={"http.eof"}, hops=(HTTP,)),
    blocked("http-silence", "it draws silence", Rule(technique="http-silence"), methods={"http.timeout"}, hops=(HTTP,)),
    *(
        blocked(
            f"http-page-{status}-{page}",
            f"it draws a block page with {status}, {'known' if page == 'known' else 'never seen before'}",
            Rule(technique="http-page", page=page, status=status),
            methods={"http.blockpage"},
            hops=(HTTP,),
        )
        for status in (200, 403, 451)
        for page in ("known", "unknown")
    ),
    *(
        blocked(
            f"http-redirect-{page}",
            f"it draws a redirect to a block page, {'known' if page == 'known' else 'never seen before'}",
            Rule(technique="http-page", page=page, redirect=True),
            methods={"http.redirect"},
            may={"http.blockpage"},
            hops=(HTTP,),
        )
        for page in ("known", "unknown")
    ),
    blocked(
        "http-page-no-https",
        "it draws a block page, and the site has no https side that could tell",
        Rule(technique="http-page", page="unknown", status=200),
        methods={"http.blockpage"},
        hops=(Page(scheme="http", https_side=False),),
    ),
)

SPEED = (
    blocked(
        "tls-throttle",
        "this site alone gets 1 KB/s",
        Rule(technique="tls-throttle", rate=1000),
        methods={"throttling.rate"},
        hops=(LONG_HTTPS,),
    ),
    blocked(
        "http-throttle",
        "this plain-http site alone gets 1 KB/s",
        Rule(technique="http-throttle", rate=1000),
        methods={"throttling.rate"},
        hops=(LONG_HTTP,),
    ),
    blocked(
        "tls-stall",
        "its connections stall after 16 KB",
        Rule(technique="tls-stall", after=16_384),
        methods={"throttling.stall"},
        hops=(LONG_HTTPS,),
    ),
    blocked(
        "http-stall",
        "its plain-http connections stall after 16 KB",
        Rule(technique="http-stall", after=16_384),
        methods={"throttling.stall"},
        hops=(LONG_HTTP,),
    ),
)

SEVERAL = (
    blocked(
        "nxdomain-before-sni-filter",
        "the name is denied, and the genuine address resets its handshake",
        Rule(technique="dns-nxdomain"),
        Rule(technique="tls-reset"),
        methods={"dns.nxdomain", "tls.reset"},
    ),
    blocked(
        "false-address-before-sni-filter",
        "a false address, and the genuine one falls silent at the name",
        _lie("false"),
        Rule(technique="tls-silence"),
        methods={"dns.hijack", "tls.timeout"},
    ),
    blocked(
        "bogon-before-dropped-address",
        "a private address, and packets to the genuine one vanish",
        _lie("bogon"),
        Rule(technique="drop"),
        methods={"dns.bogon", "tcp.timeout"},
    ),
    blocked(
        "injection-before-sni-filter",
        "a forged answer whoever is asked, and the genuine address resets the handshake",
        Rule(technique="dns-injection", answer="false"),
        Rule(technique="tls-reset"),
        methods={"dns.injection", "tls.reset"},
    ),
    blocked(
        "redirect-then-dns",
        "the site redirects to one whose name is denied",
        Rule(technique="dns-nxdomain", hop=1),
        methods={"dns.nxdomain"},
        hops=(HTTPS, HTTPS),
    ),
    blocked(
        "redirect-then-tcp",
        "the site redirects to one whose address is dropped",
        Rule(technique="drop", hop=1),
        methods={"tcp.timeout"},
        hops=(HTTP, HTTPS),
    ),
    blocked(
        "redirect-then-tls",
        "the site redirects to one whose name draws a reset",
        Rule(technique="tls-reset", hop=1),
        methods={"tls.reset"},
        hops=(HTTPS, HTTPS),
    ),
    blocked(
        "redirect-then-http",
        "the site redirects to a plain-http one whose Host draws a block page",
        Rule(technique="http-page", page="unknown", hop=1),
        methods={"http.blockpage"},
        hops=(HTTPS, HTTP),
    ),
    Scenario(
        name="upgrade-then-tls",
        does="port 80 redirects to https as it should; there the name draws a reset",
        rules=(Rule(technique="tls-reset"),),
        statuses=frozenset({Status.BLOCKED}),
        methods=frozenset({"tls.reset"}),
        entry="http",
    ),
)

PARTIAL = (
    spared(
        "partial-reset",
        "every third connection is reset at the name",
        Rule(technique="tls-reset", pattern="..x"),
        may={"tls.reset"},
    ),
    blocked(
        "residual-trigger",
        "the name draws a reset, and cuts the vantage from the address for a minute",
        Rule(technique="tls-residual", seconds=60.0),
        methods={"tls.reset"},
        may={"tcp.timeout"},
    ),
    Scenario(
        name="residual-neighbour",
        does="an innocent site on the address that its neighbour's trigger cuts",
        beside="residual-trigger",
        statuses=frozenset({Status.OK, Status.INCONCLUSIVE}),
    ),
)

INTERFERENCE = (*DNS, *TCP, *TLS, *HTTP_RULES, *SPEED, *SEVERAL, *PARTIAL)
