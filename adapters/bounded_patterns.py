"""How much work a regular expression can be: Python's engine backtracks, and would hold up every rollout meanwhile. Pure.

Patterns come from deploy files and clusters. Only what is admitted here is tried on anything. Knows nothing of what a pattern is
for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LONGEST_TEXT = 256
"""The longest text that a pattern is tried on; a Kubernetes name has at most 253 characters."""


class PatternUnbounded(ValueError):
    """A part of a pattern whose work is not bounded by the text's length, or that is not supported; the message names it."""


TOKEN = re.compile(
    r"""(?P<escape>\\.)
      | (?P<set>\[\^?\]?(?:\\.|[^\]\\])*\])
      | (?P<open>\((?:\?:)?)
      | (?P<option>\?[?+]?)
      | (?P<count>\{\d+\})
      | (?P<repeat>(?:[*+]|\{\d*,\d*\})[?+]?)
      | (?P<other>.)""",
    re.DOTALL | re.VERBOSE,
)


def pattern_work(pattern: str) -> int:
    """In how many ways a valid pattern can be tried on a text of LONGEST_TEXT, at most: alternatives add up, what follows each
    other multiplies.

    Raises PatternUnbounded for what is not supported: repeated groups, lookaround, flags, back references.
    """
    groups = [_Group()]
    previous = ""
    for token in TOKEN.finditer(pattern):
        kind, text = token.lastgroup, token.group()
        if kind == "open":
            groups.append(_Group())
        elif text == ")":
            closed = groups.pop()
            groups[-1].sequence *= closed.alternatives + closed.sequence
        elif text == "|":
            groups[-1].alternatives += groups[-1].sequence
            groups[-1].sequence = 1
        elif kind == "option" and previous == "(":
            raise PatternUnbounded("of the groups that begin with (? only (?:...) is supported in regular expressions")
        elif kind == "option":
            groups[-1].sequence *= 2
        elif kind in ("repeat", "count") and previous == ")":
            raise PatternUnbounded(f"a group cannot be repeated with {text!r} in regular expressions")
        elif kind == "repeat":
            groups[-1].sequence *= LONGEST_TEXT
        elif kind == "escape" and text[1] in "123456789":
            raise PatternUnbounded("back references are not supported in regular expressions")
        previous = text
    return groups[0].alternatives + groups[0].sequence


@dataclass(slots=True)
class _Group:
    """Work of one group that is still open: of its finished alternatives, and of the one that is being read."""

    alternatives: int = 0
    sequence: int = 1
