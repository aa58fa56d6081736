"""All that one scrape tells of, as it was at one moment: taken in the service's loop, told in a thread."""

import math
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from monitor.metrics.words import Resolvers
from monitor.models import Event, Network, Verdict
from monitor.outcome import Outcome
from monitor.store import Figures

PERIODS = 3  # without data, and a site is not told of any more
Pair = tuple[str, str]


class Newest(Struct, frozen=True, kw_only=True):
    """A site on a vantage. started: of the measurement; heard: when its result came; period_s: how far the next one was."""

    site: str
    asn: str
    verdict: Verdict
    outcome: Outcome
    started: datetime
    heard: datetime
    period_s: float = 0.0


class Sign(Struct, frozen=True, kw_only=True):
    """The last sign of life: of a vantage, or of a control. well: online, or answering. asn: where it was known last."""

    started: datetime
    heard: datetime
    well: bool
    asn: str = ""


class Scrape(Struct, frozen=True, kw_only=True):
    """watched: URL -> seconds between two measurements. newest, running: by URL and vantage. networks: of the vantages.

    wanted: hosts and `tag:TAG` of the sites that are told of one by one; none: all. tags: of each URL. site_budget_s: what
    measuring one may take. stretch: of all periods, for the budget's sake; inf: nothing is left of it. slept: when it was
    so last. signs, controls: the last sign of life of each vantage, and of each control in `helpers`. absent: vantages
    that are not there now. active: events that go on; incidents: theirs. figures: None where the store does not tell
    them. troubled: it does not take measurements.
    """

    now: datetime
    watched: Mapping[str, float]
    newest: Mapping[Pair, Newest]
    running: Collection[Pair]
    wanted: Collection[str]
    tags: Mapping[str, Collection[str]]
    site_budget_s: float
    stretch: float
    slept: datetime | None
    networks: Mapping[str, Network]
    resolvers: Mapping[str, Resolvers]
    signs: Mapping[str, Sign]
    helpers: Sequence[str]
    controls: Mapping[str, Sign]
    absent: Collection[str]
    active: Sequence[Event]
    incidents: Mapping[str, str]
    figures: Figures | None
    channels: Collection[str]
    troubled: bool
    unsaved: int
    waiting: int
    lag_s: float
    budget: int | None
    used: int
    started: datetime
    reloaded: bool
    reloaded_at: datetime

    @property
    def shortest_s(self) -> float:
        """The shortest period of all sites; 0 where none is watched."""
        return min(self.watched.values(), default=0.0)

    @property
    def paused(self) -> bool:
        """Does the budget let no site be measured but those that changed?"""
        return math.isinf(self.stretch)

    def age_s(self, moment: datetime) -> float:
        """Seconds since then."""
        return (self.now - moment).total_seconds()
