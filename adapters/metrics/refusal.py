"""What answers of metric sources have in common when they hold no value: refusals, web pages, remarks, foreign texts.

It must not know any source; each brings its own name and its own advice.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from adapters.metrics.outcome import Outcome, OutcomeKind

SHOWN_REMARKS = 3
MAX_SKEW_S = 30.0
"""Clocks that differ by less are not worth a word: the Date header has whole seconds, and answers take time."""
Quote = Callable[[str], str]
"""Makes a foreign text fit for a message: no credentials, one line, not too long."""


def failed(detail: str) -> Outcome:
    return Outcome(OutcomeKind.ERROR, None, detail)


def no_data(detail: str) -> Outcome:
    return Outcome(OutcomeKind.NO_DATA, None, detail)


def measured(number: float, what: str) -> Outcome:
    """A number that was found, finite or not. `what` names it, as the beginning of a sentence."""
    if not math.isfinite(number):
        return Outcome(OutcomeKind.NOT_A_NUMBER, None, f"{what} is {number}: probably a division by zero")
    return Outcome(OutcomeKind.VALUE, number, f"{what} is {number:.6g}")


def refused(name: str, status: int, advice: Mapping[int, str], said: str) -> Outcome:
    """The outcome of an answer with a status other than 200: who answered what, what to do, and what it says."""
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        step = "it or a proxy in front of it is in trouble"
    elif HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        step = "it redirects, and redirects are not followed: is there a login in front, or is it https?"
    else:
        step = advice.get(status, "")
    return failed(". ".join(part for part in (f"{name} answered {status}", step, said) if part))


def said(text: str, quote: Quote) -> str:
    """What a source says of itself, as a sentence; nothing when it says nothing."""
    return f"It says: {quote(text)}" if text.strip() else ""


def said_by_page(body: bytes, quote: Quote, name: str) -> str:
    title = quote(page_title(body))
    shown = f" ({title})" if title else ""
    return f"It sent a web page{shown}: it is not {name} that answers at this URL"


def is_web_page(content_type: str, body: bytes) -> bool:
    return content_type == "text/html" or body[:64].lstrip().lower().startswith((b"<!doctype", b"<html"))


def page_title(body: bytes) -> str:
    """The whole of it: a secret in it is taken out before it is cut."""
    title = re.search(rb"<title[^>]{0,100}>", body[:10_000], re.IGNORECASE)
    return body[title.end() :].partition(b"<")[0].decode("utf-8", errors="replace") if title else ""


def with_remarks(outcome: Outcome, name: str, remarks: Sequence[str], quote: Quote) -> Outcome:
    """A source's own doubts about the query belong to the answer, whatever it is."""
    if not remarks:
        return outcome
    shown = "; ".join(quote(remark) for remark in remarks[:SHOWN_REMARKS])
    more = f" (and {len(remarks) - SHOWN_REMARKS} more)" if len(remarks) > SHOWN_REMARKS else ""
    return Outcome(outcome.kind, outcome.value, f"{outcome.detail}. {name} remarks: {shown}{more}")


def with_clock(outcome: Outcome, date_header: str | None, now: datetime) -> Outcome:
    """Say that the source's clock is another than ours: then the window is not the one that was meant."""
    try:
        theirs = parsedate_to_datetime(date_header or "")
    except ValueError:
        return outcome
    ahead_s = (now - theirs.replace(tzinfo=theirs.tzinfo or UTC)).total_seconds()
    if abs(ahead_s) < MAX_SKEW_S:
        return outcome
    way = "ahead of" if ahead_s > 0 else "behind"
    advice = f"The daemon's clock is {abs(ahead_s):.0f} s {way} the source's, so the window is off by as much: set the clock"
    return Outcome(outcome.kind, outcome.value, f"{outcome.detail}. {advice}")
