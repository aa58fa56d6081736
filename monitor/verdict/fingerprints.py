"""Known block pages: where a page, a redirect or an address is one of these, the block is confirmed.

Each entry names its source. Whoever judges may give further ones (the lab knows its own page, a hub its country's).
"""

import base64
import zlib

from msgspec import Struct

from monitor.models import Http


class Fingerprint(Struct, frozen=True, kw_only=True):
    """where: "body" or "location"; text: what it contains. source: who vetted it."""

    id: str
    where: str
    text: str
    source: str


# Public facts as documented in the blocking-fingerprints lists of OONI and the Citizen Lab.
KNOWN: tuple[Fingerprint, ...] = (
    Fingerprint(id="ir.peyvandha", where="body", text='src="http://10.10.34.3', source="Citizen Lab, OONI: Iran"),
    Fingerprint(id="id.internetpositif", where="location", text="internetpositif.", source="OONI: Indonesia"),
    Fingerprint(id="id.internet-positif", where="location", text="internet-positif.", source="OONI: Indonesia"),
    Fingerprint(id="de.cuii", where="location", text="//notice.cuii.info", source="CUII: Germany"),
    Fingerprint(id="ru.rt", where="location", text="//warning.rt.ru", source="OONI: Russia, Rostelecom"),
    Fingerprint(id="in.airtel", where="body", text="www.airtel.in/dot", source="OONI: India, Airtel"),
)


def fingerprint(page: Http, body: str, known: tuple[Fingerprint, ...]) -> Fingerprint | None:
    """The known block page that this is, if it is one."""
    where = {"body": body, "location": page.location or ""}
    return next((entry for entry in known if entry.text in where[entry.where]), None)


def text_of(page: Http) -> str:
    """The page's text, as far as the measurement kept it."""
    if not page.body:
        return ""
    try:
        unpacked = zlib.decompressobj().decompress(base64.b64decode(page.body), 512 * 1024)
    except (ValueError, zlib.error):
        return ""
    return unpacked.decode("utf-8", "replace")
