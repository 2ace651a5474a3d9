"""The real worker with traps at its seams: `celery -A tests.faults.worker_app worker …`.

`FAULTS_TRAPS` names the directory of the traps. `FAULTS_CLOCK` is `NAME=SECONDS,…`: the clock of
the worker with this name is so many seconds off. `FAULTS_NAMES` is the port of a name server
(`names.py`) that is asked for the hosts of webhooks in place of the system's.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from shared.settings import Settings, inherited_environment
from tests.faults.clock import shift_clock


def _shift_mine(told: str) -> None:
    for entry in filter(None, told.split(",")):
        name, _, seconds = entry.partition("=")
        if any(word.startswith(f"{name}@") for word in sys.argv):
            shift_clock(float(seconds))


_ENVIRONMENT = inherited_environment()
# before the worker's own modules are imported, which take functions of the clock by name
_shift_mine(_ENVIRONMENT.get("FAULTS_CLOCK", ""))

from shared.jobs import Answer  # noqa: E402  see above
from shared.net.addresses import resolve  # noqa: E402
from shared.storage import Storage  # noqa: E402
from shared.store.call import Call  # noqa: E402
from shared.store.client import Store  # noqa: E402
from shared.store.connect import connect  # noqa: E402
from shared.store.moves import Claim  # noqa: E402
from shared.store.replicas import Replicas  # noqa: E402
from shared.store.scripts import Scripts  # noqa: E402
from tests.faults.names import look_up_at  # noqa: E402
from tests.faults.traps import Traps  # noqa: E402
from worker.download import Downloader  # noqa: E402
from worker.life import SPARE_CONNECTIONS, build_room  # noqa: E402
from worker.provider import OneMin  # noqa: E402
from worker.room import Room  # noqa: E402
from worker.send import Sender  # noqa: E402
from worker.tasks import build, worker_settings  # noqa: E402

T = TypeVar("T")
NAMES = _ENVIRONMENT.get("FAULTS_NAMES", "")
TRAPS = Traps(Path(_ENVIRONMENT["FAULTS_TRAPS"]))


class TrappedStore(Store):
    def run(self, call: Call[T]) -> T:
        TRAPS.reach(f"before {call.script}")
        answer = super().run(call)
        # a permit that finds nothing is no claim
        if call.script != "claim" or isinstance(answer, Claim):
            TRAPS.reach(f"after {call.script}")
        return answer


class TrappedProvider(OneMin):
    def generate(
        self,
        model: str,
        prompt_object: Mapping[str, Any],
        *,
        key: str,
        on_submitted: Callable[[str], None] | None = None,
    ) -> Answer:
        prompt = str(prompt_object["prompt"])
        TRAPS.reach("before provider", prompt)
        answer = super().generate(model, prompt_object, key=key, on_submitted=on_submitted)
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


def open_trapped_room(settings: Settings, scripts: Scripts, queues: Sequence[str]) -> Room:
    """Open the worker's room, and put the trapped parts in place of the real ones."""
    client = connect(settings, connections=settings.concurrency + SPARE_CONNECTIONS)
    room = build_room(settings, scripts, queues)
    return replace(
        room,
        store=TrappedStore(client, scripts, Replicas.from_settings(settings)),
        provider=TrappedProvider.from_settings(settings, room.stopping),
        downloader=TrappedDownloader.from_settings(settings),
        storage=TrappedStorage.from_settings(settings),
        sender=Sender.from_settings(settings, look_up_at(int(NAMES)) if NAMES else resolve),
    )


app = build(worker_settings(), open_trapped_room)
