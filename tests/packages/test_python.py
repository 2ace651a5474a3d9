"""The wheels and sdists of the service and of the client, installed where no checkout is."""

import json
import re
import tarfile
import zipfile
from pathlib import Path

import httpx
import psutil
import pytest
from PIL import Image

from sandbox.wait import wait_until
from tests.deploy.compose import ROOT
from tests.e2e.up import Up
from tests.support import uv

pytestmark = pytest.mark.xdist_group("packages")

FIRST_IMAGE_SECONDS = 90
PACKAGES = ("api", "cli", "sandbox", "shared", "worker")
#: Prints the names of all installed distributions.
_INSTALLED = (
    "import importlib.metadata as m, json; print(json.dumps([d.name for d in m.distributions()]))"
)


def test_the_wheel_of_the_service_has_every_file_of_its_packages(service_wheel: Path) -> None:
    packed = {name for name in _names(service_wheel) if ".dist-info/" not in name}

    assert packed == _sources(ROOT, *PACKAGES)


def test_the_distributions_of_the_client_have_its_files_and_its_licence(
    built: Path, client_wheel: Path
) -> None:
    [sdist] = built.glob("darkroom_client-*.tar.gz")
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    packed = {name for name in _names(client_wheel) if ".dist-info/" not in name}
    metadata = {name.partition("/")[2] for name in _names(client_wheel) - packed}

    assert packed == _sources(ROOT / "client" / "src", "darkroom")
    assert {f"src/{name}" for name in packed} | {"README.md", "LICENSE"} < inside
    assert "licenses/LICENSE" in metadata


def test_an_installed_service_generates_its_first_image_in_an_empty_folder(stack: Up) -> None:
    images = stack.data / "images"
    wait_until(lambda: any(images.iterdir()), "the first image", seconds=FIRST_IMAGE_SECONDS)
    [image] = images.iterdir()
    page = httpx.get(stack.state["api"])

    with Image.open(image) as opened:
        opened.verify()
    assert (page.status_code, "Darkroom" in page.text) == (200, True)
    assert [path for pid in stack.pids for path in _used_by(pid) if ROOT in path.parents] == []


def test_the_client_installed_alone_runs_the_first_example_of_its_readme(
    client_wheel: Path, constraints: Path, address: dict[str, str], tmp_path: Path
) -> None:
    readme = (ROOT / "client" / "README.md").read_text("utf-8")
    example = re.search(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    assert example
    client = uv.Venv(tmp_path / "venv")
    client.install("--constraint", constraints, client_wheel)
    folder = tmp_path / "empty"
    folder.mkdir()

    client.run("python", "-c", example[1], home=folder, told=address)

    with Image.open(folder / "lighthouse.webp") as image:
        image.verify()
    installed = json.loads(client.run("python", "-c", _INSTALLED, home=folder))
    assert "darkroom-client" in installed
    assert {"darkroom-service", "fastapi", "celery", "redis", "mcp"} & set(installed) == set()


@pytest.mark.slow
@pytest.mark.parametrize("resolution", ["highest", "lowest-direct"])
def test_the_ranges_of_the_wheels_are_right(
    resolution: str, service_wheel: Path, client_wheel: Path, tmp_path: Path
) -> None:
    venv = uv.Venv(tmp_path / "venv")

    venv.install("--resolution", resolution, f"{service_wheel}[embedded,tracing]", client_wheel)

    imports = "import api.main, cli.stack, worker.celery_tasks, sandbox.provider.server"
    venv.run("python", "-c", imports, home=tmp_path)
    venv.run("darkroom", "--help", home=tmp_path)


def _names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def _sources(root: Path, *folders: str) -> set[str]:
    paths = (path for folder in folders for path in (root / folder).rglob("*"))
    return {
        str(path.relative_to(root))
        for path in paths
        if path.is_file() and path.parent.name != "__pycache__"
    }


def _used_by(pid: int) -> set[Path]:
    """Return the folder, the files and the libraries that a process has open, and its arguments."""
    process = psutil.Process(pid)
    mapped = (one.path for one in process.memory_maps())
    opened = (one.path for one in process.open_files())
    return set(map(Path, (process.cwd(), *process.cmdline(), *mapped, *opened)))
