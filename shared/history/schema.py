"""Migrations of the history's schema, with Alembic: see `migrations/versions`."""

from dataclasses import dataclass

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, update

from shared.errors import HistoryDown, UnknownRevision
from shared.history.tables import archiver


@dataclass(frozen=True, slots=True)
class Schema:
    """The revision of the schema (None: not created yet), and the one of this version."""

    current: str | None
    wanted: str | None


def check(connection: Connection) -> Schema:
    """Check that the database can be written; return its schema, which is not migrated.

    Raise HistoryDown if the schema is of a later version. Change nothing.
    """
    schema = read_schema(connection)
    if schema.current:
        connection.execute(update(archiver).values(term=archiver.c.term))
    return schema


def upgrade(connection: Connection) -> None:
    """Migrate the schema within the open transaction. Raise HistoryDown if it is a later one."""
    schema = read_schema(connection)
    if schema.current != schema.wanted:
        command.upgrade(_config(connection), "head")


def read_schema(connection: Connection) -> Schema:
    """Return the revision of the schema. Raise HistoryDown if it is of a later version."""
    current = MigrationContext.configure(connection).get_current_revision()
    known = ScriptDirectory.from_config(_config(connection))
    if current and current not in {script.revision for script in known.walk_revisions()}:
        raise HistoryDown(
            f"Its schema {current} is of a later version of Darkroom; start that version, "
            "or downgrade the schema with it first."
        )
    return Schema(current, known.get_current_head())


def downgrade(connection: Connection, revision: str) -> None:
    """Migrate the schema back within the open transaction.

    Raise UnknownRevision for a revision that is not an earlier one, HistoryDown if the schema is of
    a later version.
    """
    current = read_schema(connection).current or ""
    script = ScriptDirectory.from_config(_config(connection))
    earlier = sorted(one.revision for one in script.walk_revisions() if one.revision < current)
    if revision not in earlier:
        known = f"use one of {', '.join(earlier)}" if earlier else "there is no earlier one"
        raise UnknownRevision(
            f"{revision} is not a schema before the present one, {current or 'none'}: {known}."
        )
    command.downgrade(_config(connection), revision)


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", "shared.history:migrations")
    config.attributes["connection"] = connection
    return config
