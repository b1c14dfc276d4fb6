"""Signals: what the first Ctrl-C asks for and what the second one does, and a daemon's hang-ups."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_STOPPING_DAEMONS = (signal.SIGINT, signal.SIGTERM)


def _heeded(numbers: tuple[signal.Signals, ...]) -> tuple[signal.Signals, ...]:
    """Those that ask to stop, without the ones that whoever started this has told it to ignore (nohup, background
    jobs)."""
    return tuple(number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN)


async def obey_signals(first: Callable[[], Awaitable[None]], second: Callable[[], None]) -> None:
    """Call `first` at the first signal that asks to stop, and `second` at the next Ctrl-C.

    Only Ctrl-C counts as impatience: those who stop a job send a SIGINT and then a SIGTERM a few seconds later, and
    that must not cut short what the first one has begun.
    """
    asked = False
    with anyio.open_signal_receiver(*_heeded(_STOPPING)) as signals:
        async for number in signals:
            if not asked:
                asked = True
                await first()
            elif number == signal.SIGINT:
                second()
                return


async def wait_for_stop() -> signal.Signals:
    """The first signal that asks a daemon to stop."""
    with anyio.open_signal_receiver(*_heeded(_STOPPING_DAEMONS)) as signals:
        async for number in signals:
            return number
    raise AssertionError("the signals never end")


@asynccontextmanager
async def hear_hangups() -> AsyncIterator[AsyncIterator[signal.Signals]]:
    """Each SIGHUP from now on, which ends nothing: to a daemon it means that the settings are to be read again."""
    with anyio.open_signal_receiver(signal.SIGHUP) as signals:
        yield signals
