"""What a worker's calls cost, counted by the provider's own call log."""

from shared.model_catalog import DEFAULT_MODEL
from shared.store.usage import Spending, read_usage
from tests.integration.conftest import Open
from tests.support.worker_harness import WorkerHarness


def spent(harness: WorkerHarness) -> Spending:
    days = harness.world.store.run(read_usage("acme", days=1)).days
    return days[0].total if days else Spending(0, 0.0)


def test_credits_are_counted_for_what_was_or_may_have_been_paid(open_harness: Open) -> None:
    harness = open_harness(credits_per_image=f"{DEFAULT_MODEL}=3")
    # refused, then too fast, then made: one is paid
    harness.provider.behave({"fault": "status", "status": 500}, {"fault": "status", "status": 429})
    harness.finish(harness.accept(credits=3.0))
    assert (harness.paid(), spent(harness)) == (1, Spending(1, 3))
    # made and lost on the way, then made again: two are
    harness.provider.behave({"fault": "made_but_522"})
    harness.finish(harness.accept(credits=3.0))
    assert (harness.paid(), spent(harness)) == (3, Spending(3, 9))
    # not made at all
    harness.provider.behave({"fault": "status", "status": 400})
    harness.finish(harness.accept(credits=3.0))
    assert (harness.paid(), spent(harness)) == (3, Spending(3, 9))
