"""Scenarios as nouns: what a site is like, what befalls it, and the verdict that is due. Names are drawn later."""

from enum import StrEnum

from msgspec import Struct

from monitor.models import Status


class Side(StrEnum):
    """Where something happens."""

    ISP = "isp"  # on the vantage's line
    ORIGIN = "origin"  # to everyone
    CONTROL = "control"  # on the control's line only


class Page(Struct, frozen=True, kw_only=True):
    """A site to be drawn. None: the seed decides. Values as in world.Site.

    size: bytes, from and to. https_side: an http site that also answers on 443. refuses: how it refuses the vantage's country.
    """

    scheme: str = "https"
    https_side: bool | None = None
    ipv6: bool | None = None
    http2: bool | None = None
    gzip: bool | None = None
    size: tuple[int, int] = (15_000, 200_000)
    certificate: str = "good"
    status: int = 200
    varies: str = ""
    refuses: str = ""
    challenges_control: bool = False
    first_byte_s: float = 0.0
    loop: bool = False
    cdn: bool = False
    exists: bool = True
    trouble: str = ""


class Rule(Struct, frozen=True, kw_only=True):
    """A technique of censors.py (or a lie of policy.py) applied to one hop of the site.

    hop: whose name and addresses it aims at. ports: none means any.
    answer: where a lie leads: "bogon", "loopback", "unspecified", "block", "known-block", "closed-block", "false", "relay".
    resolvers: which of the ISP's lie: "all", "first", "second". to: where connections are diverted: "interceptor", "injector".
    page: of a forged response: "known", "unknown"; redirect: it leads to that page. The rest as in Policy.
    """

    technique: str
    side: Side = Side.ISP
    hop: int = 0
    ports: tuple[int, ...] = ()
    answer: str = ""
    rcode: str = "NOERROR"
    resolvers: str = "all"
    to: str = ""
    page: str = ""
    redirect: bool = False
    status: int = 200
    pattern: str = "x"
    once: bool = False
    rate: int = 0
    after: int = 0
    seconds: float = 0.0
    code: int = 0


class Scenario(Struct, frozen=True, kw_only=True):
    """One row: what happens, and what must be said of it.

    name: what the censor does. hops: the site, and where it redirects to. line: "" is one of the two ISPs, drawn.
    statuses: usually one. methods: those that must be named (where the status is blocked, or ok); may: those that may.
    beside: the scenario whose address it shares. entry: the scheme of the URL that is measured, "" the site's own.
    """

    name: str
    does: str
    hops: tuple[Page, ...] = (Page(),)
    rules: tuple[Rule, ...] = ()
    line: str = ""
    statuses: frozenset[Status]
    methods: frozenset[str] = frozenset()
    may: frozenset[str] = frozenset()
    beside: str = ""
    entry: str = ""
