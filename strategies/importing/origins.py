"""Whose files can be imported. On its own, because it is all that the command line has to know before it is asked."""

from __future__ import annotations

from enum import StrEnum


class Origin(StrEnum):
    FLAGGER = "flagger"
    ARGO = "argo"
