"""The only SQL in the project: measurements, verdicts, counts, events and the service's small state."""

from monitor.store.errors import StoreError
from monitor.store.place import locate
from monitor.store.store import Store
from monitor.store.wanted import Latest, Rejudged, Rollup, Wanted

__all__ = ["Latest", "Rejudged", "Rollup", "Store", "StoreError", "Wanted", "locate"]
