"""Who is told of events, what they were told, and the messages on their way."""

import sqlalchemy as sa
from alembic import op

revision = "v0003"
down_revision = "v0002"

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.String().with_variant(sa.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """The tables subscriptions, threads and deliveries."""
    op.create_table(
        "subscriptions",
        sa.Column("key", TEXT, nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("digested", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_subscriptions"),
    )
    op.create_table(
        "threads",
        sa.Column("subscription", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("over", sa.Boolean(), nullable=False),
        sa.Column("told", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("subscription", "id", name="pk_threads"),
    )
    op.create_index("ix_threads_subscription_over_told", "threads", ["subscription", "over", "told"], unique=False)
    op.create_table(
        "deliveries",
        sa.Column("n", NUMBER, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("subscription", TEXT, nullable=False),
        sa.Column("channel", TEXT, nullable=False),
        sa.Column("thread", TEXT, nullable=False),
        sa.Column("what", TEXT, nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("trying", sa.BigInteger(), nullable=False),
        sa.Column("next", sa.BigInteger(), nullable=False),
        sa.Column("finished", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", TEXT, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("n", name="pk_deliveries"),
    )
    op.create_index("uq_deliveries_id", "deliveries", ["id"], unique=True)
    op.create_index("ix_deliveries_state_next", "deliveries", ["state", "next"], unique=False)
    op.create_index("ix_deliveries_subscription_thread", "deliveries", ["subscription", "thread"], unique=False)
