"""Webhooks on their way: real receivers, a real Redis, and the worker that sends."""

import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import trustme

from sandbox.servers import free_port
from sandbox.wait import wait_until
from shared import metrics
from shared.jobs import JobSpec
from shared.net.ssrf import Endpoint
from shared.settings import Settings
from shared.store import keys
from tests.integration.loopback import OK, answering, dripping, read_request, serving, silent
from tests.support.store import World
from tests.support.webhook_receiver import WebhookReceiver, receiver
from tests.support.worker_harness import INPUT, StopsDuringTheCall, close_context
from tests.support.worker_process import worker
from worker.lifecycle import build_context
from worker.webhook_client import WebhookClient
from worker.webhook_delivery import do_next_deliveries

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEYS = {"onemin_api_key": "k", "s3_access_key": "access-key", "s3_secret_key": "secret-key"}
QUICK: Mapping[str, Any] = {
    **KEYS,
    "webhook_allow_hosts": "127.0.0.1",
    "webhook_schedule": "0,0.1,0.1",
    "public_url": "https://darkroom.test",
}


class Post:
    """A tenant whose jobs end at once, and a room that tells of it."""

    def __init__(self, redis_url: str, **changes: Any) -> None:
        self.world = World(redis_url, **{**QUICK, **changes})
        self.world.client.hset(keys.tenant("acme"), "webhook_secret", SECRET)
        self.context = build_context(self.world.settings, self.world.scripts, ["deliver"])

    def close(self) -> None:
        close_context(self.context)
        self.world.close()

    def counted(self, name: str) -> int:
        """How many of them there are by the service's own counters."""
        return int(self.world.client.hget(keys.counts(), name) or 0)

    def end_jobs(self, url: str, *, tenant: str = "acme", **webhook: Any) -> str:
        """Let a job end that asked for a webhook; return the id of the delivery."""
        told = {"url": url, "events": ["job.succeeded"], **webhook}
        spec = JobSpec("m", INPUT, webhook=told)
        job_id = self.world.accept(tenant, spec=spec, webhook_host="127.0.0.1")
        self.world.succeed(self.world.checkpoint(self.world.call(self.world.claim())))
        return f"msg_{job_id.removeprefix('job_')}_1_succeeded"

    def record(self, delivery: str) -> dict[str, str]:
        return dict(self.world.client.hgetall(keys.delivery("") + delivery))  # type: ignore[arg-type]  # not asyncio's

    def attempts(self, delivery: str) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.record(delivery).get("log", "").split("\n")]

    def settle(self, delivery: str) -> str:
        """Send until the delivery has ended; return how."""

        def has_ended() -> bool:
            self.world.sweep()
            do_next_deliveries(self.context)
            return self.record(delivery)["state"] in {"delivered", "failed"}

        wait_until(has_ended, "the end of a delivery")
        assert self.world.client.zcard(keys.queue_leases("deliveries")) == 0
        return self.record(delivery)["state"]


@pytest.fixture
def post(empty_redis_url: str) -> Iterator[Post]:
    made = Post(empty_redis_url)
    yield made
    made.close()


@pytest.fixture
def hasty(empty_redis_url: str) -> Iterator[Post]:
    """One that waits for no receiver for long."""
    made = Post(empty_redis_url, webhook_timeout_seconds=0.5)
    yield made
    made.close()


def test_a_webhook_arrives_signed_once(post: Post, inbox: WebhookReceiver) -> None:
    # given
    delivery = post.end_jobs(inbox.url)
    # when
    assert post.settle(delivery) == "delivered"
    # then
    (request,) = inbox.received
    told = request.verify(SECRET)
    assert (told["type"], told["data"]["status"]) == ("job.succeeded", "succeeded")
    assert request.id == delivery
    assert request.headers["content-type"] == "application/json"
    (attempt,) = post.attempts(delivery)
    assert attempt["status"] == 200


