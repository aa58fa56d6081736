"""An ASN database in MaxMind's format: a file, or the URL of one, of which the last good copy is kept.

Read whatever its maker calls the fields: MaxMind's GeoLite2-ASN, DB-IP's, IPinfo's.
"""

import asyncio
import gzip
import hashlib
import logging
import os
import stat
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import maxminddb

from monitor import files, system_errors
from monitor.journal import spoken
from monitor.messages import Said
from monitor.models import Network
from monitor.origin import clean_name, number
from monitor.urls import bare
from monitor.whoami import country_code

FRESH_S = 7 * 86_400.0  # makers publish weekly to monthly
RETRY_S = 3_600.0
FETCH_S = 120.0
FIRST_S = 10.0  # how long the first copy is waited for, before DNS is asked instead
MOST_BYTES = 256 * 1024 * 1024  # GeoLite2-ASN has 10 MB, IPinfo's with countries 50
_CHUNK = 1 << 20
_RECORDS_TRIED = 1000  # until one that names a network

_log = logging.getLogger("almenara.network")


class DatabaseUnusable(Exception):
    """Not a database that answers. Its text is one line."""


class NetworkDatabase:
    """Answers from a file; one that was fetched from a URL is fetched again every week."""

    def __init__(self, source: str, *, client: httpx.AsyncClient | None = None) -> None:
        """source: a file, or an https URL. client: to fetch with."""
        self._source = source
        self._client = client
        self._is_url = source.startswith("https://")
        self._name = bare(source) if self._is_url else source
        self._file = _copy_of(source) if self._is_url else Path(source)
        self._reader: maxminddb.Reader | None = None
        self._read_at: float | None = None  # the modification time of what is read
        self._tried_at = -RETRY_S
        self._fetching: asyncio.Task[None] | None = None
        self._complaint = ""
        self._one_at_a_time = threading.Lock()

    async def settled(self) -> None:
        """When no newer copy is on its way."""
        if self._fetching is not None:
            await asyncio.wait([self._fetching])

    async def network(self, address: str) -> Network | None:
        """Who announces a public address; None where it is not known here, or the database cannot be read."""
        await self._renew()
        try:
            return await asyncio.to_thread(self._answer, address)
        except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
            self._complain(type(error).__name__)
            return None

    def _answer(self, address: str) -> Network | None:
        with self._one_at_a_time:
            reader = self._current()
            return None if reader is None else read_record(reader.get(address))

    def _current(self) -> maxminddb.Reader | None:
        """The file as it is now: it may have been replaced."""
        try:
            found = self._file.stat()
        except OSError as error:
            if not self._is_url:
                self._complain(system_errors.problem(error))
            return None
        if not stat.S_ISREG(found.st_mode):
            self._complain(Said("it is no file"))
            return None
        if self._read_at != found.st_mtime:
            _warm(self._file)
            self._reader, self._read_at = maxminddb.open_database(str(self._file)), found.st_mtime
        return self._reader

    async def _renew(self) -> None:
        """Fetch what is missing before answering, and what is only old behind the scenes."""
        if not self._is_url or self._fetching or time.monotonic() - self._tried_at < RETRY_S:
            return
        if self._age() < FRESH_S:
            return
        self._tried_at = time.monotonic()
        self._fetching = asyncio.create_task(self._fetch())
        if not self._file.exists():
            await asyncio.wait([self._fetching], timeout=FIRST_S)

    def _age(self) -> float:
        try:
            return max(0.0, time.time() - self._file.stat().st_mtime)
        except OSError:
            return FRESH_S

    async def _fetch(self) -> None:
        beside: Path | None = None
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            beside = files.beside(self._file)
            async with asyncio.timeout(FETCH_S):
                await self._download(beside)
            await asyncio.to_thread(check, beside)
            os.replace(beside, self._file)
            self._complaint = ""
        except (OSError, httpx.HTTPError, EOFError, zlib.error, DatabaseUnusable) as error:
            problem = error if isinstance(error, DatabaseUnusable) else system_errors.problem_behind(error)
            self._complain(
                Said("it cannot be fetched ({problem}); the last good copy is used, or DNS", problem=problem)
            )
        finally:
            self._fetching = None
            if beside is not None:
                beside.unlink(missing_ok=True)

    async def _download(self, beside: Path) -> None:
        """Into a file; unpacked where it is gzip. Raises DatabaseUnusable where it is too large or not there."""
        client = self._client or httpx.AsyncClient(timeout=FETCH_S, follow_redirects=True)
        packed = files.beside(beside)
        try:
            async with client.stream("GET", self._source) as response:
                if response.status_code != 200 or response.url.scheme != "https":
                    raise DatabaseUnusable(Said("status {status}", status=response.status_code))
                with packed.open("wb") as file:
                    size = 0
                    async for chunk in response.aiter_bytes():
                        size += len(chunk)
                        if size > MOST_BYTES:
                            raise DatabaseUnusable(Said("it is too large"))
                        file.write(chunk)
            await asyncio.to_thread(_unpack, packed, beside)
        finally:
            packed.unlink(missing_ok=True)
            if self._client is None:
                await client.aclose()

    def _complain(self, problem: Said | str) -> None:
        """Once, until it is something else."""
        told = spoken().text("network database {name}: {problem}", name=self._name, problem=problem)
        if told != self._complaint:
            self._complaint = told
            _log.warning("%s", told)


