"""Scenarios in which the network is innocent, or in which the control cannot see what the vantage sees."""

from monitor.lab.interference import HTTP, HTTPS, blocked, spared
from monitor.lab.scenario import Page, Rule, Scenario, Side
from monitor.models import Status


def healthy(name: str, does: str, *rules: Rule, page: Page = HTTPS) -> Scenario:
    """A site that opens."""
    return spared(name, does, *rules, hops=(page,))


def _down(name: str, does: str, *rules: Rule, page: Page = HTTPS) -> Scenario:
    return Scenario(name=name, does=does, hops=(page,), rules=rules, statuses=frozenset({Status.DOWN}))


def _refused(name: str, does: str, page: Page) -> Scenario:
    return Scenario(name=name, does=does, hops=(page,), statuses=frozenset({Status.GEOBLOCKED}))


def _everyone(technique: str, *, ports: tuple[int, ...] = (), pattern: str = "x") -> Rule:
    return Rule(technique=technique, side=Side.ORIGIN, ports=ports, pattern=pattern)


HEALTHY = (
    healthy("healthy", "an https site opens"),
    healthy("healthy-http2", "an https site with HTTP/2 opens", page=Page(http2=True)),
    healthy("healthy-http", "a plain-http site opens", page=HTTP),
    Scenario(name="healthy-upgrade", does="port 80 redirects to https", statuses=frozenset({Status.OK}), entry="http"),
    spared("healthy-redirect", "a site redirects to another", hops=(HTTP, HTTPS)),
)

DOWN = (
    _down("no-such-name", "the name does not exist", page=Page(exists=False)),
    _down("no-such-name-http", "the name of a plain-http site does not exist", page=Page(scheme="http", exists=False)),
    _down("servfail-everywhere", "its zone is broken", page=Page(trouble="servfail")),
    _down("dnssec-broken", "its zone does not validate", page=Page(trouble="dnssec")),
    _down("port-closed", "nothing listens", _everyone("tcp-reset")),
    _down("port-closed-http", "nothing listens, plain http", _everyone("tcp-reset"), page=HTTP),
    _down("server-gone", "the server does not answer anyone", _everyone("drop")),
    _down("server-gone-http", "the same, plain http", _everyone("drop"), page=HTTP),
    _down("tls-reset-everywhere", "the server resets every handshake", _everyone("payload-reset")),
    _down("error-500", "the site fails", page=Page(status=500)),
    _down("error-503-http", "a plain-http site fails", page=Page(scheme="http", status=503)),
    _down("expired-certificate", "its certificate is expired", page=Page(certificate="expired")),
    _down("self-signed-certificate", "its certificate is self-signed", page=Page(certificate="self-signed")),
    _down("wrong-name-certificate", "its certificate is for another name", page=Page(certificate="wrong-name")),
    _down("redirect-loop", "it redirects for ever", page=Page(loop=True)),
    Scenario(
        name="random-resets",
        does="its server resets two connections in five, whoever comes",
        rules=(_everyone("payload-reset", pattern="x.x.."),),
        statuses=frozenset({Status.OK, Status.DOWN, Status.INCONCLUSIVE}),
        may=frozenset({"tls.reset"}),  # the control may have been lucky where the vantage was not
    ),
)

REFUSED = (
    _refused("country-403", "the site refuses this country with 403", Page(refuses="403")),
    _refused("country-451", "the site refuses this country with 451", Page(refuses="451")),
    _refused("country-captcha", "the site shows this country a CAPTCHA", Page(refuses="captcha")),
    _refused(
        "country-403-http",
        "a plain-http site refuses this country, and its https side says so too",
        Page(scheme="http", https_side=True, refuses="403"),
    ),
    _refused(
        "country-captcha-http",
        "a plain-http site shows this country a CAPTCHA, and its https side does so too",
        Page(scheme="http", https_side=True, refuses="captcha"),
    ),
)

DIFFERENT = (
    healthy("page-by-language", "the page comes in the reader's language", page=Page(varies="language")),
    healthy(
        "page-by-language-http",
        "the same, plain http",
        page=Page(scheme="http", https_side=True, varies="language"),
    ),
    healthy("page-by-chance", "the page differs from one request to the next", page=Page(varies="chance")),
    healthy("page-by-chance-http", "the same, plain http", page=Page(scheme="http", https_side=True, varies="chance")),
    spared(
        "page-with-advertisement",
        "the ISP injects an advertisement into a plain-http page",
        Rule(technique="divert", to="injector", ports=(80,)),
        may={"http.modified"},
        hops=(HTTP,),
    ),
    healthy(
        "first-connection-lost",
        "the first connection is lost by chance",
        Rule(technique="drop", pattern="x", once=True),
    ),
    healthy("slow-origin", "the first byte comes after four seconds", page=Page(first_byte_s=4.0)),
)

UNSEEN = (
    healthy("control-challenged", "the site shows the control's network a CAPTCHA", page=Page(challenges_control=True)),
    healthy("control-dropped", "the site drops the control's network", Rule(technique="drop", side=Side.CONTROL)),
    blocked(
        "control-challenged-tls-reset",
        "the site shows the control's network a CAPTCHA; at the vantage its name draws a reset",
        Rule(technique="tls-reset"),
        methods={"tls.reset"},
        hops=(Page(challenges_control=True),),
    ),
    Scenario(
        name="control-dropped-tls-reset",
        does="the site drops the control's network; at the vantage its name draws a reset",
        rules=(Rule(technique="drop", side=Side.CONTROL), Rule(technique="tls-reset")),
        statuses=frozenset({Status.BLOCKED, Status.INCONCLUSIVE}),
        may=frozenset({"tls.reset"}),
    ),
)

INNOCENCE = (*HEALTHY, *DOWN, *REFUSED, *DIFFERENT, *UNSEEN)
