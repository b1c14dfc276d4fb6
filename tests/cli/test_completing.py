"""Completion: what a shell is offered, by a command line that it sends and in the shells themselves."""

from __future__ import annotations

import asyncio
import io
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from adapters.cli import completing
from adapters.cli.main import main
from adapters.http.bodies import CommandBody
from engine.events import CommandKind
from engine.model import State
from tests.cli.terminal import ROOT
from tests.http.stage import APPROVAL, Daemon, submission, write_files


def offered(*words: str) -> list[str]:
    """What is offered for the last of the words, as bash asks for it. Nothing may be said beside it."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as environment, redirect_stdout(out), redirect_stderr(err):
        environment.setenv("_HEADGATE_COMPLETE", "complete_bash")
        environment.setenv("COMP_WORDS", "\n".join(["headgate", *words]))
        environment.setenv("COMP_CWORD", str(len(words)))
        with pytest.raises(SystemExit) as ended:
            main([])
    assert (ended.value.code or 0, err.getvalue()) == (0, "")
    return out.getvalue().split()


async def asked(*words: str) -> list[str]:
    return await asyncio.to_thread(offered, *words)


def test_commands_options_and_choices() -> None:
    assert offered("sta") == ["status"]
    assert offered("status", "--wa") == ["--watch"]
    assert offered("import", "") == ["flagger", "argo"]
    assert offered("validate", "-o", "") == ["text", "json", "yaml"]
    assert offered("run", "--cluster", "") == ["embedded", "embedded-linkerd"]


def test_a_file_is_left_to_the_shell() -> None:
    assert offered("validate", "con") == []
    assert offered("import", "argo", "") == []


def test_targets_of_a_file_wherever_it_stands_and_whatever_else_is_wrong_with_it(tmp_path: Path) -> None:
    path = write_files(tmp_path, APPROVAL, targets=("staging", "production"))
    assert offered("plan", str(path), "-t", "") == ["staging", "production"]
    assert offered("run", "-n", "x", str(path), "--target", "pro") == ["production"]
    path.write_text("targets: {one: 3, 'two; touch x': 4, $(three): 5, -four: 6}\n")
    assert offered("deploy", str(path), "-t", "") == ["one"]
    path.write_text("targets: [")
    assert offered("plan", str(path), "-t", "") == []
    assert offered("plan", str(tmp_path / "none.yaml"), "-t", "") == []


async def test_releases_and_applications_of_the_daemon(daemon: Daemon) -> None:
    first = (await daemon.client.submit(submission(APPROVAL))).release.id
    await daemon.until_state(first, State.APPROVING)
    assert await asked("status", "") == ["shop", first]
    assert await asked("approve", first[:3]) == [first]
    assert await asked("list", "-n", "") == ["shop"]
    assert await asked("approve", "shop", "-t", "") == ["production"]
    assert await asked("rollback", "") == []
    await daemon.client.command(first, CommandBody(CommandKind.APPROVE))
    await daemon.until_ended(first)
    assert await asked("approve", "") == []
    assert await asked("retry", "") == []
    assert await asked("rollback", "") == ["shop", first]
    assert await asked("history", "") == ["shop", first]


def test_without_a_daemon_nothing_is_offered_and_nothing_is_said(tmp_path: Path) -> None:
    assert offered("status", "") == []
    assert offered("list", "-n", "") == []
    assert offered("status", "--server", "nonsense", "") == []
    (tmp_path / "headgate.yaml").write_text("sokcet: x\n")
    assert offered("status", "") == []


def test_a_daemon_that_does_not_answer_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completing, "PATIENCE_SECONDS", 0.2)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "headgate.sock"))
        silent.listen()
        began = time.monotonic()
        assert offered("status", "") == []
        assert time.monotonic() - began < 5


# --- in the shells themselves ----------------------------------------------------------------------------------------------

COMPLETED = {
    "bash": 'eval "$(_HEADGATE_COMPLETE=source_bash headgate)"\n'
    'COMP_WORDS=({words} ""); COMP_CWORD={count}; _headgate_completion headgate\n'
    'printf "%s\\n" "${{COMPREPLY[@]}}"\n',
    "zsh": "compdef() {{ :; }}\n"
    "_files() {{ :; }}\n"
    '_arguments() {{ print -r -- "$1" }}\n'
    'eval "$(_HEADGATE_COMPLETE=source_zsh headgate)"\n'
    'words=({words} ""); CURRENT=$#words; _headgate_completion\n',
    "fish": "_HEADGATE_COMPLETE=source_fish headgate | source\ncomplete --do-complete '{words} '\n",
}


@pytest.mark.process
@pytest.mark.parametrize("shell", list(COMPLETED))
def test_a_shell_completes_targets_and_choices(shell: str, tmp_path: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    write_files(tmp_path, APPROVAL, targets=("staging", "production"))
    (tmp_path / "headgate").write_text(f'#!/bin/sh\nexec {sys.executable} -m adapters.cli.main "$@"\n')
    (tmp_path / "headgate").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    plain = {"bash": "--norc", "zsh": "-f", "fish": "--no-config"}[shell]
    targets, origins = {"staging", "production"}, {"argo", "flagger"}
    for words, wanted in (("headgate plan deploy.yaml -t", targets), ("headgate import", origins)):
        script = COMPLETED[shell].format(words=words, count=len(words.split()))
        ended = subprocess.run(
            [program, plain, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
        )
        assert ended.stderr == ""
        assert wanted == set(re.findall(r"\w+", ended.stdout))
