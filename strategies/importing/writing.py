"""Plain data -> YAML for people, with comments. Every text comes back as the same text, whichever of the two ways of
this program it is read in. Knows nothing of deploy files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from strategies.yaml_scalars import OLD_BOOLEANS, Dialect, resolve

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@:%+=-]*(?: [A-Za-z0-9_./@%+=][A-Za-z0-9_./@:%+=-]*)*")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


@dataclass(frozen=True, slots=True)
class Commented:
    """A value with comments: lines above it, a few words beside it, lines below it."""

    value: Value
    above: Sequence[str] = ()
    beside: str = ""
    below: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Flow:
    """A small mapping of single values that is written on one line, with braces."""

    values: Mapping[str, str | int | float | bool]


Value: TypeAlias = "str | int | float | bool | Sequence[Value] | Mapping[str, Value] | Commented | Flow | None"


def write(value: Value) -> str:
    return "\n".join(_lines(value)) + "\n"


def write_documents(values: Sequence[Value]) -> str:
    """Several documents, as manifests are written."""
    return "---\n".join(map(write, values))


def comment(text: str) -> str:
    """One line; what would end it or steer a terminal is made visible."""
    return f"# {''.join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)}".rstrip()


def _open(value: Value) -> Commented:
    return value if isinstance(value, Commented) else Commented(value)


def _is_nested(value: Value) -> bool:
    return isinstance(value, Mapping | list | tuple) and bool(value)


def _lines(value: Value) -> Iterator[str]:
    opened = _open(value)
    inner = opened.value
    if isinstance(inner, Mapping) and inner:
        for key, item in inner.items():
            yield from _entry(key, item)
    elif isinstance(inner, list | tuple) and inner:
        for item in inner:
            yield from _item(item)
    else:
        yield _scalar(inner)
    yield from map(comment, opened.below)


def _entry(key: str, item: Value) -> Iterator[str]:
    opened = _open(item)
    yield from map(comment, opened.above)
    beside = f"  {comment(opened.beside)}" if opened.beside else ""
    name = _text(key)
    if _is_nested(opened.value):
        yield f"{name}:{beside}"
        yield from (f"  {line}" if line else "" for line in _lines(item))
    elif isinstance(opened.value, str) and (block := _block(opened.value)) is not None:
        head, *rest = block
        yield f"{name}: {head}{beside}"
        yield from (f"  {line}" if line else "" for line in rest)
    else:
        yield f"{name}: {_scalar(opened.value)}{beside}"
        yield from map(comment, opened.below)


def _item(item: Value) -> Iterator[str]:
    opened = _open(item)
    yield from map(comment, opened.above)
    lines = list(_lines(item))
    if opened.beside:
        lines[0] += f"  {comment(opened.beside)}"
    for index, line in enumerate(lines):
        yield (f"  {line}" if line else "") if index else f"- {line}"


def _scalar(value: Value) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
        case str():
            return _text(value)
        case Flow(values=values):
            return "{" + ", ".join(f"{_text(key)}: {_scalar(item)}" for key, item in values.items()) + "}"
        case Mapping():
            return "{}"
        case _:
            return "[]"


def _text(text: str) -> str:
    if _is_plain(text):
        return text
    if '"' in text and text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    return '"' + "".join(map(_escape, text)) + '"'


def _is_plain(text: str) -> bool:
    """Whether it is the same text without quotes, however it is read."""
    if _PLAIN.fullmatch(text) is None or text.endswith(":") or ": " in text or text in OLD_BOOLEANS:
        return False
    return all(resolve(text, dialect) == text for dialect in Dialect)


def _escape(letter: str) -> str:
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    if letter.isprintable():
        return letter
    code = ord(letter)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _block(text: str) -> list[str] | None:
    """A text of several lines as a block that keeps them; None when no block can hold it."""
    body = text.removesuffix("\n")
    if "\n" not in body or body.endswith("\n") or not body.strip() or body[0] in " \n\t":
        return None
    if not all(letter.isprintable() or letter == "\n" for letter in body):
        return None
    return ["|" if text.endswith("\n") else "|-", *body.split("\n")]
