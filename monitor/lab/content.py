"""What the lab's web servers answer: a pure function of who asks whom for what, but for chance where a site has it."""

import binascii
import gzip
from base64 import urlsafe_b64decode
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from random import Random
from time import time

from msgspec import Struct

from monitor.lab.pages import LANGUAGES, captcha, front_page, notice
from monitor.lab.world import Line, Place, Site, World
from monitor.whoami import TRACE_PATH

# What systems ask to find out whether they are online, and the one right answer.
CONNECTIVITY = {"success.txt": (200, b"success\n"), "generate_204": (204, b"")}
_DAY_S = 86400
_ADVERT = '<script src="http://ads.invalid/inject.js"></script><div class="ad">{}</div></body>'


class Request(Struct, kw_only=True):
    """An HTTP request. server, client: addresses; secure: over TLS. headers: lower-case names."""

    method: str
    host: str
    path: str
    headers: dict[str, str]
    body: bytes
    server: str
    client: str
    secure: bool


class Reply(Struct, kw_only=True):
    """An HTTP response; chunked: without a declared length."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    wait_s: float = 0.0
    chunked: bool = False


class Content:
    """Answers requests. ask: a DNS message in, one out, for DoH."""

    def __init__(self, world: World, ask: Callable[[bytes], bytes | None]) -> None:
        self._world = world
        self._ask = ask
        self._chance = Random(world.seed)
        self._clients = {a: line for line in world.lines.values() for a in (*line.addresses, *line.guests)}
        self._networks = world.networks()
        self._control = frozenset(world.control.addresses)
        self._neutral = frozenset(url.split("/")[2] for url in world.neutral)
        self._doh = frozenset(url.split("/")[2] for url in world.doh)
        self._page = lru_cache(maxsize=1024)(self._draw_page)

    def clock_days(self, client: str) -> int:
        """How far from now the world is that a client sees."""
        line = self._clients.get(client)
        return line.clock_days if line else 0

    def reply(self, request: Request) -> Reply:
        """The answer, dated."""
        place = self._world.places[request.server]
        reply = self._at_place(request, place)
        moment = time() + self.clock_days(request.client) * _DAY_S
        reply.headers.insert(0, ("Date", formatdate(moment, usegmt=True)))
        if request.method == "HEAD":
            reply.body = b""
        return reply

    def _at_place(self, request: Request, place: Place) -> Reply:
        if place.kind == "notice":
            return _html(200, place.page)
        if place.kind == "overloaded":
            return _html(503, "<html><body>busy</body></html>")
        if place.kind == "portal":
            return self._portal(request, place)
        if request.path == TRACE_PATH and request.host == request.server:
            return self._trace(request)
        if request.host in self._doh and request.path.startswith("/dns-query"):
            return self._resolve(request)
        if request.host in self._neutral and request.path[1:] in CONNECTIVITY:
            status, body = CONNECTIVITY[request.path[1:]]
            return Reply(status=status, headers=[("Content-Type", "text/plain")], body=body)
        site = self._world.served(request.host, request.server)
        if site is None:
            return _html(404, notice(f"{self._world.seed}:404", "en"))
        reply = self._of_site(request, site)
        if place.kind == "injector" and reply.status == 200:
            advert = _ADVERT.format(notice(f"{self._world.seed}:ad", site.language))
            reply.body = reply.body.replace(b"</body>", advert.encode())
        return reply

    def _trace(self, request: Request) -> Reply:
        """What Cloudflare says to whoever asks who he is."""
        _, _, country = self._networks[request.client]
        lines = {"fl": "1f1", "h": request.host, "ip": request.client, "ts": f"{time():.3f}", "loc": country}
        text = "".join(f"{key}={value}\n" for key, value in lines.items())
        return Reply(status=200, headers=[("Content-Type", "text/plain")], body=text.encode())

    def _of_site(self, request: Request, site: Site) -> Reply:
        line = self._clients.get(request.client)
        if site.http == "redirect" and not request.secure:
            return _redirect(301, f"https://{site.name}{request.path}")
        refusal = self._refusal(request, site, line)
        if refusal is not None:
            return refusal
        if site.redirect == "loop":
            return _redirect(302, "/b" if request.path == "/a" else "/a")
        if site.redirect:
            return _redirect(302, site.redirect)
        if site.status != 200:
            return _html(site.status, notice(f"{self._world.seed}:{site.name}:error", site.language, size=600))
        return self._front(request, site, line)

    def _refusal(self, request: Request, site: Site, line: Line | None) -> Reply | None:
        """The site's own word to a country, or to a data centre."""
        seed = f"{self._world.seed}:{site.name}:refusal"
        how = site.refuses.get(line.country) if line else None
        if how == "captcha" or (site.challenges_control and request.client in self._control):
            return _html(403, captcha(seed, "en"))
        if how is not None:
            return _html(int(how), notice(seed, "en", phrase="This content is not available in your country."))
        return None

    def _front(self, request: Request, site: Site, line: Line | None) -> Reply:
        language = site.language
        if site.varies == "language" and line is None:
            language = LANGUAGES[(LANGUAGES.index(site.language) + 1) % len(LANGUAGES)]
        before, stories, after = self._page(site.name, language, site.size)
        if site.varies == "chance":
            stories = self._chance.sample(stories, k=self._chance.randint(len(stories) // 3 + 1, len(stories)))
        text = before + "".join(stories) + after
        if site.fresh:
            text = text.replace("</head>", f'<meta name="token" content="{self._chance.getrandbits(128):032x}"></head>')
        headers = [("Content-Type", "text/html; charset=utf-8"), *self._manners(site)]
        body = text.encode()
        if site.gzip and "gzip" in request.headers.get("accept-encoding", ""):
            body = gzip.compress(body, 1)
            headers.append(("Content-Encoding", "gzip"))
        return Reply(status=200, headers=headers, body=body, wait_s=site.first_byte_s, chunked=site.chunked)

    def _manners(self, site: Site) -> list[tuple[str, str]]:
        """The headers that a site always sends."""
        chance = Random(f"{self._world.seed}:{site.name}:headers")
        headers = [("Server", chance.choice(("nginx", "Apache", "LiteSpeed", "openresty", "Caddy")))]
        if chance.random() < 0.5:
            headers.append((f"X-{chance.choice(('Edge', 'Cache', 'Backend', 'Render'))}-Group", "main"))
        if chance.random() < 0.5:
            headers.append(("Set-Cookie", f"session={chance.getrandbits(64):x}; Path=/"))
        return headers

    def _draw_page(self, name: str, language: str, size: int) -> tuple[str, list[str], str]:
        return front_page(f"{self._world.seed}:{name}:{language}", language, size)

    def _portal(self, request: Request, place: Place) -> Reply:
        if request.path.startswith("/login"):
            return _html(200, place.page)
        return _redirect(302, f"http://{request.server}/login")

    def _resolve(self, request: Request) -> Reply:
        query = request.body if request.method == "POST" else _query_of(request.path)
        answer = self._ask(query)
        if answer is None:
            return _html(400, "")
        return Reply(status=200, headers=[("Content-Type", "application/dns-message")], body=answer)


def _query_of(path: str) -> bytes:
    text = path.partition("dns=")[2].partition("&")[0]
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return b""


def _html(status: int, text: str) -> Reply:
    return Reply(status=status, headers=[("Content-Type", "text/html; charset=utf-8")], body=text.encode())


def _redirect(status: int, location: str) -> Reply:
    return Reply(status=status, headers=[("Location", location), ("Content-Type", "text/html")], body=b"<html></html>")
