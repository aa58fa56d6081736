"""URLs as measurements need them: hostile text in, host and port out."""

import ipaddress
import re
from urllib.parse import urlsplit

from msgspec import Struct

_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")

DEFAULT_PORTS = {"http": 80, "https": 443}


class BadUrl(ValueError):
    """Not a URL we can measure."""


class BadPort(BadUrl):
    """A URL with a port that does not exist."""


class Target(Struct, frozen=True, kw_only=True):
    """Where a URL points. host: lower-case A-label or address literal without brackets."""

    url: str
    scheme: str
    host: str
    port: int

    @property
    def site(self) -> str:
        """The site's stable name: the host, with a non-default port kept."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def target(url: str) -> Target:
    """Parse an absolute http or https URL; BadUrl otherwise."""
    import httpx  # 90 ms: where the first URL is met, not where the command line is read

    try:
        parsed = httpx.URL(url)
        host = parsed.raw_host.decode("ascii").lower().strip("[]").removesuffix(".")
        port = DEFAULT_PORTS.get(parsed.scheme, 0) if parsed.port is None else parsed.port
    except (httpx.InvalidURL, UnicodeError, ValueError) as exc:
        raise BadUrl(f"not a URL: {url[:200]!r}") from exc
    if parsed.scheme not in DEFAULT_PORTS or not _is_host(host) or len(url) > 4096:
        raise BadUrl(f"not an http or https URL: {url[:200]!r}")
    if not 0 < port < 65536:
        raise BadPort(f"no such port: {url[:200]!r}")
    return Target(url=str(parsed), scheme=parsed.scheme, host=host, port=port)


def site_written(text: str) -> str:
    """A site's name from its host, however that is written, or from a URL of it; BadUrl."""
    return target(text if "://" in text else f"https://{text}/").site


def bare(url: str) -> str:
    """A URL as it may be written in a log: scheme, host and path, without what may be a password or a key."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _is_host(host: str) -> bool:
    if ":" not in host:
        return _NAME.fullmatch(host) is not None
    try:
        return ipaddress.ip_address(host).version == 6 and "%" not in host
    except ValueError:
        return False


def redirect(base: str, location: str) -> Target:
    """Where a Location header leads from `base`; BadUrl when it leads nowhere."""
    import httpx

    try:
        joined = str(httpx.URL(base).join(location).copy_with(fragment=None))
    except (httpx.InvalidURL, UnicodeError, ValueError) as exc:
        raise BadUrl(f"not a URL: {location[:200]!r}") from exc
    return target(joined)
