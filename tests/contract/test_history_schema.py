"""The schema of the history: migrations, and what they do with rows that are there."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from shared.errors import HistoryDown
from shared.history.reader import HistoryReader
from shared.history.schema import downgrade, read_schema, upgrade
from shared.history.tables import REVISION, metadata
from shared.history.writer import HistoryWriter
from tests.contract.test_history_growth import job_record, write_rows
from tests.support.history import database_at


def test_two_processes_bring_a_new_database_to_its_schema_at_once(history_url: str) -> None:
    databases = [database_at(history_url) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        found = threads.map(lambda one: HistoryReader(one).job("job_x", ""), databases)
        assert [*found] == [None] * 4
    for database in databases:
        database.close()


@pytest.mark.parametrize("damage", [b"this is no database", b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_file_that_is_damaged_is_a_history_that_is_down(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "history.db").write_bytes(damage)
    database = database_at(f"sqlite:///{tmp_path}/history.db")
    with pytest.raises(HistoryDown, match="not a database"):
        HistoryReader(database).job("job_x", "")
    database.close()


def test_the_migrations_make_the_tables_that_the_code_names(history_url: str) -> None:
    database = database_at(history_url)
    with database.writing() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, metadata) == []
        downgrade(connection, "0001")
        upgrade(connection)
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert read_schema(connection).wanted == REVISION
    database.close()


def test_a_migration_writes_the_terms_of_the_jobs_that_are_there(history_url: str) -> None:
    database = database_at(history_url)
    # more than it reads at once
    write_rows(database, 700)

    def rows(connection: Connection, table: str) -> set[tuple[str, ...]]:
        found = connection.exec_driver_sql(f"SELECT * FROM {table}")  # noqa: S608
        return {tuple(row) for row in found}

    with database.writing() as connection:
        written = rows(connection, "job_terms")
        downgrade(connection, "0002")
        assert rows(connection, "job_tags") == {
            (job.record["tags"], job.record["tenant"], job.id)
            for job in map(job_record, range(700))
        }
        upgrade(connection)
        assert rows(connection, "job_terms") == written
    assert len(written) == 700 * 26
    database.close()


def test_a_migration_writes_the_served_models_of_the_jobs_that_are_there(history_url: str) -> None:
    database = database_at(history_url)
    fallback = job_record(700)
    served_by_another = {"models": f"requested {fallback.record['model']}"}
    # more than it reads at once
    write_rows(database, 700)
    writer = HistoryWriter(database)
    writer.begin()
    writer.write([replace(fallback, record=fallback.record | served_by_another)], [])

    def served(connection: Connection) -> dict[str, tuple[str, str]]:
        found = connection.exec_driver_sql("SELECT id, model, served_model FROM jobs")
        return {row[0]: (row[1], row[2]) for row in found}

    with database.writing() as connection:
        written = served(connection)
        downgrade(connection, "0004")
        upgrade(connection)
        assert served(connection) == written
    assert len(written) == 701
    assert written[fallback.id] == ("requested", fallback.record["model"])
    database.close()


def test_a_deleted_job_leaves_no_term(history_url: str) -> None:
    database = database_at(history_url)
    write_rows(database, 3)
    writer = HistoryWriter(database)
    writer.begin()
    writer.delete([job_record(0).id, job_record(2).id])
    with database.reading() as connection:
        left = connection.exec_driver_sql("SELECT DISTINCT job FROM job_terms").scalars().all()
    assert left == [job_record(1).id]
    database.close()


def test_a_schema_of_a_later_version_is_refused_with_a_sentence(history_url: str) -> None:
    database = database_at(history_url)
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    other = database_at(history_url)
    with pytest.raises(HistoryDown, match="later version of Darkroom"), other.reading():
        pass
    database.close()
    other.close()
