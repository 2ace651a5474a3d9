"""Every problem has the same shape, and says nothing that is not meant for the caller."""

import orjson
import pytest

from api.problems import KINDS, Problem, answer, pointer, problem_of
from shared import errors


@pytest.mark.parametrize("code", KINDS)
def test_every_kind_of_problem_is_whole(code: str) -> None:
    response = answer(Problem(code, "Because."), "id-1")
    body = orjson.loads(response.body)
    assert response.status_code == body["status"] == KINDS[code].status
    assert response.media_type == "application/problem+json"
    assert body["type"] == f"/problems/{code}"
    assert body["detail"] == "Because."
    assert body["request_id"] == "id-1"
    assert "errors" not in body


@pytest.mark.parametrize(
    "code", [code for code, kind in KINDS.items() if kind.status in {429, 503}]
)
def test_whoever_may_come_again_is_told_when(code: str) -> None:
    assert int(answer(Problem(code, "Later."), "i").headers["retry-after"]) > 0


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.StoreDown("away"), 503),
        (errors.StoreFull("full"), 503),
        (errors.OutcomeUnknown("lost"), 503),
        (errors.IncompatibleStore("unfit"), 503),
        (errors.StorageDown("away"), 503),
        (errors.ObjectMissing("gone"), 404),
        (errors.StoreError("a script"), 500),
        (RuntimeError("dk_secret"), 500),
    ],
)
def test_every_error_has_its_status(error: Exception, status: int) -> None:
    assert problem_of(error).kind.status == status


def test_an_error_of_ours_is_told_without_detail() -> None:
    assert "dk_secret" not in problem_of(RuntimeError("dk_secret")).detail


def test_a_pointer_is_escaped_and_stays_on_one_line() -> None:
    assert pointer("a/b", "c~d", 0) == "/a~1b/c~0d/0"
    assert pointer("x\r\ny\ud800") == "/x??y?"
