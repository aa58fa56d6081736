"""`python -m monitor.evidence.ordered`: a bundle that a service's reader asked for, made in a process of its own.

Measuring comes first: this one is as nice as can be, and the first to go where memory is short.
"""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import msgspec

from monitor.evidence.bundle import write
from monitor.evidence.errors import EvidenceError, NotWritten
from monitor.evidence.order import PATIENCE_S, Order
from monitor.language import words
from monitor.messages import Said
from monitor.store import Store, StoreError

MOST_BYTES = 256 * 1024 * 1024  # unpacked: some 20,000 measurements; `almenara report` makes larger ones
_MOST_ORDERED = 64 * 1024


def main() -> int:
    """Reads the order from stdin; 1 and a line on stderr where it cannot be met."""
    signal.alarm(PATIENCE_S)  # should nobody be there any more who ends this process
    os.nice(19)
    with suppress(OSError):  # not on Linux, or not allowed
        Path("/proc/self/oom_score_adj").write_text("1000")
    try:
        _make(msgspec.json.decode(sys.stdin.buffer.read(_MOST_ORDERED), type=Order))
    except (StoreError, EvidenceError) as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    return 0


def _make(order: Order) -> None:
    with Store.open(order.store, create=False) as store:
        about = store.event(order.id) or store.incident(order.id)
        if about is None:
            raise NotWritten(Said("no event has the id {id}: `almenara events` lists them", id=order.id))
        write(store, about, Path(order.output), words(order.language), Path(order.key), most=MOST_BYTES)


if __name__ == "__main__":
    sys.exit(main())
