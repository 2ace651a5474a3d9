"""What a worker's calls cost, counted by the provider's own ledger."""

from shared.models import DEFAULT_MODEL
from shared.store.usage import Spent, usage
from tests.integration.conftest import Open
from tests.workshop import Workshop


def spent(workshop: Workshop) -> Spent:
    days = workshop.world.store.run(usage("acme", days=1)).days
    return days[0].total if days else Spent(0, 0.0)


def test_credits_are_counted_for_what_was_or_may_have_been_paid(open_workshop: Open) -> None:
    workshop = open_workshop(credits_per_image=f"{DEFAULT_MODEL}=3")
    # refused, then too fast, then made: one is paid
    workshop.provider.behave({"fault": "status", "status": 500}, {"fault": "status", "status": 429})
    workshop.finish(workshop.accept(credits=3.0))
    assert (workshop.paid(), spent(workshop)) == (1, Spent(1, 3))
    # made and lost on the way, then made again: two are
    workshop.provider.behave({"fault": "made_but_522"})
    workshop.finish(workshop.accept(credits=3.0))
    assert (workshop.paid(), spent(workshop)) == (3, Spent(3, 9))
    # not made at all
    workshop.provider.behave({"fault": "status", "status": 400})
    workshop.finish(workshop.accept(credits=3.0))
    assert (workshop.paid(), spent(workshop)) == (3, Spent(3, 9))
