"""What an answer of NerdGraph to an NRQL query means: one of the five outcomes, and for errors what to do about them.

It must not know how answers are fetched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
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

NAME = "New Relic"
SHOWN = 3
MAX_SNAP_MS = 1000
MAX_DEPTH = 3
"""Of the objects in a result: a percentile's is one deep."""
BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
NOT_NUMBERS = frozenset({"nan", "infinity", "-infinity"})


@dataclass(frozen=True, slots=True)
class Answered:
    """What an answer means; `passing` says that the same question may succeed in a moment."""

    outcome: Outcome
    passing: bool = False


class MeasuredRange(Struct, frozen=True):
    """A range of time in milliseconds since the epoch."""

    begin: int | None = None
    end: int | None = None


class Metadata(Struct, rename="camel"):
    facets: list[str] | None = None
    messages: list[str] | None = None
    time_window: MeasuredRange | None = None


class Container(Struct):
    results: list[dict[str, Any]] | None = None
    metadata: Metadata | None = None


class Account(Struct):
    nrql: Container | None = None


class Actor(Struct):
    account: Account | None = None


class Data(Struct):
    actor: Actor | None = None


class Extensions(Struct, rename="camel"):
    error_class: str | None = None


class Error(Struct):
    message: str = ""
    extensions: Extensions | None = None

    @property
    def kind(self) -> str:
        return (self.extensions.error_class or "").upper() if self.extensions is not None else ""


class Answer(Struct):
    data: Data | None = None
    errors: list[Error] | None = None


class Refusal(Struct):
    """What gateways in front of NerdGraph say, in one of their ways."""

    errors: list[Error] | None = None
    error: Any = None
    message: str | None = None


def read_answer(body: bytes, asked: MeasuredRange | None, quote: Quote) -> Answered:
    """What an answer with status 200 means. `asked` is the window that was added to the query."""
    try:
        answer = msgspec.json.decode(body, type=Answer)
    except BROKEN as error:
        return Answered(failed(f"the answer is not one of NerdGraph: {quote(str(error))}. Is the URL NerdGraph's?"))
    if answer.errors:
        return read_errors(answer.errors, quote)
    actor = answer.data.actor if answer.data is not None else None
    if actor is None or actor.account is None or actor.account.nrql is None:
        return Answered(failed("New Relic answered without a result: may the key's user see this account?"))
    container = actor.account.nrql
    metadata = container.metadata or Metadata()
    outcome = read_rows(container.results or [], metadata.facets or [], quote)
    remarks = [*(metadata.messages or []), *remark_on_range(asked, metadata.time_window)]
    return Answered(with_remarks(outcome, NAME, remarks, quote))


def read_errors(errors: Sequence[Error], quote: Quote) -> Answered:
    """Errors make the answer worthless even where there are data beside them: these are not whole."""
    kind = errors[0].kind
    shown = "; ".join(quote(error.message or error.kind or "no reason given") for error in errors[:SHOWN])
    more = f" (and {len(errors) - SHOWN} more)" if len(errors) > SHOWN else ""
    advice = next((text for part, text in ADVICE_OF_KINDS.items() if part in kind), "")
    passing = any(part in kind for part in PASSING_KINDS)
    told = f" ({quote(kind)})" if kind else ""
    detail = f"New Relic did not carry out the query{told}: {shown}{more}"
    return Answered(failed(f"{detail}. {advice}" if advice else detail), passing)


