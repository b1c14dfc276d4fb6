"""Starting and ending Envoy: whatever happens, no process, no file and no open port stays behind."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import anyio
import pytest

from adapters.dataplane.envoy import Envoy
from adapters.dataplane.envoy_errors import EnvoyFailed, EnvoyUnreachable
from tests.dataplane.waiting import until

pytestmark = pytest.mark.envoy

RUN_UNTIL_KILLED = """
import asyncio, pathlib, sys
from adapters.dataplane.envoy import Envoy

async def main():
    async with Envoy(binary=pathlib.Path(sys.argv[1])) as envoy:
        print(envoy.address[1], flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def processes_of(directory: Path) -> list[int]:
    """The processes, zombies aside, whose command line names something in the directory."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(directory).encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def left_in(directory: Path) -> list[Path]:
    return list(directory.iterdir())


def read_port(admin_file: Path) -> int:
    return int(admin_file.read_text().rpartition(":")[2])


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_nothing_stays_behind(envoy_binary: Path, temporary_root: Path) -> None:
    async with Envoy(binary=envoy_binary) as envoy:
        (directory,) = left_in(temporary_root)
        admin_port = read_port(directory / "admin.txt")
        assert directory.stat().st_mode & 0o777 == 0o700
        assert len(processes_of(directory)) == 2, "the guardian and Envoy"
        assert is_listening(envoy.address[1])
        assert is_listening(admin_port)
    assert processes_of(directory) == []
    assert left_in(temporary_root) == []
    assert not is_listening(envoy.address[1])
    assert not is_listening(admin_port)


async def test_an_error_in_the_block_comes_out_and_nothing_stays_behind(
    envoy_binary: Path, temporary_root: Path
) -> None:
    with pytest.raises(LookupError, match="the caller's own"):
        async with Envoy(binary=envoy_binary):
            raise LookupError("the caller's own")
    assert left_in(temporary_root) == []
    assert processes_of(temporary_root) == []


@pytest.mark.parametrize("moment", ["bootstrap.json", "log.txt", "admin.txt"])
async def test_cancelled_in_start_up_nothing_stays_behind(
    envoy_binary: Path, temporary_root: Path, moment: str
) -> None:
    entering = asyncio.create_task(Envoy(binary=envoy_binary).__aenter__())
    await until(lambda: [*temporary_root.glob(f"*/{moment}")])
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert left_in(temporary_root) == []
    await until(lambda: not processes_of(temporary_root))


@pytest.mark.parametrize("turns", range(0, 12, 3))
async def test_cancelled_after_a_few_turns_of_the_loop_nothing_stays_behind(
    envoy_binary: Path, temporary_root: Path, turns: int
) -> None:
    entering = asyncio.create_task(Envoy(binary=envoy_binary).__aenter__())
    for _ in range(turns):
        await asyncio.sleep(0)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert left_in(temporary_root) == []
    await until(lambda: not processes_of(temporary_root))


async def test_cancelled_twice_nothing_stays_behind(envoy_binary: Path, temporary_root: Path) -> None:
    running = asyncio.Event()

    async def run() -> None:
        async with Envoy(binary=envoy_binary):
            running.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(run())
    await running.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not processes_of(temporary_root))
    assert left_in(temporary_root) == []


@pytest.mark.process
async def test_killed_for_good_nothing_stays_behind(envoy_binary: Path, temporary_root: Path) -> None:
    owner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", RUN_UNTIL_KILLED, str(envoy_binary)),
        cwd=Path(__file__).parents[2],
        env={**os.environ, "TMPDIR": str(temporary_root)},
        stdout=subprocess.PIPE,
    )
    assert owner.stdout is not None
    port = int(await owner.stdout.readline())
    assert is_listening(port)
    owner.kill()
    await owner.wait()
    await until(lambda: not processes_of(temporary_root))
    await until(lambda: not left_in(temporary_root))
    assert not is_listening(port)


@pytest.mark.process
async def test_if_even_the_guardian_is_killed_envoy_goes(envoy_binary: Path, temporary_root: Path) -> None:
    async with Envoy(binary=envoy_binary) as envoy:
        guardian, _ = sorted(processes_of(temporary_root))
        os.kill(guardian, signal.SIGKILL)
        await until(lambda: not processes_of(temporary_root))
        await until(lambda: not is_listening(envoy.address[1]))
    assert left_in(temporary_root) == []


async def test_an_envoy_that_ended_is_told_with_its_status(envoy_binary: Path, temporary_root: Path) -> None:
    async with Envoy(binary=envoy_binary) as envoy:
        _, process = sorted(processes_of(temporary_root))
        os.kill(process, signal.SIGTERM)
        await until(lambda: not is_listening(envoy.address[1]))
        with pytest.raises(EnvoyUnreachable, match="does not answer"):
            await envoy.statistics()
        with pytest.raises(EnvoyFailed, match=r"ended with status 0: (.|\n)*ENVOY_SIGTERM"):
            await envoy.wait_applied()
    assert left_in(temporary_root) == []


async def test_two_envoys_live_side_by_side(envoy_binary: Path) -> None:
    async with Envoy(binary=envoy_binary) as one, Envoy(binary=envoy_binary) as other:
        assert one.address != other.address
        await one.set_endpoints("web", [])
        await one.wait_applied()
        assert set(await one.statistics()) == {"web"}
        assert await other.statistics() == {}


async def test_it_lives_on_when_started_from_a_loop_in_another_thread(
    envoy_binary: Path, temporary_root: Path
) -> None:
    """A signal at the death of the starting thread would be wrong if that thread were not the loop's own."""
    failures: list[BaseException] = []

    async def run() -> None:
        async with Envoy(binary=envoy_binary) as envoy:
            await anyio.to_thread.run_sync(lambda: None)
            await envoy.set_endpoints("web", [])
            await envoy.wait_applied()

    def work() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    await anyio.to_thread.run_sync(thread.join)
    assert failures == []
    assert left_in(temporary_root) == []
