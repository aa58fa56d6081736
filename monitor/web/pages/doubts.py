"""What is not known about an event: said beside what is, so that nobody has to guess it."""

from collections.abc import Iterator, Sequence

from monitor.language import Words
from monitor.models import Event, Incident, Kind
from monitor.store import Head
from monitor.wording import is_plain_only


def of_event(words: Words, event: Event, behind: Sequence[Head]) -> Iterator[str]:
    """Sentences."""
    if event.confidence <= 0:
        yield words.text(
            "This event was withdrawn: later measurements, or other rules, no longer support it. "
            "It is kept so that whoever was told of it can see that."
        )
    if event.kind is Kind.BLOCKING:
        yield words.text(
            "Who ordered or operates the block: measurements show what happens to the traffic, not who is responsible."
        )
        yield words.text(
            "Where on the way it happens: the network that is named carries the traffic; the device may stand further upstream."
        )
    if is_plain_only([event]):
        yield words.text("Whether it opens by https: what was seen is interference with http alone.")
    if event.started_range[0] is None:
        yield words.text("When it began: it was there at the first measurement, so it may be older.")
    yield from _uncertain(words, event, behind)


def _uncertain(words: Words, event: Event, behind: Sequence[Head]) -> Iterator[str]:
    if event.kind is not Kind.SILENCE and event.probes <= 1:
        yield words.text("Whether it is the same everywhere on this network: only one probe saw it.")
    if event.kind is Kind.NETWORK_OUTAGE and event.probes <= 1:
        yield words.text("Whether the network or only this one line was dead.")
    if event.kind is Kind.SILENCE:
        yield words.text("Why nothing came: the network, the power, or the probe itself may be the reason.")
    if event.kind is Kind.BLOCKING and behind and not any(head.verdict.confirmed for head in behind):
        yield words.text(
            "No single measurement of it is confirmed by a repeated counter-check or a known block page; "
            "it rests on many that agree."
        )
    if event.kind is not Kind.SILENCE and not behind:
        yield words.text(
            "The single measurements behind it are no longer kept here, or were never stored here: "
            "what remains is what was concluded from them."
        )


def of_incident(words: Words, incident: Incident) -> Iterator[str]:
    """Sentences."""
    if not incident.events:
        yield words.text("Nothing of it is left: its events were withdrawn, or belong to another incident now.")
        return
    yield words.text(
        "Whether these events have one cause: they are told together because they began within the same hours, "
        "in one country, and went on at the same time."
    )
    if is_plain_only(incident.events):
        yield words.text("Whether it opens by https: what was seen is interference with http alone.")
    if all(event.probes <= 1 for event in incident.events):
        yield words.text("Whether it is the same everywhere on these networks: on each of them only one probe saw it.")
    yield words.text("Who is responsible: measurements show what happens to the traffic, not who ordered it.")
