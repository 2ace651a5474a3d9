"""What the storage's answers prove."""

import base64
import hashlib

import pytest
from urllib3 import HTTPHeaderDict

from shared.storage.checksums import Checksums

DATA = b"an image"
SHA256 = hashlib.sha256(DATA)
MD5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()
OTHER = "0" * 32


def proven(**headers: str) -> bool | None:
    told = HTTPHeaderDict({name.replace("_", "-"): value for name, value in headers.items()})
    return Checksums.of(DATA).match(told)


@pytest.mark.parametrize(
    "etag", [f'"{MD5}"', MD5, f'"{MD5.upper()}"', f'W/"{MD5}"', f' "{MD5}" ', MD5.upper()]
)
def test_the_md5_proves_the_bytes_however_it_is_written(etag: str) -> None:
    assert proven(etag=etag) is True


@pytest.mark.parametrize("etag", [f'"{OTHER}"', OTHER.upper(), f'W/"{OTHER}"'])
def test_another_md5_proves_other_bytes(etag: str) -> None:
    assert proven(etag=etag) is False
    assert proven(etag=etag, x_amz_server_side_encryption="AES256") is False


@pytest.mark.parametrize(
    "etag", ["", '""', f'"{MD5}-2"', f'"{OTHER}-12"', "0x8D9F3B1C", '"opaque"']
)
def test_an_etag_that_is_no_md5_proves_nothing(etag: str) -> None:
    assert proven(etag=etag) is None


def test_without_an_etag_nothing_is_proven() -> None:
    assert proven() is None


@pytest.mark.parametrize(
    "how",
    [
        {"x_amz_server_side_encryption": "aws:kms"},
        {"x_amz_server_side_encryption": "aws:kms:dsse"},
        {"x_amz_server_side_encryption_customer_algorithm": "AES256"},
    ],
)
def test_under_a_key_of_others_an_etag_proves_nothing(how: dict[str, str]) -> None:
    assert proven(etag=f'"{OTHER}"', **how) is None


def test_a_checksum_is_compared_where_the_storage_tells_one() -> None:
    ours, other = (base64.b64encode(one).decode() for one in (SHA256.digest(), bytes(32)))
    assert proven(x_amz_checksum_sha256=ours) is True
    assert proven(x_amz_checksum_sha256=other) is False
    assert proven(x_amz_checksum_sha256=other, etag=MD5) is False
    assert proven(x_amz_checksum_sha256=f"{other}-2") is None
