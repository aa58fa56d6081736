"""The lines to measure from: two ISPs, and lines with something wrong that concerns every site."""

from msgspec import Struct

from monitor.lab.policy import ANYWHERE, ANYWHERE6

RESOLVERS = "resolvers"  # stands for the line's own resolvers
HELPER = "helper"  # stands for the control's addresses
DOH = "doh"  # stands for the encrypted resolvers' addresses


class Trouble(Struct, frozen=True, kw_only=True):
    """What befalls everything on a line; as in Policy. to: the kind of place that connections are led to."""

    technique: str
    at: str = ANYWHERE
    spared: str = ""
    ports: tuple[int, ...] = ()
    to: str = ""


class Outline(Struct, frozen=True, kw_only=True):
    """A line to be drawn. None: the seed decides. clock_days: without its sign. resolver: the kind of its resolvers."""

    isp: str
    asn: int
    country: str = "VE"
    ipv6: bool | None = False
    loss: float = 0.0
    rate: int | None = None  # bytes per second
    rtt_s: float | None = None  # to its edge
    routed: bool = True
    resolver: str = "honest"
    clock_days: int = 0
    helper: str = "own"
    troubles: tuple[Trouble, ...] = ()


ISPS = {
    "cantv": Outline(isp="CANTV", asn=8048, ipv6=None),
    "movilnet": Outline(isp="Movilnet", asn=27889, ipv6=None),
}

LINES = ISPS | {
    "offline": Outline(isp="Movistar", asn=6306, routed=False),
    "dark": Outline(isp="Movistar", asn=6306, troubles=(Trouble(technique="drop"),)),
    "outage": Outline(isp="Digitel", asn=264731, troubles=(Trouble(technique="drop", spared=RESOLVERS),)),
    "portal": Outline(
        isp="Inter",
        asn=21826,
        troubles=(
            Trouble(technique="divert", ports=(80,), to="portal"),
            Trouble(technique="tcp-reset", ports=(443,)),
        ),
    ),
    "intercepted": Outline(
        isp="Inter", asn=21826, troubles=(Trouble(technique="divert", ports=(443,), to="interceptor"),)
    ),
    "wrong-clock": Outline(
        isp="Supercable",
        asn=22313,
        clock_days=730,
        troubles=(Trouble(technique="divert", at=HELPER, ports=(443,), to="overloaded"),),
    ),
    "narrow": Outline(isp="Movistar", asn=6306, rate=12_500),
    "advertising": Outline(isp="Supercable", asn=22313, resolver="advertising"),
    "mute-resolver": Outline(isp="Digitel", asn=264731, resolver="dead"),
    "no-helper": Outline(isp="Inter", asn=21826, helper="dead", troubles=(Trouble(technique="drop", at=HELPER),)),
    "busy-helper": Outline(isp="Inter", asn=21826, helper="overloaded"),
    "no-doh": Outline(isp="Digitel", asn=264731, troubles=(Trouble(technique="drop", at=DOH, ports=(443,)),)),
    "broken-ipv6": Outline(isp="CANTV", asn=8048, ipv6=True, troubles=(Trouble(technique="drop", at=ANYWHERE6),)),
    "lossy": Outline(isp="Movilnet", asn=27889, loss=0.12),
}
