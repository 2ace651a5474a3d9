"""The real servers that tests run against."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from minio import Minio

from sandbox.servers import free_port, s3_command, s3_environment, valkey_command
from sandbox.subprocesses import Child
from sandbox.wait import wait_for_http, wait_for_redis

ACCESS_KEY = "darkroom-tests-access"
SECRET_KEY = "darkroom-tests-secret-key"
BUCKET = "darkroom"


@dataclass(frozen=True)
class RedisServer:
    """A Valkey that can be killed, frozen and started again."""

    child: Child
    port: int

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self.child.start()
        wait_for_redis(self.port)


@dataclass(frozen=True)
class S3Server:
    """An S3 server that can be killed, frozen and started again."""

    child: Child
    port: int
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY
    bucket: str = BUCKET

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self.child.start()
        wait_for_http(f"http://{self.endpoint}/")

    def client(self) -> Minio:
        return Minio(
            self.endpoint,
            access_key=self.access_key,
            secret_key=self.secret_key,
            secure=False,
            region="us-east-1",
        )


@contextmanager
def redis_server(
    directory: Path, *options: str, environment: Mapping[str, str] | None = None
) -> Iterator[RedisServer]:
    """Run a Valkey with its data in `directory` (made if missing)."""
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = valkey_command(directory, port, *options)
    child = Child(command, directory / "log", environment=dict(environment or {}))
    with child:
        wait_for_redis(port)
        yield RedisServer(child, port)


@contextmanager
def s3_server(directory: Path, *access_keys: str) -> Iterator[S3Server]:
    """Run an S3 server with its one bucket in `directory` (made if missing).

    `access_keys` are further ones, each with SECRET_KEY.
    """
    data = directory / "data"
    data.mkdir(parents=True, exist_ok=True)
    port = free_port()
    pairs = (s3_environment(key, SECRET_KEY) for key in (ACCESS_KEY, *access_keys))
    environment = {"RCLONE_AUTH_KEY": ",".join(pair["RCLONE_AUTH_KEY"] for pair in pairs)}
    child = Child(s3_command(data, port), directory / "log", environment=environment)
    with child:
        server = S3Server(child, port)
        wait_for_http(f"http://{server.endpoint}/")
        if not server.client().bucket_exists(BUCKET):
            server.client().make_bucket(BUCKET)
        yield server
