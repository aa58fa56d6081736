"""Who is told of what, as probes.yaml says it: the section `alerts`, and how its values are read."""

import re
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta

from monitor.config_section import Section
from monitor.config_values import (
    Country,
    Language,
    Name,
    Pause,
    Probability,
    Proxy,
    Selected,
    shown,
    web_url,
)
from monitor.messages import Said
from monitor.models import Kind

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MOST_PROBES = 1_000_000
# Whose URL is told as it is, after this word; all others are Apprise's.
OWN_CHANNELS = ("webhook", "alertmanager")
# Kept out of the file: its first line, or a variable of the environment.
_ELSEWHERE = re.compile(r"file:[^\x00-\x1f]{1,1024}|environment:[A-Za-z_][A-Za-z0-9_]{0,127}")
_APPRISE = re.compile(r"[a-z][a-z0-9+.-]*://[^\x00-\x20]+")
_ASN = re.compile(r"AS(\d+)", re.ASCII)
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)", re.ASCII)
# What Apprise reaches without speaking HTTP, and mail apart: no proxy is between.
NOT_BY_PROXY = frozenset({
    "amqp", "amqps", "aprs", "blink1", "dbus", "deltachat", "deltachats", "gio", "glib", "gnome", "growl", "irc", "ircs", "kde",
    "macosx", "mqtt", "mqtts", "qt", "rsyslog", "smpp", "smpps", "syslog", "windows", "xmpp", "xmpps",
})  # fmt: skip
MAIL = ("mailto", "mailtos")
_DIGESTS = {"daily": ["08:00"], "weekly": ["monday 08:00"]}


def recipient(value: Any) -> str:
    """Where an alert goes: `webhook:URL`, `alertmanager:URL`, an Apprise URL, or where one of these is found."""
    if isinstance(value, str):
        channel, _, url = value.partition(":")
        if channel in OWN_CHANNELS:
            login, place = _login(url) if channel == "alertmanager" else ("", url)
            return f"{channel}:{_receiver(place).replace('://', f'://{login}', 1)}"
        if _APPRISE.fullmatch(value) or _is_elsewhere(value):
            return value
    raise ValueError(Said("expected webhook:https://... or an Apprise URL such as mailto://desk@example.org"))


def _login(url: str) -> tuple[str, str]:
    """`name:password@`, and the URL without it. A webhook is signed instead."""
    found = re.fullmatch(r"(https?://)([^\x00-\x20/?#@\\]+@)?(.*)", url)
    return (found[2] or "", found[1] + found[3]) if found else ("", url)


def _receiver(url: str) -> str:
    """Its URL; it is not shown where it is wrong: a webhook's path may be its secret."""
    try:
        return web_url(url)
    except ValueError:
        raise ValueError(Said("expected an http or https URL after webhook: or alertmanager:")) from None


def secret(value: Any) -> str:
    """What only the receiver knows as well, or where it is found; it is not shown."""
    if isinstance(value, str) and (re.fullmatch(r"[!-~]{16,200}", value) or _is_elsewhere(value)):
        return value
    raise ValueError(Said("expected 16 to 200 letters and digits, file:PATH or environment:NAME"))


def channel_of(to: str) -> str:
    """What kind of channel a recipient is; "" where that is kept elsewhere."""
    return "" if _is_elsewhere(to) else to.partition(":")[0]


def _is_elsewhere(value: str) -> bool:
    return _ELSEWHERE.fullmatch(value) is not None and not value.startswith("file://")


def isp(value: Any) -> str:
    """An ISP by its name, or a network by its number."""
    if isinstance(value, str) and re.fullmatch(r"[^\x00-\x1f]{1,64}", value):
        number = _ASN.fullmatch(value)
        if number is None or 0 < int(number[1]) < 2**32:
            return value
    raise ValueError(Said("expected an ISP's name or number such as CANTV or AS8048, got {value}", value=shown(value)))


def kind(value: Any) -> str:
    """A kind of event."""
    if isinstance(value, str) and value in list(Kind):
        return value
    raise ValueError(Said("expected {kinds}, got {value}", kinds=", ".join(Kind), value=shown(value)))


def zone(value: Any) -> str:
    """A time zone by its IANA name."""
    try:
        if isinstance(value, str):
            ZoneInfo(value)
            return value
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a folder of zones is an OSError
        pass
    raise ValueError(Said("expected a time zone such as America/Caracas, got {value}", value=shown(value)))


def quiet(value: Any) -> str:
    """Hours of a day: `22:00-07:00`."""
    if isinstance(value, str):
        first, _, last = value.partition("-")
        if _CLOCK.fullmatch(first) and _CLOCK.fullmatch(last) and first != last:
            return value
    raise ValueError(Said("expected hours such as 22:00-07:00, got {value}", value=shown(value)))


def digest(value: Any) -> Any:
    """`daily` is at eight, `weekly` on Monday at eight; else the hours themselves."""
    if not isinstance(value, str):
        return value
    if value not in _DIGESTS:
        raise _no_hours(value)
    return _DIGESTS[value]


def hour(value: Any) -> str:
    """`08:00`, or `monday 08:00`."""
    if isinstance(value, str):
        day, _, clock = value.rpartition(" ")
        if _CLOCK.fullmatch(clock) and day in ("", *DAYS):
            return value
    raise _no_hours(value)


def _no_hours(value: Any) -> ValueError:
    return ValueError(
        Said("expected daily, weekly, or hours such as [08:00, friday 18:30], got {value}", value=shown(value))
    )


def _read_by(function: Any) -> Meta:
    return Meta(extra={"read": function})


Recipient = Annotated[str, _read_by(recipient)]
Secret = Annotated[str, _read_by(secret)]
Isp = Annotated[str, _read_by(isp)]
EventKind = Annotated[Kind, _read_by(kind)]
Zone = Annotated[str, _read_by(zone)]
Quiet = Annotated[str, _read_by(quiet)]
Hour = Annotated[str, _read_by(hour)]
Digest = Annotated[tuple[Hour, ...], _read_by(digest)]


class MinimumConfig(Section, frozen=True, kw_only=True):
    """What an event needs before it is worth an alert. duration: how long it has gone on."""

    confidence: Probability = 0.0
    probes: Annotated[int, Meta(ge=1, le=MOST_PROBES)] = 1
    duration_s: Pause = msgspec.field(name="duration", default=0.0)


class AlertConfig(Section, frozen=True, kw_only=True):
    """Who is told of what. sites, isps, countries: none means all. name: how tables and metrics call it.

    secret: a webhook is signed with it. proxy: on the way to the channel; via: a vantage's proxy instead. quiet, digest: by
    the clock of the zone. hold: so long a site that comes and goes must stay open before its end is told. gather: between
    two updates of a thread; machines are told at once.
    """

    to: Recipient
    name: Name | None = None
    language: Language = "en"
    sites: tuple[Selected, ...] = ()
    isps: tuple[Isp, ...] = ()
    countries: tuple[Country, ...] = ()
    kinds: Annotated[tuple[EventKind, ...], Meta(min_length=1)] = (Kind.BLOCKING,)
    minimum: MinimumConfig = MinimumConfig()
    digest: Digest = ()
    quiet: Quiet | None = None
    zone: Zone = "UTC"
    hold_s: Pause = msgspec.field(name="hold", default=1800.0)
    gather_s: Pause = msgspec.field(name="gather", default=600.0)
    secret: Secret | None = None
    proxy: Proxy | None = None
    via: Name | None = None
