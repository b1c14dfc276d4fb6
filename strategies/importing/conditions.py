"""The conditions of an Argo analysis (`result[0] >= 0.95`) -> the limits of a query. Pure.

Only such conditions are understood as speak of one number, and of nothing when there is none; anything else is said to
be not understood, and never guessed.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+)|(?P<word>[A-Za-z_]\w*)|(?P<sign>&&|\|\||[<>=!]=|[-<>!()\[\],#{}]))"
)
_EVERY = re.compile(r"\s*(?P<which>all|any)\s*\(\s*result\s*,\s*(?P<open>\{?)(?P<inside>[^{}]*?)\}?\s*\)\s*")
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "==": "==", "!=": "!="}
_NEGATED = {"<": ">=", ">": "<=", "<=": ">", ">=": "<", "==": "!=", "!=": "=="}
_CONVERSIONS = ("asFloat", "asInt", "float", "int")
_NOTHING = ("isNaN", "isNil", "isInf")


class NotUnderstood(ValueError):
    """The message says what in the condition is beyond this."""


@dataclass(frozen=True, slots=True)
class Limits:
    lower: float = -math.inf
    upper: float = math.inf
    excludes: float | None = None
    """A bound that itself did not pass, and does here."""
    passes_without_data: bool = False
    aggregate: str = ""
    """`max` or `min` when the condition was about every one of several numbers."""


@dataclass(frozen=True, slots=True)
class _Range:
    lower: float = -math.inf
    upper: float = math.inf
    excludes: float | None = None
    empty: bool = False
    nothing: bool | None = None
    """Whether it holds when there is no number; None when it does not say."""


@dataclass(frozen=True, slots=True)
class _Operand:
    number: float | None = None
    """None stands for the result."""
    default: float | None = None
    is_length: bool = False
    is_nil: bool = False


def read_limits(success: str | None, failure: str | None) -> Limits:
    """What passes: what meets `success`, or else what does not meet `failure`. Raises `NotUnderstood`."""
    text, negated = (success, False) if success is not None else (failure or "", True)
    aggregate = ""
    if (every := _EVERY.fullmatch(text)) is not None:
        if (every["which"] == "any") is not negated:
            raise NotUnderstood("it asks for any of several numbers")
        text, aggregate = every["inside"].replace("#", "result"), "max"
    found = _Parser(text).parse(negated=negated)
    if found.empty or (math.isinf(found.lower) and math.isinf(found.upper)):
        raise NotUnderstood("it sets no limit to the number")
    if aggregate and not math.isinf(found.lower):
        if not math.isinf(found.upper):
            raise NotUnderstood("it sets two limits to every one of several numbers")
        aggregate = "min"
    return Limits(found.lower, found.upper, found.excludes, found.nothing is True, aggregate)


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens: list[str] = []
        at = 0
        while text[at:].strip():
            match = _TOKEN.match(text, at)
            if match is None:
                raise NotUnderstood(f"{text[at:].split()[0][:20]!r} is beyond it")
            self._tokens.append(match[match.lastgroup or 0])
            at = match.end()
        self._tokens.append("")
        self._at = 0

    @property
    def _next(self) -> str:
        return self._tokens[self._at]

    def _take(self, *expected: str) -> str:
        token = self._next
        if expected and token not in expected:
            raise NotUnderstood(f"{token!r} is beyond it" if token else "it breaks off")
        self._at += 1
        return token

    def parse(self, *, negated: bool) -> _Range:
        found = self._alternatives(negated)
        self._take("")
        return found

    def _alternatives(self, negated: bool) -> _Range:
        found = self._together(negated)
        while self._next in ("||", "or"):
            self._take()
            other = self._together(negated)
            found = _both(found, other) if negated else _either(found, other)
        return found

    def _together(self, negated: bool) -> _Range:
        found = self._one(negated)
        while self._next in ("&&", "and"):
            self._take()
            other = self._one(negated)
            found = _either(found, other) if negated else _both(found, other)
        return found

    def _one(self, negated: bool) -> _Range:
        if self._next in ("!", "not"):
            self._take()
            return self._one(not negated)
        if self._next == "(":
            self._take()
            found = self._alternatives(negated)
            self._take(")")
            return found
        if self._next in _NOTHING:
            self._take()
            self._take("(")
            self._operand()
            self._take(")")
            return _Range(nothing=False) if negated else _Range(empty=True, nothing=True)
        return self._comparison(negated)

    def _comparison(self, negated: bool) -> _Range:
        left = self._operand()
        operator = self._take("<", ">", "<=", ">=", "==", "!=")
        right = self._operand()
        if left.number is not None or left.is_nil:
            left, right, operator = right, left, _FLIPPED[operator]
        if negated:
            operator = _NEGATED[operator]
        if right.is_nil:
            return _presence(operator, ("!=",))
        if left.number is not None or right.number is None:
            raise NotUnderstood("it does not compare the result with a number")
        if left.is_length:
            return _presence(operator, (">", "!=") if right.number == 0 else (">=",) if right.number == 1 else ())
        found = _compare(operator, right.number)
        if left.default is not None:
            found = replace(found, nothing=_holds(operator, left.default, right.number))
        return found

    def _operand(self) -> _Operand:
        token = self._take()
        if token == "-" and (operand := self._operand()).number is not None:
            return _Operand(-operand.number)
        if token[:1].isdigit() or token.startswith("."):
            return _Operand(float(token))
        if token in ("nil", "null"):
            return _Operand(is_nil=True)
        if token == "result":
            if self._next == "[":
                self._take()
                self._take("0")
                self._take("]")
            return _Operand()
        if token in (*_CONVERSIONS, "default", "len"):
            return self._call(token)
        raise NotUnderstood(f"{token!r} is beyond it" if token else "it breaks off")

    def _call(self, name: str) -> _Operand:
        self._take("(")
        operand = self._operand()
        if name == "default":
            self._take(",")
            fallback = self._operand().number
            operand = replace(operand, default=fallback)
        self._take(")")
        return replace(operand, is_length=True) if name == "len" else operand


def _presence(operator: str, there: tuple[str, ...]) -> _Range:
    """A condition on whether there is a result at all."""
    absent = {">": "==", ">=": "<", "!=": "=="}
    if operator in there:
        return _Range(nothing=False)
    if any(operator == absent[one] or operator == "<=" for one in there):
        return _Range(empty=True, nothing=True)
    raise NotUnderstood("it counts the results")


def _compare(operator: str, number: float) -> _Range:
    match operator:
        case "<" | "<=":
            return _Range(upper=number, excludes=number if operator == "<" else None)
        case ">" | ">=":
            return _Range(lower=number, excludes=number if operator == ">" else None)
        case "==":
            return _Range(number, number)
        case _:
            raise NotUnderstood("it lets every number pass but one")


def _holds(operator: str, left: float, right: float) -> bool:
    return {
        "<": left < right,
        "<=": left <= right,
        ">": left > right,
        ">=": left >= right,
        "==": left == right,
        "!=": left != right,
    }[operator]


def _both(one: _Range, other: _Range) -> _Range:
    nothing = None
    if one.nothing is False or other.nothing is False:
        nothing = False
    elif one.nothing and other.nothing:
        nothing = True
    lower, upper = max(one.lower, other.lower), min(one.upper, other.upper)
    excludes = next((bound for bound in (one.excludes, other.excludes) if bound in (lower, upper)), None)
    return _Range(lower, upper, excludes, one.empty or other.empty or lower > upper, nothing)


def _either(one: _Range, other: _Range) -> _Range:
    nothing = None
    if one.nothing or other.nothing:
        nothing = True
    elif one.nothing is False and other.nothing is False:
        nothing = False
    if one.empty or other.empty:
        return replace(other if one.empty else one, nothing=nothing)
    lower, upper = min(one.lower, other.lower), max(one.upper, other.upper)
    if max(one.lower, other.lower) > min(one.upper, other.upper):
        raise NotUnderstood("it lets numbers from two separate ranges pass")
    excludes = next((bound for bound in (one.excludes, other.excludes) if bound in (lower, upper)), None)
    return _Range(lower, upper, excludes, nothing=nothing)
