"""The values a configuration is made of: text in, a checked value out, or ValueError saying what is expected."""

import ipaddress
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Annotated, Any
from urllib.parse import urlsplit

from msgspec import Meta

from monitor import vantage
from monitor.messages import Said
from monitor.urls import BadPort, BadUrl, Target, target

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)", re.ASCII)
_SIZES = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
_SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,3})?) ?(KB|MB|GB|TB)", re.ASCII)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_BARE_HOST = re.compile(r"[\w-]+(\.[\w-]+)+(:\d+)?(/\S*)?")
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+", re.ASCII)
_NAME = re.compile(r"\w[\w .:@-]{0,63}")
_DEVICE = re.compile(r"[^\s/:\x00-\x1f]{1,15}")  # IFNAMSIZ less its NUL
_NETNS = re.compile(r"(/[\w.-]+)+|[\w-][\w.-]{0,63}", re.ASCII)
MAX_URL = 2048
MIN_INTERVAL_S = 10.0  # between measurements of one site: less would be a load on the site
MIN_AGE_S = 86400.0
MAX_DURATION_S = 366 * 86400.0


def duration(value: Any) -> float:
    """Seconds from `500ms`, `10s`, `30m`, `2h` or `1d`, at most a year. A bare number has no unit, so it is refused."""
    seconds = age(value)
    if seconds > MAX_DURATION_S:
        raise ValueError(Said("expected a duration of at most a year, got {value}", value=value))
    return seconds


def age(value: Any) -> float:
    """As `duration`, however long."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(Said("expected a duration such as 10s, 30m, 2h or 1d, got {value}", value=shown(value)))
    return float(match[1]) * _UNITS_S[match[2]]


def positive_duration(value: Any) -> float:
    """As `duration`, but not zero."""
    seconds = duration(value)
    if seconds == 0:
        raise ValueError(Said("expected a duration longer than nothing, got {value}", value=value))
    return seconds


def at_least(least_s: float, reader: Callable[[Any], float]) -> Callable[[Any], float]:
    """A reader that takes no shorter duration."""
    unit, size_s = next((unit, size) for unit, size in reversed(_UNITS_S.items()) if least_s >= size)
    least = f"{least_s / size_s:g}{unit}"

    def read(value: Any) -> float:
        seconds = reader(value)
        if seconds < least_s:
            raise ValueError(
                Said("expected a duration of at least {least}, got {value}", least=least, value=shown(value))
            )
        return seconds

    return read


def size(value: Any) -> int:
    """Bytes from `500KB`, `200MB`, `2GB` or `1TB` (powers of ten). A bare number has no unit, so it is refused."""
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None or float(match[1]) == 0:
        raise ValueError(Said("expected a size such as 500KB, 200MB or 2GB, got {value}", value=shown(value)))
    return int(float(match[1]) * _SIZES[match[2]])


def database(value: Any) -> str:
    """A MaxMind-format database: a file, or the https URL of one."""
    if isinstance(value, str) and value.startswith("https://"):
        return https_url(value)
    if isinstance(value, str) and re.fullmatch(r"[^\x00-\x1f]{1,1024}", value) and "://" not in value:
        return value
    raise ValueError(
        Said("expected a file in MaxMind's format, or the https URL of one, got {value}", value=shown(value))
    )


def web_url(value: Any) -> str:
    """An http or https URL of a site, as a browser would ask for it: lower-case A-label, no fragment, a path."""
    if not isinstance(value, str):
        raise ValueError(Said("expected a URL such as https://www.example.org/, got {value}", value=shown(value)))
    if _BARE_HOST.fullmatch(value):
        raise ValueError(Said("expected a URL; for a host alone write https://{host}/", host=value.removesuffix("/")))
    return _without_fragment(_target(value))


def site_or_all(value: Any) -> str:
    """A site's URL, or `all`."""
    return "all" if value == "all" else web_url(value)


def https_url(value: Any) -> str:
    """A URL that only https may reach (an encrypted resolver)."""
    url = web_url(value)
    if not url.startswith("https:"):
        raise ValueError(Said("expected an https URL, got {value}", value=shown(value)))
    return url


def _target(value: str) -> Target:
    try:
        found = target(value)
    except BadPort:
        raise ValueError(Said("expected a URL with a port from 1 to 65535, got {value}", value=shown(value))) from None
    except BadUrl:
        raise ValueError(Said("expected an http or https URL, got {value}", value=shown(value))) from None
    if len(found.url) > MAX_URL:
        raise ValueError(Said("expected a URL of at most {number} characters", number=MAX_URL))
    if "@" in urlsplit(found.url).netloc:
        raise ValueError(Said("expected a URL without user name and password"))
    if not (_is_address(found.host) or _is_host_name(found.host)):
        raise ValueError(Said("expected a URL with a valid host name, got {value}", value=shown(value)))
    return found


