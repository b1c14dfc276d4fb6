"""What a plan says of one object: what is done to it, and a few words about that."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verb(StrEnum):
    LOOK = "look"
    APPLY = "apply"
    """Create it, or change it to what the file declares."""
    CREATE = "create"
    CHANGE = "change"
    REMOVE = "remove"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Change:
    verb: Verb
    subject: str
    """Kind and name of an object; for a wait, what is waited for."""
    detail: str = ""
