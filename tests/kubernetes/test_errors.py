"""Every refusal becomes the error that says what to do, and nothing of a stranger's answer is repeated."""

from __future__ import annotations

import pytest

from adapters.kubernetes import errors
from adapters.kubernetes.errors import LONGEST_MESSAGE, ApiError, error_of


def refusal(code: int, reason: str = "", message: str = "said so") -> dict[str, object]:
    return {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (400, "BadRequest", errors.Invalid),
        (401, "Unauthorized", errors.Unauthorized),
        (403, "Forbidden", errors.Forbidden),
        (404, "NotFound", errors.NotFound),
        (405, "MethodNotAllowed", errors.Invalid),
        (408, "Timeout", errors.ServerError),
        (409, "AlreadyExists", errors.AlreadyExists),
        (409, "Conflict", errors.Conflict),
        (410, "Expired", errors.Expired),
        (413, "RequestEntityTooLarge", errors.Invalid),
        (415, "UnsupportedMediaType", errors.Invalid),
        (422, "Invalid", errors.Invalid),
        (429, "TooManyRequests", errors.TooManyRequests),
        (500, "InternalError", errors.ServerError),
        (503, "ServiceUnavailable", errors.Unavailable),
        (504, "Timeout", errors.Unavailable),
    ],
)
def test_a_refusal_is_told_by_what_a_caller_should_do(code: int, reason: str, expected: type[ApiError]) -> None:
    error = error_of("GET pods shop/web", code, refusal(code, reason), None)
    assert type(error) is expected
    assert str(error) == "GET pods shop/web: said so"


@pytest.mark.parametrize("code", [400, 403, 404, 409, 410, 422, 500, 502, 503])
@pytest.mark.parametrize(
    "body", [None, "secret", ["secret"], {"message": "secret"}, {"kind": "Secret", "data": "secret"}]
)
def test_what_is_not_a_status_is_neither_believed_nor_repeated(code: int, body: object) -> None:
    error = error_of("GET pods shop/web", code, body, None)
    assert type(error) is (errors.NothingBehind if code in (502, 503) else errors.MalformedAnswer)
    assert "secret" not in str(error)


def test_a_stranger_can_still_ask_for_credentials_and_for_patience() -> None:
    assert isinstance(error_of("x", 401, None, None), errors.Unauthorized)
    patience = error_of("x", 429, None, 3.0)
    assert isinstance(patience, errors.TooManyRequests)
    assert patience.retry_after == 3.0


def test_what_may_have_been_done_all_the_same_says_so() -> None:
    done = [
        code
        for code in (400, 403, 404, 409, 422, 429, 500, 504)
        if error_of("x", code, refusal(code), None).maybe_applied
    ]
    assert done == [500, 504]
    assert error_of("x", 502, None, None).maybe_applied, "a proxy may have lost the answer only"


def test_a_message_is_one_line_without_control_characters_and_not_endless() -> None:
    error = error_of("x", 422, refusal(422, "Invalid", "a\n\x1b[2Jb" + "c" * 10_000), None)
    assert error.message.startswith("a  [2Jb")
    assert len(error.message) < LONGEST_MESSAGE + 10


def test_a_refusal_without_a_message_still_says_something() -> None:
    assert str(error_of("x", 403, {"kind": "Status"}, None)) == "x: status 403"
