"""Runs the migrations on the connection that `stepflow_python.store.migrate` hands over; there is no other way in."""

from alembic import context
from sqlalchemy import Connection

from stepflow_python.store.schema import metadata


def run_migrations(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        # SQLite changes a table by making it anew; so it does on both, for one script to serve them.
        render_as_batch=True,
        transactional_ddl=True,
        transaction_per_migration=False,
    )
    context.run_migrations()


run_migrations(context.config.attributes["connection"])
