"""The request body, validated by pydantic as in FastAPI's tutorial."""

import os
import secrets
from typing import Annotated, Literal

from fastapi import Header, HTTPException
from pydantic import BaseModel, ConfigDict, Field

REDIS_URL = os.environ["REDIS_URL"]
API_KEY = os.environ["API_KEY"]
DAY_SECONDS = 86_400

IdempotencyKey = Annotated[str, Header(min_length=1, max_length=255)]


class Input(BaseModel):
    """The model's parameters."""

    model_config = ConfigDict(extra="forbid")

    prompt: Annotated[str, Field(min_length=1, max_length=10_000)]
    aspect_ratio: Literal["1:1", "16:9", "9:16", "3:2", "2:3", "4:5", "5:4"] = "1:1"
    output_format: Literal["webp", "jpg", "png"] = "webp"
    output_quality: Annotated[int, Field(ge=0, le=100)] = 80
    num_inference_steps: Annotated[int, Field(ge=1, le=10)] = 4
    go_fast: bool = True
    megapixels: Literal["1", "0.25"] = "1"
    disable_safety_checker: bool = False
    seed: Annotated[int | None, Field(ge=0)] = None


class Asked(BaseModel):
    """The body of a request for an image."""

    model_config = ConfigDict(extra="forbid")

    model: Literal["black-forest-labs/flux-2-klein-9b"] = "black-forest-labs/flux-2-klein-9b"
    input: Input
    priority: Literal["high", "normal", "low"] = "normal"
    deadline_seconds: Annotated[int | None, Field(ge=1, le=604_800)] = None
    metadata: Annotated[dict[str, str], Field(max_length=50)] = {}
    tags: Annotated[list[str], Field(max_length=10)] = []


class Batch(BaseModel):
    """The body of a request for many."""

    jobs: Annotated[list[Asked], Field(min_length=1, max_length=10_000)]


class Job(BaseModel):
    """The job in a response."""

    id: str
    status: str
    input: Input | None = None
    metadata: dict[str, str] = {}
    image: str | None = None


def check_key(authorization: Annotated[str, Header()] = "") -> None:
    """Reject a request without the key."""
    if not secrets.compare_digest(authorization.encode(), f"Bearer {API_KEY}".encode()):
        raise HTTPException(401, "no such key")


def record_of(asked: Asked) -> dict[str, str]:
    """Write the record of a new job as the fields of a hash."""
    return {"status": "queued", "request": asked.model_dump_json()}