@lru_cache(maxsize=4)
def shared(source: str) -> NetworkDatabase:
    """One for all vantages: it is large."""
    return NetworkDatabase(source)


def _warm(file: Path) -> None:
    """Into the system's memory: the reader lets nobody else run while it waits for a slow card."""
    with file.open("rb", buffering=0) as opened:
        for _ in range(MOST_BYTES // _CHUNK):
            if not opened.read(_CHUNK):
                return


def check(file: Path) -> None:
    """Raises DatabaseUnusable unless the file opens as a database and names networks."""
    try:
        with maxminddb.open_database(str(file)) as reader:
            reader.get("192.0.2.1")
            if any(read_record(record) for record in _records(reader)):
                return
    except (OSError, ValueError, maxminddb.InvalidDatabaseError):
        raise DatabaseUnusable(Said("it is no database in MaxMind's format")) from None
    raise DatabaseUnusable(Said("it names no networks"))


def _records(reader: maxminddb.Reader) -> Iterator[object]:
    return (record for _, record in islice(reader, _RECORDS_TRIED))


def read_record(record: object) -> Network | None:
    """A record, whoever made it: its number, name and country; None where it has no number."""
    if not isinstance(record, Mapping):
        return None
    told = record.get("autonomous_system_number", record.get("asn"))
    asn = number(str(told).upper().removeprefix("AS")) if isinstance(told, int | str) else None
    if asn is None:
        return None
    names = ("autonomous_system_organization", "as_name", "autonomous_system_name", "organization", "name")
    isp = next((name for key in names if (name := clean_name(record.get(key)))), None)
    return Network(asn=asn, isp=isp, country=_country(record), source="observed")


def _country(record: Mapping[Any, Any]) -> str | None:
    told = record.get("country")
    places = [told.get("iso_code") if isinstance(told, Mapping) else told]
    places += [record.get("country_code"), record.get("autonomous_system_country")]
    return next((code for place in places if (code := country_code(place))), None)


def _unpack(packed: Path, beside: Path) -> None:
    with packed.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    if not zipped:
        os.replace(packed, beside)
        return
    size = 0
    with gzip.open(packed) as source, beside.open("wb") as target:
        while chunk := source.read(_CHUNK):
            size += len(chunk)
            if size > MOST_BYTES:
                raise DatabaseUnusable(Said("it is too large"))
            target.write(chunk)


def _copy_of(url: str) -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "almenara"
    return folder / f"networks-{hashlib.sha256(url.encode()).hexdigest()[:12]}.mmdb"
