"""Synthetic histories of verdicts with what really happened in them, drawn from a seeded generator.

Noise is the share of false blocks among the conclusive verdicts: lone ones; runs of two to four on one site
(longer ones are what a short block looks like); bursts of
10 to 30 minutes on several or all sites of one line; these three mixed; and "uneasy", hours in which a line is wrong in 10
to 25 % of its verdicts, which on a line with one site is what a partial block of some hours looks like.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random

from msgspec import Struct

from monitor.models import Network, Point, Status

NOISES = ("lone", "runs", "line-bursts", "mixed", "uneasy")
_START = datetime(2025, 3, 1, tzinfo=UTC)
_HOUR, _DAY = 3600.0, 86400.0
_METHODS = ("tls.reset", "dns.nxdomain", "dns.bogon", "tcp.timeout", "http.blockpage")


class Truth(Struct, frozen=True):
    """A block that was: seconds since 1970, the share of connections it cuts."""

    site: str
    started: float
    ended: float
    share: float


class History(Struct, frozen=True):
    """Points and the truth about them."""

    points: list[Point]
    blocks: list[Truth]
    cadence_s: float
    site_s: float


class Setting(Struct, frozen=True):
    """How a history is measured."""

    cadence_s: float
    days: float
    sites: tuple[str, ...]
    probes: tuple[str, ...]
    network: Network
    inconclusive: float
    told: bool  # confidence, rule and methods
    outset: float


def _setting(random: Random, cadence_s: float, days: float, sites: int, prefix: str) -> Setting:
    probes = 1 if random.random() < 0.7 else random.randint(2, 3)
    asn = random.randrange(1000, 60000)
    return Setting(
        cadence_s,
        days,
        tuple(f"site{number}{prefix}.example" for number in range(sites)),
        tuple(f"probe{number}" for number in range(probes)) if random.random() < 0.7 or probes > 1 else ("",),
        Network(asn=asn, isp="ISP", country="VE", source="observed"),
        random.uniform(0.03, 0.10),
        random.random() < 0.6,
        (_START + timedelta(seconds=random.uniform(0, 200 * _DAY))).timestamp(),
    )


def calm_history(random: Random, noise: float, kind: str, prefix: str = "") -> History:
    """Nothing is blocked; a site-year or so."""
    cadence = random.choice((300.0, 600.0, 600.0, 3600.0))
    sites = random.choice((1, 3, 8, 20))
    days = 365.0 * random.uniform(0.3, 1.2) / sites * (3 if cadence == 3600.0 else 1)
    return _measured(random, _setting(random, cadence, days, sites, prefix), [], noise, kind)


def blocked_history(random: Random, noise: float, kind: str, block: str) -> History:
    """A month or so with blocks: full, partial, tactical, national (many sites at once), or measured daily."""
    cadence = {"tactical": 300.0, "daily": _DAY}.get(block, random.choice((300.0, 600.0, 600.0, 3600.0)))
    sites = random.choice((6, 20)) if block == "national" else random.choice((1, 1, 3, 8))
    days = 300.0 if block == "daily" else 40.0
    setting = _setting(random, cadence, days, sites, "")
    return _measured(random, setting, list(_blocks(random, setting, block)), noise, kind)


def _blocks(random: Random, setting: Setting, kind: str) -> Iterator[Truth]:
    lengths = {"tactical": (1.5 * _HOUR, 1.5 * _HOUR), "daily": (10 * _DAY, 30 * _DAY), "partial": (2 * _DAY, 6 * _DAY)}
    shortest, longest = lengths.get(kind, (6 * _HOUR, 2 * _DAY))
    pause = max(1.0 * _DAY, 20 * setting.cadence_s)
    if setting.cadence_s == _HOUR:
        shortest, longest = 3 * shortest, 3 * longest
    share = 0.4 if kind == "partial" else 1.0
    for site in setting.sites[: 1 if kind == "national" else max(1, len(setting.sites) // 4)]:
        at = setting.outset + random.choice((0.1, 1.0, 5.0)) * pause
        while True:
            ends = at + random.uniform(shortest, longest)
            if ends > setting.outset + setting.days * _DAY - pause:
                break
            hit = random.sample(setting.sites, random.randint(5, len(setting.sites))) if kind == "national" else [site]
            for one in hit:
                yield Truth(one, at, ends, share)
            at = ends + random.uniform(pause, 6 * pause)


def _measured(random: Random, setting: Setting, blocks: list[Truth], noise: float, kind: str) -> History:
    points: list[Point] = []
    method = random.choice(_METHODS)
    troubles = {probe: Trouble(random, setting, noise, kind) for probe in setting.probes}
    of_site: dict[str, list[Truth]] = {}
    for block in blocks:
        of_site.setdefault(block.site, []).append(block)
    for number, site in enumerate(setting.sites):
        for probe in setting.probes:
            offset = random.uniform(0, setting.cadence_s) if random.random() < 0.8 else number * 2.0
            cadence = setting.cadence_s * (len(setting.probes) if setting.cadence_s < _DAY else 1)
            at = setting.outset + offset
            false = troubles[probe].on(site)
            serial = 0
            while at < setting.outset + setting.days * _DAY:
                serial += 1
                moment = at + random.uniform(0, 0.1) * cadence
                share = next((one.share for one in of_site.get(site, ()) if one.started <= moment < one.ended), None)
                spoiled = next(false)  # drawn while it is blocked, too: or its bursts fall out of step
                cut = spoiled if share is None else random.random() < share * 0.98
                points.append(_point(random, setting, site, probe, moment, cut, f"{site}/{probe}/{serial}", method))
                at += cadence
    random.shuffle(points)
    return History(points, blocks, setting.cadence_s, setting.days * _DAY * len(setting.sites))


def _point(
    random: Random, setting: Setting, site: str, probe: str, at: float, cut: bool, id: str, method: str
) -> Point:
    status = Status.BLOCKED if cut else Status.OK
    if random.random() < setting.inconclusive:
        status = Status.INCONCLUSIVE
    started = datetime.fromtimestamp(at, UTC)
    if not setting.told or status is Status.INCONCLUSIVE:
        return Point(id=id, site=site, network=setting.network, probe=probe, started=started, status=status)
    confidence = round(random.uniform(0.85, 0.999), 3)
    methods = (method,) if status is Status.BLOCKED else ()
    return Point(
        id=id, site=site, network=setting.network, probe=probe, started=started, status=status,
        methods=methods, confidence=confidence, rule="blocked_tls" if methods else "page_verified",
    )  # fmt: skip


class Trouble:
    """The noise of one probe's line. own: leave out what its sites have in common."""

    def __init__(self, random: Random, setting: Setting, noise: float, kind: str, *, own: bool = False) -> None:
        self._random, self._setting = random, setting
        shares = {kind: noise}
        if kind == "mixed":
            shares = dict.fromkeys(("lone", "runs") if own else ("lone", "runs", "line-bursts"), noise / 3)
        self._lone, self._runs = shares.get("lone", 0.0), shares.get("runs", 0.0)
        self._cadence = setting.cadence_s * (len(setting.probes) if setting.cadence_s < _DAY else 1)
        self._longer = random.uniform(0.3, 0.7)  # how likely a run goes on
        reach = random.choice((0.5, 1.0))  # the share of the sites that a burst hits
        self._bursts = list(self._intervals(shares.get("line-bursts", 0.0) / reach, (600.0, 1800.0)))
        self._reach = reach
        self._bad_rate = random.uniform(0.1, 0.25)
        uneasy = shares.get("uneasy", 0.0)
        self._worse = list(self._intervals(0.8 * uneasy / self._bad_rate, (2 * _HOUR, 8 * _HOUR)))
        self._lone += 0.2 * uneasy

    def _intervals(self, share: float, length: tuple[float, float]) -> Iterator[tuple[float, float]]:
        """Times at random that make up this share."""
        if not share:
            return
        setting, random = self._setting, self._random
        mean = sum(length) / 2
        at = setting.outset
        while at < setting.outset + setting.days * _DAY:
            at += random.expovariate(share / (1 - share) / mean)
            ends = at + random.uniform(*length)
            yield at, ends
            at = ends

    def on(self, site: str) -> Iterator[bool]:
        """Whether each verdict of a site, one after the other at the cadence, is false."""
        random, at = self._random, self._setting.outset
        left = 0
        burst, worse = 0, 0
        hit = random.random() < self._reach
        start_run = self._runs / (2 + self._longer + self._longer**2)
        while True:
            while burst < len(self._bursts) and self._bursts[burst][1] <= at:
                burst += 1
                hit = random.random() < self._reach
            while worse < len(self._worse) and self._worse[worse][1] <= at:
                worse += 1
            in_burst = burst < len(self._bursts) and self._bursts[burst][0] <= at and hit
            rate = self._bad_rate if worse < len(self._worse) and self._worse[worse][0] <= at else 0.0
            if not left and random.random() < start_run:
                left = 2
                while left < 4 and random.random() < self._longer:
                    left += 1
            false = in_burst or left > 0 or random.random() < rate + self._lone
            left = max(0, left - 1)
            yield false
            at += self._cadence
