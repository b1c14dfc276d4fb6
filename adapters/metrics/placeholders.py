"""The request of a JSON source: an address and a body with places for the query and its window, filled in safely.

What is filled in becomes a value, whatever it holds: in an address it is escaped, and in a body it is put into the
structure and not into its text. So no query can add a parameter, leave its path, or close a string.
This module must not know HTTP or what the answer means.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeAlias
from urllib.parse import parse_qsl, quote

import msgspec

from adapters.metrics.outcome import Query

JsonValue: TypeAlias = Mapping[str, "JsonValue"] | Sequence["JsonValue"] | str | int | float | bool | None
PLACEHOLDER = re.compile(r"\{\{([^{}]*+)\}\}")
QUERY = "query"
MIN_KEY = 8
"""Parameters of the address with a fixed value from this length on may be keys, and are not shown."""


class TemplateInvalid(Exception):
    """A template cannot be used. The message is the rest of a sentence that begins with what it is in."""


def values_of(query: Query) -> dict[str, str | int]:
    """What can be filled in, by name: those of the window are named as in deploy files."""
    values: dict[str, str | int] = {QUERY: query.text}
    for name, at in (("startTime", query.start), ("endTime", query.end)):
        values |= {f"armory.{name}{unit}": of(at) for unit, of in UNITS.items()}
    return values


UNITS: Mapping[str, Callable[[datetime], str | int]] = {
    "Iso8601": lambda at: at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    "EpochSeconds": lambda at: int(at.timestamp()),
    "EpochMillis": lambda at: round(at.timestamp() * 1000),
}
NAMES = (QUERY, *(f"armory.{name}{unit}" for name in ("startTime", "endTime") for unit in UNITS))


def names_in(text: str) -> list[str]:
    return [name.strip() for name in PLACEHOLDER.findall(text)]


def texts_in(body: JsonValue) -> Iterator[str]:
    """Every text of a body, except for the names of fields."""
    match body:
        case str():
            yield body
        case Mapping():
            for value in body.values():
                yield from texts_in(value)
        case Sequence():
            for value in body:
                yield from texts_in(value)


def uses_query(address: str, body: JsonValue) -> bool:
    """Whether a request asks what a deploy file's query says."""
    return any(QUERY in names_in(text) for text in (address, *texts_in(body)))


def check_names(text: str) -> None:
    """Raises TemplateInvalid."""
    for name in names_in(text):
        if name not in NAMES:
            shown = ", ".join(f"{{{{{known}}}}}" for known in NAMES)
            raise TemplateInvalid(f"has {{{{{name}}}}}, which nothing gives a value; known here: {shown}")


def check_body(body: object) -> None:
    """Raises TemplateInvalid for what JSON cannot say, too."""
    match body:
        case str():
            check_names(body)
        case float() if not math.isfinite(body):
            raise TemplateInvalid(f"has the number {body}, which JSON cannot say")
        case Mapping():
            for value in body.values():
                check_body(value)
        case Sequence():
            for value in body:
                check_body(value)


def check_address(text: str) -> None:
    """Raises TemplateInvalid."""
    check_names(text)
    before = text.partition("?")[0]
    if re.match(r"https?://[^\s/?#@{}]+(?=[/?]|$)", text) is None or "#" in text or re.search(r"\s", PLACEHOLDER.sub("", text)):
        raise TemplateInvalid('is not an address; expected "https://host/path" or "https://host/path?name={{query}}"')
    if QUERY in names_in(before):
        raise TemplateInvalid('has {{query}} in its path, where a query could name other pages; put it behind the "?"')
    if any(PLACEHOLDER.search(name) for name, _ in parameters(text)):
        raise TemplateInvalid("has a placeholder in the name of a parameter; only values can be filled in")


def fill_address(template: str, values: Mapping[str, str | int]) -> str:
    """The address with its placeholders replaced, escaped."""
    return PLACEHOLDER.sub(lambda found: quote(str(values[found[1].strip()]), safe=""), template)


def fill_body(body: JsonValue, values: Mapping[str, str | int]) -> bytes:
    """The body as JSON. A text that is one placeholder for a number becomes a number."""
    return msgspec.json.encode(fill(body, values))


def fill(body: JsonValue, values: Mapping[str, str | int]) -> JsonValue:
    match body:
        case str():
            whole = PLACEHOLDER.fullmatch(body)
            return values[whole[1].strip()] if whole else PLACEHOLDER.sub(lambda found: str(values[found[1].strip()]), body)
        case Mapping():
            return {name: fill(value, values) for name, value in body.items()}
        case Sequence():
            return [fill(value, values) for value in body]
        case _:
            return body


def keys_in(address: str) -> tuple[str, ...]:
    """The fixed values of an address' parameters that may be keys."""
    fixed = (value for _, value in parameters(address) if not PLACEHOLDER.search(value))
    return tuple(value for value in fixed if len(value) >= MIN_KEY)


def parameters(address: str) -> list[tuple[str, str]]:
    return parse_qsl(address.partition("?")[2], keep_blank_values=True)
