"""What routers that speak of single requests have in common: cookies as a condition on their header, and whether two conditions
on one thing can be one. Pure.

Expressions are RE2's. Where one has to match the whole value, and where only some of it, is a router's matter, so what is made
here may be tied to both ends.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import permutations

from adapters.bounded_patterns import LONGEST_TEXT, PatternUnbounded, pattern_work
from engine.traffic import MatchKind, NamedMatch

MOST_COOKIES = 3
"""Of one entry: their order in the header is open, so all orders are written out."""
_PLAIN = re.compile(r"(?:[\w/.*+?|()\[\]^$, -]|\\[.\-/dws])*")
"""Expressions that mean the same to RE2 and to Python, but for a group that asks for something."""
_MOST_WORK = 2**27
"""Three of `.*` and a few options in a row. RE2 has no such limit, because it does not backtrack."""


class Unjoinable(ValueError):
    """Two conditions on one thing that cannot be asked for together; the message says which, in words that follow a route's."""


def can_tell(pattern: str, text: str) -> bool:
    """Whether Python can be asked if the whole text fits, and answers at once."""
    if len(text) > LONGEST_TEXT or not _PLAIN.fullmatch(pattern) or "(?" in pattern:
        return False
    try:
        return pattern_work(pattern) <= _MOST_WORK
    except (PatternUnbounded, IndexError):
        return False


def fits(pattern: str, text: str) -> bool:
    """Whether the whole text fits. Ask `can_tell` before."""
    try:
        return re.fullmatch(pattern, text) is not None
    except re.error:
        return False


def fits_within(pattern: str, text: str) -> bool:
    """Whether a part of the text fits. Ask `can_tell` before."""
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return False


def cookie_pattern(cookies: Sequence[NamedMatch]) -> str:
    """The expression that the `cookie` header fits if it holds all of these, in any order and among others."""
    orders = (";(?:.*;)?\\s*".join(map(_cookie, order)) for order in permutations(cookies))
    return f"(?:.*;\\s*)?(?:{'|'.join(orders)})(?:;.*)?"


def _cookie(cookie: NamedMatch) -> str:
    value = cookie.value
    written = {
        MatchKind.EXACT: quoted(value.value),
        MatchKind.PREFIX: f"{quoted(value.value)}[^;]*",
        MatchKind.REGEX: f"(?:{_within_cookie(value.value)})",
    }
    return f"{quoted(cookie.name)}={written[value.kind]}"


def quoted(text: str) -> str:
    """As RE2 takes it: every sign with a backslash, and no letter."""
    return re.sub(r"([^\w\s])", r"\\\1", text)


def _within_cookie(pattern: str) -> str:
    """What is meant for one cookie's value must not run on into the next one."""
    parts = re.findall(r"\\.|\[\^?|\]|.", pattern, re.DOTALL)
    inside, written = False, []
    for part in parts:
        if inside:
            inside = part != "]"
        elif part in ("[", "[^"):
            inside = True
            part = "[^;" if part == "[^" else part
        elif part == ".":
            part = "[^;]"
        written.append(part)
    return "".join(written)
