"""The tables, as the newest migration leaves them.

Names (sites, vantages, rules..) are kept once and referred to by number. Times are whole microseconds since 1970 in UTC,
exact, so that a history read from here is the same as the one that was measured. JSON is kept as bytes: it may hold
what a text column refuses.
"""

from datetime import UTC, datetime, timedelta
from enum import IntEnum

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
)

from monitor.models import Kind, Status

REVISIONS = ("v0001", "v0002", "v0003", "v0004")  # of the migrations, oldest first
# Not Alembic's own name for it: in a database that others use, too, that may be theirs.
VERSION_TABLE = "almenara_version"

# One order everywhere: by bytes, as SQLite and Python compare, whatever PostgreSQL's locale.
TEXT = String().with_variant(Text(collation="C"), "postgresql")
# SQLite counts only INTEGER PRIMARY KEY by itself; its integers have 64 bits all the same.
NUMBER = BigInteger().with_variant(Integer(), "sqlite")

# What the numbers in the tables mean. Persisted: never renumber, only add.
STATUSES = {Status.OK: 1, Status.BLOCKED: 2, Status.DOWN: 3, Status.GEOBLOCKED: 4, Status.INCONCLUSIVE: 5}
STATUS_OF = {number: status for status, number in STATUSES.items()}
KINDS = {Kind.BLOCKING: 1, Kind.SITE_OUTAGE: 2, Kind.NETWORK_OUTAGE: 3, Kind.SILENCE: 4}


class Word(IntEnum):
    """What a name is a name of. Persisted: never renumber, only add."""

    SITE = 1
    URL = 2
    VANTAGE = 3
    NETWORK = 4  # JSON: asn, isp, country, source
    PROBE = 5
    RULE = 6
    METHODS = 7  # of one verdict, the deciding one first, with commas
    METHOD = 8


class Tallied(IntEnum):
    """What a tally counts, and what its labels are. Persisted: never renumber, only add."""

    STORED = 1  # measurements that there are now
    MEASUREMENTS = 2  # ever: status
    STEP_BUCKETS = 3  # steps that took at most so long, and longer than the bucket before: step, seconds
    STEP_MICROSECONDS = 4  # step
    STEP_FAILURES = 5  # step, failure
    RESOLVER_QUERIES = 6  # resolver, result
    RELOADS = 7  # result
    ALERTS = 8  # channel, result


class Sending(IntEnum):
    """What became of a delivery. Persisted: never renumber, only add."""

    WAITING = 1
    SENT = 2
    GIVEN_UP = 3
    MERGED = 4  # with a later one of its thread, before it could be sent


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

names = Table(
    "names",
    metadata,
    Column("n", NUMBER, primary_key=True),
    Column("kind", SmallInteger, nullable=False),
    Column("text", TEXT, nullable=False),
    Index("uq_names_text_kind", "text", "kind", unique=True),
)


def _name(column: str) -> Column[int]:
    return Column(column, NUMBER, nullable=False)


# One row a measurement, small, with its current verdict: what is searched, counted and replayed.
# status: None where it was never judged. `n` grows with every append.
verdicts = Table(
    "verdicts",
    metadata,
    Column("n", NUMBER, primary_key=True),
    Column("id", TEXT, nullable=False),
    Column("started", BigInteger, nullable=False),
    *map(_name, ("site", "url", "vantage", "network", "probe")),
    Column("asn", BigInteger, nullable=False),  # 0: not known
    Column("status", SmallInteger),
    _name("methods"),
    Column("confidence", Float(53)),
    Column("confirmed", Boolean, nullable=False),
    _name("rule"),
    Column("rules_version", Integer, nullable=False),
    Index("uq_verdicts_id", "id", unique=True),
    Index("ix_verdicts_started", "started"),
    Index("ix_verdicts_site_started", "site", "started"),
    Index("ix_verdicts_asn_started", "asn", "started"),
    Index("ix_verdicts_status_started", "status", "started"),
)


def _of_a_measurement() -> Column[int]:
    return Column("n", NUMBER, ForeignKey("verdicts.n", ondelete="CASCADE"), primary_key=True, autoincrement=False)


