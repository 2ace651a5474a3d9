"""A real S3 server on loopback, and a proxy in front that counts what is asked of it."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

from sandbox.servers import free_port
from shared.errors import StorageDown
from shared.storage.client import Bucket, Storage
from tests.integration.loopback import serving

ACCESS_KEY = "A" * 20
SECRET_KEY = "s" * 40
RCLONE = Path(sys.executable).parent / "rclone"


def bucket(port: int, *, name: str = "images", secret_key: str = SECRET_KEY) -> Bucket:
    return Bucket(f"127.0.0.1:{port}", name, ACCESS_KEY, secret_key)


@contextmanager
def running_rclone(directory: Path, *others: str) -> Iterator[int]:
    """Serve `directory` by S3; return the port once it answers.

    `others` are further access keys, each with SECRET_KEY.
    """
    port = free_port()
    log = directory.parent / "rclone.log"
    command = [str(RCLONE), "serve", "s3", "--config", "/dev/null", "--vfs-cache-mode", "off"]
    command += ["--addr", f"127.0.0.1:{port}"]
    for access_key in (ACCESS_KEY, *others):
        command += ["--auth-key", f"{access_key},{SECRET_KEY}"]
    with log.open("wb") as out, ExitStack() as stack:
        process = subprocess.Popen([*command, str(directory)], stdout=out, stderr=out)
        stack.callback(process.wait, timeout=10)
        stack.callback(process.kill)
        _wait_until_it_answers(port, process)
        yield port


def _wait_until_it_answers(port: int, process: subprocess.Popen[bytes]) -> None:
    storage = Storage(bucket(port), concurrency=1, timeout_seconds=5)
    never = Event()
    for _ in range(200):
        assert process.poll() is None, "rclone did not start"
        try:
            storage.ensure_bucket()
        except StorageDown:
            never.wait(0.05)
        else:
            storage.close()
            return
    raise AssertionError("rclone does not answer")


@contextmanager
def counting(port: int, requests: list[str]) -> Iterator[int]:
    """Pass everything on to `port`, noting each request line; return the port to use instead."""

    def script(client: socket.socket, stopped: Event) -> None:
        client.settimeout(0.2)
        with socket.create_connection(("127.0.0.1", port)) as server:
            answers = Thread(target=_pass_back, args=(server, client))
            answers.start()
            for data in _received(client, stopped):
                line = data.partition(b"\r\n")[0]
                if line.endswith(b" HTTP/1.1"):
                    requests.append(line.decode().removesuffix(" HTTP/1.1"))
                server.sendall(data)
            server.shutdown(socket.SHUT_RDWR)
            answers.join()

    with serving(script) as shown:
        yield shown


def _pass_back(server: socket.socket, client: socket.socket) -> None:
    with suppress(OSError):
        while data := server.recv(65536):
            client.sendall(data)


def _received(client: socket.socket, stopped: Event) -> Iterator[bytes]:
    while not stopped.is_set():
        with suppress(TimeoutError):
            data = client.recv(65536)
            if not data:
                return
            yield data
