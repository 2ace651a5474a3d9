"""`darkroom up`: run the stack from start to stop."""

import asyncio
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any, Protocol

from sandbox.devstack import aof, banner, directory, keys, ports, s3_cleanup, state
from sandbox.devstack.console import Screen
from sandbox.devstack.demo import Demo, DemoFailed
from sandbox.devstack.disk_guard import DiskGuard
from sandbox.devstack.keys import TenantKeys
from sandbox.devstack.plan import Plan, Ports, StackOptions, servers, services
from sandbox.devstack.process import PortLost
from sandbox.devstack.supervise import Supervisor
from sandbox.servers import valkey_program
from shared.errors import InvalidSettings
from shared.settings import (
    CONCURRENCY_MOST,
    Settings,
    inherited_environment,
    load_settings,
    missing,
)

PORTS_FILE = "ports.json"
#: The exit code after a second interrupt, without a clean stop.
INTERRUPTED = 130
#: The delay before writing `stack.json` is retried, in seconds.
RETRY_SECONDS = 1.0
#: How often the ports are chosen before the start is given up.
PORT_CHOICES = 10
#: The most generate workers on one machine; each is a process of some 100 MB.
WORKERS_MOST = 64
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

#: Creates the first tenant in the Redis at a URL, and returns its keys.
OpenTenant = Callable[[str], TenantKeys]


class ChoosePorts(Protocol):
    """Chooses all ports of a stack, like `ports.choose`."""

    def __call__(
        self, remembered: Mapping[str, Any], *, requested: int | None, workers: int
    ) -> Ports:
        """Choose ports that are free now. Raise PortTaken."""


def run(
    options: StackOptions, provision_tenant: OpenTenant, choose: ChoosePorts = ports.choose
) -> int:
    """Run the stack until it is asked to stop, and return the exit code.

    Raise DarkroomError with a sentence for the operator if it cannot start or continue.
    """
    options = replace(options, data=directory.prepare(options.data))
    with directory.locked(options.data):
        settings = load_settings()
        _check(options, settings)
        screen = Screen(console=_console(settings))
        _set_damaged_keys_aside(options, screen)
        for left in reversed(range(PORT_CHOICES)):
            try:
                return _run_once(_plan(options, settings, screen, choose), provision_tenant, screen)
            except PortLost as lost:
                if not left:
                    raise
                screen.log(f"{lost} The ports are chosen again.", level="warning")
    raise AssertionError


def _run_once(plan: Plan, provision_tenant: OpenTenant, screen: Screen) -> int:
    """Run the stack as planned. Raise PortLost if a planned port was taken in the meantime."""
    data = plan.options.data
    directory.note_address(data, plan.api_url)
    directory.write_json(data / PORTS_FILE, asdict(plan.ports))
    plan.bucket_folder.mkdir(exist_ok=True)
    (data / state.FILE).unlink(missing_ok=True)
    return asyncio.run(_Stack(plan, provision_tenant, screen).live())


def _check(options: StackOptions, settings: Settings) -> None:
    faults = missing(settings, "onemin_api_key") if options.provider == "1min" else []
    if options.port is not None and options.port not in ports.NUMBERS:
        faults.append(f"--port {options.port} is not a port: use a number from 1 to 65535.")
    for option, number, most in (
        ("--workers", options.workers, WORKERS_MOST),
        ("--concurrency", options.concurrency, CONCURRENCY_MOST),
    ):
        if number is not None and not 1 <= number <= most:
            faults.append(f"{option} {number} is not possible: use a number from 1 to {most}.")
    if faults:
        raise InvalidSettings("\n".join(faults))


def _console(settings: Settings) -> bool:
    return settings.log_format == "console" or (
        settings.log_format == "auto" and sys.stderr.isatty()
    )


def _set_damaged_keys_aside(options: StackOptions, screen: Screen) -> None:
    aside = keys.set_damaged_aside(options.data)
    if aside:
        screen.log(
            f"{keys.FILE} was damaged, as after a power loss: new keys are made. API keys that "
            f"were given out still work. The file as it was is {aside}",
            level="warning",
        )


def _plan(options: StackOptions, settings: Settings, screen: Screen, choose: ChoosePorts) -> Plan:
    remembered = directory.recall(options.data / PORTS_FILE)
    chosen = choose(remembered, requested=options.port, workers=options.workers)
    s3_keys = keys.s3_keys(options.data)
    return Plan(options, chosen, s3_keys, settings, inherited_environment(), screen.console)


