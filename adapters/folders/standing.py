"""Where each file of the deploy folders stands, as frozen data. Knows neither disk nor engine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from strategies.problems import Problem


class FileState(StrEnum):
    SETTLING = "settling"
    """New or changed, and not at rest yet: somebody may be writing still."""
    STARTED = "started"
    """Its release was begun from this content, since this daemon started."""
    UNCHANGED = "unchanged"
    """What it says was begun before, from this file or from another one."""
    WAITING = "waiting"
    """It begins when what is in its way has ended."""
    REFUSED = "refused"
    """It is not tried again before it changes."""


@dataclass(frozen=True, slots=True)
class FileStanding:
    name: str
    state: FileState
    release: str = ""
    """The release that its content began, or that it waits for; empty where there is none."""
    message: str = ""
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class FolderStanding:
    path: str
    files: tuple[FileStanding, ...]
    """Sorted by name."""
    problem: str = ""
    """Why the folder cannot be read; empty when it can."""
