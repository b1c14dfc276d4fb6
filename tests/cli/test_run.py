"""`run` and `serve` as processes of their own: results, interrupts, and what is left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.terminal import ROOT, Said, headgate, start, wait
from tests.http.stage import APPROVAL, percent, write_files

pytestmark = pytest.mark.process
DEADLINE_SECONDS = 20.0
SETTINGS = "accounts: {model: {}}\nmetricProviders: {metrics: {type: prometheus, url: 'http://127.0.0.1:9'}}\n"


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "headgate.yaml"
    path.write_text(SETTINGS)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    return path


def left_behind(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "tmp").iterdir())


def lines_until(process: subprocess.Popen[str], words: str) -> Iterator[str]:
    """What a process says, up to the line with these words."""
    assert process.stdout is not None
    for line in process.stdout:
        yield line
        if words in line:
            return
    raise AssertionError(f"it ended without saying {words!r}: {process.stderr.read() if process.stderr else ''}")


def test_a_file_is_carried_out_without_a_daemon(tmp_path: Path) -> None:
    said = wait(start("run", write_files(tmp_path, percent(50)), model=True))
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[0].endswith(" of shop begins, in a temporary store.")
    assert said.out.splitlines()[-1] == "  production runs the new version"
    assert left_behind(tmp_path) == []


def test_a_run_as_data(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    process = start(
        "run", write_files(tmp_path, percent(50)), "-o", "json", model=True, env={"GITHUB_OUTPUT": str(outputs)}
    )
    said = wait(process)
    assert (said.code, said.json["release"]["status"]) == (0, "SUCCEEDED")
    assert outputs.read_text().endswith("RUN_RESULT=SUCCEEDED\n")


def test_a_run_on_an_account_that_there_is_not_says_how_to_try_it_out(tmp_path: Path) -> None:
    path = write_files(tmp_path, percent(50), account="prod")
    said = wait(start("run", path, model=True))
    assert said.code == 2
    assert f'{path}:6:14: the account "prod" is not in the settings' in said.err
    assert f"headgate run {path} --cluster embedded" in said.err
    assert left_behind(tmp_path) == []


def test_another_terminal_approves_by_the_advice_that_is_given(tmp_path: Path) -> None:
    process = start("run", write_files(tmp_path, APPROVAL), model=True)
    *_, line = lines_until(process, "waits for an answer")
    order = line.partition("waits for an answer: headgate ")[2].partition("   ")[0]
    assert headgate(*order.split()).code == 0
    assert wait(process).code == 0


def test_the_first_interrupt_of_a_temporary_run_puts_everything_back(tmp_path: Path) -> None:
    process = start("run", write_files(tmp_path, APPROVAL), model=True)
    list(lines_until(process, "waits for an answer"))
    process.send_signal(signal.SIGINT)
    said = wait(process)
    assert said.code == 130
    assert "everything is put back as it was, because nobody could carry on with a temporary store" in said.out
    assert said.out.endswith("  production is as it was found: aborted by an interrupt\n")
    assert left_behind(tmp_path) == []


def test_a_stopped_job_gets_the_time_to_put_everything_back(tmp_path: Path) -> None:
    process = start("run", write_files(tmp_path, APPROVAL), model=True)
    list(lines_until(process, "waits for an answer"))
    process.send_signal(signal.SIGINT)
    list(lines_until(process, "Ctrl-C again"))
    process.send_signal(signal.SIGTERM)
    said = wait(process)
    assert said.code == 130
    assert "production is as it was found" in said.out


def test_a_second_interrupt_ends_at_once_and_keeps_the_store_that_is_needed(tmp_path: Path) -> None:
    path = write_files(tmp_path, APPROVAL)
    path.write_text(path.read_text().replace("settle: {duration: 0,", "settle: {duration: 600,"))
    process = start("run", path, model=True)
    list(lines_until(process, "waits for an answer"))
    process.send_signal(signal.SIGINT)
    list(lines_until(process, "Ctrl-C again"))
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    said = wait(process)
    assert said.code == 130
    if "is left as it stands" not in said.err:
        pytest.skip("it was put back before the second interrupt came")
    assert time.monotonic() - began < 10
    store = said.err.rpartition("--store ")[2].split()[0]
    assert Path(store).exists()
    assert left_behind(tmp_path) == [Path(store).parent]


def test_a_run_whose_reader_goes_away_puts_everything_back(tmp_path: Path) -> None:
    process = start("run", write_files(tmp_path, APPROVAL), model=True)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=DEADLINE_SECONDS)
    assert (process.returncode, err) == (141, "")
    assert left_behind(tmp_path) == []


def test_an_interrupted_run_with_a_store_is_carried_on_by_a_daemon(tmp_path: Path, settings: Path) -> None:
    path, store = write_files(tmp_path, APPROVAL), tmp_path / "kept.db"
    process = start("run", path, "--store", store, model=True)
    list(lines_until(process, "waits for an answer"))
    process.send_signal(signal.SIGINT)
    said = wait(process)
    assert (said.code, "Traceback" in said.err) == (130, False), said.err
    command = f"headgate serve --store {store} --config {settings}"
    assert f"is left as it stands; carry on with: {command}" in said.err
    assert left_behind(tmp_path) == []

    again = wait(start("run", path, "--store", store, "-o", "json", model=True))
    assert (again.code, again.json["error"]["code"]) == (3, "conflict")
    assert "not yet ended; carry on with: headgate serve" in again.json["error"]["message"]

    daemon = start(*command.split()[1:], model=True)
    try:
        until_answering()
        assert headgate("reject", "shop").code == 0
        assert headgate("status", "shop", "--watch").code == 1
    finally:
        daemon.terminate()
        ended = wait(daemon)
    assert (ended.code, "Traceback" in ended.err) == (0, False)


def test_an_interrupt_before_anything_has_begun(tmp_path: Path) -> None:
    script = (
        "import sys, anyio\n"
        "from contextlib import asynccontextmanager\n"
        "from adapters.cli.main import main\n"
        "@asynccontextmanager\n"
        "async def connect(settings, embedded, clock):\n"
        "    print('connecting', flush=True)\n"
        "    await anyio.sleep_forever()\n"
        "    yield None\n"
        "sys.exit(main(['run', 'deploy.yaml', '-o', 'json'], connect=connect))\n"
    )
    write_files(tmp_path, APPROVAL)
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    list(lines_until(process, "connecting"))
    process.send_signal(signal.SIGTERM)
    said = wait(process)
    assert said.code == 130
    assert said.json["error"]["message"] == "interrupted; nothing was started"
    assert left_behind(tmp_path) == []


# --- serve -------------------------------------------------------------------------------------------------------------


def until_answering() -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while headgate("list").code != 0:
        assert time.monotonic() < deadline, "the daemon does not answer"
        time.sleep(0.05)


def test_a_daemon_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    daemon = start("serve", "--store", tmp_path / "a.db", model=True)
    try:
        until_answering()
        busy = wait(start("serve", "--store", tmp_path / "a.db", model=True))
        taken = wait(start("serve", "--store", tmp_path / "b.db", model=True))
    finally:
        daemon.terminate()
        said = wait(daemon)
    assert (busy.code, busy.out) == (2, "")
    assert (
        f"a.db is in use by process {daemon.pid}: two daemons on one store would drive every rollout twice" in busy.err
    )
    assert taken.code == 2
    assert "another daemon answers on" in taken.err
    assert (said.code, said.out) == (0, "")
    assert "daemon.started" in said.err
    assert "daemon.stopping" in said.err
    assert not (tmp_path / "headgate.sock").exists()


def test_a_store_that_is_none_is_refused_and_left_untouched(tmp_path: Path) -> None:
    store = tmp_path / "notes.txt"
    store.write_text("my notes")
    said = wait(start("serve", "--store", store, model=True))
    assert said.code == 2
    assert "is not an SQLite file" in said.err
    assert store.read_text() == "my notes"
    below_a_file = wait(start("serve", "--store", store / "headgate.db", model=True))
    assert below_a_file.code == 2
    assert "notes.txt is not a folder; make it, or name another store" in below_a_file.err
    assert "Traceback" not in below_a_file.err


def test_a_daemon_tells_systemd_when_it_is_ready(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(tmp_path / "notify"))
        notified.settimeout(DEADLINE_SECONDS)
        daemon = start(
            "serve", "--store", tmp_path / "a.db", model=True, env={"NOTIFY_SOCKET": str(tmp_path / "notify")}
        )
        assert notified.recv(100) == b"READY=1"
        assert headgate("list").code == 0
        daemon.send_signal(signal.SIGINT)
        assert notified.recv(100) == b"STOPPING=1"
        assert wait(daemon).code == 0


# --- the process -------------------------------------------------------------------------------------------------------


def test_help_and_validate_load_nothing_that_they_do_not_need(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from adapters.cli.main import main\n"
        "code = main(sys.argv[1:])\n"
        "heavy = {'aiohttp', 'rich', 'structlog', 'anyio', 'kubernetes_asyncio', 'prometheus_client', 'asyncio'}\n"
        "sys.exit(f'loaded {heavy & set(sys.modules)}' if heavy & set(sys.modules) else code)\n"
    )
    path = write_files(tmp_path, percent(50))
    for arguments in (["--help"], ["validate", str(path)], ["version"]):
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), arguments


def test_a_reader_that_goes_away_is_no_failure_to_explain() -> None:
    process = start("schema")
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=DEADLINE_SECONDS)
    assert (process.returncode, err) == (141, "")


def test_the_last_word_is_the_exit_code(tmp_path: Path) -> None:
    assert wait(start("validate", tmp_path / "none.yaml")).code == 2
    assert wait(start("list")).code == 4
    said: Said = wait(start("aprove", "-o", "json"))
    assert (said.code, said.json["error"]["code"]) == (2, "usage")
