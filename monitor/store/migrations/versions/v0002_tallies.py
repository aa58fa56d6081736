"""Counters that only grow, and what became of the newest measurements. Begins with what rollups have counted."""

import sqlalchemy as sa
from alembic import op

revision = "v0002"
down_revision = "v0001"

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.String().with_variant(sa.TEXT(collation="C"), "postgresql")

STATUSES = {1: "ok", 2: "blocked", 3: "down", 4: "geoblocked", 5: "inconclusive"}


def upgrade() -> None:
    """The table tallies, and a column."""
    op.add_column("latest", sa.Column("outcome", sa.LargeBinary(), nullable=True))
    op.create_table(
        "tallies",
        sa.Column("counter", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("vantage", NUMBER, autoincrement=False, nullable=False),
        sa.Column("first", TEXT, nullable=False),
        sa.Column("second", TEXT, nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("counter", "vantage", "first", "second", name="pk_tallies"),
        sqlite_with_rowid=False,
    )
    op.execute("INSERT INTO tallies SELECT 1, 0, '', '', count(*) FROM verdicts")
    for number, status in STATUSES.items():
        op.execute(
            f"INSERT INTO tallies SELECT 2, vantage, '{status}', '', sum(count) FROM rollups "
            f"WHERE seconds = 86400 AND site = 0 AND method = 0 AND status = {number} GROUP BY vantage"
        )
