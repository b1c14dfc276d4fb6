"""The command line's own errors."""

from __future__ import annotations

from collections.abc import Sequence

from engine.errors import Deposed, HeadgateError
from strategies.problems import Problem


def sole_error(error: BaseException) -> BaseException:
    """What is in the middle of task groups that each wrapped it. Where several parts have ended because this daemon was deposed,
    that is what it is about."""
    while isinstance(error, BaseExceptionGroup):
        deposed = error.subgroup(Deposed)
        if deposed is not None:
            error = deposed.exceptions[0]
        elif len(error.exceptions) == 1:
            error = error.exceptions[0]
        else:
            break
    return error


class InputInvalid(HeadgateError):
    """A deploy file cannot be used (exit code 2). Nothing was started."""

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class StoreUnusable(HeadgateError):
    """There can be no store where one is named (exit code 2)."""


class Interrupted(HeadgateError):
    """Somebody pressed Ctrl-C (exit code 130). The message says what goes on, and where."""
