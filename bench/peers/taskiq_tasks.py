"""taskiq's side: a broker on a list in Redis, and the task that makes an image."""

from typing import Annotated

import redis.asyncio
from generation import REDIS_URL, Asked
from image_async import Maker
from taskiq import Context, TaskiqDepends, TaskiqEvents, TaskiqState
from taskiq_redis import ListQueueBroker

broker = ListQueueBroker(REDIS_URL, queue_name="taskiq", max_connection_pool_size=200)


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def begin(state: TaskiqState) -> None:
    """Open what the tasks of a worker share."""
    client = redis.asyncio.Redis.from_url(REDIS_URL, decode_responses=True, max_connections=200)
    state.store = client
    state.maker = Maker()


@broker.task(task_name="generate")
async def generate(job_id: str, context: Annotated[Context, TaskiqDepends()]) -> None:
    """Make and store one image."""
    store, maker, key = context.state.store, context.state.maker, f"job:{job_id}"
    asked = Asked.model_validate_json(await store.hget(key, "request"))
    await store.hset(key, "status", "running")
    name = await maker.make(job_id, asked)
    await store.hset(key, mapping={"status": "succeeded", "image": name})