class _Stack:
    """One run of the stack."""

    def __init__(self, plan: Plan, provision_tenant: OpenTenant, screen: Screen) -> None:
        self._plan = plan
        self._open_tenant = provision_tenant
        self._screen = screen
        self._supervisor = Supervisor(plan.options.data / "logs", screen, self._write_state)
        self._disk_guard = DiskGuard(plan.options.data, plan.ports.redis, screen)
        self._keys: TenantKeys | None = None
        self._stop_requested = asyncio.Event()
        self._killed = False

    async def live(self) -> int:
        """Start, run, and stop; return the exit code."""
        for number in _SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._obey)
        lifetime = asyncio.create_task(self._start_and_stay())
        requested = asyncio.create_task(self._stop_requested.wait())
        await asyncio.wait({lifetime, requested}, return_when=asyncio.FIRST_COMPLETED)
        requested.cancel()
        lifetime.cancel()
        await self._supervisor.stop()
        (self._plan.options.data / state.FILE).unlink(missing_ok=True)
        with suppress(asyncio.CancelledError):
            await lifetime
        return INTERRUPTED if self._killed else 0

    def _obey(self) -> None:
        if self._stop_requested.is_set():
            self._killed = True
            self._supervisor.kill()
            return
        self._screen.log(
            "stopping after the running jobs are done; press Ctrl-C again to stop at once"
        )
        self._stop_requested.set()

    async def _start_and_stay(self) -> None:
        for name in self._plan.unused:
            message = f"{name} is set, but this stack runs a server of its own and does not use it"
            self._screen.log(message, level="warning")
        self._report_changed_port()
        self._supervisor.start(servers(self._plan, self._prepare_redis))
        await self._supervisor.wait_until_serving()
        parts = {part.name: part for part in services(self._plan)}
        deliver = parts.pop("deliver")
        self._supervisor.start(parts.values())
        tenant = await asyncio.to_thread(self._find_keys)
        await self._supervisor.wait_until_serving("api")
        # The image is requested as early as possible: it needs no webhooks, whose worker would
        # take half a core from the API and the other workers while they start.
        demo = asyncio.create_task(self._show(tenant))
        self._supervisor.start([deliver])
        self._keys = tenant
        await self._supervisor.wait_until_serving()
        await demo
        self._write_state()
        _print("", "Darkroom is up; Ctrl-C stops it.", *banner.lines(self._plan, tenant.api_key))
        await asyncio.gather(self._supervisor.failed(), self._disk_guard.watch(), self._tidy())

    def _prepare_redis(self) -> Sequence[str]:
        """Make Valkey's data readable before each of its starts; return further options for it."""
        cut = aof.repair(self._plan.options.data / "redis", valkey_program())
        if cut:
            self._screen.log(str(cut), level="warning", name="redis")
        return self._disk_guard.redis_options()

    def _report_changed_port(self) -> None:
        port = self._plan.ports.api
        if self._plan.options.port is None and port != ports.DEFAULT_PORT:
            self._screen.log(f"port {ports.DEFAULT_PORT} is taken: the API listens on {port}")

    async def _tidy(self) -> None:
        folder = self._plan.bucket_folder
        with suppress(OSError):  # what cannot be deleted now is checked again next time
            await _in_thread(lambda: s3_cleanup.remove(folder))

    def _find_keys(self) -> TenantKeys:
        tenant_keys = keys.tenant_keys(self._plan.options.data)
        if tenant_keys is None:
            tenant_keys = self._open_tenant(self._plan.redis_url)
            keys.save_tenant_keys(self._plan.options.data, tenant_keys)
        return tenant_keys

    async def _show(self, tenant: TenantKeys) -> None:
        if not self._plan.options.demo:
            return
        images = self._plan.options.data / "images"
        demo = Demo(self._plan.api_url, tenant.api_key, images, print_line=_print)
        try:
            await _in_thread(demo.run)
        except DemoFailed as failure:
            self._screen.log(f"the demonstration failed: {failure}", level="error")

    def _write_state(self) -> None:
        if self._keys and self._supervisor.complete and not self._stop_requested.is_set():
            content = state.describe(self._plan, self._keys, self._supervisor)
            try:
                directory.write_json(self._plan.options.data / state.FILE, content)
            except directory.BadDirectory:  # the disk is full: stack.json must become true later
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self._write_state)


def _print(*lines: str) -> None:
    with suppress(OSError):  # `darkroom up | head`: the stack continues without a reader
        print(*lines, sep="\n", flush=True)  # noqa: T201  what the user of a terminal came for


async def _in_thread(work: Callable[[], object]) -> None:
    """Run blocking work in a thread that the exit of the program does not wait for."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(error: Exception | None) -> None:
        if done.done():
            return
        if error:
            done.set_exception(error)
        else:
            done.set_result(None)

    def labour() -> None:
        error: Exception | None = None
        try:
            work()
        except Exception as fault:  # noqa: BLE001  passed to the waiting task
            error = fault
        with suppress(RuntimeError):  # the loop has ended: nobody waits any more
            loop.call_soon_threadsafe(settle, error)

    threading.Thread(target=labour, daemon=True).start()
    await done
