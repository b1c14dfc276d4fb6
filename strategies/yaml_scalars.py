"""What an unquoted word of YAML means: text, a number, true or false, or nothing. Knows nothing of documents.

Two dialects, because two readers' expectations meet here. A deploy file is read by the YAML 1.2 core rules, and what is
ambiguous between the versions of YAML (`012`, `0x1F`) stays text, which a field for numbers then refuses. A Kubernetes
manifest is read as kubectl reads it (YAML 1.1 as its Go parser understands it), or a `defaultMode: 0644` would become
another mode than the one that has always been deployed.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import TypeAlias

ScalarValue: TypeAlias = str | int | float | bool | None

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_OLD_TRUE = frozenset({"y", "Y", "yes", "Yes", "YES", "on", "On", "ON"})
_OLD_FALSE = frozenset({"n", "N", "no", "No", "NO", "off", "Off", "OFF"})
OLD_BOOLEANS = _OLD_TRUE | _OLD_FALSE
"""Words that YAML 1.1 reads as true or false and YAML 1.2 as text."""

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_OLD_INTEGER = re.compile(
    r"(?P<sign>[-+]?)(?:0b(?P<binary>[01]+)|0o?(?P<octal>[0-7]+)|0[xX](?P<hexadecimal>[0-9a-fA-F]+))"
)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_NOT_FINITE = {
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_MOST_DIGITS = 20
_EXACT = 2**53
"""Whole numbers below this are exact as floats."""


class Dialect(Enum):
    DEPLOY_FILE = auto()
    KUBERNETES = auto()


def resolve(word: str, dialect: Dialect) -> ScalarValue:
    """The value of an unquoted scalar. Numbers that no 64 bits hold come back as a float, infinite if need be."""
    if word in _NULL:
        return None
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    if word in _NOT_FINITE:
        return _NOT_FINITE[word]
    return _resolve_old(word) if dialect is Dialect.KUBERNETES else _resolve_number(word)


def _resolve_number(word: str) -> ScalarValue:
    if _INTEGER.fullmatch(word):
        return int(word) if len(word) <= _MOST_DIGITS else float(word)
    if _FLOAT.fullmatch(word) and not _LEADING_ZERO.fullmatch(word):
        return float(word)
    return word


def _resolve_old(word: str) -> ScalarValue:
    if word in _OLD_TRUE:
        return True
    if word in _OLD_FALSE:
        return False
    if not word[0].isascii() or word[0] not in "+-.0123456789":
        return word
    plain = word.replace("_", "")
    if (number := _OLD_INTEGER.fullmatch(plain)) is not None and len(plain) <= 4 * _MOST_DIGITS:
        base = {"binary": 2, "octal": 8, "hexadecimal": 16}[str(number.lastgroup)]
        return int(number["sign"] + number[str(number.lastgroup)], base)
    value = _resolve_number(plain)
    if isinstance(value, str) and _FLOAT.fullmatch(plain):
        value = float(plain)  # "08" is no octal number, so Go's parser falls through to its floats: 8.
    if isinstance(value, str):
        return word
    # Go writes the float 8 as "8", and fields for whole numbers do not take "8.0".
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT else value
