"""One request of ours to a receiver: bounded in time, no redirects, and of the answer its status alone."""

import asyncio
import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx

from monitor import __version__
from monitor.alerts.channels.bounded import bound
from monitor.steps.tls import client_context

PATIENCE_S = 20.0  # for all of it
MOST_PAUSE_S = 3600.0  # that a receiver may ask for


class Undelivered(Exception):
    """A message did not arrive. Its text is one line without secrets.

    again_s: the receiver wants it no sooner than that. refused: it was this message that it did not want.
    """

    def __init__(self, text: str, *, again_s: float | None = None, refused: bool = False) -> None:
        super().__init__(text)
        self.again_s, self.refused = again_s, refused


async def post(url: str, body: bytes, headers: Mapping[str, str], proxy: str | None) -> None:
    """Raises Undelivered unless the receiver answers with success."""
    own = {"User-Agent": f"almenara/{__version__}", "Content-Type": "application/json"}
    try:
        async with (
            asyncio.timeout(PATIENCE_S),
            client(url, proxy) as asking,
            bound(asking),
            asking.stream("POST", url, content=body, headers={**own, **headers}) as answer,
        ):
            _look(answer)
    except Undelivered:
        raise
    except TimeoutError:
        raise Undelivered("no answer in time") from None
    except ImportError:
        raise Undelivered("a SOCKS proxy needs the package socksio (the extra alerts)") from None
    except Exception as exc:  # noqa: BLE001 a SOCKS proxy's garbage ends in whatever its library raises
        raise Undelivered(_told(exc)) from None  # its own text may hold the URL


def client(url: str, proxy: str | None) -> httpx.AsyncClient:
    """Through the proxy, or those of the environment; never through one to this machine itself."""
    here = proxy is None and _is_here(urlsplit(url).hostname or "")
    return httpx.AsyncClient(
        verify=client_context(), proxy=proxy, trust_env=proxy is None and not here, follow_redirects=False,
        timeout=PATIENCE_S,
    )  # fmt: skip


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _look(answer: httpx.Response) -> None:
    status = answer.status_code
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise Undelivered(f"a redirect (HTTP {status}), which is not followed", refused=True)
    again_s = _pause(answer.headers.get("Retry-After"))
    raise Undelivered(
        f"refused (HTTP {status})", again_s=again_s, refused=400 <= status < 500 and status not in (408, 429)
    )


def _pause(text: str | None) -> float | None:
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > 9:
        return None
    return min(float(text), MOST_PAUSE_S)


def _told(exc: Exception) -> str:
    if isinstance(exc, httpx.ProxyError):
        return "the proxy refuses"
    if isinstance(exc, httpx.ConnectTimeout | httpx.ConnectError):
        text = str(exc).lower()
        return "its certificate is not valid" if "certificate" in text else "cannot be connected to"
    if isinstance(exc, httpx.TimeoutException):
        return "no answer in time"
    return f"the connection failed ({type(exc).__name__})"
