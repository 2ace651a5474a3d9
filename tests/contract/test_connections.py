"""Connections that threads share."""

import pytest
import redis

from sandbox.wait import wait_until
from shared.settings import Settings
from shared.store.connection import connect


def test_a_reply_that_comes_too_late_is_nobody_elses(empty_redis_url: str) -> None:
    hasty = Settings(redis_url=empty_redis_url, redis_timeout_seconds=0.3)
    with (
        connect(hasty, connections=1) as client,
        redis.Redis.from_url(empty_redis_url, decode_responses=True) as other,
    ):
        with pytest.raises(redis.TimeoutError):
            client.execute_command("BLPOP", "late", 0)
        other.rpush("late", "for the first")

        def answered() -> bool:
            try:
                answer = client.execute_command("ECHO", "for the second")
            except redis.TimeoutError:  # the machine is slow
                return False
            assert answer == "for the second"
            return True

        wait_until(answered, "an answer of its own")
