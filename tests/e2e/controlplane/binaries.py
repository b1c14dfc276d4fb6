"""Where the programs of the control plane come from. It starts none of them.

In this order: the folder that KUBEBUILDER_ASSETS names (what `setup-envtest` fills; it has no kube-controller-manager); a cache
folder in the home; a build from Go modules into that cache, by the small module in `binaries/`.

    python -m tests.e2e.controlplane.binaries      finds or builds everything, and prints where it is
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

MODULE = Path(__file__).with_name("binaries")
PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
}
REQUIRED = "HEADGATE_REQUIRE_CONTROL_PLANE"
"""Set in CI: there a missing binary is a failure, not a skip."""
BUILD_SECONDS = 1_800.0
"""The longest build of one program. On two cores that are shared the longest took six minutes, its downloads with it."""


class BinariesMissing(Exception):
    """Some program of the control plane is not there; the message says which and how to get it."""


@dataclass(frozen=True, slots=True)
class Binaries:
    etcd: Path
    kube_apiserver: Path
    kube_controller_manager: Path


def kubernetes_version() -> str:
    """The version that is built, as the module pins it: `v1.36.3`."""
    found = re.search(r"k8s\.io/kubernetes (v[\d.]+)", MODULE.joinpath("go.mod").read_text("utf-8"))
    assert found is not None, "binaries/go.mod requires no k8s.io/kubernetes"
    return found[1]


def cache_folder() -> Path:
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "headgate" / "controlplane" / kubernetes_version()


def find_binaries() -> Binaries:
    """Raises `BinariesMissing`."""
    folders = [cache_folder()]
    if assets := os.environ.get("KUBEBUILDER_ASSETS"):
        folders.insert(0, Path(assets))
    found = {name: _find(name, folders) for name in PACKAGES}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise BinariesMissing(
            f"{', '.join(missing)} not found in {' or '.join(map(str, folders))}: "
            "build with `python -m tests.e2e.controlplane.binaries` (needs Go, takes minutes, once), "
            "or see README.md on setup-envtest"
        )
    paths = {name: path for name, path in found.items() if path is not None}
    return Binaries(paths["etcd"], paths["kube-apiserver"], paths["kube-controller-manager"])


def _find(name: str, folders: list[Path]) -> Path | None:
    return next((folder / name for folder in folders if os.access(folder / name, os.X_OK)), None)


def build_binaries(within: float = BUILD_SECONDS) -> None:
    """Build what is in neither folder, each within so many seconds. Raises `BinariesMissing`."""
    go = shutil.which("go")
    if go is None:
        raise BinariesMissing("the build needs Go 1.26 or newer on the PATH: https://go.dev/dl")
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    version = kubernetes_version()
    major, minor, _ = version.removeprefix("v").split(".")
    stamp = "k8s.io/component-base/version."
    flags = f"-s -w -X {stamp}gitVersion={version} -X {stamp}gitMajor={major} -X {stamp}gitMinor={minor}"
    assets = Path(os.environ.get("KUBEBUILDER_ASSETS") or cache)
    for name, package in PACKAGES.items():
        if _find(name, [assets, cache]) is not None:
            continue
        sys.stderr.write(f"building {name} {version}\n")
        # Under another name until it is whole: a build that is interrupted leaves nothing that looks like a program. And one of
        # this process's own, because another one may be building too.
        unfinished = cache / f".{name}.{os.getpid()}.unfinished"
        try:
            _build(name, [go, "build", "-trimpath", "-ldflags", flags, "-o", str(unfinished), package], within)
            unfinished.replace(cache / name)
        finally:
            unfinished.unlink(missing_ok=True)


def _build(name: str, command: list[str], within: float) -> None:
    """Go runs compilers, which are to go with it: they are a group of their own."""
    with subprocess.Popen(command, cwd=MODULE, env={**os.environ, "CGO_ENABLED": "0"}, start_new_session=True) as build:
        try:
            code = build.wait(within)
        except BaseException as error:
            os.killpg(build.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise BinariesMissing(f"the build of {name} was ended after {within:g} s; run it again to go on") from None
            raise
    if code:
        raise BinariesMissing(f"{name} cannot be built; what Go said stands above, and what is built already is kept")


def main() -> int:
    try:
        build_binaries()
        binaries = find_binaries()
    except BinariesMissing as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{binaries.etcd}\n{binaries.kube_apiserver}\n{binaries.kube_controller_manager}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
