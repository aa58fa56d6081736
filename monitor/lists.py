"""Test lists over time: the last good copy is kept, and sites that join a list wait until the volunteer has seen them.

Consent to a list is consent to the sites that were in it: those of a category at first sight are watched, later ones
wait for `almenara sites --approve`. What was seen is remembered in a file, which that command and the service share.
"""

import asyncio
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.table import Table
from rich.text import Text

from monitor import files, system_errors
from monitor.budget import amount
from monitor.config import Config, ListConfig, SiteConfig
from monitor.config_yaml import ConfigError, one_line
from monitor.language import Words, here
from monitor.messages import N_, Said
from monitor.schedule import every_s
from monitor.show import printable, results_console
from monitor.sites import MAX_LIST_BYTES, ListUnavailable, distinct, list_text, site_name, sites_in
from monitor.urls import bare

REFRESH_S = 86_400.0
LOCK_S = 5.0  # how long another process is waited for that has the memory of what was seen
ALL = "all"
MAX_REMEMBERED_BYTES = 64 * 1024 * 1024
_URL_WIDTH = 70
_STATES = {"watched": N_("watched"), "waiting": N_("waiting")}


class Watched(Struct, frozen=True, kw_only=True):
    """The sites to measure, and those that wait to be seen by the volunteer."""

    sites: tuple[SiteConfig, ...]
    waiting: tuple[SiteConfig, ...] = ()


class _Remembered(Struct, kw_only=True):
    """seen: list -> category -> URLs at first sight; approved: URLs that joined later."""

    seen: dict[str, dict[str, list[str]]] = {}
    approved: list[str] = []


class Lists:
    """The configured sites and lists, as they are now. warn: told once when a list cannot be had, and when it can again.

    complete: no list is without a copy.
    """

    def __init__(self, warn: Callable[[str], None], language: Callable[[], Words] = here) -> None:
        self.complete = True
        self._warn, self._language = warn, language
        self._last: dict[ListConfig, tuple[SiteConfig, ...]] = {}
        self._troubled: set[ListConfig] = set()

    async def gather(self, config: Config) -> Watched:
        """All sites, each once. ConfigError where what was seen is damaged, ListUnavailable where it cannot be kept."""
        self.complete = True
        found = {entry: await self._read(entry) for entry in config.lists}
        self._last = found
        return await asyncio.to_thread(self._sorted, config, found)  # the file may be locked for a while

    def approved(self, config: Config) -> Watched:
        """The same lists, with what was approved since; ConfigError as for `gather`."""
        return self._sorted(config, self._last)

    def approve(self, config: Config, urls: Sequence[str]) -> None:
        """The volunteer has seen these waiting sites, or all; ConfigError where one does not wait."""
        waiting = [site.url for site in self.approved(config).waiting]
        unknown = [url for url in urls if url != ALL and url not in waiting]
        if unknown:
            raise ConfigError("--approve", None, unknown[0], Said("expected the URL of a site that waits, or all"))
        with _remembered() as known:
            known.approved += [url for url in waiting if ALL in urls or url in urls]

    def _sorted(self, config: Config, found: dict[ListConfig, tuple[SiteConfig, ...]]) -> Watched:
        watched, waiting = list(config.sites), []
        if found:
            with _remembered() as known:
                agreed = set(known.approved)
                for entry, sites in found.items():
                    old = _seen(known, entry, sites)
                    watched += [site for site in sites if site.url in old or site.url in agreed]
                    waiting += [site for site in sites if site.url not in old and site.url not in agreed]
        kept = distinct(watched)
        urls = {site.url for site in kept}
        return Watched(sites=kept, waiting=distinct(site for site in waiting if site.url not in urls))

    async def _read(self, entry: ListConfig) -> tuple[SiteConfig, ...]:
        copy = _copy_of(_name(entry))
        if entry.url is not None and _is_recent(copy):
            try:
                return sites_in(_bytes(copy), entry)
            except (ConfigError, OSError):
                pass  # another category is wanted now, or the copy is damaged
        try:
            raw = await list_text(entry)
            sites = sites_in(raw, entry)
        except (ConfigError, ListUnavailable) as exc:
            return self._instead(entry, copy, exc)
        _keep(copy, raw)
        self._well(entry)
        return sites

    def _instead(self, entry: ListConfig, copy: Path, problem: ConfigError | ListUnavailable) -> tuple[SiteConfig, ...]:
        """What stands in for a list that cannot be had."""
        known = self._last.get(entry)
        if not known:
            try:
                known = sites_in(_bytes(copy), entry)
            except (ConfigError, OSError):
                known = ()
                self.complete = False
        if entry not in self._troubled:
            self._troubled.add(entry)
            instead = (
                N_("{problem}; the last good copy is used")
                if known
                else N_("{problem}; its sites are not watched until it can be had")
            )
            self._warn(self._language().text(instead, problem=problem))
        return known or ()

    def _well(self, entry: ListConfig) -> None:
        if entry in self._troubled:
            self._troubled.remove(entry)
            self._warn(
                one_line(self._language().text("{list}: can be had again", list=entry.path or bare(str(entry.url))))
            )


