"""The readable part of a bundle: HTML that needs nothing but itself and runs nothing, in the reader's language."""

import base64
import re
from collections.abc import Container, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from msgspec import Struct

from monitor import __version__, several
from monitor.evidence.exhibits import Exhibits, fetches, sorted_certificates, verified, words_of
from monitor.evidence.gathering import Findings
from monitor.evidence.whole import named, whole
from monitor.language import Words
from monitor.models import Event, Incident, Status
from monitor.verdict import RULES_VERSION
from monitor.web.strangers import line
from monitor.wording import headline, is_plain_only, network_words, opened_words
from monitor.zones import local_words

_MOST_REASONS = 8
_PAGES_SHOWN = 6
_CERTIFICATES_SHOWN = 12


class Told(Struct, frozen=True, kw_only=True):
    """All that a report tells of. about, events: as published. until: where that was cut; gone: event -> how many
    measurements were known of, where not all are left; opened: event -> since when its newest results open, and how many.
    pictures: of pages, by their name; undrawn: file -> why not.
    """

    about: Event | Incident
    events: Sequence[Event]
    findings: Findings
    exhibits: Exhibits
    charts: Sequence[Markup]
    pictures: Mapping[str, bytes]
    undrawn: Mapping[str, str]
    until: datetime | None
    gone: Mapping[str, int]
    opened: Mapping[str, tuple[datetime, int]]
    key: str


def report(told: Told, words: Words) -> str:
    """The page."""
    template = _environment(words).get_template("report.html")
    return template.render(
        title=title(told.about, words, told.opened), about=told.about, events=told.events, findings=told.findings,
        states=[(status, told.findings.statuses[status]) for status in Status if told.findings.statuses[status]],
        methods=list(dict.fromkeys(method for event in told.events for method in event.methods)),
        reasons=told.findings.reasons(_MOST_REASONS), pages=list(told.exhibits.pages.values())[:_PAGES_SHOWN], charts=told.charts,
        certificates=list(sorted_certificates(told.exhibits.certificates.values()))[:_CERTIFICATES_SHOWN],
        pictures={name: _as_url(picture) for name, picture in told.pictures.items()}, key=told.key,
        undrawn=told.undrawn, until=told.until, gone=told.gone, opened=told.opened, whole=whole(told.events, told.opened, words),
        networks=len({(event.network.asn, event.network.isp) for event in told.events if event.network}),
        more_pages=max(0, len(told.exhibits.pages) - _PAGES_SHOWN), version=__version__, rules_version=RULES_VERSION,
    )  # fmt: skip


def title(about: Event | Incident, words: Words, opened: Container[str]) -> str:
    """What happened, and where. opened: events that the newest results no longer show."""
    if isinstance(about, Event):
        return headline(about, words, opened=about.id in opened)
    return several.headline(about.events, words, partial(network_words, w=words), opened)


def _environment(words: Words) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.i18n"],
    )  # fmt: skip
    environment.policies["ext.i18n.trimmed"] = True
    words.install(environment)
    environment.filters |= {"stranger": line, "name": _name}
    environment.globals |= {
        "w": words, "headline": partial(headline, w=words), "network_words": partial(network_words, w=words),
        "moment": partial(_moment, words), "opened_words": partial(opened_words, w=words), "words_of": words_of,
        "named": partial(named, words=words), "is_plain_only": is_plain_only,
        "fetches": partial(fetches, w=words), "verified": partial(verified, w=words),
    }  # fmt: skip
    return environment


def _moment(words: Words, when: datetime, country: str | None = None) -> str:
    """In UTC, and in the country's own time where it has one."""
    local = local_words(words, when, country)
    return f"{words.moment(when)} ({local})" if local else words.moment(when)


def _name(text: object) -> Markup:
    """A host's name, or an issuer: a line may end behind dots and commas, and within a word only where it must."""
    return Markup("<wbr>").join(escape(part) for part in re.split(r"(?<=[.,])", line(text)))


def _as_url(picture: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"
