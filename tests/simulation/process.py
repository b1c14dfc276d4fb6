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
        self.epoch = 0
        """Which of the daemons it is that have opened the store, one after the other."""
        self.deposed = False
        """Another one leads; its own clock tells it so, as soon as it looks."""
        self._goes_on = anyio.Event()
        self._goes_on.set()
        self.scope = anyio.CancelScope()
        self._is_fatal = is_fatal

    def kill(self) -> None:
        self.alive = False
        self.resume()
        self.scope.cancel()

    def stop(self) -> None:
        """As by SIGSTOP: whatever it does that others could notice waits."""
        self._goes_on = anyio.Event()

    def resume(self) -> None:
        self._goes_on.set()

    async def wait_while_stopped(self) -> None:
        await self._goes_on.wait()

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
        await self._goes_on.wait()

    async def go_on(self) -> None:
        """Only if the process does. What a dead one would do in its last blocks is nobody's business: it hangs until it is
        cancelled."""
        if not self.alive:
            await anyio.sleep_forever()
        await self._goes_on.wait()