def _without_fragment(found: Target) -> str:
    parts = urlsplit(found.url)
    return parts._replace(netloc=found.site, path=parts.path or "/", fragment="").geturl()


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text  # a zone has a meaning on one machine only


def _is_host_name(host: str) -> bool:
    """Labels that DNS can carry. `0x7f.1` and `1.2.3.4.5` are an address to some libraries and a name to others."""
    labels = host.split(".")
    return len(host) <= 253 and all(_LABEL.fullmatch(label) for label in labels) and not _NUMBER.fullmatch(labels[-1])


def selected(value: Any) -> str:
    """Sites by `tag:TAG`, or one by its host, with its port where that is an unusual one."""
    if isinstance(value, str) and value.startswith("tag:"):
        return f"tag:{name(value.removeprefix('tag:'))}"
    found = None
    if isinstance(value, str) and not re.search(r"[/?#@\\\s]", value):
        with suppress(ValueError):
            found = _target(f"https://{value}/")
    if found is None:
        raise ValueError(
            Said("expected tag:TAG or a site's host such as www.lapatilla.com, got {value}", value=shown(value))
        )
    return found.site


def address(value: Any) -> str:
    """An IPv4 or IPv6 address."""
    if not isinstance(value, str) or not _is_address(value):
        raise ValueError(Said("expected an IP address, got {value}", value=shown(value)))
    return value


def resolver(value: Any) -> str:
    """An address, `address:port` or `[v6]:port`."""
    if isinstance(value, str) and (_is_address(value) or _is_endpoint(value, named=False)):
        return value
    raise ValueError(
        Said(
            "expected a resolver's IP address (192.0.2.1, 192.0.2.1:53 or [2001:db8::1]:53), got {value}",
            value=shown(value),
        )
    )


def own_resolver(value: Any) -> str:
    """As `resolver`, or `system`: those this machine is configured with."""
    if value == "system":
        return "system"
    try:
        return resolver(value)
    except ValueError:
        raise ValueError(
            Said(
                "expected system or a resolver's IP address (192.0.2.1, 192.0.2.1:53 or [2001:db8::1]:53), got {value}",
                value=shown(value),
            )
        ) from None


def listen(value: Any) -> str:
    """`HOST:PORT` to listen on; `[v6]:port` for IPv6."""
    if isinstance(value, str) and _is_endpoint(value, named=True):
        return value
    raise ValueError(Said("expected HOST:PORT such as 127.0.0.1:9105 or [::1]:9105, got {value}", value=shown(value)))


def _is_endpoint(text: str, *, named: bool) -> bool:
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        return False
    if host.startswith("[") and host.endswith("]"):
        return ":" in host and _is_address(host[1:-1])
    return ":" not in host and (_is_address(host) or (named and _is_host_name(host.lower())))


def proxy(value: Any) -> str:
    """A proxy's URL: socks5, socks5h, http or https, with host and port."""
    if isinstance(value, str):
        scheme, _, rest = value.partition("://")
        if scheme in vantage.PROXY_SCHEMES and _is_endpoint(rest.rpartition("@")[2].removesuffix("/"), named=True):
            vantage.proxy(value)
            return value
    raise ValueError(Said("expected a proxy such as socks5://127.0.0.1:9050"))  # its password is not shown


def device(value: Any) -> str:
    """A network interface's name."""
    if not isinstance(value, str) or not _DEVICE.fullmatch(value):
        raise ValueError(Said("expected an interface name such as eth1, got {value}", value=shown(value)))
    return value


def netns(value: Any) -> str:
    """A network namespace: a name under /run/netns, or an absolute path such as /proc/PID/ns/net."""
    if isinstance(value, str) and _NETNS.fullmatch(value) and ".." not in PurePosixPath(value).parts:
        return value
    raise ValueError(Said("expected a network namespace: a name or /proc/PID/ns/net, got {value}", value=shown(value)))


