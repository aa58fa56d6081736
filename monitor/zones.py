"""What time it is where something happened."""

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from monitor.language import Words


def zone_of(country: str | None) -> tzinfo | None:
    """The time zone of a country that has one."""
    from babel.core import get_global

    zones = [zone for zone, of in get_global("zone_territories").items() if of == country]
    try:
        return ZoneInfo(zones[0]) if len(zones) == 1 else None
    except (ZoneInfoNotFoundError, ValueError):
        return None


def local_words(words: Words, when: datetime, country: str | None) -> str:
    """09:05 local time; with the day where it is another one. "" in countries of several zones."""
    zone = zone_of(country)
    if zone is None:
        return ""
    local = when.astimezone(zone)
    same_day = local.date() == when.astimezone(UTC).date()
    time = words.time(when, zone) if same_day else f"{words.short_day(when, zone)}, {words.time(when, zone)}"
    return words.text("{time} local time", time=time)
