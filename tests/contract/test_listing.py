"""Jobs are listed newest first, by any of their marks, page by page, and only to their tenant."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from shared.ids import JOB_PREFIX, time_letters
from shared.jobs import JobSpec, Status
from shared.store import keys
from shared.store.functions import SEARCH_BYTES
from shared.store.job_queries import Filter, Page
from shared.store.job_submission import cancel
from shared.words import WORD_CHARACTERS, WORDS_MAX, words
from tests.support.store import World, list_jobs

START = 1_700_000_000_000


@pytest.fixture
def world(empty_redis_url: str) -> Iterator[World]:
    world = World(empty_redis_url)
    yield world
    world.close()


def job_id(number: int) -> str:
    """Name a job as if it had been made `number` seconds after the start."""
    return f"{JOB_PREFIX}{time_letters(START + number * 1000)}{'0' * 16}"


def accept(world: World, numbers: range, **changes: Any) -> list[str]:
    return [world.accept(id=job_id(number), **changes) for number in numbers]


def tagged(*tags: str, model: str = "m") -> JobSpec:
    return JobSpec(model=model, input={"prompt": "p", "seed": 7}, tags=tags)


def page(world: World, wanted: Filter | None = None, *, tenant: str = "acme", **how: Any) -> Page:
    how = {"limit": 50, "scan_limit": 1000, **how}
    return world.store.run(list_jobs(tenant, wanted or Filter(), **how))


def found(page: Page) -> list[str]:
    return [one.job.id for one in page.jobs]


def all_pages(world: World, wanted: Filter | None = None, **how: Any) -> list[str]:
    ids, before = [], None
    while True:
        one = page(world, wanted, before=before, **how)
        ids += found(one)
        if one.before is None:
            return ids
        before = one.before


def test_jobs_come_newest_first(world: World) -> None:
    accepted = accept(world, range(5))
    assert found(page(world)) == accepted[::-1]


def test_a_tenant_without_jobs_gets_an_empty_page(world: World) -> None:
    accept(world, range(2))
    assert page(world, tenant="other") == Page((), None)


def test_pages_follow_each_other_without_gap_or_repeat(world: World) -> None:
    accepted = accept(world, range(7))
    first = page(world, limit=3)
    assert found(first) == accepted[:3:-1]
    assert first.before == accepted[4]
    assert all_pages(world, limit=3) == accepted[::-1]


def test_a_last_page_that_is_just_full_has_no_cursor(world: World) -> None:
    accept(world, range(4))
    assert page(world, limit=4).before is None


def test_jobs_that_come_meanwhile_do_not_move_the_pages(world: World) -> None:
    accepted = accept(world, range(4))
    first = page(world, limit=2)
    accept(world, range(10, 12))
    second = page(world, limit=2, before=first.before)
    assert found(first) + found(second) == accepted[::-1]


def test_ids_bound_the_page_on_both_sides(world: World) -> None:
    accepted = accept(world, range(6))
    bounded = page(world, oldest=accepted[1], newest=accepted[4])
    assert found(bounded) == accepted[3:0:-1]


def test_a_cursor_and_a_bound_hold_together(world: World) -> None:
    accepted = accept(world, range(6))
    assert found(page(world, before=accepted[2], newest=accepted[5])) == accepted[1::-1]
    assert found(page(world, before=accepted[5], newest=accepted[2])) == accepted[1::-1]
    assert found(page(world, before=accepted[5], oldest=accepted[4])) == [accepted[4]]


def test_the_beginning_of_an_id_is_a_bound_too(world: World) -> None:
    accepted = accept(world, range(4))
    bound = JOB_PREFIX + time_letters(START + 2000)
    assert found(page(world, oldest=bound)) == accepted[:1:-1]
    assert found(page(world, newest=bound)) == accepted[1::-1]


def test_times_are_exclusive_and_exact(world: World) -> None:
    (only,) = accept(world, range(1))
    created = world.read(only).job.created_at
    assert found(page(world, Filter(created_after=created - 1))) == [only]
    assert found(page(world, Filter(created_after=created))) == []
    assert found(page(world, Filter(created_before=created + 1))) == [only]
    assert found(page(world, Filter(created_before=created))) == []


def test_every_mark_finds_its_jobs(world: World) -> None:
    plain = accept(world, range(2))
    named = [world.new_job(id=job_id(n), spec=tagged("blue", "large")) for n in range(2, 4)]
    batch_id = world.batch(*named)
    marked = [job.id for job in named]
    other = accept(world, range(4, 5), spec=tagged(model="n"))
    world.store.run(cancel(plain[0], tenant="acme"))
    assert found(page(world, Filter(tag="blue"))) == marked[::-1]
    assert found(page(world, Filter(batch_id=batch_id))) == marked[::-1]
    assert found(page(world, Filter(model="n"))) == other
    assert found(page(world, Filter(status=Status.CANCELED))) == [plain[0]]
    assert found(page(world, Filter(status=Status.QUEUED, tag="large"))) == marked[::-1]
    assert found(page(world, Filter(status=Status.CANCELED, tag="large"))) == []
    assert found(page(world, Filter(tag="green"))) == []


@pytest.mark.parametrize(
    "prompt",
    [
        "Snake_case, CAPITALS and 1st-2nd; a\ttab\x00NUL\x7f",
        "x" * (WORD_CHARACTERS + 5) + " " + " ".join(map(str, range(WORDS_MAX + 5))),
        "again Again AGAIN",
    ],
)
def test_redis_splits_an_ascii_prompt_as_it_is_defined(world: World, prompt: str) -> None:
    (one,) = accept(world, range(1), spec=JobSpec(model="m", input={"prompt": prompt}))
    assert not world.client.hexists(keys.job(one), "words")

    def is_found(word: str) -> bool:
        return found(page(world, Filter(words=(word,)))) == [one]

    defined = words(prompt)
    assert all(map(is_found, defined))
    others = {*re.split(r"[\s,;]", prompt), *prompt.split(), str(WORDS_MAX + 4), ""} - {*defined}
    assert not [word for word in others if word and is_found(word)]


def test_metadata_seed_and_words_must_all_match(world: World) -> None:
    def spec(prompt: str, seed: int, **metadata: str) -> JobSpec:
        return JobSpec(model="m", input={"prompt": prompt, "seed": seed}, metadata=metadata)

    (one,) = accept(world, range(1), spec=spec("A Lighthouse at dawn", 7, order="A-17", shop="n"))
    (two,) = accept(world, range(1, 2), spec=spec("light! DAWN", 2**53 - 1, order="A-18"))
    batch = [world.new_job(id=job_id(3), spec=spec("Straße, dawn", 0, order="A-17", note=""))]
    world.batch(*batch)
    three = batch[0].id
    (four,) = accept(world, range(4, 5), spec=spec("…", 8))

    def ids(**wanted: Any) -> list[str]:
        return found(page(world, Filter(**wanted)))

    assert ids(metadata={"order": "A-17"}) == [three, one]
    assert ids(metadata={"order": "A-17", "shop": "n"}) == [one]
    assert ids(metadata={"order": "A-17", "shop": ""}) == []
    assert ids(metadata={"note": ""}) == [three]
    assert ids(metadata={"prompt": "…"}) == []
    assert ids(seed=0) == [three]
    assert ids(seed=2**53 - 1) == [two]
    assert ids(words=("dawn",)) == [three, two, one]
    assert ids(words=("dawn", "strasse")) == [three]
    assert ids(words=("light",)) == [two]
    assert ids(words=("daw",)) == ids(words=(".",)) == []
    assert ids(words=("dawn",), seed=7, metadata={"order": "A-17"}) == [one]
    assert ids() == [four, three, two, one]


def test_a_search_that_looked_at_enough_goes_on_from_there(world: World) -> None:
    wanted = accept(world, range(1), spec=tagged(model="rare"))
    accept(world, range(1, 10))
    first = page(world, Filter(model="rare"), scan_limit=4)
    assert first.jobs == ()
    assert first.before == job_id(6)
    assert all_pages(world, Filter(model="rare"), scan_limit=4) == wanted


@pytest.mark.parametrize("prompt", ["word " * 1000, "é " * 1000])
def test_a_search_that_read_enough_of_long_prompts_goes_on_from_there(
    world: World, prompt: str
) -> None:
    count = 2 * SEARCH_BYTES // len(prompt) + 1
    accepted = accept(world, range(count), spec=JobSpec("m", {"prompt": f"last {prompt}"}))

    first = page(world, Filter(words=("last",)), limit=200)

    assert 0 < len(first.jobs) <= SEARCH_BYTES // len(prompt) + 1
    assert first.before == found(first)[-1]
    assert all_pages(world, Filter(words=("last",)), limit=200) == accepted[::-1]
    assert all_pages(world, Filter(words=("lost",)), limit=200) == []


def test_a_search_that_read_enough_with_the_last_job_has_no_cursor(world: World) -> None:
    accept(world, range(1), spec=JobSpec("m", {"prompt": "word " * (SEARCH_BYTES // 5 + 1)}))
    assert page(world, Filter(words=("other",))) == Page((), None)


def test_a_record_that_cannot_be_read_does_not_stop_a_search(world: World) -> None:
    good, *bad = accept(world, range(4), spec=JobSpec("m", {"prompt": "dawn", "seed": 7}))
    for one, spec in zip(bad, ['{"prompt": "dawn', "null", '{"dawn": 1}'], strict=True):
        world.client.hset(keys.job(one), "spec", spec)
    assert found(page(world, Filter(words=("dawn",)))) == [good]
    assert found(page(world, Filter(seed=7))) == [good]
    assert found(page(world, Filter(metadata={"a": "b"}))) == []


def test_listed_jobs_are_whole(world: World) -> None:
    (only,) = accept(world, range(1), spec=tagged("blue"))
    (listed,) = page(world).jobs
    assert listed == world.read(only)