def test_what_is_claimed_while_a_stop_comes_is_released_and_not_sent(
    post: Post, inbox: WebhookReceiver
) -> None:
    first, second = post.end_jobs(inbox.url), post.end_jobs(inbox.url)

    do_next_deliveries(replace(post.context, stopping=StopsDuringTheCall()), most=5)

    assert [request.id for request in inbox.received] == [first]
    assert (post.record(second)["state"], post.record(second)["attempt"]) == ("pending", "0")
    assert post.world.client.zcard(keys.queue_leases("deliveries")) == 0


def test_a_delivery_is_counted_even_if_the_next_one_cannot_be_read(
    post: Post, inbox: WebhookReceiver
) -> None:
    first, second = post.end_jobs(inbox.url), post.end_jobs(inbox.url)
    post.world.client.hset(keys.delivery("") + second, "snapshot", "{")
    before = metrics.WEBHOOK_ATTEMPTS.labels("delivered")._value.get()

    with pytest.raises(orjson.JSONDecodeError):
        do_next_deliveries(post.context, most=5)

    assert post.record(first)["state"] == "delivered"
    assert metrics.WEBHOOK_ATTEMPTS.labels("delivered")._value.get() - before == 1


def test_a_delivery_costs_one_round_trip_after_the_first(
    post: Post, inbox: WebhookReceiver
) -> None:
    def calls() -> int:
        commands: Any = post.world.client.info("commandstats")
        return int(commands["cmdstat_fcall"]["calls"])

    owed = {post.end_jobs(inbox.url) for _ in range(3)}
    before = calls()
    do_next_deliveries(post.context, 3)
    assert calls() - before == 4
    assert {request.id for request in inbox.received} == owed
    assert len(inbox.received) == 3


def test_a_webhook_names_the_image_at_the_cdn(empty_redis_url: str, inbox: WebhookReceiver) -> None:
    post = Post(empty_redis_url, image_base_url="https://cdn.test")
    try:
        assert post.settle(post.end_jobs(inbox.url)) == "delivered"
    finally:
        post.close()
    image = inbox.received[0].verify(SECRET)["data"]["image"]
    assert image["url"].startswith("https://cdn.test/v1/jobs/job_")


def test_after_an_error_the_same_message_comes_again(post: Post, inbox: WebhookReceiver) -> None:
    # given
    inbox.script = [500, 429]
    delivery = post.end_jobs(inbox.url)
    # when
    assert post.settle(delivery) == "delivered"
    # then
    assert [request.id for request in inbox.received] == [delivery] * 3
    assert len({request.body for request in inbox.received}) == 1
    for request in inbox.received:
        request.verify(SECRET)
    assert [attempt["status"] for attempt in post.attempts(delivery)] == [500, 429, 200]


def test_after_the_last_attempt_the_delivery_has_failed(post: Post, inbox: WebhookReceiver) -> None:
    inbox.status = 503
    assert post.settle(post.end_jobs(inbox.url)) == "failed"
    assert len(inbox.received) == 3


def test_a_receiver_that_is_gone_gets_no_second_attempt(post: Post, inbox: WebhookReceiver) -> None:
    inbox.status = 410
    assert post.settle(post.end_jobs(inbox.url)) == "failed"
    assert len(inbox.received) == 1


def test_redirects_are_not_followed(post: Post, inbox: WebhookReceiver) -> None:
    with receiver() as elsewhere:
        inbox.status = 307
        inbox.headers = {"location": elsewhere.url}
        assert post.settle(post.end_jobs(inbox.url)) == "failed"
        assert elsewhere.received == []


def test_loopback_is_refused_unless_it_is_allowed_by_name(
    empty_redis_url: str, inbox: WebhookReceiver
) -> None:
    post = Post(empty_redis_url, webhook_allow_hosts="hooks.example.com")
    delivery = post.end_jobs(inbox.url)
    assert post.settle(delivery) == "failed"
    assert inbox.received == []
    assert {attempt["error"] for attempt in post.attempts(delivery)} == {
        "127.0.0.1 resolves to an address that is loopback."
    }
    post.close()


