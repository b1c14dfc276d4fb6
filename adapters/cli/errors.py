"""The command line's own errors."""

from __future__ import annotations

from collections.abc import Sequence

from engine.errors import HeadgateError
from strategies.problems import Problem


class InputInvalid(HeadgateError):
    """A deploy file cannot be used (exit code 2). Nothing was started."""

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class StoreUnusable(HeadgateError):
    """There can be no store where one is named (exit code 2)."""


class Interrupted(HeadgateError):
    """Somebody pressed Ctrl-C (exit code 130). The message says what goes on, and where."""
