"""The distributions as they are published, and a stack that runs from nothing else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.up import Up, up
from tests.support import uv


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the wheels and the sdists."""
    folder = tmp_path_factory.mktemp("dist")
    uv.build(folder)
    return folder


@pytest.fixture(scope="session")
def service_wheel(built: Path) -> Path:
    [wheel] = built.glob("darkroom_service-*.whl")
    return wheel


@pytest.fixture(scope="session")
def client_wheel(built: Path) -> Path:
    [wheel] = built.glob("darkroom_client-*.whl")
    return wheel


@pytest.fixture(scope="session")
def constraints(built: Path) -> Path:
    """The versions of the lock file: a new version elsewhere fails no test."""
    file = built / "constraints.txt"
    uv.lock_as_constraints(file)
    return file


@pytest.fixture(scope="session")
def service(
    service_wheel: Path,
    client_wheel: Path,
    constraints: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> uv.Venv:
    venv = uv.Venv(tmp_path_factory.mktemp("service") / "venv")
    venv.install("--constraint", constraints, f"{service_wheel}[embedded]", client_wheel)
    return venv


@pytest.fixture(scope="session")
def stack(service: uv.Venv, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("empty")
    program = (str(service.bin / "darkroom"), "up")
    with up(folder / ".darkroom", program=program, home=folder) as running:
        yield running


@pytest.fixture(scope="session")
def address(stack: Up) -> dict[str, str]:
    """The service in the environment of a client."""
    return {"DARKROOM_URL": stack.state["api"], "DARKROOM_API_KEY": stack.state["api_key"]}
