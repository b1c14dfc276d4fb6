"""What an answer of Datadog's query APIs means: one of the five outcomes, and for errors what to do about them.

It must not know how answers are fetched.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import Struct

from adapters.metrics.outcome import Outcome, OutcomeKind
from adapters.metrics.refusal import (
    Quote,
    failed,
    is_web_page,
    measured,
    no_data,
    refused,
    said,
    said_by_page,
    with_remarks,
)

NAME = "Datadog"
SHOWN_SERIES = 3
NOTHING = "If no points mean zero here, put default_zero(...) around the metric"
BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError)


class Aggregator(StrEnum):
    """What makes one number of several points. The names are those of Datadog's scalar queries."""

    LAST = "last"
    AVERAGE = "avg"
    SUM = "sum"
    MINIMUM = "min"
    MAXIMUM = "max"


class Series(Struct):
    """One line of a graph. A point is its time (milliseconds) and its value; `interval` is in seconds."""

    scope: str | None = None
    expression: str | None = None
    interval: float | None = None
    pointlist: list[tuple[float, float | None]] = []


class Points(Struct):
    """`status` is `ok`, or something else and then `error` says why."""

    status: str
    series: list[Series] | None = None
    error: str | None = None
    message: str | None = None


class Column(Struct):
    name: str | None = None
    type: str | None = None
    values: list[Any] | None = None


class Columns(Struct):
    columns: list[Column] | None = None


class ScalarData(Struct):
    attributes: Columns


class Scalar(Struct):
    data: ScalarData | None = None
    errors: str | None = None


class Refusal(Struct):
    """v1 says `errors` or `error`; v2 says `errors`, as texts or as objects with a `detail`."""

    errors: list[str | dict[str, Any]] | str | None = None
    error: str | None = None

    @property
    def reason(self) -> str:
        if isinstance(self.errors, str):
            return self.errors
        if not self.errors:
            return self.error or ""
        texts = (one if isinstance(one, str) else one.get("detail") or one.get("title") or "" for one in self.errors)
        return "; ".join(str(text) for text in texts)


def read_points(body: bytes, aggregator: Aggregator, quote: Quote) -> Outcome:
    """The outcome of an answer of v1 with status 200."""
    try:
        answer = msgspec.json.decode(body, type=Points)
    except BROKEN as error:
        return not_datadog(error, quote)
    if answer.status != "ok":
        return failed(f"Datadog did not carry out the query: {quote(answer.error or 'no reason given')}")
    remarks = [answer.message] if answer.message else []
    return with_remarks(read_series(answer.series or [], aggregator, quote), NAME, remarks, quote)


def read_series(series: Sequence[Series], aggregator: Aggregator, quote: Quote) -> Outcome:
    if not series:
        return no_data(f"no series matches the query in the window. {NOTHING}")
    if len(series) > 1:
        return several([one.scope or one.expression or "?" for one in series], quote)
    points = series[0].pointlist
    values = [(at_ms, value) for at_ms, value in points if value is not None]
    if not values:
        return no_data(f"the series has no value in the window ({len(points)} empty points). {NOTHING}")
    return measured(aggregate([value for _, value in values], aggregator), describe(series[0], values, aggregator))


def aggregate(values: Sequence[float], aggregator: Aggregator) -> float:
    match aggregator:
        case Aggregator.LAST:
            return values[-1]
        case Aggregator.SUM:
            return sum(values)
        case Aggregator.AVERAGE:
            return sum(values) / len(values)
        case Aggregator.MINIMUM:
            return min(values)
        case Aggregator.MAXIMUM:
            return max(values)


