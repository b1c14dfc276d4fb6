"""A daemon's process: it lives until it is killed, at a point that it passes. What it does afterwards reaches nobody.

Points are counted, so that every one of a story can be tried: `before` and `after` each request's effect and each commit.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio


class Process:
    def __init__(self, is_fatal: Callable[[str], bool] = lambda point: False) -> None:
        """`is_fatal`: asked at each point whether the process dies there."""
        self.alive = True
        self.passed = 0
        self.scope = anyio.CancelScope()
        self._is_fatal = is_fatal

    def kill(self) -> None:
        self.alive = False
        self.scope.cancel()

    def survives(self, name: str) -> bool:
        """Whether it lives on past this point."""
        if self.alive:
            self.passed += 1
            if self._is_fatal(name):
                self.kill()
        return self.alive

    async def pass_point(self, name: str) -> None:
        if not self.survives(name):
            await anyio.sleep_forever()

    async def go_on(self) -> None:
        """Only if the process does. What a dead one would do in its last blocks is nobody's business: it hangs until it is
        cancelled."""
        if not self.alive:
            await anyio.sleep_forever()
