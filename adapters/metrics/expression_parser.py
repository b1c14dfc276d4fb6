"""Reads an expression's text into its tree, or says where and why that is not possible: `expression:1:14: expected
...`.

The texts come from deploy files, so length and nesting are bounded. This module must not know how a tree is evaluated.
"""

from __future__ import annotations

import difflib
import math
import re

from adapters.metrics.expression import (
    UNITS_MS,
    Arithmetic,
    Call,
    Default,
    Expression,
    Function,
    Negation,
    Number,
    Operator,
    Quantile,
    Ratio,
    Selection,
)
from adapters.metrics.selector import Match, Matcher, PatternError, Selector, check_pattern
from engine.errors import HeadgateError

MAX_TEXT_LENGTH = 10_000
MAX_PARTS = 100
"""Operators, parentheses and calls of one expression.

A tree can be as deep as this, and Python's stack is not endless.
"""

BLANK = re.compile(r"(?:\s|#[^\n]*)*+")
NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
NUMBER = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![a-zA-Z0-9_.:])", re.ASCII)
TEXT = re.compile(r'"((?:[^"\\\n]|\\.)*+)"' + r"|'((?:[^'\\\n]|\\.)*+)'")
DURATION = re.compile(
    r"(?:(?P<d>[0-9]{1,9})d)?(?:(?P<h>[0-9]{1,9})h)?(?:(?P<m>[0-9]{1,9})m(?!s))?(?:(?P<s>[0-9]{1,9})s)?"
    r"(?:(?P<ms>[0-9]{1,9})ms)?"
)
MATCH = re.compile("=~|!~|!=|=")
TOKEN = re.compile(r"[a-zA-Z0-9_:.]+|=~|!~|!=|.", re.DOTALL)
ESCAPE = re.compile(r"\\(.)")
ESCAPES = {"\\": "\\", '"': '"', "'": "'", "n": "\n"}

FUNCTIONS = (*(function.value for function in Function), "quantile", "ratio", "default")
PROMQL_ONLY = {
    "by": "series are always added up over all labels",
    "without": "series are always added up over all labels",
    "offset": "the window is the one of the analysis",
    "or": "write default(expression, 0) for a value that may be missing",
    "and": "only numbers are calculated",
    "unless": "only numbers are calculated",
}


class ExpressionError(HeadgateError):
    """An expression that cannot be understood. Line and column count from 1."""

    def __init__(self, line: int, column: int, reason: str) -> None:
        super().__init__(f"expression:{line}:{column}: {reason}")
        self.line = line
        self.column = column
        self.reason = reason


def parse_expression(text: str) -> Expression:
    """The tree of an expression. Raises ExpressionError."""
    if len(text) > MAX_TEXT_LENGTH:
        raise ExpressionError(1, 1, f"the expression has {len(text)} characters, at most {MAX_TEXT_LENGTH} are allowed")
    return Parser(text).parse()


