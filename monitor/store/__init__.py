"""The only SQL in the project: measurements, verdicts, counts, events and the service's small state."""

from monitor.store.errors import StoreError
from monitor.store.place import locate
from monitor.store.schema import Tallied
from monitor.store.store import Store
from monitor.store.wanted import Count, Counts, Figures, Latest, Rejudged, Rollup, Tally, Wanted

__all__ = [
    "Count", "Counts", "Figures", "Latest", "Rejudged", "Rollup", "Store", "StoreError", "Tallied", "Tally", "Wanted",
    "locate",
]  # fmt: skip
