"""arq's side: the function that makes an image, and the worker's settings."""

from typing import Any, ClassVar

from arq.connections import RedisSettings
from generation import REDIS_URL, Asked
from image_async import Maker


async def begin(ctx: dict[str, Any]) -> None:
    """Open what the jobs of a worker share."""
    ctx["maker"] = Maker()


async def generate(ctx: dict[str, Any], job_id: str) -> None:
    """Make and store one image."""
    store, key = ctx["redis"], f"job:{job_id}"
    asked = Asked.model_validate_json(await store.hget(key, "request"))
    await store.hset(key, "status", "running")
    name = await ctx["maker"].make(job_id, asked)
    await store.hset(key, mapping={"status": "succeeded", "image": name})


class WorkerSettings:
    """The settings of `arq arq_tasks.WorkerSettings`; everything else is arq's default."""

    functions: ClassVar = [generate]
    on_startup = begin
    redis_settings = RedisSettings.from_dsn(REDIS_URL)
    max_jobs = 64
