"""Every error of an attempt, and what becomes of the job."""

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from shared.errors import (
    ContentRejected,
    EndpointMissing,
    ErrorCode,
    FetchFailed,
    ImageDamaged,
    ImageExpired,
    ImageHostDown,
    ImageHostForbidden,
    ImageInvalid,
    ImageNotReady,
    ImageTooLarge,
    Internal,
    JobError,
    LookUpFailed,
    ModelGone,
    ProviderAuth,
    ProviderBusy,
    ProviderCredits,
    ProviderDown,
    ProviderRejected,
    ProviderTimeout,
    RecordFailed,
    RecordLost,
    RecordUnreadable,
    RequestBlocked,
    StorageDown,
    UnknownOutcome,
)
from shared.jobs import Job, OnUnknown, ProviderResult, State
from shared.provider_keys import ProviderKey
from shared.store.functions import IMAGE_HOLD_MS
from shared.store.transitions import NO_SIGNAL, REGENERATED, Requeue, Signal
from tests.support.jobs import history, job
from worker import retry_policy
from worker.retry_policy import Fail, decide

KINDS = (
    ProviderRejected,
    ModelGone,
    ContentRejected,
    ProviderAuth,
    ProviderCredits,
    ProviderBusy,
    ProviderDown,
    RequestBlocked,
    EndpointMissing,
    RecordFailed,
    RecordLost,
    ProviderTimeout,
    UnknownOutcome,
    RecordUnreadable,
    ImageExpired,
    ImageNotReady,
    ImageHostForbidden,
    LookUpFailed,
    ImageInvalid,
    ImageTooLarge,
    FetchFailed,
    ImageDamaged,
    StorageDown,
    Internal,
)


KEY = ProviderKey("k1", "team-1", "")


def error_of(kind: type[JobError], **about: Any) -> JobError:
    if issubclass(kind, ImageHostDown):
        return kind("why", host="images.example", **about)
    return kind("why", **about)