def run(config: Config, *, approve: Sequence[str], json: bool) -> int:
    """`almenara sites`: what is watched and what waits; approve: URLs that may be watched now, or all.

    1 where a list cannot be had and nothing stands in for it.
    """
    lists, w = Lists(_warn), here()
    watched = asyncio.run(lists.gather(config))
    if approve:
        lists.approve(config, approve)
        watched = lists.approved(config)
    rows = [(site, "watched") for site in watched.sites] + [(site, "waiting") for site in watched.waiting]
    if json:
        for site, state in rows:
            sys.stdout.buffer.write(msgspec.json.encode(_told(site, state, config)) + b"\n")
    else:
        titles = (w.text("site"), w.text("name"), w.text("tags"), w.text("every"), w.text("state"))
        table = Table(*titles, box=None, header_style="bold")
        for site, state in rows:
            told = Text(w.gettext(_STATES[state]), style="yellow" if state == "waiting" else "")
            table.add_row(*_cells(site, config), told)
        results_console().print(table)
    if config.schedule.budget is not None:
        limit = amount(config.schedule.budget)
        _warn(w.text("every: as configured; a budget of {limit} a day may make it longer", limit=limit))
    if watched.waiting:
        _warn(
            w.many(
                "{count} waits since joining a list: `almenara sites --approve URL`, or `--approve all`",
                "{count} wait since joining a list: `almenara sites --approve URL`, or `--approve all`",
                len(watched.waiting),
            )
        )
    return 0 if lists.complete else 1


def _warn(line: str) -> None:
    sys.stderr.write(f"almenara: {line}\n")


def _told(site: SiteConfig, state: str, config: Config) -> dict[str, object]:
    return {
        "url": site.url, "site": site_name(site.url), "name": site.name, "tags": site.tags,
        "every": every_s(site, config.schedule), "state": state,
    }  # fmt: skip


def _cells(site: SiteConfig, config: Config) -> list[Text]:
    texts = (site.url, site.name or "", ", ".join(site.tags), here().span(every_s(site, config.schedule)))
    return [Text(printable(text, _URL_WIDTH)) for text in texts]


def _name(entry: ListConfig) -> str:
    return os.path.abspath(entry.path) if entry.path is not None else str(entry.url)


def _seen(known: _Remembered, entry: ListConfig, sites: Sequence[SiteConfig]) -> set[str]:
    """The URLs of a list that were in it at first sight; a category's first sight is the one now where there was none."""
    categories = known.seen.setdefault(_name(entry), {})
    for category in entry.categories:
        if category not in categories and sites:
            categories[category] = [site.url for site in sites if category.lower() in site.tags]
    return {url for category in entry.categories for url in categories.get(category, ())}


def _folder(variable: str, default: str) -> Path:
    return Path(os.environ.get(variable) or Path.home() / default) / "almenara"


def remembered_at() -> Path:
    """The file that remembers what the volunteer has seen."""
    return _folder("XDG_STATE_HOME", ".local/state") / "lists.json"


def _copy_of(name: str) -> Path:
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return _folder("XDG_CACHE_HOME", ".cache") / "lists" / f"{digest}.csv"


def _is_recent(copy: Path) -> bool:
    try:
        return 0 <= time.time() - copy.stat().st_mtime < REFRESH_S
    except OSError:
        return False


def _bytes(file: Path, most: int = MAX_LIST_BYTES) -> bytes:
    with file.open("rb") as opened:
        return opened.read(most + 1)


def _keep(file: Path, content: bytes) -> None:
    """Whole or not at all; a disk that is full or read-only costs the copy, not the list."""
    with suppress(OSError):
        if file.exists() and _bytes(file) == content:
            file.touch()  # a memory card is not written each time
        else:
            files.replace(file, content)


@contextmanager
def _remembered() -> Iterator[_Remembered]:
    """What was seen, to be changed by one process at a time; written where it changed."""
    file = remembered_at()
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with files.locked(file.with_suffix(".lock"), LOCK_S):
            before = _load(file)
            known = msgspec.json.decode(msgspec.json.encode(before), type=_Remembered)
            yield known
            if known != before:
                files.replace(file, msgspec.json.encode(known))
    except OSError as exc:
        unkept = Said("{file}: cannot be kept: {problem}", file=one_line(str(file)), problem=system_errors.problem(exc))
        raise ListUnavailable(unkept) from None


def _load(file: Path) -> _Remembered:
    # Not as if nothing had been seen: that would agree to every site there is by now.
    try:
        return msgspec.json.decode(_bytes(file, MAX_REMEMBERED_BYTES), type=_Remembered)
    except FileNotFoundError:
        return _Remembered()
    except (msgspec.DecodeError, UnicodeDecodeError):
        expected = Said(
            "expected what `almenara sites` wrote; delete it to agree to all sites of your lists as they are now"
        )
        raise ConfigError(str(file), None, None, expected) from None