def test_a_receiver_cannot_hold_an_attempt_beyond_its_time(hasty: Post) -> None:
    with serving(silent) as port:
        delivery = hasty.end_jobs(f"http://127.0.0.1:{port}/hook")
        assert hasty.settle(delivery) == "failed"
    seconds = [attempt["seconds"] for attempt in hasty.attempts(delivery)]
    assert len(seconds) == 3
    assert max(seconds) < 10


def test_a_receiver_that_drips_its_headers_is_left_in_time(hasty: Post) -> None:
    with serving(dripping(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n")) as port:
        delivery = hasty.end_jobs(f"http://127.0.0.1:{port}/hook")
        assert hasty.settle(delivery) == "failed"
    assert max(attempt["seconds"] for attempt in hasty.attempts(delivery)) < 10


def test_what_a_receiver_says_after_its_status_does_not_change_it(hasty: Post) -> None:
    endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with serving(dripping(endless, b"1\r\nx\r\n")) as port:
        delivery = hasty.end_jobs(f"http://127.0.0.1:{port}/hook")
        assert hasty.settle(delivery) == "delivered"
    (attempt,) = hasty.attempts(delivery)
    assert attempt["seconds"] < 10
    assert attempt["answer"].startswith("x")


def test_what_a_receiver_says_is_kept_without_control_characters(hasty: Post) -> None:
    said = b"\x1b]0;title\x07well\x1b[2J\ndone\x00"

    def answer(connection: socket.socket, _: threading.Event) -> None:
        read_request(connection)
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(said)}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + said)

    with serving(answer) as port:
        delivery = hasty.end_jobs(f"http://127.0.0.1:{port}/hook")
        assert hasty.settle(delivery) == "delivered"
    (attempt,) = hasty.attempts(delivery)
    assert attempt["answer"] == "well\ndone"


def test_headers_of_the_tenant_go_along_and_cannot_replace_ours(
    post: Post, inbox: WebhookReceiver
) -> None:
    headers = {"X-Token": "t", "Webhook-Id": "another", "Content-Type": "text/plain"}
    delivery = post.end_jobs(inbox.url, headers=headers)
    assert post.settle(delivery) == "delivered"
    (request,) = inbox.received
    assert request.headers["x-token"] == "t"
    assert request.id == delivery
    assert request.headers["content-type"] == "application/json"
    request.verify(SECRET)


def test_a_header_that_cannot_be_sent_fails_the_delivery_and_not_the_worker(
    post: Post, inbox: WebhookReceiver
) -> None:
    delivery = post.end_jobs(inbox.url, headers={"x-token": "two\r\nlines"})
    assert post.settle(delivery) == "failed"
    assert inbox.received == []


def test_the_delivery_log_names_an_impossible_address() -> None:
    sent = WebhookClient.from_settings(Settings()).post("http://xn--a/", b"{}", {})
    assert sent.status is None
    assert sent.error


