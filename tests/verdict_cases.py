"""Measurements told as what the censor does and what others see, step by step, for tests of verdicts.

    measured().dns(isp="NXDOMAIN", doh=SITE).cut("tls.reset").control().dns(helper=SITE).opens().verdict

Everything before `control()` is what the vantage saw, everything after it what that control saw. The vantage is
healthy unless `conditions`, `neutral` or `resolver_check` say otherwise. Nothing here touches a network.
"""

import base64
import hashlib
import zlib
from datetime import UTC, datetime
from typing import Any, Self, TypeVar
from urllib.parse import urljoin, urlsplit

import msgspec

from monitor import failures as f
from monitor.models import (
    Certificate,
    Conditions,
    Control,
    Dns,
    Http,
    LateAnswer,
    Measurement,
    Neighbour,
    Network,
    NeutralCheck,
    Observation,
    Observations,
    Purpose,
    ResolverCheck,
    Role,
    Tcp,
    Tls,
    Verdict,
)
from monitor.steps.page import simhash
from monitor.verdict import judge

HTTPS, HTTP = "https://elpitazo.example/", "http://elpitazo.example/"
SITE, TWIN, FALSE = "190.202.10.10", "190.202.10.11", "186.167.3.3"
NEUTRAL = ("142.250.78.4", "151.101.2.167")
SITE6 = "2800:a4:10::10"
NEWS = (
    "Noticias de Venezuela: el pitazo informa sobre protestas, economía, deportes, sucesos y regiones del país. " * 40
)
NOTICE = "Estimado usuario, el acceso a esta página fue restringido por orden de la Comisión Nacional. " * 8
STARTED = datetime(2018, 1, 15, 13, 5, tzinfo=UTC)

RESOLVERS = {
    "isp": ("200.44.32.12", Role.ISP),
    "isp2": ("200.44.32.13", Role.ISP),
    "lan": ("192.168.1.1", Role.LAN),
    "public": ("8.8.8.8", Role.PUBLIC),
    "public2": ("1.1.1.1", Role.PUBLIC),
    "doh": ("https://dns.quad9.net/dns-query", Role.DOH),
    "doh2": ("https://cloudflare-dns.com/dns-query", Role.DOH),
    "helper": ("9.9.9.9", Role.DOH),
}
FAILURES = {
    "timeout": f.TIMEOUT,
    "reset": f.RESET,
    "eof": f.EOF,
    "refused": f.REFUSED,
    "unreachable": "host_unreachable",
    "alert": f.FAILED_HANDSHAKE,
    "aborted": "connection_aborted",
    "protocol": f.HTTP_PROTOCOL,
    "unknown": "unknown_failure: Surprise",
    "certificate": f.UNKNOWN_AUTHORITY,
    "expired": f.INVALID_CERTIFICATE,
    "wrong_name": f.INVALID_HOSTNAME,
}
RCODES = {"NXDOMAIN", "SERVFAIL", "REFUSED", "NOTIMP"}
Seen = TypeVar("Seen", bound=Observation)


