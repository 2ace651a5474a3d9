"""`darkroom history`: the schema of the history's database.

API and workers migrate the schema when they start; an earlier version cannot use a later schema.

Exit codes: 0; 2 for invalid arguments or settings; 4 if the database is unavailable.
"""

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import cyclopts

if TYPE_CHECKING:
    from shared.history.database import Database

history = cyclopts.App(help="Show or migrate the schema of the history's database.")


@history.command
def schema() -> None:
    """Print the schema of the database and the one that this version needs."""
    from shared.history.schema import read_schema  # noqa: PLC0415  loads SQLAlchemy and Alembic

    with _database() as database, database.examining() as connection:
        found = read_schema(connection)
    sys.stdout.write(f"{found.current or 'none'}; this version needs {found.wanted}\n")


@history.command
def upgrade() -> None:
    """Migrate the schema to the one of this version, as the next process to start would."""
    with _database() as database:
        database.migrate()
    schema()


@history.command
def downgrade(revision: str, /) -> None:
    """Migrate the schema back, so that an earlier version can use the database.

    Stop every API and worker process of this version first: the next one to start migrates the
    schema again. This deletes what the earlier schema cannot hold: before 0004 the audit log,
    before 0002 the usage (Redis keeps that of the last 100 days).
    """
    with _database() as database:
        database.migrate(revision)
    schema()


@contextmanager
def _database() -> "Iterator[Database]":
    """Open the database of the settings; end the program with a sentence if that fails."""
    from cli.admin import AWAY, USAGE, end  # noqa: PLC0415
    from shared.errors import HistoryDown, InvalidSettings, UnknownRevision  # noqa: PLC0415
    from shared.history import open_database  # noqa: PLC0415
    from shared.running_stack import load_operator_settings  # noqa: PLC0415

    try:
        database = open_database(load_operator_settings(), connections=1)
        if database is None:
            end("DARKROOM_HISTORY_URL is not set: there is no history.", USAGE)
        with closing(database):
            yield database
    except (InvalidSettings, UnknownRevision) as error:
        end(str(error), USAGE)
    except HistoryDown as error:
        end(f"The history is unavailable: {error}", AWAY)
