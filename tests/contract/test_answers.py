"""No record and no image of the provider is given to two jobs."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from shared.jobs import ProviderResult, State
from shared.store import keys, transitions
from shared.store.answers import identities
from shared.store.functions import ANSWER_PERIOD_MS, ANSWER_PERIODS
from tests.support.store import World, answer_of


@pytest.fixture
def world(empty_redis_url: str) -> Iterator[World]:
    made = World(empty_redis_url)
    yield made
    made.close()


def calling(world: World, tenant: str = "acme") -> transitions.Claim:
    world.accept(tenant)
    return world.call(world.claim())


def keeps(world: World, held: transitions.Claim, answer: ProviderResult) -> bool:
    return world.store.run(transitions.checkpoint(held, answer, seconds=0.5))


def url(path: str, query: str = "X-Amz-Signature=1") -> str:
    return f"https://storage.1min.ai/{path}?{query}"


FIRST = ProviderResult("record-1", url("images/first.webp"))


@pytest.mark.parametrize(
    "second",
    [
        ProviderResult("record-1", url("images/second.webp")),
        ProviderResult("record-2", url("images/first.webp")),
        ProviderResult("record-2", url("images/first.webp", "X-Amz-Signature=2")),
        ProviderResult("record-2", url("images/fir%73t.webp")),
        ProviderResult(None, "http://elsewhere.test/images/first.webp"),
        ProviderResult(None, "https://s3.us-east-1.amazonaws.com/bucket/images/first.webp"),
    ],
)
def test_an_answer_with_the_record_or_the_url_of_another_job_is_not_kept(
    world: World, second: ProviderResult
) -> None:
    assert keeps(world, calling(world), FIRST)
    other = calling(world, "other")

    assert keeps(world, other, second) is False

    job = world.read(other.job.id, "other").job
    assert (job.state, job.answer, job.record_id) == (State.CALLING, None, None)


@pytest.mark.parametrize(
    "second",
    [
        ProviderResult("record-2", url("images/second.webp")),
        ProviderResult(None, url("images/second.webp")),
        ProviderResult("record-2", url("get", "file=second")),
    ],
)
def test_another_answer_is_kept(world: World, second: ProviderResult) -> None:
    assert keeps(world, calling(world), replace(FIRST, url=url("get", "file=first")))

    assert keeps(world, calling(world), second)


def test_a_job_s_own_answer_is_not_a_repeated_one(world: World) -> None:
    held = calling(world)
    # its reply was lost
    assert keeps(world, held, FIRST)
    assert keeps(world, held, FIRST)
    # its record gives it another URL, and it is made again under the same record
    assert world.store.run(
        transitions.claim_answer(held, replace(FIRST, url=url("images/new.webp")))
    )
    world.retry(held, regenerate=True)
    again = world.call(world.claim())

    assert again.job.id == held.job.id
    assert keeps(world, again, FIRST)


def test_what_a_look_up_gives_may_not_be_another_job_s(world: World) -> None:
    assert keeps(world, calling(world), FIRST)
    held = calling(world)
    assert keeps(world, held, answer_of(held.job.id))

    assert world.store.run(transitions.claim_answer(held, FIRST)) is False


def test_a_record_belongs_to_the_job_that_it_was_submitted_for(world: World) -> None:
    first, second = calling(world), calling(world)
    assert world.store.run(transitions.record_submitted(first, "record-1"))
    assert world.store.run(transitions.record_submitted(first, "record-1"))

    assert world.store.run(transitions.record_submitted(second, "record-1")) is False

    assert world.read(second.job.id).job.pending_record is None
    assert keeps(world, first, FIRST)


def test_an_answer_is_recognized_as_long_as_its_url_lives_and_then_forgotten(world: World) -> None:
    world_now = int(world.client.time()[0]) * 1000
    keeps(world, calling(world), FIRST)
    found = list(world.client.scan_iter("{dr}:answers:*"))

    assert found
    period, least = ANSWER_PERIOD_MS, ANSWER_PERIOD_MS * ANSWER_PERIODS
    for key in found:
        assert least <= int(world.client.pttl(key)) <= least + period
    # one of the earliest period that still counts
    owner, record, _ = identities("job_x", replace(FIRST, record_id="old")).split(" ")
    oldest = world_now // period - ANSWER_PERIODS
    shard = f"{record[0]}{ord(record[1]) % 4}"
    world.client.hset(keys.answers(oldest, shard), record, owner)
    assert keeps(world, calling(world), ProviderResult("old", url("images/third.webp"))) is False
