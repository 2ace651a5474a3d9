"""What moving many jobs to the history costs, and what a query of many rows takes."""

import itertools
import multiprocessing
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import pytest
from sqlalchemy import Connection as SqlConnection
from sqlalchemy import Select, func, insert, literal, select, true, union_all

from sandbox.wait import wait_until
from shared.history.database import Database
from shared.history.reader import HistoryReader
from shared.history.search import DeliveryFilter, JobFilter, JobSearch
from shared.history.tables import deliveries, job_terms, jobs
from shared.history.terms import terms
from shared.history.writer import HistoryWriter
from shared.ids import JOB_PREFIX, time_letters
from shared.jobs import DeliveryState, Status
from shared.settings import inherited_environment
from shared.store import job_submission, keys
from shared.store.archive import StoredDelivery, StoredRecord
from shared.store.codec import spec_json
from shared.store.job_queries import Filter, service_stats
from shared.store.job_submission import Reused
from shared.store.run_counts import Kind, Sums
from tests.support.growth import CHUNK, delete_short_lived_keys, run_many, used, usual_spec
from tests.support.history import HistoryWorld, database_at
from tests.support.postgres import PostgresServer
from tests.support.servers import redis_server
from tests.support.store import FAR, IMAGE, World

#: Jobs that move; rows that are queried, above 100,000 a multiple of that.
JOBS = int(inherited_environment().get("HISTORY_JOBS", "20000"))
ROWS = int(inherited_environment().get("HISTORY_ROWS", "200000"))
#: Accepts that are measured while nothing moves.
ACCEPTS = 2000
#: Accepts that are not measured: the process that makes them has just started.
WARM_UP = 50
#: Rows that the archiver writes; of more, the others are copies of these.
WRITTEN = 100_000
#: Where the number in a job's id begins.
_DIGITS = len(JOB_PREFIX + time_letters(0))
TENANTS, MODELS, TAGS = 50, 4, 100
STEP_MS = 1000
START_MS = 1_700_000_000_000
_ERRORS = ("provider_down", "deadline_exceeded", "content_rejected")


