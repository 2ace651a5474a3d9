"""The minio client, with a PUT of data whose checksums are known."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from minio import Minio
from minio.credentials.credentials import Credentials

from shared.storage.checksums import Checksums


class S3Client(Minio):
    """The minio client; only the way in which it computes checksums differs."""

    def put(
        self, bucket: str, key: str, data: bytes, *, headers: Mapping[str, Any], sums: Checksums
    ) -> Mapping[str, str]:
        """Write an object with a single request; return the headers of the response.

        `put_object` of the client would hash `data` again: for the signature, or under TLS for
        `Content-MD5`. The signature covers `sums`, and through them the data, with and without TLS.
        """
        sent = {**headers, **sums.request_headers}
        return self._put_object(bucket, key, data, sent).http_headers

    def _build_headers(
        self,
        host: str,
        headers: dict[str, Any] | None = None,
        body: bytes | None = None,
        creds: Credentials | None = None,
    ) -> tuple[dict[str, Any], datetime]:
        """Build the headers of any request; keep a SHA-256 of the body that they state."""
        known = (headers or {}).get("x-amz-content-sha256")
        built, date = super()._build_headers(host, headers, None if known else body, creds)
        if known:
            built["x-amz-content-sha256"] = known
        return built, date
