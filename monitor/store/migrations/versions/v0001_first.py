"""The first tables. Written once: a change to a table is another migration."""

import sqlalchemy as sa
from alembic import op

revision = "v0001"
down_revision = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.String().with_variant(sa.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """All tables of the store."""
    op.create_table(
        "certificates",
        sa.Column("n", NUMBER, nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("der", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("n", name="pk_certificates"),
    )
    op.create_index("uq_certificates_sha256", "certificates", ["sha256"], unique=True)
    op.create_table(
        "events",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("site", NUMBER, nullable=True),
        sa.Column("asn", sa.BigInteger(), nullable=True),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=True),
        sa.Column("kept_from", sa.BigInteger(), nullable=False),
        sa.Column("kept_until", sa.BigInteger(), nullable=True),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
    )
    op.create_index("ix_events_site", "events", ["site"], unique=False)
    op.create_index("ix_events_started", "events", ["started"], unique=False)
    op.create_table(
        "incidents",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=True),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_incidents"),
    )
    op.create_index("ix_incidents_started", "incidents", ["started"], unique=False)
    op.create_table(
        "names",
        sa.Column("n", NUMBER, nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("text", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("n", name="pk_names"),
    )
    op.create_index("uq_names_text_kind", "names", ["text", "kind"], unique=True)
    op.create_table(
        "rollups",
        sa.Column("seconds", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("site", NUMBER, autoincrement=False, nullable=False),
        sa.Column("bucket", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("asn", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("vantage", NUMBER, autoincrement=False, nullable=False),
        sa.Column("status", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("method", NUMBER, autoincrement=False, nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seconds", "site", "bucket", "asn", "vantage", "status", "method", name="pk_rollups"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "state",
        sa.Column("key", TEXT, nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_state"),
    )
    op.create_table(
        "verdicts",
        sa.Column("n", NUMBER, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("site", NUMBER, nullable=False),
        sa.Column("url", NUMBER, nullable=False),
        sa.Column("vantage", NUMBER, nullable=False),
        sa.Column("network", NUMBER, nullable=False),
        sa.Column("probe", NUMBER, nullable=False),
        sa.Column("asn", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=True),
        sa.Column("methods", NUMBER, nullable=False),
        sa.Column("confidence", sa.Float(precision=53), nullable=True),
        sa.Column("confirmed", sa.Boolean(), nullable=False),
        sa.Column("rule", NUMBER, nullable=False),
        sa.Column("rules_version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("n", name="pk_verdicts"),
    )
    op.create_index("ix_verdicts_asn_started", "verdicts", ["asn", "started"], unique=False)
    op.create_index("ix_verdicts_site_started", "verdicts", ["site", "started"], unique=False)
    op.create_index("ix_verdicts_started", "verdicts", ["started"], unique=False)
    op.create_index("ix_verdicts_status_started", "verdicts", ["status", "started"], unique=False)
    op.create_index("uq_verdicts_id", "verdicts", ["id"], unique=True)
    op.create_table(
        "facts",
        sa.Column("n", NUMBER, autoincrement=False, nullable=False),
        sa.Column("format", sa.SmallInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["n"], ["verdicts.n"], name="fk_facts_n", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("n", name="pk_facts"),
    )
    op.create_table(
        "latest",
        sa.Column("url", NUMBER, autoincrement=False, nullable=False),
        sa.Column("vantage", NUMBER, autoincrement=False, nullable=False),
        sa.Column("site", NUMBER, nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("n", NUMBER, nullable=False),
        sa.ForeignKeyConstraint(["n"], ["verdicts.n"], name="fk_latest_n", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("url", "vantage", name="pk_latest"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_latest_n", "latest", ["n"], unique=False)
    op.create_table(
        "reasons",
        sa.Column("n", NUMBER, autoincrement=False, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["n"], ["verdicts.n"], name="fk_reasons_n", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("n", name="pk_reasons"),
    )
    op.create_table(
        "shown",
        sa.Column("n", NUMBER, autoincrement=False, nullable=False),
        sa.Column("certificate", NUMBER, autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["certificate"], ["certificates.n"], name="fk_shown_certificate"),
        sa.ForeignKeyConstraint(["n"], ["verdicts.n"], name="fk_shown_n", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("n", "certificate", name="pk_shown"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_shown_certificate", "shown", ["certificate"], unique=False)
