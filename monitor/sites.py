"""The sites to measure: those named in the configuration or on the command line, and Citizen Lab test lists."""

import asyncio
import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import httpx

from monitor import __version__, system_errors
from monitor.config import Config, ListConfig, SiteConfig
from monitor.config_values import web_url
from monitor.config_yaml import ConfigError, one_line
from monitor.messages import Said
from monitor.steps.tls import client_context
from monitor.urls import bare, target

# The global list has 1,700 rows in 150 KB.
MAX_LIST_BYTES = 4 * 1024 * 1024
FETCH_TIMEOUT_S = 30.0
MAX_REDIRECTS = 5
COLUMNS = ("url", "category_code")


class ListUnavailable(Exception):
    """A test list could not be fetched. Its text is one line."""


def site_name(url: str) -> str:
    """The site's stable name: the host as a lower-case A-label, `www.` and a non-default port kept; urls.BadUrl."""
    return target(url).site


async def gather(config: Config, urls: Sequence[str] = ()) -> tuple[SiteConfig, ...]:
    """What to measure: `urls` where given, else all configured sites and lists; each URL once, in the order given.

    A given URL keeps the name and tags that the configuration gives it. Raises ConfigError, ListUnavailable.
    """
    if urls:
        known = {site.url: site for site in config.sites}
        return distinct(known.get(url) or SiteConfig(url=url) for url in map(web_url, urls))
    listed = [site for entry in config.lists for site in await read_list(entry)]
    return distinct((*config.sites, *listed))


def distinct(sites: Iterable[SiteConfig]) -> tuple[SiteConfig, ...]:
    """Each URL once, in the order given."""
    first: dict[str, SiteConfig] = {}
    for site in sites:
        first.setdefault(site.url, site)
    return tuple(first.values())


async def read_list(entry: ListConfig) -> tuple[SiteConfig, ...]:
    """The sites of a test list that are in its categories, tagged with them (`news`). ConfigError, ListUnavailable."""
    return sites_in(await list_text(entry), entry)


async def list_text(entry: ListConfig) -> bytes:
    """A test list as it is in its file or at its URL. ConfigError, ListUnavailable."""
    return _read(Path(entry.path)) if entry.path is not None else await _fetch(str(entry.url))


def sites_in(raw: bytes, entry: ListConfig) -> tuple[SiteConfig, ...]:
    """The sites of the list `raw` that are in the entry's categories; ConfigError, with the line, where it is none."""
    name = entry.path or bare(str(entry.url))
    if len(raw) > MAX_LIST_BYTES:
        raise ConfigError(
            name, None, None, Said("expected a list of at most {number} MiB", number=MAX_LIST_BYTES // 1024**2)
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise ConfigError(name, raw.count(b"\n", 0, exc.start) + 1, "csv", Said("expected text in UTF-8")) from None
    sites = tuple(parse_list(text, name, entry.categories))
    if not sites:
        expected = Said("expected a site of {categories}, found none", categories=" / ".join(entry.categories))
        raise ConfigError(name, None, "category_code", expected)
    return sites


def parse_list(text: str, name: str, categories: Sequence[str]) -> Iterator[SiteConfig]:
    """The sites of `categories` in a list's text. ConfigError, with the line, on the first row that is no such row."""
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(rows, [])
        missing = [column for column in COLUMNS if column not in header]
        if missing:
            raise ConfigError(name, 1, missing[0], Said("expected a column of that name: url,category_code,..."))
        for row in rows:
            if row:
                yield from _listed(dict(zip(header, _whole(row, header), strict=True)), categories)
    except csv.Error as exc:
        raise ConfigError(name, rows.line_num, "csv", exc) from None
    except ValueError as exc:
        raise ConfigError(name, rows.line_num, "url", exc) from None


def _whole(row: list[str], header: list[str]) -> list[str]:
    if len(row) != len(header):
        raise csv.Error(Said("expected {number} columns, got {found}", number=len(header), found=len(row)))
    return row


def _listed(row: dict[str, str], categories: Sequence[str]) -> Iterator[SiteConfig]:
    url, code = web_url(row["url"].strip()), row["category_code"].strip()
    if code in categories:
        yield SiteConfig(url=url, tags=(code.lower(),))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_LIST_BYTES + 1)
    except OSError as exc:
        raise ConfigError(str(path), None, None, system_errors.problem(exc)) from None


async def _fetch(url: str) -> bytes:
    try:
        async with asyncio.timeout(FETCH_TIMEOUT_S), _client() as client, client.stream("GET", url) as response:
            if response.status_code != 200 or "content-encoding" in response.headers:
                raise _unavailable(url, Said("expected a list, got status {status}", status=response.status_code))
            return await _bounded(response)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as exc:  # a TimeoutError is an OSError
        raise _unavailable(
            url, Said("cannot be fetched ({problem})", problem=system_errors.problem_behind(exc))
        ) from None


def _unavailable(url: str, problem: Said) -> ListUnavailable:
    return ListUnavailable(Said("{list}: {problem}", list=one_line(bare(url)), problem=problem))


def _client() -> httpx.AsyncClient:
    """A client for plumbing. `identity`: a compressed body could grow beyond its bound in one read."""
    headers = {"User-Agent": f"almenara/{__version__}", "Accept-Encoding": "identity"}
    return httpx.AsyncClient(
        verify=client_context(), headers=headers, timeout=FETCH_TIMEOUT_S,
        follow_redirects=True, max_redirects=MAX_REDIRECTS, event_hooks={"request": [_only_https]},
    )  # fmt: skip


async def _only_https(request: httpx.Request) -> None:
    if request.url.scheme != "https":
        raise _unavailable(str(request.url), Said("a redirect away from https"))


async def _bounded(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_LIST_BYTES:
            break
    return bytes(body)
