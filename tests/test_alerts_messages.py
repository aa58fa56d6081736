"""A letter in words: every form, in every language, whatever strangers call themselves.

Invariant tested: no name makes markup, a mention or a link, and no form is longer than it may be.
"""

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from html.parser import HTMLParser
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from alert_cases import CANTV, MOVILNET, block, configured, minute
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from monitor.alerts import exchange, hours, letters, machine, messages, phrases
from monitor.alerts.letters import Letter, Part
from monitor.alerts.subscriptions import Subscription
from monitor.alerts.threads import Changes, Memory, What, pair_of, told
from monitor.language import available, words
from monitor.models import Event, Kind, Network
from monitor.verdict import RULES_VERSION

HOSTILE = [
    "<script>alert(1)</script>", "@everyone", "[CANTV](http://evil.example)", "http://evil.example/x", "evil.example",
    "*bold* _it_ ~x~ `code` ||spoiler||", "a\r\nBcc: x@y.example", "\u202eTVNAC", "x" * 500, "\x1b[31mred",
    "#tag <@U123> <!channel>", "{0.__class__}", "%s %(x)s", "", "日本語",
]  # fmt: skip


def part(what: What, *events: Event, before: Memory | None = None, **changes: Any) -> Part:
    by_pair = {pair_of(event): event for event in events}
    told_of = Changes(**{"joined": tuple(by_pair), **changes})
    return Part(
        thread="c346561d4b27c4a5", revision=3, what=what, number=2, changes=told_of, events=by_pair, started=minute(0),
        before=before,
    )  # fmt: skip


def letter(*parts: Part) -> Letter:
    return letters.letter("desk", parts, minute(3))


@lru_cache
def subscription(more: str = "") -> Subscription:
    [one] = configured(f"[{{to: 'mailto://desk.example'{more}}}]")
    return one


def written(one: Letter, more: str = "") -> messages.Message:
    return messages.message(one, subscription(more))


def remembered(*events: Event) -> Memory:
    pairs = {pair_of(event): told(event) for event in events}
    return Memory(incidents=("i",), pairs=pairs, first=minute(0), last=minute(0))


def many() -> list[Event]:
    return [block(f"site{n:02}.example", n / 10, network=network) for n in range(40) for network in (CANTV, MOVILNET)]


CASES = {
    "first": part(What.FIRST, block("a.example", 0)),
    "first-of-many": part(What.FIRST, *many()),
    "since-earlier": part(What.FIRST, block("a.example", 0, started_range=(None, minute(0)))),
    "update": part(What.UPDATE, *many(), left=("blocking\nsite00.example\nAS8048",), methods={"x": ("tls.reset",)}),
    "again": part(What.AGAIN, block("a.example", 0), joined=(), back=(pair_of(block("a.example", 0)),)),
    "end": part(What.END, block("a.example", 0, 192), joined=()),
    "over": part(What.OVER, block("a.example", 0, 192), block("b.example", 0, 100)),
    "withdrawn": part(
        What.WITHDRAWN, joined=(), withdrawn=(pair_of(block("a.example", 0)),), before=remembered(block("a.example", 0))
    ),
    "site-outage": part(What.FIRST, block("a.example", 0, network=None, kind=Kind.SITE_OUTAGE, methods=())),
    "network-outage": part(
        What.FIRST, replace(block("", 0, kind=Kind.NETWORK_OUTAGE, methods=(), probes=3), site=None)
    ),
    "silence": part(What.END, replace(block("", 0, 90, kind=Kind.SILENCE, methods=()), site=None)),
    "nobodys-network": part(What.FIRST, block("a.example", 0, network=Network())),
}


@pytest.mark.parametrize("language", available())
@pytest.mark.parametrize("name", CASES)
def test_every_form_is_there_and_within_its_bounds(name, language):
    said = written(letter(CASES[name]), f", language: {language}, zone: America/Caracas")
    assert 0 < len(said.short) <= messages.LONGEST_SHORT
    assert 0 < len(said.subject) <= messages.LONGEST_SUBJECT
    assert "\n" not in said.subject + said.short
    assert said.subject.rstrip("…")[:40] in said.full
    assert not re.search(r"[{}]", said.full)
    assert letter(CASES[name]).id in said.full


def test_a_first_message_says_what_where_since_when_how_how_sure_and_what_is_not_known():
    said = written(letter(CASES["first"]), ", zone: America/Caracas")
    assert said.subject == "a.example is blocked on CANTV"
    assert said.short == (
        "a.example is blocked on CANTV. Where: CANTV (AS8048), Venezuela. Since 15 Jan 2018, 08:00 -04 (12:00 UTC). "
        "How: name denied. 98% sure: 4 measurements by 1 probe. Not known: Who ordered it, whether it is lawful, and "
        "whether every line of these networks is affected. An evidence file: almenara report c346561d4b27c4a5"
    )
    for told_of in (
        "CANTV (AS8048), Venezuela", "The name server says that the name does not exist.", "Who ordered it",
        "a single probe measured it", "How long it will last", f"version {RULES_VERSION} of the rules",
        "almenara report c346561d4b27c4a5", "almenara alerts --show", "compared with a control",
    ):  # fmt: skip
        assert told_of in said.full


