"""Every error of an attempt, and what becomes of the job."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from shared.errors import (
    Canceled,
    ContentRejected,
    DeadlineExceeded,
    ErrorCode,
    FetchFailed,
    ImageExpired,
    ImageInvalid,
    ImageTooLarge,
    Internal,
    JobError,
    ModelGone,
    ProviderAuth,
    ProviderBusy,
    ProviderCredits,
    ProviderDown,
    ProviderRejected,
    ProviderTimeout,
    StorageDown,
    UnknownOutcome,
)
from shared.jobs import Answer, Job, OnUnknown, State
from shared.store.moves import ALIVE, DOWN, GONE, NOTHING, Again, Lesson
from tests.jobs import history, job
from worker import policy
from worker.policy import Failed, decide

KINDS = (
    ProviderRejected,
    ModelGone,
    ContentRejected,
    ProviderAuth,
    ProviderCredits,
    ProviderBusy,
    ProviderDown,
    ProviderTimeout,
    UnknownOutcome,
    ImageExpired,
    ImageInvalid,
    ImageTooLarge,
    FetchFailed,
    StorageDown,
    DeadlineExceeded,
    Canceled,
    Internal,
)


def word(outcome: Again | Failed) -> str:
    """Say an outcome in a few words."""
    if isinstance(outcome, Failed):
        return "fail, unknown" if outcome.unknown else "fail"
    marks = {
        "unknown": outcome.unknown,
        "anew": outcome.regenerate,
        "free": outcome.give_back,
    }
    return ", ".join(["again", *(name for name, is_set in marks.items() if is_set)])


FRESH = job()
LAST = job(attempt=5)
ONCE_UNKNOWN = job(attempt=2, unknown_outcomes=1)
ONCE_ANEW = job(attempt=2, regenerated=1)
FAILS_ON_UNKNOWN = job(on_unknown=OnUnknown.FAIL)

TABLE = """
error            | fresh          | last attempt  | unknown before | anew before   | fail on unknown
ProviderRejected | fail           | fail          | fail           | fail          | fail
ModelGone        | fail           | fail          | fail           | fail          | fail
ContentRejected  | fail           | fail          | fail           | fail          | fail
ProviderAuth     | again, free    | again, free   | again, free    | again, free   | again, free
ProviderCredits  | again, free    | again, free   | again, free    | again, free   | again, free
ProviderBusy     | again, free    | again, free   | again, free    | again, free   | again, free
ProviderDown     | again          | fail          | again          | again         | again
ProviderTimeout  | again, unknown | fail, unknown | fail, unknown  | fail, unknown | fail, unknown
UnknownOutcome   | again, unknown | fail, unknown | fail, unknown  | fail, unknown | fail, unknown
ImageExpired     | again, anew    | fail          | fail           | fail          | again, anew
ImageInvalid     | fail           | fail          | fail           | fail          | fail
ImageTooLarge    | fail           | fail          | fail           | fail          | fail
FetchFailed      | again          | fail          | again          | again         | again
StorageDown      | again, free    | again, free   | again, free    | again, free   | again, free
DeadlineExceeded | fail           | fail          | fail           | fail          | fail
Canceled         | fail           | fail          | fail           | fail          | fail
Internal         | again          | fail          | again          | again         | again
"""


def table() -> Iterator[tuple[type[JobError], list[str]]]:
    by_name = {kind.__name__: kind for kind in KINDS}
    for line in TABLE.strip().splitlines()[1:]:
        name, *words = (cell.strip() for cell in line.split("|"))
        yield by_name[name], words


def rows() -> list[tuple[type[JobError], Job, str]]:
    jobs = (FRESH, LAST, ONCE_UNKNOWN, ONCE_ANEW, FAILS_ON_UNKNOWN)
    return [
        (kind, one, meant)
        for kind, words in table()
        for one, meant in zip(jobs, words, strict=True)
    ]


@pytest.mark.parametrize(("kind", "claimed", "meant"), rows())
def test_each_error_leads_to_its_outcome(kind: type[JobError], claimed: Job, meant: str) -> None:
    assert word(decide(claimed, kind("why"), key_id="k1")) == meant


def test_the_table_has_every_error() -> None:
    def leaves(kind: type[JobError]) -> set[type[JobError]]:
        below = {leaf for child in kind.__subclasses__() for leaf in leaves(child)}
        return below or {kind}

    assert leaves(JobError) == set(KINDS) == {kind for kind, _ in table()}
    # `invalid_input` is the front door's alone
    assert {kind.code for kind in KINDS} == set(ErrorCode) - {ErrorCode.INVALID_INPUT}


@pytest.mark.parametrize(
    ("error", "meant"),
    [
        (ProviderAuth(""), Lesson("dead k1")),
        (ProviderBusy(""), Lesson("hold provider_rate 1000")),
        (ProviderBusy("", retry_after=7), Lesson("hold provider_rate 7000")),
        (ProviderBusy("", retry_after=0), Lesson("hold provider_rate 500")),
        (ProviderBusy("", retry_after=9e9), Lesson("hold provider_rate 600000")),
        (ProviderCredits(""), Lesson("hold provider_credits 30000")),
        (StorageDown(""), Lesson("hold storage 30000")),
        (ProviderDown(""), DOWN),
        (UnknownOutcome(""), DOWN),
        (ProviderTimeout(""), DOWN),
        (ProviderRejected(""), ALIVE),
        (ModelGone(""), GONE),
        (ContentRejected(""), ALIVE),
        (ImageInvalid(""), NOTHING),
        (ImageExpired(""), NOTHING),
        (FetchFailed(""), NOTHING),
        (Internal(""), NOTHING),
    ],
)
def test_each_error_teaches_its_lesson(error: JobError, meant: Lesson) -> None:
    assert policy.lesson_of(error, key_id="k1", chance=lambda: 0.0) == meant


def test_who_is_too_fast_waits_as_told_and_a_random_while_more() -> None:
    for retry_after, least in ((None, 1000), (7, 7000)):
        error = ProviderBusy("", retry_after=retry_after)
        lessons = {policy.lesson_of(error, key_id="k1").word for _ in range(50)}
        held = [int(word.split()[-1]) for word in lessons]
        assert least <= min(held)
        assert max(held) <= least + 1000
        assert len(held) > 10


def test_the_lesson_goes_with_the_outcome() -> None:
    for kind in (ProviderDown, UnknownOutcome, ProviderRejected, StorageDown, ProviderAuth):
        for claimed in (FRESH, LAST):
            outcome = decide(claimed, kind("why"), key_id="k1")
            assert outcome.lesson == policy.lesson_of(kind("why"), key_id="k1")


def waits(error: JobError, attempt: int) -> list[float]:
    claimed = job(attempt=attempt, max_attempts=50)
    chance = random.Random(7).random
    found = [decide(claimed, error, key_id="k", chance=chance) for _ in range(500)]
    return [outcome.wait_seconds for outcome in found if isinstance(outcome, Again)]


@pytest.mark.parametrize(
    ("attempt", "most"), [(1, 1), (2, 2), (3, 4), (4, 8), (6, 32), (7, 60), (40, 60)]
)
def test_waits_double_up_to_a_minute_and_are_spread_over_all_of_it(
    attempt: int, most: float
) -> None:
    found = waits(ProviderDown(""), attempt)
    assert len(found) == 500
    assert policy.BACKOFF_LEAST_SECONDS <= min(found) < most / 10
    assert most * 0.9 < max(found) <= most


def test_a_wish_to_be_left_alone_for_a_while_is_followed() -> None:
    assert min(waits(ProviderDown("", retry_after=20), 1)) == 20


def test_jobs_that_wait_for_the_storage_come_back_spread_before_its_hold_ends() -> None:
    found = waits(StorageDown(""), 1)
    assert policy.STORAGE_AGAIN_SECONDS / 2 <= min(found) < 2.6
    assert 4.9 < max(found) <= policy.STORAGE_AGAIN_SECONDS < policy.STORAGE_HOLD_SECONDS


@pytest.mark.parametrize("kind", [ProviderBusy, ProviderCredits, ProviderAuth])
def test_where_the_gate_waits_the_job_does_not(kind: type[JobError]) -> None:
    assert set(waits(kind("", retry_after=9), 3)) == {0}


def test_a_picture_is_fetched_three_times_however_often_the_provider_was_down_before() -> None:
    bought = {"answer": Answer("r", "https://x"), "state": State.FETCHING}
    before = ((State.CLAIMED, 1), (State.CALLING, 1), (State.QUEUED, 1), (State.CALLING, 2))
    first = history(*before, (State.FETCHING, 2), (State.QUEUED, 2))
    second = (*first, *history((State.FETCHING, 3)))
    third = (*second, *history((State.QUEUED, 3), (State.FETCHING, 4)))

    def outcome(**changes: Any) -> str:
        return word(decide(job(**changes), FetchFailed("cut"), key_id=""))

    assert outcome(attempt=2, history=history(*before)) == "again"
    assert outcome(attempt=3, history=second, **bought) == "again"
    assert outcome(attempt=4, history=third, **bought) == "fail"


def test_a_fetch_whose_attempt_was_given_back_is_not_counted_twice() -> None:
    bought = (State.CALLING, 1), (State.FETCHING, 1)
    stored_in_vain = [(State.QUEUED, 0), (State.FETCHING, 1)] * 30
    claimed = job(answer=Answer("r", "https://x"), history=history(*bought, *stored_in_vain))
    assert word(decide(claimed, FetchFailed("cut"), key_id="")) == "again"


def test_a_picture_that_never_came_over_whole_is_called_invalid() -> None:
    outcome = decide(LAST, FetchFailed("It was cut."), key_id="")
    assert isinstance(outcome, Failed)
    assert (outcome.error.code, str(outcome.error)) == (ErrorCode.IMAGE_INVALID, "It was cut.")
    assert not outcome.error.retryable


def test_a_second_defect_in_a_row_ends_the_job_and_other_troubles_before_do_not() -> None:
    defect = Internal("a defect")
    after_defect = job(attempt=2, last_trouble=ErrorCode.INTERNAL)
    after_another = job(attempt=3, last_trouble=ErrorCode.PROVIDER_DOWN)
    assert word(decide(after_defect, defect, key_id="")) == "fail"
    assert word(decide(after_another, defect, key_id="")) == "again"


def test_calls_never_pass_two_whatever_the_provider_does() -> None:
    """Walk at random through every error, as `generate` and the scripts would."""
    chance = random.Random(11)
    for _ in range(3_000):
        now = job()
        paid = 0
        while True:
            asks = now.answer is None
            kind = chance.choice(KINDS)
            happens_after_buying = kind in (ImageExpired, FetchFailed, StorageDown, ImageInvalid)
            paid += asks and (happens_after_buying or kind in (UnknownOutcome, ProviderTimeout))
            outcome = decide(now, kind("x"), key_id="", chance=chance.random)
            unknown = now.unknown_outcomes + outcome.unknown
            if isinstance(outcome, Failed):
                assert paid <= 1 + unknown + now.regenerated
                assert paid <= 2
                assert now.attempt <= now.max_attempts
                break
            bought = (happens_after_buying or not asks) and not outcome.regenerate
            now = job(
                attempt=now.attempt + (not outcome.give_back),
                unknown_outcomes=unknown,
                regenerated=now.regenerated + outcome.regenerate,
                answer=Answer("r", "https://x") if bought else None,
                last_trouble=kind.code,
            )
