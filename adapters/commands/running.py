"""Performs `runCommand` steps: starts a program that the daemon's settings name, waits for its end and keeps what it said.

A deploy file chooses among programs and tells them its context; it never says what is executed, and no shell is in between. A
program has a process group of its own. When it is no longer wanted (the rollout is undone, its time is over, the daemon stops)
the whole group is asked to end, and killed a little later; that goes on beside the rollout, which does not wait for it.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import anyio
import anyio.abc
import anyio.lowlevel
import structlog

from adapters.commands.environment import passed_on, told
from adapters.hooks.templates import preview_tokens
from adapters.leadership import UNDISPUTED, Leadership
from adapters.outputs import OutputTail
from adapters.redaction import Redaction
from adapters.secrets import SecretUnreadable, read_secret
from adapters.settings import CommandSettings
from engine.clock import Clock
from engine.errors import Rejected
from engine.events import ActionSucceeded
from engine.gates import step_of
from engine.model import Action, RolloutSpec, RunCommand, Snapshot

log = structlog.get_logger()

GRACE_SECONDS = 5.0
"""Between asking a program to end and killing it."""
DRAIN_SECONDS = 1.0
"""How long the rest of the output may take after the end: a grandchild that has left the group may hold the pipe for ever."""
_CHUNK = 65_536


@dataclass(slots=True)
class _Program:
    """A program at work. `collect` has to run for as long as it does, or it blocks on a full pipe."""

    process: anyio.abc.Process
    pipe: int
    tail: OutputTail
    is_late: bool = False
    """It was stopped because its time was over."""

    async def collect(self) -> None:
        while True:
            try:
                chunk = os.read(self.pipe, _CHUNK)
            except BlockingIOError:
                await anyio.wait_readable(self.pipe)
                continue
            if not chunk:
                return
            self.tail.add(chunk)
            await anyio.lowlevel.checkpoint()

    def signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # Nobody of the group is left.
            os.killpg(self.process.pid, number)

    def close(self) -> None:
        os.close(self.pipe)


class CommandRunner:
    """Implements `engine.ports.Actuator` for RUN_COMMAND. Made by `open_commands`."""

    def __init__(
        self,
        commands: Mapping[str, CommandSettings],
        environment: Mapping[str, str],
        clock: Clock,
        tasks: anyio.abc.TaskGroup,
        grace_seconds: float,
        leadership: Leadership,
    ) -> None:
        self._leadership = leadership
        self._commands = commands
        self._environment = environment
        self._clock = clock
        self._tasks = tasks
        self._grace_seconds = grace_seconds

    def replace(self, commands: Mapping[str, CommandSettings]) -> None:
        """The settings were read again. Programs that are at work go on."""
        self._commands = commands

    async def perform(self, spec: RolloutSpec, snapshot: Snapshot, action: Action) -> ActionSucceeded:
        """Raises `Rejected` with the output when the program does not end with 0, or cannot be started."""
        gate = str(action.args["gate"])
        step = step_of(spec.plan, gate)
        assert isinstance(step, RunCommand)
        command = self._commands.get(step.name)
        if command is None:
            raise Rejected(f"the daemon's settings name no command {step.name}; add it to commands, and deploy again")
        secrets = await self._read_secrets(step.name, command)
        given = {**passed_on(self._environment), **command.env, **secrets, **told(spec, snapshot, step, gate)}
        limit = self._seconds_left(command, step, snapshot, gate)
        self._leadership.require()
        hidden = Redaction([*secrets.values(), *preview_tokens(spec, snapshot)])
        program = await _start(step.name, command, given, OutputTail(hidden))
        try:
            await self._wait_for_end(program, limit)
        except BaseException:
            self._tasks.start_soon(self._end_and_close, program, name=f"end of command {step.name}")
            raise
        program.close()
        return _judge(action.number, step.name, program, limit, program.tail.text())

    async def _read_secrets(self, name: str, command: CommandSettings) -> dict[str, str]:
        try:
            return {key: await read_secret(one, self._environment) for key, one in command.secret_env.items()}
        except SecretUnreadable as error:
            raise Rejected(f"command {name} is not started: {error}") from error

    def _seconds_left(self, command: CommandSettings, step: RunCommand, snapshot: Snapshot, gate_id: str) -> float:
        """A little less than the step's own time, so that what the program has said until then can still be told."""
        due_at = next((gate.due_at for gate in snapshot.gates if gate.id == gate_id), None)
        left = (due_at - self._clock.now()).total_seconds() if due_at is not None else step.timeout_seconds
        own = left - min(self._grace_seconds, step.timeout_seconds / 10)
        return max(0.0, min(own, command.timeout) if command.timeout is not None else own)

    async def _wait_for_end(self, program: _Program, limit: float) -> None:
        async with anyio.create_task_group() as tasks:
            drained = anyio.Event()

            async def collect() -> None:
                await program.collect()
                drained.set()

            tasks.start_soon(collect)
            with anyio.move_on_after(limit) as patience:
                await program.process.wait()
            if patience.cancelled_caught:
                program.is_late = True
                await self._end(program)
            program.signal(signal.SIGKILL)  # What it has left behind in its group.
            with anyio.move_on_after(DRAIN_SECONDS):
                await drained.wait()
            tasks.cancel_scope.cancel()

    async def _end(self, program: _Program) -> None:
        """Ask all of the group to end, and kill who is still there after the grace."""
        program.signal(signal.SIGTERM)
        with anyio.move_on_after(self._grace_seconds):
            await program.process.wait()
        program.signal(signal.SIGKILL)
        await program.process.wait()

    async def _end_and_close(self, program: _Program) -> None:
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(program.collect)  # Its last words are not kept, but they must not hold it up.
                await self._end(program)
                tasks.cancel_scope.cancel()
            program.close()
        log.info("command.ended", pid=program.process.pid)


