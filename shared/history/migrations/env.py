"""Run the migrations on the connection that `shared.history.schema` passes."""

from alembic import context

from shared.history.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
