"""Telling changes to those who listen: everybody hears every change, in order, whatever the others do with it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from adapters.embedded.history import StorageEvent

Listener: TypeAlias = Callable[[StorageEvent], None]


class Delivery:
    """The listeners of one storage, called synchronously.

    A listener may cause further changes; these are told to everybody after the present one has been.
    """

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._waiting: deque[StorageEvent] = deque()
        self._delivering = False

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Add a listener; returns the call that removes it."""
        self._listeners.append(listener)

        def unsubscribe() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unsubscribe

    def tell(self, event: StorageEvent) -> None:
        """Tell a change, and what the listeners make of it.

        Raises:
            ExceptionGroup: listeners failed; the others were told all the same.
        """
        self._waiting.append(event)
        if self._delivering:
            return
        self._delivering = True
        failures: list[Exception] = []
        try:
            while self._waiting:
                failures.extend(self._tell_all(self._waiting.popleft()))
        finally:
            self._delivering = False
        if failures:
            raise ExceptionGroup("listeners of the storage failed; the change itself is stored", failures)

    def _tell_all(self, event: StorageEvent) -> list[Exception]:
        failures: list[Exception] = []
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception as error:  # the others must hear of the change all the same
                failures.append(error)
        return failures
