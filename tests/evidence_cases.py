"""A store with one block in it, measured by volunteers who have something to hide, and the bundles that are made of it."""

import base64
import contextlib
import io
import json
import os
import re
import stat
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dns.edns
import dns.flags
import dns.message
import msgspec
import trustme
import verdict_cases as cases
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from verdict_cases import HTTP, SITE, measured

from monitor.config import Config
from monitor.evidence import bundle, verify
from monitor.models import Event, Incident, Kind, Measurement, Network, NeutralCheck
from monitor.steps.certificates import certificate_of
from monitor.store import Store
from monitor.verdict import judge

ROOT = Path(__file__).parent.parent
EVENT = "3fa9c1d2e4b5a697"
BEGAN = datetime.fromisoformat("2018-01-15T13:05:07.123+00:00")
EVERY = timedelta(minutes=10)
CANTV = Network(asn=8048, isp="CANTV", country="VE", source="observed")
SITE_NAME = "elpitazo.example"
NOTICE = "<html><head><title>Aviso</title></head><body><h1>Acceso restringido</h1><p>por orden</p></body></html>"

# What nobody may learn from a bundle: whoever finds one of these in it has found a volunteer.
PROBES = ("7f3a9c2b1d4e5f60", "aa00bb11cc22dd33")
HOME_RESOLVER, DOH_ACCOUNT = "192.168.77.1", "https://dns.nextdns.example/ab12cd"
VANTAGE, HELPER, HELPER_ADDRESS = "casa-de-juan", "https://maria-perez.duckdns.example/", "203.0.113.77"
PORT, OFFSET, SUBNET = 51_723, 17.317, "198.18.77.0"
HOTEL, ANTIVIRUS, RAY = "Hotel Tamanaco", "CN=Antivirus of JUAN-PC", "8c1f2e3d4b5a6978-CCS"
SECONDS = ":07.123"
SECRETS = (
    *PROBES, HOME_RESOLVER, DOH_ACCOUNT, VANTAGE, HELPER, "duckdns", HELPER_ADDRESS, str(PORT), str(OFFSET), HOTEL,
    ANTIVIRUS, RAY, SECONDS,
)  # fmt: skip

_GENUINE, _FALSE = trustme.CA(), trustme.CA()


def _der(ca: trustme.CA) -> bytes:
    issued = ca.issue_cert(SITE_NAME)
    return x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes()).public_bytes(Encoding.DER)


GENUINE, FALSE = certificate_of(_der(_GENUINE)), certificate_of(_der(_FALSE))


def _raw(subnet: bool) -> str:
    """An answer's bytes; some repeat for whom they are."""
    answer = dns.message.make_response(dns.message.make_query(SITE_NAME, "A", use_edns=0, id=4711))
    options = [dns.edns.ECSOption(SUBNET, 24)] if subnet else []
    answer.use_edns(0, options=options)
    return base64.b64encode(answer.to_wire()).decode()


def blocked_page(text: str = NOTICE) -> Measurement:
    """A block page instead of the site's, over plain http."""
    case = measured(HTTP).dns(isp=SITE, lan=SITE, doh=SITE, doh2=SITE).opens(SITE, 3, text=text, title="Aviso")
    case = case.innocent("", SITE).https_side(SITE).control(address=HELPER_ADDRESS)
    return case.dns(helper=SITE).opens().measurement()


def false_certificate() -> Measurement:
    """Somebody in between shows a certificate of their own."""
    case = measured(HTTP.replace("http:", "https:")).dns(isp=SITE, lan=SITE, doh=SITE, doh2=SITE)
    case = case.cut("tls.certificate", SITE, chain=(FALSE,), verify="unable to get local issuer certificate")
    return case.control().dns(helper=SITE).opens(SITE, 2).measurement()


def opens() -> Measurement:
    """The site opens."""
    return (
        measured(HTTP)
        .dns(isp=SITE, lan=SITE, doh=SITE)
        .opens()
        .https_side(SITE)
        .control()
        .dns(helper=SITE)
        .opens()
        .measurement()
    )


def captive() -> Measurement:
    """The probe was taken to a hotel."""
    page = f"<title>{HOTEL}</title><body>{HOTEL}</body>"
    return measured(HTTP).conditions(captive_portal=True).dns(isp=SITE).opens(text=page, title=HOTEL).measurement()


