"""What an API server can answer instead of doing what was asked, by what a caller should do about it.

Nothing above this package sees a status code or an exception of the HTTP library. A body that is not a Kubernetes
`Status` is never repeated: it may come from a proxy and hold anything.
"""

from __future__ import annotations

from typing import Any

LONGEST_MESSAGE = 2_000
"""Characters. The server repeats what it refuses, which can be a whole object; journals and terminals want the
beginning."""


class ApiError(Exception):
    """The root. `what` says which request it was: `GET deployments.apps shop/web`."""

    status = 0
    maybe_applied = False
    """Whether a write may have been done all the same. Look before writing again."""

    def __init__(self, what: str, message: str) -> None:
        super().__init__(f"{what}: {message}")
        self.what = what
        self.message = message


class NotFound(ApiError):
    """The API server says that there is no such object, or no such kind of object."""

    status = 404


class NamespaceGone(NotFound):
    """The API server says that there is no such namespace, so nothing can be made in it."""


class AlreadyExists(ApiError):
    status = 409


class Conflict(ApiError):
    """The object has moved on since it was read, or a field belongs to another manager. Look again."""

    status = 409


class Expired(ApiError):
    """The asked-for history is gone. List again."""

    status = 410


class Invalid(ApiError):
    """The request is refused for what it says; the message names the fields. The same request will be refused again."""

    status = 422


class Mistyped(Invalid):
    """Server-side apply can make nothing of the object: a field that its kind does not have, or a key twice in a list that is
    told apart by it. A POST takes both, with a warning. The API server answers 500, and will do so again."""


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
    """The API server could not do it, or not in time: 5xx, and an error in the middle of a watch."""

    status = 500
    maybe_applied = True


class Unavailable(ServerError):
    """Nothing of the API server works at the moment, or it does not answer who stands in front of it: 502, 503, 504."""

    status = 503


class MalformedAnswer(ApiError):
    """The answer is not the API server's: a proxy, a login page, a cut-off body."""

    maybe_applied = True


class NothingBehind(MalformedAnswer):
    """Whoever stands in front of the API server does not reach it, and says so in words of its own: 502, 503, 504."""


class Unreachable(ApiError):
    """No answer: refused, reset or timed out.

    `maybe_applied` is False where the request cannot have reached the server: it was a read, or there was no
    connection.
    """

    def __init__(self, what: str, message: str, *, maybe_applied: bool = False) -> None:
        super().__init__(what, message)
        self.maybe_applied = maybe_applied


class NotServed(ApiError):
    """The cluster has no such kind of object."""


class CredentialsFailed(ApiError):
    """The kubeconfig, or the program that it names, gave no usable credentials."""


_BY_STATUS: dict[int, type[ApiError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    408: ServerError,
    409: Conflict,
    410: Expired,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


_MISTYPED = "failed to create typed patch object"
"""What no other message of a failed apply begins with; the server has no better reason for it than an internal error."""


def error_of(what: str, status: int, body: object, retry_after: float | None) -> ApiError:
    """The error for an answer with a status of 400 or more; `body` is its JSON, None where it is none.

    A 404 without a `Status` is not believed here: a proxy says the same of a path that it does not know.
    """
    document: dict[str, Any] = body if isinstance(body, dict) else {}
    if document.get("kind") != "Status":
        return _unknown_error(what, status, retry_after)
    message = _printable(str(document.get("message") or document.get("reason") or f"status {status}"))
    if status == 429:
        return TooManyRequests(what, message, retry_after)
    if status == 409 and document.get("reason") == "AlreadyExists":
        return AlreadyExists(what, message)
    if status == 404 and (document.get("details") or {}).get("kind") == "namespaces":
        return NamespaceGone(what, message)
    if status == 500 and message.startswith(_MISTYPED):
        return Mistyped(what, message)
    return _BY_STATUS.get(status, Invalid if status < 500 else ServerError)(what, message)


def _unknown_error(what: str, status: int, retry_after: float | None) -> ApiError:
    if status == 429:
        return TooManyRequests(what, "too many requests", retry_after)
    if status in (502, 503, 504):
        return NothingBehind(what, f"status {status} with a body that is not the API server's; is a proxy in between?")
    if status == 401:
        return Unauthorized(what, "the credentials are not accepted")
    return MalformedAnswer(what, f"status {status} with a body that is not the API server's; is a proxy in between?")


def _printable(message: str) -> str:
    """On one line and without control characters, which could rewrite the terminal of whoever reads it."""
    text = "".join(letter if letter.isprintable() else " " for letter in message)
    return text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]} ..."