def test_the_end_says_how_long_and_many_are_named_in_part():
    assert "For 3 hours 12 minutes: from 15 Jan 2018" in written(letter(CASES["end"])).short
    many_said = written(letter(CASES["first-of-many"]))
    assert "40 sites are blocked on CANTV and Movilnet" in many_said.subject
    assert "and 60 others" in many_said.full
    assert "perhaps longer" in written(letter(CASES["since-earlier"])).short


def test_where_not_each_site_is_blocked_on_each_network_a_headline_counts_them_by_network():
    """Two sites and two networks are not always four blocks."""
    three = [block("a.example", 0), block("b.example", 0), block("b.example", 0, network=MOVILNET)]
    first = part(What.FIRST, *three)
    assert (
        written(letter(first)).subject == "2 sites are blocked, 2 on CANTV and 1 on Movilnet: a.example and b.example"
    )
    assert (
        written(letter(first), ", language: es").subject
        == "2 sitios están bloqueados, 2 en CANTV y 1 en Movilnet: a.example y b.example"
    )
    over = part(What.END, *(replace(one, ended=minute(9)) for one in three), joined=())
    assert "2 sites were blocked, 2 on CANTV and 1 on Movilnet" in written(letter(over)).subject
    networks = [Network(asn=number, isp=f"ISP{number}") for number in range(1, 7)]
    wide = [block(f"{n % 2}.example", 0, network=network) for n, network in enumerate(networks)]
    assert "2 sites are blocked, on 6 networks in all: " in written(letter(part(What.FIRST, *wide))).subject
    same = [block("a.example", 0, network=network) for network in networks]
    subject = written(letter(part(What.FIRST, *same))).subject
    assert subject == "a.example is blocked on ISP1, ISP2, ISP3, ISP4 and 2 others"


def test_the_time_in_utc_has_its_date_where_the_day_differs():
    late = datetime(2018, 1, 16, 1, 5, tzinfo=UTC)
    assert (
        phrases.moment(words("en"), late, ZoneInfo("America/Caracas"))
        == "15 Jan 2018, 21:05 -04 (16 Jan 2018, 01:05 UTC)"
    )
    assert phrases.moment(words("en"), late, ZoneInfo("UTC")) == "16 Jan 2018, 01:05 UTC"


def test_a_correction_names_what_was_told():
    said = written(letter(CASES["withdrawn"]))
    assert said.subject == "Correction: what was told of a.example on CANTV (AS8048)"
    assert "Please do not rely on what was told of it before" in said.full


def test_several_threads_are_one_message_with_all_headlines():
    said = written(letter(CASES["first"], CASES["over"], CASES["withdrawn"]))
    assert said.subject == "3 pieces of news"
    assert "Over already: 2 sites were blocked on CANTV" in said.short
    assert "Correction: what was told of a.example" in said.full


def test_the_link_is_always_in_a_chats_message():
    linked = replace(subscription(), evidence="https://almenara.example/")
    said = messages.message(letter(CASES["update"]), linked)
    assert said.short.endswith(" https://almenara.example/incidents/c346561d4b27c4a5")
    assert len(said.short) <= messages.LONGEST_SHORT
    outage = messages.message(letter(CASES["site-outage"]), linked)
    assert outage.short.endswith(" https://almenara.example/events/c346561d4b27c4a5")


class Tags(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def is_harmless(said: messages.Message) -> None:
    for text in (said.subject, said.short):
        assert not re.search(r"[<>@*`~|\[\]{}\\\r\n\x00-\x1f\u202a-\u202e]", text), text
        assert "://" not in text
        assert "evil.example" not in text
    assert Tags(said.html).tags <= {"html", "body", "br", "h2", "li", "p", "ul"}
    assert Tags(said.html).attributes <= {"lang"}
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202a-\u202e]", said.full)


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("what", [What.FIRST, What.UPDATE, What.END])
def test_a_hostile_isp_makes_no_markup_no_mention_and_no_link(name, what):
    hostile = block("a.example", 0, 5 if what is What.END else None, network=Network(asn=1, isp=name, country="VE"))
    one = letter(part(what, hostile, methods={"x": (name,)}))
    is_harmless(written(one))
    is_harmless(written(letter(CASES["first"], part(what, hostile))))


