"""What the daemon's settings give names to, as far as deploy files use them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KnownNames:
    accounts: frozenset[str]
    providers: frozenset[str]
    commands: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()
