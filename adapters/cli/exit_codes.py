"""What the exit code of every command means, in every output format."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    SUCCESS = 0
    FAILED = 1
    """The rollout failed or was rolled back."""
    BAD_INPUT = 2
    """Bad input or usage; also a store or socket that another daemon holds. Nothing was started."""
    CONFLICT = 3
    """Another run of the application is under way, or an order does not fit where the rollout stands."""
    UNREACHABLE = 4
    """The daemon or a cluster cannot be reached, or cannot work."""
    DEPOSED = 5
    """Another daemon has taken over, or may: this one ended itself, so that the next one can be a standby."""
    DEFECT = 70
    """An error in Headgate itself."""
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    """The reader of the output has gone away, as in `headgate list | head -1`."""


MEANINGS: tuple[tuple[ExitCode, str], ...] = (
    (ExitCode.SUCCESS, "success"),
    (ExitCode.FAILED, "the rollout failed or was rolled back"),
    (ExitCode.BAD_INPUT, "bad input or usage, or a store or socket that another daemon holds; nothing was started"),
    (
        ExitCode.CONFLICT,
        "another run of the application is under way, or an order does not fit where the rollout stands",
    ),
    (ExitCode.UNREACHABLE, "the daemon or a cluster cannot be reached, or cannot work"),
    (ExitCode.DEPOSED, "another daemon has taken over, or may: this one ended itself, to be started again as a standby"),
    (ExitCode.DEFECT, "an error in Headgate itself"),
    (ExitCode.INTERRUPTED, "interrupted; a rollout in a daemon goes on"),
    (ExitCode.BROKEN_PIPE, "the reader of the output has gone away"),
)
