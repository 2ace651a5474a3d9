"""The object storage: any server that speaks S3, through the minio client.

Every vendor error becomes StorageDown, ObjectMissing or ObjectDamaged. Each operation has a total
time limit. A status of 200 alone proves nothing: the checksums in the response to a write are
compared with those of the data, and data read is compared with the stored checksums.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol, Self
from urllib.parse import urlsplit
from xml.etree.ElementTree import ParseError

from minio.commonconfig import Tags
from minio.credentials.providers import Provider, StaticProvider
from minio.deleteobjects import DeleteObject
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from minio.helpers import genheaders
from minio.sse import Sse, SseKMS, SseS3
from urllib3.exceptions import HTTPError

from shared.errors import InvalidSettings, ObjectDamaged, ObjectMissing, StorageDown
from shared.net.egress import failure_name
from shared.net.sockets import DIRECT, Egress
from shared.net.timeouts import deadline
from shared.settings import Settings
from shared.storage.checksums import Checksums
from shared.storage.credentials import (
    RENEWAL,
    Renewal,
    RenewedCredentials,
    temporary_credentials,
)
from shared.storage.http_pool import build_pool
from shared.storage.object_names import tenant_of
from shared.storage.s3_client import S3Client
from shared.storage.stored_object import StoredObject, verified

_NO_KEY = frozenset({"NoSuchKey", "NoSuchObject"})
_NO_BUCKET = frozenset({"NoSuchBucket"})
#: What a storage answers for a missing object where the bucket may not be listed.
_REFUSED = frozenset({"AccessDenied"})
_NO_ACCESS = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"})
#: What it answers for credentials that it knew once.
_EXPIRED = frozenset({"ExpiredToken", "InvalidToken", "TokenRefreshRequired"})
_BUCKET_IS_THERE = frozenset({"BucketAlreadyOwnedByYou", "BucketAlreadyExists"})
#: Metadata of every object that Darkroom writes.
_SHA256 = "sha256"


class ObjectStore(Protocol):
    """The storage operations that others use. All of them raise StorageDown."""

    def put(self, key: str, data: bytes, *, content_type: str, sha256: str, job_id: str) -> None:
        """Write or overwrite an object, and check that the storage has it."""
        ...

    def read(self, key: str) -> StoredObject:
        """Open an object; raise ObjectMissing."""
        ...

    def read_all(self, key: str, *, size: int, sha256: str) -> bytes:
        """Return all of an object; raise ObjectMissing, ObjectDamaged."""
        ...

    def find(self, key: str, *, max_bytes: int) -> bytes | None:
        """Return a small object whose checksum is not known; None if there is none."""
        ...

    def presign(self, key: str, *, seconds: int, content_type: str, filename: str) -> str:
        """Return a URL that grants anybody read access to the object for a time."""
        ...

    def delete(self, keys: Iterable[str]) -> Sequence[str]:
        """Delete objects, and return those that the storage refuses to delete."""
        ...

    def is_there(self, key: str) -> bool:
        """Return whether the storage has an object."""
        ...

    def check(self) -> None:
        """Check that the bucket can be reached."""
        ...


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket, its credentials, and how images are stored in it.

    `endpoint` is host:port, `secure` means TLS; without keys, the credentials are those that the
    environment of the process leads to. `public_url` is where clients reach the storage; empty:
    where Darkroom does. `encryption` and `has_tags` are sent with each image.
    """

    endpoint: str
    name: str
    access_key: str = field(repr=False, default="")
    secret_key: str = field(repr=False, default="")
    region: str = "us-east-1"
    secure: bool = False
    public_url: str = ""
    encryption: Sse | None = None
    has_tags: bool = False

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the bucket of the settings."""
        keys: dict[str, str] = {}
        if settings.s3_credentials == "keys":
            keys["access_key"] = settings.s3_access_key.get_secret_value()
            keys["secret_key"] = settings.s3_secret_key.get_secret_value()
        return cls(
            endpoint=settings.s3_endpoint,
            name=settings.s3_bucket,
            region=settings.s3_region,
            secure=settings.s3_secure,
            public_url=settings.s3_public_endpoint,
            encryption=_encryption(settings),
            has_tags=settings.s3_tags,
            **keys,
        )


def _encryption(settings: Settings) -> Sse | None:
    if settings.s3_encryption == "aws:kms":
        return SseKMS(settings.s3_kms_key_id, {})
    return SseS3() if settings.s3_encryption else None


class Storage:
    """One bucket. Thread-safe."""

    def __init__(
        self,
        bucket: Bucket,
        *,
        concurrency: int,
        timeout_seconds: float,
        read_back: bool = False,
        egress: Egress = DIRECT,
        renewal: Renewal = RENEWAL,
    ) -> None:
        """Use `bucket` from up to `concurrency` threads; do not connect yet.

        `timeout_seconds` is the total limit of one operation; `read_back` reads what was written
        and compares it; `egress` has the proxy and the certificates; `renewal` is for credentials
        that expire.
        """
        self._bucket = bucket.name
        self._encryption = bucket.encryption
        self._has_tags = bucket.has_tags
        self._read_back = read_back
        self._timeout_seconds = timeout_seconds
        self._pool = build_pool(
            concurrency=concurrency, timeout_seconds=timeout_seconds, egress=egress
        )
        self._credentials: Provider = (
            StaticProvider(bucket.access_key, bucket.secret_key)
            if bucket.access_key
            else temporary_credentials(egress, renewal)
        )
        self._client = self._client_of(bucket, "S3_ENDPOINT", bucket.endpoint, bucket.secure)
        public = urlsplit(bucket.public_url)
        # it only signs URLs, with the host that clients will send
        self._signer = (
            self._client_of(bucket, "S3_PUBLIC_ENDPOINT", public.netloc, public.scheme == "https")
            if bucket.public_url
            else self._client
        )

    def _client_of(self, bucket: Bucket, setting: str, endpoint: str, secure: bool) -> S3Client:  # noqa: FBT001  as the client has it
        """Return a client for the address of a setting.

        Raise InvalidSettings for what the client refuses: it knows which hosts of AWS are S3.
        """
        try:
            return S3Client(
                endpoint,
                credentials=self._credentials,
                # with the region given, the client does not ask for the bucket's location
                region=bucket.region,
                secure=secure,
                http_client=self._pool,
            )
        except ValueError as error:
            raise InvalidSettings(f"DARKROOM_{setting} is not usable: {error}.") from None

    @classmethod
    def from_settings(cls, settings: Settings, *, concurrency: int | None = None) -> Self:
        """Build the storage of the settings, for their `concurrency` or another.

        Raise InvalidSettings for an address that the client refuses.
        """
        return cls(
            Bucket.from_settings(settings),
            concurrency=concurrency or settings.concurrency,
            timeout_seconds=settings.storage_timeout_seconds,
            read_back=settings.storage_read_back,
            egress=Egress.from_settings(settings),
        )

    def put(self, key: str, data: bytes, *, content_type: str, sha256: str, job_id: str) -> None:
        """Write or overwrite an object with a single PUT request.

        Raise StorageDown also if the response's ETag is not the MD5 of `data`. An ETag that is not
        an MD5 costs a HEAD request for the length; `read_back` costs a GET of everything written.

        `sha256` (hexadecimal) and `job_id` are sent as metadata, which not every server keeps.
        """
        sums = Checksums.of(data, sha256=sha256)
        headers = genheaders(
            {_SHA256: sha256, "job-id": job_id, "Content-Type": content_type},
            self._encryption,
            _tags(key, job_id) if self._has_tags else None,
            None,
            legal_hold=False,
        )
        with self._step():
            response = self._client.put(self._bucket, key, data, headers=headers, sums=sums)
            if not self._is_stored(key, len(data), sums, response):
                raise StorageDown("The storage answered that it has other bytes than it was sent.")
        if self._read_back:
            self._compare(key, data, sha256)

    def _is_stored(
        self, key: str, size: int, sums: Checksums, response_headers: Mapping[str, str]
    ) -> bool:
        """Return whether the storage has the data, by the headers of its response to the PUT.

        If they state no checksum, ask for the length, and for the checksums that a HEAD may state.
        """
        proven = sums.match(response_headers)
        if proven is not None:
            return proven
        found = self._client.stat_object(self._bucket, key)
        return found.size == size and sums.match(found.metadata or {}) is not False

    def _compare(self, key: str, data: bytes, sha256: str) -> None:
        """Read an object and raise StorageDown if it is not complete."""
        try:
            self.read_all(key, size=len(data), sha256=sha256)
        except (ObjectMissing, ObjectDamaged) as error:
            raise StorageDown("The storage does not have what it was sent.") from error

    def read(self, key: str) -> StoredObject:
        """Open an object; raise ObjectMissing.

        The result holds a connection: use it in a `with`, or iterate it to the end.
        """
        return self._read(key, _NO_KEY)

    def _read(self, key: str, missing: Collection[str]) -> StoredObject:
        """Open an object; `missing` are the errors that mean that there is none."""
        with self._step():
            try:
                response = self._client.get_object(self._bucket, key)
            except S3Error as error:
                if error.code in missing:
                    raise ObjectMissing("The storage has no such object.") from error
                raise
        return StoredObject(response, timeout_seconds=self._timeout_seconds)

    def read_all(self, key: str, *, size: int, sha256: str) -> bytes:
        """Return all of an object whose size and SHA-256 (hexadecimal) are known.

        Raise ObjectMissing, and ObjectDamaged if it is not what was stored.
        """
        with self.read(key) as opened:
            return b"".join(verified(opened, size=size, sha256=sha256))

    def find(self, key: str, *, max_bytes: int) -> bytes | None:
        """Return all of a small object whose checksum is not known; None if there is none.

        Raise ObjectDamaged over `max_bytes`, and if the response states the checksums of other
        bytes. As for `is_there`, a storage that refuses the request has no such object.
        """
        try:
            opened = self._read(key, _NO_KEY | _REFUSED)
        except ObjectMissing:
            return None
        with opened:
            data = b"".join(_at_most(opened, max_bytes))
        sums = Checksums.of(data)
        stated = opened.headers.get(f"x-amz-meta-{_SHA256}", sums.sha256)
        if stated != sums.sha256 or sums.match(opened.headers) is False:
            raise ObjectDamaged("The storage sent other bytes than were stored.")
        return data

    def presign(self, key: str, *, seconds: int, content_type: str, filename: str) -> str:
        """Return a URL that grants anybody read access for `seconds` (7 days at most).

        It is computed without a request; the object may not exist.
        """
        return self._signer.presigned_get_object(
            self._bucket,
            key,
            timedelta(seconds=seconds),
            response_headers={
                "response-content-type": content_type,
                "response-content-disposition": f'inline; filename="{filename}"',
            },
        )

    def delete(self, keys: Iterable[str]) -> Sequence[str]:
        """Delete objects, a thousand per request; missing ones count as deleted.

        Return those that the storage refuses to delete, such as locked ones; the others are
        deleted.
        """
        wanted = list(keys)
        lots = (wanted[start : start + 1000] for start in range(0, len(wanted), 1000))
        return [key for lot in lots for key in self._delete(lot)]

    def _delete(self, keys: Sequence[str]) -> Sequence[str]:
        with self._step():
            left = self._client.remove_objects(self._bucket, [DeleteObject(key) for key in keys])
            failures = [failure for failure in left if failure.code not in _NO_KEY]
        if any(failure.name not in keys for failure in failures):
            raise StorageDown(f"The storage refuses to delete objects ({failures[0].code}).")
        return [failure.name for failure in failures if failure.name]

    def is_there(self, key: str) -> bool:
        """Return whether the storage has an object.

        A storage that refuses the question counts as not having it: without the right to list a
        bucket, a missing object is refused.
        """
        with self._step():
            try:
                self._client.stat_object(self._bucket, key)
            except S3Error:
                return False
        return True

    def check(self) -> None:
        """Check that the bucket can be reached; raise StorageDown with the reason."""
        with self._step():
            exists = self._client.bucket_exists(self._bucket)
        if not exists:
            raise StorageDown(f"The storage has no bucket {self._bucket}.")

    def ensure_bucket(self) -> None:
        """Create the bucket unless it exists."""
        with self._step():
            try:
                self._client.make_bucket(self._bucket)
            except S3Error as error:
                if error.code not in _BUCKET_IS_THERE:
                    raise

    def close(self) -> None:
        """Close all connections."""
        self._pool.clear()

    @contextmanager
    def _step(self) -> Iterator[None]:
        with deadline(self._timeout_seconds), self._translated():
            yield

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except S3Error as error:
            raise self._translated_s3_error(error) from error
        except (ServerError, InvalidResponseError) as error:
            raise StorageDown(_answered(error)) from error
        except (HTTPError, OSError) as error:
            raise StorageDown(f"The storage cannot be reached ({failure_name(error)}).") from error
        except (MinioException, ParseError, ValueError) as error:
            raise StorageDown("The storage answered with something that is not S3.") from error

    def _translated_s3_error(self, error: S3Error) -> StorageDown:
        if error.code in _NO_KEY:
            return StorageDown("The storage does not have the object that it was sent.")
        if error.code in _NO_BUCKET:
            return StorageDown(f"The storage has no bucket {self._bucket}.")
        if error.code in _NO_ACCESS | _EXPIRED:
            if isinstance(self._credentials, RenewedCredentials):
                self._credentials.discard()
            return StorageDown(f"The storage refuses our credentials ({error.code}).")
        return StorageDown(f"The storage refuses the request ({error.code}).")


def _tags(key: str, job_id: str) -> Tags:
    tags = Tags.new_object_tags()
    tags["tenant"] = tenant_of(key)
    tags["job"] = job_id
    return tags


def _at_most(chunks: Iterable[bytes], max_bytes: int) -> Iterator[bytes]:
    """Yield chunks; raise ObjectDamaged over `max_bytes` in total."""
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > max_bytes:
            raise ObjectDamaged(f"The storage sent more than {max_bytes:,} bytes.")
        yield chunk


def _answered(error: ServerError | InvalidResponseError) -> str:
    status = error.status_code if isinstance(error, ServerError) else getattr(error, "_code", 0)
    return f"The storage answered with status {status}."
