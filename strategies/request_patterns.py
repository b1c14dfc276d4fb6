"""Whether a regular expression is one that the proxies behind a router take. Pure.

Envoy, and with it most of what routers put their rules into, reads RE2's syntax: no look-around and no back-references, because
it promises a time that is linear in the text. What RE2 knows and Python does not is put in Python's words before it is tried.
Source: https://github.com/google/re2/wiki/Syntax.
"""

from __future__ import annotations

import re
import warnings

LONGEST = 1_024
_CLASS = re.compile(r"\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\]", re.DOTALL)
_LITERAL = re.compile(r"\\Q(.*?)(?:\\E|$)", re.DOTALL)
_UNKNOWN = (
    (re.compile(r"\(\?<?[=!]"), "looks around"),
    (re.compile(r"\\[1-9]|\(\?P=\w*\)"), "refers back to a group"),
    (re.compile(r"(?<!\\)[*+?}]\+|\(\?>|\(\?\("), "has a possessive or conditional part"),
    (re.compile(r"\\[ZuUN]|\(\?#|\(\?[ims]*x"), "has a part"),
)
_IN_PYTHON = (
    (re.compile(r"\(\?<(?=[A-Za-z_])"), "(?P<"),
    (re.compile(r"\(\?[imsU]*(?:-[imsU]+)?\)"), ""),
    (re.compile(r"\(\?[imsU]*(?:-[imsU]+)?:"), "(?:"),
    (re.compile(r"\\[pP](?:\{\^?\w+\}|\w)|\\x\{[0-9a-fA-F]+\}|\\C"), "x"),
    (re.compile(r"\\z"), r"\\Z"),
)


def find_fault(pattern: str) -> str:
    """Why a pattern is none that RE2 takes, in words that follow its place; empty where it is one."""
    if len(pattern) > LONGEST:
        return f"is {len(pattern)} characters long; expected at most {LONGEST}"
    written = _LITERAL.sub(lambda found: re.escape(found[1]), pattern)
    bare = _CLASS.sub("x", re.sub(r"\\\\", "x", written))
    for unknown, what in _UNKNOWN:
        if found := unknown.search(bare):
            return f'{what} ("{found.group()}"), which the proxies of routers (RE2) do not know; write it another way'
    python = re.sub(r"\[:\^?\w+:\]", "a-z", written)
    for known, instead in _IN_PYTHON:
        python = known.sub(instead, python)
    try:
        with warnings.catch_warnings():
            # `[[` in a class means what it meant; Python only announces that it may change one day.
            warnings.simplefilter("ignore", FutureWarning)
            re.compile(python)
    except re.error as error:
        at = f" at its character {error.pos + 1}" if error.pos is not None and python == pattern else ""
        return f"is no regular expression: {error.msg}{at}"
    except (OverflowError, RecursionError):
        return "is no regular expression that anybody can work with; write a shorter one"
    return ""