@settings(max_examples=40)
@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60), st.text(max_size=3))
def test_whatever_a_name_is_a_message_is_made_of_it(site, isp, method, country):
    odd = block(site, 0, network=Network(asn=1, isp=isp, country=country), methods=(method,))
    said = written(letter(part(What.FIRST, odd)))
    is_harmless(said)
    assert len(said.short) <= messages.LONGEST_SHORT
    machine.body(letter(part(What.FIRST, odd)), subscription())


def test_ordinary_names_stay_as_they_are():
    for site in ("www.lapatilla.com", "xn--and-6ma2c.example:8443", "[2001:db8::1]", "[2001:db8::1]:8443", "192.0.2.1"):
        assert phrases.host(site) == site
    for name in ("CANTV", "Telefónica de Venezuela, C.A.", "AT&T Inc.", "S.A. Net (VE)", "Inter-1"):
        assert phrases.name(name) == name


def test_a_message_can_be_made_again_from_what_is_stored():
    one = letter(CASES["update"])
    assert written(letters.decoded(letters.encoded(one))) == written(one)


@pytest.mark.parametrize("isp", ["\u3164", "\u115f\u1160", "\uffa0 \u200b", "\u2800"])
def test_a_name_that_nobody_sees_is_none(isp):
    unseen = block("a.example", 0, network=Network(asn=1, isp=isp, country="VE"))
    assert written(letter(part(What.FIRST, unseen))).subject == "a.example is blocked on AS1"


def test_a_country_that_is_none_is_not_exchanged():
    """Programs read the row as well, and may hand it to a spreadsheet."""
    odd = [block("a.example", 0, network=Network(asn=1, country=code)) for code in ("=1+1", "+1", "ve", "VE\n", "VE")]
    assert exchange.row(words("en"), odd, None) | {"country": "Venezuela", "country_code": "VE"} == exchange.row(
        words("en"), odd, None
    )


def test_the_exchange_row_has_the_columns_and_no_cause():
    row = exchange.row(words("es"), [block("a.example", 0, 60), block("b.example", 5, 90)], "https://x.example/")
    assert tuple(row) == exchange.COLUMNS
    assert (row["country"], row["country_code"], row["start_date"], row["end_date"]) == (
        "Venezuela",
        "VE",
        "2018-01-15",
        "2018-01-15",
    )
    assert (row["affected_services"], row["cause"], row["source"]) == ("a.example, b.example", "", "Almenara")
    text = io.StringIO()
    csv.writer(text).writerow(row.values())
    assert text.getvalue().count("\n") == 1


# --- hours ---------------------------------------------------------------------------------------------------------


CARACAS, MADRID = ZoneInfo("America/Caracas"), ZoneInfo("Europe/Madrid")


@pytest.mark.parametrize(
    ("quiet", "clock", "is_quiet"),
    [
        ("22:00-07:00", "22:00", True), ("22:00-07:00", "06:59", True), ("22:00-07:00", "07:00", False),
        ("22:00-07:00", "21:59", False), ("13:00-15:00", "13:00", True), ("13:00-15:00", "15:00", False),
        ("13:00-15:00", "12:59", False),
    ],
)  # fmt: skip
def test_quiet_hours_are_by_the_clock_of_the_zone(quiet, clock, is_quiet):
    hour, minutes = map(int, clock.split(":"))
    now = datetime(2018, 1, 15, hour, minutes, tzinfo=CARACAS).astimezone(UTC)
    assert hours.is_quiet(quiet, CARACAS, now) is is_quiet
    assert hours.is_quiet(None, CARACAS, now) is False


def test_the_last_hour_of_a_digest_is_found_through_summer_time():
    """In Madrid, 02:30 does not exist on 25 March 2018, and comes twice on 28 October."""
    spring = datetime(2018, 3, 25, 12, tzinfo=UTC)
    assert hours.latest(["08:00"], MADRID, spring) == datetime(2018, 3, 25, 6, tzinfo=UTC)
    assert hours.latest(["08:00"], MADRID, spring - timedelta(days=1)) == datetime(2018, 3, 24, 7, tzinfo=UTC)
    for day in range(24, 32):
        for hour in range(24):
            now = datetime(2018, 10, day, hour, tzinfo=UTC)
            last = hours.latest(["02:30"], MADRID, now)
            assert last is not None
            assert timedelta() <= now - last <= timedelta(hours=25)
    assert hours.latest(["monday 08:00"], CARACAS, datetime(2018, 1, 15, 11, 59, tzinfo=UTC)) == datetime(
        2018, 1, 8, 12, tzinfo=UTC
    )
    assert hours.latest(["monday 08:00"], CARACAS, datetime(2018, 1, 15, 12, tzinfo=UTC)) == datetime(
        2018, 1, 15, 12, tzinfo=UTC
    )
    assert hours.latest([], CARACAS, spring) is None
