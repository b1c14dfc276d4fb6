"""What an API server can answer instead of doing what was asked, by what a caller should do about it.

Nothing above this package sees a status code or an exception of the HTTP library. A body that is not a Kubernetes `Status` is
never repeated: it may come from a proxy and hold anything.
"""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """The root. `what` says which request it was: `GET deployments.apps shop/web`."""

    status = 0

    def __init__(self, what: str, message: str) -> None:
        super().__init__(f"{what}: {message}")
        self.what = what
        self.message = message


class NotFound(ApiError):
    status = 404


class AlreadyExists(ApiError):
    status = 409


class Conflict(ApiError):
    """The object has moved on since it was read, or a field belongs to another manager. Look again."""

    status = 409


class Expired(ApiError):
    """The asked-for history is gone. List again."""

    status = 410


class Invalid(ApiError):
    """The object is refused; the message names the fields."""

    status = 422


class Forbidden(ApiError):
    """The account lacks a right; the message names the verb, the resource and the namespace."""

    status = 403


class Unauthorized(ApiError):
    """The credentials are not accepted, even after they were renewed."""

    status = 401


class TooManyRequests(ApiError):
    status = 429

    def __init__(self, what: str, message: str, retry_after: float | None) -> None:
        super().__init__(what, message)
        self.retry_after = retry_after


class ServerError(ApiError):
    status = 500


class MalformedAnswer(ApiError):
    """The answer is not the API server's: a proxy, a login page, a cut-off body."""


class Unreachable(ApiError):
    """No answer: refused, reset or timed out. A write may have been applied all the same; read before writing again."""


class NotServed(ApiError):
    """The cluster has no such kind of object."""


class CredentialsFailed(ApiError):
    """The kubeconfig, or the program that it names, gave no usable credentials."""


def error_of(what: str, status: int, body: object, retry_after: float | None) -> ApiError:
    """The error for an answer with a status of 400 or more."""
    document: dict[str, Any] = body if isinstance(body, dict) else {}
    if document.get("kind") != "Status":
        return _unknown_error(what, status, retry_after)
    message = str(document.get("message") or document.get("reason") or f"status {status}")
    reason = document.get("reason")
    if status == 429:
        return TooManyRequests(what, message, retry_after)
    if status == 409 and reason == "AlreadyExists":
        return AlreadyExists(what, message)
    kinds: dict[int, type[ApiError]] = {
        400: Invalid,
        401: Unauthorized,
        403: Forbidden,
        404: NotFound,
        409: Conflict,
        410: Expired,
        422: Invalid,
    }
    return kinds.get(status, ServerError)(what, message)


def _unknown_error(what: str, status: int, retry_after: float | None) -> ApiError:
    if status == 429:
        return TooManyRequests(what, "too many requests", retry_after)
    if status == 401:
        return Unauthorized(what, "the credentials are not accepted")
    if status == 404:
        return NotFound(what, "there is nothing under this path; is this the address of an API server?")
    return MalformedAnswer(what, f"status {status} with a body that is not the API server's; is a proxy in between?")