def of_a_volunteer(one: Measurement, number: int) -> Measurement:
    """The measurement as somebody's probe would have stored it, with all that gives them away, and judged."""
    header = (("CF-Ray", RAY), ("Date", f"Mon, 15 Jan 2018 13:05{SECONDS} GMT"))
    answers = tuple(
        msgspec.structs.replace(
            seen, local_port=PORT, raw=_raw(seen.resolver == cases.RESOLVERS["isp"][0]),
            resolver={"192.168.1.1": HOME_RESOLVER, "https://cloudflare-dns.com/dns-query": DOH_ACCOUNT}.get(
                seen.resolver, seen.resolver
            ),
        )
        for seen in one.dns
    )  # fmt: skip
    started = BEGAN + EVERY * number
    conditions = msgspec.structs.replace(
        one.conditions, checked=started + timedelta(seconds=1), clock_offset=OFFSET,
        neutral=(*one.conditions.neutral, NeutralCheck(url="https://n.example/", family=4, failure="ssl_unknown_authority",
                                                        layer="tls", issuer=ANTIVIRUS)),
        resolvers=tuple(
            msgspec.structs.replace(check, resolver=HOME_RESOLVER if check.resolver == "192.168.1.1" else check.resolver)
            for check in one.conditions.resolvers
        ),
    )  # fmt: skip
    told = msgspec.structs.replace(
        one, id=f"m{number:04}", probe=PROBES[number % 2], vantage=VANTAGE, network=CANTV, started=started, dns=answers,
        tcp=tuple(msgspec.structs.replace(seen, local_port=PORT) for seen in one.tcp),
        tls=tuple(msgspec.structs.replace(seen, local_port=PORT, chain=_real(seen.chain)) for seen in one.tls),
        http=tuple(
            msgspec.structs.replace(seen, local_port=PORT, headers=seen.headers + (() if seen.verified else header))
            for seen in one.http
        ),
        controls=tuple(msgspec.structs.replace(
            control, id=HELPER, started=started, asn=24940, country="DE",
            tls=tuple(msgspec.structs.replace(seen, chain=_real(seen.chain)) for seen in control.tls),
        ) for control in one.controls),
        conditions=conditions, software="almenara 0.1.0",
    )  # fmt: skip
    return msgspec.structs.replace(told, verdict=judge(told))


def _real(chain: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(GENUINE if one is cases.CERTIFICATE else one for one in chain)


def history() -> list[Measurement]:
    """Half an hour open, three hours blocked, then open again; once the probe was in a hotel."""
    found = []
    for number in range(-3, 25):
        if number == 5:
            one = captive()
        elif 0 <= number < 18:
            one = false_certificate() if number % 3 == 2 else blocked_page()
        else:
            one = opens()
        found.append(of_a_volunteer(one, number))
    return found


def the_event(**more: Any) -> Event:
    """The block as it was found."""
    known: dict[str, Any] = {
        "revision": 4, "kind": Kind.BLOCKING, "site": SITE_NAME, "network": CANTV, "confidence": 0.99, "probes": 2,
        "methods": ("http.blockpage", "tls.certificate"), "started": BEGAN, "started_range": (BEGAN - EVERY, BEGAN),
        "detected": BEGAN + 3 * EVERY, "ended": BEGAN + 18 * EVERY,
        "ended_range": (BEGAN + 17 * EVERY, BEGAN + 18 * EVERY), "measurements": 17,
    }  # fmt: skip
    return Event(id=EVENT, **(known | more))


def the_incident() -> Incident:
    """The block as an incident of its own."""
    event = the_event()
    return Incident(
        id="9c0ffee000000001", revision=2, state="ended", started=event.started, ended=event.ended, events=(event,)
    )


def fill(url: str, measurements: Sequence[Measurement] = ()) -> None:
    """Store what happened; the whole history, where no measurements are given."""
    with Store.open(url) as store:
        store.append(measurements or history())
        store.save_events([the_event()], [the_incident()])


def packed(page: bytes) -> str:
    """A page as a measurement keeps it."""
    return base64.b64encode(zlib.compress(page)).decode()


def made(home: Path, id: str, output: str, **more: Any) -> Path:
    """A bundle, without a PDF unless it is asked for; its store and its key are in that folder."""
    asked: dict[str, Any] = {"language": "en", "pdf": False, "until": None, "key": home / "signing.key"}
    config = Config(store=f"sqlite:{home / 'almenara.db'}")
    assert bundle.run(config, id, output=home / output, **(asked | more)) == 0
    return home / output


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file of an unpacked bundle."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def said(bundle: Path, key: str | None = None) -> tuple[int, list[str]]:
    """What `verify` ends with, and its lines."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = verify.run(bundle, key)
    return code, out.getvalue().splitlines()


def almenara(home: Path, *arguments: str, before: str = "", **more: str) -> "subprocess.CompletedProcess[str]":
    """The command, in that home. before: Python to run first; more: of its environment."""
    env = {**os.environ, "HOME": str(home), "PYTHONPATH": str(ROOT), "LC_ALL": "C"}
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        env.pop(name, None)
    start = f"{before}\nimport sys\nfrom monitor.cli import main\nmain(sys.argv[1:])"
    command = [sys.executable, "-c", start, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env | more, timeout=100, check=False, cwd=home)


def plain(html: bytes) -> str:
    """What a reader reads."""
    return " ".join(re.sub(r"<[^>]*>", " ", html.decode()).split())


def lines(content: bytes) -> list[Any]:
    """JSON lines."""
    return [json.loads(line) for line in content.splitlines()]


FILE = (stat.S_IFREG | 0o644) << 16


def entry(name: str, mode: int = FILE, **more: object) -> zipfile.ZipInfo:
    """A file of a zip, told of in some other way than usual."""
    info = zipfile.ZipInfo(name)
    info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, mode
    for what, value in more.items():
        setattr(info, what, value)
    return info