def test_the_delivery_log_says_why_there_is_no_response() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)

    def greet(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(b"SSH-2.0-server\r\n")
        connection.recv(1000)

    def unknown(host: str, port: int, timeout: float | None) -> tuple[Endpoint, ...]:
        raise socket.gaierror(socket.EAI_NONAME, f"{host}:{port}, {timeout} s")

    settings = Settings(webhook_allow_hosts="localhost")
    with (
        closing(WebhookClient.from_settings(settings)) as sender,
        closing(WebhookClient.from_settings(settings, unknown)) as lost,
        serving(answering(OK), tls=context) as secured,
        serving(greet) as other,
    ):
        urls = [f"https://localhost:{secured}/", f"https://localhost:{other}/"]
        urls += [f"http://localhost:{other}/", f"http://localhost:{free_port()}/"]
        found = [sender.post(url, b"{}", {}).error for url in urls]
        found.append(lost.post("http://hook.example/", b"{}", {}).error)
    certificate, handshake, protocol, closed, name = found
    assert certificate.startswith("The TLS certificate of the endpoint was not accepted: ")
    assert handshake == "The TLS handshake with the endpoint failed: wrong version number."
    assert protocol == "The endpoint closed the connection, or its response is not HTTP."
    assert closed == "The endpoint could not be reached."
    assert name == "The host name of the endpoint could not be resolved."


def test_a_stop_by_force_gives_a_delivery_back_with_its_attempt(post: Post) -> None:
    # given
    with serving(silent) as port:
        delivery = post.end_jobs(f"http://127.0.0.1:{port}/hook")
        sending = threading.Thread(target=do_next_deliveries, args=(post.context,))
        sending.start()
        held = post.context.leases["deliver"]
        wait_until(lambda: bool(held.all()) and held.all()[0].release is not None, "a delivery")
        # when
        (one,) = held.all()
        assert one.release is not None
        one.release()
        # then
        assert post.record(delivery)["state"] == "pending"
        assert post.record(delivery)["attempt"] == "0"
    sending.join(30)


def test_the_deliver_worker_sends_what_is_owed(
    empty_redis_url: str, inbox: WebhookReceiver, tmp_path: Path
) -> None:
    # given
    settings = {**QUICK, "redis_url": empty_redis_url, "provider_rate_per_minute": 0}
    post = Post(empty_redis_url)
    inbox.script = [500]
    with worker(tmp_path, settings, "deliver"):
        # when
        owed = {post.end_jobs(inbox.url) for _ in range(10)}
        # then
        wait_until(
            lambda: {post.record(one)["state"] for one in owed} == {"delivered"}, "ten webhooks"
        )
    assert {request.id for request in inbox.received} == owed
    assert len(inbox.received) == 11
    for request in inbox.received:
        request.verify(SECRET)
    post.close()


def test_a_receiver_that_was_ill_gets_all_it_missed_and_hurts_no_other(
    empty_redis_url: str, inbox: WebhookReceiver, tmp_path: Path
) -> None:
    # given: one receiver fails at first, another at the same host is well
    often = ",".join(["0", *["0.1"] * 8])
    settings = {**QUICK, "webhook_schedule": often}
    post = Post(empty_redis_url, **settings)
    post.world.client.hset(keys.tenant("other"), "webhook_secret", SECRET)
    with receiver() as ill:
        ill.status = 500
        ailing = [post.end_jobs(ill.url, tenant="other") for _ in range(40)]
        well = [post.end_jobs(inbox.url) for _ in range(40)]
        settings |= {"redis_url": empty_redis_url, "provider_rate_per_minute": 0}
        # when
        with worker(tmp_path, settings, "deliver"):
            everything = (*ailing, *well)
            wait_until(lambda: post.counted("webhook_parked") > 0, "some to wait for the ill one")
            assert post.counted("endpoints_failing") == 1
            ill.status = 200
            wait_until(
                lambda: {post.record(one)["state"] for one in everything} == {"delivered"},
                "eighty webhooks",
                seconds=30,
            )
        # then: each once, but for what had failed
        attempts = [int(post.record(one)["attempt"]) for one in ailing]
        assert len(ill.received) == sum(attempts) > len(ailing)
        assert {request.id for request in ill.received} == set(ailing)
        assert sorted(request.id for request in inbox.received) == sorted(well)
    for name in ("webhook_pending", "webhook_parked", "endpoints_failing"):
        assert post.counted(name) == 0
    post.close()


def test_more_receivers_than_threads_each_keep_a_connection() -> None:
    made: list[int] = []

    def answer(client: socket.socket, _: threading.Event) -> None:
        made.append(1)
        while client.recv(1, socket.MSG_PEEK):
            read_request(client)
            client.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    hosts = [f"127.0.0.{number}" for number in range(11, 16)]
    settings = Settings(concurrency=1, webhook_allow_hosts=",".join(hosts))
    sender = WebhookClient.from_settings(settings)
    with ExitStack() as stack:
        places = [(host, stack.enter_context(serving(answer, host=host))) for host in hosts]
        stack.callback(sender.close)
        for host, port in places * 3:
            assert sender.post(f"http://{host}:{port}/hook", b"{}", {}).is_delivered
    assert len(made) == len(hosts)
