"""The two sides of a measurement as a page shows them: steps, certificates, pages. Everything in it is a stranger's."""

from collections.abc import Iterator, Sequence

from markupsafe import Markup
from msgspec import Struct
from msgspec.structs import replace

from monitor.language import Words
from monitor.messages import N_
from monitor.models import (
    Certificate,
    Control,
    Dns,
    Flow,
    Http,
    Measurement,
    Observation,
    Observations,
    Purpose,
    Tcp,
    Tls,
)
from monitor.outcome import dns_failure
from monitor.web.charts.svg import Tick
from monitor.web.charts.waterfall import Bar, waterfall
from monitor.web.pages.room import Room
from monitor.web.strangers import page_text

MOST_STEPS = 30  # to the site, and as many beside it: of the vantage, and of all controls together
MOST_CERTIFICATES = 8
MOST_PAGES = 4
MOST_HEADERS = 20
MOST_NAMES = 8
_MOST_TEXT = 1500
_ORDER = {Dns: 0, Tcp: 1, Tls: 2, Http: 3}
_STEPS: dict[type[Observation], str] = {Dns: "dns", Tcp: "tcp", Tls: "tls", Http: "http"}
_TICKS = 4
_LONGEST_S = 86_400.0
_LONGEST_LABEL = 36  # characters: with the step before it, a line on a phone of 320 pixels

PURPOSES = {
    Purpose.INNOCENT_NAME: N_("counter-check: the site's address, asked for a name that nobody blocks"),
    Purpose.NAME_ELSEWHERE: N_("counter-check: the site's name, asked where it has nothing to do with it"),
    Purpose.HTTPS_SIDE: N_("counter-check: the encrypted side of the site"),
    Purpose.PLAIN_SIDE: N_("counter-check: the unencrypted side of the address"),
    Purpose.CHECKING_DISABLED: N_("counter-check: the same question without DNSSEC's validation"),
    Purpose.NEUTRAL: N_("a site that nobody blocks, at the same moment"),
}


class Step(Struct, frozen=True, kw_only=True):
    """One operation. what: in a few words; result: how it ended; purpose: "" where it is the site itself."""

    step: str
    what: str
    attempt: int
    started: float
    duration: float
    failed: bool
    result: str
    purpose: str


class Side(Struct, frozen=True, kw_only=True):
    """The vantage, or a control. failure: why the control could not be asked. steps: to the site itself; checks: beside
    it, with one thing changed. more: of both, how many are left out."""

    id: str
    title: str
    subtitle: str
    failure: str | None
    steps: list[Step]
    checks: list[Step]
    chart: Markup | None
    more: int


class SeenCertificate(Struct, frozen=True, kw_only=True):
    """A certificate, who saw it, and why it was rejected. purpose: "" where the site itself was asked."""

    certificate: Certificate
    by: str
    purpose: str
    subject: str
    issuer: str
    names: str
    rejected: str


class SeenPage(Struct, frozen=True, kw_only=True):
    """An answer to a request. purpose: "" where the site itself was asked; text: the words of the page, where it was kept."""

    by: str
    purpose: str
    url: str
    status: int | None
    title: str | None
    length: int
    headers: list[tuple[str, str]]
    more: int
    text: str | None


def vantage_side(words: Words, one: Measurement, room: Room) -> Side:
    """What the vantage saw."""
    title = words.text("The vantage: {vantage}", vantage=room.line(one.vantage, 60))
    return _side(words, "vantage", title, room.line(one.network.isp or "", 60), None, one, MOST_STEPS, room)


def rounds_joined(controls: Sequence[Control]) -> list[Control]:
    """Each control once, however often it was asked: of one measurement it may be asked about several addresses."""
    by_name: dict[tuple[str, str], list[Control]] = {}
    for control in controls:
        by_name.setdefault((control.kind, control.id), []).append(control)
    return [_joined(rounds) for rounds in by_name.values()]


