"""The settings for each kind of storage: read as they stand, and what is asked by them."""

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.settings import PREFIX, Settings, load_settings
from shared.storage.client import Storage
from tests.deploy.compose import ROOT

FOLDER = ROOT / "deploy" / "storage"
#: What each expects of an address and of a signature, by its documents: AWS takes the bucket for a
#: part of the host's name, all others take it for the first of the path.
EXPECTED = {
    "aws": ("https://company-darkroom.s3.eu-central-1.amazonaws.com/t/x.webp", "eu-central-1"),
    "r2": (
        "https://0123456789abcdef0123456789abcdef.r2.cloudflarestorage.com/darkroom/t/x.webp",
        "auto",
    ),
    "garage": ("https://garage.example.com/darkroom/t/x.webp", "garage"),
    "ceph": ("https://rgw.example.com:7443/darkroom/t/x.webp", "default"),
    "seaweedfs": ("http://s3:8333/darkroom/t/x.webp", "us-east-1"),
}


def read(path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            name, _, value = line.partition("=")
            assert name.removeprefix(PREFIX).lower() in Settings.model_fields, name
            monkeypatch.setenv(name, value)
    return load_settings(s3_access_key="access", s3_secret_key="secret-key")


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.env")))
def test_objects_are_addressed_and_signed_as_the_storage_expects(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, region = EXPECTED[name]
    storage = Storage.from_settings(read(FOLDER / f"{name}.env", monkeypatch))

    url = storage.presign("t/x.webp", seconds=60, content_type="image/webp", filename="x.webp")

    storage.close()
    parts = urlsplit(url)
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == address
    [scope] = parse_qs(parts.query)["X-Amz-Credential"]
    assert scope.split("/")[2:] == [region, "s3", "aws4_request"]


def test_every_kind_of_storage_in_the_guide_has_its_settings() -> None:
    guide = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")

    assert {path.stem for path in FOLDER.glob("*.env")} == EXPECTED.keys()
    assert all(f"deploy/storage/{name}.env" in guide for name in EXPECTED)
