"""S3 credentials that AWS gives for a time, and what is sent with each image."""

import socket
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from sandbox.wait import wait_until
from shared.errors import InvalidSettings, StorageDown
from shared.settings import Settings, load_settings
from shared.storage.client import Bucket, Storage
from shared.storage.credentials import Renewal
from shared.storage.object_names import object_name
from tests.integration.loopback import read_request, serving
from tests.integration.rclone import SECRET_KEY, running_rclone
from tests.support.token_service import TokenService, token_service

KEYS = [f"TEMPORARY{number}".ljust(20, "X") for number in range(6)]
DATA = b"an image"
NAMED = object_name("acme", "job_1", created_at_ms=0, call=1)


@pytest.fixture(scope="module")
def s3_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    directory = tmp_path_factory.mktemp("s3") / "data"
    directory.mkdir()
    with running_rclone(directory, *KEYS) as port:
        yield port


@pytest.fixture
def service() -> Iterator[TokenService]:
    with token_service(TokenService(list(KEYS), SECRET_KEY)) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_credentials_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "WEB_IDENTITY_TOKEN_FILE", "PROFILE"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


def settings_of(endpoint: str, **changes: Any) -> Settings:
    return Settings(s3_credentials="aws", s3_endpoint=endpoint, s3_bucket="images", **changes)


def open_storage(endpoint: str, **changes: Any) -> Storage:
    return Storage.from_settings(settings_of(endpoint, **changes), concurrency=4)


def open_renewing(port: int, renewal: Renewal) -> Storage:
    bucket = Bucket.from_settings(settings_of(f"127.0.0.1:{port}"))
    return Storage(bucket, concurrency=1, timeout_seconds=5, renewal=renewal)


def put(storage: Storage, key: str = f"{NAMED}.webp") -> None:
    storage.put(
        key, DATA, content_type="image/webp", sha256=sha256(DATA).hexdigest(), job_id="job_1"
    )


def works(port: int) -> None:
    storage = open_storage(f"127.0.0.1:{port}")
    put(storage)
    storage.close()


def test_the_role_of_an_instance(
    s3_port: int, service: TokenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.url)
    works(s3_port)

    assert service.requests == [
        ("/latest/meta-data/iam/security-credentials/darkroom", "imds-token")
    ]


def test_a_credentials_file_in_an_unknown_home_is_none(
    s3_port: int, service: TokenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "~nobody-here/credentials")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.url)

    works(s3_port)


