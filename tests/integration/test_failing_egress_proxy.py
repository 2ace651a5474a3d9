"""An egress proxy that fails is not the failure of an endpoint; one that works tells of the two."""

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import orjson
import pytest

from sandbox.servers import free_port
from shared import metrics
from shared.net.egress_check import EgressCheck
from shared.settings import Settings
from shared.store import keys
from tests.integration.sandbox_client import Client
from tests.integration.test_webhooks import Post
from tests.support.api_server import served, settings, tenant_at
from tests.support.delivery_worker import delivering
from tests.support.forward_proxy import ForwardProxy, Squid, Tinyproxy, forward_proxy
from tests.support.webhook_receiver import WebhookReceiver
from worker.webhook_delivery import PROXY_WAIT_LEAST_SECONDS, do_next_deliveries

#: More than the schedule of the tests allows, and than make an endpoint a failing one.
ATTEMPTS = 7
SHORT_SECONDS = PROXY_WAIT_LEAST_SECONDS * 2


@pytest.fixture(params=[Tinyproxy, Squid], ids=lambda kind: kind.__name__)
def proxy(request: pytest.FixtureRequest) -> Iterator[ForwardProxy]:
    with forward_proxy(request.param) as proxy:
        yield proxy


@pytest.fixture
def way_out(proxy: ForwardProxy, provider: Client) -> Mapping[str, str]:
    """Settings with the proxy."""
    return {"egress_proxy": proxy.url, "onemin_base_url": provider.url}


@pytest.fixture
def post(empty_redis_url: str, way_out: Mapping[str, str]) -> Iterator[Post]:
    with closing(Post(empty_redis_url, **way_out)) as made:
        yield made


@pytest.fixture
def hasty(empty_redis_url: str, way_out: Mapping[str, str]) -> Iterator[Post]:
    """One that waits for no receiver for long."""
    with closing(Post(empty_redis_url, webhook_timeout_seconds=1, **way_out)) as made:
        yield made


def unreachable(proxy: ForwardProxy) -> None:
    proxy.child.kill()


def with_another_password(proxy: ForwardProxy) -> None:
    proxy.restart(password="another")


def without_its_own_proxy(proxy: ForwardProxy) -> None:
    """Let it answer 5xx to everything, because what it forwards to is away."""
    proxy.restart(upstream_port=free_port())


def health(post: Post, delivery: str) -> dict[str, str]:
    """Return what is known of the endpoint of a delivery."""
    endpoint = post.record(delivery)["endpoint"]
    return {str(k): str(v) for k, v in post.world.client.hgetall(keys.endpoint(endpoint)).items()}


def attempt(post: Post, delivery: str) -> None:
    """Let the next attempt be due, and make it."""
    post.world.client.zadd(keys.queue_due("deliveries"), {delivery: 1}, xx=True)
    post.world.sweep()
    do_next_deliveries(post.context)


def failures() -> float:
    return float(metrics.WEBHOOK_ATTEMPTS.labels("egress_proxy_down")._value.get())


@pytest.mark.parametrize(
    "fail",
    [unreachable, with_another_password, without_its_own_proxy],
    ids=lambda one: one.__name__,
)
def test_a_delivery_waits_for_the_proxy_and_uses_up_no_attempt(
    post: Post,
    inbox: WebhookReceiver,
    proxy: ForwardProxy,
    fail: Callable[[ForwardProxy], None],
) -> None:
    fail(proxy)
    before = failures()
    delivery = post.end_jobs(inbox.url)
    for _ in range(ATTEMPTS):
        attempt(post, delivery)

    assert failures() - before == ATTEMPTS
    (logged,) = post.attempts(delivery)
    assert (logged["number"], logged["code"]) == (1, "egress_proxy_down")
    assert "egress proxy" in logged["error"]
    assert post.record(delivery)["state"] == "pending"
    assert float(post.record(delivery)["due"]) > post.world.store.now_ms()
    assert not {"fails", "since", "failed_at", "off"} & health(post, delivery).keys()

    proxy.restart()
    attempt(post, delivery)
    assert post.record(delivery)["state"] == "delivered"
    (logged,) = post.attempts(delivery)
    assert (logged["number"], logged["status"]) == (1, 200)
    assert len(inbox.received) == 1


@contextmanager
def silent(proxy: ForwardProxy) -> Iterator[None]:
    """Let the proxy, and its open tunnels, answer nothing for a time, as if its host were gone."""
    proxy.child.send(signal.SIGSTOP)
    try:
        yield
    finally:
        proxy.child.send(signal.SIGCONT)


