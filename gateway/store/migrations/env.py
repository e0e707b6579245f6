"""Alembic's entry: migrations run on the connection that Database.upgrade hands over."""

from alembic import context

from gateway.store import fhir_tables, machine_tables  # noqa: F401 - their tables join the metadata
from gateway.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
)
with context.begin_transaction():
    context.run_migrations()