class Parser:
    """Recursive descent over one text. `_position` is where the next token begins."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = self._after_blanks(0)
        self._parts = 0

    def parse(self) -> Expression:
        expression = self._expression()
        if self._position < len(self._text):
            word = self._token()
            if word in PROMQL_ONLY:
                raise self._error(f"`{word}` is not supported: {PROMQL_ONLY[word]}", found=False)
            raise self._error("expected `+`, `-`, `*`, `/` or the end of the text")
        return expression

    def _expression(self, binding: int = 1) -> Expression:
        if binding > 2:
            return self._operand()
        left = self._expression(binding + 1)
        while (operator := self._operator()) is not None and operator.binds == binding:
            self._count_part()
            self._advance(1)
            left = Arithmetic(operator, left, self._expression(binding + 1))
        return left

    def _operator(self) -> Operator | None:
        symbol = self._text[self._position : self._position + 1]
        return Operator(symbol) if symbol and symbol in "+-*/" else None

    def _operand(self) -> Expression:
        if self._take("-"):
            self._count_part()
            return Negation(self._operand())
        if self._take("("):
            self._count_part()
            inner = self._expression()
            self._expect(")")
            return inner
        if self._text[self._position : self._position + 1] in tuple(".0123456789"):
            return Number(self._number())
        if NAME.match(self._text, self._position):
            return self._call() if self._is_call() else self._selection()
        raise self._error("expected a number, a function, a metric name or `(`")

    def _is_call(self) -> bool:
        name = NAME.match(self._text, self._position)
        return name is not None and self._text.startswith("(", self._after_blanks(name.end()))

    def _call(self) -> Expression:
        self._count_part()
        name = self._token()
        if name not in FUNCTIONS:
            near = difflib.get_close_matches(name.removeprefix("histogram_"), FUNCTIONS, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(FUNCTIONS)}"
            raise self._error(f"there is no function `{name}`: {hint}", found=False)
        self._advance(len(name))
        self._expect("(")
        call = self._arguments(name)
        self._expect(")")
        return call

    def _arguments(self, name: str) -> Expression:
        if name == "quantile":
            quantile = self._quantile()
            self._expect(",")
            return Quantile(quantile, self._buckets())
        if name == "ratio":
            part = self._selection()
            self._expect(",")
            return Ratio(part, self._selection())
        if name == "default":
            inner = self._expression()
            self._expect(",")
            sign = -1.0 if self._take("-") else 1.0
            return Default(inner, sign * self._number())
        return Call(Function(name), self._selection())

    def _quantile(self) -> float:
        start = self._position
        quantile = self._number()
        if quantile > 1:
            raise self._error("expected a quantile between 0 and 1", at=start)
        return quantile

    def _buckets(self) -> Selection:
        start = self._position
        selection = self._selection()
        if not selection.selector.name.endswith("_bucket"):
            raise self._error(
                f"expected a histogram's buckets, for instance `{selection.selector.name}_bucket`", at=start
            )
        return selection

    def _selection(self) -> Selection:
        name = NAME.match(self._text, self._position)
        if name is None:
            raise self._error("expected a metric name")
        if self._is_call():
            raise self._error("expected a metric name: functions take series, and all series are added up already")
        self._advance(name.end() - name.start())
        matchers: list[Matcher] = []
        if self._take("{"):
            while not self._take("}"):
                matchers.append(self._matcher())
                if not self._take(","):
                    self._expect("}")
                    break
        return Selection(Selector(name.group(), tuple(matchers)), self._range())

    def _matcher(self) -> Matcher:
        label = self._match(LABEL, "expected a label name or `}`").group()
        match = Match(self._match(MATCH, "expected `=`, `!=`, `=~` or `!~`").group())
        start = self._position
        value = self._quoted()
        if match in (Match.MATCHES, Match.MATCHES_NOT):
            try:
                check_pattern(value)
            except PatternError as error:
                raise self._error(str(error), at=start) from error
        return Matcher(label, match, value)

    def _quoted(self) -> str:
        start = self._position
        match = self._match(TEXT, "expected a text between quotation marks on one line")
        raw = match[1] if match[1] is not None else match[2]
        for escape in ESCAPE.finditer(raw):
            if escape[1] not in ESCAPES:
                at = start + 1 + escape.start()
                raise self._error(f"`{escape[0]}` is not an escape: write two backslashes for a backslash", at=at)
        return ESCAPE.sub(lambda escape: ESCAPES[escape[1]], raw)

    def _range(self) -> int | None:
        if not self._take("["):
            return None
        start = self._position
        parts = self._match(DURATION, "expected a duration such as 30s or 1m30s").groupdict(default="0")
        milliseconds = sum(int(count) * UNITS_MS[unit] for unit, count in parts.items())
        if not milliseconds:
            raise self._error("expected a duration above zero, such as 30s or 1m30s", at=start)
        self._expect("]")
        return milliseconds

    def _number(self) -> float:
        start = self._position
        number = float(self._match(NUMBER, "expected a number").group())
        if not math.isfinite(number):
            raise self._error("expected a number that fits into 64 bits", at=start)
        return number

    def _match(self, pattern: re.Pattern[str], expected: str) -> re.Match[str]:
        match = pattern.match(self._text, self._position)
        if match is None:
            raise self._error(expected)
        self._advance(len(match.group()))
        return match

    def _take(self, symbol: str) -> bool:
        if not self._text.startswith(symbol, self._position):
            return False
        self._advance(len(symbol))
        return True

    def _expect(self, symbol: str) -> None:
        if not self._take(symbol):
            raise self._error(f"expected `{symbol}`")

    def _advance(self, length: int) -> None:
        self._position = self._after_blanks(self._position + length)

    def _after_blanks(self, position: int) -> int:
        blank = BLANK.match(self._text, position)
        return blank.end() if blank else position

    def _token(self) -> str:
        token = TOKEN.match(self._text, self._position)
        return token.group() if token else ""

    def _count_part(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise self._error(f"the expression has more than {MAX_PARTS} operators, parentheses and calls", found=False)

    def _error(self, reason: str, *, at: int | None = None, found: bool = True) -> ExpressionError:
        """The error here, with what was found instead unless that is what the reason is about, or at a position."""
        position = self._position if at is None else at
        if at is None and found:
            token = self._token()
            reason += f", found `{token[:40]}`" if token else ", found the end of the text"
        before = self._text[:position]
        return ExpressionError(before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1, reason)
