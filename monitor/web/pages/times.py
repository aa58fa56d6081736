"""How long a site took to answer, lately: from a fair sample of its measurements, since each must be opened for it."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from markupsafe import Markup
from msgspec import Struct

from monitor.language import Words
from monitor.models import Network
from monitor.outcome import Outcome
from monitor.store import Head, Wanted
from monitor.web.archive import MOST_HEADS, Archive
from monitor.web.charts.lines import Series, lines
from monitor.web.pages.periods import period, ticks
from monitor.web.pages.sentences import network_name

MOST = 96  # measurements that are opened
MOST_SERIES = 8


class Timing(Struct, frozen=True, kw_only=True):
    """A measurement. seconds: from the first question to the last byte; None: no page came."""

    id: str
    network: Network
    started: datetime
    seconds: float | None


async def timings(archive: Archive, site: str, until: datetime) -> list[Timing]:
    """Of the last day before `until`, oldest first."""
    heads = await archive.heads(Wanted(site=site, since=until - timedelta(days=1), until=until), MOST_HEADS)
    chosen = _sample(heads)
    outcomes = await archive.outcomes([head.id for head in chosen])
    return [
        Timing(id=head.id, network=head.network, started=head.started, seconds=_seconds(outcomes[head.id]))
        for head in chosen
        if head.id in outcomes
    ]


def _sample(heads: Sequence[Head]) -> list[Head]:
    """MOST of them, evenly spread over networks and time."""
    by_network: dict[int, list[Head]] = {}
    for head in heads:
        by_network.setdefault(head.network.asn or 0, []).append(head)
    kept = sorted(by_network.values(), key=len, reverse=True)[:MOST_SERIES]
    most = MOST // max(1, len(kept))
    found = [head for seen in kept for head in seen[:: max(1, -(-len(seen) // most))]]
    return sorted(found, key=lambda head: (head.started, head.id))


def _seconds(found: Outcome) -> float | None:
    return sum(found.durations.values()) if found.step is None and found.durations else None


def chart(words: Words, found: Sequence[Timing], until: datetime, now: datetime) -> Markup:
    """A line for each network."""
    shown = period("day", until, now)
    by_network: dict[int, list[Timing]] = {}
    for one in found:
        by_network.setdefault(one.network.asn or 0, []).append(one)
    top_s = _round_up(max((one.seconds or 0.0 for one in found), default=1.0))
    rows = [
        Series(
            label=network_name(words, timed[0].network),
            points=[(shown.place(one.started), one.seconds) for one in timed],
        )
        for timed in by_network.values()
    ]
    rows.sort(key=lambda series: series.label)
    title = words.text("How long the site took to answer, in the last day")
    description = words.text("One line for each network; a mark at its foot is a measurement to which no page came.")
    return lines(
        "times",
        title,
        description,
        rows,
        top_s,
        words.text("{seconds} s", seconds=words.number(top_s)),
        ticks(words, shown),
    )


def _round_up(seconds: float) -> float:
    """To 1, 2 or 5 times a power of ten."""
    step = 0.001
    while True:
        for factor in (1, 2, 5):
            if seconds <= factor * step:
                return round(factor * step, 3)
        step *= 10
