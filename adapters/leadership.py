"""Whether this daemon may change anything outside at this moment. Asked immediately before each write; knows no lease. And what
was seen of a cluster before this daemon's own watches of it began."""

from __future__ import annotations

from typing import Protocol


class Leadership(Protocol):
    def require(self) -> None:
        """Raises `engine.errors.Deposed` unless this daemon may write now."""

    def behind_seconds(self, account: str) -> float:
        """For how long from now others may be behind this account's API server, because it was away; 0 when they are not."""


class Undisputed:
    """Implements `Leadership` for a daemon that takes turns with nobody."""

    def require(self) -> None:
        return

    def behind_seconds(self, account: str) -> float:
        return 0.0


UNDISPUTED = Undisputed()


class Turn(Leadership, Protocol):
    """Leadership that daemons hand from one to the other."""

    @property
    def me(self) -> str:
        """What this daemon is called among them."""

    @property
    def leader(self) -> str:
        """Who leads, as far as is known; empty when nobody does."""

    @property
    def leads(self) -> bool:
        """Whether that is this daemon, at this moment."""

    @property
    def trouble(self) -> str:
        """Why it could not be found out at the last try; empty when it could."""

    @property
    def transitions(self) -> int:
        """How often leadership has changed hands."""
