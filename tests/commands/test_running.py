"""Programs as tests: real processes, what they are told, what is kept of them, and how they end when nobody wants them."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from adapters.commands.running import CommandRunner, open_commands
from adapters.outputs import MOST_BYTES
from adapters.settings import CommandSettings, SecretReference
from engine.clock import SystemClock
from engine.errors import Deposed, Rejected
from engine.events import ActionSucceeded
from engine.model import Action, ActionKind, Facts, Gate, RunCommand, Snapshot, State
from tests.builders import percent, rollout_spec, target_plan
from tests.clocks import START
from tests.turns import Mandate

DAEMON = {"PATH": os.environ["PATH"], "HOME": "/home/headgate", "API_KEY": "of-the-daemon", "TOKEN": "s3cret-token"}
ACTION = Action(3, "run-command:2:smoke", ActionKind.RUN_COMMAND, {"gate": "step:1"})


def python(code: str, **options: object) -> CommandSettings:
    return CommandSettings.model_validate({"argv": [sys.executable, "-c", code], **options})


@asynccontextmanager
async def runner(command: CommandSettings, *, grace: float = 5.0) -> AsyncIterator[CommandRunner]:
    async with open_commands({"smoke": command}, DAEMON, SystemClock(), grace_seconds=grace) as made:
        yield made


async def perform(made: CommandRunner, *, name: str = "smoke", allowed: float = 60.0) -> ActionSucceeded:
    step = RunCommand(name, allowed, {"user-count": "40; rm -rf /"})
    spec = rollout_spec(replace(target_plan([percent(10), step]), context={"region": "eu"}))
    facts: Facts = {"web.canary_name": "web-7f9c", "preview.web": "https://h.example/p/", "preview.web.until": "never"}
    gate = Gate("step:1", START, due_at=SystemClock().now() + timedelta(seconds=allowed), action=ACTION)
    return await made.perform(spec, Snapshot(State.CALLING, START, step=1, facts=facts, gates=(gate,)), ACTION)


async def run(command: CommandSettings) -> ActionSucceeded:
    async with runner(command) as made:
        return await perform(made)


async def refusal(command: CommandSettings, **options: object) -> Rejected:
    async with runner(command) as made:
        with pytest.raises(Rejected) as caught:
            await perform(made, **options)  # type: ignore[arg-type]
    return caught.value


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(20):
        while not condition():
            await anyio.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


# --- what it is told ---------------------------------------------------------------------------------------------------


async def test_a_program_that_ends_with_0_passes_and_what_it_said_is_kept() -> None:
    done = await run(python("import sys; print('all well'); print('a warning', file=sys.stderr)"))
    assert (done.number, done.note) == (3, "command smoke ended with 0")
    assert sorted(done.output.splitlines()) == ["a warning", "all well"]


async def test_it_is_told_of_the_rollout_in_its_environment_and_of_the_daemon_nothing() -> None:
    command = python("import os; print('\\n'.join(f'{k}={v}' for k, v in os.environ.items()))", env={"BROWSER": "firefox"})
    told = dict(line.split("=", 1) for line in (await run(command)).output.splitlines())
    told.pop("LC_CTYPE", None)  # Python's own doing.
    assert told == {
        "PATH": DAEMON["PATH"],
        "HOME": "/home/headgate",
        "BROWSER": "firefox",
        "HEADGATE_APPLICATION": "shop",
        "HEADGATE_RELEASE": "r1",
        "HEADGATE_ROLLOUT": "r1.production",
        "HEADGATE_TARGET": "production",
        "HEADGATE_ACCOUNT": "embedded",
        "HEADGATE_NAMESPACE": "shop",
        "HEADGATE_REPLICA_SET": "web-7f9c",
        "HEADGATE_PREVIEW_WEB": "https://h.example/p/",
        "HEADGATE_CONTEXT_REGION": "eu",
        "HEADGATE_CONTEXT_USER_COUNT": "40; rm -rf /",
        "HEADGATE_IDEMPOTENCY_KEY": "r1.production/step:1",
    }


async def test_secrets_reach_the_program_and_not_the_journal() -> None:
    command = python("import os; print('token', os.environ['API_TOKEN'])", secretEnv={"API_TOKEN": {"env": "TOKEN"}})
    assert (await run(command)).output == "token ***"


async def test_a_secret_where_the_kept_part_begins_leaves_no_tail() -> None:
    code = f"import os; print('x' * 99 + os.environ['API_TOKEN'] + ' ' * {MOST_BYTES - 6})"
    done = await run(python(code, secretEnv={"API_TOKEN": {"env": "TOKEN"}}))
    assert done.output.strip() == "***"


async def test_a_secret_that_is_not_there_keeps_it_from_being_started() -> None:
    error = await refusal(python("print(1)", secretEnv={"API_TOKEN": {"env": "NOWHERE"}}))
    assert str(error) == "command smoke is not started: the variable NOWHERE of the daemon's environment is empty or not set"


async def test_it_runs_in_its_directory(tmp_path: Path) -> None:
    done = await run(python("import os; print(os.getcwd())", directory=tmp_path))
    assert done.output == str(tmp_path)


# --- what counts as passed ---------------------------------------------------------------------------------------------


async def test_any_other_code_fails_with_the_output() -> None:
    error = await refusal(python("print('3 of 7 tests failed'); raise SystemExit(3)"))
    assert (str(error), error.output) == ("command smoke ended with 3; only 0 passes", "3 of 7 tests failed")


async def test_a_program_that_is_killed_by_somebody_else_fails() -> None:
    error = await refusal(python("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"))
    assert str(error) == "command smoke was ended by SIGSEGV"


@pytest.mark.parametrize(
    ("argv", "why"),
    [(["/nowhere/smoke"], "/nowhere/smoke: no such file or directory"), (["/etc/passwd"], "/etc/passwd: permission denied")],
)
async def test_a_program_that_cannot_be_started_says_what_to_correct(argv: list[str], why: str) -> None:
    error = await refusal(CommandSettings.model_validate({"argv": argv}))
    assert str(error).startswith(f"command smoke cannot be started: {why}; correct commands.smoke in the daemon's settings")


async def test_a_command_that_the_settings_do_not_name() -> None:
    error = await refusal(python("print(1)"), name="soak")
    assert str(error) == "the daemon's settings name no command soak; add it to commands, and deploy again"


# --- what is kept ------------------------------------------------------------------------------------------------------


async def test_of_much_output_the_end_is_kept_and_the_program_never_waits_for_us() -> None:
    done = await run(python("import sys\nfor n in range(100_000): print('line', n)\nprint('\\x1b[31mthe end\\x1b[0m')"))
    assert len(done.output) <= MOST_BYTES
    assert done.output.endswith("line 99999\nthe end")


async def test_a_grandchild_that_keeps_the_pipe_open_does_not_keep_us() -> None:
    code = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); print('done')"
    with anyio.fail_after(30):
        assert (await run(python(code))).output == "done"


# --- its end -----------------------------------------------------------------------------------------------------------

PATIENT = "import os, signal, time; print(os.getpid(), file=open('pid', 'w'), flush=True); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {PATIENT}"
LEADER = (
    "import subprocess, sys, time; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
    "print(child.pid, file=open('pid', 'w'), flush=True); time.sleep(600)"
)


async def pid_in(folder: Path) -> int:
    file = folder / "pid"
    await until(lambda: file.exists() and file.read_text().strip())
    return int(file.read_text())


async def test_a_program_that_takes_too_long_is_stopped_and_what_it_said_is_kept(tmp_path: Path) -> None:
    code = f"print('at work', flush=True); {PATIENT}"
    error = await refusal(python(code, directory=tmp_path, timeout=2.0))
    assert (str(error), error.output) == ("command smoke had not ended after 2 s and was stopped", "at work")
    assert not is_alive(int((tmp_path / "pid").read_text()))


async def test_the_steps_own_time_ends_a_little_early_so_that_the_output_is_told(tmp_path: Path) -> None:
    error = await refusal(python(PATIENT, directory=tmp_path), allowed=2.0)
    assert "had not ended" in str(error)


@pytest.mark.parametrize("code", [PATIENT, STUBBORN, LEADER], ids=["patient", "stubborn", "with a child"])
async def test_a_program_that_nobody_waits_for_any_more_is_ended_with_its_children(code: str, tmp_path: Path) -> None:
    async with runner(python(code, directory=tmp_path), grace=0.2) as made, anyio.create_task_group() as tasks:
        tasks.start_soon(perform, made)
        pid = await pid_in(tmp_path)
        tasks.cancel_scope.cancel()
    await until(lambda: not is_alive(pid))  # A grandchild has its signal by now, and dies in its own time.


async def test_nobody_waits_for_a_program_that_is_being_ended(tmp_path: Path) -> None:
    async with runner(python(STUBBORN, directory=tmp_path), grace=2.0) as made:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(perform, made)
            pid = await pid_in(tmp_path)
            tasks.cancel_scope.cancel()
        assert is_alive(pid)
    assert not is_alive(pid)


async def test_secret_references_say_where_the_secret_is() -> None:
    command = python("print(1)", secretEnv={"A": {"file": "/etc/key"}})
    assert command.secret_env == {"A": SecretReference(file=Path("/etc/key"))}


async def test_who_does_not_lead_any_more_starts_nothing(tmp_path: Path) -> None:
    command, mandate = python(f"open({str(tmp_path / 'started')!r}, 'w')"), Mandate(1)
    async with open_commands({"smoke": command}, DAEMON, SystemClock(), leadership=mandate) as made:
        await perform(made)
        (tmp_path / "started").unlink()
        with pytest.raises(Deposed):
            await perform(made)
    assert not (tmp_path / "started").exists()
