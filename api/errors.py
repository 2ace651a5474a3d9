"""Exception handlers that turn errors, and unknown paths and methods, into problems."""

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
#: The text for operations of another API that Darkroom does not offer.
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
    """Register the exception handlers; the middleware handles everything else as a last resort."""
    kinds: tuple[type[Exception], ...] = (Problem, *CODES)
    for kind in kinds:
        app.add_exception_handler(kind, _answer)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_unmatched)


async def _answer(request: Request, error: Exception) -> Response:
    response: Response = request.scope[WRITER](failure_of(error), request.scope[REQUEST_ID])
    return response


async def _answer_invalid(request: Request, error: Exception) -> Response:
    """Respond to an invalid query."""
    found = cast("RequestValidationError", error)
    return await _answer(request, query_problem(found, request.scope["route"].parameters))


async def _answer_unmatched(request: Request, error: Exception) -> Response:
    """Respond to an unknown path or method."""
    problem = problem_of(error)
    if problem.kind.status == _METHOD_NOT_ALLOWED:
        problem.headers = {"Allow": _allowed(request)}
    return await _answer(request, explained(problem, request.scope["path"]))


def _allowed(request: Request) -> str:
    """Return the methods of a path for `Allow`.

    If a route names the path literally, only such routes count, not those with path parameters.
    """
    path = request.scope["path"]
    fit = [one for one in iter_route_contexts(request.app.routes) if one.path_regex.match(path)]
    named = [one for one in fit if one.path == path] or fit
    methods = set[str]().union(*(one.methods or () for one in named))
    return ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))


def explained(problem: Problem, path: str) -> Problem:
    """Add what Darkroom offers of the OpenAI or Replicate API if the path belongs to one."""
    offered = next((offered for start, offered in _OFFERED.items() if path.startswith(start)), "")
    if offered:
        is_unknown = problem.code == "not_found"
        detail = "This operation is not offered." if is_unknown else problem.detail
        problem.detail = f"{detail} {offered}"
    return problem