def describe(series: Series, values: Sequence[tuple[float, float]], aggregator: Aggregator) -> str:
    """Which points a number is of: Datadog aligns them to its own intervals, so the window's ends may be cut."""
    if len(values) == 1:
        number_of = "the only point"
    elif aggregator is Aggregator.LAST:
        number_of = f"the last of {len(values)} points"
    else:
        number_of = f"the {aggregator.value} of {len(values)} points"
    length = f", {series.interval:g} s" if series.interval else ""
    trailing = len(series.pointlist) - 1 - max(i for i, (_, value) in enumerate(series.pointlist) if value is not None)
    empty = f", the {trailing} after it empty" if trailing else ""
    return f"{number_of} ({time_of(values[-1][0])}{length}{empty})"


def time_of(at_ms: float) -> str:
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return "at no valid time"


def read_scalar(body: bytes, quote: Quote) -> Outcome:
    """The outcome of an answer of v2 with status 200. One that is only a part of the truth is an error."""
    try:
        answer = msgspec.json.decode(body, type=Scalar)
    except BROKEN as error:
        return not_datadog(error, quote)
    if answer.errors:
        return failed(f"Datadog carried out only a part of the query: {quote(answer.errors)}")
    if answer.data is None:
        return failed("Datadog answered without data and without a reason")
    columns = answer.data.attributes.columns or []
    numbers = [column for column in columns if column.type != "group"]
    groups = [column for column in columns if column.type == "group"]
    if not numbers or all(not column.values for column in numbers):
        return no_data(f"no series matches the query in the window. {NOTHING}")
    if len(numbers) > 1:
        return several([column.name or "?" for column in numbers], quote)
    values = numbers[0].values or []
    if len(values) > 1:
        return several([name_row(groups, row) for row in range(len(values))], quote)
    if values[0] is None:
        return no_data(f"the query has no value in the window. {NOTHING}")
    if isinstance(values[0], bool) or not isinstance(values[0], int | float):
        return failed(f"the query yields {quote(repr(values[0]))}, expected a number")
    return measured(float(values[0]), "the result")


def name_row(groups: Sequence[Column], row: int) -> str:
    """The tags of one group, such as `host:a`."""
    shown = []
    for group in groups:
        values = group.values or []
        tags = values[row] if row < len(values) else "?"
        shown.append(f"{group.name}:{'|'.join(map(str, tags)) if isinstance(tags, list) else tags}")
    return ",".join(shown) or "?"


def several(names: Sequence[str], quote: Quote) -> Outcome:
    shown = ", ".join(quote(name) for name in names[:SHOWN_SERIES])
    more = f" and {len(names) - SHOWN_SERIES} more" if len(names) > SHOWN_SERIES else ""
    detail = f"the query yields {len(names)} series: {shown}{more}. Leave out `by {{...}}`, and ask for one expression"
    return Outcome(OutcomeKind.SEVERAL_SERIES, None, detail)


def not_datadog(error: Exception, quote: Quote) -> Outcome:
    return failed(f"the answer is not one of Datadog's query API: {quote(str(error))}. Is the URL the API's root?")


def read_refusal(status: int, content_type: str, body: bytes, quote: Quote) -> Outcome:
    """The outcome of an answer with any other status, or of a web page: what it says, and what to do."""
    if is_web_page(content_type, body):
        return refused(NAME, status, ADVICE, said_by_page(body, quote, "Datadog's API"))
    try:
        reason = msgspec.json.decode(body, type=Refusal).reason
    except BROKEN:
        reason = body.decode("utf-8", errors="replace")
    return refused(NAME, status, ADVICE, said(reason, quote))


ADVICE: dict[int, str] = {
    HTTPStatus.BAD_REQUEST: "correct the query",
    HTTPStatus.UNAUTHORIZED: "check the API key, and that it is one of this site",
    HTTPStatus.FORBIDDEN: (
        "check that both keys are of this site, and that the application key has the permission timeseries_query"
    ),
    HTTPStatus.NOT_FOUND: "is the URL the root of Datadog's API, such as https://api.datadoghq.com?",
    HTTPStatus.UNPROCESSABLE_ENTITY: "the query cannot be carried out",
    HTTPStatus.TOO_MANY_REQUESTS: "the organisation's limit of requests is used up: lengthen the interval of the analysis",
}