def _joined(rounds: Sequence[Control]) -> Control:
    """As if it had been asked once: all that it saw, from its first question on."""
    first = next((one for one in rounds if one.failure is None), rounds[0])
    began = min((one.started for one in rounds if one.started), default=None)
    seen: dict[str, list[Observation]] = {"dns": [], "tcp": [], "tls": [], "http": []}
    for one in rounds:
        later_s = (one.started - began).total_seconds() if one.started and began else 0.0
        for step, found in seen.items():
            found += (replace(each, started=each.started + later_s) for each in getattr(one, step))
    return replace(first, **{step: tuple(found) for step, found in seen.items()})


def control_side(words: Words, control: Control, number: int, most: int, room: Room) -> Side:
    """What a control saw. most: steps, and as many beside them."""
    title = words.text("The control: {control}", control=room.line(control.id, 80))
    where = [f"AS{control.asn}" if control.asn else "", room.line(words.country(control.country), 40)]
    failure = control.failure and _failed(words, control.failure, room)
    return _side(words, f"control{number}", title, ", ".join(filter(None, where)), failure, control, most, room)


def _side(
    words: Words, id: str, title: str, subtitle: str, failure: str | None, seen: Observations, most: int, room: Room
) -> Side:
    every: list[Observation] = [*seen.dns, *seen.tcp, *seen.tls, *seen.http]
    every.sort(key=lambda one: (one.started, _ORDER[type(one)]))
    answered = {(one.resolver, one.name) for one in seen.dns if one.answers}
    own = [one for one in every if one.purpose is Purpose.SITE]
    beside = [one for one in every if one.purpose is not Purpose.SITE]
    steps, checks = ([_step(words, one, answered, room) for one in part[:most]] for part in (own, beside))
    return Side(
        id=id, title=title, subtitle=subtitle, failure=failure, steps=steps, checks=checks,
        more=len(every) - len(steps) - len(checks), chart=_chart(words, id, title, steps) if steps else None,
    )  # fmt: skip


def _short(what: str) -> str:
    """Cut where it is long, and seen to be: half an address is another one."""
    return what if len(what) <= _LONGEST_LABEL else f"{what[: _LONGEST_LABEL - 1]}…"


def _chart(words: Words, id: str, title: str, steps: Sequence[Step]) -> Markup:
    end_s = max(step.started + step.duration for step in steps) or 1.0
    ticks = [
        Tick(100 * n / _TICKS, words.text("{seconds} s", seconds=words.number(round(end_s * n / _TICKS, 2))))
        for n in range(_TICKS + 1)
    ]
    bars = [
        Bar(
            label=f"{step.step.upper()} {_short(step.what)}", step=step.step, start=step.started, length=step.duration,
            failed=step.failed,
        )
        for step in steps
    ]  # fmt: skip
    description = words.text("When each step began and how long it took; the table below says the same.")
    return waterfall(id, title, description, bars, end_s, ticks)


def _step(words: Words, one: Observation, answered: set[tuple[str, str]], room: Room) -> Step:
    what, came = _told(words, one, room)
    # That a name has no IPv6 address is no failure, as long as it has another one.
    failure = dns_failure(one, answered) if isinstance(one, Dns) else one.failure
    return Step(
        step=_STEPS[type(one)], what=what, attempt=one.attempt, started=_seconds(one.started),
        duration=_seconds(one.duration), failed=failure is not None,
        result=came if failure is None else _failed(words, failure, room), purpose=_purpose(words, one),
    )  # fmt: skip


def _purpose(words: Words, one: Observation) -> str:
    purpose = PURPOSES.get(one.purpose)
    return words.text(purpose) if purpose else ""


def _seconds(told: float) -> float:
    """As a chart can show it, whatever a stranger's clock says."""
    return min(max(0.0, told), _LONGEST_S)


def _failed(words: Words, failure: str, room: Room) -> str:
    return words.text("{meaning} ({failure})", meaning=words.failure(failure), failure=room.line(failure, 60))


