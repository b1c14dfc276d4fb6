"""What can go wrong between a client and the daemon. Light to import: the command line needs these to explain any
failure."""

from __future__ import annotations

from adapters.http.bodies import ErrorBody
from engine.errors import HeadgateError


class DaemonUnreachable(HeadgateError):
    """No daemon answers where one is looked for, or it stopped answering."""


class DaemonRefused(HeadgateError):
    """The daemon answered that the request cannot be carried out."""

    def __init__(self, status: int, body: ErrorBody) -> None:
        super().__init__(body.message)
        self.status = status
        self.body = body
