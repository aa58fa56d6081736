"""Events, networks and cells as pages tell them, in the reader's language. Whole sentences with names to fill in."""

from collections.abc import Container, Iterator
from datetime import datetime
from functools import partial
from http import HTTPStatus

from monitor import several
from monitor.language import Words
from monitor.models import Event, Incident, Kind, Network, Status
from monitor.web.pages.matrix import Cell, Column, Coverage
from monitor.web.scope import Scope
from monitor.web.strangers import line
from monitor.wording import headline, is_local, opened_words


def network_name(words: Words, network: Network | None) -> str:
    """CANTV; AS8048 where it has no name; words where nothing is known."""
    if network is None or (network.asn is None and not network.isp):
        return words.text("an unknown network")
    return line(network.isp, 60) if network.isp else f"AS{network.asn}"


def event_words(words: Words, event: Event, *, opened: bool = False) -> str:
    """What happens, or happened, and where; not when. opened: the newest results no longer show it."""
    what = _what(words, event, network_name(words, event.network), opened)
    return words.text("Withdrawn: {what}", what=what) if event.confidence <= 0 else what


def _what(words: Words, event: Event, network: str, opened: bool) -> str:
    """As log and alerts tell it; but readers are not where the probe is."""
    if is_local(event):
        if event.ended is None and not opened:
            return words.text("One probe can reach nothing over {network}", network=network)
        return words.text("One probe could reach nothing over {network}", network=network)
    said = headline(event, words, network=network, opened=opened)
    return said[:1].upper() + said[1:] if event.kind is Kind.SILENCE else said  # other clauses begin with a name


def event_time(words: Words, event: Event) -> str:
    """Since when, or from when to when."""
    began, known = words.moment(event.started), event.started_range[0] is not None
    if event.ended is None:
        return (
            words.text("since {began}", began=began)
            if known
            else words.text("since {began} at the latest", began=began)
        )
    ended = words.moment(event.ended)
    if known:
        return words.text("from {began} to {ended}", began=began, ended=ended)
    return words.text("from {began} at the latest to {ended}", began=began, ended=ended)


def opened(words: Words, since: tuple[datetime, int]) -> str:
    """Of an event that is not over: what the newest results say."""
    moment, count = since
    return opened_words(count, words.moment(moment), words)


def cell_words(words: Words, cell: Cell, now: datetime) -> Iterator[str]:
    """What stands below the state of a cell."""
    if cell.state is None or cell.measured is None:
        return
    if cell.old:
        yield words.text("old: seen {ago}", ago=words.ago(now - cell.measured))
    if cell.methods:
        yield ", ".join(line(words.method(method), 60) for method in cell.methods)
    if cell.state is Status.BLOCKED:
        yield _since(words, cell)
        if cell.confidence is not None:
            yield sure_words(words, cell.confidence, confirmed=cell.confirmed)
    elif cell.event is not None:
        yield words.text("an event is not over: {time}", time=event_time(words, cell.event))
    if cell.said < cell.by:
        yield words.text("by {said} of {all} results", said=words.number(cell.said), all=words.number(cell.by))


def _since(words: Words, cell: Cell) -> str:
    if cell.event is not None:
        return event_time(words, cell.event)
    if cell.is_surprise:
        return words.text("not yet an event: more measurements are to confirm it")
    return words.text("not yet an event")


def column_notes(words: Words, column: Column) -> Iterator[str]:
    """What is wrong with a network as a whole."""
    if column.absent:
        yield words.text("not connected now: nobody measures there")
    if column.outage:
        yield words.text("out of order {time}", time=event_time(words, column.outage))
    if column.silence:
        yield words.text("silent {time}", time=event_time(words, column.silence))


def now_headline(words: Words, covered: Coverage) -> str:
    """The first thing to read."""
    if covered.going_on and not covered.blocked:
        return words.many(
            "A block of {count} site is not over, but no newest result shows it",
            "Blocks of {count} sites are not over, but no newest result shows them",
            covered.going_on,
        )
    if covered.fresh == covered.unclear:
        return words.text("Nothing is known at the moment")
    if covered.blocked:
        return words.many(
            "{count} of {all} sites is blocked on at least one network",
            "{count} of {all} sites are blocked on at least one network",
            covered.blocked, all=words.number(covered.sites),
        )  # fmt: skip
    return words.text("No site is seen to be blocked")


def now_coverage(words: Words, covered: Coverage) -> str:
    """How much that rests on."""
    return words.many(
        "{count} site is watched on {networks}; combinations with a recent result: {fresh} of {pairs}.",
        "{count} sites are watched on {networks}; combinations with a recent result: {fresh} of {pairs}.",
        covered.sites, networks=words.many("{count} network", "{count} networks", covered.networks),
        fresh=words.number(covered.fresh), pairs=words.number(covered.pairs),
    )  # fmt: skip


def gaps(words: Words, covered: Coverage, scope: Scope) -> Iterator[str]:
    """What is not known, and why."""
    if covered.surprises:
        yield words.many(
            "{count} site was blocked when measured last, and no event says so yet: more measurements are to confirm it.",
            "{count} sites were blocked when measured last, and no event says so yet: more measurements are to confirm it.",
            covered.surprises,
        )
    if covered.unclear:
        yield words.many(
            "{count} recent result says too little to judge.",
            "{count} recent results say too little to judge.",
            covered.unclear,
        )
    if covered.old:
        yield words.many("{count} result is old.", "{count} results are old.", covered.old)
    if covered.unmeasured:
        yield words.many(
            "{count} combination was never measured.", "{count} combinations were never measured.", covered.unmeasured
        )
    for place in scope.places:
        if not place.present:
            yield words.text(
                "The vantage {vantage} on {network} is not connected: nobody measures from it.",
                vantage=line(place.name, 60), network=network_name(words, place.network),
            )  # fmt: skip
    if not (covered.unclear or covered.old or covered.unmeasured):
        yield words.text("Every watched site has a recent result on every network.")


