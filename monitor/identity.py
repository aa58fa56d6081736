"""Who this installation is, on each network: a name that cannot be linked to the same machine on another network."""

import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path

from monitor import files
from monitor.models import Network

SECRET_BYTES = 32


def probe_id(network: Network) -> str:
    """16 hex digits: keyed by this installation's secret over the network's number.

    Where the network is not known, another one each run: the same one would link this machine on different networks.
    """
    if not network.asn:
        return secrets.token_hex(8)
    return hmac.new(_secret(), f"AS{network.asn}".encode(), hashlib.sha256).hexdigest()[:16]


def derived(purpose: str) -> str:
    """64 hex digits that this installation alone can know, the same as long as its secret stays."""
    return hmac.new(_secret(), purpose.encode(), hashlib.sha256).hexdigest()


def _secret() -> bytes:
    """This installation's secret; one for this run only where none can be stored."""
    folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "almenara"
    file = folder / "secret"
    try:
        known = file.read_bytes()
        if len(known) == SECRET_BYTES:
            return known
    except OSError:
        pass
    fresh = secrets.token_bytes(SECRET_BYTES)
    with suppress(OSError):  # a read-only home: the next run has another name
        files.replace(file, fresh)
    return fresh
