"""The canary's share of traffic as deploy files write it -> basis points. Pure arithmetic, exact in decimals."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from engine.traffic import FULL_WEIGHT
from strategies.suggestions import quote

_HUNDRED = Decimal(100)
EXPECTED = 'a percentage from 0 to 100, such as 25, 0.1 or "12.5%"'


class WeightError(ValueError):
    """The message says what is wrong with the weight and what to write."""


def to_basis_points(weight: object) -> int:
    """A whole or fractional percentage, or text that ends in `%`, as 0..10000. Raises `WeightError`."""
    percent = _to_percent(weight)
    if not 0 <= percent <= _HUNDRED:
        raise WeightError(f"is {_shown(weight)}; expected {EXPECTED}")
    points = percent * _HUNDRED
    if points != points.to_integral_value():
        raise WeightError(f"is {_shown(weight)}; the finest step is 0.01 %, so give it at most two decimals")
    return int(points)


def to_percent(points: int) -> str:
    """Basis points as a person writes them: `25 %`, `0.1 %`."""
    return f"{(Decimal(points) / _HUNDRED).normalize():f} %" if points < FULL_WEIGHT else "100 %"


def _to_percent(weight: object) -> Decimal:
    if isinstance(weight, bool) or not isinstance(weight, int | float | str):
        raise WeightError(f"expected {EXPECTED}")
    text = str(weight).strip()
    if isinstance(weight, str):
        if not text.endswith("%"):
            raise WeightError(
                f'is the text {_shown(weight)}; expected {EXPECTED}: write a number without quotes, or add "%"'
            )
        text = text.removesuffix("%").rstrip()
    try:
        percent = Decimal(text)
    except InvalidOperation:
        raise WeightError(f"is {_shown(weight)}; expected {EXPECTED}") from None
    if not percent.is_finite():
        raise WeightError(f"is {_shown(weight)}; expected {EXPECTED}")
    return percent


def _shown(weight: object) -> str:
    if isinstance(weight, str):
        return quote(weight, 30)
    text = str(weight)
    return text if len(text) <= 30 else text[:27] + "..."