class Case:
    """A measurement under construction; every method returns it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._here = Side(url)
        self._side = self._here
        self._controls: list[tuple[Side, dict[str, Any]]] = []
        self._conditions: dict[str, Any] = {
            "checked": STARTED, "online4": True, "online6": False, "captive_portal": False, "intercepted": False,
            "clock_offset": 0.2, "speed": 500_000.0,
        }  # fmt: skip
        self._neutral = [NeutralCheck(url="https://www.google.com/", family=4, failure=None, layer=None, expected=True)]
        self._checks: dict[str, tuple[int, str | None, tuple[str, ...]]] = {
            name: (3, f.NXDOMAIN, ()) for name in ("isp", "isp2", "lan")
        }

    # --- names -------------------------------------------------------------------------------------------------

    def dns(
        self, *, times: int = 1, kind: str = "A", errors: tuple[int, ...] = (), late: str = "",
        purpose: Purpose = Purpose.SITE, **told: str,
    ) -> Self:  # fmt: skip
        """What each resolver says: addresses, a response code, "NO_ANSWER", "timeout" or "unknown". late: a second answer."""
        for who, said in told.items():
            resolver, role = RESOLVERS.get(who, (who, Role.PUBLIC))
            second = (LateAnswer(delay=0.04, rcode="NOERROR", answers=tuple(late.split())),) if late else ()
            for _ in range(times):
                self._side.answer(resolver, role, said, kind=kind, errors=errors, late=second, purpose=purpose)
        return self

    def counter_answer(self, said: str, times: int = 2) -> Self:
        """A host that is no resolver is asked for the name, and an answer comes."""
        for _ in range(times):
            self._side.answer(NEUTRAL[0], Role.PUBLIC, said, purpose=Purpose.NAME_ELSEWHERE)
        return self

    # --- connections -------------------------------------------------------------------------------------------

    def cut(
        self, how: str, at: str = SITE, times: int = 3, purpose: Purpose = Purpose.SITE, **more: Any
    ) -> Self:  # fmt: skip
        """Connections that end as `layer.technique` says; the layers above it pass. more: fields of the last step."""
        for _ in range(times):
            self._side.visit(at, how, purpose, more)
        return self

    def opens(self, at: str = SITE, times: int = 1, purpose: Purpose = Purpose.SITE, **page: Any) -> Self:
        """Connections over which a page comes; `page`: text, and fields of Http."""
        for _ in range(times):
            self._side.visit(at, "", purpose, page)
        return self

    def redirects(self, there: str, at: str = SITE, status: int = 302, **more: Any) -> Self:
        """The answer is a redirect; what is told next happens at the next hop."""
        self.opens(at, status=status, location=there, text="", **more)
        self._side.go(there)
        return self

    def innocent(self, how: str = "tls.wrong_name", at: str = SITE, times: int = 2, **more: Any) -> Self:
        """The site's address is asked for a name nobody blocks; with how="" a page comes."""
        name = {"server_name": "www.google.com"} if how.startswith("tls.") else {}
        return self.cut(how, at, times, purpose=Purpose.INNOCENT_NAME, **name, **more)

    def elsewhere(self, how: str = "tls.wrong_name", times: int = 1, **more: Any) -> Self:
        """The site's name is asked at two addresses that have nothing to do with it; with how="" a page comes."""
        for address in NEUTRAL:
            self.cut(how, address, times, purpose=Purpose.NAME_ELSEWHERE, **more)
        return self

    def serves_https_elsewhere(self) -> Self:
        """Those two addresses show a valid certificate for the name: they belong to the site's content network."""
        for address in NEUTRAL:
            self._side.visit(address, "", Purpose.NAME_ELSEWHERE, {}, secure=True)
        return self

    def plain_side(self, at: str, text: str = NOTICE, to_others: str | None = None) -> Self:
        """What the address of an https site says over plain http, to an innocent name and to the site's."""
        innocent = {"text": text if to_others is None else to_others}
        self._side.visit(at, "", Purpose.INNOCENT_NAME, innocent, secure=False)
        self._side.visit(at, "", Purpose.PLAIN_SIDE, {"text": text}, secure=False)
        return self

    def https_side(self, at: str = SITE, **page: Any) -> Self:
        """The https side of a plain-http site."""
        return self.opens(at, purpose=Purpose.HTTPS_SIDE, verified=True, **page)

    # --- the vantage and the controls --------------------------------------------------------------------------

    def conditions(self, **changes: Any) -> Self:
        """The state of the vantage."""
        self._conditions |= changes
        return self

    def neutral(self, failure: str | None, layer: str = "tcp") -> Self:
        """What becomes of neutral sites."""
        self._neutral = [msgspec.structs.replace(check, failure=failure, layer=layer) for check in self._neutral]
        return self

    def neutrals(self, *found: tuple[str | None, str | None]) -> Self:
        """What becomes of several neutral sites: the failure of each, and the layer where it failed."""
        one = self._neutral[0]
        self._neutral = [msgspec.structs.replace(one, failure=failure, layer=layer) for failure, layer in found]
        return self

    def beside(self, how: str = "", **more: Any) -> Self:
        """A neutral site is asked beside the site."""
        return self.cut(how, NEUTRAL[0], 1, Purpose.NEUTRAL, **more)

    def neighbour(self, address: str = SITE, seconds_ago: float = 20.0) -> Self:
        """Another site on the address met interference a moment ago."""
        return self.conditions(
            neighbours=(Neighbour(site="lapatilla.example", address=address, seconds_ago=seconds_ago),)
        )

    def resolver_check(self, who: str, answered: int = 3, dead: str = f.NXDOMAIN) -> Self:
        """How a resolver answers names that nobody blocks (of 3), and a name that does not exist: failure or address."""
        forged = dead[0].isdigit()
        self._checks[who] = (answered, None, (dead,)) if forged else (answered, dead, ())
        return self

    def unchecked(self) -> Self:
        """Nothing is known of the vantage, as in other people's recordings."""
        self._conditions, self._neutral, self._checks = {}, [], {}
        return self

    def control(self, url: str | None = None, **more: Any) -> Self:
        """Another control; what is told next is what it saw. more: fields of Control, such as failure."""
        self._side = Side(url or self.url)
        self._controls.append((self._side, more))
        return self

    # --- out ---------------------------------------------------------------------------------------------------

    def measurement(self) -> Measurement:
        """The measurement, not judged."""
        names = ((name, *RESOLVERS[name], *check) for name, check in self._checks.items())
        checks = tuple(
            ResolverCheck(
                resolver=address,
                role=role,
                control_names=3,
                control_names_answered=n,
                nonexistent=dead,
                nonexistent_answers=forged,
            )
            for _, address, role, n, dead, forged in names
        )
        return Measurement(
            id="1", url=self.url, site=urlsplit(self.url).hostname or "", vantage="cantv", probe="7f3a", started=STARTED,
            runtime=2.0, verdict=None, network=Network(asn=8048, isp="CANTV", country="VE"),
            conditions=Conditions(neutral=tuple(self._neutral), resolvers=checks, **self._conditions),
            controls=tuple(
                msgspec.convert(
                    {"kind": "helper", "id": "https://helper.example/", "failure": None}
                    | msgspec.structs.asdict(side.observations()) | more, Control,
                )
                for side, more in self._controls
            ),
            **msgspec.structs.asdict(self._here.observations()),
        )  # fmt: skip

    @property
    def verdict(self) -> Verdict:
        """What the rules say."""
        return judge(self.measurement())


