"""Quiet hours and the hours of digests, by the clock of a time zone, whatever it does in spring and autumn."""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from monitor.config_alerts import DAYS


def is_quiet(quiet: str | None, zone: ZoneInfo, now: datetime) -> bool:
    """Is it a quiet hour? quiet: `22:00-07:00`; the last minute is not one."""
    if quiet is None:
        return False
    first, last = (time.fromisoformat(clock) for clock in quiet.split("-"))
    here = now.astimezone(zone).time()
    return first <= here < last if first < last else here >= first or here < last


def latest(hours: Sequence[str], zone: ZoneInfo, now: datetime) -> datetime | None:
    """The last of these hours that has come: `08:00`, `monday 08:00`. None where there are none."""
    today = now.astimezone(zone).date()
    days = [today - timedelta(days=back) for back in range(8)]
    moments = [_moment(day, hour, zone) for day in days for hour in hours if _is_on(hour, day)]
    return max((moment for moment in moments if moment <= now), default=None)


def _is_on(hour: str, day: date) -> bool:
    name = hour.rpartition(" ")[0]
    return not name or DAYS[day.weekday()] == name


def _moment(day: date, hour: str, zone: ZoneInfo) -> datetime:
    """A clock time that the day skips is as much later as the clock is put forward; one it has twice is the first."""
    return datetime.combine(day, time.fromisoformat(hour.rpartition(" ")[2]), zone)
