"""arq's side: the function that makes an image, and the worker's settings."""

from typing import Any, ClassVar

from arq.connections import RedisSettings
from asked import REDIS_URL, Asked
from image_async import Maker


async def begin(ctx: dict[str, Any]) -> None:
    """Open what the jobs of a worker share."""
    ctx["maker"] = Maker()


async def generate(ctx: dict[str, Any], job_id: str) -> None:
    """Have one image made and stored."""
    store, key = ctx["redis"], f"job:{job_id}"
    asked = Asked.model_validate_json(await store.hget(key, "request"))
    await store.hset(key, "status", "running")
    name = await ctx["maker"].make(job_id, asked)
    await store.hset(key, mapping={"status": "succeeded", "image": name})


class WorkerSettings:
    """What `arq arq_tasks.WorkerSettings` runs: all else as arq has it."""

    functions: ClassVar = [generate]
    on_startup = begin
    redis_settings = RedisSettings.from_dsn(REDIS_URL)
    max_jobs = 64
