"""What goes wrong in the API, as errors with a status and a body, and the one place where every error becomes an
answer."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

import msgspec
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from adapters.http.bodies import ErrorBody, ErrorCode, Failure, ProblemBody, encode
from engine.errors import CommandRefused, NotFound, StoreError
from strategies.problems import Problem

log = structlog.get_logger()

STORE_TROUBLE = "the store cannot be used at present; the daemon's log says why"
"""For those who are not known: the store's own words tell where it is, and as whom it is asked."""

_STATUS = {
    ErrorCode.BAD_REQUEST: HTTPStatus.BAD_REQUEST,
    ErrorCode.INVALID: HTTPStatus.UNPROCESSABLE_ENTITY,
    ErrorCode.UNAUTHORIZED: HTTPStatus.UNAUTHORIZED,
    ErrorCode.FORBIDDEN: HTTPStatus.FORBIDDEN,
    ErrorCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.MISDIRECTED: HTTPStatus.MISDIRECTED_REQUEST,
    ErrorCode.CONFLICT: HTTPStatus.CONFLICT,
    ErrorCode.REFUSED: HTTPStatus.CONFLICT,
    ErrorCode.AMBIGUOUS: HTTPStatus.CONFLICT,
    ErrorCode.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ErrorCode.TIMEOUT: HTTPStatus.REQUEST_TIMEOUT,
    ErrorCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorCode.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
}


class ApiFailure(Exception):
    """A request cannot be carried out; nothing was changed."""

    def __init__(self, code: ErrorCode, message: str, *, problems: Iterable[Problem] = (), release: str = "") -> None:
        super().__init__(message)
        found = tuple(
            ProblemBody(path=one.path, line=one.line, column=one.column, message=one.message) for one in problems
        )
        self.body = ErrorBody(code=code, message=message, problems=found, release=release)


def json_answer(body: msgspec.Struct, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.Response(
        body=encode(body), status=status, content_type="application/json", headers={"Cache-Control": "no-store"}
    )


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ApiFailure as failure:
        return _answer(failure.body)
    except NotFound as error:
        return _answer(ErrorBody(code=ErrorCode.NOT_FOUND, message=str(error)))
    except CommandRefused as error:
        return _answer(ErrorBody(code=ErrorCode.REFUSED, message=str(error)))
    except StoreError as error:
        return _answer(ErrorBody(code=ErrorCode.UNAVAILABLE, message=str(error)))
    except web.HTTPException as error:
        return _answer_framework(error, request)
    except ConnectionError:
        raise
    except Exception:
        # What went wrong is for the log; a stranger's request does not get to read our insides.
        log.exception("api.defect", method=request.method, path=request.path)
        message = "the daemon met an error that nobody foresaw; its log says more"
        return _answer(ErrorBody(code=ErrorCode.INTERNAL, message=message))


def _answer(body: ErrorBody) -> web.Response:
    answer = json_answer(Failure(error=body), _STATUS[body.code])
    if body.code is ErrorCode.UNAUTHORIZED:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="headgate"'
    return answer


def _answer_framework(error: web.HTTPException, request: web.Request) -> web.Response:
    """The framework's own refusals: no such path, another method, too large."""
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    match error:
        case web.HTTPNotFound():
            body = ErrorBody(code=ErrorCode.NOT_FOUND, message=f"there is nothing at {request.path}")
        case web.HTTPMethodNotAllowed():
            allowed = " or ".join(sorted(error.allowed_methods))
            body = ErrorBody(code=ErrorCode.BAD_REQUEST, message=f"{request.path} is asked with {allowed}")
        case web.HTTPRequestEntityTooLarge():
            body = ErrorBody(code=ErrorCode.TOO_LARGE, message="the request is larger than 8 MiB; send less")
        case _:
            body = ErrorBody(code=ErrorCode.BAD_REQUEST, message=error.reason)
    answer = json_answer(Failure(error=body), HTTPStatus(error.status))
    answer.headers.update(headers)
    return answer