def test_the_role_of_a_container(
    s3_port: int, service: TokenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{service.url}/v1/credentials")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "pod-token")
    works(s3_port)

    assert service.requests == [("/v1/credentials", "pod-token")]


def test_a_web_identity_whose_token_is_read_again_each_time(
    s3_port: int, service: TokenService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/darkroom")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", service.url)
    service.life_seconds = 0  # so each request needs others
    storage = open_storage(f"127.0.0.1:{s3_port}")
    for written in ("first", "second"):
        token.write_text(written)
        put(storage)
    storage.close()

    first, second = (asked for asked, _ in service.requests)
    assert "WebIdentityToken=first" in first
    assert "WebIdentityToken=second" in second
    assert "RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fdarkroom" in second


def test_the_keys_of_the_environment_and_of_a_file(
    s3_port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    works(s3_port)

    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    file = tmp_path / "credentials"
    file.write_text(
        f"[default]\naws_access_key_id = {KEYS[1]}\naws_secret_access_key = {SECRET_KEY}\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    works(s3_port)


def test_credentials_that_expire_under_load_fail_no_request(
    s3_port: int, service: TokenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.url)
    service.life_seconds = 13  # the minio client uses none for its last ten seconds
    storage = open_storage(f"127.0.0.1:{s3_port}")
    ended = threading.Event()

    def store(number: int) -> int:
        count = 0
        while not ended.is_set():
            put(storage, f"{NAMED}-{number}.webp")
            count += 1
        return count

    with ThreadPoolExecutor(4) as threads:
        counts = [threads.submit(store, number) for number in range(4)]
        wait_until(lambda: len(service.requests) >= 4, "three renewals", seconds=60)
        service.is_away = True
        ended.set()
    storage.close()

    assert all(count.result() > 0 for count in counts)


def test_a_failed_renewal_is_covered_by_what_is_still_valid(
    s3_port: int, service: TokenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.url)
    always_due = Renewal(early_seconds=3600, early_share=1)
    storage = open_renewing(s3_port, always_due)
    put(storage)
    service.is_away = True
    put(storage)
    storage.close()


def test_no_credentials_are_an_outage_of_the_storage_that_names_their_source(
    s3_port: int, service: TokenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.url)
    service.is_away = True
    storage = open_storage(f"127.0.0.1:{s3_port}")
    with pytest.raises(StorageDown, match=r"no S3 credentials. The instance's role gives none"):
        put(storage)
    # the next requests do not ask again at once
    service.is_away = False
    with pytest.raises(StorageDown, match="The instance's role gives none"):
        put(storage)
    storage.close()
    assert service.requests == []


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff[default]\naws_access_key_id = A\naws_secret_access_key = hidden\n",
        "[default]\naws_access_key_id = A\naws_secret_access_key = %hidden\n",
        "aws_secret_access_key = hidden\n",
        "[default]\naws_secret_access_key = hidden\naws_secret_access_key = hidden\n",
    ],
)
def test_a_credentials_file_that_cannot_be_read_gives_none_and_is_not_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    file = tmp_path / "credentials"
    file.write_text(text, encoding="utf-8")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    storage = open_storage("127.0.0.1:9")
    with pytest.raises(StorageDown, match=r"no S3 credentials\. .+ gives none \(\w+\)") as refused:
        put(storage)
    storage.close()
    assert "hidden" not in "".join(traceback.format_exception(refused.value))


def test_a_role_that_is_no_object_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def script(connection: socket.socket, _: threading.Event) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")

    with serving(script) as port:
        monkeypatch.setenv(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{port}/v1/credentials"
        )
        storage = open_storage("127.0.0.1:9")
        with pytest.raises(StorageDown, match="The container's role gives none"):
            put(storage)
        storage.close()


def test_credentials_that_the_storage_refuses_are_fetched_again(
    s3_port: int, service: TokenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.url)
    service.access_keys.insert(0, "REVOKED".ljust(20, "X"))
    storage = open_renewing(s3_port, Renewal(retry_seconds=0))
    with pytest.raises(StorageDown, match="refuses our credentials"):
        put(storage)
    put(storage)
    storage.close()


def test_encryption_and_tags_are_sent_with_each_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session")
    seen: list[bytes] = []

    def script(connection: socket.socket, _: threading.Event) -> None:
        seen.append(read_request(connection))
        connection.sendall(b'HTTP/1.1 200 OK\r\nETag: "x-1"\r\nContent-Length: 0\r\n\r\n')

    with serving(script) as port:
        storage = open_storage(
            f"127.0.0.1:{port}", s3_encryption="AES256", s3_tags=True, s3_prefix="/images"
        )
        with pytest.raises(StorageDown):  # no server that answers so has the object
            put(storage, f"images/{NAMED}.webp")
        storage.close()

    head = seen[0].partition(b"\r\n\r\n")[0].lower().decode()
    assert "x-amz-server-side-encryption: aes256" in head
    assert "x-amz-tagging: tenant=acme&job=job_1" in head
    assert "x-amz-security-token: session" in head


def test_settings_that_do_not_fit_together_are_named() -> None:
    with pytest.raises(InvalidSettings) as refused:
        load_settings(
            "s3_access_key",
            s3_encryption="aws:kms",
            s3_prefix="a//b",
            egress_proxy="socks5://proxy",
            ca_bundle="/nowhere.pem",
        )
    assert str(refused.value).splitlines() == [
        "DARKROOM_EGRESS_PROXY is not usable: must begin with http://.",
        (
            "DARKROOM_CA_BUNDLE is not usable: the file /nowhere.pem cannot be read "
            "(No such file or directory)."
        ),
        (
            "DARKROOM_S3_PREFIX is not usable: needs a path of letters, digits and - _ . such as "
            "images/darkroom, at most 200 characters."
        ),
        "DARKROOM_S3_ENCRYPTION is not usable: aws:kms needs DARKROOM_S3_KMS_KEY_ID.",
        "DARKROOM_S3_ACCESS_KEY is missing.",
    ]


def test_the_credentials_of_aws_need_no_keys() -> None:
    assert load_settings("s3_access_key", "s3_secret_key", s3_credentials="aws")
    with pytest.raises(InvalidSettings) as refused:
        load_settings("s3_access_key", s3_credentials="aws", s3_prefix="..")
    assert "S3_ACCESS_KEY" not in str(refused.value)
