"""Sites x networks: how each site is on each network now, by the newest verdicts and the events that go on. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from monitor.models import Event, Kind, Network, Status
from monitor.store import Latest
from monitor.web.scope import Scope, Subject

PERIODS = 3  # without data, and a result is old, as for metrics
OLD = timedelta(hours=6)  # the same where it is not known how often a site is measured
YOUNG = timedelta(
    minutes=5
)  # no result is old so soon: finding a block takes longer than a short period, finding none does not
FORGOTTEN = timedelta(days=30)  # so long, the network of a vantage that is gone keeps its column
MOST_COLUMNS = 12
MOST_CELLS = 300  # in one table: 100 KB of page
MOST_ROWS = 50
# What a row is ordered by, and what a cell says where several vantages or URLs differ: the first of these.
ORDER = (Status.BLOCKED, Status.GEOBLOCKED, Status.DOWN, Status.INCONCLUSIVE, None, Status.OK)
_SAYS = (Status.BLOCKED, Status.GEOBLOCKED, Status.DOWN, Status.OK, Status.INCONCLUSIVE)
NOWHERE = 0  # in place of the number of a network that is not known


class Cell(Struct, frozen=True, kw_only=True):
    """A site on a network. state None: never measured. id: of the measurement; said, by: so many of so many newest
    results say so. event: the blocking that goes on there. watched: a vantage there is to measure it.
    """

    state: Status | None = None
    id: str | None = None
    methods: tuple[str, ...] = ()
    confidence: float | None = None
    confirmed: bool = False
    measured: datetime | None = None
    old: bool = False
    said: int = 0
    by: int = 0
    event: Event | None = None

    @property
    def is_surprise(self) -> bool:
        """A block that is neither an event yet nor confirmed: no more than a suspicion."""
        return self.state is Status.BLOCKED and self.event is None and not self.confirmed


class Row(Struct, frozen=True, kw_only=True):
    """A site on all networks. text: what it is searched by."""

    site: str
    name: str | None
    tags: frozenset[str]
    cells: tuple[Cell, ...]

    @property
    def text(self) -> str:
        """Site and name, lower-case."""
        return f"{self.site} {self.name or ''}".strip().casefold()


class Column(Struct, frozen=True, kw_only=True):
    """A network. outage, silence: the events that go on there; absent: no vantage there is connected."""

    network: Network
    outage: Event | None = None
    silence: Event | None = None
    absent: bool = False


class Matrix(Struct, frozen=True, kw_only=True):
    """All of it, the worst first; networks in order of what is wrong there."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


class Coverage(Struct, frozen=True, kw_only=True):
    """How much of what is to be known is known. pairs: a site on a network each."""

    sites: int
    networks: int
    pairs: int
    fresh: int
    old: int
    unmeasured: int
    unclear: int
    blocked: int  # sites, on one network at least, by fresh results
    surprises: int  # sites of which a single result says so, or a few, and no event yet
    going_on: int  # sites, by events that are not over


def matrix(latest: Sequence[Latest], events: Iterable[Event], scope: Scope, now: datetime) -> Matrix:
    """events: those that go on."""
    active = [event for event in events if event.ended is None and event.confidence > 0]
    subjects = _subjects(latest, scope)
    newest = _newest(latest, subjects)
    networks = _networks(latest, scope, now)
    periods = {subject.url: subject.period_s for subject in scope.subjects}
    blocking = {(event.site, _number(event.network)): event for event in active if event.kind is Kind.BLOCKING}
    rows = []
    for site, subject in subjects.items():
        cells = tuple(_cell(newest.get((site, asn), ()), periods, blocking.get((site, asn)), now) for asn in networks)
        rows.append(Row(site=site, name=subject.name, tags=frozenset(subject.tags), cells=cells))
    rows.sort(key=_rank)
    return Matrix(columns=tuple(_column(one, active, scope) for one in networks.values()), rows=tuple(rows))


def _subjects(latest: Sequence[Latest], scope: Scope) -> dict[str, Subject]:
    """The sites: those that are watched; where nobody says which, all that are known."""
    found: dict[str, Subject] = {}
    for subject in scope.subjects or [Subject(url=one.url, site=one.site) for one in latest]:
        found.setdefault(subject.site, subject)
    return found


def _newest(latest: Sequence[Latest], subjects: Mapping[str, Subject]) -> dict[tuple[str, int], list[Latest]]:
    found: dict[tuple[str, int], list[Latest]] = {}
    for one in latest:
        if one.site in subjects:
            found.setdefault((one.site, _number(one.network)), []).append(one)
    return found


def _networks(latest: Sequence[Latest], scope: Scope, now: datetime) -> dict[int, Network]:
    """By number: of the vantages there are, and of those from which something came lately; the unknown one last."""
    found = {_number(place.network): place.network for place in scope.places}
    for one in latest:
        if now - one.started < FORGOTTEN:
            found.setdefault(_number(one.network), one.network)
    if not any(_number(one.network) == NOWHERE for one in latest):
        found.pop(NOWHERE, None)
    return dict(sorted(found.items(), key=lambda item: (item[0] == NOWHERE, item[1].isp or "~", item[0])))


def _number(network: Network | None) -> int:
    return (network.asn if network else None) or NOWHERE