def test_an_open_tunnel_of_a_proxy_that_is_away_is_not_an_endpoint_that_fails(
    hasty: Post, inbox: WebhookReceiver, proxy: ForwardProxy
) -> None:
    first, second = hasty.end_jobs(inbox.url), hasty.end_jobs(inbox.url)
    do_next_deliveries(hasty.context)
    assert {hasty.record(one)["state"] for one in (first, second)} == {"delivered", "pending"}
    with silent(proxy):
        do_next_deliveries(hasty.context)

    (waiting,) = (one for one in (first, second) if hasty.record(one)["state"] == "pending")
    (logged,) = hasty.attempts(waiting)
    assert (logged["code"], logged["number"]) == ("egress_proxy_down", 1)
    assert "does not answer" in logged["error"]
    assert "fails" not in health(hasty, waiting)


def test_a_test_event_says_that_the_proxy_does_not_answer(
    empty_redis_url: str, proxy: ForwardProxy, way_out: Mapping[str, str]
) -> None:
    hasty: Any = {"webhook_timeout_seconds": 1, "webhook_allow_hosts": "127.0.0.1"}
    with (
        served(settings(empty_redis_url, **hasty)) as url,
        tenant_at(url, empty_redis_url) as api_server,
        delivering(empty_redis_url, threads=1, **hasty, **way_out),
        silent(proxy),
    ):
        body = {"url": f"http://127.0.0.1:{free_port()}/hook"}
        shown = api_server.client.post("/v1/webhooks/test", json=body).json()

    assert (shown["status"], shown["attempt"]["error"]["code"]) == ("failed", "egress_proxy_down")
    assert "does not answer" in shown["attempt"]["error"]["message"]


def test_an_endpoint_that_is_silent_behind_a_proxy_that_works_fails(
    hasty: Post, inbox: WebhookReceiver
) -> None:
    delivery = hasty.end_jobs(inbox.url)
    inbox.held = True
    attempt(hasty, delivery)
    inbox.held = False

    (logged,) = hasty.attempts(delivery)
    assert logged["code"] == "timeout"
    assert health(hasty, delivery)["fails"] == "1"


def test_the_pause_grows_while_the_proxy_fails_and_is_short_again_after_it_worked(
    post: Post, inbox: WebhookReceiver, proxy: ForwardProxy
) -> None:
    proxy.child.kill()
    delivery = post.end_jobs(inbox.url)
    assert pause_after_attempt(post, delivery) < SHORT_SECONDS
    fail_since(post, delivery, hours=1)
    assert pause_after_attempt(post, delivery) > SHORT_SECONDS

    proxy.restart()
    inbox.script.append(500)
    attempt(post, delivery)
    proxy.child.kill()
    assert pause_after_attempt(post, delivery) < SHORT_SECONDS
    assert [one["code"] for one in post.attempts(delivery)] == ["status", "egress_proxy_down"]


def pause_after_attempt(post: Post, delivery: str) -> float:
    """Make an attempt; return the seconds until the next is due."""
    attempt(post, delivery)
    return (float(post.record(delivery)["due"]) - post.world.store.now_ms()) / 1000


def fail_since(post: Post, delivery: str, *, hours: float) -> None:
    """Let the only attempt of a delivery say that it has waited for the proxy for hours."""
    (logged,) = post.attempts(delivery)
    logged["proxy_down_since"] -= hours * 3600
    post.world.client.hset(keys.delivery("") + delivery, "log", orjson.dumps(logged))


def test_an_endpoint_that_is_away_behind_a_proxy_that_works_fails(
    post: Post, proxy: ForwardProxy
) -> None:
    away = f"http://127.0.0.1:{free_port()}/hook"
    delivery = post.end_jobs(away)

    assert post.settle(delivery) == "failed"
    assert [one["code"] for one in post.attempts(delivery)] == ["egress_proxy"] * 3
    assert health(post, delivery)["fails"] == "3"
    assert proxy.targets()


def test_a_proxy_is_checked_also_by_hosts_that_need_none(provider: Client) -> None:
    direct: Any = {"egress_proxy_direct_hosts": "127.0.0.1", "onemin_base_url": provider.url}
    away = f"127.0.0.1:{free_port()}"
    check = EgressCheck.from_settings(Settings(egress_proxy=f"http://{away}", **direct))

    assert check.failure().startswith(f"The egress proxy {away} cannot be reached")
    assert EgressCheck.from_settings(Settings(onemin_base_url=provider.url)).failure() == ""
