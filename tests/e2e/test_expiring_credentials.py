"""Credentials of the storage that expire again and again under a whole service: no job fails.

One worker gets them by the role of an instance, as the API does, and the other by a web identity
whose token is replaced all the time.
"""

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from minio import Minio
from minio.error import S3Error

from sandbox.wait import wait_until
from shared.jobs import State
from tests.support.cluster import Api, Cluster, WorkerProcess, fleet
from tests.support.lying_storage import Liar, lying_before
from tests.support.servers import SECRET_KEY
from tests.support.store import World
from tests.support.token_service import TokenService, refusing_expired, token_service

pytestmark = pytest.mark.xdist_group("expiring-credentials")

KEYS = [f"TEMPORARY{number}".ljust(20, "X") for number in range(2_000)]
#: The minio client uses none for their last ten seconds, so they are replaced every three.
LIFE_SECONDS = 13
CLIENTS = 8
METHODS = ("GET", "PUT", "HEAD", "POST", "DELETE")


@dataclass
class Expiring:
    """A service, what gives it credentials, and the storage that judges them."""

    here: Cluster
    credentials: TokenService
    storage: Liar
    token: Path
    api: Api
    workers: list[WorkerProcess]

    def requests(self, *, web_identity: bool) -> list[str]:
        """Return the requests for credentials of one of both kinds."""
        paths = [path for path, _ in list(self.credentials.requests)]
        return [path for path in paths if ("WebIdentityToken" in path) is web_identity]


@pytest.fixture
def expiring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Expiring]:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "WEB_IDENTITY_TOKEN_FILE", "PROFILE"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    token = tmp_path / "token"
    token.write_text("token-0")
    with (
        token_service(TokenService(list(KEYS), SECRET_KEY, LIFE_SECONDS)) as service,
        fleet(tmp_path / "fleet", s3_access_keys=KEYS) as here,
        lying_before(here.s3) as storage,
    ):
        for method in METHODS:
            storage.lie(method, refusing_expired(service))
        here.changes |= {"s3_credentials": "aws", "s3_endpoint": storage.server.endpoint}
        here.provider.behave(latency_seconds=0.1)
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.url)
        api, by_role = here.api(), here.worker("generate")
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
        monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/darkroom")
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", service.url)
        workers = [by_role, here.worker("generate")]
        yield Expiring(here, service, storage, token, api, workers)


class Load:
    """Clients that ask for one image after the other and read each, until there are enough."""

    def __init__(self, expiring: Expiring) -> None:
        self.expiring = expiring
        self.done: list[str] = []
        self._enough = threading.Event()
        self._numbers = itertools.count()

    def run(self, *, jobs: int, expired: int) -> None:
        """Ask until so many jobs are done and so many credentials have expired."""
        given = self.expiring.credentials

        def is_enough() -> bool:
            self._replace_token()
            assert not any(client.done() for client in clients)
            return len(self.done) >= jobs and len(given.expired()) >= expired

        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(self._ask) for _ in range(CLIENTS)]
            try:
                wait_until(is_enough, f"{jobs} jobs, {expired} expired", seconds=800, pause=0.2)
            finally:
                self._enough.set()
                for client in clients:
                    client.result()

    def _ask(self) -> None:
        expiring = self.expiring
        with expiring.here.client(expiring.api.url) as http:
            while not self._enough.is_set():
                prompt = f"Expiring credentials, image {next(self._numbers)}"
                body = {"input": {"prompt": prompt, "megapixels": "0.25"}}
                job = http.post("/v1/jobs", json=body).raise_for_status().json()
                while job["status"] in {"queued", "running"}:
                    job = http.get(f"/v1/jobs/{job['id']}", params={"wait": 60}).json()
                self.done.append(job["id"])
                http.get(f"/v1/jobs/{job['id']}/image").raise_for_status()

    def _replace_token(self) -> None:
        new = self.expiring.token.with_name("new")
        new.write_text(f"token-{next(self._numbers)}")
        new.replace(self.expiring.token)


@pytest.mark.parametrize(
    ("jobs", "expired"),
    [(200, 6), pytest.param(5_000, 100, marks=pytest.mark.long)],
    ids=["hundreds of jobs", "thousands of jobs"],
)
@pytest.mark.timeout(900)
def test_no_job_fails_while_credentials_expire_and_are_replaced(
    expiring: Expiring, jobs: int, expired: int
) -> None:
    load = Load(expiring)
    load.run(jobs=jobs, expired=expired)

    with closing(World(expiring.here.redis.url)) as world:
        ended = [world.read(one, "").job for one in load.done]
    assert {job.state for job in ended} == {State.SUCCEEDED}
    paid = [call["prompt"] for call in expiring.here.provider.calls() if call["paid"]]
    assert sorted(paid) == sorted(job.spec.input["prompt"] for job in ended)
    expiring.here.settled(load.done, [], expiring.api, *expiring.workers)
    # two processes by the role of the instance, one by the web identity
    by_role, by_token = expiring.requests(web_identity=False), expiring.requests(web_identity=True)
    assert min(len(by_role) / 2, len(by_token)) > expired / 3, (by_role, by_token)
    assert len(set(by_token)) == len(by_token), "a token was used twice"
    # a process that stands still for ten seconds may come late with one
    assert len(expiring.credentials.refused) <= expired // 3
    assert_refused(expiring, next(iter(expiring.credentials.expires_at)))


def assert_refused(expiring: Expiring, access_key: str) -> None:
    """Show that the storage refuses credentials that a process had."""
    client = Minio(
        expiring.storage.server.endpoint,
        access_key=access_key,
        secret_key=SECRET_KEY,
        secure=False,
        region="us-east-1",
    )
    with pytest.raises(S3Error, match="ExpiredToken"):
        client.list_buckets()
