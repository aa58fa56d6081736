"""Moments and lengths of time: as people write them on the command line, and as they read them."""

import re
from datetime import UTC, datetime, timedelta

from monitor.config_values import duration, shown
from monitor.messages import Said

_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))


def moment(text: str, now: datetime) -> datetime:
    """A moment from `2018-01-15`, `2018-01-15T09:05`, the same with `Z` or `-04:00`, `36h` or `36h ago`. ValueError.

    Without an offset it is local time, as the events are shown.
    """
    ago = re.fullmatch(r"([\d.]+[a-z]+)( ago)?", text, re.ASCII)
    if ago:
        return now - timedelta(seconds=duration(ago[1]))
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        expected = Said(
            "expected a date, a time such as 2018-01-15T09:05, or how long ago, such as 36h or 7d; got {value}",
            value=shown(text),
        )
        raise ValueError(expected) from None


def local_and_utc(when: datetime) -> str:
    """`2018-01-15 09:05 (13:05 UTC)`: local time first, with the date in UTC where that differs."""
    here, utc = when.astimezone(), when.astimezone(UTC)
    if here.utcoffset() == timedelta(0):
        return f"{utc:%Y-%m-%d %H:%M} UTC"
    day = "" if here.date() == utc.date() else f"{utc:%Y-%m-%d} "
    return f"{here:%Y-%m-%d %H:%M} ({day}{utc:%H:%M} UTC)"


def utc_text(when: datetime) -> str:
    """`2018-01-15 13:05:00Z`: for logs."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


def length(time: timedelta) -> str:
    """`45 s`, `12 min`, `2 h 15 min`, `3 d 4 h`: the two largest units."""
    seconds = max(0, int(time.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    parts: list[str] = []
    for size, unit in _UNITS:
        count, seconds = divmod(seconds, size)
        if count or parts:
            parts.append(f"{count} {unit}" if count else "")
    return " ".join(filter(None, parts[:2]))
