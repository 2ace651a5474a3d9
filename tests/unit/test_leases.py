"""What one process holds, and what it says about it."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from sandbox.wait import wait_until
from shared import metrics
from shared.errors import HistoryDown, LostLease, StoreDown
from shared.store.budgets import crossed_of
from shared.store.command import Command
from shared.store.maintenance import SweepResult
from worker.leases import Leases
from worker.periodic import PeriodicThread, Skipped
from worker.sweep import Sweeper

ProviderResult = Callable[[Command[Any]], Any]


class Redis:
    """Stands in for the store: each call gets the next of what the script says."""

    def __init__(self, *script: object) -> None:
        self.script = list(script)
        self.calls: list[Command[Any]] = []

    def run(self, call: Command[Any]) -> Any:
        self.calls.append(call)
        told = self.script.pop(0) if self.script else []
        if isinstance(told, Exception):
            raise told
        return told


def leases(store: Redis, *, lease_seconds: float = 15) -> Leases:
    return Leases(
        store,  # type: ignore[arg-type]  # it stands in for one
        worker="w",
        queue="generate",
        threads=4,
        lease_seconds=lease_seconds,
    )


def test_what_is_held_is_renewed_with_its_fence_in_one_call() -> None:
    store = Redis()
    kept = leases(store)
    with kept.hold("a", "1"), kept.hold("b", "7"):
        kept.renew()
    (call,) = store.calls
    assert call.args == ["w", "generate", 4, 15_000, "a", "1", "b", "7"]


def test_what_is_lost_is_marked_and_nothing_else() -> None:
    kept = leases(Redis(["a"]))
    with kept.hold("a", "1") as lost, kept.hold("b", "1") as held:
        kept.renew()
        held.check()
        with pytest.raises(LostLease):
            lost.check()


def test_what_is_done_is_not_held_any_more() -> None:
    kept = leases(Redis())
    with kept.hold("a", "1"):
        pass
    assert kept.all() == []


def test_a_member_that_comes_back_to_the_same_process_stays_held_when_the_loser_ends() -> None:
    # given a thread that lost its lease without knowing, and another that claimed the same job
    kept = leases(Redis())
    first, second = kept.hold("a", "1"), kept.hold("a", "2")
    loser = first.__enter__()
    winner = second.__enter__()
    # when
    first.__exit__(None, None, None)
    # then
    assert kept.all() == [winner]
    winner.check()
    with pytest.raises(LostLease):
        loser.check()
    second.__exit__(None, None, None)
    assert kept.all() == []


def test_threads_that_come_and_go_while_leases_are_renewed_do_no_harm() -> None:
    kept = leases(Redis())
    stop = threading.Event()

    def work(number: int) -> None:
        while not stop.is_set():
            with kept.hold(f"{number % 3}", f"{number}"):
                pass

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for _ in range(200):
        kept.renew()
    stop.set()
    for thread in threads:
        thread.join()
    assert kept.all() == []


@pytest.mark.parametrize("trouble", [StoreDown("away"), ZeroDivisionError("a defect")])
def test_no_trouble_ends_the_renewal(trouble: Exception) -> None:
    # given
    store = Redis([], trouble, trouble)
    kept = leases(store, lease_seconds=0.03)
    # when
    kept.start()
    # then
    wait_until(lambda: len(store.calls) > 5, "renewal after the trouble")
    kept.stop()


def test_a_renewal_that_failed_is_tried_again_soon() -> None:
    # given a lease whose third is longer than this test
    store = Redis(StoreDown("away"))
    kept = leases(store, lease_seconds=6)
    # when
    kept.start()
    # then
    wait_until(lambda: len(store.calls) == 2, "another try", seconds=1.5)
    kept.stop()


def sweeper(store: Redis) -> Sweeper:
    return Sweeper(
        store,  # type: ignore[arg-type]  # it stands in for one
        worker="w",
        lease_seconds=0.06,
    )


@pytest.mark.parametrize("trouble", [StoreDown("away"), ZeroDivisionError("a defect")])
def test_no_trouble_ends_the_sweep(trouble: Exception) -> None:
    store = Redis(trouble, trouble, None, None, None)
    work = sweeper(store)
    kept = PeriodicThread("sweep", work.interval_seconds, work.sweep)
    kept.start()
    wait_until(lambda: len(store.calls) >= 4, "sweeps after the trouble")
    store.script[:] = [None] * 1000
    kept.stop()


def test_a_failure_that_lasts_is_logged_once_and_so_is_its_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    # given
    away, full = StoreDown("away"), StoreDown("full")
    store = Redis(away, away, away, full, full, None, None, away, *[None] * 1000)
    work = sweeper(store)
    kept = PeriodicThread("sweep", work.interval_seconds, work.sweep)
    # when
    kept.start()
    wait_until(lambda: len(store.calls) >= 10, "sweeps after the trouble")
    kept.stop()
    # then
    logged = capsys.readouterr().out
    assert logged.count("sweep did not reach redis; retrying") == 3  # away, full, away
    assert logged.count("sweep succeeded again") == 2


def test_a_wait_between_two_tries_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    # given
    away = HistoryDown("away")
    outcomes: list[Exception | None] = [away, Skipped(), away, Skipped(), None, Skipped()]

    def archive() -> None:
        outcome = outcomes.pop(0) if outcomes else None
        if outcome is not None:
            raise outcome

    kept = PeriodicThread("archive", 0.01, archive)
    # when
    kept.start()
    wait_until(lambda: not outcomes, "all tries")
    kept.stop()
    # then
    logged = capsys.readouterr().out
    assert logged.count("archive did not reach the history") == 1
    assert logged.count("archive succeeded again") == 1


def test_a_worker_that_was_lost_at_the_provider_counts_as_an_unknown_outcome() -> None:
    # given
    def counted() -> float:
        return float(metrics.PROVIDER_UNKNOWN_OUTCOMES._value.get())

    before = counted()
    ended = (("m", "provider_unknown_outcome"), ("m", "internal"))
    swept = SweepResult(
        due=0, rescued=("calling", "claimed", "failed", "failed"), failed=ended, permits=0, ended=()
    )
    # when
    sweeper(Redis(swept)).sweep()
    # then
    assert counted() - before == 2


def test_a_threshold_of_a_budget_is_logged_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    # given
    metric = metrics.BUDGET_THRESHOLDS.labels("key", "month", "80")
    before = metric._value.get()
    crossed = crossed_of("acme key:0123456789ab 80 key month refuse 500 400.5 3 80 1796083200000")
    swept = SweepResult(due=0, rescued=(), failed=(), permits=0, crossed=(crossed,))
    # when
    sweeper(Redis(swept)).sweep()
    # then
    assert metric._value.get() - before == 1
    line = capsys.readouterr().out
    for fact in ("budget threshold reached", "acme", "0123456789ab", "month", "80", "400.5", "500"):
        assert fact in line
