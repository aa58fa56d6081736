"""A store as a busy hub has it after a month: two thousand sites on four networks, blocked here and there; seeded."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random

from monitor.models import Conditions, Event, Incident, Kind, Measurement, Network, Status, Verdict
from monitor.store import Store

NETWORKS = (
    ("cantv", Network(asn=8048, isp="CANTV", country="VE", source="observed")),
    ("movistar", Network(asn=6306, isp="Telefónica", country="VE", source="observed")),
    ("digitel", Network(asn=264731, isp="Digitel", country="VE", source="observed")),
    ("inter", Network(asn=21826, isp="Inter", country="VE", source="observed")),
)
METHODS = ("dns.nxdomain", "tls.reset", "tcp.timeout", "http.blockpage", "tls.timeout")
RARE = "throttling.stall"  # once in the whole store
EVERY = timedelta(hours=6)
AT_ONCE = 2000


def names(sites: int) -> tuple[str, ...]:
    """Of the sites."""
    return tuple(f"www.noticias{number}.example" for number in range(sites))


class Plan:
    """Which pairs of site and network are blocked, by what, from which round to which."""

    def __init__(self, sites: int, measurements: int, until: datetime) -> None:
        self.sites = names(sites)
        self.rounds = -(-measurements // (sites * len(NETWORKS)))
        self.measurements = measurements
        self.began = until.replace(minute=0, second=0, microsecond=0) - self.rounds * EVERY
        chance = Random(1)
        self.blocked: dict[tuple[int, int], tuple[int, int, str]] = {}
        for site in range(sites):
            if chance.random() < 0.06:
                for network in chance.sample(range(len(NETWORKS)), chance.randint(1, len(NETWORKS))):
                    first = chance.randrange(self.rounds)
                    last = chance.choice([self.rounds, min(self.rounds, first + chance.randint(1, 20))])
                    self.blocked[site, network] = first, last, chance.choice(METHODS)

    def measured(self) -> Iterator[Measurement]:
        """In order of time."""
        chance, number = Random(2), 0
        for turn in range(self.rounds):
            for site in range(len(self.sites)):
                for network in range(len(NETWORKS)):
                    if number == self.measurements:
                        return
                    yield self._measured(number, turn, site, network, chance.random())
                    number += 1

    def _measured(self, number: int, turn: int, site: int, network: int, drawn: float) -> Measurement:
        vantage, carrier = NETWORKS[network]
        first, last, method = self.blocked.get((site, network), (0, 0, ""))
        if number == self.measurements // 2:
            verdict = _verdict(Status.BLOCKED, RARE)
        elif first <= turn < last:
            verdict = _verdict(Status.BLOCKED, method)
        else:
            verdict = _verdict(Status.INCONCLUSIVE if drawn < 0.01 else Status.DOWN if drawn < 0.015 else Status.OK)
        name = self.sites[site]
        return Measurement(
            id=f"{number:032x}", url=f"https://{name}/", site=name, vantage=vantage, probe=f"7f3a9b1c2d3e4f5{network}",
            network=carrier, started=self.began + turn * EVERY + EVERY * (site * 4 + network) / (len(self.sites) * 4),
            runtime=1.9, verdict=verdict, conditions=Conditions(),
        )  # fmt: skip

    def events(self) -> list[Event]:
        """One for each pair that was blocked."""
        found = []
        for (site, network), (first, last, method) in self.blocked.items():
            started, over = self.began + first * EVERY, last < self.rounds
            ended = self.began + last * EVERY if over else None
            found.append(
                Event(
                    id=f"{site:012x}{network:04x}", revision=1, kind=Kind.BLOCKING, site=self.sites[site],
                    network=NETWORKS[network][1], methods=(method,), started=started, started_range=(started - EVERY, started),
                    detected=started + EVERY, ended=ended, ended_range=(ended - EVERY, ended) if ended else None,
                    confidence=0.99, measurements=last - first, probes=1,
                )
            )  # fmt: skip
        return found


def _verdict(status: Status, *methods: str) -> Verdict:
    reasons = (
        {
            "id": "resolver_denies",
            "resolver": "200.44.32.12",
            "failure": "dns_nxdomain_error",
            "name": "x",
            "sources": 2,
        },
    )
    return Verdict(
        status=status, methods=methods, confidence=None if status is Status.INCONCLUSIVE else 0.98, confirmed=False,
        rule=f"rule_{status.value}", rules_version=1, reasons=reasons if methods else ({"id": "page_verified"},),
    )  # fmt: skip


def filled(url: str, sites: int, measurements: int) -> Plan:
    """Makes the store, unless it is there already."""
    plan = Plan(sites, measurements, datetime.now(UTC))
    with Store.open(url) as store:
        batch: list[Measurement] = []
        for one in plan.measured():
            batch.append(one)
            if len(batch) == AT_ONCE:
                store.append(batch)
                batch.clear()
        store.append(batch)
        events = plan.events()
        by_site: dict[str | None, list[Event]] = {}
        for event in events:
            by_site.setdefault(event.site, []).append(event)
        together = [
            Incident(
                id=f"i{these[0].id}", revision=1, state="started", started=min(one.started for one in these), ended=None,
                events=tuple(these),
            )
            for these in by_site.values()
        ]  # fmt: skip
        store.save_events(events, together)
    return plan
