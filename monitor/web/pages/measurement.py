"""`/measurements/ID`: each step of a measurement, the vantage's side and the control's beside each other."""

import asyncio
from collections.abc import Iterator

from starlette.requests import Request
from starlette.responses import Response

from monitor.language import Words
from monitor.models import Conditions, Measurement
from monitor.web.pages.rendering import Missing, Pages
from monitor.web.pages.room import Room
from monitor.web.pages.sides import (
    MOST_STEPS,
    Side,
    certificates,
    control_side,
    pages_seen,
    rounds_joined,
    vantage_side,
)
from monitor.web.strangers import line

MOST_CONTROLS = 2
ROOM = 30_000  # bytes of what strangers wrote, on one page


async def measurement(pages: Pages, request: Request) -> Response:
    """GET."""
    one = await pages.archive.measurement(request.path_params["id"])
    if one is None:
        raise Missing
    said, room = pages.words(request), Room(ROOM)
    # Reading the pages that were kept takes a moment: hostile ones are made for it.
    seen = await asyncio.to_thread(pages_seen, said, one, room)
    controls = rounds_joined(one.controls)
    most = MOST_STEPS // max(1, len(controls[:MOST_CONTROLS]))
    sides: list[Side] = [vantage_side(said, one, room)]
    sides += [
        control_side(said, control, number, most, room) for number, control in enumerate(controls[:MOST_CONTROLS], 1)
    ]
    return pages.page(
        request, "measurement.html", one=one, verdict=one.verdict, sides=sides, more_controls=len(controls) - len(sides) + 1,
        certificates=certificates(said, one, room), seen=seen, conditions=list(_conditions(said, one.conditions)),
        control_missing=_control_missing(said, one),
    )  # fmt: skip


def _control_missing(words: Words, one: Measurement) -> str | None:
    """Why there is nothing to compare with."""
    if not one.controls:
        return words.text("No control was asked: there is nothing to compare with.")
    if all(control.failure is not None for control in one.controls):
        return words.text("No control could be asked: there is nothing to compare with.")
    return None


def _conditions(words: Words, found: Conditions) -> Iterator[tuple[str, str]]:
    """The state of the vantage at that moment: what, and how it was."""
    known: tuple[tuple[str, bool | None], ...] = (
        (words.text("Neutral sites over IPv4"), found.online4),
        (words.text("Neutral sites over IPv6"), found.online6),
    )
    for label, reached in known:
        if reached is not None:
            yield label, words.text("reached") if reached else words.text("not reached")
    warnings = (
        (found.captive_portal, words.text("Sign-in page"), words.text("in between: every plain page is replaced")),
        (found.intercepted, words.text("Certificates"), words.text("all replaced, on this line or this machine")),
        (
            found.proxied,
            words.text("Proxy"),
            words.text("connections go through one, which hides some of what becomes of them"),
        ),
        (found.network_changed, words.text("Network"), words.text("changed while it was measured")),
    )
    yield from ((label, text) for holds, label, text in warnings if holds)
    if found.clock_offset is not None:
        yield words.text("Clock"), words.text("{seconds} s off", seconds=words.number(round(found.clock_offset, 1)))
    if found.speed is not None:
        yield (
            words.text("Speed of neutral sites"),
            words.text("{speed} kB a second", speed=words.number(round(found.speed / 1000))),
        )
    for check in found.resolvers[:4]:
        yield words.text("Name server {resolver}", resolver=line(check.resolver, 80)), words.text(
            "answered {answered} of {asked} names that nobody blocks", answered=check.control_names_answered,
            asked=check.control_names,
        )  # fmt: skip
