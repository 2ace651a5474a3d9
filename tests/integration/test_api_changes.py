"""What a client asks of a job that exists: again, the same once more, or to be forgotten."""

import pytest

from tests.support.api_server import ApiServer, problem


def fail(api_server: ApiServer) -> None:
    api_server.world.fail(api_server.world.claim())


def test_a_failed_job_is_sent_again_as_the_same_job(api_server: ApiServer) -> None:
    job = api_server.create()
    fail(api_server)

    answer = api_server.client.post(f"/v1/jobs/{job['id']}/retry")

    assert answer.status_code == 200
    again = answer.json()
    assert (again["id"], again["status"], again["run"], again["error"]) == (
        job["id"],
        "queued",
        2,
        None,
    )
    api_server.succeed()
    assert api_server.client.get(f"/v1/jobs/{job['id']}").json()["status"] == "succeeded"


def test_a_job_is_made_again_with_the_same_input_and_seed(api_server: ApiServer) -> None:
    first = api_server.create(tags=["a"], metadata={"order": "1"})
    api_server.succeed()
    path, key = f"/v1/jobs/{first['id']}/reproduce", {"Idempotency-Key": first["id"]}

    made = api_server.client.post(path, headers=key)
    repeated = api_server.client.post(path, headers=key)

    assert made.status_code == 202
    second = made.json()
    assert second["id"] != first["id"]
    same = ("model", "input", "tags", "metadata")
    assert [second[name] for name in same] == [first[name] for name in same]
    assert repeated.json()["id"] == second["id"]
    assert repeated.headers["idempotent-replayed"] == "true"
    fail(api_server)


def test_a_final_job_is_forgotten(api_server: ApiServer) -> None:
    job = api_server.create()
    api_server.succeed()

    assert api_server.client.delete(f"/v1/jobs/{job['id']}").status_code == 204

    for gone in ("", "/image", "/events"):
        problem(api_server.client.get(f"/v1/jobs/{job['id']}{gone}"), 404, "not_found")
    problem(api_server.client.delete(f"/v1/jobs/{job['id']}"), 404, "not_found")


@pytest.mark.parametrize(
    ("state", "method", "end", "status", "code"),
    [
        ("queued", "POST", "/retry", 409, "job_not_final"),
        ("queued", "POST", "/reproduce", 202, None),
        ("queued", "DELETE", "", 409, "job_not_final"),
        ("running", "POST", "/retry", 409, "job_not_final"),
        ("running", "POST", "/reproduce", 202, None),
        ("running", "DELETE", "", 409, "job_not_final"),
        ("succeeded", "POST", "/cancel", 409, "job_final"),
        ("succeeded", "POST", "/retry", 409, "job_final"),
        ("succeeded", "POST", "/reproduce", 202, None),
        ("succeeded", "DELETE", "", 204, None),
        ("failed", "POST", "/cancel", 409, "job_final"),
        ("failed", "POST", "/retry", 200, None),
        ("failed", "POST", "/reproduce", 202, None),
        ("failed", "DELETE", "", 204, None),
        ("canceled", "POST", "/retry", 200, None),
        ("canceled", "POST", "/reproduce", 202, None),
        ("canceled", "DELETE", "", 204, None),
    ],
)
def test_each_wish_is_answered_as_promised_in_each_state(
    api_server: ApiServer, state: str, method: str, end: str, status: int, code: str | None
) -> None:
    job = api_server.create()
    if state == "running":
        api_server.world.claim()
    if state == "succeeded":
        api_server.succeed()
    if state == "failed":
        fail(api_server)
    if state == "canceled":
        api_server.client.post(f"/v1/jobs/{job['id']}/cancel")

    answer = api_server.client.request(method, f"/v1/jobs/{job['id']}{end}")

    assert answer.status_code == status, answer.text
    if code:
        assert problem(answer, status, code)["job_status"] == state
