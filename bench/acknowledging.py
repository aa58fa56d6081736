"""`almenara run` that also notes what the store has acknowledged: an id a line, in the file ALMENARA_ACKNOWLEDGED.

Written by the same process right after `append` returned, and in one write: what `kill -9` leaves was acknowledged.
"""

import os
from collections.abc import Sequence

from monitor.cli import main
from monitor.models import Measurement
from monitor.store import Counts, Store

_NOTES = os.open(os.environ["ALMENARA_ACKNOWLEDGED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
_append = Store.append


def _noted(store: Store, measurements: Sequence[Measurement], count: Counts | None = None) -> int:
    new = _append(store, measurements, count)
    os.write(_NOTES, "".join(f"{measurement.id}\n" for measurement in measurements).encode())
    return new


if __name__ == "__main__":
    Store.append = _noted  # type: ignore[method-assign]
    main()
