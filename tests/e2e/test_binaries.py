"""Where the control plane's programs come from, with a Go that only pretends: nothing is built or started here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.terminal import ROOT
from tests.e2e.controlplane.binaries import PACKAGES, REQUIRED, BinariesMissing, build_binaries, cache_folder, find_binaries

BUILDS = 'while [ "$1" != "-o" ]; do shift; done; echo "#!" > "$2"; chmod +x "$2"'
STOPS_HALF_WAY = BUILDS + "; case $2 in *controller*) exit 2;; esac"
NEVER_ENDS = BUILDS + "; exec sleep 600"


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.delenv(REQUIRED, raising=False)


def put_go(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """A `go` that notes what it is asked for."""
    notes = folder / "asked"
    notes.write_text("")
    (folder / "go").write_text(f'#!/bin/sh\necho "$@" >> {notes}\n{script}\n')
    (folder / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return notes


def test_what_is_missing_is_named_with_the_way_to_get_it() -> None:
    with pytest.raises(BinariesMissing, match=r"etcd, kube-apiserver, kube-controller-manager not found in .* build with"):
        find_binaries()


@pytest.mark.process
def test_a_build_that_stopped_half_way_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_go(tmp_path, monkeypatch, STOPS_HALF_WAY)
    with pytest.raises(BinariesMissing, match=r"kube-controller-manager cannot be built"):
        build_binaries()
    with pytest.raises(BinariesMissing, match=r"^kube-controller-manager not found"):
        find_binaries()
    asked = put_go(tmp_path, monkeypatch, BUILDS)
    build_binaries()
    assert [line.split()[-1] for line in asked.read_text().splitlines()] == [PACKAGES["kube-controller-manager"]]
    assert find_binaries().etcd == cache_folder() / "etcd"
    assert sorted(path.name for path in cache_folder().iterdir()) == sorted(PACKAGES)


@pytest.mark.process
def test_a_build_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_go(tmp_path, monkeypatch, NEVER_ENDS)
    with pytest.raises(BinariesMissing, match=r"the build of etcd was ended after 0\.2 s"):
        build_binaries(within=0.2)
    assert list(cache_folder().iterdir()) == []


@pytest.mark.process
@pytest.mark.parametrize(("required", "code", "result"), [("", 0, "skipped"), ("1", 1, "error")])
def test_without_them_the_tests_are_skipped_with_one_line_and_in_ci_they_fail(required: str, code: int, result: str) -> None:
    chosen = ["tests/conformance/test_api_objects.py", "tests/e2e/test_handover.py"]
    command = [sys.executable, "-m", "pytest", "-m", "real", "-q", "-p", "no:cacheprovider", *chosen]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "500"} | ({REQUIRED: required} if required else {})
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=100)
    assert ran.returncode == code, ran.stdout
    assert re.fullmatch(rf"(\d+ (deselected|{result}s?)(, | in .*))+", ran.stdout.splitlines()[-1])
    if not required:
        told = [line for line in ran.stdout.splitlines() if line.startswith("SKIPPED")]
        assert len(told) == 1
        assert "build with `python -m tests.e2e.controlplane.binaries`" in told[0]
