"""Exception handlers: whatever a route raises, and paths that no route has, as problems."""

from collections.abc import Mapping
from typing import cast

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from api.middleware import REQUEST_ID, WRITER
from api.problems import CODES, Problem, failure_of, problem_of
from api.query import query_problem

_METHOD_NOT_ALLOWED = 405
#: What is said where a dialect has an operation that Darkroom has not.
_OFFERED: Mapping[str, str] = {
    "/openai/": (
        "Darkroom generates images from prompts only: POST /openai/v1/images/generations, and "
        "GET /openai/v1/models. There are no edits, variations, chats, responses, files or batches."
    ),
    "/replicate/": (
        "Darkroom generates images from prompts only: predictions, models, account and "
        "webhooks/default/secret, all below /replicate/v1. There are no files, deployments, "
        "trainings, collections, hardware or streams."
    ),
}


def add_handlers(app: FastAPI) -> None:
    """Answer errors with problems; any other is left to the middleware, the last resort."""
    kinds: tuple[type[Exception], ...] = (Problem, *CODES)
    for kind in kinds:
        app.add_exception_handler(kind, _answer)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_unmatched)


async def _answer(request: Request, error: Exception) -> Response:
    response: Response = request.scope[WRITER](failure_of(error), request.scope[REQUEST_ID])
    return response


async def _answer_invalid(request: Request, error: Exception) -> Response:
    """Answer a query that does not fit its route."""
    found = cast("RequestValidationError", error)
    return await _answer(request, query_problem(found, request.scope["route"].parameters))


async def _answer_unmatched(request: Request, error: Exception) -> Response:
    """Answer what the router refuses: an unknown path or method."""
    problem = problem_of(error)
    if problem.kind.status == _METHOD_NOT_ALLOWED:
        problem.headers = {"Allow": _allowed(request)}
    return await _answer(request, explained(problem, request.scope["path"]))


def _allowed(request: Request) -> str:
    """Return the methods that a path knows, as `Allow` names them.

    Where a path is named as it is, those count that name it, and not those with a part to be read.
    """
    path = request.scope["path"]
    fit = [one for one in iter_route_contexts(request.app.routes) if one.path_regex.match(path)]
    named = [one for one in fit if one.path == path] or fit
    methods = set[str]().union(*(one.methods or () for one in named))
    return ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))


def explained(problem: Problem, path: str) -> Problem:
    """Add to a problem of routing what a dialect offers, where the path is one of a dialect."""
    offered = next((offered for start, offered in _OFFERED.items() if path.startswith(start)), "")
    if offered:
        is_unknown = problem.code == "not_found"
        detail = "This operation is not offered." if is_unknown else problem.detail
        problem.detail = f"{detail} {offered}"
    return problem
