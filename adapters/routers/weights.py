"""Weights as traffic objects write them: small relative integers out, integers or quantities in. Pure arithmetic."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from engine.traffic import FULL_WEIGHT

_SUFFIXES = {"": Decimal(1), "m": Decimal("0.001"), "k": Decimal(1000)}


def relative_weights(weight: int) -> tuple[int, int]:
    """(stable, canary) for a weight in basis points, as percent where that says it exactly, finer where it does not.

    Whole numbers mean the same in every version of TrafficSplit, quantities do not survive a conversion between them.
    """
    scale = next(scale for scale in (100, 10, 1) if weight % scale == 0)
    return (FULL_WEIGHT - weight) // scale, weight // scale


def parse_weight(value: object) -> Decimal | None:
    """A weight as it stands in an object: a number, or a quantity such as `900m` (v1alpha1). None when it is neither."""
    text = str(value)
    suffix = text[-1:] if text[-1:] in ("m", "k") else ""
    try:
        return Decimal(text.removesuffix(suffix)) * _SUFFIXES[suffix]
    except InvalidOperation:
        return None


def basis_points(share: Decimal, total: Decimal) -> int | None:
    """The share in basis points; None for a split whose weights are all zero, which means nothing."""
    return round(FULL_WEIGHT * share / total) if total > 0 else None
