"""Who is told of what, from the configuration: with what is kept elsewhere looked up, and a name that is no secret."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from monitor import system_errors
from monitor.alerts.terms import Terms
from monitor.config import Config, SiteConfig, placed
from monitor.config_alerts import MAIL, NOT_BY_PROXY, OWN_CHANNELS, AlertConfig, recipient, secret
from monitor.language import Words, available, words
from monitor.messages import Said
from monitor.sites import site_name

_MOST_SECRET = 4096  # bytes of a file
_TAG = "tag:"
# So that nobody who sees a name can try out passwords: what is digested holds them.
_ROUNDS = 20_000


class Subscription(Struct, frozen=True, kw_only=True):
    """key: its name, everywhere but in the configuration. channel: webhook, alertmanager, or Apprise's word for it.

    url: with all its secrets: for the channel's eyes only. secret: that signs a webhook; None: this installation's own.
    proxy: nothing goes to the channel but through it. evidence: where the pages are, for everyone; None: nowhere.
    """

    key: str
    channel: str
    url: str
    secret: str | None
    settings: AlertConfig
    proxy: str | None = None
    evidence: str | None = None

    @property
    def zone(self) -> ZoneInfo:
        """Whose clock counts."""
        return ZoneInfo(self.settings.zone)

    @property
    def words(self) -> Words:
        """Whose language it is told in."""
        return words(self.settings.language)

    @property
    def hears_all(self) -> bool:
        """Is it told of every change, as it is? Else of what people would be told."""
        return self.channel == "webhook"

    @property
    def hears_apart(self) -> bool:
        """Has each thread a message of its own, always?"""
        return self.channel in OWN_CHANNELS

    def __repr__(self) -> str:
        return f"Subscription({self.key})"

    def terms(self, sites: Iterable[SiteConfig]) -> Terms:
        """What it asks for. sites: those that are watched, with their tags."""
        asked, minimum = self.settings, self.settings.minimum
        return Terms(
            kinds=frozenset(asked.kinds), sites=_hosts(asked.sites, sites) if asked.sites else None,
            networks=frozenset(_network(isp) for isp in asked.isps), countries=frozenset(asked.countries),
            confidence=minimum.confidence, probes=minimum.probes, duration_s=minimum.duration_s,
            hold_s=asked.hold_s, gather_s=0.0 if self.channel == "alertmanager" else asked.gather_s,
        )  # fmt: skip


def subscribed(config: Config, file: Path | None) -> tuple[Subscription, ...]:
    """All of them; ConfigError where something that is kept elsewhere cannot be had."""
    found = [_subscription(config, file, number, entry) for number, entry in enumerate(config.alerts or ())]
    names = Counter(one.key for one in found)
    for number, one in enumerate(found):
        if one.settings.name is not None and names[one.key] > 1:
            problem = Said("expected a name of its own, {name} is taken", name=one.key)
            raise placed(file, f"alerts[{number}].name", problem)
    return tuple(_apart(found))


def _apart(found: Sequence[Subscription]) -> Iterable[Subscription]:
    """Several that tell the same recipient get numbers."""
    seen: Counter[str] = Counter()
    for one in found:
        seen[one.key] += 1
        yield one if seen[one.key] == 1 else msgspec.structs.replace(one, key=f"{one.key}-{seen[one.key]}")


def _subscription(config: Config, file: Path | None, number: int, entry: AlertConfig) -> Subscription:
    path = f"alerts[{number}]"
    if entry.language not in available():
        problem = Said(
            "expected a language there is: {known}; got {value}",
            known=", ".join(available()),
            value=repr(entry.language),
        )
        raise placed(file, f"{path}.language", problem)
    to = _looked_up(entry.to, file, f"{path}.to", recipient)
    signing = None if entry.secret is None else _looked_up(entry.secret, file, f"{path}.secret", secret)
    channel, _, rest = to.partition(":")
    proxy = _proxy(config, file, path, entry)
    if proxy is not None and not _is_reached(channel, proxy):
        raise placed(file, f"{path}.to", _unreachable(channel))
    return Subscription(
        key=entry.name or f"{channel}-{_digest(to)}", channel=channel, url=rest if channel in OWN_CHANNELS else to,
        secret=signing, settings=entry, proxy=proxy, evidence=config.web.public,
    )  # fmt: skip


def _proxy(config: Config, file: Path | None, path: str, entry: AlertConfig) -> str | None:
    """The one it is told through: its own, or a vantage's."""
    if entry.via is None:
        return entry.proxy
    if entry.proxy is not None:
        raise placed(file, f"{path}.via", Said("expected proxy or via, not both"))
    found = next((vantage for vantage in config.vantages if vantage.name == entry.via), None)
    if found is None:
        raise placed(file, f"{path}.via", Said("expected the name of a vantage, got {name}", name=entry.via))
    if found.via is None or found.via.proxy is None:
        problem = Said(
            "expected a vantage that is a proxy: alerts cannot choose an interface, and {name} is none", name=entry.via
        )
        raise placed(file, f"{path}.via", problem)
    return found.via.proxy


def _is_reached(channel: str, proxy: str) -> bool:
    return channel not in NOT_BY_PROXY and not (channel in MAIL and proxy.startswith("https:"))


def _unreachable(channel: str) -> Said:
    if channel in MAIL:
        return Said("expected a proxy that mail can go through: socks5:// or http://")
    return Said("expected a channel that can be reached through a proxy, {channel}: cannot", channel=channel)


def _looked_up(value: str, file: Path | None, key: str, reader: object) -> str:
    """A value, or what the file or the variable holds that it names; ConfigError, in which the value is not told."""
    kind, _, where = value.partition(":")
    if kind not in ("file", "environment") or where.startswith("//"):
        return value
    found = _from_file(where, file, key) if kind == "file" else os.environ.get(where)
    if not found:
        file_is_empty = Said("expected something in the file {name}", name=where)
        raise placed(
            file,
            key,
            file_is_empty if kind == "file" else Said("expected something in the variable {name}", name=where),
        )
    try:
        return _checked(found.strip(), reader)
    except ValueError as exc:
        raise placed(file, key, Said("in {name}: {problem}", name=where, problem=exc)) from None


def _checked(value: str, reader: object) -> str:
    if value.startswith(("file:", "environment:")) or not callable(reader):
        raise ValueError(Said("expected the value itself"))
    return str(reader(value))


def _from_file(where: str, file: Path | None, key: str) -> str:
    try:
        with ((file.parent if file else Path()) / Path(where).expanduser()).open("rb") as opened:
            return opened.read(_MOST_SECRET).decode().split("\n")[0]
    except OSError as exc:
        raise placed(file, key, Said("{file}: {problem}", file=where, problem=system_errors.problem(exc))) from None
    except UnicodeDecodeError:
        raise placed(file, key, Said("{name}: expected text in UTF-8", name=where)) from None


def _digest(to: str) -> str:
    return hashlib.pbkdf2_hmac("sha256", to.encode(), b"almenara subscription", _ROUNDS, 4).hex()


def _hosts(selected: Sequence[str], sites: Iterable[SiteConfig]) -> frozenset[str]:
    tags = {one.removeprefix(_TAG) for one in selected if one.startswith(_TAG)}
    tagged = {site_name(site.url) for site in sites if not tags.isdisjoint(site.tags)}
    return frozenset(tagged | {one for one in selected if not one.startswith(_TAG)})


def _network(isp: str) -> str:
    return isp if isp.startswith("AS") and isp[2:].isdigit() else isp.casefold()
