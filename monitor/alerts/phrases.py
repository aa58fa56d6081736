"""What alerts are made of: names, times, lists and headlines, in the reader's language.

Names of sites and ISPs may come from strangers, and a message goes where text is markup: to Markdown, to HTML, to
services that turn `@everyone` into a call and a host into a link.
"""

import re
from collections.abc import Collection, Container, Iterable
from datetime import UTC, datetime, tzinfo
from functools import partial

from msgspec.structs import replace

from monitor import several
from monitor.explain import METHOD_WORDS
from monitor.language import Words
from monitor.models import Event, Kind, Network
from monitor.wording import headline as clause

MOST_NAMED = 3  # in a headline; the others are counted
LONGEST_NAME = 80
_MARKUP = re.compile(r"[^\w .,:&'()+\-]|_|[\u115f\u1160\u3164\uffa0]")  # the last are letters that nobody sees
_LITERAL = re.compile(r"\[[0-9a-f:.]{2,45}\](:\d{1,5})?")  # an IPv6 address, perhaps with a port
# What a chat would make a link of; a site's own host may be one.
_LINK = re.compile(r"(?<=\w)[.:](?=\w\w)")


def name(text: str | None) -> str:
    """An ISP's name, or whatever else a stranger wrote, as words alone."""
    words = " ".join(_MARKUP.sub(" ", _LINK.sub(" ", text or "")).split())
    return words if len(words) <= LONGEST_NAME else words[: LONGEST_NAME - 1] + "…"


def host(text: str | None) -> str:
    """A site: a host has nothing else in it than these."""
    low = (text or "").lower()
    if _LITERAL.fullmatch(low):
        return low
    return re.sub(r"[^a-z0-9.:_-]", "", low)[:LONGEST_NAME] or "?"


def network(words: Words, one: Network | None) -> str:
    """CANTV (AS8048)"""
    if one is None:
        return words.text("every network")
    isp, number = name(one.isp), f"AS{one.asn}" if one.asn is not None else ""
    if isp and number:
        return f"{isp} ({number})"
    return isp or number or words.text("an unknown network")


def moment(words: Words, when: datetime, zone: tzinfo) -> str:
    """15 Jan 2018, 09:05 -04 (13:05 UTC)"""
    here, there = when.astimezone(zone), when.astimezone(UTC)
    if here.utcoffset() == there.utcoffset():
        return words.moment(when)
    utc = words.time(when) if here.date() == there.date() else f"{words.day(when)}, {words.time(when)}"
    return f"{words.moment(when, zone)} ({utc} UTC)"


def sites(events: Iterable[Event]) -> list[str]:
    """Each site once, in the order given."""
    return list(dict.fromkeys(host(event.site) for event in events if event.site is not None))


def headline(words: Words, events: Collection[Event], opened: Container[str] = ()) -> str:
    """What happens, or happened, and where. events: of one kind, and one at the least; what goes on counts. opened: ids
    of those that the newest results no longer show.
    """
    plain = [_named(event) for event in events]
    if plain[0].kind is Kind.BLOCKING:
        named = words.some(sites(several.going_on(plain, opened)), MOST_NAMED)
        return several.headline(plain, words, partial(_isp, words), opened, named)
    told = several.going_on(plain, opened)[0]
    first = clause(told, words, opened=told.id in opened)
    return first[:1].upper() + first[1:]


def _isp(words: Words, one: Network | None) -> str:
    """By its name alone where it has one."""
    number = f"AS{one.asn}" if one and one.asn is not None else words.text("an unknown network")
    return (one.isp if one else None) or number


def _named(event: Event) -> Event:
    """With names that may go anywhere."""
    carrier = event.network
    plain = replace(carrier, isp=name(carrier.isp) or None) if carrier else None
    return replace(event, site=host(event.site) if event.site else None, network=plain)


def began(events: Iterable[Event]) -> tuple[datetime, bool]:
    """The earliest beginning, and whether it may have been earlier: it was so when first looked at."""
    first = min(events, key=lambda event: event.started)
    return first.started, first.started_range[0] is None


def ended(events: Iterable[Event]) -> datetime | None:
    """The last end; None where something goes on."""
    ends = [event.ended for event in events]
    return max((end for end in ends if end is not None), default=None) if None not in ends else None


def method(words: Words, one: str) -> str:
    """In a few words; one that nobody knows as a name."""
    return words.method(one) if one in METHOD_WORDS else name(one)


def methods(events: Iterable[Event]) -> list[str]:
    """Each once, in the order given."""
    return list(dict.fromkeys(method for event in events for method in event.methods))
