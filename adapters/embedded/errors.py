"""The errors of the API, one type per reason, each with the `Status` body that a real API server answers.

The wording, the reasons and the codes are those of `k8s.io/apimachinery/pkg/api/errors`, because clients (kubectl among
them) match on them. Nothing here knows HTTP handlers or storage.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapters.embedded.json_objects import JsonObject

if TYPE_CHECKING:
    from adapters.embedded.resources import Resource


@dataclass(frozen=True, slots=True)
class Cause:
    """One field that is wrong: the API's reason, the path and what is wrong with it."""

    reason: str
    field: str
    message: str

    def to_json(self) -> JsonObject:
        """The cause as a Status tells it."""
        body = {"reason": self.reason, "message": self.message, "field": self.field}
        return {key: value for key, value in body.items() if value}


class ApiError(Exception):
    """A request that is answered with a `Status` of failure."""

    code = 500
    reason = "InternalError"

    def __init__(
        self,
        message: str,
        *,
        details: JsonObject | None = None,
        retry_after_seconds: int | None = None,
        continue_token: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        self.retry_after_seconds = retry_after_seconds
        self.continue_token = continue_token
        self.warnings: tuple[str, ...] = ()
        """What the sender is warned of besides."""

    def to_status(self) -> JsonObject:
        """The `kind: Status` body."""
        details = self.details
        if self.retry_after_seconds is not None:
            details = {**(details or {}), "retryAfterSeconds": self.retry_after_seconds}
        metadata = {"continue": self.continue_token} if self.continue_token else {}
        status: JsonObject = {"kind": "Status", "apiVersion": "v1", "metadata": metadata, "status": "Failure"}
        if self.message:
            status["message"] = self.message
        if self.reason:
            status["reason"] = self.reason
        if details is not None:
            status["details"] = details
        return {**status, "code": self.code}


def describe(resource: Resource, name: str) -> JsonObject:
    """The `details` of a Status about one object."""
    details = {"name": name, "group": resource.group, "kind": resource.plural}
    return {key: value for key, value in details.items() if value}


class NotFound(ApiError):
    """404: the object does not exist."""

    code = 404
    reason = "NotFound"

    @classmethod
    def of(cls, resource: Resource, name: str) -> NotFound:
        """The error for an object that is not there."""
        return cls(f'{resource.qualified_name} "{name}" not found', details=describe(resource, name))


class UnknownPath(NotFound):
    """404: no resource is served under this path."""

    def __init__(self) -> None:
        super().__init__("the server could not find the requested resource")


class AlreadyExists(ApiError):
    """409: an object of that name exists."""

    code = 409
    reason = "AlreadyExists"

    @classmethod
    def of(cls, resource: Resource, name: str, *, terminating: bool = False) -> AlreadyExists:
        """The error for an object that is there already."""
        prefix = "object is being deleted: " if terminating else ""
        return cls(f'{prefix}{resource.qualified_name} "{name}" already exists', details=describe(resource, name))


class Conflict(ApiError):
    """409: the object is not what the caller thinks it is (resourceVersion, uid or a field's owner)."""

    code = 409
    reason = "Conflict"

    @classmethod
    def of(cls, resource: Resource, name: str, why: str = "") -> Conflict:
        """The error for an object that is not as expected; by default, of another version."""
        why = why or "the object has been modified; please apply your changes to the latest version and try again"
        message = f'Operation cannot be fulfilled on {resource.qualified_name} "{name}": {why}'
        return cls(message, details=describe(resource, name))


@dataclass(frozen=True, slots=True)
class OwnedField:
    """A field that an apply wants and another manager has: the manager's description and the field's path."""

    manager: str
    field: str


class ApplyConflict(Conflict):
    """409: a server-side apply touches fields of other managers, and was not forced."""

    def __init__(self, conflicts: Sequence[OwnedField]) -> None:
        count = len(conflicts)
        noun = "conflict" if count == 1 else "conflicts"
        causes = [
            Cause("FieldManagerConflict", owned.field, f"conflict with {owned.manager}").to_json()
            for owned in conflicts
        ]
        super().__init__(
            f"Apply failed with {count} {noun}: {_tell_conflicts(conflicts)}", details={"causes": causes}
        )
        self.conflicts = tuple(conflicts)


def _tell_conflicts(conflicts: Sequence[OwnedField]) -> str:
    if len(conflicts) == 1:
        return f"conflict with {conflicts[0].manager}: {conflicts[0].field}"
    by_manager: dict[str, list[str]] = {}
    for owned in conflicts:
        by_manager.setdefault(owned.manager, []).append(owned.field)
    return "\n".join(
        f"conflicts with {manager}:\n" + "\n".join(f"- {field}" for field in fields)
        for manager, fields in by_manager.items()
    )


class Invalid(ApiError):
    """422: the object breaks a rule of its kind."""

    code = 422
    reason = "Invalid"

    @classmethod
    def of(cls, resource: Resource, name: str, causes: Iterable[Cause]) -> Invalid:
        """The error that tells everything that is wrong with an object."""
        causes = list(causes)
        told = [f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in causes]
        told = list(dict.fromkeys(told))
        summary = told[0] if len(told) == 1 else f"[{', '.join(told)}]"
        qualified_kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
        details = {**describe(resource, name), "kind": resource.kind}
        details["causes"] = [cause.to_json() for cause in causes]
        return cls(f'{qualified_kind} "{name}" is invalid: {summary}', details=details)


class BadRequest(ApiError):
    """400: the request itself cannot be understood."""

    code = 400
    reason = "BadRequest"


class Unauthorized(ApiError):
    """401: no token, or not the right one."""

    code = 401
    reason = "Unauthorized"

    def __init__(self) -> None:
        super().__init__("Unauthorized")


class Forbidden(ApiError):
    """403: the request is understood and refused."""

    code = 403
    reason = "Forbidden"

    @classmethod
    def of(cls, resource: Resource, name: str, why: str, causes: Iterable[Cause] = ()) -> Forbidden:
        """The error for a refusal and its reason."""
        details = describe(resource, name)
        told = [cause.to_json() for cause in causes]
        if told:
            details["causes"] = told
        return cls(f'{resource.qualified_name} "{name}" is forbidden: {why}', details=details)


class MethodNotAllowed(ApiError):
    """405: the resource does not know this verb."""

    code = 405
    reason = "MethodNotAllowed"

    def __init__(self, message: str = "the server does not allow this method on the requested resource") -> None:
        super().__init__(message, details={})


class NotAcceptable(ApiError):
    """406: none of the media types that the client accepts is served."""

    code = 406
    reason = "NotAcceptable"


class Expired(ApiError):
    """410: the resourceVersion or the continue token is older than the history that is kept."""

    code = 410
    reason = "Expired"


class RequestTooLarge(ApiError):
    """413: the body is larger than the server reads."""

    code = 413
    reason = "RequestEntityTooLarge"


class UnsupportedMediaType(ApiError):
    """415: a body or a patch in a format that is not served."""

    code = 415
    reason = "UnsupportedMediaType"


class TooManyRequests(ApiError):
    """429: come again later."""

    code = 429
    reason = "TooManyRequests"


class InternalError(ApiError):
    """500: the server failed."""

    code = 500
    reason = "InternalError"


class UnclassifiedError(ApiError):
    """500 without a reason: what the real server answers where its authors foresaw no better error."""

    code = 500
    reason = ""


class ServiceUnavailable(ApiError):
    """503: the server cannot answer now."""

    code = 503
    reason = "ServiceUnavailable"


class Timeout(ApiError):
    """504: what was asked for did not come about in time."""

    code = 504
    reason = "Timeout"
