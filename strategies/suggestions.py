"""The nearest valid name, for messages about names that are not valid."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_MOST_CANDIDATES = 300
"""Comparing with more names than these takes longer than the advice is worth."""


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """The valid name that `name` was probably meant to be, whatever its case; None when nothing comes close."""
    by_lowered = {candidate.lower(): candidate for candidate in sorted(valid, reverse=True)}
    if len(by_lowered) > _MOST_CANDIDATES:
        return by_lowered.get(name.lower())
    matches = get_close_matches(name.lower()[:200], by_lowered, n=1, cutoff=0.6)
    return by_lowered[matches[0]] if matches else None


def suggest(name: str, valid: Iterable[str], nothing: str = "there are none") -> str:
    """What to write instead of `name`: the nearest name, or else the list of those that there are."""
    names = sorted(set(valid))
    if not names:
        return nothing
    if (found := nearest(name, names)) is not None:
        return f"did you mean {quote(found)}?"
    return f"there is {listed(names)}"


def quote(name: str, most: int = 60) -> str:
    """A name or text as messages show it: on one line, and not for ever."""
    shown = name if len(name) <= most else name[: most - 3] + "..."
    return '"' + "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in shown) + '"'


def listed(names: Iterable[str], joint: str = "and", most: int = 12) -> str:
    """`a, b and c`, with the rest of a long list counted."""
    shown = [quote(name) for name in names]
    if len(shown) > most:
        shown = [*shown[:most], f"{len(shown) - most} more"]
    if len(shown) < 2:
        return "".join(shown)
    return f"{', '.join(shown[:-1])} {joint} {shown[-1]}"
