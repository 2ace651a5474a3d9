"""The names of objects in the bucket."""

from datetime import UTC, datetime

_PREVIEW_SUFFIX = ".preview.webp"


def object_name(
    tenant: str, job_id: str, *, created_at_ms: int, call: int, prefix: str = ""
) -> str:
    """Return the name of a job's image without its extension.

    It is the same for the same call, so that a resumed upload overwrites the same bytes.
    `created_at_ms` is the job's, in milliseconds since 1970; `call` counts its provider calls;
    `prefix` is empty or ends in a slash. The record of the job keeps the name, so a changed prefix
    concerns only later images.
    """
    day = datetime.fromtimestamp(created_at_ms / 1000, UTC)
    return f"{prefix}{tenant}/{day:%Y/%m/%d}/{job_id}-{call}"


def tenant_of(key: str) -> str:
    """Return the tenant in the key of an object that `object_name` has named."""
    return key.split("/")[-5]


def preview_key(image_key: str) -> str:
    """Return the key of an image's preview."""
    return f"{image_key}{_PREVIEW_SUFFIX}"


def with_preview(key: str) -> tuple[str, ...]:
    """Return an image's key and that of its preview; for a preview's key only that."""
    return (key,) if key.endswith(_PREVIEW_SUFFIX) else (key, preview_key(key))
