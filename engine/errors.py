"""Errors by what the caller should do about them. Adapters translate their own errors into these at the port."""

from __future__ import annotations


class HeadgateError(Exception):
    """The root of the errors whose message is meant for a person."""


class ActionError(HeadgateError):
    """An action could not be performed."""


class Retryable(ActionError):
    """The world was busy, unreachable or had moved on. Trying again, after looking again, is right."""

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Undecided(Retryable):
    """There is nothing to judge by yet. Trying again later is right; never having been able to tell is no refusal."""


class Rejected(ActionError):
    """The world refuses this and will go on refusing: a person has to change something, and the message says what."""

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output
        """What a test that was run has said."""


class Doubtful(ActionError):
    """The world refuses this, and may only seem to: an API server that has just started knows none of its permissions yet.

    In the middle of a rollout it is asked again a few times before the refusal is believed.
    """


class StoreError(HeadgateError):
    """The store cannot be used."""


class StoreBusy(StoreError):
    """Another daemon holds the store."""


class Deposed(StoreError):
    """Another daemon has taken over, or the store has lost what this one has decided. It may write nothing more, neither to the
    store nor to a cluster, and has to end."""


class StoreTooNew(StoreError):
    """The store was written by a newer Headgate. It is left untouched."""


class StoreDamaged(StoreError):
    """The file is not a store, or it is damaged. It is left untouched."""


class StoreHindered(StoreError):
    """The store cannot be used though nothing is wrong with it: by rights, room, or the file system. It is left untouched."""


class BackupRefused(StoreError):
    """A copy of the store cannot be made or taken as it was asked for. Nothing was written over."""


class MoveRefused(StoreError):
    """A store cannot be moved into another one as it was asked for. Nothing was written."""


class Conflict(HeadgateError):
    """Another run of the application is under way (exit code 3)."""

    def __init__(self, message: str, release: str = "") -> None:
        super().__init__(message)
        self.release = release
        """The one that is in the way; empty where it is none of the daemon's."""


class NotFound(HeadgateError):
    """There is no such release or rollout."""


class CommandRefused(HeadgateError):
    """An operator's command does not fit where the rollout stands; nothing was changed."""


class RollbackRefused(CommandRefused):
    """A release cannot be taken back; the message says why and what can be done instead. Nothing was started."""


class RetryRefused(CommandRefused):
    """A release cannot be tried again; the message says why. Nothing was started."""


class ClusterUnreachable(HeadgateError):
    """A cluster of the settings cannot be reached or logged in to."""
