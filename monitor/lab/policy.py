"""Policies: what a censor does, to whom. Plain data, so that one can be put up and lifted while the lab runs."""

from msgspec import Struct

EVERYONE = "*"
ANYWHERE = "*"
ANYWHERE6 = "::"  # every IPv6 address

# What a lying resolver answers: (technique, rcode; None: nothing at all).
LIES: dict[str, str | None] = {
    "dns-nxdomain": "NXDOMAIN",
    "dns-servfail": "SERVFAIL",
    "dns-refused": "REFUSED",
    "dns-no-answer": "NOERROR",
    "dns-address": "NOERROR",
    "dns-silence": None,
}


class Policy(Struct, frozen=True, kw_only=True):
    """One technique, what sets it off, and its parameters.

    names: in DNS, SNI or Host, as the technique looks. addresses: of servers, or ANYWHERE, ANYWHERE6. ports: none means any.
    pattern: which of the connections that match are hit ("..x": every third), over and over unless `once`.
    """

    technique: str
    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    spared: tuple[str, ...] = ()  # addresses
    ports: tuple[int, ...] = ()
    pattern: str = "x"
    once: bool = False
    resolvers: tuple[str, ...] = ()  # which of the ISP's lie
    answers: tuple[str, ...] = ()  # the lie's addresses
    rcode: str = "NOERROR"  # of an injected answer
    divert: tuple[str, ...] = ()  # where connections are led: one address a family
    response: str = ""  # a forged HTTP response, whole
    rate: int = 0  # bytes per second
    after: int = 0  # bytes
    seconds: float = 0.0
    code: int = 0  # ICMP
