"""Forward proxies, as a network has one that lets nothing else out: tinyproxy and Squid."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.servers import free_port
from sandbox.subprocesses import Child
from sandbox.wait import WaitTimeout, wait_until
from tests.deploy.debian import library, program

USER, PASSWORD = "darkroom", "pass-word"
_TINYPROXY = """
Port {port}
Listen 127.0.0.1
Timeout 60
MaxClients 100
LogFile "{log}"
LogLevel Connect
BasicAuth {user} {password}
Filter "{directory}/denied"
"""
_SQUID = """
http_port 127.0.0.1:{port}
visible_hostname proxy
auth_param basic program {usr}/lib/squid/basic_ncsa_auth {directory}/passwords
auth_param basic children 1
acl known proxy_auth REQUIRED
acl denied dstdomain .denied.test
http_access deny !known
http_access deny denied
http_access allow all
cache_log {log}
debug_options ALL,1 11,2
access_log none
cache deny all
memory_cache_shared off
pid_filename none
coredump_dir none
netdb_filename none
pinger_enable off
unlinkd_program {usr}/lib/squid/unlinkd
shutdown_lifetime 0 seconds
max_filedescriptors 1024
mime_table {usr}/share/squid/mime.conf
icon_directory {usr}/share/squid/icons
error_directory {errors}
"""
_LIBRARIES = {
    "libecap.so.3": "libecap3",
    "libltdl.so.7": "libltdl7",
    "libnetfilter_conntrack.so.3": "libnetfilter-conntrack3",
    "libnfnetlink.so.0": "libnfnetlink0",
    "libtdb.so.1": "libtdb1",
}
#: The user nobody: Squid started by root takes another one, which cannot read a test's folder.
_NOBODY = ("--reuid=65534", "--regid=65534", "--clear-groups")


class ForwardProxy(ABC):
    """A proxy with its files in `directory`; it refuses hosts that end with `denied.test`."""

    def __init__(self, directory: Path) -> None:
        """Find the program; skip where there is none."""
        self.directory = directory
        self.port = free_port()
        self.log = directory / "proxy.log"
        self.child = Child(self.command(), directory / "out.log", environment=self.environment())

    @abstractmethod
    def command(self) -> list[str]:
        """Return what starts it."""

    def environment(self) -> dict[str, str]:
        """Return the environment in which it runs."""
        return {}

    @abstractmethod
    def configure(self, *, password: str = PASSWORD, upstream_port: int | None = None) -> None:
        """Write its configuration; with `upstream_port` it forwards to another proxy only."""

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

    def start(self) -> None:
        """Start it; it accepts connections when this returns."""
        self.child.start()
        try:
            wait_until(lambda: self.listens() or not self.child.alive, "the forward proxy")
        except WaitTimeout as late:
            raise WaitTimeout(f"{late}\n{self.child.said()}") from None
        assert self.child.alive, f"The forward proxy exited.\n{self.child.said()}"

    def restart(self, *, password: str = PASSWORD, upstream_port: int | None = None) -> None:
        """Restart it with another configuration."""
        if self.child.alive:
            self.child.kill()
        self.configure(password=password, upstream_port=upstream_port)
        self.start()

    def targets(self) -> set[str]:
        """Return every host:port that it was asked to connect to."""
        return set(re.findall(r"\bCONNECT (\S+:\d+) HTTP", self.log.read_text()))


class Tinyproxy(ForwardProxy):
    """tinyproxy."""

    def command(self) -> list[str]:
        tinyproxy = program("tinyproxy", "tinyproxy-bin")
        return [str(tinyproxy), "-d", "-c", str(self.directory / "configuration")]

    def configure(self, *, password: str = PASSWORD, upstream_port: int | None = None) -> None:
        (self.directory / "denied").write_text("denied\\.test$\n")
        text = _TINYPROXY.format(
            port=self.port,
            log=self.log,
            directory=self.directory,
            user=USER,
            password=password,
        )
        upstream = f"Upstream http 127.0.0.1:{upstream_port}\n" if upstream_port else ""
        (self.directory / "configuration").write_text(text + upstream)


class Squid(ForwardProxy):
    """Squid."""

    def command(self) -> list[str]:
        program("mime.conf", "squid-common")
        as_nobody = _NOBODY if os.geteuid() == 0 else ()
        squid = [str(self._usr() / "sbin/squid"), "-N", "-f", str(self.directory / "configuration")]
        return ["setpriv", *as_nobody, "--pdeathsig", "KILL", "--", *squid]

    def environment(self) -> dict[str, str]:
        found = {str(library(*names).parent) for names in _LIBRARIES.items()}
        return {"LD_LIBRARY_PATH": ":".join(found)}

    def configure(self, *, password: str = PASSWORD, upstream_port: int | None = None) -> None:
        openssl = shutil.which("openssl") or "openssl"
        hashed = subprocess.run(
            [openssl, "passwd", "-apr1", password], capture_output=True, text=True, check=True
        )
        (self.directory / "passwords").write_text(f"{USER}:{hashed.stdout}")
        text = _SQUID.format(
            port=self.port,
            log=self.log,
            directory=self.directory,
            usr=self._usr(),
            errors=program("ERR_ACCESS_DENIED", "squid-langpack").parent,
        )
        if upstream_port:
            text += f"cache_peer 127.0.0.1 parent {upstream_port} 0 no-query\n"
            text += "never_direct allow all\n"
        (self.directory / "configuration").write_text(text)

    @staticmethod
    def _usr() -> Path:
        """Return where the package was unpacked."""
        return program("basic_ncsa_auth", "squid").parents[2]


@contextmanager
def forward_proxy(kind: type[ForwardProxy] = Tinyproxy) -> Iterator[ForwardProxy]:
    """Run one; skip where there is none."""
    with tempfile.TemporaryDirectory(prefix="darkroom-proxy-") as directory:
        Path(directory).chmod(0o777)  # for the user nobody
        proxy = kind(Path(directory))
        proxy.configure()
        try:
            proxy.start()
            yield proxy
        finally:
            proxy.child.stop()
