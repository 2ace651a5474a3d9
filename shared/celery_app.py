"""The Celery app, its queues and tasks, and the permits that the Lua functions push.

A message in a queue is a permit for one claim; it names no job. It has no arguments, so a
lost, duplicated or late message is harmless. Celery creates one message per process as a template
for the Lua functions; each copy gets its own ids.
"""

import base64
import json
from enum import StrEnum
from typing import Any
from urllib.parse import quote

from celery import Celery
from kombu import Queue

from shared.setting_values import joined
from shared.settings import Settings
from shared.store.connection import read_sentinel
from shared.store.functions import FunctionLibrary, Permit
from shared.store.keys import PREFIX

#: kombu's prefix for its keys; it begins with that of all of Darkroom's keys.
KEY_PREFIX = f"{PREFIX}celery:"
#: The placeholder for a message's own id in a template.
SLOT = "PERMITID"
#: Connections idle for this long are health-checked.
HEALTH_SECONDS = 10


class QueueName(StrEnum):
    """The two queues; each has one task of the same name."""

    GENERATE = "generate"
    DELIVER = "deliver"


def build_celery(settings: Settings) -> Celery:
    """Build the Celery app, without connecting."""
    app = Celery("darkroom", set_as_current=False)
    url, transport = broker(settings)
    app.conf.update(
        broker_url=url,
        broker_transport_options=transport,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # a permit needs no acknowledgement: the sweep replaces lost ones
        task_queues=[Queue(name.value, no_ack=True) for name in QueueName],
        task_default_queue=QueueName.GENERATE.value,
        task_acks_late=False,
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        worker_pool="threads",
        worker_concurrency=settings.concurrency,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        accept_content=["json"],
        enable_utc=True,
    )
    return app


def broker(settings: Settings) -> tuple[str, dict[str, Any]]:
    """Return kombu's URL and transport options for the Redis of the settings."""
    options: dict[str, Any] = {
        "global_keyprefix": KEY_PREFIX,
        "socket_connect_timeout": settings.redis_timeout_seconds,
        "socket_keepalive": True,
        "health_check_interval": HEALTH_SECONDS,
    }
    if settings.redis_url.startswith("sentinel://"):
        return _sentinels(settings.redis_url, options), options
    return _verified(settings.redis_url), options


def _sentinels(url: str, options: dict[str, Any]) -> str:
    """Return kombu's form of the sentinels: their URLs, and their options."""
    named = read_sentinel(url)
    options["master_name"] = named.master
    options["sentinel_kwargs"] = named.options
    opens = ""
    if named.password:
        opens = f"{quote(named.username or '', safe='')}:{quote(named.password, safe='')}@"
    return ";".join(
        f"sentinel://{opens}{joined(host, port)}/{named.database}" for host, port in named.hosts
    )


def _verified(url: str) -> str:
    """Require certificate verification, redis-py's default; kombu's default is none."""
    if not url.startswith("rediss://") or "ssl_cert_reqs=" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}ssl_cert_reqs=required&ssl_check_hostname=true"


def permit(app: Celery, name: QueueName) -> Permit:
    """Create a message of a task without arguments, with slots for its ids."""
    message = app.amqp.as_task_v2(SLOT, name.value, (), {}, argsrepr="()", kwargsrepr="{}")
    # the same text from every process, because the server stores each distinct library
    headers = {**message.headers, "origin": "darkroom"}
    payload = {
        "body": base64.b64encode(json.dumps(message.body).encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": {
            **message.properties,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": name.value},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": SLOT,
        },
    }
    return Permit(f"{KEY_PREFIX}{name.value}", json.dumps(payload), SLOT)


def build_scripts(settings: Settings, app: Celery) -> FunctionLibrary:
    """Build the function library with this app's permits."""
    return FunctionLibrary(
        settings, generate=permit(app, QueueName.GENERATE), deliver=permit(app, QueueName.DELIVER)
    )
