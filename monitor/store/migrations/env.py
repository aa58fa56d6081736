"""Alembic's entry: migrates the connection that `opening.py` hands over, inside its transaction."""

from alembic import context

from monitor.store.schema import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
context.run_migrations()
