"""What an answer of Prometheus' query API means: one of the five outcomes, and for errors what to do about them.

Format: https://prometheus.io/docs/prometheus/latest/querying/api/ (instant queries). It must not know how answers are
fetched.
"""

from __future__ import annotations

import math
from http import HTTPStatus

import msgspec
from msgspec import Struct

from adapters.metrics.outcome import Outcome, OutcomeKind
from adapters.metrics.refusal import Quote, failed, is_web_page, refused, said, said_by_page, with_remarks

SHOWN_SERIES = 3
RESULT = "the result"
NAME = "Prometheus"


class VectorSample(Struct):
    metric: dict[str, str] = {}
    value: tuple[float, str] | None = None


class Data(Struct, rename="camel"):
    result_type: str
    result: msgspec.Raw


class Answer(Struct, rename="camel"):
    status: str
    data: Data | None = None
    error_type: str = ""
    error: str = ""
    warnings: list[str] = []
    infos: list[str] = []


def read_success(body: bytes, quote: Quote) -> Outcome:
    """The outcome of an answer with status 200."""
    try:
        answer = msgspec.json.decode(body, type=Answer)
        if answer.data is None:
            return failed(f"Prometheus answered without data: {quote(answer.error or 'no reason given')}")
        outcome = read_data(answer.data, quote)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return failed(
            f"the answer is not one of Prometheus' query API: {quote(str(error))}. Is the URL Prometheus' root?"
        )
    return with_remarks(outcome, NAME, answer.warnings + answer.infos, quote)


def read_data(data: Data, quote: Quote) -> Outcome:
    if data.result_type == "scalar":
        return read_number(msgspec.json.decode(data.result, type=tuple[float, str])[1], RESULT, quote)
    if data.result_type == "vector":
        return read_vector(msgspec.json.decode(data.result, type=list[VectorSample]), quote)
    if data.result_type == "matrix":
        return failed(
            "the query yields a range of samples per series: put a function such as rate(...[1m]) around the range"
        )
    if data.result_type == "string":
        return failed("the query yields a text: ask for a number")
    return failed(f"the query yields a {quote(data.result_type)!r}, expected a scalar or a vector")


def read_vector(samples: list[VectorSample], quote: Quote) -> Outcome:
    if not samples:
        return Outcome(OutcomeKind.NO_DATA, None, "no series matches the query at the end of the window")
    if len(samples) > 1:
        shown = ", ".join(show_labels(sample.metric, quote) for sample in samples[:SHOWN_SERIES])
        more = f" and {len(samples) - SHOWN_SERIES} more" if len(samples) > SHOWN_SERIES else ""
        return Outcome(
            OutcomeKind.SEVERAL_SERIES,
            None,
            f"the query yields {len(samples)} series: {shown}{more}. Put sum(...) or another aggregation around it",
        )
    labels = show_labels(samples[0].metric, quote) if samples[0].metric else RESULT
    if samples[0].value is None:
        return failed(f"{labels} is a native histogram: put histogram_quantile(...) around it")
    return read_number(samples[0].value[1], labels, quote)


def read_number(text: str, what: str, quote: Quote) -> Outcome:
    try:
        number = float(text)
    except ValueError:
        return failed(f"{what} is {quote(text)!r}, expected a number")
    if not math.isfinite(number):
        return Outcome(OutcomeKind.NOT_A_NUMBER, None, f"{what} is {quote(text)}: probably a division by zero")
    return Outcome(OutcomeKind.VALUE, number, f"{what} is {number:.6g}")


def show_labels(labels: dict[str, str], quote: Quote) -> str:
    pairs = ",".join(f'{label}="{value}"' for label, value in labels.items() if label != "__name__")
    name = labels.get("__name__", "")
    return quote(f"{name}{{{pairs}}}" if pairs or not name else name)


def read_refusal(status: int, content_type: str, body: bytes, quote: Quote) -> Outcome:
    """The outcome of an answer with any other status: what it says, and what to do."""
    return refused(NAME, status, ADVICE, read_reason(content_type, body, quote))


ADVICE: dict[int, str] = {
    HTTPStatus.BAD_REQUEST: "correct the query",
    HTTPStatus.UNAUTHORIZED: "it wants credentials, or others than these: check the provider's authentication",
    HTTPStatus.FORBIDDEN: "these credentials are not allowed to query",
    HTTPStatus.NOT_FOUND: "is the URL the root of Prometheus? api/v1/query is added to it",
    HTTPStatus.METHOD_NOT_ALLOWED: "something in front of it does not let POST through to api/v1/query",
    HTTPStatus.UNPROCESSABLE_ENTITY: "the query cannot be carried out",
    HTTPStatus.TOO_MANY_REQUESTS: "it asks for fewer queries: lengthen the interval of the analysis",
}


def read_reason(content_type: str, body: bytes, quote: Quote) -> str:
    """What a refusal says in its body. Prometheus' own errors hold the position, as in `1:10: parse error: ...`."""
    if is_web_page(content_type, body):
        return said_by_page(body, quote, "Prometheus' API")
    try:
        answer = msgspec.json.decode(body, type=Answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return said(body.decode("utf-8", errors="replace"), quote)
    return said(f"{answer.error_type}: {answer.error}", quote)
