"""The port between the preview addresses of the API and the clusters behind them: one request of somebody else's, sent on to one
Service. Knows neither HTTP servers nor Kubernetes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from engine.errors import HeadgateError
from engine.model import TargetPlan


class NotForwarded(HeadgateError):
    """The request did not reach the Service, or its answer broke off; the message says why, for whoever looks at the preview."""


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What is sent on. Its headers have been chosen: nothing of them is for Headgate or for the API server."""

    method: str
    tail: str
    """The path below the Service, without its first slash, and the query, both encoded as they came."""
    headers: tuple[tuple[str, str], ...]
    body: AsyncIterator[bytes] | None
    silence_seconds: float
    """How long the other side may say nothing."""
    most_seconds: float


@dataclass(frozen=True, slots=True)
class Answered:
    status: int
    headers: tuple[tuple[str, str], ...]
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Door:
    """One Service, in the words of the cluster's own proxy."""

    service: str
    port: int
    scheme: str = "http"


class ServiceDoors(Protocol):
    """Opens requests to Services of the clusters that rollouts are in."""

    def prefix(self, plan: TargetPlan, door: Door) -> str:
        """The path under which the cluster's proxy has the Service: answers may name it where they name themselves."""

    def open(self, plan: TargetPlan, door: Door, forwarded: Forwarded) -> AbstractAsyncContextManager[Answered]:
        """Raises `NotForwarded`, also while the answer is read."""
