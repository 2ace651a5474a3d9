"""Each route needs a scope, by a rule; failed keys are counted by address."""

import pytest

from api.auth_throttle import REMEMBER_ADDRESSES, AuthThrottle
from api.main import ROUTES
from api.routing import scope_of
from shared.api_keys import Scope


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/v1/jobs", Scope.JOBS_READ),
        ("POST", "/v1/jobs/{job_id}/cancel", Scope.JOBS_WRITE),
        ("DELETE", "/v1/jobs/{job_id}", Scope.JOBS_WRITE),
        ("POST", "/openai/v1/images/generations", Scope.JOBS_WRITE),
        ("GET", "/replicate/v1/webhooks/default/secret", Scope.JOBS_WRITE),
        ("GET", "/ops/v1/audit", Scope.OPS_READ),
        ("PATCH", "/ops/v1/tenants/{tenant}", Scope.OPS_WRITE),
    ],
)
def test_who_reads_needs_another_scope_than_who_writes(
    method: str, path: str, scope: Scope
) -> None:
    assert scope_of(method, path) is scope


def test_the_reference_names_the_scope_of_every_route_with_a_key() -> None:
    for route in ROUTES:
        extra = route.openapi_extra or {}
        for security in extra["security"]:
            assert security in ({"key": [route.scope.value]}, {})


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def failures(clock: Clock) -> AuthThrottle:
    return AuthThrottle(6, clock)


def fail(failures: AuthThrottle, address: str) -> None:
    assert failures.excess(address) is None
    failures.note(address)


def test_an_address_may_fail_so_often_a_minute_and_then_less_and_less(
    failures: AuthThrottle, clock: Clock
) -> None:
    for _ in range(6):
        fail(failures, "192.0.2.1")
    excess = failures.excess("192.0.2.1")
    assert excess is not None
    assert excess.headers["Retry-After"] == "10"
    assert failures.excess("192.0.2.2") is None
    clock.now += 10
    fail(failures, "192.0.2.1")
    assert failures.excess("192.0.2.1") is not None
    clock.now += 60
    for _ in range(6):
        fail(failures, "192.0.2.1")


def test_all_addresses_of_one_network_of_ipv6_are_one(failures: AuthThrottle) -> None:
    for last in range(6):
        fail(failures, f"2001:db8::{last}")
    assert failures.excess("2001:db8::ffff:1") is not None
    assert failures.excess("2001:db8:0:1::1") is None


def test_what_is_remembered_of_strangers_is_bounded(failures: AuthThrottle) -> None:
    for number in range(REMEMBER_ADDRESSES + 10):
        failures.note(f"host-{number}")
    assert len(failures._paid_at) == REMEMBER_ADDRESSES
