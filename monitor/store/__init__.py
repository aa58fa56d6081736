"""The only SQL in the project: measurements, verdicts, counts, events and the service's small state."""

from monitor.store.aggregates import TooMuch
from monitor.store.errors import StoreError
from monitor.store.ground import Decide, Ground
from monitor.store.place import locate, same_place
from monitor.store.rollups import Every
from monitor.store.schema import Sending, Tallied
from monitor.store.store import Store
from monitor.store.told import Delivery, Subscriber, Thread, Waiting
from monitor.store.wanted import (
    TIMES,
    Aggregate,
    By,
    Count,
    Counts,
    Figures,
    Head,
    Latest,
    Rejudged,
    Rollup,
    Tally,
    Wanted,
    WantedEvents,
)

__all__ = [
    "TIMES", "Aggregate", "By", "Count", "Counts", "Decide", "Delivery", "Every", "Figures", "Ground", "Head", "Latest",
    "Rejudged", "Rollup", "Sending", "Store", "StoreError", "Subscriber", "Tallied", "Tally", "Thread", "TooMuch", "Waiting",
    "Wanted", "WantedEvents", "locate", "same_place",
]  # fmt: skip
