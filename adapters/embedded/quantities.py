"""Amounts of resources (`500m`, `1.5Gi`): read, compared, and written in the one form in which the API gives them out.

The rules are those of k8s.io/apimachinery/pkg/api/resource: the largest suffix that leaves a whole number, in the family of
suffixes that the amount was given in.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

_PATTERN = re.compile(r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+))(?P<suffix>[eE][+-]?\d+|[numkMGTPE]|[KMGTPE]i)?")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_LEAST = Fraction(1, 10**9)
"""Nothing is told more finely; a smaller part counts as this much."""


def is_quantity(text: str) -> bool:
    """Whether a text is an amount."""
    return _PATTERN.fullmatch(text) is not None


@lru_cache(maxsize=1024)
def amount_of(text: str) -> Fraction:
    """The amount.

    Raises:
        ValueError: the text is none.
    """
    found = _PATTERN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no quantity: write a number with a suffix such as m, k, M, Ki or Mi")
    number, suffix = Fraction(found["number"]), found["suffix"] or ""
    if suffix in _BINARY:
        number *= 1024 ** _BINARY[suffix]
    else:
        number *= Fraction(10) ** (int(suffix[1:]) if suffix[:1] in {"e", "E"} and suffix[1:] else _DECIMAL[suffix])
    steps = number / _LEAST
    rounded = Fraction(-(-abs(steps.numerator) // steps.denominator)) * _LEAST
    return rounded if number >= 0 else -rounded


@lru_cache(maxsize=1024)
def canonical(text: str) -> str:
    """The amount as the API gives it out: `0.5` is `500m`, `1024Mi` is `1Gi`.

    Raises:
        ValueError: the text is none.
    """
    amount = amount_of(text)
    found = _PATTERN.fullmatch(text)
    suffix = (found["suffix"] if found else "") or ""
    if suffix in _BINARY and abs(amount) >= 1024:
        return _in_binary(amount)
    if suffix[:1] in {"e", "E"} and suffix[1:]:
        number, exponent = _in_thousands(amount)
        return f"{number}e{exponent}" if exponent else str(number)
    return _in_decimal(amount)


def in_thousandths(text: str) -> str:
    """The amount rounded up to thousandths, as amounts of a container's resources are."""
    thousand = amount_of(text) * 1000
    if thousand.denominator == 1:
        return text
    return canonical(f"{-(-thousand.numerator // thousand.denominator)}m")


def _in_binary(amount: Fraction) -> str:
    whole = -(-abs(amount.numerator) // amount.denominator)
    power = 0
    while whole % 1024 == 0 and power < len(_BINARY):
        whole, power = whole // 1024, power + 1
    sign = "-" if amount < 0 else ""
    return f"{sign}{whole}{['', *_BINARY][power]}"


def _in_decimal(amount: Fraction) -> str:
    number, exponent = _in_thousands(amount)
    suffix = next(name for name, value in _DECIMAL.items() if value == exponent)
    return f"{number}{suffix}"


def _in_thousands(amount: Fraction) -> tuple[int, int]:
    """A whole number and the largest power of ten, in steps of three, that make the amount."""
    if not amount:
        return 0, 0
    for exponent in range(18, -10, -3):
        number = amount / Fraction(10) ** exponent
        if number.denominator == 1:
            return int(number), exponent
    raise AssertionError("every amount is a whole number of the least part")