def job_record(number: int) -> StoredRecord:
    """Write the record of a final job: 97 of 100 succeeded."""
    created = START_MS + number * STEP_MS
    state = {0: "failed", 1: "failed", 2: "canceled"}.get(number // TENANTS % 100, "succeeded")
    job_id = f"{JOB_PREFIX}{time_letters(created)}{number:016d}"
    record = {
        "tenant": f"t{number % TENANTS}",
        "state": state,
        "version": "6",
        "attempt": "1",
        "max_attempts": "5",
        "model": f"m{number % MODELS}",
        "spec": _spec(number),
        "tags": f"tag-{number % TAGS}",
        "created": str(created),
        "deadline": str(created + 86_400_000),
        "started": str(created + 100),
        "finished": str(created + 2000),
        "hist": "1 0 queued 0;2 100 claimed 1;3 110 calling 1;4 1200 fetching 1;6 2000 "
        + state
        + " 1",
        "calls": "1",
    }
    if state == "failed":
        record |= {"error_code": _ERRORS[number % 3], "error_message": "It failed."}
    if state == "succeeded":
        record["image"] = (
            f'{{"key":"t/2026/01/01/{job_id}-1.webp","content_type":"image/webp","width":1024,'
            f'"height":1024,"bytes":450000,"sha256":"{number:064x}","warnings":[]}}'
        )
    return StoredRecord(job_id, record, _deliveries(number, job_id))


def _deliveries(number: int, job_id: str) -> tuple[StoredDelivery, ...]:
    """Write the delivery of every tenth job: one of ten failed."""
    if number % 10 != 7:
        return ()
    at = START_MS + number * STEP_MS + 2000
    record = {
        "tenant": f"t{number % TENANTS}",
        "subject": job_id,
        "type": "job.succeeded",
        "endpoint": "ep_1",
        "host": f"host-{number % 7}",
        "state": "failed" if number % 100 == 7 else "delivered",
        "created": str(at),
        "finished": str(at + 100),
        "attempt": "1",
        "version": "6",
    }
    name = f"msg_{job_id.removeprefix(JOB_PREFIX)}"
    return (StoredDelivery(name, "https://example.com/hook", record),)


def _spec(number: int) -> str:
    """Write a spec with 23 words: most are in all prompts, one in every second of a tenant."""
    usual = usual_spec(number)
    light = ("dawn", "dusk")[number // TENANTS % 2]
    prompt = f"{usual.input['prompt']}, at {light}"
    order = {"order": f"A-{number}"}
    return spec_json(replace(usual, input={**usual.input, "prompt": prompt}, metadata=order))


def write_rows(database: Database, count: int) -> None:
    """Write so many jobs: some as the archiver does, all others as copies, which is faster."""
    writer = HistoryWriter(database)
    writer.begin()
    numbers = iter(range(min(count, WRITTEN)))
    while chunk := [job_record(number) for number in itertools.islice(numbers, 500)]:
        writer.write(chunk, [])
    if count > WRITTEN:
        _copy_rows(database, count // WRITTEN - 1)


def write_usage(database: Database) -> None:
    """Write the usage of each tenant on each of 400 days."""
    writer = HistoryWriter(database)
    writer.begin()
    kinds = [*itertools.product(range(1, 401), range(MODELS), ("failed", "succeeded"))]
    for tenant in range(TENANTS):
        writer.write_usage(
            [
                (
                    Kind(f"t{tenant}", day, status, f"m{model}", "key", (f"tag-{day % TAGS}",)),
                    Sums(10),
                )
                for day, model, status in kinds
            ]
        )


def _copy_rows(database: Database, times: int) -> None:
    """Copy all jobs, their terms and deliveries, in the database, under ids of the same times."""
    with database.writing() as connection:
        _set_no_time_limit(connection)
        for table, name in ((jobs, "id"), (job_terms, "job"), (deliveries, "id")):
            written = select(table).order_by(*table.primary_key).subquery()
            copies = union_all(
                *(select(literal(f"{one:04}").label("copy")) for one in range(1, times + 1))
            )
            number = copies.subquery().c.copy
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql(f"ALTER TABLE {table.name} SET UNLOGGED")
            columns = [
                func.substr(column, 1, _DIGITS) + number + func.substr(column, _DIGITS + 5)
                if column.name == name
                else column
                for column in written.c
            ]
            chosen = select(*columns).select_from(written).join(number.table, true())
            connection.execute(insert(table).from_select([*written.c.keys()], chosen))


def _set_no_time_limit(connection: SqlConnection) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")


def queries(reader: HistoryReader, rows: int) -> dict[str, Callable[[], object]]:
    """Return each kind of read, as the API makes it."""
    written = min(rows, WRITTEN)
    middle = job_record(written // 2)
    at = START_MS + written * STEP_MS // 2
    hour = JobSearch("t7", Filter(created_after=at, created_before=at + 3_600_000)).archived()
    assert hour is not None
    tag = terms(tags=["tag-7"])
    seed = terms(seed=usual_spec(57).input["seed"])
    common, half, rare = (terms(prompt_words=[word]) for word in ("bicycle", "dawn", "57"))

    def page(**wanted: Any) -> Callable[[], object]:
        return lambda: reader.jobs(JobFilter("t7", **wanted), 50)

    def page_of_all(**wanted: Any) -> Callable[[], object]:
        return lambda: reader.jobs(JobFilter("", **wanted), 50)

    return {
        "get": lambda: reader.job(middle.id, middle.record["tenant"]),
        "first page": page(),
        "deep page": page(before=middle.id),
        "by status": page(statuses=frozenset({Status.FAILED})),
        "by error code": page(error_code="content_rejected"),
        "by tag": page(terms=tag),
        "by metadata": page(terms=terms(metadata={"order": "A-57"})),
        "by seed": page(terms=seed),
        "by a common word": page(terms=common),
        "by a rare word": page(terms=rare),
        "by two words": page(terms=common + rare),
        "by two common words": page(terms=common + half),
        "by words never together": page(terms=half + terms(prompt_words=["dusk"])),
        "by word and status": page(terms=common, statuses=frozenset({Status.FAILED})),
        "by word, deep page": page(terms=common, before=middle.id),
        "by model": page(model="m3"),
        "by time": lambda: reader.jobs(hour, 50),
        "by batch": page(batch_id="batch_none"),
        "all: first page": page_of_all(),
        "all: by status": page_of_all(statuses=frozenset({Status.CANCELED})),
        "all: by error code": page_of_all(error_code="provider_down"),
        "all: by tag": page_of_all(terms=tag),
        "all: by seed": page_of_all(terms=seed),
        "all: by a common word": page_of_all(terms=common),
        "all: by two words": page_of_all(terms=common + rare),
        "deliveries": lambda: reader.deliveries(DeliveryFilter("t7"), 50),
        "failed deliveries": lambda: reader.deliveries(
            DeliveryFilter("t7", state=DeliveryState.FAILED), 50
        ),
        "reuse": lambda: reader.reusable("t7", "no such request", 20),
        "usage": lambda: reader.usage("t7", first=1, last=400, by=["day", "tags"]),
        "usage of a month": lambda: reader.usage("t7", first=1, last=31, by=["model"]),
        "all: usage of a month": lambda: reader.usage("", first=1, last=31, by=["tenant", "day"]),
    }


class Explained(HistoryReader):
    """A reader that keeps how the database would answer."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.plans: list[str] = []

    def _rows(self, wanted: Select[Any]) -> list[dict[str, Any]]:
        with self._database.reading() as connection:
            self.plans.append(_plan(connection, wanted, self._database.is_sqlite))
        return super()._rows(wanted)


def _plan(connection: SqlConnection, wanted: Select[Any], is_sqlite: bool) -> str:  # noqa: FBT001
    compiled = wanted.compile(connection, compile_kwargs={"render_postcompile": True})
    if not is_sqlite:
        # a table this small would be read whole
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
    explain = "EXPLAIN QUERY PLAN " if is_sqlite else "EXPLAIN "
    parameters: Any = (
        compiled.params
        if not is_sqlite
        else tuple(compiled.params[name] for name in compiled.positiontup or ())
    )
    rows = connection.exec_driver_sql(explain + str(compiled), parameters)
    return "\n".join(str(row[-1]) for row in rows)


def test_each_read_uses_an_index(history_url: str) -> None:
    database = database_at(history_url)
    write_rows(database, 1000)
    reader = Explained(database)
    for kind, read in queries(reader, 1000).items():
        reader.plans.clear()
        read()
        for plan in reader.plans:
            whole = [line for line in plan.splitlines() if _reads_whole(line)]
            assert whole == [], f"{kind}: {plan}"
    database.close()


def _reads_whole(line: str) -> bool:
    """Return whether a step reads a table and not an index; SQLite walks one by `SCAN … USING`."""
    is_subquery = line.startswith(("SCAN anon", "SCAN CONSTANT ROW"))
    is_scan = line.startswith("SCAN") and "USING" not in line and not is_subquery
    return "Seq Scan" in line or is_scan


@pytest.mark.parametrize("is_analyzed", [False, True])
def test_a_page_by_a_term_is_read_in_the_order_of_its_index(
    history_url: str,
    is_analyzed: bool,  # noqa: FBT001
) -> None:
    database = database_at(history_url)
    write_rows(database, 1000)
    if is_analyzed:
        with database.writing() as connection:
            connection.exec_driver_sql("ANALYZE")
    reader = Explained(database)
    tag, order, red = terms(tags=["tag-7"], metadata={"order": "A-7"}, prompt_words=["red"])
    for wanted in (
        JobFilter("t7", terms=(tag,)),
        JobFilter("t7", terms=(tag, red, order)),
        JobFilter("t7", terms=(tag, red), before=job_record(900).id),
    ):
        reader.plans.clear()
        reader.jobs(wanted, 50)
        plan = reader.plans[-1]
        assert "Sort" not in plan, plan
        assert "TEMP B-TREE" not in plan, plan
        reads = [line for line in plan.splitlines() if re.search(r"(on|SEARCH) job_terms", line)]
        assert all("PRIMARY KEY" in line or "job_terms_pkey" in line for line in reads), plan
    database.close()


def test_a_page_by_an_error_code_reads_no_job_of_another_tenant(history_url: str) -> None:
    database = database_at(history_url)
    write_rows(database, 1000)
    with database.writing() as connection:
        connection.exec_driver_sql("ANALYZE")
    reader = Explained(database)

    found = reader.jobs(JobFilter("t7", error_code="provider_down"), 50)

    assert {(job.tenant, job.error_code) for job in found} == {("t7", "provider_down")}
    assert "jobs_of_tenant_by_error" in reader.plans[-1], reader.plans[-1]
    database.close()


def test_postgresql_reads_a_page_by_a_word_and_a_rare_status_by_the_status(
    postgres: PostgresServer,
) -> None:
    database = database_at(postgres.create("history"))
    write_rows(database, 1000)
    reader = Explained(database)
    (red,) = terms(prompt_words=["red"])
    unsuccessful = frozenset({Status.FAILED, Status.CANCELED})

    found = reader.jobs(JobFilter("t7", terms=(red,), statuses=unsuccessful), 50)
    assert [job.id for job in found] == [job_record(number).id for number in (107, 57, 7)]
    assert "jobs_by_status" in reader.plans[-1], reader.plans[-1]

    found = reader.jobs(JobFilter("", terms=(red,), statuses=unsuccessful), 50)
    assert len(found) == 50
    assert "jobs_of_all_by_status" in reader.plans[-1], reader.plans[-1]
    database.close()


@pytest.fixture
def history(tmp_path: Path, history_url: str) -> Iterator[HistoryWorld]:
    with redis_server(tmp_path / "valkey", "--maxmemory", "0") as server:
        history = HistoryWorld(server.url, history_url, max_queue=10**9)
        yield history
        history.close()


def accept_until(redis_url: str, end: Connection) -> None:
    """Accept a job every 5 ms until `end` is read; then send how long each took, in milliseconds.

    It has a process of its own, as the API has: the archiver does not hold its interpreter.
    """
    world = World(redis_url, max_queue=10**9)
    took = []
    while not end.poll(0.005):
        began = time.perf_counter()
        world.accept("accepting")
        took.append((time.perf_counter() - began) * 1000)
    end.send(took)
    world.close()


def measured(world: World, work: Callable[[], object]) -> list[float]:
    """Return the times of accepts in milliseconds while `work` is done."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=accept_until, args=(world.settings.redis_url, there))
    process.start()
    try:
        _wait_for_accepts(world, WARM_UP)
        work()
    finally:
        here.send("end")
        took: list[float] = here.recv()
        process.join()
    return took[WARM_UP:]


def _wait_for_accepts(world: World, count: int) -> None:
    tenant_jobs = keys.tenant_jobs("accepting")
    most = world.client.zcard(tenant_jobs) + count
    wait_until(lambda: world.client.zcard(tenant_jobs) >= most, "accepts", seconds=300)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_jobs_move_at_a_steady_pace_and_accepting_goes_on(
    history: HistoryWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    world = history.world
    empty = used(world)
    _finish(world, JOBS)
    full, due = used(world), world.client.zcard(keys.archive_due())
    alone = measured(world, lambda: _wait_for_accepts(world, ACCEPTS))
    for start in range(0, due, 10_000):
        ids = world.client.zrange(keys.archive_due(), start, start + 9_999)
        world.client.zadd(keys.archive_due(), {str(job_id): 1 for job_id in ids})
    began = time.monotonic()

    def move() -> None:
        while history.archiver.archive():
            pass

    beside = measured(world, move)
    seconds = time.monotonic() - began
    delete_short_lived_keys(world)
    with history.database.reading() as connection:
        rows = connection.exec_driver_sql("SELECT count(*) FROM jobs").scalar()
    assert rows == due == JOBS
    left = used(world)
    with capsys.disabled():
        kind = "SQLite" if history.database.is_sqlite else "PostgreSQL"
        print(  # noqa: T201
            f"\n{kind}: {JOBS} jobs in {seconds:.0f} s, {JOBS / seconds:.0f} jobs/s; Redis "
            f"{empty / 1e6:.1f} MB empty, {full / 1e6:.1f} MB before, {left / 1e6:.1f} MB after "
            f"with {len(alone) + len(beside)} queued jobs; "
            f"accept p50 {median(alone):.1f} ms, p99 {_p99(alone):.1f} ms alone, "
            f"{median(beside):.1f} ms and {_p99(beside):.1f} ms beside"
        )


def _finish(world: World, count: int) -> None:
    """Make so many succeeded jobs, each by one call, and without waiting for the disk.

    They reuse images, so that no worker is needed; the archiver moves them as all others.
    """
    world.store.run(service_stats())  # Redis knows the functions from here on
    world.client.config_set("appendfsync", "everysec")
    for start in range(0, count, CHUNK):
        numbers = range(start, min(start + CHUNK, count))
        images = {one: replace(IMAGE, key=f"t/2026/01/01/{one}-1.webp") for one in numbers}
        # where a request that reuses an image puts the copy before it is accepted
        copies = dict.fromkeys((image.key for image in images.values()), FAR)
        world.client.zadd(keys.object_deletions(), copies)
        made = [
            world.new_job(
                f"t{number % TENANTS}",
                spec=usual_spec(number),
                reused=Reused(f"{JOB_PREFIX}source", image),
            )
            for number, image in images.items()
        ]
        run_many(world, [job_submission.accept(job, not_after_ms=FAR) for job in made])
    world.client.config_set("appendfsync", "always")


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_a_query_of_many_rows(history_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    database = database_at(history_url)
    began = time.monotonic()
    write_rows(database, ROWS)
    write_usage(database)
    seconds = time.monotonic() - began
    with database.writing() as connection:
        _set_no_time_limit(connection)
        connection.exec_driver_sql("ANALYZE")
    reader = HistoryReader(database)
    lines = [f"{'SQLite' if database.is_sqlite else 'PostgreSQL'}, {ROWS} rows in {seconds:.0f} s"]
    for kind, read in queries(reader, ROWS).items():
        took = []
        for _ in range(200):
            at = time.perf_counter()
            read()
            took.append((time.perf_counter() - at) * 1000)
        lines.append(f"{kind:<24}{median(took):>9.2f} ms p50{_p99(took):>9.2f} ms p99")
    with capsys.disabled():
        print("\n" + "\n".join(lines))  # noqa: T201
    with database.writing() as connection:
        _set_no_time_limit(connection)
        assert connection.exec_driver_sql("SELECT count(*) FROM jobs").scalar() == ROWS
    database.close()


def _p99(times: list[float]) -> float:
    return quantiles(times, n=100)[98]
