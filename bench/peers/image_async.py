"""One POST to the provider, one GET of the image, one PUT into the storage, with asyncio.

The blocking storage client runs on a thread, because its makers offer none for asyncio.
"""

import asyncio
import io
import os

import httpx
from generation import Asked
from minio import Minio

PROVIDER_URL = os.environ.get("PROVIDER_URL", "")
BUCKET = os.environ.get("S3_BUCKET", "darkroom")


class Maker:
    """Makes images with clients that all tasks share."""

    def __init__(self) -> None:
        """Open the clients, in the event loop that will use them."""
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
        self.http = httpx.AsyncClient(timeout=60, limits=limits)
        self.storage = Minio(
            os.environ["S3_ENDPOINT"],
            access_key=os.environ["S3_ACCESS_KEY"],
            secret_key=os.environ["S3_SECRET_KEY"],
            secure=False,
            region="us-east-1",
        )

    async def make(self, job_id: str, asked: Asked) -> str:
        """Make one image; return its name."""
        body = {
            "type": "IMAGE_GENERATOR",
            "model": asked.model,
            "promptObject": asked.input.model_dump(exclude_none=True),
        }
        url = f"{PROVIDER_URL}/api/features"
        answer = await self.http.post(url, json=body, headers={"API-KEY": "k"})
        record = answer.raise_for_status().json()["aiRecord"]
        fetched = (await self.http.get(record["temporaryUrl"])).raise_for_status()
        name = f"{job_id}.{asked.input.output_format}"
        await asyncio.to_thread(self._put, name, fetched.content, fetched.headers["content-type"])
        return name

    def _put(self, name: str, data: bytes, kind: str) -> None:
        self.storage.put_object(BUCKET, name, io.BytesIO(data), len(data), kind)