def _told(words: Words, one: Observation, room: Room) -> tuple[str, str]:
    """What was done, and what came of it where it did not fail."""
    if isinstance(one, Dns):
        asked = words.text(
            "{type} {name} at {resolver}", type=room.line(one.type, 8), name=room.line(one.name, 80),
            resolver=room.line(one.resolver, 80),
        )  # fmt: skip
        return asked, room.line(", ".join(one.answers[:8]), 120) if one.answers else words.text(
            "no address of this kind"
        )
    if isinstance(one, Tls):
        return room.line(f"{_where(one)} {one.server_name}", 120), room.line(
            f"{one.version or ''} {one.alpn or ''}", 40
        )
    if isinstance(one, Http):
        return room.line(f"{one.method} {one.url}", 120), _answer(words, one)
    assert isinstance(one, Flow)
    return room.line(_where(one), 80), words.text("connected")


def _where(one: Flow) -> str:
    return f"[{one.address}]:{one.port}" if one.family == 6 else f"{one.address}:{one.port}"


def _answer(words: Words, one: Http) -> str:
    if one.status is None:
        return words.text("no answer")
    return words.text("status {status}, {length} bytes", status=one.status, length=words.number(one.body_length))


def _sides(words: Words, one: Measurement) -> Iterator[tuple[str, Observations]]:
    yield words.text("vantage"), one
    for control in one.controls:
        yield words.text("control"), control


def certificates(words: Words, one: Measurement, room: Room) -> list[SeenCertificate]:
    """Each once for each side, leaves first."""
    found: dict[tuple[str, str], SeenCertificate] = {}
    handshakes = [(by, tls) for by, seen in _sides(words, one) for tls in seen.tls]
    handshakes.sort(key=lambda one: one[1].purpose is not Purpose.SITE)
    for place in range(4):
        for by, tls in handshakes:
            if place < len(tls.chain) and len(found) < MOST_CERTIFICATES:
                shown = tls.chain[place]
                if (by, shown.sha256) not in found:
                    rejected = room.line((tls.verify if place == 0 else None) or "", 120)
                    found[by, shown.sha256] = _certificate(shown, by, _purpose(words, tls), rejected, room)
    return list(found.values())


def _certificate(shown: Certificate, by: str, purpose: str, rejected: str, room: Room) -> SeenCertificate:
    return SeenCertificate(
        certificate=shown, by=by, purpose=purpose, subject=room.line(shown.subject, 160), issuer=room.line(shown.issuer, 160),
        names=room.line(", ".join(shown.names[:MOST_NAMES]) + (" …" if len(shown.names) > MOST_NAMES else ""), 300),
        rejected=rejected,
    )  # fmt: skip


def pages_seen(words: Words, one: Measurement, room: Room) -> list[SeenPage]:
    """Different answers of each side, those with a page that was kept first."""
    found: dict[tuple[object, ...], tuple[str, Http]] = {}
    for by, seen in _sides(words, one):
        for http in seen.http:
            if http.status is not None and http.purpose is not Purpose.NEUTRAL:
                found.setdefault((by, http.url, http.status, http.sha256, http.purpose), (by, http))
    chosen = sorted(found.values(), key=lambda one: (one[1].body is None, one[1].purpose is not Purpose.SITE))
    return [_page(words, by, http, room) for by, http in chosen[:MOST_PAGES]]


def _page(words: Words, by: str, http: Http, room: Room) -> SeenPage:
    text = page_text(http)
    return SeenPage(
        by=by, purpose=_purpose(words, http), url=room.line(http.url, 200), status=http.status,
        title=room.line(http.title, 120) if http.title else None,
        length=http.body_length, text=room.passage(text, _MOST_TEXT) if text else text,
        headers=[(room.line(name, 40), room.line(value, 160)) for name, value in http.headers[:MOST_HEADERS]],
        more=max(0, len(http.headers) - MOST_HEADERS),
    )  # fmt: skip