async def _start(name: str, command: CommandSettings, environment: Mapping[str, str], tail: OutputTail) -> _Program:
    """The pipe is our own: the library's waits for everybody who has it, also for a grandchild that never ends."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    try:
        with anyio.CancelScope(shield=True):  # A program that nobody knows of could not be ended.
            process = await anyio.open_process(
                list(command.argv),
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=subprocess.STDOUT,
                cwd=command.directory,
                env=environment,
                start_new_session=True,
            )
    except (OSError, ValueError) as error:
        os.close(reading)
        raise Rejected(_explain_start(name, command, error)) from error
    finally:
        os.close(writing)
    return _Program(process, reading, tail)


def _explain_start(name: str, command: CommandSettings, error: OSError | ValueError) -> str:
    why = (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)
    at = str(error.filename) if isinstance(error, OSError) and error.filename else command.argv[0]
    advice = f"correct commands.{name} in the daemon's settings, or make the program executable, and deploy again"
    return f"command {name} cannot be started: {at}: {why}; {advice}"


def _judge(number: int, name: str, program: _Program, limit: float, output: str) -> ActionSucceeded:
    code = program.process.returncode
    if program.is_late:
        raise Rejected(f"command {name} had not ended after {limit:.0f} s and was stopped", output)
    if code == 0:
        return ActionSucceeded(number, note=f"command {name} ended with 0", output=output)
    if code is not None and code < 0:
        raise Rejected(f"command {name} was ended by {signal.Signals(-code).name}", output)
    raise Rejected(f"command {name} ended with {code}; only 0 passes", output)


@asynccontextmanager
async def open_commands(
    commands: Mapping[str, CommandSettings],
    environment: Mapping[str, str],
    clock: Clock,
    *,
    grace_seconds: float = GRACE_SECONDS,
    leadership: Leadership = UNDISPUTED,
) -> AsyncIterator[CommandRunner]:
    """A runner until the block ends, which asks `leadership` before it starts a program; then every program that is still
    there is ended, which takes the grace at most."""
    async with anyio.create_task_group() as tasks:
        yield CommandRunner(commands, environment, clock, tasks, grace_seconds, leadership)