def measured(url: str = HTTPS) -> Case:
    """A measurement of a site from a healthy vantage."""
    return Case(url)


class Side:
    """What one network saw, hop by hop."""

    def __init__(self, url: str) -> None:
        self.hops = [url]
        self._seen: list[Observation] = []

    @property
    def _url(self) -> str:
        return self.hops[-1]

    def go(self, there: str) -> None:
        """Follow a redirect."""
        self.hops.append(urljoin(self._url, there))

    def observations(self) -> Observations:
        """All that was seen."""
        return Observations(
            hops=tuple(self.hops), dns=self._all(Dns), tcp=self._all(Tcp), tls=self._all(Tls), http=self._all(Http)
        )

    def _all(self, kind: type[Seen]) -> tuple[Seen, ...]:
        return tuple(seen for seen in self._seen if isinstance(seen, kind))

    def answer(
        self, resolver: str, role: Role, said: str, *, kind: str = "A", errors: tuple[int, ...] = (),
        late: tuple[LateAnswer, ...] = (), purpose: Purpose = Purpose.SITE,
    ) -> None:  # fmt: skip
        """One answer to one question for the current hop's name."""
        name = urlsplit(self._url).hostname or ""
        silent, denied = said in ("timeout", "unknown"), said in RCODES
        addresses = () if silent or denied or said == "NO_ANSWER" else tuple(said.split())
        rcode = said if denied else "NOERROR"
        failure = FAILURES[said] if silent else f.dns_failure(rcode, bool(addresses))
        self._seen.append(
            Dns(
                name=name, type=kind, resolver=resolver, role=role, transport="doh" if role is Role.DOH else "udp",
                rcode=None if silent else rcode, answers=addresses, errors=errors, late=late,
                **self._common(Dns, purpose, failure, resolver),
            )
        )  # fmt: skip

    def visit(
        self, address: str, how: str, purpose: Purpose, more: dict[str, Any], *, secure: bool | None = None
    ) -> None:  # fmt: skip
        """One connection: the layers up to the one that `how` names, which fails; with none, the page comes."""
        if secure is None:
            secure = urlsplit(self._url).scheme == "https" or purpose is Purpose.HTTPS_SIDE
        layer, _, technique = how.partition(".")
        failure = FAILURES[technique] if how else None
        flow = {"address": address, "port": 443 if secure else 80, "sources": ("isp",)}
        self._add(Tcp, purpose, failure if layer == "tcp" else None, flow | (more if layer == "tcp" else {}))
        if layer == "tcp":
            return
        if secure:
            self._shake(purpose, failure if layer == "tls" else None, flow, more if layer == "tls" else {})
        if layer != "tls":
            page = {"url": self._url, "verified": secure} | flow
            self._add(Http, purpose, failure, page | (more if failure else _page(**more)))

    def _shake(self, purpose: Purpose, failure: str | None, flow: dict[str, Any], more: dict[str, Any]) -> None:
        more = {"server_name": urlsplit(self._url).hostname or "", "chain": (CERTIFICATE,)} | more
        self._add(Tls, purpose, failure, flow | more)

    def _add(self, kind: type[Observation], purpose: Purpose, failure: str | None, fields: dict[str, Any]) -> None:
        self._seen.append(kind(**(self._common(kind, purpose, failure, fields["address"]) | fields)))

    def _common(
        self, kind: type[Observation], purpose: Purpose, failure: str | None, whom: str
    ) -> dict[str, Any]:  # fmt: skip
        hop, alike = len(self.hops) - 1, [seen for seen in self._seen if type(seen) is kind]
        before = [
            s
            for s in alike
            if (s.hop, s.purpose, getattr(s, "address", getattr(s, "resolver", ""))) == (hop, purpose, whom)
        ]
        duration = 10.0 if failure == f.TIMEOUT else 0.1
        return {
            "hop": hop,
            "attempt": len(before) + 1,
            "started": 0.1,
            "duration": duration,
            "failure": failure,
            "purpose": purpose,
        }


def _page(text: str = NEWS, **more: Any) -> dict[str, Any]:
    body = text.encode()
    return {
        "status": 200, "title": "El Pitazo" if text == NEWS else None, "body_length": len(body), "complete": True,
        "headers": (("Content-Type", "text/html"), ("Server", "nginx")), "sha256": hashlib.sha256(body).hexdigest(),
        "simhash": simhash(body), "bytes_received": len(body), "first_byte_s": 0.1, "last_byte_s": 0.2,
        "body": base64.b64encode(zlib.compress(body)).decode(),
    } | more  # fmt: skip


CERTIFICATE = Certificate(
    sha256="00" * 32, subject="CN=elpitazo.example", issuer="CN=Lab CA", names=("elpitazo.example",),
    not_before=None, not_after=None, der="",
)  # fmt: skip
