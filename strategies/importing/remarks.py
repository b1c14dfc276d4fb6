"""What an import has to say about a field of its input: that it was lost, that it means something else now, that a
value is missing. Knows nothing of YAML."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class RemarkKind(StrEnum):
    FILL_IN = "fillIn"
    """The input does not hold it; the deploy file has a placeholder, or needs something beside it."""
    LOST = "lost"
    """It is not carried over."""
    CHANGED = "changed"
    """It is carried over, and means something else than before."""
    NOTE = "note"
    """It is carried over, or not needed; worth knowing before the first run."""


_WORDS = {RemarkKind.FILL_IN: "fill in"}


@dataclass(frozen=True, slots=True)
class Remark:
    path: str
    line: int
    column: int
    """Of the input; both count from 1."""
    kind: RemarkKind
    field: str
    """The whole path of the field, such as `spec.strategy.canary.steps[2].pause`."""
    meaning: str
    """What the field did, or what there is to know about it."""
    instead: str
    """What to do about it; empty when there is nothing to do."""

    def __str__(self) -> str:
        advice = f"; {'instead: ' if self.kind is RemarkKind.LOST else ''}{self.instead}" if self.instead else ""
        word = _WORDS.get(self.kind, str(self.kind))
        return f"{self.path}:{self.line}:{self.column}: {word}: {self.field}: {self.meaning}{advice}"
