"""Who looks at what: an index from the key of a thing in the world to the rollouts that want to be woken when it changes.

Watches are shared, one per cluster and kind; this is how one event finds its rollouts without asking each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable

Wake = Callable[[], None]


class Bus:
    def __init__(self) -> None:
        self._by_key: dict[Hashable, dict[str, Wake]] = {}
        self._by_listener: dict[str, set[Hashable]] = {}

    def subscribe(self, listener: str, keys: Iterable[Hashable], wake: Wake) -> None:
        """Wake `listener` on any of the keys, beside those it has already."""
        known = self._by_listener.setdefault(listener, set())
        for key in keys:
            known.add(key)
            self._by_key.setdefault(key, {})[listener] = wake

    def unsubscribe(self, listener: str) -> None:
        for key in self._by_listener.pop(listener, set()):
            listeners = self._by_key[key]
            del listeners[listener]
            if not listeners:
                del self._by_key[key]

    def is_awaited(self, key: Hashable) -> bool:
        """Whether anybody would be woken by it."""
        return key in self._by_key

    def publish(self, key: Hashable) -> None:
        for wake in list(self._by_key.get(key, {}).values()):
            wake()

    def publish_to_all(self) -> None:
        """Wake everybody once: after a gap of which nobody knows what happened in it."""
        wakes: dict[str, Wake] = {}
        for listeners in self._by_key.values():
            wakes.update(listeners)
        for wake in wakes.values():
            wake()
