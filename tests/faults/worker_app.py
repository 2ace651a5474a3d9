"""The real worker with traps at its seams: `celery -A tests.faults.worker_app worker …`.

`FAULTS_TRAPS` names the directory of the traps. `FAULTS_CLOCK` is `NAME=SECONDS,…`: the clock of
the worker with this name is so many seconds off. `FAULTS_NAMES` is the port of a name server
(`names.py`) that is asked for the hosts of webhooks in place of the system's.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from shared.settings import Settings, inherited_environment
from tests.faults.clock import shift_clock


def _shift_mine(told: str) -> None:
    for entry in filter(None, told.split(",")):
        name, _, seconds = entry.partition("=")
        if any(word.startswith(f"--hostname={name}@") for word in sys.argv):
            shift_clock(float(seconds))


_ENVIRONMENT = inherited_environment()
# before the worker's own modules are imported, which take functions of the clock by name
_shift_mine(_ENVIRONMENT.get("FAULTS_CLOCK", ""))

from shared.jobs import ProviderResult  # noqa: E402  see above
from shared.net.ssrf import resolve  # noqa: E402
from shared.storage.client import Storage  # noqa: E402
from shared.store.client import Store  # noqa: E402
from shared.store.command import Command  # noqa: E402
from shared.store.connection import connect  # noqa: E402
from shared.store.durability import Replicas  # noqa: E402
from shared.store.functions import FunctionLibrary  # noqa: E402
from shared.store.transitions import Claim, Succeeded  # noqa: E402
from tests.faults.crash_points import CrashPoints  # noqa: E402
from tests.faults.dns_server import look_up_at  # noqa: E402
from worker.celery_tasks import build, worker_settings  # noqa: E402
from worker.context import WorkerContext  # noqa: E402
from worker.image_download import Downloader  # noqa: E402
from worker.lifecycle import SPARE_CONNECTIONS, build_context  # noqa: E402
from worker.provider.client import OneMin  # noqa: E402
from worker.provider.echo import Request  # noqa: E402
from worker.webhook_client import WebhookClient  # noqa: E402

T = TypeVar("T")
NAMES = _ENVIRONMENT.get("FAULTS_NAMES", "")
TRAPS = CrashPoints(Path(_ENVIRONMENT["FAULTS_TRAPS"]))


class TrappedStore(Store):
    def run(self, call: Command[T]) -> T:
        TRAPS.reach(f"before {call.script}")
        answer = super().run(call)
        # a permit that finds nothing is no claim
        if call.script != "claim" or isinstance(answer, Claim):
            TRAPS.reach(f"after {call.script}")
        if isinstance(answer, Succeeded) and isinstance(answer.next, Claim):
            TRAPS.reach("after claim")
        return answer


class TrappedProvider(OneMin):
    def generate(
        self,
        request: Request,
        *,
        key: str,
        on_submitted: Callable[[str], None] | None = None,
    ) -> ProviderResult:
        prompt = str(request.prompt_object["prompt"])
        TRAPS.reach("before provider", prompt)
        answer = super().generate(request, key=key, on_submitted=on_submitted)
        TRAPS.reach("after provider", prompt)
        return answer


class TrappedDownloader(Downloader):
    def fetch(self, url: str) -> bytes:
        TRAPS.reach("before download")
        data = super().fetch(url)
        TRAPS.reach("after download")
        return data


class TrappedStorage(Storage):
    def put(self, key: str, data: bytes, *, content_type: str, sha256: str, job_id: str) -> None:
        TRAPS.reach("before put")
        super().put(key, data, content_type=content_type, sha256=sha256, job_id=job_id)
        TRAPS.reach("after put")


def open_context_with_crash_points(
    settings: Settings, scripts: FunctionLibrary, queues: Sequence[str]
) -> WorkerContext:
    """Open the worker's room, and put the trapped parts in place of the real ones."""
    client = connect(settings, connections=settings.concurrency + SPARE_CONNECTIONS)
    context = build_context(settings, scripts, queues)
    return replace(
        context,
        store=TrappedStore(client, scripts, Replicas.from_settings(settings)),
        provider=TrappedProvider.from_settings(settings, context.stopping),
        downloader=TrappedDownloader.from_settings(settings),
        storage=TrappedStorage.from_settings(settings),
        sender=WebhookClient.from_settings(settings, look_up_at(int(NAMES)) if NAMES else resolve),
    )


app = build(worker_settings(), open_context_with_crash_points)
