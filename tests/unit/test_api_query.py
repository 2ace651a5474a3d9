"""Queries are read strictly, and cursors hide what they are made of."""

import asyncio
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Query
from starlette.responses import Response

from api.bodies import BodyLimits
from api.errors import add_handlers
from api.middleware import RequestMiddleware
from api.query import (
    QueryModel,
    Text,
    WantedStatus,
    cursor_of,
    encode_cursor,
    integer,
    is_given,
    milliseconds,
)
from api.routing import Route
from shared import ids

read_cursor = cursor_of(ids.is_job_id)


class Wanted(QueryModel):
    limit: Annotated[int, is_given(integer(1, 9))] = 5
    status: WantedStatus = None
    tag: Text = None
    cursor: Text = None


def served(written: str, path: str = "/wanted") -> httpx.Response:
    """Answer a query by a route that says what it has read of it."""
    app = FastAPI()
    router = APIRouter(route_class=Route)

    @router.get("/wanted")
    async def wanted(query: Annotated[Wanted, Query()]) -> Response:
        return Response(query.model_dump_json())

    @router.get("/bare")
    async def bare() -> Response:
        return Response()

    app.include_router(router)
    add_handlers(app)
    app.add_middleware(RequestMiddleware, bodies=BodyLimits(0))

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.get(f"{path}?{written}")

    return asyncio.run(ask())


def faults(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 422, answer.text
    return {fault["pointer"]: fault["message"] for fault in answer.json()["errors"]}


def test_a_cursor_leads_back_to_where_it_was_made() -> None:
    job_id = ids.job_id()
    assert read_cursor(encode_cursor(job_id)) == job_id
    assert job_id not in encode_cursor(job_id)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "x",
        "====",
        "am9i",
        "é",
        encode_cursor("job_short"),
        encode_cursor("job_" + "0" * 26) + "A",
        "*",
    ],
)
def test_what_is_no_cursor_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="not a valid cursor"):
        read_cursor(written)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("1970-01-01T00:00:01Z", 1000),
        ("1970-01-01T00:00:01.250Z", 1250),
        (f"1970-01-01T00:00:01.25{'0' * 50}Z", 1250),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T01:00:00 01:00", 0),
        ("1969-12-31T23:00:00-01:00", 0),
        ("1970-01-01T00:01Z", 60_000),
        ("1970-01-01t00:00:01z", 1000),
        ("1970-01-01 00:00:01Z", 1000),
        ("1970-01-01T00:00:01.5Z", 1500),
        ("1970-01-01T00:00:01.1234567Z", 1123),
        ("1970-01-01T00:00:01.123456789+00:00", 1123),
        ("1970-01-01T00:00:01.999999999999Z", 1999),
        ("2026-01-31T12:00:00.123Z", 1_769_860_800_123),
        ("2016-12-31T23:59:60Z", 1_483_228_799_000),
        ("2017-01-01T00:59:60.25+01:00", 1_483_228_799_250),
        ("1969-12-31T23:59:59.999Z", -1),
    ],
)
def test_a_time_is_read_in_milliseconds(written: str, expected: int) -> None:
    assert milliseconds(written) == expected


@pytest.mark.parametrize(
    "written",
    [
        "",
        "now",
        "1700000000",
        "2026-01-31",
        "2026-01-31T12:00:00",
        "2026-02-30T12:00:00Z",
        "2026-01-31T12:00:60Z",
        "2026-01-31T12:00:61Z",
        "2026-01-31T12:00:00.Z",
        "2026-01-31T12:00:00,5Z",
        "2026-01-31T12:00:00+24:00",
        "9999-12-31T23:59:59-12:00",
        "0001-01-01T00:00:00+12:00",
        "2026-01-31_12:00:00Z",
        "٢٠٢٦-01-31T12:00:00Z",
        "\uff12",
    ],
)
def test_what_is_no_time_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="must be a time"):
        milliseconds(written)


@pytest.mark.parametrize("written", ["", "0", "201", "-1", "1.0", "ten", "1e2", "\u0661"])
def test_what_is_no_number_of_the_range_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="from 1 to 200"):
        integer(1, 200)(written)


def test_every_fault_of_a_query_is_named_at_once() -> None:
    found = faults(served("limit=x&status=done&tag=&status=queued&sort=up"))
    assert found == {
        "/query/limit": "must be a whole number from 1 to 9",
        "/query/status": "is given twice",
        "/query/tag": "must have 1 to 200 characters",
        "/query/sort": "is unknown; known: limit, status, tag, cursor",
    }


def test_a_route_without_parameters_refuses_any() -> None:
    assert faults(served("sort=up&sort=up", "/bare")) == {"/query/sort": "is unknown; known: none"}


@pytest.mark.parametrize("written", ["", "&", "&&"])
def test_an_empty_query_is_none(written: str) -> None:
    assert served(written, "/bare").status_code == 200


def test_what_was_asked_for_and_is_well_written_passes() -> None:
    assert served("status=failed&limit=7").json() == {
        "limit": 7,
        "status": "failed",
        "tag": None,
        "cursor": None,
    }