# The measurement without its verdict, packed as `format` says (packing.py). Written once, never changed.
facts = Table(
    "facts",
    metadata,
    _of_a_measurement(),
    Column("format", SmallInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

# Why the current verdict, as JSON; nothing where there are no reasons.
reasons = Table("reasons", metadata, _of_a_measurement(), Column("data", LargeBinary, nullable=False))

# A certificate is seen again and again: its bytes are kept once.
certificates = Table(
    "certificates",
    metadata,
    Column("n", NUMBER, primary_key=True),
    Column("sha256", LargeBinary, nullable=False),
    Column("der", LargeBinary, nullable=False),
    Index("uq_certificates_sha256", "sha256", unique=True),
)
shown = Table(
    "shown",
    metadata,
    _of_a_measurement(),
    Column("certificate", NUMBER, ForeignKey("certificates.n"), primary_key=True, autoincrement=False),
    Index("ix_shown_certificate", "certificate"),
    sqlite_with_rowid=False,
)

# The newest measurement of each URL on each vantage. outcome: what became of it, as JSON.
latest = Table(
    "latest",
    metadata,
    Column("url", NUMBER, primary_key=True, autoincrement=False),
    Column("vantage", NUMBER, primary_key=True, autoincrement=False),
    Column("site", NUMBER, nullable=False),
    Column("started", BigInteger, nullable=False),
    Column("n", NUMBER, ForeignKey("verdicts.n", ondelete="CASCADE"), nullable=False),
    Column("outcome", LargeBinary),
    Index("ix_latest_n", "n"),
    sqlite_with_rowid=False,
)

# How many measurements had which verdict. seconds: 3600, 86400. bucket: seconds since 1970 / seconds.
# site 0: all sites together. method 0: whatever the methods; else only those with that method.
rollups = Table(
    "rollups",
    metadata,
    Column("seconds", Integer, primary_key=True, autoincrement=False),
    Column("site", NUMBER, primary_key=True, autoincrement=False),
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    Column("asn", BigInteger, primary_key=True, autoincrement=False),
    Column("vantage", NUMBER, primary_key=True, autoincrement=False),
    Column("status", SmallInteger, primary_key=True, autoincrement=False),
    Column("method", NUMBER, primary_key=True, autoincrement=False),
    Column("count", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# What only grows, for metrics: neither retention nor judging again takes anything away (but from STORED).
# vantage 0: of none. first, second: labels, as the counter has them.
tallies = Table(
    "tallies",
    metadata,
    Column("counter", SmallInteger, primary_key=True, autoincrement=False),
    Column("vantage", NUMBER, primary_key=True, autoincrement=False),
    Column("first", TEXT, primary_key=True),
    Column("second", TEXT, primary_key=True),
    Column("count", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# data: the Event as JSON. site None: all; asn None: whatever the network. kept_from, kept_until: measurements of that
# time are evidence; None: there is no end yet. changed: when what it says was stored, whatever its counts became since.
events = Table(
    "events",
    metadata,
    Column("id", TEXT, primary_key=True),
    Column("kind", SmallInteger, nullable=False),
    Column("site", NUMBER),
    Column("asn", BigInteger),
    Column("started", BigInteger, nullable=False),
    Column("ended", BigInteger),
    Column("kept_from", BigInteger, nullable=False),
    Column("kept_until", BigInteger),
    Column("data", LargeBinary, nullable=False),
    Column("changed", BigInteger),
    Index("ix_events_started", "started"),
    Index("ix_events_site", "site"),
    Index("ix_events_changed", "changed"),
)

incidents = Table(
    "incidents",
    metadata,
    Column("id", TEXT, primary_key=True),
    Column("started", BigInteger, nullable=False),
    Column("ended", BigInteger),
    Column("data", LargeBinary, nullable=False),
    Index("ix_incidents_started", "started"),
)

state = Table("state", metadata, Column("key", TEXT, primary_key=True), Column("value", LargeBinary, nullable=False))

# Who is told of events, by a name that says nothing secret. since: of what ended before it nothing is told.
# digested: up to when all was told to one who wants a digest.
subscriptions = Table(
    "subscriptions",
    metadata,
    Column("key", TEXT, primary_key=True),
    Column("since", BigInteger, nullable=False),
    Column("digested", BigInteger, nullable=False),
)

# What a subscription was told of an incident (and of what belongs to it), as JSON. over: it was told the end.
threads = Table(
    "threads",
    metadata,
    Column("subscription", TEXT, primary_key=True),
    Column("id", TEXT, primary_key=True),
    Column("over", Boolean, nullable=False),
    Column("told", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Index("ix_threads_subscription_over_told", "subscription", "over", "told"),
)

# A message to a subscription. thread: "" where it tells of several. next: when to try; finished: when it was sent, or
# given up. trying: since when. data: what it tells, as JSON. claimed: until then a process is sending it.
deliveries = Table(
    "deliveries",
    metadata,
    Column("n", NUMBER, primary_key=True),
    Column("id", TEXT, nullable=False),
    Column("subscription", TEXT, nullable=False),
    Column("channel", TEXT, nullable=False),
    Column("thread", TEXT, nullable=False),
    Column("what", TEXT, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("trying", BigInteger, nullable=False),
    Column("next", BigInteger, nullable=False),
    Column("finished", BigInteger),
    Column("attempts", Integer, nullable=False),
    Column("error", TEXT, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("claimed", BigInteger),
    Index("uq_deliveries_id", "id", unique=True),
    Index("ix_deliveries_state_next", "state", "next"),
    Index("ix_deliveries_subscription_thread", "subscription", "thread"),
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(moment: datetime) -> int:
    """A moment as the tables have it."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(microseconds: int) -> datetime:
    """A moment of the tables, in UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)
