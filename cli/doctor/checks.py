"""One check for each thing the service depends on; each yields its findings."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from email.utils import parsedate_to_datetime
from pathlib import Path
from uuid import uuid4

import httpx
import redis

from cli.doctor.finding import Finding, guarded
from cli.doctor.service import examine_service
from shared.celery_app import QueueName, build_celery, build_scripts
from shared.errors import HistoryDown, JobError, ObjectMissing, ProviderAuth
from shared.history import open_database, schema
from shared.history.database import Database
from shared.net.egress_check import EgressCheck
from shared.net.http_client import build_client
from shared.net.sockets import Egress, tls_context
from shared.net.timeouts import deadline
from shared.provider_keys import KeySource, ProviderKey
from shared.sealing import Seal
from shared.settings import Settings, misspelt
from shared.storage.client import Storage
from shared.storage.object_names import object_name
from shared.store import keys
from shared.store.client import Store
from shared.store.connection import connect
from shared.store.health import health_problems
from shared.store.maintenance import live_threads
from shared.store.prices import read_prices
from shared.store.provider_keys import read_stored_keys
from shared.store.schema_version import incompatibility
from worker.key_pool import KeyPool
from worker.lifecycle import CLOCK_SECONDS
from worker.provider.client import OneMin

_SECTIONS = ("memory", "persistence", "replication", "cluster")
_SECONDS = 5.0
_STORED_KEYS = "stored provider keys"


def examine(settings: Settings) -> Iterator[Finding]:
    """Run every check; one that fails does not stop the others."""
    yield from _names()
    with connect(settings, connections=1) as client:
        yield from guarded("redis", _REDIS, lambda: _redis(client))
        yield from guarded("clock of redis", _REDIS, lambda: _redis_clock(client))
        yield from guarded("workers", _REDIS, lambda: _workers(client))
        store = Store(client, build_scripts(settings, build_celery(settings)))
        yield from guarded("service", _REDIS, lambda: examine_service(store, read_prices(client)))
        yield from guarded(_STORED_KEYS, _REDIS, lambda: _stored_keys(store, settings))
    yield from guarded("history", _HISTORY, lambda: _history(settings))
    yield from guarded("egress proxy", _PROXY, lambda: _egress_proxy(settings))
    yield from guarded("storage", _STORAGE, lambda: _storage(settings))
    yield from guarded("clock of storage", _STORAGE, lambda: _storage_clock(settings))
    yield from guarded("provider", _KEY, lambda: _provider(settings))
    yield from guarded("api", _API, lambda: _api(settings))


_REDIS = "Start Redis, or set DARKROOM_REDIS_URL to its address."
_HISTORY = (
    "Start the database, or correct DARKROOM_HISTORY_URL. Its user must be able to create tables "
    "in "
    "the database. Final jobs stay in Redis until the database is writable."
)
_STORAGE = (
    "Check DARKROOM_S3_ENDPOINT, …_S3_BUCKET (it must exist), …_S3_ACCESS_KEY and …_S3_SECRET_KEY, "
    "and that this access key may put, get and delete objects."
)
_PROXY = (
    "Repair the proxy, or correct DARKROOM_EGRESS_PROXY. It must connect to 1min.ai and to the "
    "storage."
)
_API = "Start the API, or set DARKROOM_PUBLIC_URL to the URL that clients use."
_CLOCK = "Correct the clock of this machine or of {}: signatures with a wrong time are refused."


def _names() -> Iterator[Finding]:
    for name, meant in misspelt().items():
        yield Finding(
            "settings",
            well=False,
            message=f"{name} is not a setting.",
            advice=f"Did you mean {meant}?",
        )


def _redis(client: "redis.Redis") -> Iterator[Finding]:
    facts: dict[str, object] = {}
    for section in _SECTIONS:
        facts |= client.info(section)
    reported = True
    try:
        facts["appendfsync"] = client.config_get("appendfsync").get("appendfsync", "")
    except redis.ResponseError:
        reported = False  # managed services disable CONFIG
    facts["schema"] = client.get(keys.schema())
    wrong = health_problems(facts)
    for sentence in wrong:
        is_schema = sentence == incompatibility(facts["schema"])
        advice = (
            "See Upgrades in docs/operating.md."
            if is_schema
            else "Correct the settings of Redis, then restart it."
        )
        yield Finding("redis", well=False, message=sentence, advice=advice)
    if not wrong:
        hidden = "" if reported else " It does not report appendfsync: check that it is `always`."
        yield Finding("redis", well=True, message=f"Writes are durable.{hidden}")


def _redis_clock(client: "redis.Redis") -> Iterator[Finding]:
    seconds, micros = client.time()
    yield _clock("redis", float(seconds) + float(micros) / 1e6)


def _workers(client: "redis.Redis") -> Iterator[Finding]:
    living = live_threads(client)
    for queue in QueueName:
        threads = living.get(queue.value, 0)
        yield Finding(
            "workers",
            well=threads > 0,
            message=f"{threads} threads serve the queue {queue.value}.",
            advice=f"Start one: darkroom worker {queue.value}",
        )


def _history(settings: Settings) -> Iterator[Finding]:
    """Check the database without creating or migrating it."""
    database = open_database(settings, connections=1)
    if database is None:
        days = settings.record_seconds / 86_400
        message = f"DARKROOM_HISTORY_URL is not set: final jobs are deleted after {days:g} days."
        yield Finding("history", well=True, message=message)
        return
    with closing(database):
        yield _history_file(database) or _history_schema(database)


def _history_file(database: Database) -> Finding | None:
    """Return what is missing of an SQLite database: opening it would create the file."""
    path = Path(database.engine.url.database or "")
    if not database.is_sqlite or path.is_file():
        return None
    if not path.parent.is_dir():
        message = f"The folder {path.parent} does not exist."
        advice = "Create the folder; it must belong to the user that runs the API and the workers."
    else:
        message = f"The file {path} does not exist yet."
        advice = "Start a worker: it creates the file."
    return Finding("history", well=False, message=message, advice=advice)


def _history_schema(database: Database) -> Finding:
    try:
        with database.examining() as connection:
            found = schema.check(connection)
    except HistoryDown as error:
        return Finding("history", well=False, message=str(error), advice=_HISTORY)
    if found.current == found.wanted:
        message = f"The database is writable; its schema is {found.current}."
        return Finding("history", well=True, message=message)
    present = f"Its schema is {found.current}" if found.current else "It has no schema yet"
    return Finding(
        "history",
        well=False,
        message=f"{present}; this version needs {found.wanted}.",
        advice="Start a worker of this version: it migrates the schema.",
    )


def _egress_proxy(settings: Settings) -> Iterator[Finding]:
    if settings.egress_proxy.get_secret_value():
        failure = EgressCheck.from_settings(settings).failure()
        message = failure or "The egress proxy works."
        yield Finding("egress proxy", well=not failure, message=message, advice=_PROXY)


def _storage(settings: Settings) -> Iterator[Finding]:
    storage = Storage.from_settings(settings, concurrency=1)
    now_ms = int(time.time() * 1000)
    key = object_name(
        "doctor", uuid4().hex, created_at_ms=now_ms, call=0, prefix=settings.s3_prefix
    )
    data = uuid4().bytes
    digest = hashlib.sha256(data).hexdigest()
    storage.put(key, data, content_type="image/webp", sha256=digest, job_id="doctor")
    with storage.read(key) as stored:
        came = b"".join(stored)
    storage.delete([key])
    try:
        with storage.read(key):
            gone = False
    except ObjectMissing:
        gone = True
    well = came == data and gone
    message = (
        "A test object was written, read and deleted."
        if well
        else "A test object was not read back as written."
    )
    yield Finding("storage", well=well, message=message, advice=_STORAGE)


def _storage_clock(settings: Settings) -> Iterator[Finding]:
    scheme = "https" if settings.s3_secure else "http"
    with build_client(
        concurrency=1, timeout_seconds=_SECONDS, egress=Egress.from_settings(settings)
    ) as client:
        answer = client.get(f"{scheme}://{settings.s3_endpoint}/")
    reported = answer.headers.get("date")
    if reported:
        yield _clock("storage", parsedate_to_datetime(reported).timestamp())


def _clock(whose: str, reported: float) -> Finding:
    off = time.time() - reported
    return Finding(
        f"clock of {whose}",
        well=abs(off) <= CLOCK_SECONDS,
        message=f"This machine's clock is {abs(off):.1f} s {'ahead' if off > 0 else 'behind'}.",
        advice=_CLOCK.format(whose),
    )


def _provider(settings: Settings) -> Iterator[Finding]:
    """Check each key of the environment."""
    if not settings.onemin_keys and not settings.seal_key_texts:
        yield Finding("provider", well=False, message="No provider key is set.", advice=_KEY)
    yield from _check_keys("provider", settings, settings.onemin_keys, _KEY)


def _stored_keys(store: Store, settings: Settings) -> Iterator[Finding]:
    """Check each key that operators have added."""
    seal, found = Seal.of(settings.seal_key_texts), store.run(read_stored_keys())
    pool = KeyPool(settings.onemin_keys, seal)
    pool.update(found)
    if settings.seal_key_texts and not pool.keys and not pool.unreadable:
        yield Finding(_STORED_KEYS, well=False, message="No provider key is set.", advice=_KEY)
    for key_id in pool.unreadable:
        message = f"The stored key {key_id} cannot be opened with DARKROOM_SEAL_KEYS."
        yield Finding(_STORED_KEYS, well=False, message=message, advice=_SEALED)
    old = [key.id for key in found if seal and not seal.is_current(key.sealed)]
    for key_id in sorted(set(old) - set(pool.unreadable)):
        message = (
            f"The stored key {key_id} is not sealed with the first of DARKROOM_SEAL_KEYS: run "
            "`darkroom provider-keys reseal` before you remove the others."
        )
        yield Finding(_STORED_KEYS, well=True, message=message)
    stored = [key for key in pool.keys if key.source is KeySource.STORED]
    yield from _check_keys(_STORED_KEYS, settings, stored, _STORED)


def _check_keys(
    check: str, settings: Settings, pool: Sequence[ProviderKey], advice: str
) -> Iterator[Finding]:
    """Check keys with a request that costs nothing."""
    with closing(OneMin.from_settings(settings)) as provider:
        for key in pool:
            yield _check_key(check, provider, key, advice)


def _check_key(check: str, provider: OneMin, key: ProviderKey, advice: str) -> Finding:
    name = f"Key {key.id} ({key.masked})"
    try:
        with deadline(_SECONDS):
            provider.check_key(key.secret)
    except ProviderAuth as error:
        return Finding(check, well=False, message=f"{name} is rejected ({error}).", advice=advice)
    except JobError as error:
        message = f"{name} could not be checked ({error})."
        return Finding(check, well=False, message=message, advice=_PROVIDER)
    return Finding(check, well=True, message=f"{name} works.")


_KEY = (
    "Set a valid key of 1min.ai in DARKROOM_ONEMIN_API_KEY, or add one with "
    "`darkroom provider-keys add`."
)
_STORED = "Add a valid key with `darkroom provider-keys add`, and remove this one."
_SEALED = (
    "Set DARKROOM_SEAL_KEYS to the value that the workers have, or add the key again with "
    "`darkroom provider-keys add`."
)
_PROVIDER = "Check that this machine can reach DARKROOM_ONEMIN_BASE_URL; the provider may be down."


def _api(settings: Settings) -> Iterator[Finding]:
    trusted = tls_context(settings.ca_bundle)
    url = f"{settings.public_url}/readyz"
    # as every connection of the service, without HTTP_PROXY
    answer = httpx.get(url, timeout=_SECONDS, verify=trusted, trust_env=False)
    if answer.is_success:
        yield Finding("api", well=True, message=f"Ready at {settings.public_url}.")
        return
    detail = answer.json().get("detail") if "json" in answer.headers.get("content-type", "") else ""
    message = f"{url} responds with status {answer.status_code}. {detail}".rstrip()
    yield Finding("api", well=False, message=message, advice=_API)
