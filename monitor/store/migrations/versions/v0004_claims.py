"""Who is sending a message now, and when something became of an event. Known events changed when they ended, or began."""

import sqlalchemy as sa
from alembic import op

revision = "v0004"
down_revision = "v0003"


def upgrade() -> None:
    """A column of deliveries, and one of events."""
    op.add_column("deliveries", sa.Column("claimed", sa.BigInteger(), nullable=True))
    op.add_column("events", sa.Column("changed", sa.BigInteger(), nullable=True))
    op.execute("UPDATE events SET changed = coalesce(ended, started)")
    op.create_index("ix_events_changed", "events", ["changed"], unique=False)
