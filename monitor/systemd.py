"""What systemd wants to know of a service of type `notify`: that it is ready, and that it lives."""

import os
import socket


def notify(state: str) -> None:
    """Tell, where somebody listens (NOTIFY_SOCKET)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as telling:
            telling.setblocking(False)
            telling.connect("\0" + address[1:] if address.startswith("@") else address)
            telling.send(state.encode())
    except OSError:
        return  # nobody listens any more


def watchdog_s() -> float | None:
    """How often to say that we live: half the time after which systemd would end us."""
    told, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not (told.isascii() and told.isdigit()) or int(told) <= 0 or pid not in ("", str(os.getpid())):
        return None
    return int(told) / 2e6
