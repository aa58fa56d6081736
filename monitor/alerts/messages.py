"""A letter in words: a subject, a few lines for a chat, and all there is to know for a mail."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from html import escape

from msgspec import Struct

from monitor import backing, several
from monitor.alerts import phrases
from monitor.alerts.letters import Letter, Part
from monitor.alerts.subscriptions import Subscription
from monitor.alerts.threads import Told, What
from monitor.messages import N_
from monitor.models import Event, Kind
from monitor.wording import is_plain_only

LONGEST_SHORT = 500  # characters: what Mastodon takes
LONGEST_SUBJECT = 150
MOST_LISTED = 20  # sites in a mail
MOST_NEWS, MOST_BRIEF = 5, 2  # sites that are named of what has changed, and where room is short
_SUBJECTS = {
    What.UPDATE: N_("Update: {headline}"),
    What.AGAIN: N_("Again: {headline}"),
    What.END: N_("Over: {headline}"),
    What.OVER: N_("Over already: {headline}"),
    What.WITHDRAWN: N_("Correction: {headline}"),
}


class Message(Struct, frozen=True, kw_only=True):
    """The same in several forms. subject: one line. short: plain text. full: a mail's text; html: the same."""

    subject: str
    short: str
    full: str
    html: str


class _Section(Struct, frozen=True):
    """A heading, and lines below it."""

    heading: str
    lines: Sequence[str]


def message(letter: Letter, subscription: Subscription) -> Message:
    """What a subscriber reads."""
    writing = _Writing(subscription)
    if letter.what is What.TEST:
        return writing.test(letter)
    if len(letter.parts) == 1:
        return writing.single(letter, letter.parts[0])
    return writing.several(letter)


def link(subscription: Subscription, part: Part) -> str | None:
    """The page of what a thread is about, where everyone can see it."""
    if subscription.evidence is None:
        return None
    incident = any(event.kind is Kind.BLOCKING for event in part.events.values()) or not part.events
    return f"{subscription.evidence}{'incidents' if incident else 'events'}/{part.thread}"