def notes(words: Words, scope: Scope, covered: Coverage) -> Iterator[str]:
    """What a reader must know before believing anything."""
    if scope.troubled:
        yield words.text("The store takes nothing at the moment: what is shown is behind.")
    if scope.places and not any(place.present for place in scope.places):
        yield words.text("No vantage is connected: nothing is measured at the moment.")
    if not covered.pairs:
        yield words.text("Nothing was measured so far, so nothing can be said of any site.")


def shown(words: Words, rows: int, page: int, count: int) -> str:
    """The table's caption."""
    if count <= 1:
        return words.many(
            "{count} site on each network, the worst first", "{count} sites on each network, the worst first", rows
        )
    return words.text(
        "Sites on each network, the worst first: page {page} of {count}",
        page=words.number(page),
        count=words.number(count),
    )


def nothing(words: Words, covered: Coverage) -> str:
    """In place of a table without rows."""
    if not covered.sites:
        return words.text("No site is watched so far.")
    return words.text("No site is as you asked for. Choose less, or look at all of them.")


def sure_words(words: Words, confidence: float, *, confirmed: bool = False) -> str:
    """How sure something is."""
    share = words.percent(confidence)
    return words.text("{share} sure, confirmed", share=share) if confirmed else words.text("{share} sure", share=share)


def menu(words: Words) -> list[tuple[str, str]]:
    """The pages that every page leads to."""
    return [
        ("/", words.text("Now")), ("/events", words.text("Events")), ("/networks", words.text("Networks")),
        ("/methods", words.text("Methods")), ("/about", words.text("About")), ("/api/", words.text("Open data")),
    ]  # fmt: skip


def status_word(words: Words, status: Status | None) -> str:
    """One or two words for a state; None: never measured."""
    return words.text("not measured") if status is None else words.status(status)


def trouble(words: Words, status: HTTPStatus) -> tuple[str, str]:
    """Why there is no page: a headline and a sentence."""
    if status is HTTPStatus.NOT_FOUND:
        return words.text("Not found"), words.text(
            "There is nothing here by that name. Perhaps the address was copied in part, or what it led to was never measured."
        )
    if status is HTTPStatus.TOO_MANY_REQUESTS:
        return words.text("Too many readers at once"), words.text("Please try again in a moment.")
    if status is HTTPStatus.INTERNAL_SERVER_ERROR:
        return words.text("The evidence could not be bundled"), words.text(
            "Whoever runs this finds the reason in the log, and can make the bundle with `almenara report`. "
            "The measurements are there all the same: this page's address leads to them without its last part."
        )
    return words.text("The store cannot be read"), words.text(
        "What was measured cannot be read at the moment. This says nothing about any site. Please try again later."
    )


def range_words(words: Words, name: str) -> str:
    """How much time is shown."""
    return {
        "day": words.text("A day"), "week": words.text("A week"), "month": words.text("A month"), "year": words.text("A year"),
    }.get(name, name)  # fmt: skip


def incident_words(words: Words, incident: Incident, opened: Container[str] = ()) -> str:
    """What goes on, and where; else what was. opened: events that the newest results no longer show."""
    if not incident.events:
        return words.text("An incident that was withdrawn")
    return several.headline(incident.events, words, partial(network_name, words), opened)


def incident_time(words: Words, incident: Incident) -> str:
    """Since when, or from when to when."""
    began = words.moment(incident.started)
    if incident.ended is None:
        return words.text("since {began}", began=began)
    return words.text("from {began} to {ended}", began=began, ended=words.moment(incident.ended))


def duration_words(words: Words, event: Event) -> str:
    """How long it took."""
    return words.text("after {span}", span=words.span((event.ended or event.started) - event.started))


def rests_words(words: Words, event: Event) -> str:
    """How much evidence there is."""
    if event.kind is Kind.SILENCE:
        return words.text("nothing but what did not come")
    measurements = words.many("{count} measurement", "{count} measurements", event.measurements)
    probes = words.many("{count} probe", "{count} probes", event.probes)
    return words.text("{measurements} by {probes}", measurements=measurements, probes=probes)


def incident_rests(words: Words, measurements: int, probes: int, networks: int) -> str:
    """The same of all its events."""
    return words.text(
        "{measurements} by {probes} on {networks}",
        measurements=words.many("{count} measurement", "{count} measurements", measurements),
        probes=words.many("{count} probe", "{count} probes", probes),
        networks=words.many("{count} network", "{count} networks", networks),
    )


def layer_words(words: Words, layer: str) -> str:
    """Where on the way to a page a method interferes."""
    return {
        "dns": words.text("When the name is looked up (DNS)"), "tcp": words.text("When the connection is made (TCP)"),
        "tls": words.text("When encryption is agreed on (TLS)"), "http": words.text("When the page is asked for (HTTP)"),
        "throttling": words.text("While the page comes"), "quic": words.text("Over HTTP/3 (QUIC)"),
    }.get(layer, layer)  # fmt: skip
