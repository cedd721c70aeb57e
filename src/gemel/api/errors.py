"""Every error that leaves the API: ``{error, message, hint, problems?}``, and no traceback ever."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from gemel.api.wire import ErrorBody, ProblemBody
from gemel.catalog.changes import Invalid, NotFound
from gemel.catalog.manifest import Problem, join_path
from gemel.core import logs
from gemel.core.outcome import Conflict, GemelError, OutcomeUnknown, Permanent, Retryable
from gemel.core.store import Compacted

log = logs.get("gemel.api")


class ApiError(Exception):
    def __init__(
        self, status: int, error: str, message: str, hint: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.error, self.message, self.hint = status, error, message, hint
        self.headers = dict(headers or {})


WORDS = {
    400: ("BadRequest", "The request cannot be understood."),
    401: ("Unauthorized", "No token, or one that is not known."),
    403: ("Forbidden", "The token's role does not allow it."),
    404: ("NotFound", "There is no such kind, object or address."),
    405: ("MethodNotAllowed", "This address does not know that method."),
    409: ("Conflict", "It changed meanwhile, or the region's state does not allow it."),
    410: ("Gone", "That revision is no longer kept: list again."),
    413: ("TooLarge", "The body, or the transaction that it asks for, is too large."),
    422: ("Invalid", "Documents or parameters that are wrong, each with its place."),
    503: ("Unavailable", "The region store, or a host, did not answer in time."),
}


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's declaration. Every route may answer 401, 403, 422 and 503."""
    wanted = sorted({400, 401, 403, 422, 503, *statuses})
    return {status: {"model": ErrorBody, "description": WORDS[status][1]} for status in wanted}


def stream_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The same for a route whose own answers are no JSON: FastAPI would give the errors its type."""
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}}
    found = responses(*statuses).items()
    return {status: {"description": each["description"], "content": content} for status, each in found}


def _answer(
    status: int,
    message: str,
    hint: str = "",
    error: str = "",
    problems: list[ProblemBody] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    word = error or WORDS.get(status, ("Error", ""))[0]
    body = ErrorBody(error=word, message=message, hint=hint, problems=problems)
    content = body.model_dump(mode="json", by_alias=True, exclude_none=True)
    return JSONResponse(content, status, headers=dict(headers or {}))


async def _api_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return _answer(error.status, error.message, error.hint, error.error, headers=error.headers)


async def _invalid_request(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    problems = [ProblemBody(path=_path(each["loc"]), message=str(each["msg"])) for each in error.errors()]
    first = problems[0]
    message = f"{first.path}: {first.message}" if first.path else first.message
    return _answer(422, message, "see /openapi.json for what this address takes", problems=problems)


def _path(location: tuple[Any, ...]) -> str:
    path = ""
    for step in location[1:] if location and location[0] in ("body", "query", "path") else location:
        path = join_path(path, step)
    return path


async def _http_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    message = WORDS[error.status_code][1] if error.status_code in WORDS else str(error.detail)
    return _answer(error.status_code, message, headers=error.headers)


async def _gemel_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, GemelError)
    text = str(error)
    if isinstance(error, Invalid):
        problems = [problem_body(each) for each in error.problems]
        return _answer(422, text, "correct what is named and send all of it again", problems=problems)
    if isinstance(error, NotFound):
        return _answer(404, text)
    if isinstance(error, Compacted):
        return _answer(410, text or "that revision is no longer kept", "list again, and watch from the list's revision")
    if isinstance(error, OutcomeUnknown):
        hint = "it may or may not have happened: read before you repeat it"
        return _answer(503, text, hint, "OutcomeUnknown", headers={"Retry-After": "1"})
    if isinstance(error, Retryable):
        after = str(max(1, round(error.after)))
        return _answer(503, text, f"try again in {after} s, or at the other site", headers={"Retry-After": after})
    if isinstance(error, Conflict | Permanent):
        return _answer(409, text)
    log.error("unexpected error", error=repr(error))
    return _answer(503, text, headers={"Retry-After": "1"})


def problem_body(problem: Problem) -> ProblemBody:
    return ProblemBody(
        file=problem.file,
        document=problem.document,
        line=problem.line,
        path=problem.path,
        message=problem.message,
        expected=problem.expected,
    )


async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
    """A defect of gemel's own. It is logged with its traceback; the asker gets none of it."""
    log.error("defect", method=request.method, path=request.url.path, exc_info=error)
    return _answer(500, "gemel failed in a way that was not foreseen", "see the log of gemel-api", "Defect")


def install_handlers(app: FastAPI) -> None:
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(GemelError, _gemel_error)
    app.add_exception_handler(Exception, _unforeseen)
