"""The files of a release: one version everywhere, its notes, and workflows of the right form."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy import sbom, version
from tests.deploy.compose import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the files that name the version."""
    for name in (*version.PLACES, "CHANGELOG.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_every_file_names_the_same_version() -> None:
    others = {name for name, number in version.versions() if number != version.version()}

    assert others == set()


def test_a_new_version_is_written_into_every_file(tree: Path) -> None:
    version.write("12.3.45", tree)

    assert {number for _, number in version.versions(tree)} == {"12.3.45"}


@pytest.mark.parametrize("number", ["1.2", "v1.2.3", "1.2.3rc1", ""])
def test_what_is_no_version_is_refused(number: str, tree: Path) -> None:
    with pytest.raises(version.WrongVersion):
        version.write(number, tree)

    assert version.version(tree) == version.version()


def test_the_notes_of_a_release_are_its_section_of_the_changelog(tree: Path) -> None:
    changelog = tree / "CHANGELOG.md"
    version.write("0.2.0", tree)
    changelog.write_text("# Changelog\n\n## 0.2.0 (unreleased)\n\n- New.\n")
    with pytest.raises(version.WrongVersion):
        version.notes(tree)

    changelog.write_text(
        "# Changelog\n\n## 0.2.0 (2027-01-31)\n\n- New.\n\n## 0.1.0 (2026-12-01)\n"
    )

    assert version.notes(tree) == "- New."


def test_every_dependency_states_a_licence_that_permits_a_closed_program() -> None:
    stated = {
        one["name"]: one["licenses"][0]["license"]["name"]
        for one in sbom.sbom()["components"]
        if "licenses" in one
    }

    assert len(stated) > 50
    assert [name for name, licence in stated.items() if not licence] == []
    assert [name for name, licence in stated.items() if re.search(r"(?<!L)GPL", licence)] == []


def test_the_workflows_follow_their_schema() -> None:
    checker = Path(sys.executable).with_name("check-jsonschema")

    done = subprocess.run(
        [checker, "--builtin-schema", "vendor.github-workflows", *WORKFLOWS],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stdout
