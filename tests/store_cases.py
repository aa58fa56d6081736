"""Measurements to store, by the hundred and each a little different, without a network."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import msgspec
import verdict_cases

from monitor.models import Conditions, Event, Kind, Measurement, Network, Status, Verdict

BEGAN = datetime(2018, 1, 15, 13, 5, 0, 123_456, tzinfo=UTC)
CANTV = Network(asn=8048, isp="CANTV", country="VE", source="observed")
NETWORKS = (CANTV, Network(asn=27889, isp="Movilnet", country="VE"), Network())
SITES = ("www.lapatilla.com", "elpitazo.net", "efectococuyo.com")
METHODS = ((), ("dns.nxdomain",), ("dns.nxdomain", "tls.reset"), ("tls.reset", "dns.nxdomain"), ("http.blockpage",))


def verdict(status: Status, methods: tuple[str, ...] = (), **more: Any) -> Verdict:
    known: dict[str, Any] = {"confidence": None if status is Status.INCONCLUSIVE else 0.98, "confirmed": False}
    known |= {"rule": f"rule_{status.value}", "rules_version": 1, "reasons": ({"id": "dns_ok", "count": 3},)}
    return Verdict(status=status, methods=methods, **(known | more))


def small(number: int, **more: Any) -> Measurement:
    """A measurement of which only its identity and its verdict matter."""
    site = more.get("site", SITES[0])
    known: dict[str, Any] = {
        "id": f"m{number:06}", "url": f"https://{site}/", "site": site, "vantage": "cantv", "probe": "7f3a",
        "network": CANTV, "started": BEGAN + timedelta(minutes=10 * number), "runtime": 1.9,
        "verdict": verdict(Status.OK), "conditions": Conditions(),
    }  # fmt: skip
    return Measurement(**(known | more))


def drawn(chance: Random, number: int) -> Measurement:
    """Any of what a small hub sees in some days, in no order, some of it at the same moment."""
    status = chance.choice([*Status, Status.OK, None])
    started = BEGAN + timedelta(minutes=chance.randrange(0, 6000, 10))
    network = chance.choice(NETWORKS)
    return small(
        number,
        site=chance.choice(SITES),
        vantage=chance.choice(("cantv", "home")),
        network=network,
        started=started,
        verdict=status and verdict(status, chance.choice(METHODS), confirmed=chance.random() < 0.5),
    )


def real() -> Measurement:
    """With names, connections, certificates, a page, and a control, as a censor and a helper left them."""
    case = verdict_cases.measured().dns(isp="NXDOMAIN", doh=verdict_cases.SITE).cut("tls.reset")
    case = case.control().dns(helper=verdict_cases.SITE).opens()
    measurement: Measurement = case.measurement()
    return msgspec.structs.replace(measurement, verdict=case.verdict)


def event(id: str = "3fa9c1d2e4b5a697", **more: Any) -> Event:
    known: dict[str, Any] = {
        "revision": 1, "kind": Kind.BLOCKING, "site": SITES[0], "network": CANTV, "methods": ("dns.nxdomain",),
        "started": BEGAN, "started_range": (BEGAN - timedelta(minutes=10), BEGAN), "confidence": 0.99,
        "detected": BEGAN + timedelta(minutes=20), "ended": None, "ended_range": None, "measurements": 14, "probes": 3,
    }  # fmt: skip
    return Event(id=id, **(known | more))
