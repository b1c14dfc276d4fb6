"""What an examination comes to: sentences, each with how bad it is. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "ok"
    NOTE = "note"
    """Could not be found out, or is worth knowing."""
    WARNING = "warning"
    """A rollout will go through, and may not do what is expected of it."""
    PROBLEM = "problem"
    """A rollout will be refused, or will have no effect."""


@dataclass(frozen=True, slots=True)
class Finding:
    level: Level
    text: str
    """What is so, and, unless all is well, what to do about it."""


@dataclass(frozen=True, slots=True)
class Section:
    """All about one account, or about one target."""

    subject: str
    findings: tuple[Finding, ...]

    @property
    def has_problems(self) -> bool:
        return any(one.level is Level.PROBLEM for one in self.findings)


def ok(text: str) -> Finding:
    return Finding(Level.OK, text)


def note(text: str) -> Finding:
    return Finding(Level.NOTE, text)


def warning(text: str) -> Finding:
    return Finding(Level.WARNING, text)


def problem(text: str) -> Finding:
    return Finding(Level.PROBLEM, text)