def _column(network: Network, active: Sequence[Event], scope: Scope) -> Column:
    here = {event.kind: event for event in active if event.network and _number(event.network) == _number(network)}
    places = [place for place in scope.places if _number(place.network) == _number(network)]
    return Column(
        network=network, outage=here.get(Kind.NETWORK_OUTAGE), silence=here.get(Kind.SILENCE),
        absent=bool(places) and not any(place.present for place in places),
    )  # fmt: skip


def _cell(seen: Sequence[Latest], periods: Mapping[str, float], event: Event | None, now: datetime) -> Cell:
    if not seen:
        return Cell(event=event)
    fresh = [one for one in seen if not is_old(one.started, periods.get(one.url, 0.0), now)]
    counted = fresh or [max(seen, key=lambda one: one.started)]
    state = min((one.verdict.status for one in counted), key=_SAYS.index)
    saying = [one for one in counted if one.verdict.status is state]
    newest = max(saying, key=lambda one: one.started)
    verdict = newest.verdict
    return Cell(
        state=state, id=newest.id, methods=verdict.methods, confidence=verdict.confidence, confirmed=verdict.confirmed,
        measured=newest.started, old=not fresh, said=len(saying), by=len(counted), event=event,
    )  # fmt: skip


def is_old(measured: datetime, period_s: float, now: datetime) -> bool:
    """Whether a result says nothing of how it is now."""
    return now - measured > (max(timedelta(seconds=PERIODS * period_s), YOUNG) if period_s else OLD)


def _rank(row: Row) -> tuple[int, bool, int, str]:
    """Blocked ones first, those with an event before those without, then on many networks before on few; what is simply
    open is last.
    """
    states = [None if cell.old else cell.state for cell in row.cells]
    best = min((ORDER.index(state) for state in states), default=len(ORDER))
    return (
        best,
        not any(cell.event for cell in row.cells),
        -states.count(Status.BLOCKED),
        (row.name or row.site).casefold(),
    )


class Choice(Struct, frozen=True, kw_only=True):
    """What a reader wants to see; "" and None: all. state: a status, or "none"; asn: 0 is the unknown network."""

    state: str = ""
    text: str = ""
    asn: int | None = None
    tag: str = ""


def chosen(whole: Matrix, choice: Choice) -> Matrix:
    """The part of it. Of one network, only its column."""
    if choice == Choice():
        return whole
    numbers = [_number(column.network) for column in whole.columns]
    kept = [place for place, number in enumerate(numbers) if choice.asn in (None, number)]
    rows = [
        Row(site=row.site, name=row.name, tags=row.tags, cells=tuple(row.cells[place] for place in kept))
        for row in whole.rows
        if choice.text.casefold() in row.text and (not choice.tag or choice.tag in row.tags)
    ]
    if choice.state:
        rows = [row for row in rows if any(_is(cell, choice.state) for cell in row.cells)]
    return Matrix(columns=tuple(whole.columns[place] for place in kept), rows=tuple(sorted(rows, key=_rank)))


def _is(cell: Cell, state: str) -> bool:
    return cell.state is None if state == "none" else cell.state is not None and cell.state.value == state


def part(whole: Matrix, page: int) -> tuple[Matrix, tuple[Network, ...], int]:
    """One page of it, the networks that found no room, and how many pages there are."""
    width = min(len(whole.columns), MOST_COLUMNS)
    most = max(1, min(MOST_ROWS, MOST_CELLS // max(1, width)))
    order = sorted(range(len(whole.columns)), key=lambda place: (_calm(whole, place), place))
    kept = order[:width]
    rows = tuple(
        Row(site=row.site, name=row.name, tags=row.tags, cells=tuple(row.cells[place] for place in kept))
        for row in whole.rows[(page - 1) * most : page * most]
    )
    left_out = tuple(whole.columns[place].network for place in sorted(order[width:]))
    columns = tuple(whole.columns[place] for place in kept)
    return Matrix(columns=columns, rows=rows), left_out, -(-len(whole.rows) // most)


def _calm(whole: Matrix, place: int) -> bool:
    """Nothing is blocked on that network."""
    return not any(row.cells[place].state is Status.BLOCKED for row in whole.rows)


def coverage(whole: Matrix, active: Iterable[Event]) -> Coverage:
    """Of the whole table. active: events that go on, of its sites and others."""
    cells = [cell for row in whole.rows for cell in row.cells]
    fresh = [cell for cell in cells if cell.state is not None and not cell.old]
    return Coverage(
        sites=len(whole.rows), networks=len(whole.columns), pairs=len(cells), fresh=len(fresh),
        old=sum(cell.old for cell in cells), unmeasured=sum(cell.state is None for cell in cells),
        unclear=sum(cell.state is Status.INCONCLUSIVE for cell in fresh),
        blocked=sum(any(_is_blocked(cell) and not cell.is_surprise for cell in row.cells) for row in whole.rows),
        surprises=sum(any(cell.is_surprise and not cell.old for cell in row.cells) for row in whole.rows),
        going_on=len({one.site for one in active if one.kind is Kind.BLOCKING and one.confidence > 0}),
    )  # fmt: skip


def _is_blocked(cell: Cell) -> bool:
    return cell.state is Status.BLOCKED and not cell.old
