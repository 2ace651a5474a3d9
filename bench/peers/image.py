"""One POST to the provider, one GET of the image, one PUT into the storage: blocking clients."""

import io
import os
from functools import cache

import httpx
from generation import Asked
from minio import Minio

PROVIDER_URL = os.environ.get("PROVIDER_URL", "")
BUCKET = os.environ.get("S3_BUCKET", "darkroom")


def make(job_id: str, asked: Asked) -> str:
    """Make an image with clients that all tasks of the process share; return its name."""
    return _make(job_id, asked, _http(), _storage())


def make_with_new_clients(job_id: str, asked: Asked) -> str:
    """Make an image as tutorials do, with clients of its own; return its name."""
    with httpx.Client(timeout=60) as http:
        return _make(job_id, asked, http, _new_storage())


def _make(job_id: str, asked: Asked, http: httpx.Client, storage: Minio) -> str:
    body = {
        "type": "IMAGE_GENERATOR",
        "model": asked.model,
        "promptObject": asked.input.model_dump(exclude_none=True),
    }
    answer = http.post(f"{PROVIDER_URL}/api/features", json=body, headers={"API-KEY": "k"})
    record = answer.raise_for_status().json()["aiRecord"]
    fetched = http.get(record["temporaryUrl"]).raise_for_status()
    name = f"{job_id}.{asked.input.output_format}"
    kind = fetched.headers["content-type"]
    storage.put_object(BUCKET, name, io.BytesIO(fetched.content), len(fetched.content), kind)
    return name


@cache
def _http() -> httpx.Client:
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
    return httpx.Client(timeout=60, limits=limits)


@cache
def _storage() -> Minio:
    return _new_storage()


def _new_storage() -> Minio:
    return Minio(
        os.environ["S3_ENDPOINT"],
        access_key=os.environ["S3_ACCESS_KEY"],
        secret_key=os.environ["S3_SECRET_KEY"],
        secure=False,
        region="us-east-1",
    )
