"""A thread that is free turns Celery's loop."""

import queue
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from celery.concurrency.thread import TaskPool

from worker.celery_pool import NotifyHubOnIdle


def test_the_loop_is_called_when_a_thread_is_done_and_not_before() -> None:
    # given
    calls: queue.Queue[object] = queue.Queue()
    pool, busy = TaskPool(1), threading.Event()
    worker: Any = SimpleNamespace(hub=SimpleNamespace(call_soon=calls.put), pool=pool)
    NotifyHubOnIdle(worker).start(worker)
    # when
    pool.on_apply(busy.wait, (60,))
    # then
    with pytest.raises(queue.Empty):
        calls.get(timeout=0.1)
    # when
    busy.set()
    # then
    assert callable(calls.get(timeout=10))
    pool.on_stop()
