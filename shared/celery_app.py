"""The Celery app, the names of its queues and tasks, and the permits that the scripts push.

A message on a queue is a permit to do one job, not a particular one: it carries no arguments, so a
lost, doubled or late message is harmless. Celery itself makes the message, once per process, as a
template for the scripts; each copy gets fresh ids.
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

#: kombu puts this before each of its keys, so that all of Darkroom's begin alike.
KEY_PREFIX = f"{PREFIX}celery:"
#: Stands in a template wherever a message's own id belongs.
SLOT = "PERMITID"
#: A connection that is silent for so long is asked whether it lives.
HEALTH_SECONDS = 10


class QueueName(StrEnum):
    """The two queues; each has one task of the same name."""

    GENERATE = "generate"
    DELIVER = "deliver"


def build_celery(settings: Settings) -> Celery:
    """Build the Celery app; nothing is connected yet."""
    app = Celery("darkroom", set_as_current=False)
    url, transport = broker(settings)
    app.conf.update(
        broker_url=url,
        broker_transport_options=transport,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # a permit is not worth acknowledging: the sweep makes good what is lost
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
    """Give kombu's URL and transport options for the Redis of the settings."""
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
    """Give kombu an address a sentinel; the rest it wants to be told apart."""
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
    """Have the certificate checked, as redis-py does by itself: kombu takes any, unless told."""
    if not url.startswith("rediss://") or "ssl_cert_reqs=" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}ssl_cert_reqs=required&ssl_check_hostname=true"


def permit(app: Celery, name: QueueName) -> Permit:
    """Let Celery make the message of a task without arguments, with slots for its ids."""
    message = app.amqp.as_task_v2(SLOT, name.value, (), {}, argsrepr="()", kwargsrepr="{}")
    # the same text from every process: the scripts carry it, and the server keeps each text
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
    """Build the scripts with this app's permits in them."""
    return FunctionLibrary(
        settings, generate=permit(app, QueueName.GENERATE), deliver=permit(app, QueueName.DELIVER)
    )
