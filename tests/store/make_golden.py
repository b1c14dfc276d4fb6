"""Has the code of earlier commits write the stores that `tests.store.test_golden` opens.

python -m tests.store.make_golden COMMIT...      at each release, and before the stored format of plans or snapshots changes

For each: tests/store/golden/DAY-COMMIT with the store and the cluster, packed. The day and the name are the commit's.
"""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

HERE = Path(__file__).parent
GOLDEN = HERE / "golden"
STORY = HERE / "golden_story.py"
KEPT = ("headgate.db", "cluster.json")


def make(commit: str) -> Path:
    """Raises `CalledProcessError` when that code cannot tell the story."""
    name = _git("log", "-1", "--format=%cs-%h", "--abbrev=7", commit).decode().strip()
    with tempfile.TemporaryDirectory(prefix="headgate-golden-") as folder:
        source, made = Path(folder, "source"), Path(folder, "made")
        made.mkdir()
        with tarfile.open(fileobj=BytesIO(_git("archive", commit))) as archive:
            archive.extractall(source, filter="data")
        subprocess.run(
            [sys.executable, str(STORY), str(made)], cwd=source, env={**os.environ, "PYTHONPATH": str(source)}, check=True
        )
        target = GOLDEN / name
        target.mkdir(parents=True, exist_ok=True)
        for kept in KEPT:
            target.joinpath(f"{kept}.gz").write_bytes(gzip.compress(made.joinpath(kept).read_bytes(), mtime=0))
    return target


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=HERE.parents[1], check=True, capture_output=True).stdout


def main(commits: Sequence[str]) -> int:
    if not commits or any(one.startswith("-") for one in commits):
        sys.stderr.write(f"{__doc__}\n")
        return 2
    for commit in commits:
        sys.stdout.write(f"{make(commit)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
