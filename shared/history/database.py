"""The connection to the history's database: PostgreSQL, or SQLite on one machine."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    DatabaseError,
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.errors import HistoryDown, InvalidSettings
from shared.history.tables import REVISION, alembic_version

#: The number of the advisory lock under which one process migrates a PostgreSQL.
_MIGRATION_LOCK = 0x6461726B
_UNREACHABLE = (
    *(OperationalError, InterfaceError, InternalError, PoolTimeout),
    sqlite3.OperationalError,
)
#: PostgreSQL's code for a user that may not do this.
_INSUFFICIENT_PRIVILEGE = "42501"
#: PostgreSQL's class of codes for values that are too large, for example for an index.
_LIMIT_EXCEEDED = "54"
#: Between two attempts to switch a file to WAL.
_PAUSE_SECONDS = 0.02


class Database:
    """An engine; the first use migrates the schema, so a process starts without the database."""

    def __init__(
        self, url: str, *, timeout_seconds: float, connections: int, ca_bundle: str = ""
    ) -> None:
        """Take the validated URL of the settings. Raise InvalidSettings if it cannot be parsed.

        A URL with `sslmode=verify-full` or `verify-ca` and without `sslrootcert` trusts the
        authorities in the PEM file `ca_bundle`.
        """
        self.engine = _engine(url, timeout_seconds, connections, ca_bundle)
        self._is_migrated = False

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a file of this machine."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that reads. Raise HistoryDown."""
        with self._open() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction that writes, and commit it. Raise HistoryDown."""
        with self._open(writes=True) as connection:
            yield connection

    @contextmanager
    def examining(self) -> Iterator[Connection]:
        """Open a transaction that may write, without migrating the schema. Raise HistoryDown."""
        with self._open(writes=True, migrates=False) as connection:
            yield connection

    def migrate(self, revision: str | None = None) -> None:
        """Migrate the schema to that of this version, or back to an earlier `revision`.

        Raise HistoryDown, UnknownRevision.
        """
        with self._open(writes=True, migrates=False) as connection:
            self._change_schema(connection, revision)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    @contextmanager
    def _open(self, *, writes: bool = False, migrates: bool = True) -> Iterator[Connection]:
        try:
            if migrates:
                self._migrate()
            with self.engine.connect() as connection:
                connection.execution_options(writes=writes)
                with connection.begin():
                    yield connection
        except _UNREACHABLE as error:
            if _sqlstate(error).startswith(_LIMIT_EXCEEDED):
                raise
            raise HistoryDown(_reason(error)) from error
        except ProgrammingError as error:
            if _sqlstate(error) != _INSUFFICIENT_PRIVILEGE:
                raise
            raise HistoryDown(_reason(error)) from error
        except DatabaseError as error:
            # a file that is damaged or no database; the classes below say other things
            if type(error.orig) is not sqlite3.DatabaseError:
                raise
            raise HistoryDown(_reason(error)) from error

    def _migrate(self) -> None:
        """Bring the schema to this version, unless another process has done so."""
        if self._is_migrated:
            return
        with self.engine.connect() as connection:
            connection.execution_options(writes=True)
            with connection.begin():
                if not self._has_schema(connection):
                    self._change_schema(connection)
        self._is_migrated = True

    def _has_schema(self, connection: Connection) -> bool:
        if not inspect(connection).has_table(alembic_version.name):
            return False
        return connection.execute(select(alembic_version)).scalar() == REVISION

    def _change_schema(self, connection: Connection, revision: str | None = None) -> None:
        from shared.history import schema  # noqa: PLC0415  Alembic takes 0.3 s to load

        if not self.is_sqlite:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
            # to change a large table takes longer than any query may
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        if revision is None:
            schema.upgrade(connection)
        else:
            schema.downgrade(connection, revision)


def _sqlstate(error: Exception) -> str:
    """Return PostgreSQL's code of an error; empty text if it has none."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) or ""


def _reason(error: Exception) -> str:
    """Return what the driver said, on one line: it names no password."""
    said = str(error.orig if isinstance(error, DBAPIError) else error)
    return " ".join(said.split()) or type(error).__name__


def _engine(url: str, timeout_seconds: float, connections: int, ca_bundle: str) -> Engine:
    try:
        address = make_url(url)
    except ValueError as error:
        raise InvalidSettings(f"DARKROOM_HISTORY_URL is not usable: {error}.") from error
    if address.get_backend_name() == "sqlite":
        return _sqlite(url, timeout_seconds)
    if ca_bundle and str(address.query.get("sslmode", "")).startswith("verify-"):
        address = address.set(query={"sslrootcert": ca_bundle, **address.query})
    milliseconds = round(timeout_seconds * 1000)
    return create_engine(
        address.set(drivername="postgresql+psycopg"),
        hide_parameters=True,  # errors would quote prompts
        pool_size=connections,
        max_overflow=0,
        pool_timeout=timeout_seconds,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": max(2, round(timeout_seconds)),
            "options": f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds}",
            # a host that vanished is noticed within half a minute
            "tcp_user_timeout": milliseconds,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "application_name": "darkroom",
        },
    )


def _sqlite(url: str, timeout_seconds: float) -> Engine:
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": timeout_seconds})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:  # noqa: ANN401  the driver's
        # transactions begin where `begin` says so, not where the driver guesses
        connection.isolation_level = None
        # readers and the writer do not wait for each other; each commit is on disk
        _use_write_ahead_log(connection, timeout_seconds)
        connection.execute("PRAGMA synchronous=FULL")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # a transaction that first reads and then writes would fail while another writes
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _use_write_ahead_log(connection: sqlite3.Connection, timeout_seconds: float) -> None:
    """Switch a new file to WAL; SQLite refuses this at once while another process does the same."""
    ends = time.monotonic() + timeout_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > ends:
                raise
            time.sleep(_PAUSE_SECONDS)
        else:
            return