def name(value: Any) -> str:
    """A short name that metrics and tables can show."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError(
            Said("expected a name of at most 64 letters, digits, spaces and _-.:@, got {value}", value=shown(value))
        )
    return value


def contact(value: Any) -> str:
    """Where people can write to: a mail address, or an https URL."""
    if isinstance(value, str) and re.fullmatch(r"[\w.+-]{1,64}@[\w-]+(\.[\w-]+)+", value, re.ASCII):
        return value
    if isinstance(value, str) and value.startswith("https://"):
        return web_url(value)
    raise ValueError(Said("expected a mail address or an https URL, got {value}", value=shown(value)))


def country(value: Any) -> str:
    """A country as two capital letters (ISO 3166-1)."""
    if not isinstance(value, str) or not re.fullmatch("[A-Z]{2}", value):
        raise ValueError(Said("expected a country as two capital letters such as VE, got {value}", value=shown(value)))
    return value


def language(value: Any) -> str:
    """A language as two small letters (ISO 639-1)."""
    if not isinstance(value, str) or not re.fullmatch("[a-z]{2}", value):
        raise ValueError(Said("expected a language as two small letters such as es, got {value}", value=shown(value)))
    return value


def category(value: Any) -> str:
    """A Citizen Lab category code."""
    if not isinstance(value, str) or not re.fullmatch("[A-Z]{2,5}", value):
        raise ValueError(Said("expected a Citizen Lab category code such as NEWS, got {value}", value=shown(value)))
    return value


def host(value: Any) -> str:
    """A machine's name, or its address."""
    if isinstance(value, str) and (_is_address(value) or _is_host_name(value.lower())):
        return value.lower()
    raise ValueError(Said("expected a host such as probe.example.org, without a port, got {value}", value=shown(value)))


def origin(value: Any) -> str:
    """Where the page is for everyone: a scheme, a host and nothing behind it."""
    url = web_url(value)
    if urlsplit(url).path != "/" or urlsplit(url).query:
        raise ValueError(
            Said("expected a URL without a path such as https://almenara.example/, got {value}", value=shown(value))
        )
    return url


def token(value: Any) -> str:
    """A secret that nobody guesses; it is not shown."""
    if isinstance(value, str) and re.fullmatch(r"[!-~]{24,200}", value):
        return value
    raise ValueError(Said("expected 24 to 200 random letters and digits, as `openssl rand -hex 24` prints them"))


def store(value: Any) -> str:
    """Where measurements are kept: `sqlite:FILE` or `postgresql://...`."""
    if isinstance(value, str) and re.fullmatch(r"sqlite:[^\x00-\x1f]+|postgresql://[^\x00-\x20]+", value):
        return value
    raise ValueError(
        Said("expected sqlite:FILE or postgresql://USER:PASSWORD@HOST/DATABASE")
    )  # its password is not shown


def site_entry(value: Any) -> Any:
    """A site given by its URL alone is a site with that URL."""
    return {"url": value} if isinstance(value, str) else value


def shown(value: Any) -> Said | str:
    """A value as an error message quotes it: one short line, without what may be a URL's password or key."""
    if isinstance(value, list | dict):
        return Said("a list") if isinstance(value, list) else Said("a mapping")
    if value is None:
        return Said("nothing")
    if isinstance(value, str) and "://" in value:
        value = re.sub(r"\?.*", "?...", re.sub("://.*@", "://...@", value, flags=re.DOTALL), flags=re.DOTALL)
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _read_by(function: Callable[[Any], Any]) -> Meta:
    return Meta(extra={"read": function})


Interval = Annotated[float, _read_by(at_least(MIN_INTERVAL_S, duration))]
Duration = Annotated[float, _read_by(positive_duration)]
Age = Annotated[float, _read_by(at_least(MIN_AGE_S, age))]
Pause = Annotated[float, _read_by(duration)]
WebUrl = Annotated[str, _read_by(web_url)]
HttpsUrl = Annotated[str, _read_by(https_url)]
Size = Annotated[int, _read_by(size)]
Database = Annotated[str, _read_by(database)]
Address = Annotated[str, _read_by(address)]
ResolverAddress = Annotated[str, _read_by(resolver)]
OwnResolver = Annotated[str, _read_by(own_resolver)]
Selected = Annotated[str, _read_by(selected)]
Listen = Annotated[str, _read_by(listen)]
Host = Annotated[str, _read_by(host)]
Origin = Annotated[str, _read_by(origin)]
Token = Annotated[str, _read_by(token)]
Proxy = Annotated[str, _read_by(proxy)]
Device = Annotated[str, _read_by(device)]
NetworkNamespace = Annotated[str, _read_by(netns)]
Name = Annotated[str, _read_by(name)]
Contact = Annotated[str, _read_by(contact)]
Country = Annotated[str, _read_by(country)]
Language = Annotated[str, _read_by(language)]
Category = Annotated[str, _read_by(category)]
Store = Annotated[str, _read_by(store)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Asn = Annotated[int, Meta(ge=1, le=4_294_967_295)]
Probability = Annotated[float, Meta(ge=0, le=1)]
