"""What is sent, as receivers verify it: by the public packages, and as `docs/webhooks.md` says."""

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import standardwebhooks
import svix.webhooks
from standardwebhooks import WebhookVerificationError

from sandbox.servers import free_port
from sandbox.subprocesses import Child
from sandbox.wait import wait_for_port, wait_until
from shared.ids import JOB_PREFIX
from shared.settings import inherited_environment
from shared.signing import now_utc, webhook_headers
from tests.integration.test_webhooks import SECRET, Post
from tests.support import node
from tests.support.webhook_receiver import receiver

pytestmark = pytest.mark.xdist_group("node")

PAGE = Path(__file__).parents[2] / "docs" / "webhooks.md"
OTHER_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


@dataclass(frozen=True)
class Message:
    """One webhook as it came over the wire."""

    body: str
    headers: dict[str, str]


#: Gives what each message told to whoever has its secret, None where that refused it.
Verify = Callable[[Sequence[tuple[str, Message]]], list[Any]]


@pytest.fixture(scope="module", autouse=True)
def packages() -> None:
    node.install()


@pytest.fixture
def post(empty_redis_url: str) -> Iterator[Post]:
    made = Post(empty_redis_url, webhook_timeout_seconds=15)
    yield made
    made.close()


@pytest.fixture(scope="module")
def sent(redis_url: str) -> Message:
    """A webhook that was really sent."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    with receiver() as inbox, closing(Post(redis_url)) as post:
        assert post.settle(post.end_jobs(inbox.url)) == "delivered"
    (request,) = inbox.received
    return Message(request.body.decode(), request.headers)


def signed_by(message: Message, *secrets: str) -> Message:
    """Return the message as it is sent while one secret takes the place of another."""
    number = message.headers["webhook-id"]
    signed = webhook_headers(secrets, message_id=number, at=now_utc(), body=message.body)
    return Message(message.body, {**message.headers, **signed})


def in_python(verify: Callable[[str, Message], Any]) -> Verify:
    def checked(secret: str, message: Message) -> Any:
        try:
            return verify(secret, message)
        except WebhookVerificationError:
            return None

    return lambda asked: [checked(secret, message) for secret, message in asked]


def by_svix(secret: str, message: Message) -> Any:
    svix.webhooks.Webhook(secret).verify(message.body.encode(), message.headers)
    return json.loads(message.body)


def in_javascript(package: str) -> Verify:
    def verify(asked: Sequence[tuple[str, Message]]) -> list[Any]:
        messages = [{"secret": secret, **asdict(message)} for secret, message in asked]
        described = json.dumps({"package": package, "messages": messages})
        answers: list[Any] = json.loads(node.run(node.HOME / "verify.mjs", described))
        return answers

    return verify


PACKAGES: dict[str, Verify] = {
    "standardwebhooks for Python": in_python(
        lambda secret, message: standardwebhooks.Webhook(secret).verify(
            message.body.encode(), message.headers
        )
    ),
    "svix for Python": in_python(by_svix),
    "standardwebhooks for JavaScript": in_javascript("standardwebhooks"),
    "svix for JavaScript": in_javascript("svix"),
}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_public_package_verifies_what_is_sent_and_during_a_rotation_and_nothing_else(
    sent: Message, package: str
) -> None:
    verify = json.loads(sent.body)
    rotating = signed_by(sent, OTHER_SECRET, SECRET)
    forged = Message(sent.body.replace("succeeded", "failed"), sent.headers)
    found = PACKAGES[package](
        [
            (SECRET, sent),
            # whoever has the old secret or the new one can verify while one replaces the other
            (SECRET, rotating),
            (OTHER_SECRET, rotating),
            (SECRET, forged),
            (OTHER_SECRET, sent),
        ]
    )
    assert found == [verify, verify, verify, None, None]


# the page -------------------------------------------------------------------------------------


def programs(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def test_the_page_has_one_program_for_each_language() -> None:
    assert [len(programs(language)) for language in ("python", "js", "go")] == [1, 1, 1]


@contextmanager
def running(language: str, directory: Path) -> Iterator[tuple[str, Child]]:
    """Run the page's program; return its address, and the process."""
    (directory / "node_modules").symlink_to(node.PACKAGES)
    program, ending = {"python": (sys.executable, "py"), "js": (node.NODE, "mjs")}[language]
    script, port = directory / f"hook.{ending}", free_port()
    script.write_text(programs(language)[0])
    verify = {**inherited_environment(), "WEBHOOK_SECRET": SECRET, "PORT": str(port)}
    with Child([program, str(script)], directory / "log", environment=verify) as child:
        wait_for_port(port, seconds=30)
        yield f"http://127.0.0.1:{port}/hook", child


@pytest.mark.parametrize("language", ["python", "js"])
def test_the_pages_program_hears_each_job_once_and_no_stranger(
    post: Post, tmp_path: Path, language: str
) -> None:
    with running(language, tmp_path) as (url, child):
        # given
        delivery = post.end_jobs(url)
        # when: it is sent, comes a second time, and then from somebody else
        assert post.settle(delivery) == "delivered"
        job = JOB_PREFIX + delivery.split("_")[1]
        data = {"id": job, "status": "failed", "version": 1}
        body = json.dumps({"type": "job.failed", "data": data})
        message = Message(body, {"webhook-id": delivery})
        late, forged = (signed_by(message, one) for one in (SECRET, OTHER_SECRET))
        answers = [
            httpx.post(url, content=one.body, headers=one.headers).status_code
            for one in (late, forged, message)
        ]
        # then
        assert answers == [204, 401, 401]
        line = f"job.succeeded {job} succeeded"
        wait_until(lambda: line in child.log.read_text(), "the line that tells")
        assert child.log.read_text().count("job_") == 1


@pytest.mark.parametrize("language", ["python", "js"])
def test_the_pages_program_hears_of_a_batch(tmp_path: Path, language: str) -> None:
    with running(language, tmp_path) as (url, child):
        # given: a batch, which has no version
        body = json.dumps(
            {"type": "batch.completed", "data": {"id": "batch_1", "status": "completed"}}
        )
        verify = signed_by(Message(body, {"webhook-id": "msg_1_1_completed"}), SECRET)
        # when
        answers = [
            httpx.post(url, content=verify.body, headers=verify.headers).status_code
            for _ in range(2)
        ]
        # then
        assert answers == [204, 204]
        wait_until(lambda: "batch_1" in child.log.read_text(), "the line that tells")
        assert child.log.read_text().count("batch.completed batch_1 completed") == 1