def read_rows(rows: Sequence[Mapping[str, Any]], facets: Sequence[str], quote: Quote) -> Outcome:
    """The value of the only field of the only row. A row's fields that say which facet it is are no values."""
    if not rows:
        return no_data("nothing matches the query in its range of time")
    if len(rows) > 1:
        advice = "Leave out TIMESERIES, FACET and COMPARE WITH, and SELECT one aggregate such as percentage(...)"
        return Outcome(OutcomeKind.SEVERAL_SERIES, None, f"the query yields {len(rows)} rows. {advice}")
    naming = {"facet", *facets} if facets else set()
    values = [found for name, value in rows[0].items() if name not in naming for found in leaves(name, value)]
    present = [(name, value) for name, value in values if value is not None]
    if len(values) > 1:
        shown = ", ".join(quote(name) for name, _ in values[:SHOWN])
        more = f" and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
        detail = f"the query yields {len(values)} values: {shown}{more}. SELECT one of them"
        return Outcome(OutcomeKind.SEVERAL_SERIES, None, detail)
    if not present:
        return no_data(f"{quote(values[0][0]) if values else 'the result'} is null: no events to calculate it from")
    return read_value(*present[0], quote)


def leaves(name: str, value: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:  # noqa: ANN401  results have no schema
    """Every single value of a field: percentiles are objects with one field for each."""
    if isinstance(value, dict) and depth < MAX_DEPTH:
        for part, inner in value.items():
            yield from leaves(f"{name}.{part}", inner, depth + 1)
    else:
        yield name, value


def read_value(name: str, value: Any, quote: Quote) -> Outcome:  # noqa: ANN401  results have no schema
    if isinstance(value, str) and value.lower() in NOT_NUMBERS:
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        seen = "a mapping" if isinstance(value, dict) else quote(repr(value))
        return failed(f"{quote(name)} is {seen}, expected a number")
    try:
        return measured(float(value), quote(name))
    except OverflowError:
        return failed(f"{quote(name)} is too large for a number")


def remark_on_range(asked: MeasuredRange | None, answered: MeasuredRange | None) -> list[str]:
    """New Relic moves the ends of a range to those of its own aggregates, which may be minutes away."""
    if asked is None or answered is None or asked.begin is None or asked.end is None:
        return []
    if answered.begin is None or answered.end is None:
        return []
    if max(abs(answered.begin - asked.begin), abs(answered.end - asked.end)) <= MAX_SNAP_MS:
        return []
    return [f"it measured {time_of(answered.begin)} to {time_of(answered.end)} instead of the window"]


def time_of(at_ms: int) -> str:
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return "no valid time"


def read_refusal(status: int, content_type: str, body: bytes, quote: Quote) -> Outcome:
    """The outcome of an answer with any other status, or of a web page: what it says, and what to do."""
    if is_web_page(content_type, body):
        return refused(NAME, status, ADVICE, said_by_page(body, quote, "NerdGraph"))
    try:
        refusal = msgspec.json.decode(body, type=Refusal)
        reason = "; ".join(error.message for error in refusal.errors or []) or refusal.message or str(refusal.error or "")
    except BROKEN:
        reason = body.decode("utf-8", errors="replace")
    return refused(NAME, status, ADVICE, said(reason, quote))


PASSING_KINDS = ("SERVER_ERROR", "TOO_MANY", "RATE_LIMIT", "SERVICE_UNAVAILABLE")
ADVICE_OF_KINDS: dict[str, str] = {
    "TIMEOUT": "It takes longer than it may: narrow the query, or lengthen the provider's timeout",
    "TOO_MANY": "Lengthen the interval of the analysis",
    "RATE_LIMIT": "Lengthen the interval of the analysis",
    "ACCESS_DENIED": "May the key's user query this account?",
    "UNAUTHORIZED": "May the key's user query this account?",
}
ADVICE: dict[int, str] = {
    HTTPStatus.BAD_REQUEST: "correct the query",
    HTTPStatus.UNAUTHORIZED: "check the API key: a user key is needed, and of this region",
    HTTPStatus.FORBIDDEN: "check the API key: a user key is needed, and of this region",
    HTTPStatus.NOT_FOUND: "is the URL NerdGraph's, such as https://api.newrelic.com/graphql?",
    HTTPStatus.TOO_MANY_REQUESTS: "a user may ask 25 questions at once: lengthen the interval of the analysis",
}