class _Writing:
    """For one subscriber, in a language and a time zone."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._words = subscription.words
        self._zone = subscription.zone

    def test(self, letter: Letter) -> Message:
        """Nothing has happened."""
        w = self._words
        subject = w.text("Almenara: a test")
        lines = [
            w.text("This is a test of the channel {name}. Nothing has happened.", name=self._subscription.key),
            w.text("Sent {time}.", time=self._moment(letter.written)),
        ]
        return self._forms(subject, " ".join(lines), [_Section("", lines)])

    def single(self, letter: Letter, part: Part) -> Message:
        """One thread's message."""
        subject = self._line(part)
        facts = self._facts(part)
        address = link(self._subscription, part)
        told = [self._where(part), *facts, self._doubt(part)] if facts else []
        brief = [f"{subject}.", *self._news(part, MOST_BRIEF), *told]
        short = self._fitted(brief, address or self._command(part))
        sections = [_Section("", [f"{subject}.", *self._news(part)])]
        if facts:
            sections += self._sections(part)
        return self._forms(subject, short, [*sections, self._about(letter, part)])

    def several(self, letter: Letter) -> Message:
        """Several threads in one message."""
        w, parts = self._words, letter.parts
        subject = w.many("{count} piece of news", "{count} pieces of news", len(parts))
        lines = [self._line(part) for part in parts]
        sections = []
        for part, line in zip(parts[:MOST_LISTED], lines, strict=False):
            told = [*self._news(part), *self._facts(part)]
            address = link(self._subscription, part)
            sections.append(_Section(line, told + ([address] if address else [])))
        left = len(parts) - MOST_LISTED
        if left > 0:
            others = [f"– {line}" for line in lines[MOST_LISTED:]]
            sections.append(_Section(w.many("{count} more", "{count} more", left), others))
        short = self._fitted([f"{subject}:", *(f"{line}." for line in lines)], self._subscription.evidence)
        return self._forms(subject, short, [*sections, self._about(letter, None)])

    # --- what a thread has to say -----------------------------------------------------------------------------------

    def _line(self, part: Part) -> str:
        """Its subject."""
        headline = self._headline(part)
        return headline if part.what is What.FIRST else self._words.text(_SUBJECTS[part.what], headline=headline)

    def _headline(self, part: Part) -> str:
        if part.events and part.what is not What.WITHDRAWN:
            return phrases.headline(self._words, list(part.events.values()), part.opened)
        return self._words.text("what was told of {pairs}", pairs=self._pairs(part, part.changes.withdrawn))

    def _news(self, part: Part, most: int = MOST_NEWS) -> Iterator[str]:
        """What is new since the thread's last message."""
        w, changes = self._words, part.changes
        if part.what in (What.UPDATE, What.END, What.AGAIN, What.WITHDRAWN):
            if changes.joined:
                yield w.text("Newly affected: {pairs}.", pairs=self._pairs(part, changes.joined, most))
            back = [pair for pair in changes.back if not _was_denied(part, pair)]
            if back:
                yield w.text("Affected again: {pairs}.", pairs=self._pairs(part, back, most))
            if len(back) < len(changes.back):
                confirmed = [pair for pair in changes.back if pair not in back]
                yield w.text(
                    "True after all, by newer measurements: {pairs}.", pairs=self._pairs(part, confirmed, most)
                )
            if changes.left and part.what is not What.END:
                yield w.text("No longer affected: {pairs}.", pairs=self._pairs(part, changes.left, most))
            for method in dict.fromkeys(method for more in changes.methods.values() for method in more):
                yield w.text("A method that is new: {method}.", method=phrases.method(w, method))
            if changes.withdrawn:
                yield w.text(
                    "Not true by later measurements: {pairs}. Please do not rely on what was told of it before.",
                    pairs=self._pairs(part, changes.withdrawn, most),
                )
        opening = [pair for pair, event in part.events.items() if event.id in part.opened]
        if opening:
            yield w.text(
                "Perhaps over, by the newest results: {pairs}. The end is told when it is sure.",
                pairs=self._pairs(part, opening, most),
            )

    def _pairs(self, part: Part, pairs: Sequence[str], most: int = MOST_NEWS) -> str:
        """Sites and where."""
        named = [self._pair(part, pair) for pair in pairs]
        return self._words.some(list(dict.fromkeys(named)), most)

    def _pair(self, part: Part, pair: str) -> str:
        before = part.before.pairs.get(pair) if part.before else None
        known: Event | Told | None = part.events.get(pair) or before
        return self._spot(known) if known else "?"

    def _spot(self, known: Event | Told) -> str:
        """www.lapatilla.com on CANTV (AS8048)"""
        where = phrases.network(self._words, known.network)
        if not known.site:
            return where
        return self._words.text("{site} on {network}", site=phrases.host(known.site), network=where)

    def _facts(self, part: Part) -> list[str]:
        """What is, or was; a correction says what was not."""
        if not part.events or part.what is What.WITHDRAWN:
            return []
        return [self._time(part), *self._how(part), *self._sure(part)]

    def _time(self, part: Part) -> str:
        w, events = self._words, _told(part)
        start, earlier = phrases.began(events)
        began, end = self._moment(start), phrases.ended(events)
        if end is None:
            message = N_("Since {time}, perhaps longer.") if earlier else N_("Since {time}.")
            if any(event.id in part.opened for event in events):
                message = N_("It began {time}, or earlier.") if earlier else N_("It began {time}.")
            said = w.text(message, time=began)
            return w.text("{said} Some of it began later.", said=said) if len({e.started for e in events}) > 1 else said
        length = w.span(max(end - start, timedelta()))
        message = N_("For {length}: from {began} to {end}.")
        if earlier:
            message = N_("For at least {length}: until {end}, since {began} or earlier.")
        said = w.text(message, length=length, began=began, end=self._moment(end))
        if len({(event.started, event.ended) for event in events}) > 1:
            return w.text("{said} Not all of it all that time.", said=said)
        return said

    def _how(self, part: Part) -> list[str]:
        found = phrases.methods(_told(part))
        if not found:
            return []
        listed = self._words.some([phrases.method(self._words, method) for method in found], phrases.MOST_NAMED)
        return [self._words.text("How: {methods}.", methods=listed)]

    def _sure(self, part: Part) -> list[str]:
        w, events = self._words, _told(part)
        measured = sum(event.measurements for event in events)
        probes = backing.probes(events)
        rests = w.many("{count} measurement", "{count} measurements", measured)
        by = w.many("by {count} probe", "by {count} probes", probes)
        share = w.percent(min(event.confidence for event in events))
        message = N_("At least {share} sure: {measurements} {probes}.")
        if len(events) == 1:
            message = N_("{share} sure: {measurements} {probes}.")
        return [w.text(message, share=share, measurements=rests, probes=by)]

    def _sections(self, part: Part) -> Iterator[_Section]:
        """The rest of a mail."""
        w = self._words
        events = sorted([*part.events.values(), *part.earlier], key=lambda event: event.started)
        yield _Section(w.text("Where"), [self._place(event) for event in self._one_a_network(_told(part))])
        yield _Section(w.text("When"), [self._time(part)])
        found = phrases.methods(_told(part))
        if found:
            yield _Section(w.text("How"), [w.method_meaning(method) for method in found[:MOST_LISTED]])
        rests = [*self._sure(part)]
        if events[0].kind is Kind.BLOCKING:
            rests.append(w.text("Each was compared with a control on a network that does not block."))
        yield _Section(w.text("How sure, and why"), rests)
        yield _Section(w.text("What is not known"), list(self._unknown(part)))
        if len(events) > 1:
            yield _Section(w.text("All that belongs to it"), list(self._list(events)))

    def _where(self, part: Part) -> str:
        places = [self._place(event) for event in self._one_a_network(_told(part))]
        return self._words.text("Where: {places}.", places=self._words.some(places, phrases.MOST_NAMED))

    def _one_a_network(self, events: Sequence[Event]) -> list[Event]:
        first: dict[str, Event] = {}
        for event in events:
            first.setdefault(phrases.network(self._words, event.network), event)
        return list(first.values())[:MOST_LISTED]

    def _place(self, event: Event) -> str:
        country = event.network.country if event.network else None
        where = phrases.network(self._words, event.network)
        return f"{where}, {phrases.name(self._words.country(country))}" if country else where

    def _list(self, events: Sequence[Event]) -> Iterator[str]:
        w = self._words
        for event in events[:MOST_LISTED]:
            place, began = self._spot(event), self._moment(event.started)
            if event.ended is None:
                yield w.text("{place}: since {began}", place=place, began=began)
            else:
                yield w.text(
                    "{place}: from {began} to {ended}", place=place, began=began, ended=self._moment(event.ended)
                )
        if len(events) > MOST_LISTED:
            yield w.many("and {count} other", "and {count} others", len(events) - MOST_LISTED)

    def _doubt(self, part: Part) -> str:
        """What a chat has room for of it."""
        return self._words.text("Not known: {what}", what=next(self._unknown(part)))

    def _unknown(self, part: Part) -> Iterator[str]:
        w, events = self._words, list(part.events.values())
        if events[0].kind is Kind.BLOCKING:
            yield w.text("Who ordered it, whether it is lawful, and whether every line of these networks is affected.")
        else:
            yield w.text("Why. Nobody is accused.")
        if is_plain_only(events):
            yield w.text("Whether it opens by https: what was seen is interference with http alone.")
        if max(event.probes for event in events) <= 1:
            alone = N_("Whether others see the same: a single probe measured it.")
            several = N_("Whether others see the same: on each network a single probe measured it.")
            yield w.text(alone if backing.probes(events) <= 1 else several)
        if any(event.started_range[0] is None for event in events):
            yield w.text("When it really began: it was so at the first measurement.")
        if part.opened:
            yield w.text("Whether it is over.")
        if any(event.ended is None and event.id not in part.opened for event in events):
            yield w.text("How long it will last.")

    def _about(self, letter: Letter, part: Part | None) -> _Section:
        """Where the evidence is, and how to come back to this message."""
        w, lines = self._words, []
        if part is not None:
            address = link(self._subscription, part)
            if address:
                lines.append(w.text("Evidence: {link}", link=address))
            lines.append(self._command(part))
        lines.append(w.text(
            "Message {id}, by version {version} of the rules. It can be made again from what is stored: {command}",
            id=letter.id, version=letter.rules_version, command=f"almenara alerts --show {letter.id}",
        ))  # fmt: skip
        return _Section(w.text("About this message"), lines)

    def _command(self, part: Part) -> str:
        return self._words.text("An evidence file: {command}", command=f"almenara report {part.thread}")

    # --- forms ------------------------------------------------------------------------------------------------------

    def _moment(self, when: datetime) -> str:
        return phrases.moment(self._words, when, self._zone)

    def _fitted(self, sentences: Sequence[str], address: str | None) -> str:
        """As many whole sentences as a chat takes, the link always."""
        tail = f" {address}" if address else ""
        text = ""
        for sentence in sentences:
            longer = f"{text} {sentence}".strip()
            if len(longer) + len(tail) <= LONGEST_SHORT:  # a shorter one behind it may fit
                text = longer
        return (text or sentences[0][: LONGEST_SHORT - len(tail) - 1] + "…") + tail

    def _forms(self, subject: str, short: str, sections: Sequence[_Section]) -> Message:
        shown = [section for section in sections if section.lines or section.heading]
        line = subject if len(subject) <= LONGEST_SUBJECT else subject[: LONGEST_SUBJECT - 1] + "…"
        return Message(subject=line, short=short, full=_text(shown), html=_html(shown, self._words.code))


def _told(part: Part) -> list[Event]:
    """What goes on, else all: facts of what is over would be read as if they were of that."""
    return several.going_on([*part.events.values(), *part.earlier], part.opened)


def _was_denied(part: Part, pair: str) -> bool:
    return part.before is not None and pair in part.before.pairs and part.before.pairs[pair].denied


def _text(sections: Sequence[_Section]) -> str:
    blocks = []
    for section in sections:
        indent = "  " if section.heading else ""
        blocks.append(
            "\n".join([*([section.heading] if section.heading else []), *(indent + line for line in section.lines)])
        )
    return "\n\n".join(blocks) + "\n"


def _html(sections: Sequence[_Section], language: str) -> str:
    parts = []
    for section in sections:
        lines = [escape(line) for line in section.lines]
        if section.heading:  # the break is what Apprise makes an empty line of, in the mail's plain text
            items = "".join(f"<li>{line}</li>" for line in lines)
            parts.append(f"<br/><h2>{escape(section.heading)}</h2>" + (f"<ul>{items}</ul>" if items else ""))
        else:
            parts += [f"<p>{line}</p>" for line in lines]
    return f'<html lang="{escape(language)}"><body>{"".join(parts)}</body></html>'
