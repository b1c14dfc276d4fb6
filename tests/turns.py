"""Leadership that a story takes away."""

from __future__ import annotations

from engine.errors import Deposed


class Mandate:
    """Implements `adapters.leadership.Leadership`. `left`: how often it still holds; None for always."""

    def __init__(self, left: int | None = None) -> None:
        self.left = left
        self.asked = 0

    def require(self) -> None:
        self.asked += 1
        if self.left is not None:
            if self.left == 0:
                raise Deposed("somebody else leads")
            self.left -= 1

    def behind_seconds(self, account: str) -> float:
        return 0.0