def word(outcome: Requeue | Fail) -> str:
    """Say an outcome in a few words."""
    if isinstance(outcome, Fail):
        return "fail, unknown" if outcome.unknown else "fail"
    marks = {
        "unknown": outcome.unknown,
        "anew": outcome.regenerate,
        "free": outcome.refund_attempt,
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
ModelGone        | again, free    | again, free   | again, free    | again, free   | again, free
ContentRejected  | fail           | fail          | fail           | fail          | fail
ProviderAuth     | again, free    | again, free   | again, free    | again, free   | again, free
ProviderCredits  | again, free    | again, free   | again, free    | again, free   | again, free
ProviderBusy     | again, free    | again, free   | again, free    | again, free   | again, free
ProviderDown     | again          | fail          | again          | again         | again
RequestBlocked   | again          | fail          | again          | again         | again
EndpointMissing  | again, free    | again, free   | again, free    | again, free   | again, free
RecordFailed     | again          | fail          | again          | again         | again
RecordLost       | again, free    | again, free   | again, free    | again, free   | again, free
ProviderTimeout  | again, unknown | fail, unknown | fail, unknown  | fail, unknown | fail, unknown
UnknownOutcome   | again, unknown | fail, unknown | fail, unknown  | fail, unknown | fail, unknown
RecordUnreadable | again, unknown | fail, unknown | fail, unknown  | fail, unknown | fail, unknown
ImageExpired     | again, anew    | fail          | fail           | fail          | again, anew
ImageNotReady    | again, free    | again, free   | again, free    | again, free   | again, free
ImageHostForbidden | again, free  | again, free   | again, free    | again, free   | again, free
LookUpFailed     | again, free    | again, free   | again, free    | again, free   | again, free
ImageInvalid     | fail           | fail          | fail           | fail          | fail
ImageTooLarge    | fail           | fail          | fail           | fail          | fail
FetchFailed      | again          | fail          | again          | again         | again
ImageDamaged     | again          | fail          | again          | again         | again
StorageDown      | again, free    | again, free   | again, free    | again, free   | again, free
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
    assert word(decide(claimed, error_of(kind), key=KEY)) == meant


def test_the_table_has_every_error() -> None:
    def below(kind: type[JobError]) -> set[type[JobError]]:
        return {kind, *(leaf for child in kind.__subclasses__() for leaf in below(child))}

    # the host that is away stands for itself in the tests below
    assert (
        below(JobError) - {JobError, ImageHostDown} == set(KINDS) == {kind for kind, _ in table()}
    )
    # the first is the API's alone, the others are what the Lua functions end a job with
    elsewhere = {ErrorCode.INVALID_INPUT, ErrorCode.DEADLINE_EXCEEDED, ErrorCode.CANCELED}
    assert {kind.code for kind in KINDS} == set(ErrorCode) - elsewhere


@pytest.mark.parametrize(
    ("error", "meant"),
    [
        (ProviderAuth(""), "key_dead k1"),
        (ProviderBusy(""), "hold provider_rate:key:k1 1000"),
        (ProviderBusy("", retry_after=7), "hold provider_rate:key:k1 7000"),
        (ProviderBusy("", retry_after=0), "hold provider_rate:key:k1 500"),
        (ProviderBusy("", retry_after=9e9), "hold provider_rate:key:k1 600000"),
        (ProviderCredits(""), "hold provider_credits:team:team-1 30000"),
        (ProviderCredits("", needed=105, has=35), "hold provider_credits:team:team-1 30000 105 35"),
        (StorageDown(""), "hold storage 30000"),
        (EndpointMissing(""), "hold provider_down:model 30000"),
        (RecordLost(""), "none"),
        (RecordFailed(""), "failed k1 team-1"),
        (RecordUnreadable(""), "none"),
        (ProviderDown(""), "failed k1 team-1"),
        (RequestBlocked(""), "failed k1 team-1"),
        (UnknownOutcome(""), "failed k1 team-1"),
        (ProviderTimeout(""), "failed k1 team-1"),
        (ProviderRejected(""), "healthy k1 team-1"),
        (ModelGone(""), "model_removed k1 team-1"),
        (ContentRejected(""), "healthy k1 team-1"),
        (ImageInvalid(""), "none"),
        (ImageExpired(""), "regenerated"),
        (ImageHostDown("", host="images.example"), "unfetched images.example"),
        (ImageHostForbidden("", host="images.example"), "unfetched images.example"),
        (ImageNotReady(""), "none"),
        (LookUpFailed(""), "none"),
        (FetchFailed(""), "none"),
        (Internal(""), "none"),
    ],
)
def test_each_error_reports_its_signal(error: JobError, meant: str) -> None:
    assert retry_policy.signal_for(FRESH, error, key=KEY, chance=lambda: 0.0).text == meant


def test_a_request_that_is_blocked_again_and_again_counts_once() -> None:
    again = replace(FRESH, attempt=2)
    assert retry_policy.signal_for(again, RequestBlocked(""), key=KEY) == NO_SIGNAL
    assert retry_policy.signal_for(again, ProviderDown(""), key=KEY) != NO_SIGNAL


def test_a_key_that_is_too_fast_waits_as_asked_and_a_random_while_more() -> None:
    for retry_after, least in ((None, 1000), (7, 7000)):
        error = ProviderBusy("", retry_after=retry_after)
        signals = {retry_policy.signal_for(FRESH, error, key=KEY).text for _ in range(50)}
        held = [int(words.split()[-1]) for words in signals]
        assert least <= min(held)
        assert max(held) <= least + 1000
        assert len(held) > 10


def test_the_signal_goes_with_the_outcome() -> None:
    for kind in (ProviderDown, UnknownOutcome, ProviderRejected, StorageDown, ProviderAuth):
        for claimed in (FRESH, LAST):
            outcome = decide(claimed, kind("why"), key=KEY)
            assert outcome.signal == retry_policy.signal_for(claimed, kind("why"), key=KEY)


@pytest.mark.parametrize("kind", [ProviderDown, UnknownOutcome, ProviderTimeout])
def test_what_failed_with_one_key_is_tried_with_another(kind: type[JobError]) -> None:
    outcome = decide(FRESH, kind("why"), key=KEY)
    assert isinstance(outcome, Requeue)
    assert outcome.key_failed


def waits(error: JobError, attempt: int) -> list[float]:
    claimed = job(attempt=attempt, max_attempts=50)
    chance = random.Random(7).random
    found = [decide(claimed, error, key=KEY, chance=chance) for _ in range(500)]
    return [outcome.wait_seconds for outcome in found if isinstance(outcome, Requeue)]


@pytest.mark.parametrize(
    ("attempt", "most"), [(1, 1), (2, 2), (3, 4), (4, 8), (6, 32), (7, 60), (40, 60)]
)
def test_waits_double_up_to_a_minute_and_are_spread_over_all_of_it(
    attempt: int, most: float
) -> None:
    found = waits(ProviderDown(""), attempt)
    assert len(found) == 500
    assert retry_policy.BACKOFF_LEAST_SECONDS <= min(found) < most / 10
    assert most * 0.9 < max(found) <= most


def test_a_wish_to_be_left_alone_for_a_while_is_followed() -> None:
    assert min(waits(ProviderDown("", retry_after=20), 1)) == 20


def test_jobs_that_wait_for_the_storage_come_back_spread_before_its_hold_ends() -> None:
    found = waits(StorageDown(""), 1)
    assert retry_policy.STORAGE_RETRY_SECONDS / 2 <= min(found) < 2.6
    assert (
        4.9 < max(found) <= retry_policy.STORAGE_RETRY_SECONDS < retry_policy.STORAGE_HOLD_SECONDS
    )


@pytest.mark.parametrize("kind", [ProviderBusy, ProviderCredits, ProviderAuth])
def test_where_the_gate_waits_the_job_does_not(kind: type[JobError]) -> None:
    assert set(waits(kind("", retry_after=9), 3)) == {0}


@pytest.mark.parametrize("kind", [ProviderBusy, ProviderAuth])
def test_a_look_up_waits_itself_because_the_gate_may_hold_another_key(kind: type[JobError]) -> None:
    claimed = job(pending_record="r")
    outcomes = [decide(claimed, kind("", retry_after=asks), key=KEY) for asks in (None, 20)]
    least = [one.wait_seconds for one in outcomes if isinstance(one, Requeue)]
    assert least[0] >= retry_policy.LOOK_UP_RETRY_SECONDS / 2
    assert least[1] == 20


def test_an_image_is_fetched_three_times_however_often_the_provider_was_down_before() -> None:
    bought = {"answer": ProviderResult("r", "https://x"), "state": State.FETCHING}
    before = ((State.CLAIMED, 1), (State.CALLING, 1), (State.QUEUED, 1), (State.CALLING, 2))
    first = history(*before, (State.FETCHING, 2), (State.QUEUED, 2))
    second = (*first, *history((State.FETCHING, 3)))
    third = (*second, *history((State.QUEUED, 3), (State.FETCHING, 4)))

    def outcome(**changes: Any) -> str:
        return word(decide(job(**changes), FetchFailed("cut"), key=KEY))

    assert outcome(attempt=2, history=history(*before)) == "again"
    assert outcome(attempt=3, history=second, **bought) == "again"
    assert outcome(attempt=4, history=third, **bought) == "fail"


def test_a_fetch_whose_attempt_was_given_back_is_not_counted_twice() -> None:
    bought = (State.CALLING, 1), (State.FETCHING, 1)
    stored_in_vain = [(State.QUEUED, 0), (State.FETCHING, 1)] * 30
    claimed = job(
        answer=ProviderResult("r", "https://x"), history=history(*bought, *stored_in_vain)
    )
    assert word(decide(claimed, FetchFailed("cut"), key=KEY)) == "again"


def test_an_image_that_never_came_over_whole_is_called_invalid() -> None:
    outcome = decide(LAST, FetchFailed("It was cut."), key=KEY)
    assert isinstance(outcome, Fail)
    assert (outcome.error.code, str(outcome.error)) == (ErrorCode.IMAGE_INVALID, "It was cut.")
    assert not outcome.error.retryable


def test_a_second_defect_in_a_row_ends_the_job_and_other_troubles_before_do_not() -> None:
    defect = Internal("a defect")
    after_defect = job(attempt=2, last_error_code=ErrorCode.INTERNAL)
    after_another = job(attempt=3, last_error_code=ErrorCode.PROVIDER_DOWN)
    assert word(decide(after_defect, defect, key=KEY)) == "fail"
    assert word(decide(after_another, defect, key=KEY)) == "again"


AFTER_PAYING = (
    *(ImageExpired, ImageNotReady, ImageHostForbidden, LookUpFailed, ImageInvalid),
    *(ImageDamaged, FetchFailed, StorageDown),
)


def test_calls_never_pass_two_whatever_the_provider_does() -> None:
    """Walk at random through every error, as `generate` and the scripts would."""
    chance = random.Random(11)
    for _ in range(3_000):
        now = job()
        paid = 0
        while True:
            asks = now.answer is None
            kind = chance.choice(KINDS)
            happens_after_buying = kind in AFTER_PAYING
            paid += asks and (
                happens_after_buying or issubclass(kind, UnknownOutcome | ProviderTimeout)
            )
            outcome = decide(now, error_of(kind), key=KEY, chance=chance.random)
            unknown = now.unknown_outcomes + outcome.unknown
            if isinstance(outcome, Fail):
                assert paid <= 1 + unknown + now.regenerated
                assert paid <= 2
                assert now.attempt <= now.max_attempts
                break
            bought = (happens_after_buying or not asks) and not outcome.regenerate
            now = job(
                attempt=now.attempt + (not outcome.refund_attempt),
                unknown_outcomes=unknown,
                regenerated=now.regenerated + outcome.regenerate,
                answer=ProviderResult("r", "https://x") if bought else None,
                last_error_code=kind.code,
            )


# a paid image is not given up while it can still be had


def fetched(count: int, **changes: Any) -> Job:
    """Return a paid job whose image was tried to be fetched so often before."""
    paid = [(State.CALLING, 1), (State.FETCHING, 1)]
    tried = [(State.QUEUED, 0), (State.FETCHING, 1)] * (count - 1)
    return job(
        answer=ProviderResult("r", "https://x"),
        history=history(*paid, *tried),
        attempt=1,
        **changes,
    )


@pytest.mark.parametrize("kind", [ImageHostDown, ImageHostForbidden, ImageNotReady])
def test_an_image_whose_host_is_away_is_fetched_later_however_often(kind: type[JobError]) -> None:
    for count in (1, 5, 50, 90):
        outcome = decide(fetched(count, max_attempts=1), error_of(kind), key=KEY)
        assert word(outcome) == "again, free"
        assert isinstance(outcome, Requeue)
        assert 0 < outcome.wait_seconds <= retry_policy.IMAGE_LATER_MOST_SECONDS


def test_waits_for_an_image_host_double_and_stay_within_half_of_the_hold() -> None:
    error = ImageHostDown("", host="h")
    found = [decide(fetched(n), error, key=KEY, chance=lambda: 1.0) for n in range(1, 9)]
    assert [again.wait_seconds for again in found if isinstance(again, Requeue)] == [
        *(1, 2, 4, 8, 16, 30, 30, 30)
    ]
    assert 2 * retry_policy.IMAGE_LATER_MOST_SECONDS * 1000 <= IMAGE_HOLD_MS


def test_waits_for_a_record_that_cannot_be_read_double_and_are_at_least_as_long_as_asked() -> None:
    def wait(count: int, **asks: float) -> float:
        outcome = decide(fetched(count), LookUpFailed("", **asks), key=KEY, chance=lambda: 1.0)
        assert isinstance(outcome, Requeue)
        return outcome.wait_seconds

    assert [wait(count) for count in (1, 2, 6, 9, 90)] == [1, 2, 32, 256, 300]
    assert wait(1, retry_after=40) == 40


def test_an_image_that_is_not_served_yet_holds_new_calls_only_after_some_fetches() -> None:
    signals = [decide(fetched(n), ImageNotReady(""), key=KEY).signal for n in (1, 2, 3)]
    assert signals == [NO_SIGNAL, NO_SIGNAL, Signal.unfetched("")]


def test_an_answer_is_forgotten_only_where_its_image_cannot_be_had_any_more() -> None:
    spent = job(attempt=5, regenerated=1)
    errors = (ImageExpired(""), ImageDamaged(""), FetchFailed(""), ImageTooLarge(""))
    outcomes = [decide(spent, error, key=KEY) for error in errors]
    assert [one.discard_answer for one in outcomes if isinstance(one, Fail)] == [
        *(True, True, False, False)
    ]
    assert [outcome.signal for outcome in outcomes] == [REGENERATED, *[NO_SIGNAL] * 3]


def test_the_age_of_an_answer_counts_from_when_it_was_kept() -> None:
    paid = fetched(3)
    kept = next(one.at for one in paid.history if one.state is State.FETCHING)
    assert retry_policy.answer_age_seconds(replace(paid, claimed_at=kept + 4_500)) == 4.5
    assert retry_policy.answer_age_seconds(job()) == 0


def test_a_retry_does_not_make_an_answer_new() -> None:
    first_run = fetched(3).history
    second_run = history((State.FAILED, 1), (State.QUEUED, 0), (State.FETCHING, 1))
    again = replace(fetched(1), history=(*first_run, *second_run))
    kept = first_run[1].at
    assert retry_policy.answer_age_seconds(replace(again, claimed_at=kept + 90_000)) == 90
    # its downloads are counted from the retry on
    assert decide(again, ImageNotReady(""), key=KEY).signal == NO_SIGNAL
