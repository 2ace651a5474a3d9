"""tinyproxy, the forward proxy, as a network has one that lets nothing else out."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox.servers import free_port
from sandbox.subprocesses import Child
from sandbox.wait import wait_until
from tests.deploy.debian import program

USER, PASSWORD = "darkroom", "pass-word"
_CONFIGURATION = """
Port {port}
Listen 127.0.0.1
Timeout 60
MaxClients 100
LogFile "{log}"
LogLevel Connect
PidFile "{pid}"
BasicAuth {user} {password}
Filter "{denied}"
"""


@dataclass(frozen=True)
class ForwardProxy:
    """A running proxy; it refuses hosts that contain `denied.test`."""

    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://{USER}:{PASSWORD}@127.0.0.1:{self.port}"

    def listens(self) -> bool:
        """Return whether it accepts connections."""
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except OSError:
            return False
        return True

    def targets(self) -> set[str]:
        """Return every host:port that it was asked to connect to."""
        lines = self.log.read_text().splitlines()
        asked = (line.partition(": CONNECT ")[2] for line in lines)
        return {line.partition(" ")[0] for line in asked if line}


@contextmanager
def forward_proxy(directory: Path) -> Iterator[ForwardProxy]:
    """Run one with its files in `directory`; skip where there is none."""
    tinyproxy = program("tinyproxy", "tinyproxy-bin")
    directory.mkdir(exist_ok=True)
    proxy = ForwardProxy(free_port(), directory / "proxy.log")
    denied, configuration = directory / "denied", directory / "tinyproxy.conf"
    denied.write_text("denied\\.test\n")
    configuration.write_text(
        _CONFIGURATION.format(
            port=proxy.port,
            log=proxy.log,
            pid=directory / "pid",
            user=USER,
            password=PASSWORD,
            denied=denied,
        )
    )
    command = [str(tinyproxy), "-d", "-c", str(configuration)]
    with Child(command, directory / "out.log", environment={}):
        wait_until(proxy.listens, "the forward proxy")
        yield proxy
